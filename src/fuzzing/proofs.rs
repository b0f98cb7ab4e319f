//! Proofs of possession, and the URLs that they are for.

use std::time::{Duration, SystemTime};

use super::check_compact;
use crate::{
    oauth::{
        TokenHash, access,
        dpop::{PROOF_BYTES_MAX, TOKEN_ID_BYTES, Unproved},
        target::{Base, Route, Target, URL_BYTES_MAX},
        wpt,
    },
    spiffe::jose::Unverified,
};

/// The value of a `DPoP` header: what is read is no token of another kind, and what is proved is what was read.
#[must_use]
pub fn proof(bytes: &[u8]) -> bool {
    let Ok(value) = str::from_utf8(bytes) else { return false };
    let Ok(unproved) = Unproved::parse(value) else { return false };
    assert!(value.len() <= PROOF_BYTES_MAX && value.split('.').count() == 3);
    check_compact(value);
    assert!(access::Unverified::parse(value).is_err() && Unverified::parse(value).is_err());
    let (key, nonce) = (unproved.thumbprint(), unproved.nonce().map(str::to_owned));
    assert!(nonce.is_none_or(|nonce| nonce.bytes().all(|byte| byte.is_ascii_graphic())));
    if let Ok(proof) = unproved.prove() {
        assert_eq!(proof.thumbprint(), key);
        assert!(TOKEN_ID_BYTES.contains(&proof.token_id().len()));
    }
    true
}

/// A workload proof token. It is nothing else, and is for one WIT-SVID alone. Answers whether it can be read.
#[must_use]
pub fn wpt(bytes: &[u8]) -> bool {
    let Ok(value) = str::from_utf8(bytes) else { return false };
    let Ok(unproved) = wpt::Unproved::parse(value) else { return false };
    assert!(value.len() <= wpt::PROOF_BYTES_MAX && value.split('.').count() == 3);
    check_compact(value);
    assert!(Unproved::parse(value).is_err() && access::Unverified::parse(value).is_err());
    assert!(TOKEN_ID_BYTES.contains(&unproved.token_id().len()));
    let target = Target::parse("https://api.example.org/items").expect("a good URL");
    let check = |token: &str, now: SystemTime| {
        let (workload_token, lifetime_max) = (TokenHash::of(token), Duration::from_secs(60));
        let expected = wpt::Expected { target: &target, workload_token, transaction_token: None, lifetime_max, now };
        unproved.check(&expected)
    };
    let (end, second) = (unproved.expires_at(), Duration::from_secs(1));
    assert!(check("one", end).is_err() && (check("one", end - second).is_err() || check("two", end - second).is_err()));
    true
}

/// URLs of requests, proofs and tools, and routes: what is accepted has one spelling, which is accepted as the same.
#[must_use]
pub fn target(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    if let Ok(route) = Route::parse(text) {
        assert_eq!(Route::parse(&route.to_string()).as_ref(), Ok(&route));
        let written = route.to_string();
        let (method, path) = written.split_once(' ').expect("a method and a path");
        assert!(route.fits(method, path), "a star stands for itself, too");
        return true;
    }
    let Ok(read) = Target::parse(text) else {
        assert!(Target::parse_htu(text).is_err() && Base::parse(text).is_err());
        return false;
    };
    assert!(text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(Target::parse_htu(text).is_ok(), !text.contains('?'));
    let written = read.to_string();
    assert_eq!((Target::parse(&written).as_ref(), Target::parse_htu(&written).as_ref()), (Ok(&read), Ok(&read)));
    // Nothing that somebody might resolve, however often it is decoded.
    let segments: Vec<&str> = read.path().split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        assert!(!matches!(*segment, "." | "..") && (!segment.is_empty() || at + 1 == segments.len()));
        assert!(!segment.contains(['\\', ';', '?', '#']));
    }
    assert_eq!(
        read.has_encoded_slash(),
        text.split('?').next().is_some_and(|path| path.to_ascii_lowercase().contains("%2f"))
    );
    if let Ok(base) = Base::parse(text) {
        assert_eq!(Base::parse(&base.to_string()).as_ref(), Ok(&base));
        assert_eq!(base.relative(&read), Some("/"));
    }
    true
}

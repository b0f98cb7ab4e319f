//! Bundles: documents of trust domains, sets of keys, and single keys.

use std::time::SystemTime;

use super::example_org;
use crate::{
    issuance::foreign::{self, DOCUMENT_BYTES_MAX},
    spiffe::{
        TrustDomain, document,
        jose::Jwk,
        jwt,
        x509::{check_authority, check_readable},
    },
};

/// The bundle of a foreign trust domain as an admin gives it, JSON or PEM: what was taken is kept and read again as the
/// same, and every client reads it.
#[must_use]
pub fn foreign(bytes: &[u8]) -> bool {
    let (name, now) = (TrustDomain::parse("other.test").expect("a good name"), SystemTime::UNIX_EPOCH);
    let Ok(given) = foreign::read(&name, bytes, now) else { return false };
    assert!(bytes.len() <= DOCUMENT_BYTES_MAX && *given.document.trust_domain() == name);
    let authorities = given.document.x509().authorities();
    assert!(authorities.iter().all(|authority| check_readable(authority).is_ok()));
    assert!(!given.is_pem || (!authorities.is_empty() && given.document.jwt().is_empty()));
    let kept = given.document.to_json();
    if kept.len() <= DOCUMENT_BYTES_MAX {
        let again = foreign::read(&name, kept.as_bytes(), now).expect("what is kept is read again");
        assert_eq!(again.document, given.document);
        // What there was to say of what is used, as that an authority has expired, is said again; nothing else is.
        assert!(again.warnings.iter().all(|words| given.warnings.contains(words)));
    }
    true
}

/// A bundle document, a JWK Set, or a single JWK: what was read is written in one spelling, and read again as the same.
#[must_use]
pub fn bundle(bytes: &[u8]) -> bool {
    if let Ok(key) = Jwk::parse(bytes) {
        assert_eq!(Jwk::parse(key.to_json().as_bytes()).as_ref(), Ok(&key));
        assert_eq!(key.thumbprint().len(), 43);
        return true;
    }
    if let Ok(key) = Jwk::of_private(bytes) {
        assert_eq!(Jwk::parse(key.to_json().as_bytes()), Ok(key), "the public half alone");
        return true;
    }
    let own = example_org();
    if let Ok((set, left_out)) = document::parse_set::<jwt::Profile>(own.clone(), bytes) {
        assert!(set.len() + left_out.len() <= document::ENTRIES_MAX);
        let again = document::parse_set::<jwt::Profile>(own.clone(), set.to_json().as_bytes());
        // The `alg` of a key is not written.
        assert_eq!(again.map(|(again, left_out)| (again.to_json(), left_out)), Ok((set.to_json(), Vec::new())));
    }
    let Ok(outcome) = document::parse(own.clone(), bytes) else { return false };
    let read = &outcome.document;
    let written = read.to_json();
    let again = document::parse(own.clone(), written.as_bytes()).expect("what we write is read");
    assert!(again.left_out.is_empty() && again.warnings.is_empty());
    assert_eq!(again.document.to_json(), written);
    assert_eq!((again.document.x509(), again.document.sequence()), (read.x509(), read.sequence()));
    assert!((document::REFRESH_MIN..=document::REFRESH_MAX).contains(&read.refresh_after()));
    assert!(read.jwt().keys().all(|(id, _)| !id.is_empty() && read.wit().key(id).is_none()));
    assert!(read.x509().authorities().iter().all(|authority| check_authority(authority).is_ok()));
    let used = read.x509().authorities().len() + read.jwt().len() + read.wit().len();
    assert!(used + outcome.left_out.len() <= document::ENTRIES_MAX);
    true
}

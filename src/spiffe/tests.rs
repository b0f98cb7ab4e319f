//! The rules of SPIFFE IDs as tables. Rows bear the numbers of the adversarial table that the project
//! keeps of the standard, so that a missing one is seen.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use super::{ID_BYTES_MAX, Id, IdError, IdError as E, TRUST_DOMAIN_BYTES_MAX, TrustDomain};

/// An ID with this trust domain name and a path of one letter.
fn named(name: &str) -> String {
    format!("spiffe://{name}/a")
}

/// An ID of this many bytes.
fn long(bytes: usize) -> String {
    let start = "spiffe://example.org/";
    format!("{start}{}", "a".repeat(bytes - start.len()))
}

/// The refused rows that are texts of reasonable length.
pub(super) const REFUSED: &[(u8, &str, IdError)] = &[
    (1, "", E::Empty),
    (2, "spiffe://", E::TrustDomainEmpty),
    (3, "spiffe:///a", E::TrustDomainEmpty),
    (4, "spiffe:example.org/a", E::Scheme),
    (5, "spiffe:/example.org/a", E::Scheme),
    (6, "http://example.org/a", E::Scheme),
    (6, "//example.org/a", E::Scheme),
    (6, "example.org/a", E::Scheme),
    (7, "SPIFFE://example.org/a", E::Scheme),
    (7, "Spiffe://example.org/a", E::Scheme),
    (8, "spiffe://Example.org/a", E::TrustDomainUpperCase),
    (10, "spiffe://example.org/", E::TrailingSlash),
    (11, "spiffe://example.org//", E::SegmentEmpty),
    (12, "spiffe://example.org/a/", E::TrailingSlash),
    (13, "spiffe://example.org//a", E::SegmentEmpty),
    (14, "spiffe://example.org/a//b", E::SegmentEmpty),
    (15, "spiffe://example.org/.", E::SegmentDots),
    (16, "spiffe://example.org/..", E::SegmentDots),
    (17, "spiffe://example.org/a/../b", E::SegmentDots),
    (17, "spiffe://example.org/../a", E::SegmentDots),
    (18, "spiffe://example.org/a/./b", E::SegmentDots),
    (18, "spiffe://example.org/./a", E::SegmentDots),
    (18, "spiffe://example.org/a/.", E::SegmentDots),
    (21, "spiffe://example.org/%61", E::PercentEncoding),
    (22, "spiffe://example.org/%2e%2e/b", E::PercentEncoding),
    (23, "spiffe://example.org/a%2Fb", E::PercentEncoding),
    (24, "spiffe://ex%61mple.org/a", E::PercentEncoding),
    (24, "spiffe://ex%2Dample.org/a", E::PercentEncoding),
    (25, "spiffe://example.org/a?", E::Query),
    (26, "spiffe://example.org/a?b=c", E::Query),
    (27, "spiffe://example.org/a#", E::Fragment),
    (28, "spiffe://example.org/a#b", E::Fragment),
    (29, "spiffe://example.org?x", E::Query),
    (29, "spiffe://example.org#x", E::Fragment),
    (30, "spiffe://example.org:443/a", E::Port),
    (31, "spiffe://example.org:/a", E::Port),
    (32, "spiffe://user@example.org/a", E::Userinfo),
    (33, "spiffe://@example.org/a", E::Userinfo),
    (34, "spiffe://user:pw@example.org/a", E::Userinfo),
    (35, "spiffe://[::1]/a", E::TrustDomainByte(b'[')),
    (40, "spiffe://exämple.org/a", E::TrustDomainByte(0xc3)),
    (42, "spiffe://example.org/ä", E::PathByte(0xc3)),
    (43, "spiffe://example.org/a b", E::PathByte(b' ')),
    (44, " spiffe://example.org/a", E::Scheme),
    (44, "spiffe://example.org/a\n", E::PathByte(b'\n')),
    (44, "spiffe://example.org/a ", E::PathByte(b' ')),
    (45, "spiffe://example.org/a\tb", E::PathByte(b'\t')),
    (46, "spiffe://example.org/a\0", E::PathByte(0)),
    (46, "spiffe://example.org\0/a", E::TrustDomainByte(0)),
    (47, "spiffe://example.org\\a", E::TrustDomainByte(b'\\')),
    (48, "spiffe://example.org/a~b", E::PathByte(b'~')),
    (48, "spiffe://example.org/a:b", E::PathByte(b':')),
    (48, "spiffe://example.org/a@b", E::PathByte(b'@')),
    (48, "spiffe://example.org/a+b", E::PathByte(b'+')),
    (48, "spiffe://example.org/a,b", E::PathByte(b',')),
    (48, "spiffe://example.org/a;b", E::PathByte(b';')),
    (48, "spiffe://example.org/a=b", E::PathByte(b'=')),
    (48, "spiffe://example.org/a*b", E::PathByte(b'*')),
    (48, "spiffe://example.org/a!b", E::PathByte(b'!')),
    (48, "spiffe://example.org/a$b", E::PathByte(b'$')),
    (48, "spiffe://example.org/a&b", E::PathByte(b'&')),
    (48, "spiffe://example.org/a'b", E::PathByte(b'\'')),
    (48, "spiffe://example.org/a(b)", E::PathByte(b'(')),
    (54, "spiffe://example.org", E::PathMissing),
    (56, "spiffe://example.org/a,spiffe://example.org/b", E::PathByte(b',')),
    (58, "spiffe://example.org/%", E::PercentEncoding),
    (58, "spiffe://example.org/100%", E::PercentEncoding),
    (59, "spiffe ://example.org/a", E::Scheme),
    (59, "spiffe://example.org /a", E::TrustDomainByte(b' ')),
    (60, "spiffe://spiffe://example.org/a", E::Port),
];

#[test]
fn the_adversarial_table_of_ids() {
    for (row, id, reason) in REFUSED {
        assert_eq!(Id::parse(id), Err(*reason), "row {row}: {id:?}");
        assert_eq!(Id::from_bytes(id.as_bytes()), Err(*reason), "row {row}: {id:?} as bytes");
    }
    let accepted: &[(u8, &str)] = &[
        (9, "spiffe://example.org/A"),
        (19, "spiffe://example.org/..."),
        (20, "spiffe://example.org/.hidden"),
        (20, "spiffe://example.org/..x"),
        (20, "spiffe://example.org/x.."),
        (20, "spiffe://example.org/x."),
        (36, "spiffe://127.0.0.1/a"),
        (37, "spiffe://999.999.999.999/a"),
        (37, "spiffe://1.2.3/a"),
        (37, "spiffe://0x7f.1/a"),
        (38, "spiffe://ex_ample.org/a"),
        (38, "spiffe://-/a"),
        (38, "spiffe://_/a"),
        (39, "spiffe://a..b/a"),
        (39, "spiffe://.a/x"),
        (39, "spiffe://a./x"),
        (41, "spiffe://xn--exmple-cua.org/a"),
        (49, &named(&"a".repeat(TRUST_DOMAIN_BYTES_MAX))),
        (51, &long(ID_BYTES_MAX)),
        // SID-01, SID-04, SID-11
        (0, "spiffe://a/b"),
        (0, "spiffe://example.org/a/B/9._-"),
    ];
    for (row, id) in accepted {
        assert_eq!(Id::parse(id).unwrap().as_str(), *id, "row {row}");
    }
    // 50, 52, 53
    assert_eq!(Id::parse(&named(&"a".repeat(256))), Err(E::TrustDomainTooLong(256)));
    assert_eq!(Id::parse(&long(2049)), Err(E::TooLong(2049)));
    let ten_mebibytes = format!("spiffe://example.org{}", "/a".repeat(5 << 20));
    assert_eq!(Id::parse(&ten_mebibytes), Err(E::TooLong(ten_mebibytes.len())));
    // 57: bytes that are no text
    assert_eq!(Id::from_bytes(b"spiffe://example.org/\xff\xfe"), Err(E::PathByte(0xff)));
    assert_eq!(Id::from_bytes(b"spiffe://ex\xc0mple.org/a"), Err(E::TrustDomainByte(0xc0)));

    // 55 is in the next test.
    let rows = REFUSED.iter().map(|(row, ..)| *row).chain(accepted.iter().map(|(row, _)| *row));
    let rows: BTreeSet<u8> = rows.chain([50, 52, 53, 55, 57]).filter(|row| *row != 0).collect();
    assert_eq!(rows, (1..=60).collect(), "every row of the table");
}

#[test]
fn a_trust_domain_id_has_no_path_and_a_name_no_scheme() {
    assert_eq!(TrustDomain::parse_id("spiffe://example.org").unwrap().as_str(), "example.org");
    // ADV-ID 10, 55 and SID-19
    assert_eq!(TrustDomain::parse_id("spiffe://example.org/a"), Err(IdError::PathUnwanted));
    assert_eq!(TrustDomain::parse_id("spiffe://example.org/"), Err(IdError::TrailingSlash));
    assert_eq!(TrustDomain::parse_id("spiffe://example.org//"), Err(IdError::PathUnwanted));
    assert_eq!(TrustDomain::parse_id("example.org"), Err(IdError::Scheme));
    assert_eq!(TrustDomain::parse("spiffe://example.org"), Err(IdError::NotAName));
    assert_eq!(TrustDomain::parse("example.org/"), Err(IdError::TrustDomainByte(b'/')));
    assert_eq!(TrustDomain::parse("Example.org"), Err(IdError::TrustDomainUpperCase));
    assert_eq!(TrustDomain::parse(""), Err(IdError::Empty));
    assert_eq!(TrustDomain::parse(&"a".repeat(256)), Err(IdError::TrustDomainTooLong(256)));
    assert_eq!(TrustDomain::parse("example.org").unwrap().id(), "spiffe://example.org");
}

#[test]
fn exactly_39_bytes_may_be_in_a_name() {
    let legal: Vec<u8> =
        (0..=255).filter(|byte| Id::from_bytes(&with(b"spiffe://example", *byte, b"/a")).is_ok()).collect();
    let mut wanted: Vec<u8> = (b'a'..=b'z').chain(b'0'..=b'9').chain(*b".-_").collect();
    wanted.sort_unstable();
    // The slash ends the name, so what follows it is `/a` with an empty segment before.
    assert_eq!(legal, wanted);
    assert_eq!(legal.len(), 39);
}

#[test]
fn exactly_65_bytes_may_be_in_a_segment() {
    let legal: Vec<u8> = (0..=255).filter(|byte| Id::from_bytes(&with(b"spiffe://a/x", *byte, b"y")).is_ok()).collect();
    let mut wanted: Vec<u8> = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(*b".-_/").collect();
    wanted.sort_unstable();
    assert_eq!(legal, wanted);
    // The slash is no part of a segment.
    assert_eq!(legal.len() - 1, 65);
}

fn with(before: &[u8], byte: u8, after: &[u8]) -> Vec<u8> {
    [before, &[byte], after].concat()
}

#[test]
fn parts_are_as_they_were_given() {
    let id = Id::parse("spiffe://example.org/Ns/a.b").unwrap();
    assert_eq!(id.trust_domain(), TrustDomain::parse("example.org").unwrap());
    assert_eq!(id.trust_domain_name(), "example.org");
    assert_eq!(id.path(), "/Ns/a.b");
    assert_eq!(id.to_string(), "spiffe://example.org/Ns/a.b");
    assert_eq!("spiffe://example.org/Ns/a.b".parse::<Id>().unwrap(), id);
    assert!(id.is_in(&id.trust_domain()));
    assert!(!id.is_in(&TrustDomain::parse("example.or").unwrap()));
}

#[test]
fn ids_are_equal_when_their_bytes_are() {
    let id = |text: &str| Id::parse(text).unwrap();
    assert_eq!(id("spiffe://a/b"), id("spiffe://a/b"));
    assert_ne!(id("spiffe://a/b"), id("spiffe://a/B"));
    assert!(id("spiffe://a/b") < id("spiffe://a/b/c"));
}

#[test]
fn segments_are_joined_and_never_split_or_skipped() {
    let own = TrustDomain::parse("example.org").unwrap();
    assert_eq!(Id::join(&own, ["a", "b"]).unwrap().as_str(), "spiffe://example.org/a/b");
    assert_eq!(Id::join(&own, ["a", "b"]).unwrap(), Id::parse("spiffe://example.org/a/b").unwrap());
    let refused: [(&[&str], IdError); 8] = [
        (&["a/b"], IdError::SegmentSlash),
        (&[""], IdError::SegmentEmpty),
        (&["a", ""], IdError::SegmentEmpty),
        (&["."], IdError::SegmentDots),
        (&["a", ".."], IdError::SegmentDots),
        (&["a b"], IdError::PathByte(b' ')),
        (&["a%20b"], IdError::PercentEncoding),
        (&[], IdError::PathMissing),
    ];
    for (segments, reason) in refused {
        assert_eq!(Id::join(&own, segments), Err(reason), "{segments:?}");
    }
    let longest = "a".repeat(ID_BYTES_MAX - "spiffe://example.org/".len());
    assert_eq!(Id::join(&own, [&longest]).unwrap().as_str().len(), ID_BYTES_MAX);
    assert_eq!(Id::join(&own, [longest + "a"]), Err(IdError::TooLong(2049)));
    assert!(matches!(Id::join(&own, std::iter::repeat("a")), Err(IdError::TooLong(_))));
}

#[test]
fn a_name_with_an_empty_label_is_legal_but_no_good_choice() {
    for name in ["a..b", ".a", "a.", "."] {
        assert_eq!(TrustDomain::parse(name).unwrap().usable_as_own(), Err(IdError::LabelEmpty), "{name}");
    }
    for name in ["a", "a.b", "-", "127.0.0.1"] {
        assert_eq!(TrustDomain::parse(name).unwrap().usable_as_own(), Ok(()), "{name}");
    }
}

#[test]
fn no_error_shows_a_raw_control_character() {
    for byte in 0..=255 {
        for error in [IdError::PathByte(byte), IdError::TrustDomainByte(byte)] {
            assert!(!error.to_string().chars().any(char::is_control), "{byte}");
        }
    }
    assert_eq!(IdError::PathByte(b'~').to_string(), "the path has `~`, only A-Z a-z 0-9 . - _ and / are allowed");
}

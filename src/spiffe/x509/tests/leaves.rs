//! Rows 01 to 28 and 47 to 52: what is wrong with the leaf itself.

use std::slice::from_ref;

use super::kit::*;
use crate::spiffe::{
    IdError, tests,
    x509::{Error, Leaf, Purpose},
};

const ID: &str = "spiffe://example.org/a";

fn good() -> Blueprint {
    Blueprint::leaf(ID)
}

fn names(names: &[Vec<u8>]) -> Blueprint {
    Blueprint::leaf_of(names)
}

/// Each leaf, signed and sent as it should be, is refused for this reason.
fn all_refused(rows: Vec<(u8, Blueprint, Error)>) {
    let world = World::new();
    for (row, leaf, reason) in rows {
        assert_eq!(world.judge(leaf), Err(reason), "row {row}");
    }
}

/// Each leaf is believed.
fn all_accepted(rows: Vec<(u8, Blueprint)>) -> Vec<Leaf> {
    let world = World::new();
    let judge = |(row, leaf)| world.judge(leaf).unwrap_or_else(|error| panic!("row {row}: {error:?}"));
    rows.into_iter().map(judge).collect()
}

#[test]
fn a_good_leaf_says_what_it_says() {
    // 01
    let leaf = names(&[dns("a.example.org"), uri(ID), dns("b")]).edit(|it| it.serial = vec![0, 0x80, 1]);
    let key = leaf.public_key.clone();
    let leaf = all_accepted(vec![(1, leaf)]).remove(0);
    assert_eq!(leaf.id.as_str(), ID);
    assert_eq!((leaf.not_before, leaf.not_after), (now() - DAY, now() + DAY));
    assert_eq!(leaf.serial, [0x80, 1]);
    assert_eq!(leaf.public_key, key);
    assert_eq!(leaf.dns_names, ["a.example.org", "b"]);
    assert_eq!(leaf.authority_key_id.as_deref(), Some([1, 2, 3, 4].as_slice()));
    assert!(!leaf.is_expired(leaf.not_after));
    assert!(leaf.is_expired(leaf.not_after + std::time::Duration::from_nanos(1)));
}

#[test]
fn the_one_uri_must_be_a_workloads_id() {
    let common_name = good().without(ALTERNATIVE_NAME).edit(|it| it.subject = name(ID));
    let other_name = [b"\x06\x03\x2a\x03\x04".as_slice(), &tlv(0xa0, &tlv(12, ID.as_bytes()))].concat();
    all_refused(vec![
        (2, good().without(ALTERNATIVE_NAME), Error::UriNames(0)),
        (2, names(&[dns("example.org")]), Error::UriNames(0)),
        (2, common_name, Error::UriNames(0)),
        (3, names(&[uri(ID), uri(ID)]), Error::UriNames(2)),
        (4, names(&[uri("https://x"), uri(ID)]), Error::UriNames(2)),
        (4, names(&[uri(ID), uri("https://x")]), Error::UriNames(2)),
        (5, names(&[uri("https://example.org/a")]), Error::Id(IdError::Scheme)),
        (7, names(&[uri("spiffe://example.org")]), Error::Id(IdError::PathMissing)),
        (8, names(&[uri("spiffe://example.org/a#")]), Error::Id(IdError::Fragment)),
        (9, names(&[dns(ID)]), Error::UriNames(0)),
        (9, names(&[tlv(0x81, ID.as_bytes())]), Error::UriNames(0)),
        (9, names(&[tlv(0xa0, &other_name)]), Error::UriNames(0)),
        (9, names(&[tlv(0x88, b"\x2a\x03\x04")]), Error::UriNames(0)),
        (10, names(&[uri("spiffe://example.org/ä")]), Error::Malformed("a name in the subject alternative name")),
        (
            10,
            names(&[tlv(0x86, b"spiffe://example.org/\xff")]),
            Error::Malformed("a name in the subject alternative name"),
        ),
        (11, names(&[uri(&format!("spiffe://example.org/{}", "a".repeat(2028)))]), Error::Id(IdError::TooLong(2049))),
        (11, names(&[]), Error::Malformed("the subject alternative name")),
        (11, names(&[uri(ID), tlv(0x87, b"123")]), Error::Malformed("the subject alternative name")),
        (11, names(&[uri(ID), tlv(0x89, b"x")]), Error::Malformed("the subject alternative name")),
    ]);
    let most = format!("spiffe://example.org/{}", "a".repeat(2027));
    all_accepted(vec![
        (11, names(&[uri(&most)])),
        (9, names(&[uri(ID), tlv(0xa0, &other_name), tlv(0x87, b"\x7f\0\0\x01")])),
    ]);
}

#[test]
fn every_refused_id_is_refused_in_a_certificate() {
    // 06
    let world = World::new();
    for (row, id, reason) in tests::REFUSED {
        let outcome = world.judge(Blueprint::leaf(id));
        match id.is_ascii() {
            true => assert_eq!(outcome, Err(Error::Id(*reason)), "row {row}: {id:?}"),
            false => assert!(matches!(outcome, Err(Error::Malformed(_))), "row {row}: {id:?}"),
        }
    }
}

#[test]
fn extensions_that_are_doubled_or_malformed_are_never_absent_ones() {
    let twice = |again: Vec<u8>| good().edit(|it| it.extensions.push(again));
    let basic = |value: &[u8]| good().with(extension(BASIC_CONSTRAINTS, true, value));
    let usage = |value: &[u8]| good().with(extension(KEY_USAGE, true, value));
    let purposes = |value: &[u8]| good().with(extension(EXTENDED_KEY_USAGE, false, value));
    let wrong_basic = || Error::Malformed("the basic constraints");
    let wrong_usage = || Error::Malformed("the key usage");
    let wrong_purposes = || Error::Malformed("the extended key usage");
    all_refused(vec![
        (12, twice(alternative_name(&[uri(ID)])), Error::DuplicateExtension("2.5.29.17".into())),
        (12, twice(extension(KEY_USAGE, true, b"\x03\x02\x07\x80")), Error::DuplicateExtension("2.5.29.15".into())),
        (
            12,
            twice(extension(UNKNOWN, false, b"")).edit(|it| it.extensions.push(extension(UNKNOWN, false, b""))),
            Error::DuplicateExtension("1.3.6.1.4.1.311.99".into()),
        ),
        (16, basic(b"\x30\x01"), wrong_basic()),
        (16, basic(b""), wrong_basic()),
        (16, basic(b"\x30\x00\x00"), Error::Trailing("the basic constraints")),
        (16, basic(b"\x30\x02\x05\x00"), wrong_basic()),
        (16, basic(b"\x30\x03\x01\x01\x01"), wrong_basic()),
        (16, basic(b"\x30\x03\x02\x01\x00"), wrong_basic()),
        (16, basic(b"\x30\x80\x00\x00"), wrong_basic()),
        (16, basic(b"\x30\x81\x00"), wrong_basic()),
        (22, usage(b"\x03\x01\x00"), wrong_usage()),
        (22, usage(b""), wrong_usage()),
        (22, usage(b"\x03\x02\x00\x80"), wrong_usage()),
        (22, usage(b"\x03\x02\x07\x00"), wrong_usage()),
        (22, usage(b"\x03\x02\x08\x80"), wrong_usage()),
        (22, usage(b"\x03\x03\x00\x80\x00"), wrong_usage()),
        (22, usage(b"\x03\x03\x07\x80\x00"), wrong_usage()),
        (22, usage(b"\x03\x04\x07\x80\x80\x80"), wrong_usage()),
        (22, usage(b"\x03\x02\x07\x80\x00"), Error::Trailing("the key usage")),
        (24, purposes(b"\x30\x00"), wrong_purposes()),
        (24, purposes(b""), wrong_purposes()),
        (24, purposes(&sequence(&[SERVER, b"\x05\x00"])), wrong_purposes()),
    ]);
    // An explicit `cA` FALSE is no DER, but common, and says the same.
    all_accepted(vec![(16, basic(b"\x30\x03\x01\x01\x00")), (22, usage(b"\x03\x02\x05\xa0"))]);
}

#[test]
fn names_are_lists_of_lists_of_attributes() {
    let named = |content: &[u8]| good().edit(|it| it.subject = tlv(0x30, content));
    let attribute = sequence(&[b"\x06\x03\x55\x04\x03", b"\x0c\x01a"]);
    let wrong = || Error::Malformed("a name");
    all_refused(vec![
        (52, named(&attribute), wrong()),
        (52, named(&tlv(0x31, b"")), wrong()),
        (52, named(&tlv(0x31, b"\x05\x00")), wrong()),
        (52, named(&tlv(0x31, &sequence(&[b"\x06\x03\x55\x04\x03"]))), wrong()),
        (52, named(&tlv(0x31, &sequence(&[b"\x0c\x01a", b"\x0c\x01a"]))), wrong()),
        (52, named(&tlv(0x31, &[attribute.as_slice(), b"\x05\x00"].concat())), wrong()),
        (
            52,
            named(&tlv(0x31, &sequence(&[b"\x06\x03\x55\x04\x03", b"\x0c\x01a", b"\x05\x00"]))),
            Error::Trailing("a name"),
        ),
    ]);
    all_accepted(vec![(52, named(&tlv(0x31, &[attribute.clone(), attribute].concat())))]);
}

#[test]
fn an_authority_is_no_leaf() {
    let usage = |value: &[u8]| good().with(extension(KEY_USAGE, true, value));
    all_refused(vec![
        (14, good().with(path_length(None)), Error::LeafIsAuthority),
        (14, good().with(path_length(Some(0))), Error::LeafIsAuthority),
        // digitalSignature with keyCertSign, with cRLSign, and with both
        (17, usage(b"\x03\x02\x02\x84"), Error::LeafIsAuthority),
        (18, usage(b"\x03\x02\x01\x82"), Error::LeafIsAuthority),
        (18, usage(b"\x03\x02\x01\x86"), Error::LeafIsAuthority),
        (14, good().with(extension(NAME_CONSTRAINTS, true, b"\x30\x00")), Error::NameConstraints),
    ]);
    // 38, 39
    let world = World::new();
    assert_eq!(world.judge_chain(from_ref(&world.root.der)), Err(Error::LeafIsAuthority));
    assert_eq!(world.judge_chain(from_ref(&world.issuing.der)), Err(Error::LeafIsAuthority));
    assert_eq!(world.judge_chain(&[world.issuing.der.clone(), world.root.der.clone()]), Err(Error::LeafIsAuthority));
}

#[test]
fn key_usage_must_be_there_and_for_signatures() {
    all_refused(vec![
        (19, good().without(KEY_USAGE), Error::KeyUsage("is missing")),
        (20, good().with(extension(KEY_USAGE, true, b"\x03\x02\x05\x20")), Error::KeyUsage("lacks digitalSignature")),
        (
            20,
            good().with(extension(KEY_USAGE, true, b"\x03\x03\x07\x00\x80")),
            Error::KeyUsage("lacks digitalSignature"),
        ),
    ]);
}

#[test]
fn faults_of_an_issuer_that_mislead_nobody_are_let_pass() {
    all_accepted(vec![
        (13, good().edit(|it| it.subject = name(""))),
        (15, good().without(BASIC_CONSTRAINTS)),
        (21, good().with(extension(KEY_USAGE, false, b"\x03\x02\x07\x80"))),
        (25, good().without(EXTENDED_KEY_USAGE)),
        (27, good().with(extension(UNKNOWN, false, b"anything"))),
        (50, good().edit(|it| it.serial = vec![0])),
    ]);
}

#[test]
fn a_leaf_is_for_the_purposes_that_it_lists() {
    // 23, 24
    let world = World::new();
    let listing = |purposes: &[&[u8]]| good().with(extension(EXTENDED_KEY_USAGE, false, &sequence(purposes)));
    let cases: [(&[&[u8]], [bool; 3]); 5] = [
        (&[SERVER, CLIENT], [true, true, true]),
        (&[SERVER], [true, false, true]),
        (&[CLIENT], [false, true, true]),
        (&[CODE_SIGNING], [false, false, false]),
        // anyExtendedKeyUsage
        (&[b"\x06\x04\x55\x1d\x25\x00"], [false, false, false]),
    ];
    for (purposes, allowed) in cases {
        for (purpose, allowed) in [Purpose::Server, Purpose::Client, Purpose::Any].into_iter().zip(allowed) {
            let outcome = world.judge_for(listing(purposes), purpose);
            assert_eq!(outcome.err(), (!allowed).then_some(Error::Purpose), "{purposes:02x?} {purpose:?}");
        }
    }
}

#[test]
fn unknown_critical_extensions_are_refused() {
    all_refused(vec![
        (26, good().with(extension(UNKNOWN, true, b"")), Error::CriticalExtension("1.3.6.1.4.1.311.99".into())),
        // Certificate policies, policy constraints: known to others, not evaluated here.
        (26, good().with(extension(b"\x55\x1d\x20", true, b"")), Error::CriticalExtension("2.5.29.32".into())),
        (26, good().with(extension(b"\x55\x1d\x24", true, b"")), Error::CriticalExtension("2.5.29.36".into())),
    ]);
}

#[test]
fn there_is_no_leeway_in_time() {
    // 28
    let second = std::time::Duration::from_secs(1);
    all_refused(vec![
        (28, good().edit(|it| it.not_after = now() - second), Error::Expired),
        (28, good().edit(|it| it.not_before = now() + second), Error::NotYetValid),
    ]);
    all_accepted(vec![
        (28, good().edit(|it| it.not_after = now())),
        (28, good().edit(|it| it.not_before = now())),
        (28, good().edit(|it| it.not_after = now() + DAY * 36_500)),
        (28, good().edit(|it| it.not_before = now() - DAY * 25_000)),
    ]);
}

#[test]
fn weak_or_unclear_algorithms_and_keys_are_refused() {
    let algorithm = |content: &[u8]| {
        let algorithm = tlv(0x30, content);
        good().edit(|it| (it.inner_algorithm, it.outer_algorithm) = (Some(algorithm.clone()), Some(algorithm)))
    };
    let key = |algorithm: &[u8], bytes: &[u8]| good().edit(|it| it.public_key = sequence(&[algorithm, &bits(bytes)]));
    let rsa = |bits: usize, exponent: &[u8]| {
        let modulus = [&[0, 0x80 >> ((8 - bits % 8) % 8)], vec![0xff; bits.div_ceil(8) - 1].as_slice()].concat();
        // Without a set first bit there is no sign byte.
        let modulus = if bits.is_multiple_of(8) { &modulus[..] } else { &modulus[1..] };
        key(RSA_KEY, &sequence(&[&tlv(2, modulus), &tlv(2, exponent)]))
    };
    const E: &[u8] = &[1, 0, 1];
    const PRIME_CURVE_192: &[u8] =
        b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x01";
    const SECP256K1: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a";
    const P224: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x21";
    const DSA: &[u8] = b"\x30\x09\x06\x07\x2a\x86\x48\xce\x38\x04\x01";
    let curve = || Error::Key("its curve is neither P-256 nor P-384");
    let form = || Error::Key("its length or form is wrong");
    let exponent = || Error::Key("its RSA exponent is wrong");
    all_refused(vec![
        // sha1WithRSA, md5WithRSA, ecdsa-with-SHA1, ecdsa-with-SHA224, ecdsa-with-SHA256 with a NULL
        (47, algorithm(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00"), Error::Algorithm),
        (47, algorithm(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04\x05\x00"), Error::Algorithm),
        (47, algorithm(b"\x06\x07\x2a\x86\x48\xce\x3d\x04\x01"), Error::Algorithm),
        (47, algorithm(b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x01"), Error::Algorithm),
        (47, algorithm(b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x05\x00"), Error::Algorithm),
        (48, good().edit(|it| it.inner_algorithm = Some(tlv(0x30, b"\x06\x03\x2b\x65\x70"))), Error::AlgorithmsDiffer),
        (48, good().edit(|it| it.outer_algorithm = Some(tlv(0x30, b"\x06\x03\x2b\x65\x70"))), Error::AlgorithmsDiffer),
        (49, rsa(1024, E), Error::Key("RSA with fewer than 2048 bits")),
        (49, rsa(2047, E), Error::Key("RSA with fewer than 2048 bits")),
        (49, rsa(8193, E), Error::Key("RSA with more than 8192 bits")),
        (49, rsa(8200, E), Error::Key("RSA with more than 8192 bits")),
        (49, rsa(2048, &[1]), exponent()),
        (49, rsa(2048, &[0]), exponent()),
        (49, rsa(2048, &[0xff]), exponent()),
        (49, rsa(2048, &[1, 0, 0]), exponent()),
        (49, key(RSA_KEY, b"\x30\x03\x02\x01\x80"), Error::Malformed("the RSA key")),
        (49, key(PRIME_CURVE_192, &[4; 49]), curve()),
        (49, key(SECP256K1, &[4; 65]), curve()),
        (49, key(P224, &[4; 57]), curve()),
        (49, key(DSA, &[4; 65]), Error::Key("its algorithm is not known")),
        // A compressed point, and one byte too few
        (49, key(P256_KEY, &[2; 33]), form()),
        (49, key(P256_KEY, &[4; 64]), form()),
    ]);
    all_accepted(vec![
        (49, rsa(2048, E)),
        (49, rsa(2049, E)),
        (49, rsa(3072, &[3])),
        (49, rsa(8191, E)),
        (49, rsa(8192, E)),
    ]);
}

#[test]
fn serial_numbers_versions_and_ends_are_as_they_must_be() {
    all_refused(vec![
        (50, good().edit(|it| it.serial = vec![0x80]), Error::Serial("negative")),
        (50, good().edit(|it| it.serial = vec![1; 21]), Error::Serial("longer than 20 octets")),
        (50, good().edit(|it| it.serial = vec![0, 1]), Error::Malformed("the serial number")),
        (50, good().edit(|it| it.serial = vec![]), Error::Malformed("the serial number")),
        (51, good().edit(|it| (it.version, it.extensions) = (vec![], vec![])), Error::Version),
        (51, good().edit(|it| it.version = vec![0xa0, 3, 2, 1, 0]), Error::Version),
        (51, good().edit(|it| it.version = vec![0xa0, 3, 2, 1, 1]), Error::Version),
        (51, good().edit(|it| it.version = vec![0xa0, 3, 2, 1, 3]), Error::Version),
        (52, good().edit(|it| it.tail = vec![5, 0]), Error::Trailing("the certificate")),
        (52, good().edit(|it| it.signed_tail = vec![5, 0]), Error::Trailing("the signed part")),
        // The unique identifiers of version 2
        (52, good().edit(|it| it.public_key.extend(tlv(0x81, &[0, 1]))), Error::Trailing("the signed part")),
    ]);
    all_accepted(vec![(50, good().edit(|it| it.serial = vec![0x7f; 20]))]);
    let world = World::new();
    let mut leaf = good().signed_by(&world.issuing).to_vec();
    leaf.push(0);
    assert_eq!(world.judge_chain(&[leaf.into(), world.issuing.der.clone()]), Err(Error::Trailing("the certificate")));
}

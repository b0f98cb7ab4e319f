//! Algorithms, times, and bytes in a row.

use std::time::SystemTime;

use aws_lc_rs::signature::{self, RsaEncoding};
use bytes::Bytes;

use super::kit::*;
use crate::spiffe::x509::{
    AUTHORITIES_MAX, Bundle, Bundles, CERTIFICATE_BYTES_MAX, CHAIN_CERTIFICATES_MAX, Error, Purpose, der::Reader,
    split, time, verify,
};

/// A leaf of an authority with this key.
fn signed_with(key: Key) -> Result<(), Error> {
    let root = Blueprint::authority("root", "example.org", &key).for_key(key, None);
    let bundles = Bundles::from_iter([bundle("example.org", &[&root])]);
    let leaf = Blueprint::leaf("spiffe://example.org/a").signed_by(&root);
    verify(&[leaf], &bundles, Purpose::Any, now()).map(drop)
}

#[test]
fn all_allowed_algorithms_are_believed() {
    assert_eq!(signed_with(Key::p256()), Ok(()));
    assert_eq!(signed_with(Key::p384()), Ok(()));
    assert_eq!(signed_with(Key::ed25519()), Ok(()));
    let pkcs1 = |last: u8| tlv(0x30, &[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01".as_slice(), &[last, 5, 0]].concat());
    let pss = |hash: u8, salt: u8| {
        let hash = tlv(0x30, &[b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02".as_slice(), &[hash, 5, 0]].concat());
        let mask = sequence(&[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08", &hash]);
        let parameters = sequence(&[&tlv(0xa0, &hash), &tlv(0xa1, &mask), &tlv(0xa2, &[2, 1, salt])]);
        sequence(&[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", &parameters])
    };
    let rsa: [(&'static dyn RsaEncoding, Vec<u8>); 6] = [
        (&signature::RSA_PKCS1_SHA256, pkcs1(11)),
        (&signature::RSA_PKCS1_SHA384, pkcs1(12)),
        (&signature::RSA_PKCS1_SHA512, pkcs1(13)),
        (&signature::RSA_PSS_SHA256, pss(1, 32)),
        (&signature::RSA_PSS_SHA384, pss(2, 48)),
        (&signature::RSA_PSS_SHA512, pss(3, 64)),
    ];
    for (encoding, algorithm) in rsa {
        let name = format!("{algorithm:02x?}");
        assert_eq!(signed_with(Key::rsa(encoding, algorithm)), Ok(()), "{name}");
    }
    // A salt of another length than the hash is another algorithm.
    assert_eq!(signed_with_parameters(pss(1, 20)), Error::Algorithm);
}

fn signed_with_parameters(algorithm: Vec<u8>) -> Error {
    let key = Key::rsa(&signature::RSA_PSS_SHA256, algorithm);
    let root = Blueprint::authority("root", "example.org", &key).for_key(key, None);
    Bundle::new(domain("example.org"), vec![root.der]).unwrap_err()
}

fn read_time(tag: u8, text: &str) -> Result<u64, Error> {
    let der = tlv(tag, text.as_bytes());
    time::read(&mut Reader::new(&der)).map(|time| match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs(),
        Err(before) => u64::MAX - before.duration().as_secs(),
    })
}

#[test]
fn times_are_read_as_they_stand() {
    let read = [
        (0x17, "700101000000Z", 0),
        (0x17, "270115080000Z", 1_800_000_000),
        (0x17, "491231235959Z", 2_524_607_999),
        (0x17, "500101000000Z", u64::MAX - 631_152_000),
        (0x17, "000229120000Z", 951_825_600),
        (0x18, "20500101000000Z", 2_524_608_000),
        (0x18, "19700101000000Z", 0),
        (0x18, "21000301000000Z", 4_107_542_400),
        (0x18, "99991231235959Z", 253_402_300_799),
    ];
    for (tag, text, seconds) in read {
        assert_eq!(read_time(tag, text), Ok(seconds), "{text}");
    }
    let refused = [
        (0x17, ""),
        (0x17, "2701150800Z"),
        (0x17, "270115080000"),
        (0x17, "270115080000+0000"),
        (0x17, "270015080000Z"),
        (0x17, "271315080000Z"),
        (0x17, "270100080000Z"),
        (0x17, "270132080000Z"),
        (0x17, "270229080000Z"),
        (0x17, "270431080000Z"),
        (0x17, "270115240000Z"),
        (0x17, "270115086000Z"),
        (0x17, "270115080060Z"),
        (0x17, "2701150800 0Z"),
        (0x17, "27011508000xZ"),
        (0x18, "20270115080000.5Z"),
        (0x18, "270115080000Z"),
        (0x18, "21000229000000Z"),
        (0x04, "270115080000Z"),
    ];
    for (tag, text) in refused {
        assert_eq!(read_time(tag, text), Err(Error::Malformed("a time")), "{text}");
    }
}

#[test]
fn every_day_of_two_centuries_follows_the_one_before() {
    let mut before = read_time(0x18, "19991231000000Z").unwrap();
    let mut days = 0;
    for (year, month, day) in (2000..2200).flat_map(|y| (1..=12).flat_map(move |m| (1..=31).map(move |d| (y, m, d)))) {
        if let Ok(time) = read_time(0x18, &format!("{year}{month:02}{day:02}000000Z")) {
            assert_eq!(time - before, 86_400, "{year}-{month}-{day}");
            (before, days) = (time, days + 1);
        }
    }
    // 200 years with 49 leap days: 2100 has none, 2000 has one.
    assert_eq!(days, 200 * 365 + 49);
}

#[test]
fn lengths_must_be_the_shortest_and_all_there() {
    // Content enough for any of these lengths follows.
    let refused: [&[u8]; 7] = [
        b"\x30\x80",
        b"\x30\x81\x7f",
        b"\x30\x82\x00\x80",
        b"\x30\x83\x00\x00\x01",
        b"\x30\x85\x01\x00\x00\x00\x00",
        b"\x1f\x01",
        b"\x3f\x01",
    ];
    for head in refused {
        let bytes = [head, &[0; 300]].concat();
        assert!(Reader::new(&bytes).element("it").is_err(), "{head:02x?}");
    }
    let torn: [&[u8]; 6] = [b"", b"\x30", b"\x30\x01", b"\x30\x81", b"\x30\x82\x01", b"\x30\x84\xff\xff\xff\xff"];
    for bytes in torn {
        assert!(Reader::new(bytes).element("it").is_err(), "{bytes:02x?}");
    }
    for length in [0, 1, 127, 128, 255, 256, 300] {
        let whole = tlv(4, &vec![7; length]);
        let element = Reader::new(&whole).element("it").unwrap();
        assert_eq!((element.content.len(), element.whole.len()), (length, whole.len()));
    }
}

#[test]
fn bytes_in_a_row_are_cut_apart() {
    let world = World::new();
    let row = [world.root.der.clone(), world.issuing.der.clone()];
    assert_eq!(split(&row.concat()).unwrap(), row);
    assert_eq!(split(b""), Ok(vec![]));
    for between in [b"\n".as_slice(), b"\0", b"-----BEGIN CERTIFICATE-----"] {
        let torn = [&row[0], between, &row[1]].concat();
        assert_eq!(split(&torn), Err(Error::Malformed("a certificate")), "{between:?}");
        assert_eq!(split(&[&row[0], between].concat()), Err(Error::Malformed("a certificate")), "{between:?}");
    }
    let many = vec![row[0].clone(); CHAIN_CERTIFICATES_MAX];
    assert_eq!(split(&many.concat()).unwrap().len(), CHAIN_CERTIFICATES_MAX);
    assert_eq!(split(&[many.concat(), row[0].to_vec()].concat()), Err(Error::CHAIN));
    let huge = tlv(0x30, &vec![0; CERTIFICATE_BYTES_MAX]);
    assert_eq!(split(&huge), Err(Error::TooLarge(huge.len())));
    let largest = tlv(0x30, &vec![0; CERTIFICATE_BYTES_MAX - 4]);
    assert_eq!(split(&largest).unwrap().len(), 1);
}

#[test]
fn a_bundle_keeps_order_and_drops_repetitions() {
    let (first, second) = (root("1", "example.org"), root("2", "example.org"));
    let authorities = vec![second.der.clone(), first.der.clone(), second.der.clone()];
    let bundle = Bundle::new(domain("example.org"), authorities).unwrap();
    assert_eq!(bundle.authorities(), [second.der.clone(), first.der.clone()]);
    assert_eq!(bundle.der()[..], [second.der.clone(), first.der.clone()].concat());
    assert_eq!(Bundle::from_der(domain("example.org"), bundle.der()), Ok(bundle.clone()));
    assert_ne!(Bundle::from_der(domain("other.test"), bundle.der()).unwrap(), bundle);
    assert_eq!(format!("{bundle:?}"), "Bundle(example.org, 2 authorities)");
    assert!(Bundle::from_der(domain("example.org"), b"").unwrap().is_empty());
    assert_eq!(
        Bundle::new(domain("example.org"), vec![Bytes::from_static(b"x")]),
        Err(Error::Malformed("the certificate"))
    );
}

#[test]
fn a_bundle_has_a_limit() {
    let key = Key::p256();
    let one = || Blueprint::authority("root", "example.org", &key).sign(&key);
    let mut many: Vec<_> = (0..AUTHORITIES_MAX).map(|_| one()).collect();
    assert_eq!(Bundle::new(domain("example.org"), many.clone()).unwrap().authorities().len(), AUTHORITIES_MAX);
    many.push(one());
    assert_eq!(Bundle::from_der(domain("example.org"), &many.concat()), Err(Error::TooMany { most: AUTHORITIES_MAX }));
    assert_eq!(Bundle::new(domain("example.org"), many), Err(Error::TooMany { most: AUTHORITIES_MAX }));
}

#[test]
fn bundles_of_the_same_authority_stay_apart() {
    let shared = root("shared", "example.org");
    let mut bundles = Bundles::empty();
    assert!(bundles.is_empty());
    for name in ["b.test", "a.test"] {
        assert_eq!(bundles.insert(bundle(name, &[&shared])), None);
    }
    let names: Vec<_> = bundles.iter().map(|bundle| bundle.trust_domain().as_str()).collect();
    assert_eq!(names, ["a.test", "b.test"]);
    assert_eq!(bundles.len(), 2);
    // The name in the leaf decides, not who signed.
    let leaf = Blueprint::leaf("spiffe://c.test/x").signed_by(&shared);
    assert_eq!(verify(&[leaf], &bundles, Purpose::Any, now()), Err(Error::NoBundle(domain("c.test"))));
    assert!(bundles.remove(&domain("a.test")).is_some());
    assert!(bundles.of(&domain("a.test")).is_none());
}

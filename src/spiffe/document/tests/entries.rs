//! Rows about one entry beside good ones.

use data_encoding::{BASE64, BASE64URL};

use super::kit::{Good, anchor, certified, jwk, of, own, token_key, with, x509_entry};
use crate::spiffe::{
    TrustDomain,
    document::{LeftOut, Reason as R, Warning, parse},
    jose::{KeyError as K, encode},
    x509::{
        self, Bundles, Purpose,
        tests::kit::{Blueprint, DAY, Key, now, root, root_with},
    },
};

#[test]
fn the_adversarial_table_of_entries_left_out() {
    let good = Good::new();
    let key = jwk().to_json();
    let other = root("other", "example.org");
    let der = BASE64.encode(&other.der);
    let leaf = Blueprint::leaf("spiffe://example.org/a").signed_by(&good.root);
    let leaf_entry = x509_entry(&certified(&leaf), &[&BASE64.encode(&leaf)]);
    let url = BASE64URL.encode(&[&other.der[..], b"~~~???"].concat());
    let mac = r#"{"kty":"oct","use":"jwt-svid","kid":"m","k":"AA"}"#.to_owned();
    let rsa = |n: &[u8], e: &[u8]| {
        format!(r#"{{"kty":"RSA","use":"jwt-svid","kid":"r","n":"{}","e":"{}"}}"#, encode(n), encode(e))
    };
    let even = [vec![0xff; 255], vec![0xfe]].concat();
    let jwt = |members: &str| with(&key, &format!(r#""use":"jwt-svid",{members}"#));
    let ed25519 = {
        let key = Key::ed25519();
        let root = Blueprint::authority("ed", "example.org", &key).for_key(key, None);
        x509_entry(&jwk().to_json(), &[&BASE64.encode(&root.der)])
    };
    let cases: Vec<(&str, String, R)> = vec![
        ("ADV-B-06 use sig", with(&key, r#""use":"sig","kid":"a""#), R::Use),
        ("ADV-B-07 no use", with(&key, r#""kid":"a""#), R::Use),
        ("ADV-B-08 X509-SVID", anchor(&other).replace("x509-svid", "X509-SVID"), R::Use),
        ("TDB-14 JWT-SVID", token_key("JWT-SVID", "a"), R::Use),
        ("ADV-B-09 AKP", r#"{"kty":"AKP","use":"jwt-svid","kid":"a","pub":"AA"}"#.into(), R::Key(K::Type)),
        ("ADV-B-09 no kty", r#"{"use":"jwt-svid","kid":"a"}"#.into(), R::Key(K::Type)),
        ("ADV-B-10 secp256k1", jwt(r#""kid":"a""#).replace("P-256", "secp256k1"), R::Key(K::Curve)),
        ("ADV-B-11 use is a list", with(&key, r#""use":["jwt-svid"],"kid":"a""#), R::Use),
        ("ADV-B-12 no x5c", with(&key, r#""use":"x509-svid""#), R::NoCertificate),
        ("ADV-B-12 x5c empty", x509_entry(&key, &[]), R::NoCertificate),
        ("x5c is a text", with(&key, &format!(r#""use":"x509-svid","x5c":"{der}""#)), R::NoCertificate),
        ("x5c of a number", with(&key, r#""use":"x509-svid","x5c":[5]"#), R::CertificateEncoding),
        ("ADV-B-14 first undecodable", x509_entry(&certified(&other.der), &["*", &der]), R::CertificateEncoding),
        (
            "ADV-B-14 first no certificate",
            x509_entry(&certified(&other.der), &["MAA=", &der]),
            R::Certificate(x509::Error::Malformed("the certificate")),
        ),
        ("ADV-B-15 base64url", x509_entry(&key, &[&url]), R::CertificateEncoding),
        ("ADV-B-15 no padding", x509_entry(&key, &["MAA"]), R::CertificateEncoding),
        ("ADV-B-15 line breaks", x509_entry(&key, &[&format!(r"{der}\n")]), R::CertificateEncoding),
        ("ADV-B-15 PEM", x509_entry(&key, &["-----BEGIN CERTIFICATE-----"]), R::CertificateEncoding),
        ("ADV-B-16 another key", x509_entry(&key, &[&der]), R::KeyDiffers),
        (
            "XBND-09 no key of its own",
            with(r#"{"kty":"EC"}"#, &format!(r#""use":"x509-svid","x5c":["{der}"]"#)),
            R::Key(K::Curve),
        ),
        ("a certificate of Ed25519", ed25519, R::Key(K::Type)),
        ("ADV-B-18 a leaf", leaf_entry, R::Certificate(x509::Error::NotAuthority)),
        ("ADV-B-21 no kid", with(&key, r#""use":"jwt-svid""#), R::KeyId),
        ("ADV-B-21 kid empty", jwt(r#""kid":"""#), R::KeyId),
        ("ADV-B-21 kid 5", jwt(r#""kid":5"#), R::KeyId),
        ("ADV-B-21 a WIT key without kid", with(&key, r#""use":"wit-svid""#), R::KeyId),
        ("ADV-B-24 symmetric", mac.clone(), R::Key(K::Symmetric)),
        ("TDB-16 symmetric for anything", mac.replace("jwt-svid", "enc"), R::Key(K::Symmetric)),
        ("ADV-B-25 private", jwt(r#""kid":"a","d":"AA""#), R::Key(K::Private("d"))),
        ("TDB-16 private, authority", with(&anchor(&other), r#""d":"AA""#), R::Key(K::Private("d"))),
        ("TDB-16 private, unknown kind", r#"{"kty":"AKP","priv":"AA"}"#.into(), R::Key(K::Private("priv"))),
        (
            "ADV-B-26 short coordinate",
            format!(r#"{{"kty":"EC","crv":"P-256","use":"jwt-svid","kid":"a","x":"{0}","y":"{0}"}}"#, encode(&[1; 31])),
            R::Key(K::Width),
        ),
        (
            "ADV-B-27 off the curve",
            format!(r#"{{"kty":"EC","crv":"P-256","use":"jwt-svid","kid":"a","x":"{0}","y":"{0}"}}"#, encode(&[1; 32])),
            R::Key(K::Point),
        ),
        ("ADV-B-28 RSA 1024", rsa(&[0xff; 128], &[1, 0, 1]), R::Key(K::RsaSize)),
        ("ADV-B-28 e = 1", rsa(&[0xff; 256], &[1]), R::Key(K::RsaExponent)),
        ("ADV-B-28 even modulus", rsa(&even, &[1, 0, 1]), R::Key(K::RsaModulus)),
        ("ADV-B-29 RS256 of EC", jwt(r#""kid":"a","alg":"RS256""#), R::Key(K::Algorithm)),
        ("ADV-B-33 use twice", jwt(r#""kid":"a","use":"jwt-svid""#), R::Repeated),
        ("ADV-B-33 deep in an entry", jwt(r#""kid":"a","x":[{"y":1,"y":1}]"#), R::Repeated),
        ("no object", "5".into(), R::NotObject),
        ("null", "null".into(), R::NotObject),
    ];
    for (name, entry, reason) in cases {
        let (document, left_out) = good.beside(&entry);
        assert_eq!(left_out, Some(reason.clone()), "{name}: {entry}");
        let counts = (document.x509().authorities().len(), document.jwt().len(), document.wit().len());
        assert_eq!(counts, (1, 1, 1), "{name}");
        let alarms = matches!(reason, R::Key(K::Private(_) | K::Symmetric));
        assert_eq!(reason.is_alarming(), alarms, "{name}");
    }
}

#[test]
fn the_adversarial_table_of_entries_that_are_used() {
    let good = Good::new();
    let other = root("other", "example.org");
    let (der, second) = (BASE64.encode(&other.der), BASE64.encode(&root("second", "example.org").der));
    let rsa = Key::rsa(&aws_lc_rs::signature::RSA_PKCS1_SHA256, Vec::new());
    let p384 = Blueprint::authority("p384", "example.org", &Key::p384()).for_key(Key::p256(), None);
    let rsa = Blueprint::authority("rsa", "example.org", &rsa).for_key(Key::p256(), None);
    for (name, entry, wanted) in [
        ("ADV-B-13 two certificates", x509_entry(&certified(&other.der), &[&der, &second]), &other.der),
        ("ADV-B-13 the second is no certificate", x509_entry(&certified(&other.der), &[&der, "*"]), &other.der),
        ("XBND-05 P-384", anchor(&p384), &p384.der),
        ("XBND-05 RSA", anchor(&rsa), &rsa.der),
    ] {
        let (document, left_out) = good.beside(&entry);
        assert_eq!(left_out, None, "{name}");
        assert_eq!(document.x509().authorities(), [good.root.der.clone(), wanted.clone()], "{name}");
    }
    let named = of(&[with(&anchor(&other), r#""kid":"x""#)]);
    assert_eq!(named.warnings, [Warning::KeyIdOfAuthority { index: 0 }], "ADV-B-17");
    assert_eq!(named.document.x509().der(), &other.der, "ADV-B-17");

    let twice = of(&[anchor(&other), good.entries[0].clone(), anchor(&other)]);
    assert_eq!(twice.document.x509().authorities(), [other.der, good.root.der.clone()], "ADV-B-20");
    assert_eq!(twice.left_out, [], "ADV-B-20");
}

/// ADV-B-19: the document keeps it, and nothing is verified with it.
#[test]
fn an_expired_authority_is_kept_and_believed_by_nobody() {
    let expired = root_with("old", "example.org", |it| it.edit(|it| it.not_after = now() - DAY / 2));
    let outcome = of(&[anchor(&expired)]);
    assert_eq!(outcome.left_out, []);
    let leaf = Blueprint::leaf("spiffe://example.org/a").signed_by(&expired);
    let bundles = Bundles::from_iter([outcome.document.x509().clone()]);
    let refused = x509::verify(&[leaf], &bundles, Purpose::Any, now());
    assert_eq!(refused, Err(x509::Error::EmptyBundle(own())), "ADV-B-19");
}

#[test]
fn a_name_for_two_keys_is_a_name_for_none() {
    let alarm = |index| LeftOut { index, reason: R::KeyIdTwice };
    assert!(R::KeyIdTwice.is_alarming());
    let (jwt, wit) = (|id| token_key("jwt-svid", id), |id| token_key("wit-svid", id));

    let two = of(&[jwt("a"), jwt("b"), jwt("a")]);
    assert_eq!(two.left_out, [alarm(0), alarm(2)], "ADV-B-22");
    assert_eq!(two.document.jwt().keys().map(|(id, _)| id).collect::<Vec<_>>(), ["b"], "ADV-B-22");

    let same = jwt("a");
    assert_eq!(of(&[same.clone(), same]).left_out, [alarm(0), alarm(1)], "ADV-B-22 the same key");

    let shared = of(&[jwt("a"), wit("a"), wit("b")]);
    assert_eq!(shared.left_out, [alarm(0), alarm(1)], "ADV-B-23");
    assert!(shared.document.jwt().is_empty() && shared.document.wit().len() == 1, "ADV-B-23");

    // One of the two is no good key: which of them a token means is as unclear.
    let broken = of(&[jwt("a"), with(r#"{"kty":"AKP"}"#, r#""use":"wit-svid","kid":"a""#)]);
    assert_eq!(broken.left_out, [alarm(0), alarm(1)]);
    // Entries of no use here have names of their own.
    assert_eq!(of(&[jwt("a"), token_key("sig", "a")]).document.jwt().len(), 1);
}

/// ADV-B-43: nothing in a document says whose it is, so the caller's name is all there is.
#[test]
fn keys_are_those_of_the_name_that_was_asked_for() {
    let foreign = root("foreign", "other.test");
    let document = format!(r#"{{"keys":[{},{}]}}"#, anchor(&foreign), token_key("jwt-svid", "o1"));
    let read = parse(own(), document.as_bytes()).unwrap().document;
    assert_eq!(read.trust_domain(), &own());
    assert_eq!((read.x509().trust_domain(), read.jwt().trust_domain()), (&own(), &own()));
    let leaf = Blueprint::leaf("spiffe://other.test/a").signed_by(&foreign);
    let refused = x509::verify(&[leaf], &Bundles::from_iter([read.x509().clone()]), Purpose::Any, now());
    assert_eq!(refused, Err(x509::Error::NoBundle(TrustDomain::parse("other.test").unwrap())), "ADV-B-43");
}

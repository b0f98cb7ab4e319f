//! Public keys: what is taken, what is refused and why, and how they are written.

use super::kit::{Key, rsa};
use crate::spiffe::{
    jose::{Algorithm, Bundle, BundleError, Jwk, KEYS_MAX, KeyError as K, PrivateJwk, SigningAlgorithm, encode},
    jwt,
};

/// RFC 7515 A.3
const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";

fn ec(curve: &str, x: &str, y: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}"#)
}

fn rsa_json(modulus: &[u8], exponent: &[u8]) -> String {
    format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, encode(modulus), encode(exponent))
}

/// An odd modulus of this many bits; no product of primes, which nobody looks at before a signature.
fn modulus(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] = 0xff >> (modulus.len() * 8 - bits);
    modulus
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF\
             V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9\
             c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1\
             jF44-csFCur-kEgU8awapJzKnqDKgw";
    let json = format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","alg":"RS256","kid":"2011-04-29"}}"#);
    assert_eq!(Jwk::parse(json.as_bytes()).unwrap().thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_key_is_written_as_it_is_read_and_alike_each_time() {
    let json = ec("P-256", X, Y);
    let key = Jwk::parse(json.as_bytes()).unwrap();
    assert_eq!(key.to_json(), json);
    let named = key.clone().for_algorithm(Algorithm::Es256).unwrap();
    assert_eq!(named.to_json(), json.replace('}', r#","alg":"ES256"}"#));
    assert_eq!(Jwk::parse(named.to_json().as_bytes()).as_ref(), Ok(&named));
    assert!(named.is_same_key(&key) && named != key);
    assert_eq!(named.thumbprint(), key.thumbprint());
    assert_eq!(named.for_algorithm(Algorithm::Es384), Err(K::Algorithm));
}

/// JWT-29: a coordinate that happens to begin with a zero keeps it.
#[test]
fn coordinates_have_full_width_whatever_they_begin_with() {
    let mut keys = std::iter::repeat_with(|| Key::new("k", Algorithm::Es256).jwk()).take(10_000);
    let begins_with_zero = |key: &Jwk| {
        let json: serde_json::Value = serde_json::from_str(&key.to_json()).unwrap();
        super::kit::parts(json["x"].as_str().unwrap())[0][0] == 0
    };
    let short = keys.find(begins_with_zero).unwrap();
    assert_eq!(short.to_json().len(), ec("P-256", X, Y).len());
    assert_eq!(Jwk::parse(short.to_json().as_bytes()), Ok(short));
    let p521 = Key::new("k", Algorithm::Es512).jwk();
    assert_eq!(p521.to_json().len(), ec("P-521", &"A".repeat(88), &"A".repeat(88)).len());
}

#[test]
fn a_bad_key_is_refused_for_its_fault() {
    let other = Key::new("k", Algorithm::Es384).jwk().to_json();
    let cases: &[(&str, String, K)] = &[
        ("array", "[]".into(), K::NotObject),
        ("no type", format!(r#"{{"crv":"P-256","x":"{X}","y":"{Y}"}}"#), K::Type),
        ("post-quantum", r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#.into(), K::Type),
        ("Ed25519", format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#), K::Type),
        ("type in lower case", ec("P-256", X, Y).replace("EC", "ec"), K::Type),
        ("ADV-B-24 symmetric", r#"{"kty":"oct","k":"AA"}"#.into(), K::Symmetric),
        ("symmetric without k", r#"{"kty":"oct"}"#.into(), K::Symmetric),
        ("ADV-B-25 private", ec("P-256", X, Y).replace('}', &format!(r#","d":"{D}"}}"#)), K::Private("d")),
        ("private null", ec("P-256", X, Y).replace('}', r#","d":null}"#), K::Private("d")),
        ("RSA primes", rsa_json(&modulus(2048), &[3]).replace('}', r#","p":"AA"}"#), K::Private("p")),
        ("ADV-B-10 curve", ec("secp256k1", X, Y), K::Curve),
        ("curve in lower case", ec("p-256", X, Y), K::Curve),
        ("no curve", format!(r#"{{"kty":"EC","x":"{X}","y":"{Y}"}}"#), K::Curve),
        ("no y", format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}"}}"#), K::Member("y")),
        ("x is a number", format!(r#"{{"kty":"EC","crv":"P-256","x":5,"y":"{Y}"}}"#), K::Member("x")),
        ("padding", ec("P-256", &format!("{X}="), Y), K::Member("x")),
        ("stray bits", ec("P-256", X, &Y.replace("5a0", "5a1")), K::Member("y")),
        ("blank", ec("P-256", &format!(" {X}"), Y), K::Member("x")),
        ("other alphabet", ec("P-256", X, &Y.replace('_', "/")), K::Member("y")),
        ("ADV-B-26 short coordinate", ec("P-256", &encode(&[1; 31]), Y), K::Width),
        ("long coordinate", ec("P-256", &encode(&[0; 33]), Y), K::Width),
        ("widths that add up", ec("P-256", &encode(&[1; 31]), &encode(&[1; 33])), K::Width),
        ("other curve's point", other.replace("P-384", "P-256"), K::Width),
        ("ADV-B-27 off the curve", ec("P-256", X, &Y.replace("5a0", "5aw")), K::Point),
        ("the point 0, 0", ec("P-256", &encode(&[0; 32]), &encode(&[0; 32])), K::Point),
        ("beyond the field", ec("P-256", &encode(&[0xff; 32]), Y), K::Point),
        ("RSA 1024", rsa_json(&modulus(1024), &[1, 0, 1]), K::RsaSize),
        ("RSA 2047", rsa_json(&modulus(2047), &[1, 0, 1]), K::RsaSize),
        ("RSA 8193", rsa_json(&modulus(8193), &[1, 0, 1]), K::RsaSize),
        ("RSA empty", rsa_json(&[], &[1, 0, 1]), K::RsaSize),
        ("RSA one byte", rsa_json(&[3], &[1, 0, 1]), K::RsaSize),
        ("RSA zero in front", rsa_json(&[vec![0], modulus(2048)].concat(), &[1, 0, 1]), K::RsaModulus),
        ("RSA even", rsa_json(&[vec![0xff; 255], vec![0xfe]].concat(), &[1, 0, 1]), K::RsaModulus),
        ("e = 0", rsa_json(&modulus(2048), &[0]), K::RsaExponent),
        ("e = 1", rsa_json(&modulus(2048), &[1]), K::RsaExponent),
        ("e = 2", rsa_json(&modulus(2048), &[2]), K::RsaExponent),
        ("e = 65536", rsa_json(&modulus(2048), &[1, 0, 0]), K::RsaExponent),
        ("e empty", rsa_json(&modulus(2048), &[]), K::RsaExponent),
        ("e with a zero in front", rsa_json(&modulus(2048), &[0, 3]), K::RsaExponent),
        ("e of 33 bits", rsa_json(&modulus(2048), &[1, 0, 0, 0, 1]), K::RsaExponent),
        ("no e", format!(r#"{{"kty":"RSA","n":"{}"}}"#, encode(&modulus(2048))), K::Member("e")),
        ("ADV-B-29 RS256 of EC", ec("P-256", X, Y).replace('}', r#","alg":"RS256"}"#), K::Algorithm),
        ("ES384 of P-256", ec("P-256", X, Y).replace('}', r#","alg":"ES384"}"#), K::Algorithm),
        ("ES256 of RSA", rsa_json(&modulus(2048), &[3]).replace('}', r#","alg":"ES256"}"#), K::Algorithm),
        ("EdDSA", ec("P-256", X, Y).replace('}', r#","alg":"EdDSA"}"#), K::Algorithm),
        ("alg is a number", ec("P-256", X, Y).replace('}', r#","alg":7}"#), K::Algorithm),
    ];
    for (name, json, reason) in cases {
        let refused = Jwk::parse(json.as_bytes());
        assert_eq!(refused, Err(*reason), "{name}: {json}");
        assert_eq!(reason.is_alarming(), matches!(reason, K::Private(_) | K::Symmetric), "{name}");
    }
    assert!(matches!(Jwk::parse(br#"{"kty":"EC","kty":"EC"}"#), Err(K::Json(_))));
    assert!(matches!(Jwk::parse(&vec![b' '; 8 * 1024 + 1]), Err(K::Json(_))));
}

#[test]
fn of_a_private_key_its_holder_sees_the_public_half() {
    let private = |d: &str| Jwk::of_private(ec("P-256", X, Y).replace('}', &format!(r#","d":"{d}"}}"#)).as_bytes());
    assert_eq!(private(D), Jwk::parse(ec("P-256", X, Y).as_bytes()));
    assert_eq!(private(&encode(&[7; 32])), Err(K::KeyPair), "of another pair");
    assert_eq!(private(""), Err(K::KeyPair));
    assert_eq!(private("not base64url"), Err(K::Member("d")));
    assert_eq!(Jwk::of_private(ec("P-256", X, Y).as_bytes()), Err(K::Member("d")), "a public key");
    let rsa = rsa_json(&modulus(2048), &[1, 0, 1]);
    let whole = rsa.replace('}', r#","d":"AQ","p":"AQ","q":"AQ"}"#);
    assert_eq!(Jwk::of_private(whole.as_bytes()), Jwk::parse(rsa.as_bytes()));
    assert_eq!(Jwk::of_private(br#"{"kty":"oct","k":"AA","d":"AA"}"#), Err(K::Type));
}

#[test]
fn rsa_is_taken_from_2048_to_8192_bits() {
    for bits in [2048, 2049, 3072, 4096, 8191, 8192] {
        let json = rsa_json(&modulus(bits), &[1, 0, 1]);
        assert_eq!(Jwk::parse(json.as_bytes()).unwrap().to_json(), json, "{bits}");
    }
    for exponent in [&[3][..], &[1, 0, 1], &[0xff, 0xff, 0xff, 0xff]] {
        assert!(Jwk::parse(rsa_json(&modulus(2048), exponent).as_bytes()).is_ok(), "{exponent:?}");
    }
}

#[test]
fn a_point_is_of_one_form() {
    let point = [&[4][..], &super::kit::parts(X)[0], &super::kit::parts(Y)[0]].concat();
    assert_eq!(Jwk::from_point(&point).unwrap().to_json(), ec("P-256", X, Y));
    let compressed = [&[3][..], &point[1..33]].concat();
    for (bad, reason) in [
        (compressed, K::Width),
        ([&[6][..], &point[1..]].concat(), K::Width),
        (point[..64].to_vec(), K::Width),
        (Vec::new(), K::Width),
        ([&point[..64], &[0][..]].concat(), K::Point),
    ] {
        assert_eq!(Jwk::from_point(&bad), Err(reason), "{bad:?}");
    }
}

/// WIT-25 and WAPI-92
#[test]
fn a_private_key_is_that_of_its_public_half() {
    for (algorithm, signing, width) in
        [(Algorithm::Es256, SigningAlgorithm::Es256, 32), (Algorithm::Es384, SigningAlgorithm::Es384, 48)]
    {
        let key = Key::new("k", algorithm);
        let private = PrivateJwk::from_pkcs8(signing, &key.pkcs8()).unwrap();
        assert!(private.public().is_same_key(&key.jwk()));
        assert_eq!(private.public().algorithm(), Some(algorithm));
        assert_eq!(Jwk::parse(private.expose().as_bytes()), Err(K::Private("d")));
        // Without its private member it is the public half.
        let json: serde_json::Value = serde_json::from_str(private.expose()).unwrap();
        let scalar = json["d"].as_str().unwrap();
        assert_eq!(super::kit::parts(scalar)[0].len(), width);
        let public = private.expose().replace(&format!(r#","d":"{scalar}""#), "");
        assert_eq!(Jwk::parse(public.as_bytes()).as_ref(), Ok(private.public()));
        assert_eq!(format!("{private:?}"), "PrivateJwk(..)");
    }
}

#[test]
fn halves_of_two_keys_or_of_another_curve_are_no_key() {
    let (one, two) = (Key::new("k", Algorithm::Es256).pkcs8(), Key::new("k", Algorithm::Es256).pkcs8());
    assert_eq!(PrivateJwk::from_pkcs8(SigningAlgorithm::Es384, &one).err(), Some(K::KeyPair));
    assert_eq!(PrivateJwk::from_pkcs8(SigningAlgorithm::Es256, b"").err(), Some(K::KeyPair));
    // The public point is the last 64 bytes of either.
    let mixed = [&one[..one.len() - 64], &two[two.len() - 64..]].concat();
    assert_eq!(PrivateJwk::from_pkcs8(SigningAlgorithm::Es256, &mixed).err(), Some(K::KeyPair));
    assert!(PrivateJwk::from_pkcs8(SigningAlgorithm::Es256, &one).is_ok());
}

#[test]
fn a_bundle_has_named_keys_none_twice_and_so_many() {
    let own = || crate::spiffe::TrustDomain::parse("example.org").unwrap();
    let key = rsa().jwk();
    let named = |id: &str| (id.to_owned(), key.clone());
    assert_eq!(jwt::Bundle::new(own(), [named("")]), Err(BundleError::KeyIdEmpty));
    assert_eq!(jwt::Bundle::new(own(), [named("a"), named("a")]), Err(BundleError::KeyIdTwice));
    let many = |count: usize| jwt::Bundle::new(own(), (0..count).map(|number| named(&number.to_string())));
    assert_eq!(many(KEYS_MAX).unwrap().len(), KEYS_MAX);
    assert_eq!(many(KEYS_MAX + 1), Err(BundleError::TooMany));

    let bundle: Bundle<jwt::Profile> = jwt::Bundle::new(own(), [named("kid1")]).unwrap();
    assert!(bundle.key("kid1").is_some() && bundle.key("Kid1").is_none() && bundle.key("kid").is_none());
    assert_eq!(format!("{bundle:?}"), "Bundle(example.org, 1 keys)");
    assert!(!bundle.is_empty());
}

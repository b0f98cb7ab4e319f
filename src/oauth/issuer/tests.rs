//! Names, key sets as issuers publish them, and tokens by each kind of key.
#![expect(clippy::unwrap_used, reason = "tests")]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::{
    oauth::{KeyError, target},
    spiffe::{
        jose::{
            self, encode,
            tests::kit::{Key, object, rsa},
        },
        json,
    },
};

const NAME: &str = "https://login.test/realms/one";

fn name() -> IssuerName {
    IssuerName::parse(NAME).unwrap()
}

/// A public key as JSON, with changes; an empty value leaves a member out.
fn jwk(key: &Key, changes: &[(&str, &str)]) -> String {
    let (own, id) = (key.jwk().to_json(), format!(r#""{}""#, key.id));
    let own = json::parse(own.as_bytes(), 8_192).unwrap();
    let own: Vec<_> =
        own.as_object().unwrap().iter().map(|(name, value)| (name, json::quoted(value.as_str().unwrap()))).collect();
    let own: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    object(&[own.as_slice(), &[("kid", id.as_str()), ("use", r#""sig""#)], changes].concat())
}

fn set(keys: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn read(jwks: &str) -> Result<(Issuer, Vec<LeftOut>), JwksError> {
    Issuer::read(name(), jwks.as_bytes())
}

fn judge(issuer: &Issuer, token: &str) -> Result<(), TokenError> {
    Unverified::parse(token)?.verify(issuer).map(|_| ())
}

#[test]
fn a_name_is_an_https_url_or_one_of_this_machine() {
    let longest = format!("https://login.test/{}", "a".repeat(NAME_BYTES_MAX - 19));
    for good in [
        NAME,
        "https://login.test",
        "https://login.test/",
        "https://login.test:8443/a",
        "http://localhost:8080/realms/a",
        "http://127.0.0.1:8080",
        "http://127.9.9.9/a",
        "http://[::1]:80/a",
        &longest,
    ] {
        assert_eq!(IssuerName::parse(good).unwrap().as_str(), good);
    }
    for (bad, reason) in [
        ("", NameError::Url(target::Error::Scheme)),
        ("accounts.test", NameError::Url(target::Error::Scheme)),
        ("spiffe://example.org/a", NameError::Url(target::Error::Scheme)),
        ("https://", NameError::Url(target::Error::Host)),
        ("https://a@login.test", NameError::Url(target::Error::UserInfo)),
        ("https://login.test?a", NameError::Url(target::Error::Query)),
        ("https://login.test#a", NameError::Url(target::Error::Fragment)),
        ("https://login.test/a/../b", NameError::Url(target::Error::DotSegment)),
        ("http://login.test", NameError::Plain),
        ("http://localhost.login.test", NameError::Plain),
        ("http://10.0.0.1", NameError::Plain),
        ("http://[::2]", NameError::Plain),
        (&format!("{longest}a"), NameError::TooLong(NAME_BYTES_MAX + 1)),
    ] {
        assert_eq!(IssuerName::parse(bad), Err(reason), "{bad}");
    }
}

#[test]
fn a_token_by_each_kind_of_key_is_believed_and_no_other() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let okp = |more: &str| {
        let x = encode(pair.public_key().as_ref());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"d","x":"{x}"{more}}}"#)
    };
    let (a, b) = (Key::new("a", jose::Algorithm::Es256), Key::new("b", jose::Algorithm::Es384));
    let all = [jwk(&a, &[]), jwk(&b, &[]), jwk(rsa(), &[]), okp(r#","use":"sig","alg":"EdDSA""#)];
    let (issuer, left_out) = read(&set(&all)).unwrap();
    assert_eq!((issuer.keys(), left_out.len(), issuer.name().as_str()), (4, 0, NAME));
    for (key, id, algorithm) in [
        (&a, "a", jose::Algorithm::Es256),
        (&b, "b", jose::Algorithm::Es384),
        (rsa(), "r1", jose::Algorithm::Rs256),
        (rsa(), "r1", jose::Algorithm::Ps256),
    ] {
        let header = |id: &str| format!(r#"{{"alg":"{}","kid":"{id}","x5t":"AAAA"}}"#, algorithm.name());
        let token = key.token_by(algorithm, header(id), "{}");
        assert_eq!(judge(&issuer, &token), Ok(()), "{algorithm}");
        let (signed, _) = token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", encode(&[1; 64]));
        assert_eq!(judge(&issuer, &forged), Err(jose::Error::Signature.into()), "{algorithm}");
        assert_eq!(judge(&issuer, &key.token_by(algorithm, header("z"), "{}")), Err(TokenError::UnknownKey));
        // Of another key, or of the same key as an Ed25519 one.
        let others = if id == "d" { "a" } else { "d" };
        assert_eq!(
            judge(&issuer, &key.token_by(algorithm, header(others), "{}")),
            Err(jose::Error::KeyMismatch.into()),
            "{algorithm}"
        );
    }
    for alg in ["EdDSA", "Ed25519"] {
        let signed = format!("{}.{}", encode(format!(r#"{{"alg":"{alg}","kid":"d"}}"#).as_bytes()), encode(b"{}"));
        let token = format!("{signed}.{}", encode(pair.sign(signed.as_bytes()).as_ref()));
        assert_eq!(judge(&issuer, &token), Ok(()), "{alg}");
        let (signed, _) = token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", encode(&[1; 64]));
        assert_eq!(judge(&issuer, &forged), Err(jose::Error::Signature.into()), "{alg}");
    }
    // A key for one algorithm is for no other.
    let (issuer, _) = read(&set(&[jwk(rsa(), &[("alg", r#""PS256""#)])])).unwrap();
    let token = rsa().token_by(jose::Algorithm::Rs256, r#"{"alg":"RS256","kid":"r1"}"#, "{}");
    assert_eq!(judge(&issuer, &token), Err(jose::Error::KeyMismatch.into()));
}

#[test]
fn a_token_without_kid_means_the_only_key() {
    let (a, b) = (Key::new("a", jose::Algorithm::Es256), Key::new("b", jose::Algorithm::Es256));
    let token = a.token(r#"{"alg":"ES256"}"#, "{}");
    let (one, _) = read(&set(&[jwk(&a, &[])])).unwrap();
    assert_eq!(judge(&one, &token), Ok(()));
    let (unnamed, _) = read(&set(&[jwk(&a, &[("kid", "")])])).unwrap();
    assert_eq!(judge(&unnamed, &token), Ok(()));
    assert_eq!(judge(&unnamed, &a.token(r#"{"alg":"ES256","kid":"a"}"#, "{}")), Err(TokenError::UnknownKey));
    let (two, _) = read(&set(&[jwk(&a, &[]), jwk(&b, &[])])).unwrap();
    assert_eq!(judge(&two, &token), Err(TokenError::UnknownKey));
}

#[test]
fn headers_that_ask_for_more_are_refused() {
    let a = Key::new("a", jose::Algorithm::Es256);
    let (issuer, _) = read(&set(&[jwk(&a, &[])])).unwrap();
    for name in ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"] {
        let token = a.token(format!(r#"{{"alg":"ES256","kid":"a","{name}":""}}"#), "{}");
        assert_eq!(judge(&issuer, &token), Err(jose::Error::Header(name).into()));
    }
    for alg in ["none", "HS256", "es256", "ES512", "RS512", "PS384", "", "ES256K"] {
        let token = a.token(format!(r#"{{"alg":"{alg}","kid":"a"}}"#), "{}");
        assert_eq!(judge(&issuer, &token), Err(TokenError::Algorithm), "{alg}");
    }
    for (header, error) in [
        (r#"{"alg":"ES256","kid":""}"#, jose::Error::KeyId),
        (r#"{"alg":"ES256","kid":1}"#, jose::Error::KeyId),
        (r#"{"alg":"ES256","typ":[]}"#, jose::Error::Type),
        (r#"{"alg":"ES256","alg":"ES256"}"#, jose::Error::Json { part: "header", source: json::Error::Repeated }),
    ] {
        assert_eq!(judge(&issuer, &a.token(header, "{}")), Err(error.into()), "{header}");
    }
    let long = a.token(r#"{"alg":"ES256","kid":"a"}"#, format!(r#"{{"a":"{}"}}"#, "a".repeat(TOKEN_BYTES_MAX)));
    assert!(matches!(
        judge(&issuer, &long),
        Err(TokenError::Token(jose::Error::TooLong { most: TOKEN_BYTES_MAX, .. }))
    ));
}

#[test]
fn a_set_costs_its_useless_keys_and_what_is_wrong_with_all_refuses_it() {
    let (a, p521) = (Key::new("a", jose::Algorithm::Es256), Key::new("p", jose::Algorithm::Es512));
    let good = jwk(&a, &[]);
    for (key, reason) in [
        (jwk(&a, &[("use", r#""enc""#), ("kid", r#""b""#)]), Reason::Use),
        (jwk(&a, &[("use", "1")]), Reason::Use),
        (jwk(&a, &[("key_ops", r#"["encrypt"]"#)]), Reason::Operations),
        (jwk(&a, &[("kid", r#""""#)]), Reason::KeyId),
        (jwk(&a, &[("kid", "7")]), Reason::KeyId),
        (jwk(&a, &[("alg", r#""RSA-OAEP""#)]), Reason::Key(KeyError::Jwk(jose::KeyError::Algorithm))),
        (jwk(rsa(), &[("alg", r#""RS512""#)]), Reason::Algorithm),
        (jwk(&p521, &[]), Reason::Algorithm),
        (jwk(&a, &[("crv", r#""secp256k1""#)]), Reason::Key(KeyError::Jwk(jose::KeyError::Curve))),
        (r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#.to_owned(), Reason::Key(KeyError::Kind)),
        ("7".to_owned(), Reason::NotObject),
    ] {
        let (issuer, left_out) = read(&set(&[key.clone(), good.clone()])).unwrap();
        assert_eq!((issuer.keys(), left_out), (1, vec![LeftOut { index: 0, reason }]), "{key}");
        assert_eq!(read(&set(&[key])).unwrap_err(), JwksError::Useless);
    }
    let (private, oct) = (jwk(&a, &[("d", r#""AA""#)]), r#"{"kty":"oct","k":"AA","use":"enc"}"#.to_owned());
    let secret = |source| JwksError::Secret { index: 1, source };
    assert_eq!(read(&set(&[good.clone(), private])).unwrap_err(), secret(jose::KeyError::Private("d")));
    assert_eq!(read(&set(&[good.clone(), oct])).unwrap_err(), secret(jose::KeyError::Symmetric));
    assert_eq!(read(&set(&[good.clone(), good.clone()])).unwrap_err(), JwksError::KeyIdTwice);
    let doubled = good.replacen('{', r#"{"kid":"b","#, 1);
    assert_eq!(read(&set(&[doubled])).unwrap_err(), JwksError::Json(json::Error::Repeated));
    for wrong in ["[]", "{}", r#"{"keys":{}}"#] {
        assert_eq!(read(wrong).unwrap_err(), JwksError::NoKeys, "{wrong}");
    }
    assert_eq!(read(r#"{"keys":[]}"#).unwrap_err(), JwksError::Useless);
    assert!(matches!(read("").unwrap_err(), JwksError::Json(_)));
    let many = |count: usize| {
        let keys = (0..count).map(|number| jwk(&a, &[("kid", &format!(r#""{number}""#))]));
        read(&set(&keys.collect::<Vec<_>>())).map(|(issuer, _)| issuer.keys())
    };
    assert_eq!(many(KEYS_MAX), Ok(KEYS_MAX));
    assert_eq!(many(KEYS_MAX + 1), Err(JwksError::TooMany(KEYS_MAX + 1)));
    let padded = format!("{}{}", set(&[good]), " ".repeat(JWKS_BYTES_MAX));
    assert!(matches!(read(&padded).unwrap_err(), JwksError::Json(json::Error::TooLong { .. })));
}

#[test]
fn issuers_are_found_by_their_exact_names() {
    let a = Key::new("a", jose::Algorithm::Es256);
    let of = |name: &str| Issuer::read(IssuerName::parse(name).unwrap(), set(&[jwk(&a, &[])]).as_bytes()).unwrap().0;
    let issuers = Issuers::new([of("https://a.test"), of("https://a.test/")]).unwrap();
    assert_eq!((issuers.len(), issuers.is_empty()), (2, false));
    assert!(issuers.get("https://a.test/").is_some() && issuers.get("https://A.test").is_none());
    let twice = Issuers::new([of("https://a.test"), of("https://a.test")]);
    assert_eq!(twice, Err(IssuersError::Twice(IssuerName::parse("https://a.test").unwrap())));
    let many = |count: usize| Issuers::new((0..count).map(|number| of(&format!("https://{number}.a.test"))));
    assert_eq!(many(ISSUERS_MAX).unwrap().len(), ISSUERS_MAX);
    assert_eq!(many(ISSUERS_MAX + 1), Err(IssuersError::TooMany));
}

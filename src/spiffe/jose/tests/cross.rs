//! The same tokens and keys through a library that is not ours, both ways.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode, jwk};

use super::kit::{Key, NOW, rsa};
use crate::spiffe::{
    Id, TrustDomain,
    jose::{Algorithm, Jwk, PrivateJwk, Signer as _, Unverified},
    jwt, wit,
};

const PAIRS: [(Algorithm, jsonwebtoken::Algorithm); 2] =
    [(Algorithm::Es256, jsonwebtoken::Algorithm::ES256), (Algorithm::Es384, jsonwebtoken::Algorithm::ES384)];

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn id() -> Id {
    Id::parse("spiffe://example.org/a").unwrap()
}

fn their_key(ours: &Jwk) -> DecodingKey {
    DecodingKey::from_jwk(&serde_json::from_str::<jwk::Jwk>(&ours.to_json()).unwrap()).unwrap()
}

/// Only the signature: their clock is the machine's.
fn only_signature(algorithm: jsonwebtoken::Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

#[test]
fn what_we_issue_they_verify() {
    for (ours, theirs) in PAIRS {
        let key = Key::new("k1", ours);
        let audiences = ["aud1".to_owned(), "aud2".to_owned()];
        let draft =
            jwt::Draft { id: &id(), audiences: &audiences, issuer: None, expires_at: now() + Duration::from_secs(300) };
        let token = jwt::issue(&draft, &key, now()).unwrap();
        let mut validation = only_signature(theirs);
        validation.validate_aud = true;
        validation.set_audience(&["aud2"]);
        let read = decode::<serde_json::Value>(&token, &their_key(&key.jwk()), &validation).unwrap();
        assert_eq!(read.claims["sub"], "spiffe://example.org/a");
        assert_eq!(read.claims["exp"], NOW + 300);
        assert_eq!(read.header.kid.as_deref(), Some(key.key_id()));
        assert_eq!(read.header.typ.as_deref(), Some("JWT"));
        assert!(decode::<serde_json::Value>(&token, &their_key(&Key::new("k2", ours).jwk()), &validation).is_err());
    }
}

#[test]
fn a_wit_and_the_private_key_beside_it_are_theirs_too() {
    let (issuer, workload) = (Key::new("w1", Algorithm::Es256), Key::new("", Algorithm::Es256));
    let private = PrivateJwk::from_pkcs8(issuer.algorithm(), &workload.pkcs8()).unwrap();
    let expires_at = now() + Duration::from_secs(300);
    let draft = wit::Draft { id: &id(), key: private.public(), token_id: [7; 16], expires_at };
    let token = wit::issue(&draft, &issuer, now()).unwrap();
    let validation = only_signature(jsonwebtoken::Algorithm::ES256);
    let read = decode::<serde_json::Value>(&token, &their_key(&issuer.jwk()), &validation).unwrap();
    let held: jwk::Jwk = serde_json::from_value(read.claims["cnf"]["jwk"].clone()).unwrap();
    // What the workload signs with its private key, they verify with the key in `cnf`.
    let proof = workload.token(r#"{"alg":"ES256"}"#, r#"{"exp":1}"#);
    assert!(decode::<serde_json::Value>(&proof, &DecodingKey::from_jwk(&held).unwrap(), &validation).is_ok());
}

#[test]
fn what_they_sign_we_verify() {
    for (ours, theirs) in PAIRS {
        let key = Key::new("k1", ours);
        let mut header = Header::new(theirs);
        header.kid = Some("k1".to_owned());
        let claims = serde_json::json!({
            "sub": "spiffe://example.org/a", "aud": ["aud1"], "exp": NOW + 300, "deep": {"list": [1, "é", null]},
        });
        let token = encode(&header, &claims, &EncodingKey::from_ec_der(&key.pkcs8())).unwrap();
        let own = TrustDomain::parse("example.org").unwrap();
        let bundle = jwt::Bundle::new(own, [("k1".to_owned(), key.jwk())]).unwrap();
        let expected = jwt::Expected { audience: "aud1", now: now(), leeway: Duration::ZERO };
        let validated = jwt::validate(&token, &expected, |_| Some((&bundle).into())).unwrap();
        assert_eq!(validated.id, id());
        let deep = validated.claims.member("deep").unwrap().as_object().unwrap().member("list").unwrap();
        assert_eq!(deep.as_array().unwrap()[1].as_str(), Some("é"));
    }
}

#[test]
fn rsa_signatures_of_ours_pass_there_and_thumbprints_are_equal() {
    use jsonwebtoken::Algorithm as T;
    let key = their_key(&rsa().jwk());
    for (ours, theirs) in [
        (Algorithm::Rs256, T::RS256),
        (Algorithm::Rs384, T::RS384),
        (Algorithm::Rs512, T::RS512),
        (Algorithm::Ps256, T::PS256),
        (Algorithm::Ps384, T::PS384),
        (Algorithm::Ps512, T::PS512),
    ] {
        let token = rsa().token_by(ours, format!(r#"{{"alg":"{ours}"}}"#), "{}");
        let mut validation = only_signature(theirs);
        validation.required_spec_claims.clear();
        assert!(decode::<serde_json::Value>(&token, &key, &validation).is_ok(), "{ours}");
        assert!(Unverified::parse(&token).unwrap().verify([&rsa().jwk()]).is_ok(), "{ours}");
    }
    for key in [rsa().jwk(), Key::new("k", Algorithm::Es256).jwk(), Key::new("k", Algorithm::Es384).jwk()] {
        let theirs: jwk::Jwk = serde_json::from_str(&key.to_json()).unwrap();
        assert_eq!(theirs.thumbprint(jwk::ThumbprintHash::SHA256).unwrap(), key.thumbprint());
    }
}

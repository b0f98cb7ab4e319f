//! Tokens: SVIDs, access tokens of our own and of other issuers, and what is exchanged for one.

use std::time::Duration;

use super::{RFC_7515_A_3, check_compact, example_org, key, now};
use crate::{
    oauth::{
        Scope, Thumbprint,
        access::{self, Draft, DraftError},
        dpop::Unproved,
        exchange::{Believed, Expected, Parent, TokenType},
        foreign,
        issuer::{self, Issuer, IssuerName, Issuers},
    },
    spiffe::{
        Id,
        jose::{Signer, SigningAlgorithm, Unverified},
        jwt, wit,
    },
};

/// A token, as whoever calls a validator sends it: judged as a JWT-SVID and as a WIT-SVID, with the key of RFC 7515
/// A.3 for both. Answers whether it is one of them.
#[must_use]
pub fn jws(bytes: &[u8]) -> bool {
    let Ok(token) = str::from_utf8(bytes) else { return false };
    let own = example_org();
    let key = key();
    let jwt_keys = jwt::Bundle::new(own.clone(), [("k1".to_owned(), key.clone())]).expect("one key");
    let wit_keys = wit::Bundle::new(own.clone(), [("k1".to_owned(), key)]).expect("one key");
    let now = now();
    let expected = jwt::Expected { audience: "aud1", now, leeway: Duration::ZERO };
    let jwt = jwt::validate(token, &expected, |_| Some((&jwt_keys).into()));
    let wit = wit::verify(token, now, Duration::ZERO, |_| Some(&wit_keys));
    assert!(jwt.is_err() || wit.is_err(), "one token is of two kinds");
    assert!(
        jwt::validate(token, &expected, |_| None).is_err()
            && wit::verify(token, now, Duration::ZERO, |_| None).is_err()
    );
    if Unverified::parse(token).is_err() {
        assert!(jwt.is_err() && wit.is_err());
        return false;
    }
    check_compact(token);
    if let Ok(validated) = &jwt {
        assert!(validated.id.is_in(&own) && validated.expires_at > now && validated.claims.has("aud"));
    }
    if let Ok(unproved) = &wit {
        assert!(unproved.key().algorithm().is_some());
    }
    jwt.is_ok() || wit.is_ok()
}

/// An access token, judged with the key of RFC 7515 A.3 under the `kid` `dfly-fuzz`. What is read is written again as the
/// same. Answers whether it is good.
#[must_use]
pub fn access(bytes: &[u8]) -> bool {
    let Ok(token) = str::from_utf8(bytes) else { return false };
    let Ok(unverified) = access::Unverified::parse(token) else { return false };
    assert!(token.len() <= access::TOKEN_BYTES_MAX && token.starts_with(access::CONSTANT_PREFIX));
    check_compact(token);
    assert!(Unproved::parse(token).is_err());
    let read = unverified.unverified_claims().clone();
    let draft = Draft {
        issuer: &read.issuer,
        subject: &read.subject,
        audience: &read.audience,
        client: &read.client,
        scopes: &read.scopes,
        key: read.key,
        session: read.session.as_deref(),
        token_id: read.token_id,
        expires_at: read.expires_at,
    };
    let again = access::issue(&draft, &Unsigned, read.issued_at).expect("what is read can be written");
    let again = access::Unverified::parse(&again).expect("what is written can be read");
    assert_eq!(*again.unverified_claims(), read);
    let key = key();
    let own = example_org();
    let keys = access::Keys::new(own, [("dfly-fuzz".to_owned(), key)]).expect("one key");
    assert!(again.verify(&read.issuer, &keys).is_err(), "it is not signed");
    let now = now();
    let judged = unverified.verify("https://example.org/oauth", &keys);
    judged.is_ok_and(|claims| claims.check("https://api.example.org", now).is_ok())
}

/// An access token of another issuer, `https://login.test`, which has the key of RFC 7515 A.3 under the `kid` `fuzz`. It is
/// none of ours, and never good for long. Answers whether it is good.
#[must_use]
pub fn foreign_token(bytes: &[u8]) -> bool {
    let Ok(token) = str::from_utf8(bytes) else { return false };
    let Ok(unverified) = foreign::Unverified::parse(token) else { return false };
    assert!(token.len() <= issuer::TOKEN_BYTES_MAX && Unproved::parse(token).is_err());
    check_compact(token);
    let claims = unverified.unverified_claims().clone();
    assert!(claims.issued_at < claims.expires_at && claims.issued_at + foreign::LIFETIME_MAX >= claims.expires_at);
    assert!((1..=foreign::AUDIENCES_MAX).contains(&claims.audiences.len()));
    let (issuer, end) = (login(), claims.expires_at);
    for audience in &claims.audiences {
        assert!(claims.check(audience, end).is_err(), "its end is its end");
        let early = claims.issued_at - foreign::LEEWAY - Duration::from_secs(1);
        assert!(claims.check(audience, early).is_err(), "it is not good before it is issued");
    }
    let now = now();
    let Ok(read) = unverified.verify(&issuer) else { return false };
    assert!(read == claims && read.issuer == "https://login.test");
    read.check("https://api.example.org", now).is_ok()
}

/// A token that is to be exchanged: one of ours as in [`access`], or one of a user whose issuer, `https://login.test`, has
/// the same key under the `kid` `fuzz`. What is read can be written as the subject of a token. Answers whether it is good.
#[must_use]
pub fn subject(bytes: &[u8]) -> bool {
    let Ok(token) = str::from_utf8(bytes) else { return false };
    let key = key();
    let trust_domain = example_org();
    let keys = access::Keys::new(trust_domain.clone(), [("dfly-fuzz".to_owned(), key)]).expect("one key");
    let believed = Believed { keys: &keys, issuers: &Issuers::new([login()]).expect("one issuer") };
    let holder = Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").expect("a good name");
    let now = now();
    let expected = Expected { issuer: "https://example.org/oauth", trust_domain: &trust_domain, holder, now };
    let read = Parent::read(token, TokenType::Jwt, &believed, &expected);
    let Ok(parent) = read else { return false };
    check_compact(token);
    assert!(token.len() <= issuer::TOKEN_BYTES_MAX && parent.expires_at() > now);
    let (agent, scopes) = (Id::parse("spiffe://example.org/crew").expect("a good name"), [Scope::parse("a"); 1]);
    let subject = parent.subject(&agent);
    assert!(subject.agent().is_in(&trust_domain) || parent.own().is_some());
    let draft = Draft {
        issuer: "https://example.org/oauth",
        subject: &subject,
        audience: "https://api.example.org",
        client: "crew",
        scopes: &scopes.into_iter().collect::<Result<_, _>>().expect("a good scope"),
        key: holder,
        session: parent.session(),
        token_id: access::TokenId([0; 16]),
        expires_at: now + Duration::from_secs(60),
    };
    match access::issue(&draft, &Unsigned, now) {
        Ok(again) => {
            let again = access::Unverified::parse(&again).expect("what is written can be read");
            assert_eq!(again.unverified_claims().subject, subject);
        }
        Err(error) => assert!(matches!(error, DraftError::TooLong(_)), "{error}"),
    }
    true
}

/// The issuer `https://login.test` with the key of RFC 7515 A.3.
fn login() -> Issuer {
    let set = String::from_utf8_lossy(RFC_7515_A_3).replacen('{', r#"{"kid":"fuzz","#, 1);
    let name = IssuerName::parse("https://login.test").expect("a good name");
    Issuer::read(name, format!(r#"{{"keys":[{set}]}}"#).as_bytes()).expect("one key").0
}

/// Who signs nothing.
struct Unsigned;

impl Signer for Unsigned {
    fn algorithm(&self) -> SigningAlgorithm {
        SigningAlgorithm::Es256
    }

    fn key_id(&self) -> &'static str {
        "dfly-fuzz"
    }

    fn sign(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(vec![0; 64])
    }
}

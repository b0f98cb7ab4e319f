//! Holders of keys, and proofs of which every byte can be chosen.

use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::{
    oauth::{ProofKey, Thumbprint, TokenHash},
    spiffe::jose::{
        Algorithm, encode,
        tests::kit::{Key, NOW, object},
    },
};

/// 2027-01-15 08:00:00 UTC
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Who has a key and proves it.
pub(crate) enum Holder {
    P256(Key),
    Ed25519(Ed25519KeyPair),
}

impl Holder {
    pub(crate) fn new() -> Self {
        Self::P256(Key::new("", Algorithm::Es256))
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// The public key as JSON.
    pub(crate) fn jwk(&self) -> String {
        match self {
            Self::P256(key) => key.jwk().to_json(),
            Self::Ed25519(pair) => {
                let x = encode(pair.public_key().as_ref());
                format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)
            }
        }
    }

    pub(crate) fn thumbprint(&self) -> Thumbprint {
        ProofKey::parse(self.jwk().as_bytes()).unwrap().thumbprint()
    }

    /// A header with changes; an empty value leaves a member out.
    pub(crate) fn header(&self, changes: &[(&str, &str)]) -> String {
        let (jwk, algorithm) = (self.jwk(), self.algorithm());
        let good = [("typ", r#""dpop+jwt""#), ("alg", algorithm), ("jwk", jwk.as_str())];
        object(&[&good, changes].concat())
    }

    /// A proof with a good header and these claims.
    pub(crate) fn proof(&self, claims: &str) -> String {
        self.signed(self.header(&[]), claims)
    }

    /// A proof of exactly this header and these claims, be they what they may.
    pub(crate) fn signed(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.sealed(format!("{}.{}", encode(header.as_ref()), encode(claims.as_ref())))
    }

    /// A signature behind what is encoded already.
    pub(crate) fn sealed(&self, signed: String) -> String {
        match self {
            Self::P256(key) => key.sealed(Algorithm::Es256, signed),
            Self::Ed25519(pair) => {
                let signature = encode(pair.sign(signed.as_bytes()).as_ref());
                format!("{signed}.{signature}")
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => r#""ES256""#,
            Self::Ed25519(_) => r#""EdDSA""#,
        }
    }
}

/// Good claims of a proof for `GET https://api.example.org/items`, with changes; an empty value leaves a claim out.
pub(crate) fn claims(changes: &[(&str, &str)]) -> String {
    let good = [
        ("jti", r#""0123456789abcdef""#),
        ("htm", r#""GET""#),
        ("htu", r#""https://api.example.org/items""#),
        ("iat", "1800000000"),
    ];
    object(&[&good, changes].concat())
}

/// The `ath` of a token, as JSON.
pub(crate) fn ath(token: &str) -> String {
    format!(r#""{}""#, TokenHash::of(token))
}

/// Good claims of a token that is bound to this key, with changes; an empty value leaves a claim out.
pub(crate) fn token_claims(key: &Thumbprint, changes: &[(&str, &str)]) -> String {
    let cnf = format!(r#"{{"jkt":"{key}"}}"#);
    let good = [
        ("iss", r#""https://example.org/oauth""#),
        ("sub", r#""spiffe://example.org/crew""#),
        ("aud", r#""https://api.example.org""#),
        ("client_id", r#""crew""#),
        ("iat", "1800000000"),
        ("exp", "1800000300"),
        ("jti", r#""AAAAAAAAAAAAAAAAAAAAAA""#),
        ("scope", r#""read""#),
        ("cnf", cnf.as_str()),
    ];
    object(&[&good, changes].concat())
}

//! Another issuer of access tokens: its key, which an operator can pin, and what it signs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{cell::Cell, fs, path::PathBuf, time::SystemTime};

use data_encoding::BASE64URL_NOPAD;
use dayfly::{
    oauth::{dpop::Prover, foreign::LEEWAY},
    spiffe::jose::Signer as _,
};
use serde_json::{Value, json};

use super::Folder;

pub const IDP: &str = "https://idp.test/realms/agents";

/// An issuer: what it signs with, and where its keys are for the daemon.
pub struct Issuer {
    pub key: Prover,
    pub jwks: PathBuf,
    next: Cell<u32>,
}

impl Issuer {
    pub fn new(folder: &Folder) -> Self {
        let jwks = folder.path().join("idp.json");
        let issuer = Self { key: Prover::generate().unwrap(), jwks, next: Cell::new(0) };
        issuer.publish(&issuer.key);
        issuer
    }

    pub fn publish(&self, key: &Prover) {
        let mut jwk: Value = serde_json::from_str(&key.public_key().to_json()).unwrap();
        jwk["kid"] = json!("one");
        fs::write(&self.jwks, json!({ "keys": [jwk] }).to_string()).unwrap();
    }

    /// The table that pins it.
    pub fn config(&self) -> String {
        format!("[[authz.issuer]]\nissuer = \"{IDP}\"\njwks = {:?}\n", self.jwks)
    }

    /// A token for the agent `reporter` and this audience, bound to this key, good for five minutes. Its clock is as far ahead
    /// as it may be: what it issues is good at once for an agent that is new.
    pub fn token(&self, audience: &str, prover: &Prover) -> String {
        self.bound(audience, &json!({ "jkt": prover.thumbprint().to_string() }))
    }

    /// The same with another `cnf`.
    pub fn bound(&self, audience: &str, confirmation: &Value) -> String {
        self.signed(self.claims(audience, confirmation))
    }

    /// The same as [`Issuer::token`] with another claim.
    pub fn with(&self, audience: &str, prover: &Prover, name: &str, value: &Value) -> String {
        let mut claims = self.claims(audience, &json!({ "jkt": prover.thumbprint().to_string() }));
        claims[name] = value.clone();
        self.signed(claims)
    }

    fn claims(&self, audience: &str, confirmation: &Value) -> Value {
        self.next.set(self.next.get() + 1);
        #[expect(clippy::disallowed_methods, reason = "the daemon's own clock is the system's")]
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        json!({
            "iss": IDP, "sub": "7", "aud": [audience, "https://other.example.org"], "scope": "openid read write",
            "client_id": "spiffe://example.org/reporter", "iat": since + LEEWAY.as_secs(), "exp": since + 300, "jti": self.next.get(),
            "cnf": confirmation,
        })
    }

    fn signed(&self, claims: Value) -> String {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "one" });
        let signed = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes())).join(".");
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&self.key.sign(signed.as_bytes()).unwrap()))
    }
}

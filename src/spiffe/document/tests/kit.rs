//! Entries and documents whose every member can be chosen.

use data_encoding::BASE64;

use crate::spiffe::{
    TrustDomain,
    document::{Document, Error, Outcome, Reason, parse},
    jose::{Algorithm, Jwk, tests::kit::Key},
    x509::{
        self,
        tests::kit::{Authority, root},
    },
};

pub(super) fn own() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

pub(super) fn read(document: impl AsRef<[u8]>) -> Result<Outcome, Error> {
    parse(own(), document.as_ref())
}

/// A document of these entries alone.
pub(super) fn of(entries: &[String]) -> Outcome {
    read(format!(r#"{{"keys":[{}]}}"#, entries.join(","))).unwrap()
}

/// A JWK with further members behind its own.
pub(super) fn with(jwk: &str, members: &str) -> String {
    format!("{},{members}}}", jwk.strip_suffix('}').unwrap())
}

/// The JWK of a fresh P-256 key for tokens.
pub(super) fn token_key(usage: &str, id: &str) -> String {
    with(&jwk().to_json(), &format!(r#""use":"{usage}","kid":"{id}""#))
}

pub(super) fn jwk() -> Jwk {
    Key::new("x", Algorithm::Es256).jwk()
}

/// The public key of a certificate.
pub(super) fn certified(der: &[u8]) -> String {
    Jwk::from_parts(x509::key_parts(der).unwrap()).unwrap().to_json()
}

/// The entry of an authority, as it should be.
pub(super) fn anchor(authority: &Authority) -> String {
    x509_entry(&certified(&authority.der), &[&BASE64.encode(&authority.der)])
}

pub(super) fn x509_entry(jwk: &str, x5c: &[&str]) -> String {
    let x5c = x5c.iter().map(|one| format!(r#""{one}""#)).collect::<Vec<_>>().join(",");
    with(jwk, &format!(r#""use":"x509-svid","x5c":[{x5c}]"#))
}

/// A good entry of each use.
pub(super) struct Good {
    pub(super) root: Authority,
    pub(super) entries: [String; 3],
}

impl Good {
    pub(super) fn new() -> Self {
        let root = root("root", "example.org");
        let entries = [anchor(&root), token_key("jwt-svid", "k1"), token_key("wit-svid", "w1")];
        Self { root, entries }
    }

    /// What becomes of an entry beside the good ones, which must be untouched by it.
    pub(super) fn beside(&self, entry: &str) -> (Document, Option<Reason>) {
        let mut outcome = of(&[&self.entries[..], &[entry.to_owned()]].concat());
        assert!(outcome.document.x509().authorities().contains(&self.root.der), "{entry}");
        assert!(outcome.document.jwt().key("k1").is_some() && outcome.document.wit().key("w1").is_some(), "{entry}");
        let left_out = outcome.left_out.pop();
        assert!(outcome.left_out.is_empty() && left_out.as_ref().is_none_or(|one| one.index == 3), "{entry}");
        (outcome.document, left_out.map(|one| one.reason))
    }
}

//! A foreign trust domain whose keys change, and the numbers by which a watch tells which state it was told.

use anyhow::{Context as _, Result};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use crate::pb::admin::SetBundleRequest;

/// Its name.
pub(crate) const NAME: &str = "other.test";
/// Its ID, by which messages have its bundle.
pub(crate) const ID: &str = "spiffe://other.test";

const MARK: &[u8] = b"bench-";
const DIGITS: usize = 6;

/// A word for a number: in hints, common names and key IDs.
pub(crate) fn mark(number: u32) -> String {
    format!("bench-{number:0DIGITS$}")
}

/// The number of the first mark in some bytes; 0 if there is none.
pub(crate) fn number(bytes: &[u8]) -> u32 {
    let marked = bytes.windows(MARK.len() + DIGITS).find(|window| window.starts_with(MARK));
    let digits = marked.and_then(|window| std::str::from_utf8(window.get(MARK.len()..)?).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Its bundle in the state of this number: an authority, a key for JWT-SVIDs and one for WIT-SVIDs, all fresh.
pub(crate) fn bundle(state: u32) -> Result<SetBundleRequest> {
    let keys = [authority(state)?, token_key("jwt-svid", state)?, token_key("wit-svid", state)?];
    Ok(SetBundleRequest { trust_domain: NAME.into(), document: json!({ "keys": keys }).to_string().into() })
}

fn authority(state: u32) -> Result<Value> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, mark(state));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pair = KeyPair::generate()?;
    let certificate = params.self_signed(&pair)?;
    jwk("x509-svid", pair.public_key_raw(), "x5c", &json!([BASE64.encode(certificate.der())]))
}

fn token_key(usage: &str, state: u32) -> Result<Value> {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref())?;
    jwk(usage, pair.public_key().as_ref(), "kid", &json!(format!("{usage}-{}", mark(state))))
}

/// A point of P-256, not compressed, as a JWK with one member more.
fn jwk(usage: &str, point: &[u8], member: &str, value: &Value) -> Result<Value> {
    let (x, y) = point.get(1..).and_then(|both| both.split_at_checked(32)).context("a point of 64 bytes")?;
    let [x, y] = [x, y].map(|half| BASE64URL_NOPAD.encode(half));
    Ok(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": usage, (member): value }))
}

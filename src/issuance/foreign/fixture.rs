//! Foreign bundles of real keys, for the tests of this room and of the doors.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use data_encoding::BASE64;
use tokio::sync::watch;

use super::{Bundle, Foreign, read::read_kept};
use crate::{
    authority::{Algorithm, Key, Keyring, Signer, root_certificate},
    spiffe::{TrustDomain, document, x509},
    sys::Clock,
};

/// A trust domain.
pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// A fresh self-signed authority of a trust domain, DER, that lives ten years from 2020 on.
pub(crate) fn anchor(name: &str) -> Vec<u8> {
    let key = Key::generate(Algorithm::P256).unwrap();
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    root_certificate(&domain(name), &key, 0, since, Duration::from_secs(10 * 365 * 86_400)).unwrap().to_vec()
}

/// Certificates in PEM.
pub(crate) fn pem(certificates: &[Vec<u8>]) -> String {
    certificates.iter().map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.as_slice()))).collect()
}

/// A document of these entries.
pub(crate) fn json(entries: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, entries.join(","))
}

/// The entry of a certificate.
pub(crate) fn x509_entry(der: &[u8]) -> String {
    let bundle = x509::Bundle::new(domain("any.test"), vec![der.to_vec().into()]).unwrap();
    let keys = |name: &str| crate::spiffe::jwt::Bundle::new(domain(name), []).unwrap();
    let wit = crate::spiffe::wit::Bundle::new(domain("any.test"), []).unwrap();
    let alone = document::Document::new(bundle, keys("any.test"), wit, None, None).unwrap().to_json();
    assert!(alone.contains(&BASE64.encode(der)));
    alone.strip_prefix(r#"{"keys":["#).unwrap().strip_suffix("]}").unwrap().to_owned()
}

/// An entry with a fresh key for tokens: of `jwt-svid` or `wit-svid`.
pub(crate) fn token_entry(usage: &str, id: &str) -> String {
    let certificate = x509_entry(&anchor("any.test"));
    let (key, _) = certificate.split_once(r#","x5c":"#).unwrap();
    key.replace(r#""use":"x509-svid""#, &format!(r#""use":"{usage}","kid":"{id}""#)) + "}"
}

/// These documents as they are when they are kept.
pub(crate) fn kept(documents: &[(&str, &str)]) -> Arc<Foreign> {
    let bundles = documents.iter().map(|(name, json)| {
        let document = read_kept(&domain(name), json.as_bytes()).unwrap().document;
        Arc::new(Bundle::new(document, 1, SystemTime::UNIX_EPOCH))
    });
    Arc::new(bundles.fold(Foreign::default(), |all, bundle| all.with(bundle)))
}

/// The keys of `example.org`, which stay.
pub(crate) fn own_keys() -> watch::Receiver<Arc<Keyring>> {
    let key = Key::generate(Algorithm::P256).unwrap();
    let now = Clock::system().now();
    let anchor = root_certificate(&domain("example.org"), &key, 0, now, Duration::from_secs(86_400)).unwrap();
    let signer = Signer::new(key, anchor.clone(), true).unwrap();
    let bundle = x509::Bundle::new(domain("example.org"), vec![anchor]).unwrap();
    watch::channel(Arc::new(Keyring::new(Arc::new(signer), bundle))).1
}

//! Certificates: chains of peers, and what a proxy says of a client's.

use std::time::SystemTime;

use bytes::Bytes;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{example_org, now};
use crate::{
    oauth::{CERTIFICATE_BYTES_MAX, Certificate, CertificateHash},
    spiffe::x509::{
        Bundle, Bundles, Leaf, Purpose, check_authority, check_authority_profile, check_profile, split, verify,
    },
};

/// Certificates in a row, verified as a peer's chain. The last of them is the only authority that the
/// verifier knows, so that an input is complete in itself.
#[must_use]
pub fn x509(bytes: &[u8]) -> bool {
    let Ok(mut chain) = split(bytes) else { return false };
    assert_eq!(chain.concat(), bytes);
    for certificate in &chain {
        read_alone(certificate);
    }
    let Some(authority) = chain.pop() else { return false };
    let own = example_org();
    let Ok(bundle) = Bundle::new(own.clone(), vec![authority]) else { return false };
    assert_eq!(Bundle::from_der(own.clone(), bundle.der()).as_ref(), Ok(&bundle));
    let bundles = Bundles::from_iter([bundle]);
    let now = now();
    let Ok(leaf) = verify(&chain, &bundles, Purpose::Any, now) else { return false };
    assert!(leaf.id.is_in(&own));
    assert!(leaf.not_before <= now && now <= leaf.not_after);
    compare(&leaf, chain.first().expect("a verified chain has a leaf"));
    // Nothing holds without the bundle, or in another's.
    assert!(verify(&chain, &Bundles::empty(), Purpose::Any, now).is_err());
    true
}

/// A client's certificate as a proxy says it, PEM that may be percent-encoded: escaped once more it is the same, and
/// nothing that a URL could not hold is lost. Answers whether it is one.
#[must_use]
pub fn certificate(bytes: &[u8]) -> bool {
    let read = Certificate::Pem(bytes).hash();
    let Ok(hash) = read else { return false };
    assert!(bytes.len() <= CERTIFICATE_BYTES_MAX && bytes.is_ascii());
    let plain = !bytes.contains(&b'%');
    let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
    let again = Certificate::Pem(escaped.as_bytes()).hash();
    assert!(!plain || again == Ok(hash) || escaped.len() > CERTIFICATE_BYTES_MAX);
    assert_eq!(CertificateHash::parse(&hash.to_string()), Some(hash));
    true
}

/// What an issuer's own checks say of one certificate.
fn read_alone(certificate: &Bytes) {
    if let Ok(leaf) = check_profile(certificate) {
        assert!(check_authority(certificate).is_err(), "a leaf and an authority at once");
        compare(&leaf, certificate);
    }
    let own = example_org();
    if check_authority_profile(certificate, &own).is_ok() {
        assert_eq!(check_authority(certificate), Ok(()));
    }
}

/// Another parser reads the same in what ours has accepted.
fn compare(ours: &Leaf, certificate: &Bytes) {
    let (rest, theirs) = X509Certificate::from_der(certificate).expect("another parser refuses what ours accepts");
    assert!(rest.is_empty());
    assert_eq!(theirs.public_key().raw, ours.public_key);
    let serial = theirs.raw_serial();
    assert_eq!(serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(serial), ours.serial);
    assert_eq!(SystemTime::from(theirs.validity().not_before.to_datetime()), ours.not_before);
    assert_eq!(SystemTime::from(theirs.validity().not_after.to_datetime()), ours.not_after);
    let names = theirs.subject_alternative_name().expect("one extension").expect("which is there");
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    assert_eq!(uris.collect::<Vec<_>>(), [ours.id.as_str()]);
    if let Some(name) = &ours.common_name {
        let first = theirs.subject().iter_common_name().next().expect("there is one");
        assert_eq!(first.as_slice(), name.as_bytes());
    }
    assert!(!theirs.is_ca());
}

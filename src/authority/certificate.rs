//! What the authority's certificates say (SPIFFE X509-SVID §2–§5, RFC 5280).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType,
};

use super::{
    Error, Signer,
    signer::{Key, hex},
};
use crate::{policy::Permit, spiffe::TrustDomain};

/// How long before now a certificate begins to be valid: validators have no leeway, and clocks differ.
pub(crate) const BACKDATE: Duration = Duration::from_secs(60);

/// The shortest life of what signs leaves. It is replaced at half of its life, which begins [`BACKDATE`] before it is
/// made: with a life of one `BACKDATE` that half is over at once, and successors would be made without end.
pub(crate) const ISSUING_TTL_MIN: Duration = BACKDATE.saturating_mul(2);

/// The shortest life of a root. An issuing CA does not outlive it, and the root signs until a sixth of its life is left.
pub(crate) const ROOT_TTL_MIN: Duration = ISSUING_TTL_MIN.saturating_mul(6);

/// A serial number: 16 random bytes, positive, never zero (RFC 5280 §4.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serial([u8; 16]);

impl Serial {
    /// A number that was never used: 126 random bits.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Key)?;
        let [first, ..] = &mut bytes;
        // A clear top bit keeps the INTEGER positive, the next one keeps its length.
        *first = *first & 0x7f | 0x40;
        Ok(Self(bytes))
    }

    /// Lower-case hex.
    pub(crate) fn hex(self) -> String {
        hex(&self.0)
    }
}

/// A leaf for this permit: signatures only; both ends of TLS. Its subject is the common name that the permit has, or
/// empty, and then its alternative name is critical (RFC 5280 §4.2.1.6).
pub(super) fn leaf(
    permit: &Permit,
    serial: Serial,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, Error> {
    let mut params = bounded(serial, not_before, not_after);
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = permit.common_name() {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = vec![SanType::URI(permit.id().as_str().try_into()?)];
    for name in permit.dns_names() {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    Ok(params)
}

/// A self-signed certificate for the bundle. `path_length` is how many CAs may stand below it.
///
/// # Errors
/// When it cannot be put together.
pub(crate) fn root_certificate(
    trust_domain: &TrustDomain,
    key: &Key,
    path_length: u8,
    now: SystemTime,
    life: Duration,
) -> Result<Bytes, Error> {
    let params = authority(trust_domain, path_length, now, now + life)?;
    Ok(Bytes::copy_from_slice(params.self_signed(key)?.der()))
}

/// The certificate of an issuing CA, signed by the root; it does not outlive the root.
///
/// # Errors
/// When it cannot be put together.
pub(crate) fn issuing_certificate(
    trust_domain: &TrustDomain,
    key: &Key,
    root: &Signer,
    now: SystemTime,
    life: Duration,
) -> Result<Bytes, Error> {
    let mut params = authority(trust_domain, 0, now, (now + life).min(root.not_after))?;
    params.use_authority_key_identifier_extension = true;
    Ok(Bytes::copy_from_slice(params.signed_by(key, &root.issuer)?.der()))
}

fn authority(
    trust_domain: &TrustDomain,
    path_length: u8,
    now: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, Error> {
    let serial = Serial::random()?;
    let mut params = bounded(serial, now - BACKDATE, not_after);
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "SPIFFE");
    // Two CAs of one trust domain have two names, so that a path is found at the first try.
    name.push(DnType::CommonName, format!("{trust_domain} {}", serial.hex().get(..8).unwrap_or_default()).as_str());
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI(trust_domain.id().as_str().try_into()?)];
    Ok(params)
}

fn bounded(serial: Serial, not_before: SystemTime, not_after: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial.0.to_vec().into());
    params.not_before = not_before.into();
    params.not_after = not_after.into();
    params
}

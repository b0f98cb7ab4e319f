//! What single certificates must be: a leaf fresh from an issuer (X509-SVID §2 to §4), and an authority
//! that may stand in a bundle.

use bytes::Bytes;

use crate::spiffe::{Id, TrustDomain};

use super::{
    Error, Leaf,
    certificate::Certificate,
    extensions::{ExtendedKeyUsage, KeyUsage},
};

/// Checks that a certificate is a leaf as an issuer must make it, and says what it says. Stricter than
/// [`verify`](super::verify) is with others' certificates: a certificate that some client in the field
/// could refuse fails. Signature, authority and time are not looked at.
///
/// # Errors
/// The first rule it breaks.
pub fn check_profile(leaf: &[u8]) -> Result<Leaf, Error> {
    let certificate = Certificate::read(leaf)?;
    let extensions = &certificate.extensions;
    let checked = check_leaf(&certificate)?;
    if checked.serial == [0] {
        return Err(Error::Serial("zero"));
    }
    if certificate.not_before > certificate.not_after {
        return Err(Error::Profile("it ends before it begins"));
    }
    if !extensions.key_usage.as_ref().is_some_and(|usage| usage.critical) {
        return Err(Error::Profile("its key usage is not critical"));
    }
    if extensions.key_usage.as_ref().is_some_and(|usage| usage.value != KeyUsage::DIGITAL_SIGNATURE) {
        return Err(Error::Profile("its key usage has more than digitalSignature"));
    }
    // Clients refuse a leaf without the extension, though it says nothing that its absence would not.
    if !extensions.basic_constraints.as_ref().is_some_and(|mark| mark.critical && mark.value.is_empty) {
        return Err(Error::Profile("its basic constraints are not critical and empty"));
    }
    match &extensions.extended_key_usage {
        Some(usage) if usage.value == (ExtendedKeyUsage { server: true, client: true }) => {}
        _ => return Err(Error::Profile("its extended key usage lacks server or client authentication")),
    }
    let is_critical = extensions.alternative_name.as_ref().is_some_and(|name| name.critical);
    match (certificate.has_empty_subject(), is_critical) {
        (true, true) | (false, false) => {}
        (true, false) => return Err(Error::Profile("its subject is empty and its alternative name not critical")),
        (false, true) => return Err(Error::Profile("its subject is not empty and its alternative name critical")),
    }
    match &extensions.authority_key_id {
        Some(mark) if !mark.critical && mark.value.is_some_and(|id| !id.is_empty()) => {}
        _ => return Err(Error::Profile("its authority key identifier is missing or critical")),
    }
    // Go refuses to read a certificate in which an identifier is critical.
    if extensions.subject_key_id.as_ref().is_some_and(|mark| mark.critical) {
        return Err(Error::Profile("its subject key identifier is critical"));
    }
    Ok(checked)
}

/// Checks that a certificate can be an authority of a bundle: `cA` true and `keyCertSign` set, nothing
/// critical that is not understood. Its validity is not looked at, and neither is its own SPIFFE ID: many
/// upstream authorities have none, and some a malformed one, which takes no part in validation.
///
/// # Errors
/// The first rule it breaks.
pub fn check_authority(der: &[u8]) -> Result<(), Error> {
    check_signer(&Certificate::read(der)?)
}

/// Checks that our own signing certificate is as an issuer must make it (X509-SVID §3, §4): what
/// [`check_authority`] wants, and the trust domain's ID as its only URI, critical key usage without a
/// leaf's bits, critical basic constraints, a subject, a subject key identifier, no name constraints.
///
/// # Errors
/// The first rule it breaks.
pub fn check_authority_profile(der: &[u8], trust_domain: &TrustDomain) -> Result<(), Error> {
    let certificate = Certificate::read(der)?;
    check_signer(&certificate)?;
    let extensions = &certificate.extensions;
    match extensions.alternative_name.as_ref().map(|mark| (mark.value.uris, mark.value.uri)) {
        Some((1, Some(uri))) if TrustDomain::from_id_bytes(uri)? == *trust_domain => {}
        Some((1, Some(_))) => return Err(Error::Profile("an authority's ID is in another trust domain")),
        Some((uris, _)) => return Err(Error::UriNames(uris)),
        None => return Err(Error::UriNames(0)),
    }
    if certificate.has_empty_subject() {
        return Err(Error::Profile("an authority's subject is empty"));
    }
    if certificate.serial() == [0] {
        return Err(Error::Serial("zero"));
    }
    if !extensions.basic_constraints.as_ref().is_some_and(|mark| mark.critical) {
        return Err(Error::Profile("an authority's basic constraints are not critical"));
    }
    let leafs = [KeyUsage::DIGITAL_SIGNATURE, KeyUsage::KEY_ENCIPHERMENT, KeyUsage::KEY_AGREEMENT];
    match &extensions.key_usage {
        Some(mark) if mark.critical && leafs.iter().all(|bit| !mark.value.has(*bit)) => {}
        _ => return Err(Error::Profile("an authority's key usage is not critical or has a leaf's bits")),
    }
    match &extensions.subject_key_id {
        Some(mark) if !mark.critical && !mark.value.is_empty() => {}
        _ => return Err(Error::Profile("an authority's subject key identifier is missing or critical")),
    }
    match extensions.name_constraints {
        true => Err(Error::NameConstraints),
        false => Ok(()),
    }
}

/// What every X.509-SVID leaf must be, whoever made it (X509-SVID §5.2).
pub(super) fn check_leaf(certificate: &Certificate<'_>) -> Result<Leaf, Error> {
    let extensions = &certificate.extensions;
    extensions.check_critical()?;
    if extensions.is_authority() {
        return Err(Error::LeafIsAuthority);
    }
    let usage = extensions.key_usage.as_ref().ok_or(Error::KeyUsage("is missing"))?.value;
    if usage.has(KeyUsage::KEY_CERT_SIGN) || usage.has(KeyUsage::CRL_SIGN) {
        return Err(Error::LeafIsAuthority);
    }
    if !usage.has(KeyUsage::DIGITAL_SIGNATURE) {
        return Err(Error::KeyUsage("lacks digitalSignature"));
    }
    // RFC 5280 §4.2.1.10: only authorities have them.
    if extensions.name_constraints {
        return Err(Error::NameConstraints);
    }
    let names = extensions.alternative_name.as_ref().map(|mark| &mark.value).ok_or(Error::UriNames(0))?;
    let id = match (names.uris, names.uri) {
        (1, Some(uri)) => Id::from_bytes(uri)?,
        (uris, _) => return Err(Error::UriNames(uris)),
    };
    Ok(Leaf {
        id,
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        serial: certificate.serial().to_vec(),
        public_key: Bytes::copy_from_slice(certificate.public_key),
        common_name: certificate.common_name().map(str::to_owned),
        dns_names: names.dns_names.iter().map(|name| (*name).to_owned()).collect(),
        authority_key_id: extensions.authority_key_id.as_ref().and_then(|mark| mark.value).map(<[u8]>::to_vec),
    })
}

/// What every certificate that signs others must be.
pub(super) fn check_signer(certificate: &Certificate<'_>) -> Result<(), Error> {
    let extensions = &certificate.extensions;
    extensions.check_critical()?;
    if !extensions.is_authority() {
        return Err(Error::NotAuthority);
    }
    match &extensions.key_usage {
        Some(usage) if usage.value.has(KeyUsage::KEY_CERT_SIGN) => Ok(()),
        _ => Err(Error::KeyUsage("lacks keyCertSign")),
    }
}

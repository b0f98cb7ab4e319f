//! From a leaf up to an authority of its own trust domain (RFC 5280 §6, X509-SVID §5).
//!
//! Trust comes only from the bundle of the trust domain that the leaf names. Anchors keep all their rules:
//! an expired authority, one without `cA`, or one whose path length is exceeded, is none. Name constraints
//! are not evaluated; an authority that has them ends the path, critical or not.

use std::time::SystemTime;

use bytes::Bytes;

use super::{
    Bundles, CHAIN_CERTIFICATES_MAX, Error, Leaf, Purpose,
    certificate::Certificate,
    extensions::{ExtendedKeyUsage, Extensions},
    profile::{check_leaf, check_signer},
};

/// The most signatures that one [`verify`] checks, so that nobody can send a chain that takes long: about
/// four milliseconds of P-256. Sixteen certificates in a line need sixteen.
pub const SIGNATURE_CHECKS_MAX: usize = 64;

/// Verifies a peer's X.509-SVID: the leaf first, then authorities in any order (unneeded ones may be among
/// them), against the bundle of the trust domain that the leaf names.
///
/// # Errors
/// When the leaf is no X.509-SVID for this purpose at this time, there is no bundle or no usable authority
/// for its trust domain, or no path leads to one. Nothing is believed then.
pub fn verify(chain: &[Bytes], bundles: &Bundles, purpose: Purpose, now: SystemTime) -> Result<Leaf, Error> {
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        return Err(Error::CHAIN);
    }
    let (first, rest) = chain.split_first().ok_or(Error::NoCertificate)?;
    let certificate = Certificate::read(first)?;
    let leaf = check_leaf(&certificate)?;
    check_purpose(&certificate.extensions, purpose)?;
    certificate.check_time(now)?;

    let trust_domain = leaf.id.trust_domain();
    let Some(bundle) = bundles.of(&trust_domain) else {
        return Err(Error::NoBundle(trust_domain));
    };
    let anchors: Vec<_> = bundle.authorities().iter().filter_map(|der| usable_anchor(der, now)).collect();
    if anchors.is_empty() {
        return Err(Error::EmptyBundle(trust_domain));
    }
    let intermediates = rest.iter().map(|der| Certificate::read(der)).collect::<Result<Vec<_>, _>>()?;

    let search = Search { anchors, intermediates, purpose, now };
    let mut effort = Effort::default();
    match search.climb(&certificate, &mut Vec::new(), 0, &mut effort) {
        Ok(true) => Ok(leaf),
        Ok(false) => Err(Error::Untrusted { trust_domain, cause: effort.nearest.map(Box::new) }),
        Err(error) => Err(error),
    }
}

/// Whether one authority (DER) is signed by another, or by itself, and that one may: as a step of [`verify`], at any time.
/// Where both name key identifiers, they must be the same too.
///
/// # Errors
/// When it is not so.
pub(crate) fn check_issued(certificate: &[u8], issuer: &[u8]) -> Result<(), Error> {
    let (from, issuer) = (Certificate::read(certificate)?, Certificate::read(issuer)?);
    check_signer(&issuer)?;
    if from.issuer != issuer.subject {
        return Err(Error::Profile("its issuer is not the subject of the certificate above it"));
    }
    let wanted = from.extensions.authority_key_id.as_ref().and_then(|mark| mark.value);
    let found = issuer.extensions.subject_key_id.as_ref().map(|mark| mark.value);
    if wanted.is_some() && found.is_some() && wanted != found {
        return Err(Error::Profile("its issuer's key is not that of the certificate above it"));
    }
    check_constraints(&issuer.extensions, u32::from(!from.is_self_issued()))?;
    from.check_signature(&issuer.key)
}

/// An authority that counts now. The others are left out here, as TLS libraries take no more of an anchor
/// than its name and key.
fn usable_anchor(der: &Bytes, now: SystemTime) -> Option<Certificate<'_>> {
    let certificate = Certificate::read(der).ok()?;
    check_signer(&certificate).ok()?;
    certificate.check_time(now).ok()?;
    Some(certificate)
}

struct Search<'a> {
    anchors: Vec<Certificate<'a>>,
    intermediates: Vec<Certificate<'a>>,
    purpose: Purpose,
    now: SystemTime,
}

/// What the search has cost, and the failure that says most.
#[derive(Default)]
struct Effort {
    signature_checks: usize,
    nearest: Option<Error>,
}

impl<'a> Search<'a> {
    /// Whether a path leads from this certificate to an anchor. `path` is what it came by, and
    /// `authorities` how many of that count for path lengths.
    ///
    /// An error ends the whole search.
    fn climb<'b>(
        &'b self,
        from: &'b Certificate<'a>,
        path: &mut Vec<&'b [u8]>,
        authorities: u32,
        effort: &mut Effort,
    ) -> Result<bool, Error> {
        for anchor in issuers(from, &self.anchors) {
            if self.signed_by(from, anchor, authorities, effort)? {
                return Ok(true);
            }
        }
        for issuer in issuers(from, &self.intermediates) {
            // Each at most once: authorities can sign each other in a circle.
            if path.contains(&issuer.der) || !self.signed_by(from, issuer, authorities, effort)? {
                continue;
            }
            path.push(issuer.der);
            let counted = u32::from(!issuer.is_self_issued());
            if self.climb(issuer, path, authorities + counted, effort)? {
                return Ok(true);
            }
            path.pop();
        }
        Ok(false)
    }

    /// Whether `issuer` may sign `from`, and did. Cheap rules come first.
    fn signed_by(
        &self,
        from: &Certificate<'_>,
        issuer: &Certificate<'_>,
        authorities: u32,
        effort: &mut Effort,
    ) -> Result<bool, Error> {
        let may = check_signer(issuer)
            .and_then(|()| issuer.check_time(self.now))
            .and_then(|()| check_purpose(&issuer.extensions, self.purpose))
            .and_then(|()| check_constraints(&issuer.extensions, authorities));
        let outcome = match may {
            Ok(()) => {
                if effort.signature_checks == SIGNATURE_CHECKS_MAX {
                    return Err(Error::TooMuchWork);
                }
                effort.signature_checks += 1;
                from.check_signature(&issuer.key)
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(error) => {
                effort.note(error);
                Ok(false)
            }
        }
    }
}

impl Effort {
    /// The first failure stands, but a signature that does not match says least: any other says more.
    fn note(&mut self, error: Error) {
        if matches!(self.nearest, None | Some(Error::Signature)) {
            self.nearest = Some(error);
        }
    }
}

/// Those whose name is the one that the certificate says signed it. First those whose key identifier
/// fits: identifiers only save work, a path without them is as good.
fn issuers<'b, 'a>(of: &Certificate<'_>, among: &'b [Certificate<'a>]) -> Vec<&'b Certificate<'a>> {
    let wanted = of.extensions.authority_key_id.as_ref().and_then(|mark| mark.value);
    let mut named: Vec<_> = among.iter().filter(|candidate| candidate.subject == of.issuer).collect();
    named.sort_by_key(|candidate| candidate.extensions.subject_key_id.as_ref().map(|mark| mark.value) != wanted);
    named
}

/// An extended key usage counts for what it says on every certificate of the path, as TLS libraries hold it.
fn check_purpose(extensions: &Extensions<'_>, purpose: Purpose) -> Result<(), Error> {
    let Some(ExtendedKeyUsage { server, client }) = extensions.extended_key_usage.as_ref().map(|mark| mark.value)
    else {
        return Ok(());
    };
    let allowed = match purpose {
        Purpose::Server => server,
        Purpose::Client => client,
        Purpose::Any => server || client,
    };
    allowed.then_some(()).ok_or(Error::Purpose)
}

fn check_constraints(extensions: &Extensions<'_>, authorities: u32) -> Result<(), Error> {
    if extensions.name_constraints {
        return Err(Error::NameConstraints);
    }
    match extensions.basic_constraints.as_ref().and_then(|mark| mark.value.path_length) {
        Some(length) if authorities > length => Err(Error::PathLength),
        _ => Ok(()),
    }
}

//! What an admin gives as the bundle of a trust domain: a SPIFFE bundle document, or certificates in PEM, told apart by
//! what is in it.
//!
//! One odd key is left out and named, and the rest is used. What contradicts itself is refused whole: a name twice,
//! a workload's certificate as an authority. What client libraries do not read is left out, too: each of them would
//! drop a whole message for it, with what others have in it.

use std::time::SystemTime;

use bytes::Bytes;

use crate::spiffe::{
    TrustDomain,
    document::{self, Document, Reason},
    jwt, wit, x509,
};

use super::{DOCUMENT_BYTES_MAX, Refusal, bundle::fingerprint};

/// What can be used of a document, and what there is to say about the rest.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) document: Document,
    /// Sentences.
    pub(crate) warnings: Vec<String>,
    /// Whether it could only have X.509 authorities.
    pub(crate) is_pem: bool,
}

/// Reads what an admin gave as the bundle of this trust domain.
pub(crate) fn read(trust_domain: &TrustDomain, given: &[u8], now: SystemTime) -> Result<Given, Refusal> {
    if given.len() > DOCUMENT_BYTES_MAX {
        return Err(Refusal::TooLong(given.len()));
    }
    let mut given = match given.trim_ascii_start() {
        [] => return Err(Refusal::Empty),
        [b'{' | b'[' | b'"' | b'n', ..] => read_json(trust_domain, given)?,
        text if contains(text, b"-----BEGIN ") => read_pem(trust_domain, text)?,
        _ => return Err(Refusal::Format),
    };
    for certificate in given.document.x509().authorities() {
        if x509::validity(certificate).is_ok_and(|(_, not_after)| not_after < now) {
            let words =
                format!("the authority {} has expired: nothing that it signed is valid", fingerprint(certificate));
            given.warnings.push(words);
        }
    }
    if given.document.is_empty() {
        given.warnings.push(format!("it has no key that is used: nothing of {trust_domain} is believed any more"));
    }
    Ok(given)
}

/// Reads a document that was kept, with the same care for those who are sent it.
pub(super) fn read_kept(trust_domain: &TrustDomain, document: &[u8]) -> Result<Given, Refusal> {
    read_json(trust_domain, document)
}

fn read_json(trust_domain: &TrustDomain, given: &[u8]) -> Result<Given, Refusal> {
    let outcome = document::parse(trust_domain.clone(), given).map_err(Refusal::Document)?;
    let mut warnings = Vec::new();
    for document::LeftOut { index, reason } in outcome.left_out {
        match reason {
            Reason::Repeated => return Err(Refusal::Entry { index, reason }),
            Reason::Certificate(x509::Error::NotAuthority) => {
                return Err(Refusal::Leaf { which: format!("entry {} of its `keys`", index + 1) });
            }
            _ => {}
        }
        if reason.is_alarming() {
            tracing::error!(%trust_domain, entry = index + 1, %reason, "a foreign bundle has a key that nobody should publish");
        }
        warnings.push(format!("entry {} of its `keys` is left out: {}", index + 1, with_cause(&reason)));
    }
    warnings.extend(outcome.warnings.iter().map(ToString::to_string));
    let document = readable(outcome.document, &mut warnings)?;
    // As it is kept and read again: a JWK's `alg` is no member of a bundle document.
    let document = match document::parse(trust_domain.clone(), document.to_json().as_bytes()) {
        Ok(again) => again.document,
        Err(error) => return Err(Refusal::Document(error)),
    };
    Ok(Given { document, warnings, is_pem: false })
}

fn read_pem(trust_domain: &TrustDomain, text: &[u8]) -> Result<Given, Refusal> {
    let blocks = pem::parse_many(text).map_err(|_| Refusal::Pem)?;
    // What the parser passes over would be lost without a word.
    if blocks.len() != text.windows(BEGIN.len()).filter(|window| *window == BEGIN).count() {
        return Err(Refusal::Pem);
    }
    let (mut authorities, mut warnings) = (Vec::new(), Vec::new());
    for (number, block) in (1..).zip(blocks) {
        if block.tag().contains("PRIVATE KEY") {
            return Err(Refusal::PrivateKey);
        }
        let certificate = Bytes::copy_from_slice(block.contents());
        let reason = match block.tag() {
            "CERTIFICATE" => match x509::check_authority(&certificate) {
                Ok(()) => None,
                Err(x509::Error::NotAuthority) => return Err(Refusal::Leaf { which: format!("certificate {number}") }),
                Err(reason) => Some(reason.to_string()),
            },
            other => Some(format!("it is a {other}")),
        };
        match reason {
            None => authorities.push(certificate),
            Some(reason) => warnings.push(format!("block {number} is left out: {reason}")),
        }
    }
    let document = of_authorities(trust_domain, authorities, &mut warnings)?;
    let document = readable(document, &mut warnings)?;
    match document.is_empty() {
        true => Err(Refusal::NoCertificate(warnings)),
        false => Ok(Given { document, warnings, is_pem: true }),
    }
}

/// A document of certificates alone. One whose key has no JWK cannot stand in it.
fn of_authorities(
    trust_domain: &TrustDomain,
    mut authorities: Vec<Bytes>,
    warnings: &mut Vec<String>,
) -> Result<Document, Refusal> {
    let alone = |authorities| {
        let x509 = x509::Bundle::new(trust_domain.clone(), authorities).map_err(Refusal::Authorities)?;
        with_x509(x509, None).map_err(Refusal::Document)
    };
    authorities.retain(|certificate| match alone(vec![certificate.clone()]) {
        Err(Refusal::Document(reason)) => {
            warnings.push(format!("the authority {} is left out: {reason}", fingerprint(certificate)));
            false
        }
        _ => true,
    });
    alone(authorities)
}

/// Leaves out the authorities that client libraries do not read.
fn readable(document: Document, warnings: &mut Vec<String>) -> Result<Document, Refusal> {
    let mut authorities = document.x509().authorities().to_vec();
    authorities.retain(|certificate| match x509::check_readable(certificate) {
        Ok(()) => true,
        Err(reason) => {
            let fingerprint = fingerprint(certificate);
            tracing::error!(
                trust_domain = %document.trust_domain(),
                fingerprint,
                %reason,
                "an authority of a foreign bundle is left out"
            );
            warnings.push(format!("the authority {fingerprint} is left out: {reason}"));
            false
        }
    });
    if authorities.len() == document.x509().authorities().len() {
        return Ok(document);
    }
    let x509 = x509::Bundle::new(document.trust_domain().clone(), authorities).map_err(Refusal::Authorities)?;
    with_x509(x509, Some(&document)).map_err(Refusal::Document)
}

/// These authorities, with what else is in another document.
fn with_x509(x509: x509::Bundle, rest: Option<&Document>) -> Result<Document, document::Error> {
    let name = x509.trust_domain().clone();
    let (jwt, wit) = match rest {
        Some(rest) => (rest.jwt().clone(), rest.wit().clone()),
        // Nothing is empty or comes twice.
        None => (
            jwt::Bundle::new(name.clone(), []).map_err(|_| document::Error::KeyIdTwice)?,
            wit::Bundle::new(name, []).map_err(|_| document::Error::KeyIdTwice)?,
        ),
    };
    let (sequence, hint) = rest.map_or((None, None), |rest| (rest.sequence(), rest.refresh_hint()));
    Document::new(x509, jwt, wit, sequence, hint)
}

fn with_cause(reason: &Reason) -> String {
    match std::error::Error::source(reason) {
        Some(cause) => format!("{reason}: {cause}"),
        None => reason.to_string(),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

const BEGIN: &[u8] = b"-----BEGIN ";

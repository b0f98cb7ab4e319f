//! Reading a bundle document of somebody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use data_encoding::BASE64;

use crate::spiffe::{
    TrustDomain,
    jose::{Jwk, KeyError, Usage},
    json::{self, Number, Object, Value},
    jwt, wit, x509,
};

use super::{DOCUMENT_BYTES_MAX, Document, ENTRIES_MAX, Error, LeftOut, Reason, USE_X509, Warning, authority_key};

/// A document, and what its reader has to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is used of it.
    pub document: Document,
    /// What is not, in the order of the entries.
    pub left_out: Vec<LeftOut>,
    /// What else is wrong with it.
    pub warnings: Vec<Warning>,
}

/// Reads a bundle document as that of a trust domain: of the one that it was asked for, since it names none.
///
/// A document of which nothing can be used is a good one, and empty: it revokes everything.
///
/// # Errors
/// When it is too long, is not JSON that has one meaning, has no list of `keys`, has more than [`ENTRIES_MAX`]
/// entries or too many authorities, or a name comes twice in it anywhere but within an entry.
pub fn parse(trust_domain: TrustDomain, document: &[u8]) -> Result<Outcome, Error> {
    let document = json::parse_with_repeats(document, DOCUMENT_BYTES_MAX)?;
    let document = document.as_object().ok_or(Error::NotObject)?;
    let outside_keys = document.iter().filter(|(name, _)| *name != "keys");
    if document.own_repeated().is_some() || outside_keys.into_iter().any(|(_, value)| value.repeated().is_some()) {
        return Err(json::Error::Repeated.into());
    }
    let no_keys = || if document.has("trust_domains") { Error::Map } else { Error::NoKeys };
    let entries = document.member("keys").and_then(Value::as_array).ok_or_else(no_keys)?;
    if entries.len() > ENTRIES_MAX {
        return Err(Error::TooManyEntries(entries.len()));
    }

    let mut found = Found::default();
    let twice = repeated_key_ids(entries);
    for (index, entry) in entries.iter().enumerate() {
        if let Err(reason) = found.take(index, entry, &twice) {
            found.left_out.push(LeftOut { index, reason });
        }
    }
    let sequence = found.optional(document, "spiffe_sequence", Warning::Sequence);
    let hint = found.optional(document, "spiffe_refresh_hint", Warning::RefreshHint);
    let hint = hint.map(Duration::from_secs);

    let x509 = x509::Bundle::new(trust_domain.clone(), found.authorities).map_err(Error::Authorities)?;
    // No `kid` comes twice or is empty here, and there are not too many: those were left out or refused.
    let jwt = jwt::Bundle::new(trust_domain.clone(), found.jwt).map_err(|_| Error::KeyIdTwice)?;
    let wit = wit::Bundle::new(trust_domain, found.wit).map_err(|_| Error::KeyIdTwice)?;
    let document = Document::new(x509, jwt, wit, sequence, hint)?;
    Ok(Outcome { document, left_out: found.left_out, warnings: found.warnings })
}

#[derive(Default)]
struct Found {
    authorities: Vec<Bytes>,
    jwt: Vec<(String, Jwk)>,
    wit: Vec<(String, Jwk)>,
    left_out: Vec<LeftOut>,
    warnings: Vec<Warning>,
}

impl Found {
    fn take(&mut self, index: usize, entry: &Value, twice: &BTreeSet<&str>) -> Result<(), Reason> {
        let object = entry.as_object().ok_or(Reason::NotObject)?;
        if entry.repeated().is_some() {
            return Err(Reason::Repeated);
        }
        // Whatever an entry is for: a secret in a published document is worth an alarm.
        Jwk::check_public(object)?;
        match usage(object) {
            Some(USE_X509) => {
                self.authorities.push(authority(object)?);
                if object.has("kid") {
                    self.warnings.push(Warning::KeyIdOfAuthority { index });
                }
            }
            Some(jwt::Profile::USE) => self.jwt.push(named_key(object, twice)?),
            Some(wit::Profile::USE) => self.wit.push(named_key(object, twice)?),
            _ => return Err(Reason::Use),
        }
        Ok(())
    }

    /// An integer that may be missing; what is no integer token counts as missing, and is warned of.
    fn optional(&mut self, document: &Object, name: &str, warning: Warning) -> Option<u64> {
        match document.member(name)? {
            Value::Number(Number::Unsigned(number)) => Some(*number),
            _ => {
                self.warnings.push(warning);
                None
            }
        }
    }
}

pub(super) fn usage(entry: &Object) -> Option<&str> {
    entry.member("use").and_then(Value::as_str)
}

fn key_id(entry: &Object) -> Option<&str> {
    entry.member("kid").and_then(Value::as_str).filter(|id| !id.is_empty())
}

/// The names that stand for more than one JWT or WIT key, be the keys good or not: nobody can tell which of
/// them a token means.
fn repeated_key_ids(entries: &[Value]) -> BTreeSet<&str> {
    let tokens = entries.iter().filter_map(Value::as_object);
    repeated_among(tokens.filter(|entry| matches!(usage(entry), Some(jwt::Profile::USE | wit::Profile::USE))))
}

/// The names that more than one of these keys have.
pub(super) fn repeated_among<'k>(keys: impl Iterator<Item = &'k Object>) -> BTreeSet<&'k str> {
    let mut counts = BTreeMap::new();
    for id in keys.filter_map(key_id) {
        *counts.entry(id).or_insert(0_usize) += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(id, _)| id).collect()
}

pub(super) fn named_key(entry: &Object, twice: &BTreeSet<&str>) -> Result<(String, Jwk), Reason> {
    let id = key_id(entry).ok_or(Reason::KeyId)?;
    if twice.contains(id) {
        return Err(Reason::KeyIdTwice);
    }
    Ok((id.to_owned(), Jwk::read(entry)?))
}

/// The certificate of an entry: the first of `x5c`, whatever follows. The JWK's own key is only compared with
/// it, and never an anchor (XBND-09).
fn authority(entry: &Object) -> Result<Bytes, Reason> {
    let chain = entry.member("x5c").and_then(Value::as_array).unwrap_or_default();
    let first = chain.first().ok_or(Reason::NoCertificate)?.as_str().ok_or(Reason::CertificateEncoding)?;
    let certificate = BASE64.decode(first.as_bytes()).map_err(|_| Reason::CertificateEncoding)?;
    x509::check_authority(&certificate).map_err(Reason::Certificate)?;
    let key = Jwk::read(entry)?;
    match authority_key(&certificate) {
        Some(certified) if certified.is_same_key(&key) => Ok(certificate.into()),
        Some(_) => Err(Reason::KeyDiffers),
        None => Err(Reason::Key(KeyError::Type)),
    }
}

//! What an issuer calls itself.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt;

use thiserror::Error;

use crate::oauth::{
    access::TEXT_BYTES_MAX,
    target::{self, Target},
};

/// The longest name, in bytes: as long as any text in a token of ours, where it stands as `sub_iss`.
pub const NAME_BYTES_MAX: usize = TEXT_BYTES_MAX;

/// The `iss` of an issuer's tokens: an https URL without query and fragment (RFC 8414 §2), or an http URL of this machine.
/// It is kept as it was written, as whoever compares it does so octet by octet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerName(String);

/// Why a text is no issuer's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// More than [`NAME_BYTES_MAX`].
    #[error("it has {0} bytes, at most {NAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// It is no URL that every parser reads alike.
    #[error(transparent)]
    Url(#[from] target::Error),
    /// Over plain http anybody on the way could be the issuer of another machine.
    #[error("it is an http URL of another machine: only https is believed there")]
    Plain,
}

impl IssuerName {
    /// Reads one.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        let origin = Target::parse_htu(text)?.origin().to_string();
        match origin.strip_prefix("http://").is_some_and(|authority| !is_loopback(authority)) {
            true => Err(NameError::Plain),
            false => Ok(Self(text.to_owned())),
        }
    }

    /// It as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether host and perhaps port are of this machine, where the operator's own tests and proxies are.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => return address.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback()),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

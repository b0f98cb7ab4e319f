//! A permit becomes a signature here, and nowhere else.
//!
//! The embedded authority has a root (in the bundle, years) and an issuing CA (online, replaced daily), or one tier
//! that is both. What signs now is an immutable [`Keyring`]; its owner task replaces it whole.

mod access;
mod algorithm;
mod certificate;
mod error;
mod keyring;
mod keys;
mod member;
mod owner;
mod sample;
mod signer;
mod slots;
mod token;
mod tokens;

pub(crate) use access::AccessToken;
pub(crate) use algorithm::Algorithm;
pub(crate) use certificate::{ISSUING_TTL_MIN, ROOT_TTL_MIN, Serial, issuing_certificate, root_certificate};
pub(crate) use error::Error;
pub(crate) use keyring::{Keyring, Svid};
pub(crate) use member::{Event, Listed};
pub(crate) use owner::{Layout, Owner, ROOT_IS_EARLY, Settings};
pub(crate) use signer::{AuthorityId, Key, Signer};
pub(crate) use token::{Token, TokenKeys};
pub(crate) use tokens::holder_key;

#[cfg(test)]
mod tests;

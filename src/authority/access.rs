//! What is special about the keys that sign access tokens: they are for OAuth clients, and scanners know their tokens.
//!
//! They succeed each other as those for SVIDs do, are never the same, and are a type of their own: no bundle of SPIFFE's
//! can have one.

use super::{Algorithm, AuthorityId};
use crate::spiffe::jose::Usage;

/// Whatever curve the authority has: every reader of access tokens knows ES256, and the header is to be the same always.
pub(super) const ALGORITHM: Algorithm = Algorithm::P256;

/// What each `kid` begins with. With the quote before it, it is a whole number of base64url's groups of three, so that
/// every token begins with the same 56 characters.
const BRAND: &str = "dfly-";

/// The `kid` of an authority.
pub(super) fn key_id(id: &AuthorityId) -> String {
    format!("{BRAND}{id}")
}

/// Keys for access tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {}

impl Usage for Profile {
    const USE: &'static str = "sig";
    const IS_TOLD_ALONE: bool = true;
    const IS_ALGORITHM_TOLD: bool = true;
}

//! Making access tokens.

use std::time::SystemTime;

use thiserror::Error;

use crate::{
    oauth::{Scopes, Thumbprint},
    spiffe::{
        jose::{self, Algorithm, SignError, Signer, SigningAlgorithm},
        json::Members,
        span,
    },
};

use super::{LIFETIME_MAX, Subject, TOKEN_BYTES_MAX, TYPE, TokenId, brand::is_key_id, subject::is_text};

/// What a new token is to say.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// `sub`, `sub_iss` and `act`
    pub subject: &'a Subject,
    /// `aud`
    pub audience: &'a str,
    /// `client_id`: the agent's name.
    pub client: &'a str,
    /// `scope`; at least one.
    pub scopes: &'a Scopes,
    /// `cnf.jkt`: the key that the holder has proved.
    pub key: Thumbprint,
    /// `sid`
    pub session: Option<&'a str>,
    /// `jti`: 128 random bits, for this token alone.
    pub token_id: TokenId,
    /// When it ends; rounded down to a second.
    pub expires_at: SystemTime,
}

/// Why no token was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DraftError {
    /// A claim is empty, too long, or has control characters; says which.
    #[error("its `{0}` is empty, too long, or has control characters")]
    Text(&'static str),
    /// It would not live a second, or a time is not between 1970 and 9999.
    #[error("it would end before it begins, or at no time that can be written")]
    Time,
    /// It would live longer than [`LIFETIME_MAX`].
    #[error("it would live longer than an access token may")]
    TooLongLived,
    /// The signing key is not for ES256, or its `kid` is not ours.
    #[error("the signing key is not for ES256, or its `kid` does not have the brand")]
    Key,
    /// It would be longer than any reader of ours, or a scanner, looks at.
    #[error("the token would have {0} bytes, at most {TOKEN_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The signer failed.
    #[error("it was not signed")]
    Sign(#[from] SignError),
}

/// Makes an access token: claims `iss`, `sub`, `aud`, `client_id`, `iat`, `exp`, `jti`, `scope`, `cnf`, and perhaps `sid`,
/// `sub_iss` and `act`, the times in whole seconds since 1970. `iat` is `now`, rounded down.
///
/// # Errors
/// See [`DraftError`]. Nothing is signed when the draft is at fault.
pub fn issue(draft: &Draft<'_>, signer: &dyn Signer, now: SystemTime) -> Result<String, DraftError> {
    if signer.algorithm() != SigningAlgorithm::Es256 || !is_key_id(signer.key_id()) {
        return Err(DraftError::Key);
    }
    let texts = [("iss", draft.issuer), ("aud", draft.audience), ("client_id", draft.client)];
    let texts = texts.into_iter().chain(draft.session.map(|session| ("sid", session)));
    let fault = texts.into_iter().find(|(_, text)| !is_text(text)).map(|(name, _)| name);
    let fault = fault.or_else(|| draft.subject.fault()).or_else(|| draft.scopes.is_empty().then_some("scope"));
    if let Some(name) = fault {
        return Err(DraftError::Text(name));
    }
    let (issued_at, expires_at) = span(now, draft.expires_at).ok_or(DraftError::Time)?;
    if expires_at - issued_at > LIFETIME_MAX.as_secs() {
        return Err(DraftError::TooLongLived);
    }
    let claims = draft.subject.write_name(Members::new().string("iss", draft.issuer));
    let claims = claims
        .string("aud", draft.audience)
        .string("client_id", draft.client)
        .integer("iat", issued_at)
        .integer("exp", expires_at)
        .string("jti", &draft.token_id.to_string())
        .string("scope", &draft.scopes.to_string())
        .raw("cnf", &Members::new().string("jkt", &draft.key.to_string()).finish());
    let claims = draft.session.into_iter().fold(claims, |claims, session| claims.string("sid", session));
    let claims = draft.subject.write_rest(claims).finish();
    let header = header(signer.key_id());
    // Two dots and the signature.
    let length: usize =
        [header.len(), claims.len(), signer.algorithm().signature_bytes()].map(encoded_length).iter().sum();
    match length + 2 {
        0..=TOKEN_BYTES_MAX => Ok(jose::seal(&header, &claims, signer)?),
        more => Err(DraftError::TooLong(more)),
    }
}

/// The header under a `kid`: there is no other.
pub(super) fn header(key_id: &str) -> String {
    Members::new().string("typ", TYPE).string("alg", Algorithm::Es256.name()).string("kid", key_id).finish()
}

/// Of base64url without padding.
fn encoded_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

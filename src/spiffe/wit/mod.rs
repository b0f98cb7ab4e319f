//! WIT-SVIDs: tokens that are worth nothing without the key they name (Incubating; revision 665a28f).
//!
//! No function here says whose a token is before the holder of it has proved its key: what comes out of
//! [`verify`] shows that key and nothing else, until [`Unproved::prove`] has seen a signature by it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use thiserror::Error;

use super::{
    ClaimError, Id, TrustDomain, claims,
    jose::{self, Jwk, KeyError, SignError, Signer, Unverified, Usage},
    json::{Members, Object, Value},
};

/// What a bundle of WIT keys is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {}

impl Usage for Profile {
    const USE: &'static str = "wit-svid";
    const IS_TOLD_ALONE: bool = true;
}

/// The WIT keys of one trust domain.
pub type Bundle = jose::Bundle<Profile>;

const TYPE: &str = "wit+jwt";

/// What a new token is to say.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Whose token it is.
    pub id: &'a Id,
    /// The public key of its holder. It must name its algorithm ([`Jwk::for_algorithm`]).
    pub key: &'a Jwk,
    /// 128 random bits, for this token alone.
    pub token_id: [u8; 16],
    /// When it ends; rounded down to a second.
    pub expires_at: SystemTime,
}

/// Why no token was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DraftError {
    /// The holder's key does not name its algorithm.
    #[error("the holder's key does not name its algorithm")]
    Algorithm,
    /// It would not live a second, or a time is not between 1970 and 9999.
    #[error("it would end before it begins, or at no time that can be written")]
    Time,
    /// The signer failed.
    #[error("it was not signed")]
    Sign(#[from] SignError),
}

/// Makes a WIT-SVID: header `alg`, `kid` and `typ`, claims `sub`, `exp`, `iat`, `jti` and `cnf` with the holder's
/// key; the times in whole seconds since 1970. `iat` is `now`, rounded down.
///
/// # Errors
/// See [`DraftError`]. Nothing is signed when the draft is at fault.
pub fn issue(draft: &Draft<'_>, signer: &dyn Signer, now: SystemTime) -> Result<String, DraftError> {
    if draft.key.algorithm().is_none() {
        return Err(DraftError::Algorithm);
    }
    let (issued_at, expires_at) = claims::span(now, draft.expires_at).ok_or(DraftError::Time)?;
    let claims = Members::new()
        .string("sub", draft.id.as_str())
        .integer("exp", expires_at)
        .integer("iat", issued_at)
        .string("jti", &jose::encode(&draft.token_id))
        .raw("cnf", &Members::new().raw("jwk", &draft.key.to_json()).finish())
        .finish();
    Ok(jose::sign(TYPE, &claims, signer)?)
}

/// Why a token was refused: the first rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// It is no compact JWS, or the signature is not right.
    #[error(transparent)]
    Token(#[from] jose::Error),
    /// `typ` is not `wit+jwt`.
    #[error("its `typ` is not `wit+jwt`")]
    Type,
    /// A claim is not as it must be.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// There is an `aud`, be it empty.
    #[error("it has an `aud`, which such a token must not have")]
    Audience,
    /// `cnf` is missing or has no `jwk` that is an object.
    #[error("it has no `cnf` with a `jwk`")]
    NoConfirmation,
    /// The holder's key is none that can be believed.
    #[error("the key in its `cnf` is refused")]
    ConfirmationKey(#[source] KeyError),
    /// The holder's key does not name its algorithm.
    #[error("the key in its `cnf` does not name its algorithm")]
    ConfirmationAlgorithm,
    /// There is no bundle for the trust domain of `sub`.
    #[error("there are no keys of the trust domain {0}")]
    NoBundle(TrustDomain),
    /// The bundle has no key: everything of this trust domain is revoked.
    #[error("the trust domain {0} has no key for such tokens")]
    EmptyBundle(TrustDomain),
    /// It has no `kid`.
    #[error("it has no `kid`")]
    NoKeyId,
    /// The trust domain has no key of this `kid`.
    #[error("the trust domain has no key of its `kid`")]
    UnknownKey,
    /// The proof is not by the key in `cnf`, or not for what was signed.
    #[error("the proof of possession does not match")]
    Proof,
}

/// Judges a WIT-SVID by itself. `bundle_of` answers which keys count for the trust domain that `sub` names; a
/// bundle of another trust domain than that counts for nothing. `leeway` is for clocks that differ, at most
/// [`LEEWAY_MAX`](super::LEEWAY_MAX); more counts as that.
///
/// # Errors
/// See [`enum@Error`].
pub fn verify<'a>(
    token: &str,
    now: SystemTime,
    leeway: Duration,
    bundle_of: impl FnOnce(&TrustDomain) -> Option<&'a Bundle>,
) -> Result<Unproved, Error> {
    let token = Unverified::parse(token)?;
    if token.header().kind.as_deref() != Some(TYPE) {
        return Err(Error::Type);
    }
    let key_id = token.header().key_id.clone().ok_or(Error::NoKeyId)?;
    let claims = token.unverified_claims();
    if claims.has("aud") {
        return Err(Error::Audience);
    }
    let id = claims::subject(claims)?;
    let key = confirmation(claims)?;
    let expires_at = claims::check_time(claims, now, leeway)?;
    let trust_domain = id.trust_domain();
    let Some(bundle) = bundle_of(&trust_domain).filter(|bundle| *bundle.trust_domain() == trust_domain) else {
        return Err(Error::NoBundle(trust_domain));
    };
    if bundle.is_empty() {
        return Err(Error::EmptyBundle(trust_domain));
    }
    let issuer = bundle.key(&key_id).ok_or(Error::UnknownKey)?;
    Ok(Unproved { key, holder: Validated { id, expires_at, claims: token.verify([issuer])? } })
}

/// The key that a token names, for its holder, who has the token from the endpoint that made it. Nothing of the token
/// is judged; a verifier asks [`verify`].
///
/// # Errors
/// When it is no compact JWS, or has no such key.
pub fn named_key(token: &str) -> Result<Jwk, Error> {
    confirmation(Unverified::parse(token)?.unverified_claims())
}

/// A good token whose holder has proved nothing yet.
pub struct Unproved {
    key: Jwk,
    holder: Validated,
}

/// A proof of possession: something that only the holder of the key could have signed, for this request.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// What was signed, as the verifier itself has put it together of the request at hand (the signature
    /// base of RFC 9421), or as it has found to be for this request, and fresh (a WPT's first two parts).
    pub message: &'a [u8],
    /// The signature as JWS has it: of ECDSA, r and s at full width.
    pub signature: &'a [u8],
}

/// What a token says, after its holder has proved the key.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Whose token it is.
    pub id: Id,
    /// From when on it is not good any more, leeway apart.
    pub expires_at: SystemTime,
    /// All claims, those included that are not known here.
    pub claims: Object,
}

impl Unproved {
    /// The key that the holder must prove. It names its algorithm.
    pub fn key(&self) -> &Jwk {
        &self.key
    }

    /// Who it is, given a signature with the token's key and by the algorithm that the key names.
    ///
    /// # Errors
    /// [`Error::Proof`].
    pub fn prove(self, proof: Proof<'_>) -> Result<Validated, Error> {
        let algorithm = self.key.algorithm().ok_or(Error::ConfirmationAlgorithm)?;
        self.key.verify(algorithm, proof.message, proof.signature).map_err(|_| Error::Proof)?;
        Ok(self.holder)
    }
}

impl fmt::Debug for Unproved {
    /// Not whose it is: a log line is a place where somebody would believe it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unproved(..)")
    }
}

/// The holder's key (RFC 7800 §3.2). It fixes the algorithm of the proof, so it must name one.
fn confirmation(claims: &Object) -> Result<Jwk, Error> {
    let jwk = claims.member("cnf").and_then(Value::as_object).and_then(|cnf| cnf.member("jwk"));
    let jwk = jwk.and_then(Value::as_object).ok_or(Error::NoConfirmation)?;
    let key = Jwk::read(jwk).map_err(Error::ConfirmationKey)?;
    match key.algorithm() {
        Some(_) => Ok(key),
        None => Err(Error::ConfirmationAlgorithm),
    }
}

#[cfg(test)]
mod tests;

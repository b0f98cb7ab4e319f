//! Proofs of possession (RFC 9449 §4): read strictly, compared with the request at hand, and only then verified.
//!
//! What comes out of [`Unproved::parse`] proves nothing: it names a key and a request. [`Unproved::check`] compares what
//! costs little, [`Unproved::prove`] checks the signature, and a [`Proof`] is made nowhere else. Whether it was seen
//! before is the question of [`replay`](super::replay), and asked last.

mod error;
mod prover;
mod window;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use zeroize::Zeroizing;

use crate::spiffe::{
    SECONDS_MAX,
    jose::{self, Compact, decode},
    json::{Object, Value},
};

use super::{ProofKey, Thumbprint, TokenHash, target::Target};

pub use error::Error;
pub use prover::Prover;
pub use window::{WINDOW_MAX, Window};

/// The longest proof that is read, in bytes.
pub const PROOF_BYTES_MAX: usize = 4 * 1024;
/// The shortest and the longest `jti`, in bytes.
pub const TOKEN_ID_BYTES: std::ops::RangeInclusive<usize> = 8..=256;
/// The longest `nonce` that is read, in bytes.
pub const NONCE_BYTES_MAX: usize = 256;
/// The algorithms by the names that a challenge gives them. Two are one.
pub const ALGORITHMS: &str = "ES256 Ed25519 EdDSA";

const TYPE: &str = "dpop+jwt";

/// How a proof is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519, under its own name (RFC 9864) or as `EdDSA`.
    Ed25519,
}

impl Algorithm {
    /// The algorithm of this name, in exactly this spelling.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }
}

/// The request at hand, to which a proof must belong.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its method, compared octet by octet.
    pub method: &'a str,
    /// Its URL: of scheme and authority what the verifier itself is configured with.
    pub target: &'a Target,
    /// The access token beside the proof; without one an `ath` says nothing.
    pub token: Option<TokenHash>,
    /// How old a proof may be.
    pub window: Window,
    /// The time, by our own clock.
    pub now: SystemTime,
}

/// A proof of which nothing is believed yet.
pub struct Unproved<'a> {
    token: Compact<'a, ProofKey>,
    thumbprint: Thumbprint,
    token_id: Zeroizing<String>,
    method: String,
    target: Target,
    issued_at: SystemTime,
    token_hash: Option<String>,
    nonce: Option<String>,
}

impl<'a> Unproved<'a> {
    /// Reads the value of a `DPoP` header, of at most [`PROOF_BYTES_MAX`].
    ///
    /// # Errors
    /// When it breaks a rule that can be judged without the request.
    pub fn parse(value: &'a str) -> Result<Self, Error> {
        if value.len() <= PROOF_BYTES_MAX && value.contains(',') {
            return Err(Error::Several);
        }
        let token = Compact::parse(value, PROOF_BYTES_MAX, read_header)?;
        if token.signature().is_empty() {
            return Err(jose::Error::Parts.into());
        }
        let claims = &token.claims;
        let token_id = text(claims, "jti")?.filter(|id| TOKEN_ID_BYTES.contains(&id.len()));
        let token_id = Zeroizing::new(token_id.ok_or(Error::Claim("jti"))?.to_owned());
        let method = text(claims, "htm")?.filter(|method| !method.is_empty()).ok_or(Error::Claim("htm"))?.to_owned();
        let target = text(claims, "htu")?.ok_or(Error::Claim("htu"))?;
        let target = Target::parse_htu(target).map_err(Error::Target)?;
        let issued_at = claims.member("iat").and_then(Value::as_u64).filter(|seconds| *seconds <= SECONDS_MAX);
        let issued_at = SystemTime::UNIX_EPOCH + Duration::from_secs(issued_at.ok_or(Error::Claim("iat"))?);
        let token_hash = text(claims, "ath")?;
        if token_hash.is_some_and(|hash| decode(hash).is_none_or(|hash| hash.len() != 32)) {
            return Err(Error::Claim("ath"));
        }
        let nonce = text(claims, "nonce")?;
        if nonce.is_some_and(|nonce| nonce.len() > NONCE_BYTES_MAX || !nonce.bytes().all(is_nonce_byte)) {
            return Err(Error::Claim("nonce"));
        }
        let (token_hash, nonce) = (token_hash.map(str::to_owned), nonce.map(str::to_owned));
        let thumbprint = token.header.thumbprint();
        Ok(Self { token, thumbprint, token_id, method, target, issued_at, token_hash, nonce })
    }

    /// The name of the key that it claims to be signed with.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Its nonce, where it has one.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// Compares it with the request at hand. No signature is looked at.
    ///
    /// # Errors
    /// The first thing in which they differ.
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), Error> {
        if self.method != expected.method {
            return Err(Error::OtherMethod);
        }
        if self.target != *expected.target {
            return Err(Error::OtherTarget);
        }
        if let Some(token) = expected.token {
            match &self.token_hash {
                None => return Err(Error::NoTokenHash),
                Some(hash) if *hash != token.to_string() => return Err(Error::OtherToken),
                Some(_) => {}
            }
        }
        expected.window.check(self.issued_at, expected.now)
    }

    /// Checks the signature with the proof's own key.
    ///
    /// # Errors
    /// [`jose::Error::Signature`].
    pub fn prove(self) -> Result<Proof, Error> {
        self.token.header.verify(self.token.signed().as_bytes(), self.token.signature())?;
        Ok(Proof { thumbprint: self.thumbprint, token_id: self.token_id, issued_at: self.issued_at })
    }
}

impl fmt::Debug for Unproved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unproved(..)")
    }
}

/// A proof whose signature is right: whoever sent it has the key, or has it from somebody who has.
pub struct Proof {
    thumbprint: Thumbprint,
    token_id: Zeroizing<String>,
    issued_at: SystemTime,
}

impl Proof {
    /// The name of the key.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Its `jti`.
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// Its `iat`.
    pub fn issued_at(&self) -> SystemTime {
        self.issued_at
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

fn read_header(header: &Object) -> Result<ProofKey, Error> {
    if header.member("typ").and_then(Value::as_str) != Some(TYPE) {
        return Err(Error::Type);
    }
    let algorithm = header.member("alg").and_then(Value::as_str).and_then(Algorithm::named).ok_or(Error::Algorithm)?;
    if let Some(name) = REFUSED.into_iter().find(|name| header.has(name)) {
        return Err(jose::Error::Header(name).into());
    }
    let key = ProofKey::read(header.member("jwk").and_then(Value::as_object).ok_or(Error::NoKey)?)?;
    match key.admits(algorithm) {
        true => Ok(key),
        false => Err(jose::Error::KeyMismatch.into()),
    }
}

/// A claim that is a text where it is there.
fn text<'c>(claims: &'c Object, name: &'static str) -> Result<Option<&'c str>, Error> {
    claims.member(name).map(|value| value.as_str().ok_or(Error::Claim(name))).transpose()
}

/// NQCHAR (RFC 6749 Appendix A), of which a nonce is made.
fn is_nonce_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

/// Extensions that must be understood and are not, and places to take a key from other than the header itself.
const REFUSED: [&str; 7] = ["crit", "b64", "zip", "enc", "jku", "x5u", "x5c"];

#[cfg(test)]
mod tests;

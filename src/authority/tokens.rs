//! Signing tokens: a JWT-SVID for audiences, a WIT-SVID for its holder's key.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};

use super::{
    Algorithm, Error, Keyring,
    signer::{Key, hex},
    token::{Token, TokenKey},
};
use crate::{
    policy::{Credential, Permit},
    spiffe::{
        jose::{PrivateJwk, SigningAlgorithm},
        jwt, wit,
    },
};

impl Keyring {
    /// Signs a JWT-SVID for the bearer of a permit, for these audiences. Lives as long as the permit says, and no longer
    /// than the key. What does not pass our own checks does not leave.
    ///
    /// # Errors
    /// When nothing could be signed, or what was signed is not right.
    pub(crate) fn sign_jwt(
        &self,
        permit: Permit,
        audiences: &[String],
        issuer: Option<&str>,
        now: SystemTime,
    ) -> Result<Token, Error> {
        self.check(&permit, Credential::Jwt)?;
        let keys = self.jwt().ok_or(Error::NoTokenKey)?;
        let expires_at = keys.active.end(&permit, now)?;
        let draft = jwt::Draft { id: permit.id(), audiences, issuer, expires_at };
        let text = jwt::issue(&draft, &*keys.active, now).map_err(made)?;
        if keys.active.sample.is_due() {
            let audience = audiences.first().map_or("", String::as_str);
            let expected = jwt::Expected { audience, now, leeway: Duration::ZERO };
            let verified = jwt::validate(&text, &expected, |_| Some(keys.bundle().into()));
            proved(&keys.active, verified.map(drop))?;
        }
        let serial = serial_of(&text);
        Ok(Token::new(permit.id().clone(), text, serial, (now, expires_at), &keys.active))
    }

    /// Signs a WIT-SVID for the bearer of a permit and the holder of this key. As [`Keyring::sign_jwt`].
    ///
    /// # Errors
    /// As [`Keyring::sign_jwt`].
    pub(crate) fn sign_wit(&self, permit: Permit, key: &PrivateJwk, now: SystemTime) -> Result<Token, Error> {
        self.check(&permit, Credential::Wit)?;
        let keys = self.wit().ok_or(Error::NoTokenKey)?;
        let expires_at = keys.active.end(&permit, now)?;
        let mut token_id = [0; 16];
        aws_lc_rs::rand::fill(&mut token_id).map_err(|_| Error::Key)?;
        let draft = wit::Draft { id: permit.id(), key: key.public(), token_id, expires_at };
        let text = wit::issue(&draft, &*keys.active, now).map_err(made)?;
        if keys.active.sample.is_due() {
            let verified = wit::verify(&text, now, Duration::ZERO, |_| Some(keys.bundle()));
            proved(&keys.active, verified.map(drop))?;
        }
        let serial = serial_of(&text);
        Ok(Token::new(permit.id().clone(), text, serial, (now, expires_at), &keys.active))
    }
}

/// A new key pair for the holder of WIT-SVIDs: P-256, which WIMSE demands everybody to read.
///
/// # Errors
/// When the crypto library makes none.
pub(crate) fn holder_key() -> Result<PrivateJwk, Error> {
    let pkcs8 = Key::generate(Algorithm::P256)?.to_pkcs8()?;
    PrivateJwk::from_pkcs8(SigningAlgorithm::Es256, pkcs8.expose()).map_err(|_| Error::Key)
}

pub(super) fn proved<E: std::error::Error + Send + Sync + 'static>(
    key: &TokenKey,
    verified: Result<(), E>,
) -> Result<(), Error> {
    key.sample.prove(verified.is_ok());
    verified.map_err(|error| Error::TokenUnverified(Box::new(error)))
}

pub(super) fn made(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Token(Box::new(error))
}

/// A name of a token for records: whoever holds the token can tell that it is the one, and nobody else learns a byte.
fn serial_of(token: &str) -> String {
    hex(digest(&SHA256, token.as_bytes()).as_ref().get(..16).unwrap_or_default())
}

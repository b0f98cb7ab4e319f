//! Reading access tokens: whole before a key is touched, believed only after.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::{
    oauth::{Scopes, Thumbprint},
    spiffe::{
        SECONDS_MAX,
        jose::{self, Jwk, encode},
        json::{Object, Value},
    },
};

use super::{
    Claims, Error, Keys, LIFETIME_MAX, Subject, TOKEN_BYTES_MAX, TYPE, TokenId, brand::is_key_id, issue::header,
    subject::is_text,
};

/// A token of which nothing is believed yet.
pub struct Unverified<'a> {
    token: jose::Unverified<'a>,
    key_id: String,
    claims: Claims,
}

impl<'a> Unverified<'a> {
    /// Reads a token of at most [`TOKEN_BYTES_MAX`].
    ///
    /// # Errors
    /// When it breaks a rule that can be judged without key, clock and audience.
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Error::TooLong(token.len()));
        }
        let read = jose::Unverified::parse(token)?;
        if read.header().kind.as_deref() != Some(TYPE) {
            return Err(Error::Type);
        }
        let key_id = read.header().key_id.clone().filter(|id| is_key_id(id)).ok_or(Error::Header)?;
        let begin = encode(header(&key_id).as_bytes());
        if token.strip_prefix(&begin).is_none_or(|rest| !rest.starts_with('.')) {
            return Err(Error::Header);
        }
        let claims = claims(read.unverified_claims())?;
        Ok(Self { token: read, key_id, claims })
    }

    /// What it claims, for finding out cheaply that it cannot be good.
    pub fn unverified_claims(&self) -> &Claims {
        &self.claims
    }

    /// Its `kid`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What it says, if it is of this issuer and signed with one of these keys. Whether it is good at a time and for an
    /// audience is [`Claims::check`]'s question.
    ///
    /// # Errors
    /// [`Error::Issuer`], [`Error::UnknownKey`], or that of the signature.
    pub fn verify(self, issuer: &str, keys: &Keys) -> Result<Claims, Error> {
        if self.claims.issuer != issuer {
            return Err(Error::Issuer);
        }
        let key: &Jwk = keys.key(&self.key_id).ok_or(Error::UnknownKey)?;
        self.token.verify([key])?;
        Ok(self.claims)
    }
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unverified(..)")
    }
}

fn claims(claims: &Object) -> Result<Claims, Error> {
    let text = |name: &'static str| match claims.member(name).and_then(Value::as_str) {
        Some(text) if is_text(text) => Ok(text.to_owned()),
        _ => Err(Error::Claim(name)),
    };
    let (issued_at, expires_at) = (time(claims, "iat")?, time(claims, "exp")?);
    match expires_at.duration_since(issued_at) {
        Ok(Duration::ZERO) | Err(_) => return Err(Error::Claim("exp")),
        Ok(lifetime) if lifetime > LIFETIME_MAX => return Err(Error::TooLongLived),
        Ok(_) => {}
    }
    // No token of ours has one: it would be good at another time than it seems.
    if claims.has("nbf") {
        return Err(Error::Claim("nbf"));
    }
    let session = claims.has("sid").then(|| text("sid")).transpose()?;
    Ok(Claims {
        issuer: text("iss")?,
        subject: Subject::read(claims)?,
        audience: text("aud")?,
        client: text("client_id")?,
        issued_at,
        expires_at,
        token_id: TokenId::parse(&text("jti")?).ok_or(Error::Claim("jti"))?,
        scopes: claims.member("scope").and_then(Value::as_str).and_then(scopes).ok_or(Error::Claim("scope"))?,
        key: confirmation(claims).ok_or(Error::Confirmation)?,
        session,
    })
}

fn scopes(text: &str) -> Option<Scopes> {
    Scopes::parse(text).ok()
}

/// The one member of `cnf`.
fn confirmation(claims: &Object) -> Option<Thumbprint> {
    let cnf = claims.member("cnf")?.as_object().filter(|cnf| cnf.len() == 1)?;
    Thumbprint::parse(cnf.member("jkt")?.as_str()?).ok()
}

/// Whole seconds.
fn time(claims: &Object, name: &'static str) -> Result<SystemTime, Error> {
    let seconds = claims.member(name).and_then(Value::as_u64).filter(|seconds| *seconds <= SECONDS_MAX);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.ok_or(Error::Claim(name))?))
}

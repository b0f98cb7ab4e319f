//! What is exchanged for an access token (RFC 8693): a token of ours, or one of a user whose issuer is pinned.
//!
//! A subject token only narrows: what is made from it has no scope that it does not have, and ends no later. Of a token of
//! ours nothing else changes, so that it stays the same agent's, for the same tool and with the same actors. A user's
//! token becomes a delegation: its subject stays, and the agent becomes the actor. A token that is bound to a key is good
//! for the holder of that key alone.

mod error;
mod user;

use std::time::SystemTime;

use crate::spiffe::{Id, TrustDomain};

use super::{
    Scopes, Thumbprint,
    access::{self, Claims, Keys, Subject},
    issuer::{Issuers, Unverified},
};

pub use error::Error;
pub use user::LEEWAY;
pub(crate) use user::User;

/// What a client says a subject token is (RFC 8693 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An OAuth access token.
    AccessToken,
    /// A JWT of whatever kind.
    Jwt,
    /// An OpenID Connect ID token.
    IdToken,
}

impl TokenType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AccessToken, Self::Jwt, Self::IdToken];

    /// The one of this identifier, in exactly this spelling.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its identifier.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
        }
    }
}

/// Whose tokens can be exchanged.
#[derive(Clone, Copy, Debug)]
pub struct Believed<'a> {
    /// Our own keys.
    pub keys: &'a Keys,
    /// Issuers of users.
    pub issuers: &'a Issuers,
}

/// The request at hand, to which a subject token must fit.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Our own name: the `iss` of our tokens, and the only `aud` of users'.
    pub issuer: &'a str,
    /// In which no user has a name.
    pub trust_domain: &'a TrustDomain,
    /// The key of the request's proof.
    pub holder: Thumbprint,
    /// The time.
    pub now: SystemTime,
}

/// A subject token that is good: signed by whom it names, not over, and its presenter's as far as its key tells. Only
/// [`Parent::read`] makes one. Whether the caller may have anything for it is for policy to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent(Origin);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Own(Claims),
    User(User),
}

impl Parent {
    /// Reads a subject token of at most [`TOKEN_BYTES_MAX`](super::issuer::TOKEN_BYTES_MAX); one of ours has at most
    /// [`access::TOKEN_BYTES_MAX`].
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn read(token: &str, kind: TokenType, believed: &Believed<'_>, expected: &Expected<'_>) -> Result<Self, Error> {
        let read = Unverified::parse(token)?;
        let issuer = read.unverified_claims().member("iss").and_then(|issuer| issuer.as_str());
        let issuer = issuer.ok_or(Error::Claim("iss"))?;
        if issuer == expected.issuer {
            return own(token, kind, believed.keys, expected).map(Origin::Own).map(Self);
        }
        let absent = || if believed.issuers.is_keyless(issuer) { Error::NoKeys } else { Error::Issuer };
        let issuer = believed.issuers.get(issuer).ok_or_else(absent)?;
        user::read(read, kind, issuer, expected).map(Origin::User).map(Self)
    }

    /// What it says, where it is one of ours.
    pub fn own(&self) -> Option<&Claims> {
        match &self.0 {
            Origin::Own(claims) => Some(claims),
            Origin::User(_) => None,
        }
    }

    /// Whose token that of an agent becomes.
    pub fn subject(&self, agent: &Id) -> Subject {
        match &self.0 {
            Origin::Own(claims) => claims.subject.clone(),
            Origin::User(user) => Subject::User {
                name: user.name.clone(),
                issuer: user.issuer.clone(),
                agent: agent.clone(),
                earlier: user.actors.clone(),
            },
        }
    }

    /// Who alone may act for its subject, where it says so: a SPIFFE ID, or anything that is none.
    pub fn may_act(&self) -> Option<&str> {
        match &self.0 {
            Origin::Own(_) => None,
            Origin::User(user) => user.may_act.as_deref(),
        }
    }

    /// What may be done for it; `None` where it says nothing of that.
    pub fn scopes(&self) -> Option<&Scopes> {
        match &self.0 {
            Origin::Own(claims) => Some(&claims.scopes),
            Origin::User(user) => user.scopes.as_ref(),
        }
    }

    /// The moment from which on it is not good any more, nor is what is made from it.
    pub fn expires_at(&self) -> SystemTime {
        match &self.0 {
            Origin::Own(claims) => claims.expires_at,
            Origin::User(user) => user.expires_at,
        }
    }

    /// Its `jti`, where it has one.
    pub fn token_id(&self) -> Option<String> {
        match &self.0 {
            Origin::Own(claims) => Some(claims.token_id.to_string()),
            Origin::User(user) => user.token_id.clone(),
        }
    }

    /// The session that it belongs to, of which it stays a part.
    pub fn session(&self) -> Option<&str> {
        self.own()?.session.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn of_own(claims: Claims) -> Self {
        Self(Origin::Own(claims))
    }

    #[cfg(test)]
    pub(crate) fn of_user(user: User) -> Self {
        Self(Origin::User(user))
    }
}

/// A token of ours: for whom it is does not matter yet, nor whether what it rests on still stands.
fn own(token: &str, kind: TokenType, keys: &Keys, expected: &Expected<'_>) -> Result<Claims, Error> {
    if kind == TokenType::IdToken {
        return Err(Error::Type);
    }
    let unverified = access::Unverified::parse(token)?;
    let read = unverified.unverified_claims();
    read.check(&read.audience, expected.now)?;
    if read.key != expected.holder {
        return Err(Error::Key);
    }
    Ok(unverified.verify(expected.issuer, keys)?)
}

#[cfg(test)]
mod tests;

//! What is known of whoever sent a request, whichever credential he came with.

use std::{sync::Arc, time::SystemTime};

use crate::oauth::{
    Scopes, Thumbprint,
    access::{Claims, Subject, TokenId},
};

use super::Kind;

/// A credential of which everything has been checked, or that is about to be refused for what it says.
#[derive(Clone, Debug)]
pub struct Credential(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Access(Arc<Claims>),
    Other(Arc<Other>),
}

/// What every other credential comes to.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) kind: Kind,
    /// Of a token of another issuer.
    pub(super) issuer: Option<String>,
    pub(super) agent: String,
    pub(super) subject: Subject,
    pub(super) audience: String,
    pub(super) scopes: Scopes,
    /// Whether a younger one would have the scope that is needed.
    pub(super) is_too_old: bool,
    pub(super) issued_at: SystemTime,
    pub(super) expires_at: SystemTime,
    pub(super) key: Option<Thumbprint>,
    pub(super) token_id: Option<TokenId>,
}

impl Credential {
    pub(crate) fn access(claims: Arc<Claims>) -> Self {
        Self(Inner::Access(claims))
    }

    pub(super) fn other(other: Other) -> Self {
        Self(Inner::Other(Arc::new(other)))
    }

    /// One of another kind that says the same as this token.
    #[cfg(test)]
    pub(crate) fn sample(kind: Kind, claims: &Claims) -> Self {
        Self::other(Other {
            kind,
            issuer: None,
            agent: claims.client.clone(),
            subject: claims.subject.clone(),
            audience: claims.audience.clone(),
            scopes: claims.scopes.clone(),
            is_too_old: false,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            key: matches!(kind, Kind::Wit | Kind::ForeignDpop).then_some(claims.key),
            token_id: (kind == Kind::Wit).then_some(claims.token_id),
        })
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Inner::Access(_) => Kind::Dpop,
            Inner::Other(other) => other.kind,
        }
    }

    /// Who issued it: the `iss` of an access token; of an SVID none.
    pub fn issuer(&self) -> Option<&str> {
        match &self.0 {
            Inner::Access(claims) => Some(&claims.issuer),
            Inner::Other(other) => other.issuer.as_deref(),
        }
    }

    /// The agent's name.
    pub fn agent(&self) -> &str {
        match &self.0 {
            Inner::Access(claims) => &claims.client,
            Inner::Other(other) => &other.agent,
        }
    }

    /// For whom it acts.
    pub fn subject(&self) -> &Subject {
        match &self.0 {
            Inner::Access(claims) => &claims.subject,
            Inner::Other(other) => &other.subject,
        }
    }

    /// The audience of the tool that it is for.
    pub fn audience(&self) -> &str {
        match &self.0 {
            Inner::Access(claims) => &claims.audience,
            Inner::Other(other) => &other.audience,
        }
    }

    /// What may be done with it: of a credential that names no scopes, all that its agent is granted.
    pub fn scopes(&self) -> &Scopes {
        match &self.0 {
            Inner::Access(claims) => &claims.scopes,
            Inner::Other(other) => &other.scopes,
        }
    }

    /// Whether it is for its age alone that it does not have the scope that is needed.
    pub(super) fn is_too_old(&self) -> bool {
        matches!(&self.0, Inner::Other(other) if other.is_too_old)
    }

    /// When it was issued.
    pub fn issued_at(&self) -> SystemTime {
        match &self.0 {
            Inner::Access(claims) => claims.issued_at,
            Inner::Other(other) => other.issued_at,
        }
    }

    /// When it ends.
    pub fn expires_at(&self) -> SystemTime {
        match &self.0 {
            Inner::Access(claims) => claims.expires_at,
            Inner::Other(other) => other.expires_at,
        }
    }

    /// The key that was proved; of a JWT-SVID none, nor where a certificate was.
    pub fn key(&self) -> Option<Thumbprint> {
        match &self.0 {
            Inner::Access(claims) => Some(claims.key),
            Inner::Other(other) => other.key,
        }
    }

    /// Its `jti`; a JWT-SVID has none, and that of another issuer's token is not kept.
    pub fn token_id(&self) -> Option<TokenId> {
        match &self.0 {
            Inner::Access(claims) => Some(claims.token_id),
            Inner::Other(other) => other.token_id,
        }
    }

    /// Everything that an access token of our own says.
    pub fn claims(&self) -> Option<&Claims> {
        match &self.0 {
            Inner::Access(claims) => Some(claims),
            Inner::Other(_) => None,
        }
    }
}

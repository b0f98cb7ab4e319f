//! What comes of a request: it may pass, or there is a first reason against it.

use crate::oauth::{
    Scopes, Thumbprint,
    access::{Subject, TokenId},
    challenge::Challenge,
    issuer::IssuerName,
};

use super::{Credential, Kind, Reason};

/// A request that may pass. Only [`Verifier::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    pub(super) credential: Credential,
    pub(super) tool: String,
    pub(super) scope: String,
}

impl Verified {
    /// Which kind of credential it came with.
    pub fn kind(&self) -> Kind {
        self.credential.kind()
    }

    /// The agent's name.
    pub fn agent(&self) -> &str {
        self.credential.agent()
    }

    /// For whom it acts.
    pub fn subject(&self) -> &Subject {
        self.credential.subject()
    }

    /// All scopes of its credential.
    pub fn scopes(&self) -> &Scopes {
        self.credential.scopes()
    }

    /// The one that this request needed.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The name of the tool.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The key that was proved, if one was.
    pub fn key(&self) -> Option<Thumbprint> {
        self.credential.key()
    }

    /// Who issued its token: we ourselves, or another; of an SVID none.
    pub fn issuer(&self) -> Option<&str> {
        self.credential.issuer()
    }

    /// The `jti` of an access token of our own, or of a WIT-SVID.
    pub fn token_id(&self) -> Option<TokenId> {
        self.credential.token_id()
    }

    /// Everything that is known of the credential.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }
}

/// A request that may not pass: why, for the records, and what to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind of credential it came with, as far as it went.
    pub kind: Option<Kind>,
    /// The issuer that it names, of those that the tool takes.
    pub issuer: Option<IssuerName>,
    /// For the records alone.
    pub reason: Reason,
    /// For the client.
    pub challenge: Challenge,
}

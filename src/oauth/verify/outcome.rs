//! What comes of a request: it may pass, or there is a first reason against it.

use crate::oauth::{
    Scopes, Thumbprint,
    access::{self, Subject, TokenId},
    challenge::Challenge,
    foreign::{self, Binding},
    issuer::IssuerName,
};

use super::{Credential, Kind, Reason};

/// A request that may pass. Only [`Verifier::verify`](super::Verifier::verify) makes one.
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

/// Whose a credential is. Its signature was right; nothing else need have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The `client_id` of a token: of our own an agent's name, of another issuer's its SPIFFE ID; of an SVID that.
    pub client: String,
    /// The key that it is bound to.
    pub key: Option<Thumbprint>,
    /// The `jti` of an access token of our own, or of a WIT-SVID.
    pub token_id: Option<TokenId>,
}

impl From<&access::Claims> for Bearer {
    fn from(claims: &access::Claims) -> Self {
        Self { client: claims.client.clone(), key: Some(claims.key), token_id: Some(claims.token_id) }
    }
}

impl From<&foreign::Claims> for Bearer {
    fn from(claims: &foreign::Claims) -> Self {
        let key = match claims.binding {
            Binding::Key(key) => Some(key),
            Binding::Certificate(_) => None,
        };
        Self { client: claims.client.to_string(), key, token_id: None }
    }
}

/// A request that may not pass: why, for the records, and what to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind of credential it came with, as far as it went.
    pub kind: Option<Kind>,
    /// The issuer that it names, of those that the tool takes.
    pub issuer: Option<IssuerName>,
    /// Whose it is, where that is known. For the records alone.
    pub bearer: Option<Box<Bearer>>,
    /// For the records alone.
    pub reason: Reason,
    /// For the client.
    pub challenge: Challenge,
}

impl Refusal {
    /// Whose the credential is, and what is wrong with it, by name and value, none of it secret: the `client`, the `jti` and
    /// the `jkt` of one whose signature was right, and the `claim` that is not as it must be.
    pub fn details(&self) -> Vec<(&'static str, String)> {
        let bearer = self.bearer.as_deref().into_iter().flat_map(|Bearer { client, key, token_id }| {
            [
                ("client", Some(client.clone())),
                ("jti", token_id.map(|id| id.to_string())),
                ("jkt", key.map(|key| key.to_string())),
            ]
        });
        let claim = ("claim", self.reason.claim().map(str::to_owned));
        bearer.chain([claim]).filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

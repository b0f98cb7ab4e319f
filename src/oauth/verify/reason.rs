//! Why a request does not pass, and what is answered.

use thiserror::Error;

use crate::oauth::{
    access,
    challenge::Challenge,
    dpop,
    freshness::{self, RETRY_AFTER},
    replay,
};

use super::{AgentState, Revocation};

/// The first thing against a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// The URL is no tool's.
    #[error("the URL is no tool's")]
    NoTool,
    /// A segment has a slash, and the tool does not take that.
    #[error("the URL has %2F, which its tool does not take")]
    EncodedSlash,
    /// No route of the tool fits method and path.
    #[error("no route of the tool fits method and path")]
    NoRoute,
    /// No `Authorization`, or of another scheme.
    #[error("there is no Authorization of the scheme DPoP")]
    NoCredentials,
    /// More than one `Authorization`.
    #[error("there is more than one Authorization")]
    SeveralCredentials,
    /// `Authorization` has no token that can be read.
    #[error("the Authorization has no token that can be read")]
    Credentials,
    /// A token came as `Bearer`.
    #[error("the token came as Bearer")]
    Bearer,
    /// No `DPoP` header.
    #[error("there is no DPoP header")]
    NoProof,
    /// More than one `DPoP` header.
    #[error("there is more than one DPoP header")]
    SeveralProofs,
    /// The `DPoP` header is not ASCII.
    #[error("the DPoP header is not ASCII")]
    ProofNotAscii,
    /// The proof is not good, or not for this request or now.
    #[error("the proof is refused")]
    Proof(#[from] freshness::Refused),
    /// The token is not good, or not here or now.
    #[error("the token is refused")]
    Token(#[from] access::Error),
    /// The proof is by another key than the token is bound to.
    #[error("the proof is by another key than the token's")]
    KeyMismatch,
    /// The agent is not active.
    #[error("the agent may not act: {0:?}")]
    Agent(AgentState),
    /// The token was taken back.
    #[error("the token was revoked: {0:?}")]
    Revoked(Revocation),
    /// The token does not have this scope.
    #[error("the token does not have the scope {0}")]
    Scope(String),
}

impl From<dpop::Error> for Reason {
    fn from(error: dpop::Error) -> Self {
        Self::Proof(error.into())
    }
}

impl Reason {
    /// A stable name for records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTool => "no_tool",
            Self::EncodedSlash => "encoded_slash",
            Self::NoRoute => "no_route",
            Self::NoCredentials => "no_credentials",
            Self::SeveralCredentials => "several_credentials",
            Self::Credentials => "credentials_malformed",
            Self::Bearer => "bearer",
            Self::NoProof => "proof_missing",
            Self::SeveralProofs => "proof_several",
            Self::ProofNotAscii => "proof_malformed",
            Self::Proof(refused) => refused.code(),
            Self::Token(error) => error.code(),
            Self::KeyMismatch => "key_mismatch",
            Self::Agent(AgentState::Suspended) => "agent_suspended",
            Self::Agent(AgentState::Retired) => "agent_retired",
            Self::Agent(AgentState::Unknown | AgentState::Active) => "agent_unknown",
            Self::Revoked(Revocation::Token) => "revoked_token",
            Self::Revoked(Revocation::Key) => "revoked_key",
            Self::Revoked(Revocation::Agent) => "revoked_agent",
            Self::Revoked(Revocation::Grant) => "revoked_grant",
            Self::Revoked(Revocation::Entry) => "revoked_entry",
            Self::Revoked(Revocation::Session) => "revoked_session",
            Self::Scope(_) => "scope_missing",
        }
    }

    /// What is answered. `nonce` gives the current one.
    pub(super) fn challenge(&self, nonce: impl FnOnce() -> String) -> Challenge {
        match self {
            Self::EncodedSlash => Challenge::status(400),
            Self::NoTool | Self::NoRoute => Challenge::status(403),
            Self::NoCredentials => Challenge::no_credentials(),
            Self::SeveralCredentials | Self::Credentials => Challenge::invalid_request(),
            Self::Bearer => Challenge::bearer(),
            Self::Proof(refused) if refused.wants_nonce() => Challenge::use_nonce(nonce()),
            Self::Proof(freshness::Refused::Replay(replay::Refused::Full)) => Challenge::later(503, RETRY_AFTER),
            Self::Proof(freshness::Refused::Replay(replay::Refused::Quota)) => Challenge::later(429, RETRY_AFTER),
            Self::NoProof | Self::SeveralProofs | Self::ProofNotAscii | Self::Proof(_) => Challenge::invalid_proof(),
            Self::Token(_) | Self::KeyMismatch | Self::Agent(_) | Self::Revoked(_) => Challenge::invalid_token(),
            Self::Scope(scope) => Challenge::insufficient_scope(scope),
        }
    }
}

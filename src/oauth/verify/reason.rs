//! Why a request does not pass, and what is answered.

use thiserror::Error;

use crate::oauth::{
    CertificateError, access,
    challenge::Challenge,
    dpop, foreign,
    freshness::{self, RETRY_AFTER},
    replay, wpt,
};
use crate::spiffe::{ClaimError, jose, jwt, wit};

use super::{Accepts, AgentState, Kind, Revocation};

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
    /// No credential, or an `Authorization` of another scheme.
    #[error("there is no credential that is known here")]
    NoCredentials,
    /// More than one `Authorization`, or credentials of two kinds.
    #[error("there is more than one credential")]
    SeveralCredentials,
    /// A credential of a kind that the tool does not take.
    #[error("the tool does not take credentials of the kind {0}")]
    NotTaken(Kind),
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
    /// The token of another issuer is not good, or not here or now.
    #[error("the token of another issuer is refused")]
    Foreign(#[from] foreign::Error),
    /// A token that is bound to a certificate came without one, or with several.
    #[error("there is not exactly one client certificate")]
    NoCertificate,
    /// The client's certificate cannot be read.
    #[error("the client's certificate is refused")]
    Certificate(#[from] CertificateError),
    /// It is bound to another certificate than the client's.
    #[error("the client's certificate is another than the token's")]
    CertificateMismatch,
    /// The proof is by another key than the token is bound to.
    #[error("the proof is by another key than the token's")]
    KeyMismatch,
    /// Not exactly one `Workload-Identity-Token` and one `Workload-Proof-Token`, or two `Txn-Token`.
    #[error("there are not exactly one Workload-Identity-Token and one Workload-Proof-Token")]
    WorkloadHeaders,
    /// The WIT-SVID is not good, or the key in it did not sign the proof.
    #[error("the WIT-SVID is refused")]
    Wit(#[from] wit::Error),
    /// The workload proof token is not good, or not for this request or now.
    #[error("the workload proof token is refused")]
    WorkloadProof(#[from] wpt::Error),
    /// The workload proof token was used before, or may have been.
    #[error("the workload proof token is refused")]
    WorkloadProofUse(#[source] freshness::Refused),
    /// The JWT-SVID is not good, or not here or now.
    #[error("the JWT-SVID is refused")]
    JwtSvid(#[from] jwt::Error),
    /// A claim of an SVID is missing, or says what must not be at a door; says which.
    #[error("the `{0}` of the SVID is not as a door needs it")]
    SvidClaim(&'static str),
    /// No agent goes by this SPIFFE ID: no entry, one that is no agent's, or several of different ones.
    #[error("no agent, or not one alone, goes by the SPIFFE ID")]
    NoAgent,
    /// The agent is granted nothing with the tool.
    #[error("the agent is granted nothing with the tool")]
    NotGranted,
    /// The agent is not active.
    #[error("the agent may not act: {0:?}")]
    Agent(AgentState),
    /// The token was taken back.
    #[error("the token was revoked: {0:?}")]
    Revoked(Revocation),
    /// What the route needs is granted only to a younger credential.
    #[error("it is too old for what is risky: a new one is good for it")]
    TooOld,
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
            Self::NotTaken(_) => "credential_not_taken",
            Self::Credentials => "credentials_malformed",
            Self::Bearer => "bearer",
            Self::NoProof => "proof_missing",
            Self::SeveralProofs => "proof_several",
            Self::ProofNotAscii => "proof_malformed",
            Self::Proof(refused) => refused.code(),
            Self::Token(error) => error.code(),
            Self::Foreign(error) => error.code(),
            Self::NoCertificate => "certificate_missing",
            Self::Certificate(_) => "certificate_malformed",
            Self::CertificateMismatch => "certificate_mismatch",
            Self::KeyMismatch => "key_mismatch",
            Self::WorkloadHeaders => "wit_headers",
            Self::Wit(error) => wit_code(error),
            Self::WorkloadProof(error) => error.code(),
            Self::WorkloadProofUse(refused) => refused.code(),
            Self::JwtSvid(error) => jwt_code(error),
            Self::SvidClaim(_) => "svid_claim",
            Self::NoAgent => "no_agent",
            Self::NotGranted => "not_granted",
            Self::Agent(AgentState::Suspended) => "agent_suspended",
            Self::Agent(AgentState::Retired) => "agent_retired",
            Self::Agent(AgentState::Elsewhere) => "agent_environment",
            Self::Agent(AgentState::Unknown | AgentState::Active) => "agent_unknown",
            Self::Revoked(Revocation::Token) => "revoked_token",
            Self::Revoked(Revocation::Key) => "revoked_key",
            Self::Revoked(Revocation::Agent) => "revoked_agent",
            Self::Revoked(Revocation::Grant) => "revoked_grant",
            Self::Revoked(Revocation::Entry) => "revoked_entry",
            Self::Revoked(Revocation::Session) => "revoked_session",
            Self::TooOld => "token_too_old",
            Self::Scope(_) => "scope_missing",
        }
    }

    /// The claim that is missing or not as it must be.
    pub(super) fn claim(&self) -> Option<&'static str> {
        match self {
            Self::Token(access::Error::Claim(name))
            | Self::Foreign(foreign::Error::Claim(name))
            | Self::SvidClaim(name) => Some(name),
            _ => None,
        }
    }

    /// What is answered to who came with this kind, where the tool takes these. `nonce` gives the current one.
    pub(super) fn challenge(
        &self,
        kind: Option<Kind>,
        accepts: Accepts<'_>,
        nonce: impl FnOnce() -> String,
    ) -> Challenge {
        use freshness::Refused::Replay;
        match self {
            Self::EncodedSlash => Challenge::status(400),
            Self::NoTool | Self::NoRoute | Self::NotGranted => Challenge::status(403),
            Self::NoCredentials | Self::NotTaken(_) => Challenge::no_credentials(accepts.takes_bearer()),
            Self::SeveralCredentials | Self::Credentials => Challenge::invalid_request(),
            Self::Bearer => Challenge::bearer(),
            Self::Proof(refused) if refused.wants_nonce() => Challenge::use_nonce(nonce()),
            Self::Proof(Replay(replay::Refused::Full)) | Self::WorkloadProofUse(Replay(replay::Refused::Full)) => {
                Challenge::later(503, RETRY_AFTER)
            }
            Self::Proof(Replay(replay::Refused::Quota)) | Self::WorkloadProofUse(Replay(replay::Refused::Quota)) => {
                Challenge::later(429, RETRY_AFTER)
            }
            // Soon a new one is good.
            Self::WorkloadProofUse(freshness::Refused::Unknown) => Challenge::later(503, RETRY_AFTER),
            // Not 401, which would be a challenge to send an Authorization (draft-ietf-wimse-wpt-01 §2.1).
            Self::WorkloadHeaders | Self::Wit(_) | Self::WorkloadProof(_) | Self::WorkloadProofUse(_) => {
                Challenge::status(400)
            }
            Self::NoProof | Self::SeveralProofs | Self::ProofNotAscii | Self::Proof(_) => Challenge::invalid_proof(),
            Self::SvidClaim(_) | Self::TooOld if kind == Some(Kind::Wit) => Challenge::status(400),
            Self::NoAgent | Self::Agent(_) | Self::Revoked(_) | Self::Scope(_) if kind == Some(Kind::Wit) => {
                Challenge::status(403)
            }
            Self::Token(_)
            | Self::Foreign(_)
            | Self::NoCertificate
            | Self::Certificate(_)
            | Self::CertificateMismatch
            | Self::KeyMismatch
            | Self::JwtSvid(_)
            | Self::SvidClaim(_)
            | Self::NoAgent
            | Self::TooOld
            | Self::Agent(_)
            | Self::Revoked(_) => match kind {
                Some(Kind::JwtSvid | Kind::ForeignMtls) => Challenge::invalid_bearer(),
                _ => Challenge::invalid_token(),
            },
            Self::Scope(scope) => {
                let is_bearer = matches!(kind, Some(Kind::JwtSvid | Kind::ForeignMtls));
                Challenge::insufficient_scope(scope, is_bearer)
            }
        }
    }
}

fn wit_code(error: &wit::Error) -> &'static str {
    use wit::Error as E;
    match error {
        E::Token(jose::Error::Signature) => "wit_signature",
        E::Token(_) => "wit_malformed",
        E::Type => "wit_type",
        E::Claim(ClaimError::Expired) => "wit_expired",
        E::Claim(ClaimError::NotYetValid) => "wit_ahead",
        E::Claim(_) | E::Audience => "wit_claim",
        E::NoConfirmation | E::ConfirmationKey(_) | E::ConfirmationAlgorithm => "wit_binding",
        E::NoBundle(_) => "wit_issuer",
        E::EmptyBundle(_) | E::NoKeyId | E::UnknownKey => "wit_key",
        E::Proof => "wpt_signature",
    }
}

fn jwt_code(error: &jwt::Error) -> &'static str {
    use jwt::Error as E;
    match error {
        E::Token(jose::Error::Signature) => "jwt_svid_signature",
        E::Token(_) | E::UnknownHeader => "jwt_svid_malformed",
        E::Type => "jwt_svid_type",
        E::Claim(ClaimError::Expired) => "jwt_svid_expired",
        E::Claim(ClaimError::NotYetValid) => "jwt_svid_ahead",
        E::Claim(_) | E::AudienceMalformed | E::TooManyAudiences(_) => "jwt_svid_claim",
        E::Audience => "jwt_svid_audience",
        E::NoBundle(_) => "jwt_svid_issuer",
        E::EmptyBundle(_) | E::UnknownKey | E::NoFittingKey | E::TooManyKeys(_) => "jwt_svid_key",
    }
}

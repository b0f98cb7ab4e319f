//! What the token endpoint answers when it refuses (RFC 6749 §5.2, RFC 8707 §2, RFC 9449 §5): a code for programs, and a
//! sentence that tells an agent's developer what to change and nothing else.

use std::{borrow::Cow, time::Duration};

use super::form::FormError;
use crate::{
    issuance::{Malformed, Ungranted},
    oauth::{freshness, replay},
};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) description: Cow<'static, str>,
    /// What the next proof must carry.
    pub(crate) nonce: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

/// OAuth's codes, as far as they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidRequest,
    InvalidClient,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    InvalidProof,
    UseNonce,
    SlowDown,
    Unavailable,
}

impl Code {
    /// As it stands in `error`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidProof => "invalid_dpop_proof",
            Self::UseNonce => "use_dpop_nonce",
            Self::SlowDown => "slow_down",
            Self::Unavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status beside it.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            Self::SlowDown => 429,
            Self::Unavailable => 503,
            _ => 400,
        }
    }
}

impl Refusal {
    pub(super) fn new(code: Code, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into(), nonce: None, retry_after: None }
    }

    fn later(code: Code, description: impl Into<Cow<'static, str>>, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::new(code, description) }
    }

    /// A subject token that is not taken, whatever is wrong with it (RFC 8693 §2.2.2).
    pub(super) fn subject() -> Self {
        Self::new(
            Code::InvalidRequest,
            "the subject token is refused: it must be this agent's own, or a user's whose issuer is trusted and whose only \
             audience is this server; not expired, not revoked, and bound to no other key than the proof's",
        )
    }

    /// A proof that is not taken; `nonce` makes the one that the next must carry.
    pub(super) fn of_proof(refused: &freshness::Refused, nonce: impl FnOnce() -> String) -> Self {
        match refused {
            freshness::Refused::NonceMissing | freshness::Refused::NonceStale => Self {
                nonce: Some(nonce()),
                ..Self::new(Code::UseNonce, "make the proof with the nonce of DPoP-Nonce")
            },
            freshness::Refused::Replay(replay::Refused::Full) => {
                Self::later(Code::Unavailable, "no more proofs can be remembered now", freshness::RETRY_AFTER)
            }
            freshness::Refused::Replay(replay::Refused::Quota) => {
                Self::later(Code::SlowDown, "this key has used too many proofs", freshness::RETRY_AFTER)
            }
            refused => Self::new(Code::InvalidProof, format!("the proof is refused: {refused}")),
        }
    }
}

impl From<FormError> for Refusal {
    fn from(error: FormError) -> Self {
        Self::new(Code::InvalidRequest, error.to_string())
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        let code = match error {
            Malformed::Targets(_) => Code::InvalidTarget,
            Malformed::Scope(_) => Code::InvalidScope,
            Malformed::Reason => Code::InvalidRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Ungranted> for Refusal {
    fn from(error: Ungranted) -> Self {
        let code = match &error {
            Ungranted::NoAgent => Code::InvalidClient,
            Ungranted::Inactive | Ungranted::Elsewhere => Code::UnauthorizedClient,
            Ungranted::Subject => return Self::subject(),
            // RFC 8693 §2.2.2: it is the subject token that is unacceptable.
            Ungranted::SubjectTooLong { .. } => Code::InvalidRequest,
            Ungranted::Target => Code::InvalidTarget,
            Ungranted::Scope | Ungranted::TooLong { .. } => Code::InvalidScope,
            // What must change is the proof, whose key it is: no other code makes a client look there.
            Ungranted::Key => Code::InvalidProof,
            Ungranted::NotYet { again_in } => {
                return Self::later(Code::Unavailable, error.to_string(), *again_in);
            }
            Ungranted::Rate { again_in } => return Self::later(Code::SlowDown, error.to_string(), *again_in),
            Ungranted::Proof(refused) => return Self::of_proof(refused, String::new),
            // The operator's log has the cause.
            Ungranted::Failed(_) => {
                return Self::later(Code::Unavailable, "the daemon cannot answer now", Duration::from_secs(1));
            }
        };
        Self::new(code, error.to_string())
    }
}

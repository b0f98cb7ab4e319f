//! What a caller asks for, checked as far as its form goes.

use std::time::Duration;

use crate::{
    oauth::{SCOPES_MAX, exchange::Parent},
    registry::Scope,
};

/// The longest reason of a caller's, in bytes.
const REASON_BYTES_MAX: usize = 200;

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessAsked {
    /// The name of one of its agents; without one, that of its oldest entry.
    pub(super) client_id: Option<String>,
    /// Of the tool.
    pub(super) audience: String,
    /// None is all that is granted.
    pub(super) scopes: Vec<Scope>,
    pub(super) ttl: Option<Duration>,
    /// From which token it is to be made, if from any.
    pub(super) parent: Option<Parent>,
    /// For what it is wanted, as the caller says.
    pub(super) reason: Option<String>,
}

/// What is wrong with the form of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// A token is for one tool.
    #[error("exactly one resource or audience must be named, not {0}")]
    Targets(usize),
    /// Not as RFC 6749 §3.3 has it, or too much.
    #[error("the scope is not valid: {0}")]
    Scope(String),
    /// Words that no record should have.
    #[error("the reason has control characters, or more than {REASON_BYTES_MAX} bytes")]
    Reason,
}

impl AccessAsked {
    /// Checks what a caller asks for: each `resource` and `audience` of the request, its `scope` as it stands there, and
    /// the seconds that the token is to live, 0 for as many as it may. An empty text says nothing (RFC 6749 §3.2).
    ///
    /// # Errors
    /// When there is not exactly one target, or the scope is none.
    pub(crate) fn new<'a>(
        client_id: &str,
        targets: impl IntoIterator<Item = &'a str>,
        scope: &str,
        ttl_seconds: u64,
    ) -> Result<Self, Malformed> {
        let targets: Vec<_> = targets.into_iter().filter(|target| !target.is_empty()).collect();
        let [audience] = targets.as_slice() else { return Err(Malformed::Targets(targets.len())) };
        let words = if scope.is_empty() { 0 } else { scope.split(' ').count() };
        if words > SCOPES_MAX {
            return Err(Malformed::Scope(format!("it has {words} scopes, at most {SCOPES_MAX} are allowed")));
        }
        let scopes = scope.split(' ').take(words).map(Scope::parse).collect::<Result<_, _>>();
        Ok(Self {
            client_id: (!client_id.is_empty()).then(|| client_id.to_owned()),
            audience: (*audience).to_owned(),
            scopes: scopes.map_err(|error| Malformed::Scope(error.to_string()))?,
            ttl: (ttl_seconds > 0).then(|| Duration::from_secs(ttl_seconds)),
            parent: None,
            reason: None,
        })
    }

    /// The same, in exchange for this token (RFC 8693).
    pub(crate) fn for_token(self, parent: Parent) -> Self {
        Self { parent: Some(parent), ..self }
    }

    /// The same, with what it is wanted for, in words for the records; an empty text says nothing.
    ///
    /// # Errors
    /// [`Malformed::Reason`] for words that records do not take.
    pub(crate) fn for_reason(self, reason: &str) -> Result<Self, Malformed> {
        if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
            return Err(Malformed::Reason);
        }
        Ok(Self { reason: (!reason.is_empty()).then(|| reason.to_owned()), ..self })
    }
}

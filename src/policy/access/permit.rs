//! The one thing that the signature under an access token costs.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Request, Right};
use crate::{
    registry::{Label, Scope},
    spiffe::Id,
};

/// Leave to issue one access token. Only this room makes one; it cannot be copied, and whoever signs takes it by value.
#[derive(Debug)]
#[must_use = "a permit is spent by signing"]
pub(crate) struct Permit {
    id: Id,
    agent: Label,
    tool: Label,
    audience: Arc<str>,
    scopes: Vec<Scope>,
    ttl: Duration,
    expires_at: Option<SystemTime>,
}

impl Permit {
    // INVARIANT: called by `judge` alone, after every rule.
    pub(super) fn new(request: &Request<'_>, right: Right<'_>, ttl: Duration) -> Self {
        Self {
            id: request.entry.spiffe_id().clone(),
            agent: request.agent.spec.name.clone(),
            tool: right.tool.spec.name.clone(),
            audience: right.tool.spec.audience.clone(),
            scopes: right.scopes.into_iter().map(|(scope, _)| scope).collect(),
            ttl,
            expires_at: request.entry.spec.expires_at,
        }
    }

    /// The workload that asked.
    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    /// Which agent it is.
    pub(crate) fn agent(&self) -> &Label {
        &self.agent
    }

    /// For which tool.
    pub(crate) fn tool(&self) -> &Label {
        &self.tool
    }

    /// The only one who is to believe the token.
    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    /// What may be done with it, and nothing else; sorted, at least one.
    pub(crate) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// How long it may live from now on; whole seconds, at least one. What [`Permit::expires_at`] leaves is in it
    /// already.
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The moment after which it must not live, however late it is signed.
    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}

//! The one thing that the signature under an access token costs.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Request, Right, end};
use crate::{
    oauth::{access::Subject, exchange::Parent},
    registry::{Label, Scope},
    spiffe::Id,
};

/// Leave to issue one access token. Only this room makes one; it cannot be copied, and whoever signs takes it by value.
#[derive(Debug)]
#[must_use = "a permit is spent by signing"]
pub(crate) struct Permit {
    id: Id,
    subject: Box<Subject>,
    session: Option<String>,
    parent: Option<String>,
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
        let (id, parent) = (request.entry.spiffe_id(), request.parent.map(|parent| parent.token));
        Self {
            subject: Box::new(parent.map_or_else(|| Subject::Agent(id.clone()), |parent| parent.subject(id))),
            session: parent.and_then(|parent| parent.session()).map(str::to_owned),
            parent: parent.and_then(Parent::token_id),
            id: id.clone(),
            agent: request.agent.spec.name.clone(),
            tool: right.tool.spec.name.clone(),
            audience: right.tool.spec.audience.clone(),
            scopes: right.scopes.into_iter().map(|(scope, _)| scope).collect(),
            ttl,
            expires_at: end(request),
        }
    }

    /// The workload that asked.
    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    /// For whom it acts: for itself, or for a user.
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The session that the token is to belong to.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The `jti` of the token that was exchanged, where it had one.
    pub(crate) fn parent(&self) -> Option<&str> {
        self.parent.as_deref()
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

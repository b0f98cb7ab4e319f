//! The judgement on access tokens: whether an agent may have one for a tool now, with which scopes, and for how long.
//!
//! A caller is an agent because an entry says so; what the agent may do is what it is granted. A token has no scope that
//! its grant does not have, and none that the tool does not have; it lives as long as the riskiest of its scopes allows.
//! What is made from another token has no scope that this one does not have, and does not outlive it.

mod permit;
mod reason;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use crate::{
    oauth::{exchange::Parent, verify::Revocation},
    registry::{Agent, Band, Given, Grant, Label, Scope, State, Tool},
    spiffe::TrustDomain,
};

pub(crate) use permit::Permit;
pub(crate) use reason::Reason;

/// What is known of a request for an access token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// By which the caller is the agent, and what it gives to this caller.
    pub(crate) entry: &'a Given,
    /// Who asks.
    pub(crate) agent: &'a Agent,
    /// Of which environment it must be; `None`: agents are not judged by theirs.
    pub(crate) environment: Option<&'a Label>,
    /// For what; `None` where no tool has the audience that is asked for.
    pub(crate) tool: Option<&'a Tool>,
    /// What the agent may do there, where it may do anything.
    pub(crate) grant: Option<&'a Grant>,
    /// What it wants to do there; nothing is all that it may.
    pub(crate) scopes: &'a [Scope],
    /// How long the token is to live; `None` is as long as it may.
    pub(crate) ttl: Option<Duration>,
    /// What the grant's rate leaves.
    pub(crate) rate: Rate,
    /// From which token it is to be made, if from any.
    pub(crate) parent: Option<Exchanged<'a>>,
}

/// A token that is exchanged for another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchanged<'a> {
    /// What it says.
    pub(crate) token: &'a Parent,
    /// What of it was taken back, if anything.
    pub(crate) revocation: Option<Revocation>,
}

/// Whether one more token goes with a grant's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// It does, or the grant has no rate.
    Left,
    /// Not before so much time has passed.
    Reached { again_in: Duration },
}

/// Yes or no. A no is an answer, not an error.
#[derive(Debug)]
#[must_use = "a judgement that nobody looks at lets everything pass"]
pub(crate) enum Judgement {
    /// It may be issued, once.
    Permit(Permit),
    /// It may not; all reasons, at least one.
    Refuse(Vec<Reason>),
}

/// Judges a request. What is not permitted by all rules is refused, with every reason there is.
pub(crate) fn judge(request: &Request<'_>, trust_domain: &TrustDomain, now: SystemTime) -> Judgement {
    let Request { entry, agent, .. } = *request;
    let name = &agent.spec.name;
    let mut reasons = Vec::new();
    if !entry.spiffe_id().is_in(trust_domain) {
        reasons.push(Reason::ForeignTrustDomain { named: entry.spiffe_id().trust_domain() });
    }
    if let Some(since) = entry.spec.expires_at.filter(|_| entry.is_expired(now)) {
        reasons.push(Reason::EntryExpired { entry: entry.id.clone(), since });
    }
    match agent.state {
        _ if entry.spec.agent.as_ref() != Some(name) => reasons.push(Reason::NoAgent),
        State::Active => {}
        State::Suspended => reasons.push(Reason::AgentSuspended(name.clone())),
        State::Retired => reasons.push(Reason::AgentRetired(name.clone())),
    }
    if !agent.spec.is_of(request.environment) {
        reasons.push(Reason::Environment { agent: name.clone(), its: agent.spec.environment.clone() });
    }
    if let Some(parent) = request.parent {
        reasons.extend(against(&parent, request, now));
    }
    let right = match granted(request) {
        Ok(right) => right,
        Err(reason) => {
            reasons.push(reason);
            return Judgement::Refuse(reasons);
        }
    };
    if let Rate::Reached { again_in } = request.rate {
        reasons.push(Reason::RateReached { grant: right.grant.spec.id.clone(), again_in });
    }
    if !reasons.is_empty() {
        return Judgement::Refuse(reasons);
    }
    let left = lifetime(request, &right, now);
    let ttl = Duration::from_secs(left.as_secs());
    match ttl.is_zero() {
        true => Judgement::Refuse(vec![Reason::NoLifetime { left }]),
        false => Judgement::Permit(Permit::new(request, right, ttl)),
    }
}

/// Why a token is not to be exchanged by this caller now.
fn against(parent: &Exchanged<'_>, request: &Request<'_>, now: SystemTime) -> Vec<Reason> {
    let Request { entry, agent, tool, .. } = *request;
    let Exchanged { token, revocation } = *parent;
    let mut reasons = Vec::new();
    let left = token.expires_at().duration_since(now).unwrap_or_default();
    if left < SECOND {
        reasons.push(Reason::SubjectExpired { left });
    }
    if let Some(revocation) = revocation {
        reasons.push(Reason::SubjectRevoked(revocation));
    }
    if token.may_act().is_some_and(|actor| actor != entry.spiffe_id().as_str()) {
        reasons.push(Reason::SubjectMayAct);
    }
    if let Some(own) = token.own() {
        // It stays the token of whom it was given to: nobody passes one on.
        if own.client != agent.spec.name.as_str() || own.subject.agent() != entry.spiffe_id() {
            reasons.push(Reason::SubjectOtherAgent);
        }
        if tool.is_some_and(|tool| *own.audience != *tool.spec.audience) {
            reasons.push(Reason::SubjectOtherAudience);
        }
    }
    reasons
}

/// What of a request is granted: at least one scope.
struct Right<'a> {
    tool: &'a Tool,
    grant: &'a Grant,
    scopes: Vec<(Scope, Band)>,
}

/// The scopes that are asked for, the agent is granted, the tool has, and an exchanged token has; each once, in the grant's
/// order.
fn granted<'a>(request: &Request<'a>) -> Result<Right<'a>, Reason> {
    let Request { agent, tool, grant, scopes, parent, .. } = *request;
    let agent = &agent.spec.name;
    let tool = tool.ok_or(Reason::UnknownTool)?;
    let is_theirs = |grant: &&Grant| grant.spec.id.agent == *agent && grant.spec.id.tool == tool.spec.name;
    let Some(grant) = grant.filter(is_theirs) else {
        return Err(Reason::NoGrant { agent: agent.clone(), tool: tool.spec.name.clone() });
    };
    let is_asked = |scope: &&Scope| scopes.is_empty() || scopes.contains(scope);
    let of_tool = |scope: &Scope| Some((scope.clone(), tool.spec.band(scope.as_str())?));
    let mut scopes: Vec<_> = grant.spec.scopes.iter().filter(is_asked).filter_map(of_tool).collect();
    if scopes.is_empty() {
        return Err(Reason::ScopeNotGranted { grant: grant.spec.id.clone() });
    }
    if let Some(of_parent) = parent.and_then(|parent| parent.token.scopes()) {
        scopes.retain(|(scope, _)| of_parent.contains(scope.as_str()));
    }
    match scopes.is_empty() {
        true => Err(Reason::SubjectScope),
        false => Ok(Right { tool, grant, scopes }),
    }
}

/// What the strictest band leaves, the grant's own limit in it; less where less is asked for; and never beyond the end of
/// the entry, or of the token that is exchanged.
fn lifetime(request: &Request<'_>, right: &Right<'_>, now: SystemTime) -> Duration {
    let bands = right.scopes.iter().map(|(_, band)| right.grant.spec.lifetime_max(*band));
    let end = end(request).map(|end| end.duration_since(now).unwrap_or_default());
    bands.chain(request.ttl).chain(end).min().unwrap_or_default()
}

/// What it must not outlive.
fn end(request: &Request<'_>) -> Option<SystemTime> {
    let of_parent = request.parent.map(|parent| parent.token.expires_at());
    request.entry.spec.expires_at.into_iter().chain(of_parent).min()
}

const SECOND: Duration = Duration::from_secs(1);

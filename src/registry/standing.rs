//! Whether what a token rests on still stands: the token and its key, its agent, the entry by which its caller was the
//! agent, the tool and the grant. Each counts from the second in which it was made: of two that had one name, the second
//! has not the tokens of the first. An entry counts from the second in which it became what it is.

use std::time::{Duration, SystemTime};

use super::{Agent, Catalog, Entry, Grant, RevokedId, Snapshot, Tool, revocations::whole_second};
use crate::oauth::{
    access::Claims,
    foreign,
    verify::{Credential, Kind, Revocation},
};

impl Snapshot {
    /// What of a token was taken back, if anything. Its signature, times and audience are others' to check.
    pub(crate) fn revocation(&self, claims: &Claims) -> Option<Revocation> {
        let (revocations, catalog, issued_at) = (self.revocations(), self.catalog(), claims.issued_at);
        if revocations.has(&RevokedId::Token(claims.token_id)) || revocations.is_unknown(issued_at) {
            return Some(Revocation::Token);
        }
        if revocations.has(&RevokedId::Key(claims.key)) {
            return Some(Revocation::Key);
        }
        let Some(agent) = catalog.agent(&claims.client) else { return Some(Revocation::Agent) };
        if issued_at < agent.tokens_from() {
            return Some(Revocation::Agent);
        }
        if !self.makes_agent(&agent.spec.name, claims.subject.agent(), issued_at) {
            return Some(Revocation::Entry);
        }
        match catalog.right(&claims.client, &claims.audience) {
            // A scope that was taken from the grant meanwhile counts as a right that is gone.
            Some((tool, grant))
                if issued_at >= tool.tokens_from()
                    && issued_at >= grant.tokens_from()
                    && claims.scopes.iter().all(|scope| grant.spec.has(scope.as_str())) =>
            {
                None
            }
            _ => Some(Revocation::Grant),
        }
    }

    /// What of an SVID, or of a token of another issuer, was taken back as far as access goes, if anything. It has no right
    /// of ours: what its agent is granted now is the most that it has.
    pub(crate) fn revocation_of_other(&self, svid: &Credential) -> Option<Revocation> {
        // By our clock. That of another issuer may be ahead of it.
        let ahead_max = match svid.kind() {
            Kind::Dpop | Kind::Wit | Kind::JwtSvid => Duration::ZERO,
            Kind::ForeignDpop | Kind::ForeignMtls => foreign::LEEWAY,
        };
        let issued_at = svid.issued_at().checked_sub(ahead_max).unwrap_or(SystemTime::UNIX_EPOCH);
        let revocations = self.revocations();
        let is_revoked = |id: Option<RevokedId>| id.is_some_and(|id| revocations.has(&id));
        if is_revoked(svid.token_id().map(RevokedId::Token)) || revocations.is_unknown(issued_at) {
            return Some(Revocation::Token);
        }
        if is_revoked(svid.key().map(RevokedId::Key)) {
            return Some(Revocation::Key);
        }
        let Some(agent) = self.catalog().agent(svid.agent()) else { return Some(Revocation::Agent) };
        if issued_at < agent.tokens_from() {
            return Some(Revocation::Agent);
        }
        match self.makes_agent(&agent.spec.name, svid.subject().agent(), issued_at) {
            true => None,
            false => Some(Revocation::Entry),
        }
    }
}

impl Snapshot {
    /// From which second on what callers are issued by an entry makes them its agent; of no agent's it does never, and
    /// nothing is to be waited for.
    pub(crate) fn tokens_from(&self, entry: &Entry) -> SystemTime {
        let agent = entry.spec.agent.as_ref().and_then(|agent| self.catalog().agent(agent.as_str()));
        agent.map_or(SystemTime::UNIX_EPOCH, |agent| agent.tokens_from().max(whole_second(entry.since)))
    }
}

impl Catalog {
    /// The tool of an audience and what an agent may do there.
    fn right(&self, agent: &str, audience: &str) -> Option<(&Tool, &Grant)> {
        let tool = self.tool_of(audience)?;
        Some((tool, self.grant(agent, tool.spec.name.as_str())?))
    }
}

impl Agent {
    /// Tokens of earlier seconds are not good.
    pub(crate) fn tokens_from(&self) -> SystemTime {
        whole_second(self.created_at).max(self.revoked_before)
    }
}

impl Tool {
    /// As [`Agent::tokens_from`].
    pub(crate) fn tokens_from(&self) -> SystemTime {
        whole_second(self.created_at)
    }
}

impl Grant {
    /// As [`Agent::tokens_from`].
    pub(crate) fn tokens_from(&self) -> SystemTime {
        whole_second(self.created_at)
    }
}

//! Whether what a token rests on still stands: its agent, the tool and the grant.

use std::time::{Duration, SystemTime};

use super::{Grant, Snapshot};
use crate::oauth::{access::Claims, verify::Revocation};

impl Snapshot {
    /// What of a token was taken back, if anything. Its signature, times and audience are others' to check.
    pub(crate) fn revocation(&self, claims: &Claims) -> Option<Revocation> {
        let catalog = self.catalog();
        // Of another agent, which had this name before.
        if catalog.agent(&claims.client).is_none_or(|agent| claims.issued_at < whole_seconds(agent.created_at)) {
            return Some(Revocation::Agent);
        }
        let grant =
            catalog.tool_of(&claims.audience).and_then(|tool| catalog.grant(&claims.client, tool.spec.name.as_str()));
        // A scope that was taken from the grant meanwhile counts as a right that is gone.
        let is_granted = |grant: &Grant| claims.scopes.iter().all(|scope| grant.spec.has(scope.as_str()));
        match grant {
            Some(grant) if is_granted(grant) => None,
            _ => Some(Revocation::Grant),
        }
    }
}

/// The second in which a moment lies, as tokens have it. Rounded up, no agent could use a token in its first second.
fn whole_seconds(moment: SystemTime) -> SystemTime {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

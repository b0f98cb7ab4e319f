//! What the verifier is told of tools, agents and grants: the registry at one moment.

use std::time::{Duration, SystemTime};

use crate::{
    oauth::{
        access::{Claims, Keys},
        target::Target,
        verify::{AgentState, Registry, Resource, Revocation},
    },
    registry::{Scope, Snapshot, State, Tool},
};

/// The registry and the keys of one moment.
pub(super) struct View<'a> {
    issuer: &'a str,
    keys: &'a Keys,
    snapshot: &'a Snapshot,
}

impl<'a> View<'a> {
    pub(super) fn new(issuer: &'a str, keys: &'a Keys, snapshot: &'a Snapshot) -> Self {
        Self { issuer, keys, snapshot }
    }

    /// The tool of a URL with the path below its base. A name does not open what the URL does not: only a tool that has no
    /// URL is found by it alone, and then all of the path counts.
    fn tool<'t>(&self, target: &'t Target, named: Option<&str>) -> Option<(&'a Tool, &'t str)> {
        let catalog = self.snapshot.catalog();
        let Some(name) = named else { return catalog.tool_at(target).map(|(tool, path)| (&**tool, path)) };
        let tool = catalog.tool(name)?;
        if tool.spec.base_urls.is_empty() {
            return Some((tool, target.path()));
        }
        let (found, path) = catalog.tool_at(target)?;
        (found.spec.name == tool.spec.name).then_some((tool, path))
    }
}

impl Registry for View<'_> {
    fn issuer(&self) -> &str {
        self.issuer
    }

    fn keys(&self) -> &Keys {
        self.keys
    }

    fn resource(&self, target: &Target, method: &str, named: Option<&str>) -> Option<Resource<'_>> {
        let (tool, path) = self.tool(target, named)?;
        Some(Resource {
            tool: tool.spec.name.as_str(),
            audience: &tool.spec.audience,
            scope: tool.spec.scope_of(method, path).map(Scope::as_str),
            takes_encoded_slash: tool.spec.encoded_slash,
            tells_metadata: true,
        })
    }

    fn agent(&self, name: &str) -> AgentState {
        match self.snapshot.catalog().agent(name).map(|agent| agent.state) {
            None => AgentState::Unknown,
            Some(State::Active) => AgentState::Active,
            Some(State::Suspended) => AgentState::Suspended,
            Some(State::Retired) => AgentState::Retired,
        }
    }

    fn revocation(&self, claims: &Claims) -> Option<Revocation> {
        let catalog = self.snapshot.catalog();
        // Of another agent, which had this name before.
        if catalog.agent(&claims.client).is_some_and(|agent| claims.issued_at < whole_seconds(agent.created_at)) {
            return Some(Revocation::Agent);
        }
        let grant =
            catalog.tool_of(&claims.audience).and_then(|tool| catalog.grant(&claims.client, tool.spec.name.as_str()));
        // A scope that was taken from the grant meanwhile counts as a right that is gone.
        let is_granted = |grant: &crate::registry::Grant| {
            claims.scopes.iter().all(|scope| grant.spec.scopes.iter().any(|own| own.as_str() == scope.as_str()))
        };
        match grant {
            Some(grant) if is_granted(grant) => None,
            _ => Some(Revocation::Grant),
        }
    }

    fn epoch(&self) -> u64 {
        self.snapshot.revision()
    }
}

/// The second in which a moment lies, as tokens have it. Rounded up, no agent could use a token in its first second.
fn whole_seconds(moment: SystemTime) -> SystemTime {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{
        oauth::{
            Thumbprint,
            access::{Subject, TokenId},
        },
        registry::{Agent, AgentDraft, Catalog, Grant, GrantDraft, Item, Tool, ToolDraft},
        spiffe::{Id, TrustDomain},
    };

    const AUDIENCE: &str = "https://tickets.example.org";
    const BEGIN: SystemTime = SystemTime::UNIX_EPOCH;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// An agent that was registered so long after the beginning, and what it is granted.
    fn snapshot(created_at: Duration, granted: &[&str]) -> Snapshot {
        let draft = AgentDraft { name: "crew".into(), owner: "ops".into(), ..AgentDraft::default() };
        let (spec, state, created_at) = (draft.check().unwrap(), State::Active, BEGIN + created_at);
        let agent = Item::Agent(Agent { spec, state, created_by: 0, created_at, revision: 1 });
        let scopes = ["read", "write"].map(|scope| (scope.to_owned(), scope.to_owned())).to_vec();
        let draft = ToolDraft { name: "tickets".into(), audience: AUDIENCE.into(), scopes, ..ToolDraft::default() };
        let tool = Item::Tool(Tool { spec: draft.check().unwrap(), revision: 1 });
        let scopes: Vec<_> = granted.iter().map(|scope| (*scope).to_owned()).collect();
        let draft = GrantDraft { agent: "crew".into(), tool: "tickets".into(), scopes, ..GrantDraft::default() };
        let grant = draft.check().ok().map(|spec| Item::Grant(Grant { spec, revision: 1 }));
        Snapshot::build(1, []).with_catalog(Catalog::build([agent, tool].into_iter().chain(grant)).0)
    }

    fn revocation(snapshot: &Snapshot, issued_at: Duration) -> Option<Revocation> {
        let claims = Claims {
            issuer: String::new(),
            subject: Subject::Agent(Id::parse("spiffe://example.org/crew").unwrap()),
            audience: AUDIENCE.into(),
            client: "crew".into(),
            scopes: ["read", "write"].map(|scope| Scope::parse(scope).unwrap()).into_iter().collect(),
            key: Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap(),
            session: None,
            token_id: TokenId([0; 16]),
            issued_at: BEGIN + issued_at,
            expires_at: BEGIN + issued_at + seconds(300),
        };
        View::new("", &Keys::new(TrustDomain::parse("example.org").unwrap(), []).unwrap(), snapshot).revocation(&claims)
    }

    #[test]
    fn a_token_is_its_agents_and_not_another_ones_of_that_name() {
        let snapshot = snapshot(seconds(100) + Duration::from_millis(700), &["read", "write"]);
        for (issued_at, expected) in [(99, Some(Revocation::Agent)), (100, None), (101, None)] {
            assert_eq!(revocation(&snapshot, seconds(issued_at)), expected, "{issued_at}");
        }
    }

    #[test]
    fn a_scope_that_was_taken_from_the_grant_is_gone_from_tokens_that_are_out() {
        for (granted, expected) in
            [(&["read", "write"][..], None), (&["read"], Some(Revocation::Grant)), (&[], Some(Revocation::Grant))]
        {
            assert_eq!(revocation(&snapshot(seconds(1), granted), seconds(2)), expected, "{granted:?}");
        }
    }
}

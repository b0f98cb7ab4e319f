//! What the verifier is told of tools, agents and grants: the registry at one moment.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    oauth::{
        Scopes,
        access::Keys,
        issuer::{Issuer, IssuerName, Issuers},
        target::Target,
        verify::{Accepts, AgentState, Credential, Registry, Resource, Revocation},
    },
    registry::{Label, Scope, Snapshot, State, Tool},
    spiffe::{Id, jwt, wit},
};

/// The registry and the keys of one moment.
pub(super) struct View<'a> {
    issuer: &'a str,
    keys: &'a Keys,
    snapshot: &'a Snapshot,
    wit_keys: Option<&'a wit::Bundle>,
    jwt_keys: Option<&'a jwt::Bundle>,
    issuers: &'a Issuers,
    environment: Option<&'a Label>,
}

impl<'a> View<'a> {
    /// `issuers` are the others that are pinned.
    pub(super) fn new(issuer: &'a str, keys: &'a Keys, issuers: &'a Issuers, snapshot: &'a Snapshot) -> Self {
        Self { issuer, keys, snapshot, wit_keys: None, jwt_keys: None, issuers, environment: None }
    }

    /// With the keys that verify SVIDs.
    pub(super) fn with_svids(self, wit_keys: Option<&'a wit::Bundle>, jwt_keys: Option<&'a jwt::Bundle>) -> Self {
        Self { wit_keys, jwt_keys, ..self }
    }

    /// With the environment of which agents must be, if they are judged by theirs.
    pub(super) fn in_environment(self, environment: Option<&'a Label>) -> Self {
        Self { environment, ..self }
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
        let own = &tool.spec.accepts;
        let accepts = Accepts { wit: own.wit, jwt_svid: own.jwt_svid, mtls: own.mtls, issuers: &own.issuers };
        Some(Resource {
            tool: tool.spec.name.as_str(),
            audience: &tool.spec.audience,
            scope: tool.spec.scope_of(method, path).map(Scope::as_str),
            takes_encoded_slash: tool.spec.encoded_slash,
            accepts,
            tells_metadata: true,
        })
    }

    fn agent(&self, name: &str) -> AgentState {
        let Some(agent) = self.snapshot.catalog().agent(name) else { return AgentState::Unknown };
        match agent.state {
            State::Active if !agent.spec.is_of(self.environment) => AgentState::Elsewhere,
            State::Active => AgentState::Active,
            State::Suspended => AgentState::Suspended,
            State::Retired => AgentState::Retired,
        }
    }

    fn revocation(&self, credential: &Credential) -> Option<Revocation> {
        match credential.claims() {
            Some(claims) => self.snapshot.revocation(claims),
            None => self.snapshot.revocation_of_other(credential),
        }
    }

    fn epoch(&self) -> u64 {
        self.snapshot.revision()
    }

    fn agent_of(&self, id: &Id, now: SystemTime) -> Option<&str> {
        self.snapshot.agent_of(id, now).map(|agent| agent.as_str())
    }

    fn granted(&self, agent: &str, tool: &str, age: Duration) -> Option<Scopes> {
        granted(self.snapshot, agent, tool, age)
    }

    fn wit_keys(&self) -> Option<&wit::Bundle> {
        self.wit_keys
    }

    fn jwt_keys(&self) -> Option<&jwt::Bundle> {
        self.jwt_keys
    }

    fn foreign_issuer(&self, name: &IssuerName) -> Option<&Arc<Issuer>> {
        self.issuers.get(name.as_str())
    }

    fn is_keyless(&self, name: &IssuerName) -> bool {
        self.issuers.is_keyless(name.as_str())
    }
}

/// The scopes of a grant that a credential of this age still has.
fn granted(snapshot: &Snapshot, agent: &str, tool: &str, age: Duration) -> Option<Scopes> {
    let catalog = snapshot.catalog();
    let (grant, tool) = (catalog.grant(agent, tool)?, catalog.tool(tool)?);
    let lives = |scope: &&Scope| tool.spec.band(scope.as_str()).is_some_and(|band| age < grant.spec.lifetime_max(band));
    Some(grant.spec.scopes.iter().filter(lives).cloned().collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::registry::{Agent, AgentDraft, Catalog, Grant, GrantDraft, Item, Tool, ToolDraft};

    #[test]
    fn a_credential_has_what_is_risky_no_longer_than_a_token_for_it_would() {
        let scopes = [("read", "read"), ("write", "write")].map(|(scope, band)| (scope.to_owned(), band.to_owned()));
        let draft = ToolDraft {
            name: "tickets".into(),
            audience: "urn:t".into(),
            scopes: scopes.into(),
            ..ToolDraft::default()
        };
        let (created_at, revision) = (SystemTime::UNIX_EPOCH, 1);
        let tool = Item::Tool(Tool { spec: draft.check().unwrap(), created_at, revision });
        let draft = AgentDraft { name: "crew".into(), owner: "ops".into(), ..AgentDraft::default() };
        let (spec, state, created_by, revoked_before) = (draft.check().unwrap(), State::Active, 0, created_at);
        let agent = Item::Agent(Agent { spec, state, created_by, created_at, revoked_before, revision });
        for (ttl_max, age, expected) in [
            (0, 299, &["read", "write"][..]),
            (0, 300, &["read"]),
            (0, 899, &["read"]),
            (0, 900, &[]),
            (10, 9, &["read", "write"]),
            (10, 10, &[]),
            (3_600, 899, &["read", "write"]),
            (3_600, 900, &["read"]),
            (3_600, 3_600, &[]),
        ] {
            let draft = GrantDraft {
                agent: "crew".into(),
                tool: "tickets".into(),
                scopes: ["read", "write"].map(str::to_owned).into(),
                ttl_max_seconds: ttl_max,
                ..GrantDraft::default()
            };
            let grant = Item::Grant(Grant { spec: draft.check().unwrap(), created_at, revision });
            let snapshot = Snapshot::build(1, []).with_catalog(Catalog::build([agent.clone(), tool.clone(), grant]).0);
            let granted = granted(&snapshot, "crew", "tickets", Duration::from_secs(age)).unwrap();
            assert_eq!(granted.iter().map(Scope::as_str).collect::<Vec<_>>(), expected, "{ttl_max} {age}");
        }
    }
}

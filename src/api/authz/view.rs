//! What the verifier is told of tools, agents and grants: the registry at one moment.

use std::{sync::Arc, time::SystemTime};

use crate::{
    oauth::{
        Scopes,
        access::Keys,
        issuer::{Issuer, IssuerName, Issuers},
        target::Target,
        verify::{Accepts, AgentState, Credential, Registry, Resource, Revocation},
    },
    registry::{Scope, Snapshot, State, Tool},
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
}

impl<'a> View<'a> {
    /// `issuers` are the others that are pinned.
    pub(super) fn new(issuer: &'a str, keys: &'a Keys, issuers: &'a Issuers, snapshot: &'a Snapshot) -> Self {
        Self { issuer, keys, snapshot, wit_keys: None, jwt_keys: None, issuers }
    }

    /// With the keys that verify SVIDs.
    pub(super) fn with_svids(self, wit_keys: Option<&'a wit::Bundle>, jwt_keys: Option<&'a jwt::Bundle>) -> Self {
        Self { wit_keys, jwt_keys, ..self }
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
        let accepts = Accepts { wit: own.wit, jwt_svid: own.jwt_svid, issuers: &own.issuers };
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
        match self.snapshot.catalog().agent(name).map(|agent| agent.state) {
            None => AgentState::Unknown,
            Some(State::Active) => AgentState::Active,
            Some(State::Suspended) => AgentState::Suspended,
            Some(State::Retired) => AgentState::Retired,
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

    fn granted(&self, agent: &str, tool: &str) -> Option<Scopes> {
        self.snapshot.catalog().grant(agent, tool).map(|grant| grant.spec.scopes.iter().cloned().collect())
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
}

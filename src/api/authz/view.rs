//! What the verifier is told of tools, agents and grants: the registry at one moment.

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
        self.snapshot.revocation(claims)
    }

    fn epoch(&self) -> u64 {
        self.snapshot.revision()
    }
}

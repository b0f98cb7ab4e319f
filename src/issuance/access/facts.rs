//! What an access token rests on, at one moment: who its agent is, and what the registry says of it.

use std::{sync::Arc, time::SystemTime};

use super::AccessAsked;
use crate::{
    oauth::{access::Claims, exchange::Parent, verify::Revocation},
    policy::access::Reason,
    registry::{Agent, Given, Grant, Label, Snapshot, Tool},
};

/// What the registry says of an agent and what it asks for, in one moment.
#[derive(PartialEq)]
pub(super) struct Facts<'s> {
    pub(super) agent: Option<&'s Arc<Agent>>,
    pub(super) tool: Option<&'s Arc<Tool>>,
    pub(super) grant: Option<&'s Arc<Grant>>,
    /// Of the token that is exchanged, where that is one of ours.
    pub(super) revocation: Option<Revocation>,
}

impl<'s> Facts<'s> {
    pub(super) fn of(snapshot: &'s Snapshot, agent: &str, asked: &AccessAsked) -> Self {
        let catalog = snapshot.catalog();
        let tool = catalog.tool_of(&asked.audience);
        let grant = tool.and_then(|tool| catalog.grant(agent, tool.spec.name.as_str()));
        let own = asked.parent.as_ref().and_then(Parent::own);
        Self {
            agent: catalog.agent(agent),
            tool,
            grant,
            revocation: own.and_then(|claims| snapshot.revocation(claims)),
        }
    }

    /// From which second on tokens that rest on them count.
    pub(super) fn tokens_from(&self) -> SystemTime {
        let Self { agent, tool, grant, revocation: _ } = self;
        let times = [
            agent.map(|agent| agent.tokens_from()),
            tool.map(|tool| tool.tokens_from()),
            grant.map(|grant| grant.tokens_from()),
        ];
        times.into_iter().flatten().max().unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// The entry by which a caller is the agent that it says, or its oldest.
pub(super) fn find<'s>(given: &'s [Given], asked: &AccessAsked) -> Result<(&'s Given, &'s Label), Vec<Reason>> {
    let mut of_agents = given.iter().filter_map(|entry| Some((entry, entry.spec.agent.as_ref()?))).peekable();
    if of_agents.peek().is_none() {
        return Err(vec![Reason::NoAgent]);
    }
    // A token of ours is exchanged by whom it was given to, if the caller is that.
    let own = asked.parent.as_ref().and_then(Parent::own);
    let is_holder = |entry: &Given, agent: &Label, own: &Claims| {
        agent.as_str() == own.client && entry.spiffe_id() == own.subject.agent()
    };
    let found = match (&asked.client_id, own) {
        (Some(name), None) => of_agents.find(|(_, agent)| agent.as_str() == name),
        (None, None) => of_agents.next(),
        (name, Some(own)) => {
            let all = of_agents.filter(|(_, agent)| name.as_ref().is_none_or(|name| agent.as_str() == name));
            let all: Vec<_> = all.collect();
            let holder = all.iter().find(|(entry, agent)| is_holder(entry, agent, own));
            holder.or(all.first()).copied()
        }
    };
    found.ok_or_else(|| vec![Reason::NotItsAgent])
}

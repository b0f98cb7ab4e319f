//! Which SPIFFE IDs are which agents, by the entries that say so and since when: what a token is looked up by, however
//! many entries there are.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    entry::Entry, filing::Count, label::Label, name::Name, revocations::whole_second, shards::Shards,
    template::Template,
};
use crate::spiffe::Id;

/// All of them. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Members {
    /// From which second on each entry counts that gives an agent's callers this ID.
    ids: Shards<(Label, Id), Vec<SystemTime>>,
    /// By how many entries of an agent each template is said, by the second from which on they count.
    templates: Shards<Label, BTreeMap<Template, BTreeMap<SystemTime, u32>>>,
}

impl Members {
    /// An entry comes or goes.
    pub(super) fn note(&mut self, entry: &Entry, count: Count) {
        let Some(agent) = &entry.spec.agent else { return };
        let since = whole_second(entry.since);
        match &entry.spec.spiffe_id {
            Name::Id(id) => {
                let key = (agent.clone(), id.clone());
                let Some(shard) = self.ids.shard_mut(&key) else { return };
                let times = shard.entry(key.clone()).or_default();
                match count {
                    Count::Up => times.push(since),
                    Count::Down => {
                        if let Some(at) = times.iter().position(|time| *time == since) {
                            times.swap_remove(at);
                        }
                    }
                }
                if times.is_empty() {
                    shard.remove(&key);
                }
            }
            Name::Template(template) => {
                let Some(shard) = self.templates.shard_mut(agent) else { return };
                let templates = shard.entry(agent.clone()).or_default();
                let seconds = templates.entry(template.clone()).or_default();
                let number = seconds.entry(since).or_default();
                count.apply(number);
                if *number == 0 {
                    seconds.remove(&since);
                }
                if seconds.is_empty() {
                    templates.remove(template);
                }
                if templates.is_empty() {
                    shard.remove(agent);
                }
            }
        }
    }

    /// Whether an entry that was the same at this time makes whoever has this ID this agent.
    pub(super) fn has(&self, agent: &Label, id: &Id, time: SystemTime) -> bool {
        let was_there = |since: &SystemTime| *since <= time;
        let gives = |(template, seconds): (&Template, &BTreeMap<_, _>)| {
            seconds.keys().next().is_some_and(was_there) && template.could_give(id)
        };
        self.ids.at(&(agent.clone(), id.clone())).is_some_and(|(_, times)| times.iter().any(was_there))
            || self.templates.at(agent).is_some_and(|(_, all)| all.iter().any(gives))
    }
}

impl Default for Members {
    fn default() -> Self {
        Self { ids: Shards::with_capacity(0), templates: Shards::with_capacity(0) }
    }
}

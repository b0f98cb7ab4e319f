//! Which SPIFFE IDs are which agents, by the entries that say so: what a token is looked up by, however many entries
//! there are.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    entry::Entry, filing::Count, label::Label, name::Name, revocations::whole_second, shards::Shards,
    template::Template,
};
use crate::spiffe::Id;

/// All of them. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Members {
    /// When each entry came that gives an agent's callers this ID.
    ids: Shards<(Label, Id), Vec<SystemTime>>,
    /// By how many entries of an agent each template is said.
    templates: Shards<Label, BTreeMap<Template, u32>>,
}

impl Members {
    /// An entry comes or goes.
    pub(super) fn note(&mut self, entry: &Entry, count: Count) {
        let Some(agent) = &entry.spec.agent else { return };
        match &entry.spec.spiffe_id {
            Name::Id(id) => {
                let key = (agent.clone(), id.clone());
                let Some(shard) = self.ids.shard_mut(&key) else { return };
                let times = shard.entry(key.clone()).or_default();
                match count {
                    Count::Up => times.push(entry.created_at),
                    Count::Down => {
                        if let Some(at) = times.iter().position(|time| *time == entry.created_at) {
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
                let number = templates.entry(template.clone()).or_default();
                count.apply(number);
                templates.retain(|_, number| *number > 0);
                if templates.is_empty() {
                    shard.remove(agent);
                }
            }
        }
    }

    /// Whether an entry that was there at this time makes whoever has this ID this agent. Of a template it is not known
    /// when each of its entries came.
    pub(super) fn has(&self, agent: &Label, id: &Id, time: SystemTime) -> bool {
        let was_there = |came: &SystemTime| whole_second(*came) <= time;
        self.ids.at(&(agent.clone(), id.clone())).is_some_and(|(_, times)| times.iter().any(was_there))
            || self.templates.at(agent).is_some_and(|(_, all)| all.keys().any(|template| template.could_give(id)))
    }
}

impl Default for Members {
    fn default() -> Self {
        Self { ids: Shards::with_capacity(0), templates: Shards::with_capacity(0) }
    }
}

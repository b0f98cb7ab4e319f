//! What an order does to agents, tools and grants, worked out beside what is there.

use std::{collections::BTreeSet, time::SystemTime};

use super::{Author, Checked, Error, Stand, clerk::Times, lines};
use crate::registry::{self, Agent, Catalog, Change, Grant, Item, ItemId, ItemSpec, Label, State, Tool, next_second};

/// The part of a plan that is theirs.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub(super) changes: Vec<Change>,
    /// A verb, a name, and what is different; one for each change.
    pub(super) words: Vec<(&'static str, String, Vec<String>)>,
    /// What is put, in the order's order, whether or not it changes anything.
    pub(super) put: Vec<ItemId>,
    pub(super) removed: Vec<ItemId>,
}

/// Works out what an order says of them.
///
/// # Errors
/// When one is named twice, there already, not there, of another revision, or retired for good.
pub(super) fn plan(catalog: &Catalog, order: &mut Checked, author: Author, times: Times) -> Result<Items, Error> {
    let mut items = Items::default();
    let (put, remove) = (std::mem::take(&mut order.put), std::mem::take(&mut order.remove));
    let mut named = BTreeSet::new();
    for id in remove.iter().cloned().chain(put.iter().map(|(spec, _)| spec.id())) {
        if !named.insert(id.clone()) {
            return Err(Error::Twice(id.to_string()));
        }
    }
    let hanging = remove.iter().filter(|_| order.cascade).flat_map(|id| catalog.grants_on(id));
    let hanging: BTreeSet<_> = hanging.map(ItemId::Grant).filter(|id| !named.contains(id)).collect();
    hanging.into_iter().chain(remove).try_for_each(|id| items.remove(catalog, id))?;
    for (spec, stand) in put {
        items.put(catalog, spec, stand, author, times.items)?;
    }
    for (name, state) in std::mem::take(&mut order.states) {
        items.state(catalog, name, state)?;
    }
    for (name, ahead) in std::mem::take(&mut order.revoke_agents) {
        items.revoke(catalog, name, next_second(times.now + ahead))?;
    }
    Ok(items)
}

impl Items {
    /// The agents that go.
    pub(super) fn removed_agents(&self) -> BTreeSet<Label> {
        let agents = self.removed.iter().filter_map(|id| if let ItemId::Agent(name) = id { Some(name) } else { None });
        agents.cloned().collect()
    }

    fn remove(&mut self, catalog: &Catalog, id: ItemId) -> Result<(), Error> {
        let present = catalog.item(&id).ok_or_else(|| registry::Error::UnknownItem(id.clone()))?;
        self.words.push((verb(&id, Deed::Delete), id.name(), lines::whole_item(&present.draft())));
        self.changes.push(Change::Remove(id.clone()));
        self.removed.push(id);
        Ok(())
    }

    fn put(
        &mut self,
        catalog: &Catalog,
        spec: ItemSpec,
        stand: Stand,
        author: Author,
        born: SystemTime,
    ) -> Result<(), Error> {
        let id = spec.id();
        let present = catalog.item(&id);
        let revision = match (&present, stand) {
            (None, Stand::New) => 1,
            (Some(_), Stand::New) => return Err(registry::Error::ItemTaken(id).into()),
            (None, Stand::Old(_)) => return Err(registry::Error::UnknownItem(id).into()),
            (Some(present), Stand::Old(expected)) => {
                let revision = present.revision();
                if let Some(expected) = expected.filter(|expected| *expected != revision) {
                    return Err(Error::Stale { what: id.to_string(), expected, present: revision });
                }
                revision.saturating_add(1)
            }
        };
        let created_at = match &present {
            Some(
                Item::Agent(Agent { created_at, .. })
                | Item::Tool(Tool { created_at, .. })
                | Item::Grant(Grant { created_at, .. }),
            ) => *created_at,
            None => born,
        };
        let item = match spec {
            ItemSpec::Tool(spec) => Item::Tool(Tool { spec, created_at, revision }),
            ItemSpec::Grant(spec) => Item::Grant(Grant { spec, created_at, revision }),
            ItemSpec::Agent(spec) => Item::Agent(match &present {
                Some(Item::Agent(present)) => Agent { spec, revision, ..present.clone() },
                _ => {
                    let (state, revoked_before) = (State::Active, SystemTime::UNIX_EPOCH);
                    Agent { spec, state, created_by: author.uid, created_at, revoked_before, revision }
                }
            }),
        };
        let (deed, told) = match &present {
            None => (Deed::Create, lines::whole_item(&item.draft())),
            Some(present) => (Deed::Update, lines::item_difference(&present.draft(), &item.draft())),
        };
        self.words.push((verb(&id, deed), id.name(), told));
        self.changes.push(Change::Put(item));
        self.put.push(id);
        Ok(())
    }

    fn state(&mut self, catalog: &Catalog, name: Label, state: State) -> Result<(), Error> {
        let id = ItemId::Agent(name.clone());
        let present = catalog.agent(name.as_str()).ok_or_else(|| registry::Error::UnknownItem(id.clone()))?;
        self.put.push(id);
        if present.state == state {
            return Ok(());
        }
        if present.state == State::Retired {
            return Err(Error::Retired(name));
        }
        let verb = match state {
            State::Active => "agent_resume",
            State::Suspended => "agent_suspend",
            State::Retired => "agent_retire",
        };
        self.words.push((verb, name.to_string(), vec![format!("state: {} -> {state}", present.state)]));
        let revision = present.revision.saturating_add(1);
        self.changes.push(Change::Put(Item::Agent(Agent { state, revision, ..Agent::clone(present) })));
        Ok(())
    }

    /// What the agent was issued in earlier seconds is not good any more. It stays what it is otherwise.
    fn revoke(&mut self, catalog: &Catalog, name: Label, before: SystemTime) -> Result<(), Error> {
        let id = ItemId::Agent(name.clone());
        let present = catalog.agent(name.as_str()).ok_or_else(|| registry::Error::UnknownItem(id.clone()))?;
        self.put.push(id);
        if present.revoked_before >= before {
            return Ok(());
        }
        let seconds = before.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.words.push(("agent_revoke", name.to_string(), vec![format!("revoked_before: {seconds}")]));
        let (revoked_before, revision) = (before, present.revision.saturating_add(1));
        self.changes.push(Change::Put(Item::Agent(Agent { revoked_before, revision, ..Agent::clone(present) })));
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Deed {
    Create,
    Update,
    Delete,
}

/// What the audit log calls it.
fn verb(id: &ItemId, deed: Deed) -> &'static str {
    match (id, deed) {
        (ItemId::Agent(_), Deed::Create) => "agent_create",
        (ItemId::Agent(_), Deed::Update) => "agent_update",
        (ItemId::Agent(_), Deed::Delete) => "agent_delete",
        (ItemId::Tool(_), Deed::Create) => "tool_create",
        (ItemId::Tool(_), Deed::Update) => "tool_update",
        (ItemId::Tool(_), Deed::Delete) => "tool_delete",
        (ItemId::Grant(_), Deed::Create) => "grant_create",
        (ItemId::Grant(_), Deed::Update) => "grant_update",
        (ItemId::Grant(_), Deed::Delete) => "grant_delete",
    }
}

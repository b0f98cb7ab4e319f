//! Whose a SPIFFE ID is that somebody shows, the agent that all of its entries belong to; and which entries a proxy means
//! that acts for it.

use std::{sync::Arc, time::SystemTime};

use super::{
    entry::{Entry, EntryId},
    label::Label,
    name::Name,
    order::Ordered,
    shards::Shards,
};
use crate::spiffe::Id;

/// The most entries that say one SPIFFE ID and make it an agent's: they are looked at for each request.
pub(super) const ENTRIES_MAX: usize = 1_000;

/// The entries of each SPIFFE ID that is said literally. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Bearers {
    /// How many entries belong to an agent, or act for the identities of others.
    asking: usize,
    /// Kept while there are such: without them nobody asks.
    entries: Option<Shards<Id, Vec<EntryId>>>,
}

impl Bearers {
    /// Of all these entries, which were accepted once.
    pub(super) fn of(entries: &[Arc<Entry>]) -> Self {
        let asking = entries.iter().filter(|entry| asks(entry)).count();
        Self { asking, entries: (asking > 0).then(|| filed(entries.iter())) }
    }

    /// An entry comes, to these others.
    pub(super) fn insert(&mut self, entry: &Entry, others: &Ordered) {
        if asks(entry) {
            self.asking += 1;
            self.entries.get_or_insert_with(|| filed(others.iter()));
        }
        if let Some(entries) = &mut self.entries {
            file(entries, entry);
        }
    }

    /// An entry goes.
    pub(super) fn remove(&mut self, entry: &Entry) {
        self.asking -= usize::from(asks(entry));
        match (&mut self.entries, &entry.spec.spiffe_id) {
            _ if self.asking == 0 => self.entries = None,
            (Some(entries), Name::Id(id)) => {
                let Some(shard) = entries.shard_mut(id) else { return };
                let Some(of_id) = shard.get_mut(id) else { return };
                of_id.retain(|other| *other != entry.id);
                if of_id.is_empty() {
                    shard.remove(id);
                }
            }
            (None, _) | (_, Name::Template(_)) => {}
        }
    }

    /// The entries that say this ID literally; none where they are more than [`ENTRIES_MAX`].
    pub(super) fn entries(&self, id: &Id) -> &[EntryId] {
        let all = self.all(id);
        if all.len() > ENTRIES_MAX { &[] } else { all }
    }

    /// The same, however many.
    pub(super) fn all(&self, id: &Id) -> &[EntryId] {
        let entries = self.entries.as_ref().and_then(|entries| entries.at(id));
        entries.map_or(&[], |(_, entries)| entries.as_slice())
    }
}

/// Whether somebody asks for entries by their IDs because of this one.
fn asks(entry: &Entry) -> bool {
    entry.spec.agent.is_some() || !entry.spec.sds_for.is_empty()
}

/// The one agent that they all belong to, if one of them is good at this time. Where another's, or nobody's, says the
/// same ID, what is shown does not tell who it is: then it is nobody.
pub(super) fn agent_of<'e>(entries: impl Iterator<Item = &'e Arc<Entry>>, now: SystemTime) -> Option<&'e Label> {
    let (mut agent, mut is_good) = (None, false);
    for entry in entries {
        let of_entry = entry.spec.agent.as_ref()?;
        if *agent.get_or_insert(of_entry) != of_entry {
            return None;
        }
        is_good |= !entry.is_expired(now);
    }
    agent.filter(|_| is_good)
}

fn filed<'e>(entries: impl Iterator<Item = &'e Arc<Entry>>) -> Shards<Id, Vec<EntryId>> {
    let mut filed = Shards::with_capacity(0);
    entries.for_each(|entry| file(&mut filed, entry));
    filed
}

fn file(entries: &mut Shards<Id, Vec<EntryId>>, entry: &Entry) {
    let Name::Id(id) = &entry.spec.spiffe_id else { return };
    let Some(shard) = entries.shard_mut(id) else { return };
    shard.entry(id.clone()).or_default().push(entry.id.clone());
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::*;
    use crate::{
        registry::{Agent, AgentDraft, Change, Draft, Item, Snapshot, State},
        spiffe::TrustDomain,
    };

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn entry(number: u8, id: &str, agent: &str, expires_at: u64) -> Entry {
        let draft = Draft {
            spiffe_id: format!("spiffe://example.org/{id}"),
            selectors: vec![format!("unix:uid:{number}")],
            agent: agent.into(),
            expires_at,
            ..Draft::default()
        };
        let spec = draft.check(&TrustDomain::parse("example.org").unwrap()).unwrap();
        Entry {
            id: EntryId::from_random([number; 16]),
            spec,
            revision: 1,
            created_at: SystemTime::UNIX_EPOCH,
            since: SystemTime::UNIX_EPOCH,
        }
    }

    fn agents() -> impl Iterator<Item = Change> {
        ["crew", "other"].into_iter().map(|name| {
            let draft = AgentDraft { name: name.into(), owner: "ops".into(), ..AgentDraft::default() };
            let (spec, state, created_at) = (draft.check().unwrap(), State::Active, SystemTime::UNIX_EPOCH);
            Change::Put(Item::Agent(Agent {
                spec,
                state,
                created_by: 0,
                created_at,
                revoked_before: SystemTime::UNIX_EPOCH,
                revision: 1,
            }))
        })
    }

    fn agent(snapshot: &Snapshot, id: &str) -> Option<String> {
        let id = Id::parse(&format!("spiffe://example.org/{id}")).unwrap();
        snapshot.agent_of(&id, now()).map(Label::to_string)
    }

    #[test]
    fn an_id_is_the_agent_of_all_its_entries_or_nobody() {
        let end = |after: Duration| now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + after.as_secs();
        let (over, later) = (end(Duration::ZERO), end(Duration::from_secs(1)));
        let cases: [(&str, Vec<Entry>, Option<&str>); 9] = [
            ("no entry", vec![], None),
            ("one", vec![entry(1, "a", "crew", 0)], Some("crew")),
            ("another ID", vec![entry(1, "b", "crew", 0)], None),
            ("of no agent", vec![entry(1, "a", "", 0)], None),
            ("two of one agent", vec![entry(1, "a", "crew", 0), entry(2, "a", "crew", 0)], Some("crew")),
            ("two of two", vec![entry(1, "a", "crew", 0), entry(2, "a", "other", 0)], None),
            ("one of nobody", vec![entry(1, "a", "", 0), entry(2, "a", "crew", 0)], None),
            ("all expired", vec![entry(1, "a", "crew", over)], None),
            ("one not", vec![entry(1, "a", "crew", over), entry(2, "a", "crew", later)], Some("crew")),
        ];
        for (name, entries, expected) in cases {
            let begun = Snapshot::empty().apply(1, &agents().collect::<Vec<_>>()).unwrap();
            let changes: Vec<_> = entries.iter().cloned().map(Change::Create).collect();
            let next = begun.apply(2, &changes).unwrap();
            assert_eq!(agent(&next, "a").as_deref(), expected, "{name}");
            // The same from scratch, and the other way round.
            let built = Snapshot::build(2, entries.iter().rev().cloned().map(Arc::new));
            assert_eq!(agent(&built, "a").as_deref(), expected, "{name}");
            let gone: Vec<_> = entries.iter().map(|entry| Change::Delete(entry.id.clone())).collect();
            assert_eq!(agent(&next.apply(3, &gone).unwrap(), "a"), None, "{name}");
        }
    }

    #[test]
    fn an_id_of_too_many_entries_is_nobody() {
        let entry = |number: usize| {
            let mut entry = entry(1, "a", "crew", 0);
            let mut id = [7; 16];
            id[8..].copy_from_slice(&number.to_be_bytes());
            entry.id = EntryId::from_random(id);
            Arc::new(entry)
        };
        for (entries, expected) in [(ENTRIES_MAX, Some("crew")), (ENTRIES_MAX + 1, None)] {
            assert_eq!(agent(&Snapshot::build(1, (0..entries).map(entry)), "a").as_deref(), expected, "{entries}");
        }
    }

    #[test]
    fn what_changes_is_followed() {
        let begun = Snapshot::empty().apply(1, &agents().collect::<Vec<_>>()).unwrap();
        let mine = entry(1, "a", "crew", 0);
        let next = begun.apply(2, &[Change::Create(entry(9, "a", "", 0)), Change::Create(mine.clone())]).unwrap();
        assert_eq!(agent(&next, "a"), None);
        let next = next.apply(3, &[Change::Delete(EntryId::from_random([9; 16]))]).unwrap();
        assert_eq!(agent(&next, "a").as_deref(), Some("crew"));
        let next = next.apply(4, &[Change::Update(entry(1, "b", "other", 0))]).unwrap();
        assert_eq!((agent(&next, "a"), agent(&next, "b").as_deref()), (None, Some("other")));
        let next = next.apply(5, &[Change::Update(entry(1, "b", "", 0))]).unwrap();
        assert_eq!(agent(&next, "b"), None);
    }
}

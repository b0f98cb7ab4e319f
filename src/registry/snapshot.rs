//! The registry at one revision. Immutable and shared; a change makes the next one.

use std::{
    borrow::Borrow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{Hash, Hasher},
    sync::Arc,
    time::SystemTime,
};

use super::{
    asked::{Asked, Questions},
    bearers::{self, Bearers},
    catalog::Catalog,
    entry::{Change, Entry, EntryId},
    error::Error,
    filing::{Cabinet, Count, Sieve},
    image::ImageSet,
    item::ItemId,
    label::Label,
    members::Members,
    order::{Ordered, place},
    revocations::Revocations,
    selector::Selector,
    selectors::Selectors,
    shards::Shards,
    taken::Taken,
};
use crate::spiffe::Id;

/// All entries, filed so that a caller's are found in about a microsecond, however many there are.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    revision: u64,
    ordered: Ordered,
    by_id: Shards<ById, ()>,
    by_content: Shards<ByContent, ()>,
    cabinet: Cabinet,
    questions: Questions,
    taken: Taken,
    bearers: Bearers,
    members: Members,
    catalog: Catalog,
    revocations: Revocations,
    /// Changes since everything was filed anew.
    changes: usize,
}

impl Snapshot {
    /// Nobody is anybody, at revision 0.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self::build(0, [])
    }

    /// Files everything. Of two entries with the same id the later stands. Duplicates of content are
    /// taken as they are: they were accepted once.
    pub(crate) fn build(revision: u64, entries: impl IntoIterator<Item = Arc<Entry>>) -> Self {
        let mut entries = latest_of_each(entries.into_iter().collect());
        entries.sort_by(|a, b| place(a).cmp(&place(b)));
        let mut snapshot = Self {
            revision,
            ordered: Ordered::default(),
            by_id: Shards::with_capacity(entries.len()),
            by_content: Shards::with_capacity(entries.len()),
            cabinet: Cabinet::with_capacity(entries.len()),
            questions: Questions::default(),
            taken: Taken::of(&entries),
            bearers: Bearers::of(&entries),
            members: Members::default(),
            catalog: Catalog::default(),
            revocations: Revocations::default(),
            changes: 0,
        };
        for entry in &mut entries {
            snapshot.cabinet.count(entry);
        }
        for entry in &entries {
            snapshot.questions.note(entry, Count::Up, revision);
            snapshot.cabinet.file(entry);
            snapshot.members.note(entry, Count::Up);
            snapshot.by_id.insert(ById(Arc::clone(entry)), ());
            snapshot.by_content.insert(ByContent(Arc::clone(entry)), ());
        }
        snapshot.ordered = Ordered::of_sorted(&entries);
        snapshot.by_id.shrink();
        snapshot.by_content.shrink();
        snapshot.cabinet.shrink();
        snapshot
    }

    /// With these agents, tools and grants beside its entries.
    pub(crate) fn with_catalog(self, catalog: Catalog) -> Self {
        Self { catalog, ..self }
    }

    /// With this taken back.
    pub(crate) fn with_revocations(self, revocations: Revocations) -> Self {
        Self { revocations, ..self }
    }

    /// The next snapshot, all or nothing: the changes of the catalog, which may come in any order, then those of
    /// entries, one after the other. What is not touched is shared with this one.
    ///
    /// # Errors
    /// When an entry to update or delete is not there, a new entry's id is taken, another entry has the same SPIFFE
    /// ID and selectors, or the same hint and selectors, or a template of SPIFFE IDs is one too many or meets another;
    /// when an entry belongs to an agent that is not there, or goes; and as [`Catalog::apply`] and
    /// [`Revocations::apply`].
    pub(crate) fn apply(&self, revision: u64, changes: &[Change]) -> Result<Self, Error> {
        let mut next = self.clone();
        next.revision = revision;
        next.catalog = self.catalog.apply(changes).map_err(|error| match error {
            // Whoever is told what hangs on an agent wants to hear of all of it.
            Error::InUse { item: ItemId::Agent(name), by } => {
                let entries = self.named_entries_of(&name);
                Error::InUse { item: ItemId::Agent(name), by: by.and(entries) }
            }
            error => error,
        })?;
        next.revocations = self.revocations.apply(changes)?;
        for change in changes {
            match change {
                Change::Create(entry) => {
                    next.check_agent(entry)?;
                    if next.entry(&entry.id).is_some() {
                        return Err(Error::IdTaken(entry.id.clone()));
                    }
                    next.insert(entry.clone())?;
                }
                Change::Update(entry) => {
                    next.check_agent(entry)?;
                    next.remove(&entry.id)?;
                    next.insert(entry.clone())?;
                }
                Change::Delete(id) => next.remove(id)?,
                Change::Put(_) | Change::Remove(_) | Change::Revoke(_) | Change::Restore(_) => {}
            }
        }
        next.check_removed(changes)?;
        next.changes += changes.len();
        // What was rare when it was filed may be common by now; a new filing pays off by then.
        if next.changes > (self.len() / 2).max(CHANGES_MIN) {
            let (catalog, revocations) = (next.catalog.clone(), next.revocations.clone());
            let filed = Self::build(revision, next.entries().cloned().collect::<Vec<_>>());
            return Ok(filed.with_catalog(catalog).with_revocations(revocations));
        }
        Ok(next)
    }

    /// Counts the registry's changes.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The entries of a caller: those of whose selectors it has all. Oldest first; the first is its
    /// default identity. Expired ones are among them: to judge is policy's.
    pub(crate) fn matching(&self, have: &Selectors) -> Vec<Arc<Entry>> {
        let sieve = Sieve::of(have);
        let mut matching: Vec<_> = have
            .iter()
            .flat_map(|selector| self.cabinet.filed_under(selector))
            .filter(|filed| filed.matches(have, &sieve))
            .map(|filed| Arc::clone(&filed.entry))
            .collect();
        matching.sort_by(|a, b| place(a).cmp(&place(b)));
        matching
    }

    /// Whether an entry says this SPIFFE ID literally. Known while there are templates, of which it is asked.
    pub(super) fn has_literal(&self, id: &Id) -> bool {
        self.taken.has(id)
    }

    /// Whether somebody may have this SPIFFE ID by a template.
    pub(crate) fn could_be_made(&self, id: &Id) -> bool {
        self.taken.could_be_made(id)
    }

    /// The kinds of image selectors to ask for: those of entries of whose other selectors the caller has all.
    pub(crate) fn images_wanted(&self, have: &Selectors) -> ImageSet {
        self.images_wanted_beside(have, ImageSet::empty())
    }

    /// As [`Snapshot::images_wanted`], when the image selectors of the `known` kinds were read already and
    /// are in `have`, or the caller has none of them. So a dear one (a hash) is not read for an entry that
    /// a cheap one (the path) has ruled out.
    pub(crate) fn images_wanted_beside(&self, have: &Selectors, known: ImageSet) -> ImageSet {
        let mut wanted = self.cabinet.image_only(known);
        let mut answered = wanted;
        answered.insert_all(known);
        for filed in have.iter().flat_map(|selector| self.cabinet.filed_under(selector)) {
            if answered.includes(filed.images()) {
                continue;
            }
            let more = filed.waits_for(have, known);
            wanted.insert_all(more);
            answered.insert_all(more);
        }
        wanted
    }

    /// What entries ask of the groups and names of a caller with these ids.
    pub(crate) fn asked_of(&self, uid: u32, gid: u32) -> Asked {
        self.questions.of(uid, gid)
    }

    /// For people who ask why nothing matches: entries that lack something, and what; those that lack least
    /// first, of these those that have most. It reads every entry.
    pub(crate) fn near(&self, have: &Selectors, most: usize) -> Vec<(Arc<Entry>, Vec<Selector>)> {
        let lacks = |entry: &Entry| entry.spec.selectors.iter().filter(|wanted| !have.contains(wanted)).count();
        let mut nearest = BTreeMap::new();
        for (index, entry) in self.entries().enumerate() {
            let lacking = lacks(entry);
            if lacking == 0 {
                continue;
            }
            // Of those that lack as many, the longer ones have more.
            nearest.insert((lacking, Reverse(entry.spec.selectors.len()), index), entry);
            if nearest.len() > most {
                nearest.pop_last();
            }
        }
        nearest
            .into_values()
            .map(|entry| {
                let missing = entry.spec.selectors.iter().filter(|wanted| !have.contains(wanted));
                (Arc::clone(entry), missing.cloned().collect())
            })
            .collect()
    }

    /// The entry of this id.
    pub(crate) fn entry(&self, id: &EntryId) -> Option<&Arc<Entry>> {
        self.by_id.at(id).map(|(ById(entry), ())| entry)
    }

    /// All entries, oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.ordered.iter()
    }

    /// The entries after a place in that order, whether or not there is one in that place: for pages.
    pub(crate) fn entries_after<'a>(
        &'a self,
        created_at: SystemTime,
        id: &EntryId,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.ordered.after((created_at, id))
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.ordered.len()
    }

    /// Whether there is none.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its agents, tools and grants.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What was taken back.
    pub(crate) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Whether an entry that was the same at this time makes whoever has this SPIFFE ID this agent.
    pub(super) fn makes_agent(&self, agent: &Label, id: &Id, time: SystemTime) -> bool {
        self.members.has(agent, id, time)
    }

    /// The entries that belong to one of these agents. It walks over all entries.
    pub(crate) fn entries_of<'a>(&'a self, agents: &'a BTreeSet<Label>) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.entries().filter(|entry| entry.spec.agent.as_ref().is_some_and(|agent| agents.contains(agent)))
    }

    /// The agent that who shows this SPIFFE ID is: the one that all entries belong to that say it literally, where one of
    /// them has not expired. A template says nothing of who has an ID of it.
    pub(crate) fn agent_of(&self, id: &Id, now: SystemTime) -> Option<&Label> {
        bearers::agent_of(self.bearers.entries(id).iter().filter_map(|entry| self.entry(entry)), now)
    }

    /// The entries that say this SPIFFE ID literally, as long as there are such that belong to agents, or act for
    /// others.
    pub(crate) fn entries_saying<'a>(&'a self, id: &Id) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.bearers.all(id).iter().filter_map(|entry| self.entry(entry))
    }

    /// What it needs must be there by now.
    fn check_agent(&self, entry: &Entry) -> Result<(), Error> {
        match &entry.spec.agent {
            Some(agent) if self.catalog.agent(agent.as_str()).is_none() => Err(Error::UnknownAgent(agent.clone())),
            _ => Ok(()),
        }
    }

    /// No entry may be left of an agent that goes.
    fn check_removed(&self, changes: &[Change]) -> Result<(), Error> {
        let agents = changes.iter().filter_map(|change| match change {
            Change::Remove(ItemId::Agent(name)) => Some(name.clone()),
            _ => None,
        });
        let agents: BTreeSet<_> = agents.collect();
        if agents.is_empty() {
            return Ok(());
        }
        let Some(first) = self.entries_of(&agents).next() else { return Ok(()) };
        let Some(agent) = &first.spec.agent else { return Ok(()) };
        let by = self.named_entries_of(agent).into_iter().collect();
        Err(Error::InUse { item: ItemId::Agent(agent.clone()), by })
    }

    /// In words, for those who are to hear what hangs on an agent.
    fn named_entries_of(&self, agent: &Label) -> Vec<String> {
        let agents = BTreeSet::from([agent.clone()]);
        self.entries_of(&agents).map(|entry| format!("the entry {}", entry.id)).collect()
    }

    fn insert(&mut self, entry: Entry) -> Result<(), Error> {
        let mut entry = Arc::new(entry);
        if let Some((ByContent(existing), ())) = self.by_content.at(&ByContent(Arc::clone(&entry))) {
            return Err(Error::Duplicate { existing: existing.id.clone() });
        }
        if let Some(existing) = self.with_same_hint(&entry) {
            return Err(Error::HintTaken { existing: existing.id.clone(), hint: entry.spec.hint.clone() });
        }
        self.taken.insert(&entry, &self.ordered)?;
        self.bearers.insert(&entry, &self.ordered);
        self.members.note(&entry, Count::Up);
        self.questions.note(&entry, Count::Up, self.revision);
        self.cabinet.count(&mut entry);
        self.cabinet.file(&entry);
        self.by_content.insert(ByContent(Arc::clone(&entry)), ());
        self.by_id.insert(ById(Arc::clone(&entry)), ());
        self.ordered.insert(entry);
        Ok(())
    }

    fn remove(&mut self, id: &EntryId) -> Result<(), Error> {
        let entry = Arc::clone(self.entry(id).ok_or_else(|| Error::UnknownEntry(id.clone()))?);
        self.by_id.remove(id);
        self.by_content.remove(&ByContent(Arc::clone(&entry)));
        self.questions.note(&entry, Count::Down, self.revision);
        self.taken.remove(&entry);
        self.bearers.remove(&entry);
        self.members.note(&entry, Count::Down);
        self.cabinet.remove(&entry);
        self.ordered.remove(&entry);
        Ok(())
    }

    /// An entry with exactly the same selectors and the same hint.
    fn with_same_hint(&self, entry: &Entry) -> Option<&Arc<Entry>> {
        if entry.spec.hint.is_empty() {
            return None;
        }
        let mut alike = entry.spec.selectors.iter().flat_map(|selector| self.cabinet.filed_under(selector));
        let same = |other: &Entry| other.spec.hint == entry.spec.hint && other.spec.selectors == entry.spec.selectors;
        alike.find(|filed| same(&filed.entry)).map(|filed| &filed.entry)
    }
}

/// Leaves out entries whose id comes again later.
fn latest_of_each(mut entries: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
    let mut latest = HashMap::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        latest.insert(entry.id.clone(), index);
    }
    if latest.len() < entries.len() {
        let mut index = 0..;
        entries.retain(|entry| latest.get(&entry.id).copied() == index.next());
    }
    entries
}

/// How many changes there are at least before everything is filed anew.
const CHANGES_MIN: usize = 4096;

/// An entry as the one of its id.
#[derive(Clone, Debug)]
struct ById(Arc<Entry>);

/// An entry as the one with its SPIFFE ID and selectors.
#[derive(Clone, Debug)]
struct ByContent(Arc<Entry>);

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl Borrow<EntryId> for ById {
    fn borrow(&self) -> &EntryId {
        &self.0.id
    }
}

impl PartialEq for ByContent {
    fn eq(&self, other: &Self) -> bool {
        self.0.spec.spiffe_id == other.0.spec.spiffe_id && self.0.spec.selectors == other.0.spec.selectors
    }
}

impl Eq for ByContent {}

impl Hash for ByContent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.spec.spiffe_id.hash(state);
        self.0.spec.selectors.hash(state);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{sync::Arc, time::SystemTime};

    use super::{CHANGES_MIN, Change, Entry, EntryId, Snapshot};
    use crate::{registry::Draft, spiffe::TrustDomain};

    fn entry(number: u32) -> Entry {
        let draft = Draft {
            spiffe_id: format!("spiffe://example.org/{number}"),
            selectors: vec![format!("unix:uid:{number}")],
            ..Draft::default()
        };
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let spec = draft.check(&TrustDomain::parse("example.org").unwrap()).unwrap();
        Entry {
            id: EntryId::from_random(id),
            spec,
            revision: 1,
            created_at: SystemTime::UNIX_EPOCH,
            since: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn everything_is_filed_anew_after_many_changes_and_not_before() {
        let small = Snapshot::build(1, []);
        let changes: Vec<_> = (0..=4096).map(|number| Change::Create(entry(number))).collect();
        let (last, most) = changes.split_last().unwrap();
        assert_eq!(most.len(), CHANGES_MIN);
        let next = small.apply(2, most).unwrap();
        assert_eq!(next.changes, CHANGES_MIN);
        let next = next.apply(3, std::slice::from_ref(last)).unwrap();
        assert_eq!((next.changes, next.len(), next.revision()), (0, CHANGES_MIN + 1, 3));
        // A large registry waits until half of it has changed.
        let large = Snapshot::build(1, (100_000..109_000).map(|number| Arc::new(entry(number))));
        let next = large.apply(2, &changes).unwrap();
        assert_eq!(next.changes, CHANGES_MIN + 1);
        let more: Vec<_> = (5000..5403).map(|number| Change::Create(entry(number))).collect();
        assert_eq!(large.apply(2, &[changes, more].concat()).unwrap().changes, 4500);
    }
}

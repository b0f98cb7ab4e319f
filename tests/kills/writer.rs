//! One who writes entries and keeps a book of what was acknowledged.

use std::{collections::BTreeMap, io, path::Path};

use super::{
    chance::Chance,
    common::messages::{Admin, Apply, Create, Delete, Entry, Nothing, Update},
};

/// What a writer knows: what was acknowledged, and the one thing that was not.
pub(super) struct Writer {
    name: String,
    next: u64,
    chance: Chance,
    /// By id.
    pub(super) acknowledged: BTreeMap<String, Entry>,
    doubt: Option<Doubt>,
    pub(super) written: u64,
}

/// What was asked for when the daemon died: done as a whole, or not at all.
enum Doubt {
    Created(Vec<Entry>),
    Updated(Entry),
    Deleted(String),
}

/// A writer's entries, so that a list of them stays short.
const ENTRIES_MAX: usize = 40;

impl Writer {
    pub(super) fn new(name: &str, chance: Chance) -> Self {
        Self { name: name.to_owned(), next: 0, chance, acknowledged: BTreeMap::new(), doubt: None, written: 0 }
    }

    /// Writes until the daemon answers no more. A refusal is a fault: there is no reason for one.
    pub(super) fn write_until_it_dies(&mut self, home: &Path) {
        let Ok(mut admin) = Admin::connect(home) else { return };
        while self.write_one(&mut admin).is_ok() {}
    }

    fn write_one(&mut self, admin: &mut Admin) -> io::Result<()> {
        let ids: Vec<_> = self.acknowledged.keys().cloned().collect();
        let chosen = usize::try_from(self.chance.below(64)).expect("an index") % ids.len().max(1);
        match (ids.get(chosen).cloned(), self.chance.below(4)) {
            (Some(id), 0) if ids.len() > 4 => self.delete(admin, id),
            (Some(id), _) if ids.len() > ENTRIES_MAX => self.delete(admin, id),
            (Some(id), 1) => self.update(admin, &id),
            (_, 2) => self.apply(admin),
            _ => self.create(admin),
        }?;
        self.written += 1;
        Ok(())
    }

    /// With everything that an entry can have several of, so that a half of it would be seen.
    fn entry(&mut self) -> Entry {
        self.next += 1;
        let number = self.next;
        Entry {
            spiffe_id: format!("spiffe://example.org/{}/{number}", self.name),
            selectors: vec![
                format!("unix:gid:{number}"),
                "unix:uid:4294967294".to_owned(),
                format!("unix:user:{}", self.name),
            ],
            x509_ttl_seconds: 60 + number,
            dns_names: vec![format!("a{number}.example.org"), format!("b{number}.example.org")],
            ..Entry::default()
        }
    }

    fn create(&mut self, admin: &mut Admin) -> io::Result<()> {
        let entry = self.entry();
        self.doubt = Some(Doubt::Created(vec![entry.clone()]));
        let created: Entry = accepted(admin.call("Entries/Create", &Create { entry: Some(entry) })?);
        self.acknowledge(created);
        Ok(())
    }

    fn apply(&mut self, admin: &mut Admin) -> io::Result<()> {
        let entries: Vec<_> = (0..3).map(|_| self.entry()).collect();
        self.doubt = Some(Doubt::Created(entries.clone()));
        // The answer has `created` where the question has `create`.
        let created: Apply = accepted(admin.call("Entries/Apply", &Apply { create: entries })?);
        assert_eq!(created.create.len(), 3);
        created.create.into_iter().for_each(|entry| self.acknowledge(entry));
        Ok(())
    }

    fn update(&mut self, admin: &mut Admin, id: &str) -> io::Result<()> {
        let mut entry = self.acknowledged[id].clone();
        entry.x509_ttl_seconds += 1;
        entry.dns_names.push(format!("c{}.example.org", entry.x509_ttl_seconds));
        entry.dns_names.truncate(5);
        self.doubt = Some(Doubt::Updated(entry.clone()));
        let request = Update { entry: Some(entry.clone()), expected_revision: entry.revision };
        let updated: Entry = accepted(admin.call("Entries/Update", &request)?);
        self.acknowledge(updated);
        Ok(())
    }

    fn delete(&mut self, admin: &mut Admin, id: String) -> io::Result<()> {
        self.doubt = Some(Doubt::Deleted(id.clone()));
        let _: Nothing = accepted(admin.call("Entries/Delete", &Delete { id: id.clone() })?);
        self.acknowledged.remove(&id);
        self.doubt = None;
        Ok(())
    }

    fn acknowledge(&mut self, entry: Entry) {
        self.acknowledged.insert(entry.id.clone(), entry);
        self.doubt = None;
    }

    /// Compares the book with what the daemon has, and makes good what was in doubt.
    pub(super) fn reconcile(&mut self, all: &[Entry]) {
        let prefix = format!("spiffe://example.org/{}/", self.name);
        let mut there: BTreeMap<_, _> = all
            .iter()
            .filter(|entry| entry.spiffe_id.starts_with(&prefix))
            .map(|entry| (entry.id.clone(), entry.clone()))
            .collect();
        match self.doubt.take() {
            Some(Doubt::Deleted(id)) if !there.contains_key(&id) => drop(self.acknowledged.remove(&id)),
            Some(Doubt::Updated(entry)) => {
                let found = there.get(&entry.id).expect("an entry that is updated stays");
                if found.x509_ttl_seconds == entry.x509_ttl_seconds {
                    let expected = Entry { revision: entry.revision + 1, ..entry };
                    assert_eq!(sorted(found), sorted(&expected), "an update is there as a whole");
                    self.acknowledged.insert(expected.id.clone(), found.clone());
                }
            }
            Some(Doubt::Created(entries)) => {
                let found: Vec<_> = there
                    .values()
                    .filter(|one| entries.iter().any(|entry| entry.spiffe_id == one.spiffe_id))
                    .cloned()
                    .collect();
                assert!(
                    found.is_empty() || found.len() == entries.len(),
                    "{} of {} entries are there",
                    found.len(),
                    entries.len()
                );
                for one in found {
                    let entry = entries.iter().find(|entry| entry.spiffe_id == one.spiffe_id).unwrap();
                    let expected = Entry { id: one.id.clone(), revision: 1, ..entry.clone() };
                    assert_eq!(sorted(&one), sorted(&expected), "an entry is there as a whole");
                    self.acknowledged.insert(one.id.clone(), one);
                }
            }
            _ => {}
        }
        for (id, entry) in &self.acknowledged {
            let found = there.remove(id).unwrap_or_else(|| panic!("lost, though acknowledged: {entry:?}"));
            assert_eq!(sorted(&found), sorted(entry), "changed, though nobody did");
        }
        assert!(there.is_empty(), "nobody made these, or they were deleted: {there:?}");
    }
}

/// The order of selectors is the daemon's.
fn sorted(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    entry.selectors.sort();
    entry
}

/// A daemon that dies says nothing; one that stops says Unavailable. Anything else is a fault.
fn accepted<T>(result: Result<T, super::common::h2raw::Answer>) -> T {
    result.unwrap_or_else(|answer| panic!("refused: {:?} {}", answer.code(), answer.words()))
}

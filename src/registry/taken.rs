//! Which SPIFFE IDs are said literally, and which templates there are: so that nobody becomes somebody else by a value.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    entry::Entry, error::Error, filing::Count, name::Name, order::Ordered, shards::Shards, template::Template,
};
use crate::spiffe::Id;

/// Different templates in one registry. A template stands for many entries; each new one is compared with all others.
pub(super) const TEMPLATES_MAX: usize = 1_024;

/// What is taken. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// By how many entries each is said.
    templates: Arc<BTreeMap<Template, u32>>,
    /// By how many entries each is said. Kept while there are templates: without them nobody asks.
    ids: Option<Shards<Id, u32>>,
}

impl Taken {
    /// Of all these entries, which were accepted once.
    pub(super) fn of(entries: &[Arc<Entry>]) -> Self {
        let mut taken = Self::default();
        for template in entries.iter().filter_map(|entry| entry.spec.spiffe_id.template()) {
            *Arc::make_mut(&mut taken.templates).entry(template.clone()).or_default() += 1;
        }
        if !taken.templates.is_empty() {
            taken.ids = Some(ids(entries.iter()));
        }
        taken
    }

    /// Whether an entry says this ID literally.
    pub(super) fn has(&self, id: &Id) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.at(id).is_some())
    }

    /// Whether a template could give this ID to somebody.
    pub(super) fn could_be_made(&self, id: &Id) -> bool {
        self.templates.keys().any(|template| template.could_give(id))
    }

    /// An entry comes, to these others.
    ///
    /// # Errors
    /// When it is one template too many, or one that could give the IDs of another.
    pub(super) fn insert(&mut self, entry: &Entry, others: &Ordered) -> Result<(), Error> {
        match (&entry.spec.spiffe_id, &mut self.ids) {
            (Name::Id(id), Some(ids)) => note(ids, id, Count::Up),
            (Name::Id(_), None) => {}
            (Name::Template(template), _) => {
                self.check(template, others)?;
                *Arc::make_mut(&mut self.templates).entry(template.clone()).or_default() += 1;
                self.ids.get_or_insert_with(|| ids(others.iter()));
            }
        }
        Ok(())
    }

    /// An entry goes.
    pub(super) fn remove(&mut self, entry: &Entry) {
        match (&entry.spec.spiffe_id, &mut self.ids) {
            (Name::Id(id), Some(ids)) => note(ids, id, Count::Down),
            (Name::Id(_), None) => {}
            (Name::Template(template), _) => {
                let templates = Arc::make_mut(&mut self.templates);
                if let Some(number) = templates.get_mut(template) {
                    Count::Down.apply(number);
                }
                templates.retain(|_, number| *number > 0);
                if templates.is_empty() {
                    self.ids = None;
                }
            }
        }
    }

    fn check(&self, new: &Template, others: &Ordered) -> Result<(), Error> {
        if self.templates.contains_key(new) {
            return Ok(());
        }
        if self.templates.len() >= TEMPLATES_MAX {
            return Err(Error::TooManyTemplates);
        }
        let Some((template, _)) = self.templates.iter().find(|(other, _)| other.overlaps(new)) else { return Ok(()) };
        let mut others = others.iter().filter(|entry| entry.spec.spiffe_id.template() == Some(template));
        match others.next() {
            Some(existing) => Err(Error::Overlap { existing: existing.id.clone(), template: template.to_string() }),
            None => Ok(()),
        }
    }
}

fn ids<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>) -> Shards<Id, u32> {
    let mut ids = Shards::with_capacity(0);
    for entry in entries {
        if let Name::Id(id) = &entry.spec.spiffe_id {
            note(&mut ids, id, Count::Up);
        }
    }
    ids
}

fn note(ids: &mut Shards<Id, u32>, id: &Id, count: Count) {
    let Some(shard) = ids.shard_mut(id) else { return };
    let number = shard.entry(id.clone()).or_default();
    count.apply(number);
    if *number == 0 {
        shard.remove(id);
    }
}

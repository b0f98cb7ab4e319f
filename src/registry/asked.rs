//! What entries ask of a caller's groups and names. A caller may have 65,536 groups, and a directory may be slow to name
//! one, so what nobody asks is neither looked up nor kept.
//!
//! An entry that names a uid as well, or a gid, asks nothing of callers with another one.

use std::{collections::BTreeMap, sync::Arc};

use super::{entry::Entry, filing::Count, selector::Selector, shards::Shards};

/// What the entries of one snapshot ask of one caller. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Whether an entry names a user by name, or gives identities that are made of the name.
    pub(crate) user: bool,
    /// The same of a primary group.
    pub(crate) group: bool,
    sets: [Option<Arc<Groups>>; 3],
}

/// Two that are equal ask the same. It is small, so that whoever was asked can keep it; and it may differ where nothing
/// else does, which costs another look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    user: bool,
    group: bool,
    changed: [Option<u64>; 3],
}

impl Asked {
    /// By which it is told whether a later snapshot asks the same.
    pub(crate) fn mark(&self) -> Mark {
        let changed = self.sets.each_ref().map(|set| set.as_ref().map(|set| set.changed));
        Mark { user: self.user, group: self.group, changed }
    }

    /// Whether an entry names any supplementary group, so that they must be read at all.
    pub(crate) fn has_groups(&self) -> bool {
        self.sets().next().is_some()
    }

    /// Whether an entry names this supplementary group by its number.
    pub(crate) fn has_gid(&self, gid: u32) -> bool {
        self.sets().any(|set| set.gids.contains_key(&gid))
    }

    /// Whether an entry has this selector, which names a supplementary group by its name.
    pub(crate) fn has_named(&self, selector: &Selector) -> bool {
        self.sets().any(|set| set.named.contains_key(selector))
    }

    /// The names of supplementary groups, as they stand in entries. One may come more than once.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sets().flat_map(|set| set.named.keys()).filter_map(|selector| selector.unix(NAME))
    }

    fn sets(&self) -> impl Iterator<Item = &Groups> {
        self.sets.iter().flatten().map(Arc::as_ref)
    }
}

/// Supplementary groups, each with how many entries name it.
#[derive(Clone, Debug, Default)]
struct Groups {
    gids: BTreeMap<u32, u32>,
    named: BTreeMap<Selector, u32>,
    /// At which revision the last one came or went.
    changed: u64,
}

impl Groups {
    fn note(&mut self, entry: &Entry, count: Count, revision: u64) {
        for selector in &entry.spec.selectors {
            if let Some(gid) = selector.unix(GID).and_then(|gid| gid.parse().ok()) {
                self.changed = if tally(&mut self.gids, gid, count) { revision } else { self.changed };
            } else if selector.unix(NAME).is_some() {
                self.changed = if tally(&mut self.named, selector.clone(), count) { revision } else { self.changed };
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.gids.is_empty() && self.named.is_empty()
    }
}

/// Answers whether the key came or went.
fn tally<K: Ord + Clone>(counts: &mut BTreeMap<K, u32>, key: K, count: Count) -> bool {
    let number = counts.entry(key.clone()).or_default();
    let before = *number;
    count.apply(number);
    let after = *number;
    if after == 0 {
        counts.remove(&key);
    }
    (before == 0) != (after == 0)
}

/// Of whom an entry asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whom {
    Uid(u32),
    Gid(u32),
    Anybody,
}

impl Whom {
    fn of(entry: &Entry) -> Self {
        let number = |name| entry.spec.selectors.iter().find_map(|selector| selector.unix(name)?.parse().ok());
        number("uid").map(Self::Uid).or_else(|| number("gid").map(Self::Gid)).unwrap_or(Self::Anybody)
    }
}

/// All that the entries of a snapshot ask.
#[derive(Clone, Debug)]
pub(super) struct Questions {
    users: u32,
    groups: u32,
    sets: Shards<Whom, Arc<Groups>>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { users: 0, groups: 0, sets: Shards::with_capacity(0) }
    }
}

impl Questions {
    /// An entry comes or goes.
    pub(super) fn note(&mut self, entry: &Entry, count: Count, revision: u64) {
        let names = |name| entry.spec.asks_for(name);
        if names("user") {
            count.apply(&mut self.users);
        }
        if names("group") {
            count.apply(&mut self.groups);
        }
        if !names(GID) && !names(NAME) {
            return;
        }
        let whom = Whom::of(entry);
        let Some(shard) = self.sets.shard_mut(&whom) else { return };
        let set = Arc::make_mut(shard.entry(whom).or_default());
        set.note(entry, count, revision);
        if set.is_empty() {
            shard.remove(&whom);
        }
    }

    pub(super) fn of(&self, uid: u32, gid: u32) -> Asked {
        let sets = [Whom::Uid(uid), Whom::Gid(gid), Whom::Anybody].map(|whom| Some(Arc::clone(self.sets.at(&whom)?.1)));
        Asked { user: self.users > 0, group: self.groups > 0, sets }
    }
}

const GID: &str = "supplementary_gid";
const NAME: &str = "supplementary_group";

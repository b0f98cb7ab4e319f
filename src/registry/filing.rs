//! Where entries are filed: each under one of its selectors, so that a caller's selectors lead to all that
//! can match it.
//!
//! An entry is filed under its rarest selector that is not of the image, because which kinds of image
//! selectors to ask for must be known before any is. Entries of image selectors alone are filed under the
//! one that costs least to read. Many entries may share a selector (one uid, twenty thousand programs);
//! then each carries a mark of its next rarest selector, and nearly all are passed over by one look.

use std::sync::Arc;

use super::{
    entry::Entry,
    image::{Image, ImageSet},
    selector::Selector,
    selectors::Selectors,
    shards::{Shards, quick},
};

/// What is known under one selector.
#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    /// How many entries could be filed here, and perhaps are.
    pub(super) named_by: u32,
    pub(super) filed: Pile,
}

/// The entries filed under one selector. Most have one.
#[derive(Clone, Debug, Default)]
pub(super) enum Pile {
    #[default]
    None,
    One(Filed),
    Many(Arc<Vec<Filed>>),
}

/// An entry in its folder, with what can be told without opening it.
#[derive(Clone, Debug)]
pub(super) struct Filed {
    pub(super) entry: Arc<Entry>,
    /// The mark of its next rarest selector; 0 where it has no other.
    second: u32,
    images: ImageSet,
    /// Whether it has other selectors that are not of the image.
    has_others: bool,
}

/// What a caller has, in a form that rules most entries out at one look.
pub(super) struct Sieve([u64; 64]);

impl Sieve {
    pub(super) fn of(have: &Selectors) -> Self {
        let mut sieve = Self([0; 64]);
        // What has no second selector always passes.
        for mark in have.iter().map(mark).chain([0]) {
            let (word, bit) = Self::bit(mark);
            if let Some(word) = sieve.0.get_mut(word) {
                *word |= bit;
            }
        }
        sieve
    }

    fn bit(mark: u32) -> (usize, u64) {
        (usize::try_from(mark >> 6 & 63).unwrap_or(0), 1 << (mark & 63))
    }

    fn passes(&self, mark: u32) -> bool {
        let (word, bit) = Self::bit(mark);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// Thirty-two bits of a selector; 0 is kept for none.
fn mark(selector: &Selector) -> u32 {
    u32::try_from(quick(selector) & 0xffff_ffff).unwrap_or(0).max(1)
}

impl Pile {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Filed> {
        match self {
            Self::None => [].iter(),
            Self::One(filed) => std::slice::from_ref(filed).iter(),
            Self::Many(filed) => filed.iter(),
        }
    }

    fn push(&mut self, filed: Filed) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(filed),
            Self::One(first) => Self::Many(Arc::new(vec![first, filed])),
            Self::Many(mut many) => {
                Arc::make_mut(&mut many).push(filed);
                Self::Many(many)
            }
        };
    }

    /// Takes an entry out, if it is here.
    fn remove(&mut self, entry: &Entry) {
        match self {
            Self::One(filed) if filed.entry.id == entry.id => *self = Self::None,
            Self::Many(many) => {
                if let Some(at) = many.iter().position(|filed| filed.entry.id == entry.id) {
                    Arc::make_mut(many).swap_remove(at);
                }
            }
            _ => {}
        }
    }
}

impl Filed {
    /// Whether the caller has all of its selectors.
    pub(super) fn matches(&self, have: &Selectors, sieve: &Sieve) -> bool {
        self.passes(sieve) && have.contains_all(&self.entry.spec.selectors)
    }

    /// Whether it is worth opening. All that match pass; nearly all others do not.
    pub(super) fn passes(&self, sieve: &Sieve) -> bool {
        sieve.passes(self.second)
    }

    /// The kinds of image selectors that this entry waits for, when those of the `known` kinds were read:
    /// none unless the caller has all of its other selectors.
    pub(super) fn waits_for(&self, have: &Selectors, known: ImageSet) -> ImageSet {
        let wanted: ImageSet = self.images.iter().filter(|image| !known.contains(*image)).collect();
        let undecided = |selector: &&Selector| selector.image().is_some_and(|image| wanted.contains(image));
        let all_read = !self.has_others && known.is_empty();
        match all_read || have.contains_all(self.entry.spec.selectors.iter().filter(|s| !undecided(s))) {
            true => wanted,
            false => ImageSet::empty(),
        }
    }

    /// As [`Filed::images`] of its entry, without opening it.
    pub(super) fn images(&self) -> ImageSet {
        self.images
    }
}

/// All folders, by their selectors.
#[derive(Clone, Debug)]
pub(super) struct Cabinet {
    folders: Shards<Selector, Folder>,
    /// Of entries with image selectors alone, how many name each kind: outer, by the kind they are filed
    /// under.
    image_only: [[u32; 3]; 3],
}

/// Whether something comes or goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Up,
    Down,
}

impl Count {
    pub(super) fn apply(self, number: &mut u32) {
        *number = match self {
            Self::Up => number.saturating_add(1),
            Self::Down => number.saturating_sub(1),
        };
    }
}

impl Cabinet {
    /// With room for about this many entries.
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self { folders: Shards::with_capacity(entries), image_only: [[0; 3]; 3] }
    }

    /// What is filed under one of the caller's selectors.
    pub(super) fn filed_under(&self, selector: &Selector) -> std::slice::Iter<'_, Filed> {
        self.folders.at(selector).map_or([].iter(), |(_, folder)| folder.filed.iter())
    }

    /// The kinds that entries of image selectors alone name, those aside that are filed under a known kind.
    pub(super) fn image_only(&self, known: ImageSet) -> ImageSet {
        let under = Image::ALL.iter().zip(&self.image_only).filter(|(filed, _)| !known.contains(**filed));
        under
            .flat_map(|(_, named)| Image::ALL.iter().zip(named))
            .filter(|(image, number)| **number > 0 && !known.contains(**image))
            .map(|(image, _)| *image)
            .collect()
    }

    /// Counts the selectors that the entry could be filed under, which [`Cabinet::file`] goes by, and lets
    /// it share their texts with the entries that are here.
    pub(super) fn count(&mut self, entry: &mut Arc<Entry>) {
        self.count_kinds(entry, Count::Up);
        match Arc::get_mut(entry) {
            Some(entry) if keys(entry).all(|key| key.image().is_none()) => {
                for key in entry.spec.selectors.iter_mut().filter(|selector| selector.image().is_none()) {
                    *key = self.named(key);
                }
            }
            // An entry that others hold as well keeps its own texts; one of images alone has none to share.
            _ => keys(entry).for_each(|key| drop(self.named(key))),
        }
    }

    /// Counts a selector, and answers it with the text that is in memory.
    fn named(&mut self, selector: &Selector) -> Selector {
        let Some(shard) = self.folders.shard_mut(selector) else { return selector.clone() };
        let slot = shard.entry(selector.clone());
        let shared = slot.key().clone();
        let folder = slot.or_default();
        folder.named_by = folder.named_by.saturating_add(1);
        shared
    }

    /// Files an entry whose selectors were counted.
    pub(super) fn file(&mut self, entry: &Arc<Entry>) {
        let mut keys: Vec<_> = keys(entry).map(|key| (self.rank(key), key)).collect();
        keys.sort_by_key(|(rank, _)| *rank);
        let mut keys = keys.into_iter().map(|(_, key)| key);
        let Some(under) = keys.next() else { return };
        let next = keys.next();
        // A selector of the image says more than most others do.
        let of_image = entry.spec.selectors.iter().find(|other| *other != under && other.image().is_some());
        let filed = Filed {
            entry: Arc::clone(entry),
            second: of_image.or(next).map_or(0, mark),
            images: entry.spec.images(),
            has_others: next.is_some(),
        };
        if let Some(folder) = self.folders.shard_mut(under).and_then(|shard| shard.get_mut(under)) {
            folder.filed.push(filed);
        }
    }

    /// How many entries could be filed under this selector.
    fn rank(&self, key: &Selector) -> u32 {
        self.folders.at(key).map_or(0, |(_, folder)| folder.named_by)
    }

    /// Takes an entry out and its selectors off the counts.
    pub(super) fn remove(&mut self, entry: &Entry) {
        for key in keys(entry) {
            let Some(shard) = self.folders.shard_mut(key) else { continue };
            let Some(folder) = shard.get_mut(key) else { continue };
            // It was filed under what was rarest then, so each of them is asked.
            folder.filed.remove(entry);
            folder.named_by = folder.named_by.saturating_sub(1);
            if folder.named_by == 0 {
                shard.remove(key);
            }
        }
        self.count_kinds(entry, Count::Down);
    }

    /// Gives back what was reserved for growing.
    pub(super) fn shrink(&mut self) {
        self.folders.shrink();
    }

    fn count_kinds(&mut self, entry: &Entry, count: Count) {
        if entry.spec.selectors.iter().any(|selector| selector.image().is_none()) {
            return;
        }
        let Some(home) = image_home(entry).and_then(Selector::image) else { return };
        let images = entry.spec.images();
        let under = Image::ALL.iter().zip(&mut self.image_only).filter(|(filed, _)| **filed == home);
        for (image, number) in under.flat_map(|(_, named)| Image::ALL.iter().zip(named)) {
            if images.contains(*image) {
                count.apply(number);
            }
        }
    }
}

/// The selectors that an entry can be filed under: those not of the image; where there is none, the one of
/// the image that costs least to read.
fn keys(entry: &Entry) -> impl Iterator<Item = &Selector> {
    let selectors = &entry.spec.selectors;
    let only = if selectors.iter().all(|selector| selector.image().is_some()) { image_home(entry) } else { None };
    only.into_iter().chain(selectors.iter().filter(|selector| selector.image().is_none()))
}

/// Of image selectors the one that costs least to read: a path, then a verity digest, then a hash.
fn image_home(entry: &Entry) -> Option<&Selector> {
    entry.spec.selectors.iter().min_by_key(|selector| match selector.image() {
        Some(Image::Path) => 0,
        Some(Image::Verity) => 1,
        Some(Image::Sha256) => 2,
        None => 3,
    })
}

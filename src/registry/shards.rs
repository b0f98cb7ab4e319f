//! A map in many parts, of which a change copies only those that it touches. So the next snapshot costs
//! microseconds and shares nearly all of its memory with the one before.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
    sync::Arc,
};

/// How many parts there are: at 100,000 entries each has about 200, a few microseconds to copy.
const SHARDS: usize = 512;

/// One part.
pub(super) type Shard<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// A map whose clones share what neither has changed.
#[derive(Debug)]
pub(super) struct Shards<K, V>(Vec<Arc<Shard<K, V>>>);

impl<K, V> Clone for Shards<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Shards<K, V> {
    /// With room for this many.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        match capacity / SHARDS {
            // All parts are one and the same until they are written to.
            0 => Self(vec![Arc::default(); SHARDS]),
            each => {
                let part = || Arc::new(Shard::with_capacity_and_hasher(each, BuildHasherDefault::default()));
                Self((0..SHARDS).map(|_| part()).collect())
            }
        }
    }

    /// What is kept under this key, and the key as it is kept.
    pub(super) fn at<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get(place(key))?.get_key_value(key)
    }

    /// The part that holds this key, to be changed; copied first if others share it.
    pub(super) fn shard_mut<Q: Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut Shard<K, V>> {
        self.0.get_mut(place(key)).map(Arc::make_mut)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if let Some(shard) = self.shard_mut(&key) {
            shard.insert(key, value);
        }
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(shard) = self.shard_mut(key) {
            shard.remove(key);
        }
    }

    /// All that is kept, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|shard| shard.iter())
    }

    /// Gives back what was reserved for growing.
    pub(super) fn shrink(&mut self) {
        for shard in &mut self.0 {
            if let Some(shard) = Arc::get_mut(shard) {
                shard.shrink_to_fit();
            }
        }
    }
}

/// In which part a key is: bits of its hash that the part itself does not go by.
fn place<Q: Hash + ?Sized>(key: &Q) -> usize {
    usize::try_from(quick(key) >> 32).unwrap_or(0) % SHARDS
}

/// The hash of a key, as the parts have it.
pub(super) fn quick<Q: Hash + ?Sized>(key: &Q) -> u64 {
    BuildHasherDefault::<Quick>::default().hash_one(key)
}

/// A quick hash without a secret. Only administrators put keys into these maps; callers only look theirs
/// up, so nobody can pile colliding keys up that does not hold the registry already.
#[derive(Default)]
pub(super) struct Quick(u64);

impl Quick {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

    fn step(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(Self::ODD);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.step(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.step(rest.iter().fold(1, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.step(byte.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.step(u64::try_from(number).unwrap_or(u64::MAX));
    }

    fn finish(&self) -> u64 {
        // The low bits of a product know only the low bits of its factors.
        let high = self.0 ^ (self.0 >> 32);
        let mixed = high.wrapping_mul(Self::ODD);
        mixed ^ (mixed >> 29)
    }
}

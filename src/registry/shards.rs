//! A map in many parts, of which a change copies only those that it touches. So the next snapshot costs
//! microseconds and shares nearly all of its memory with the one before.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, sync::Arc};

/// How many parts there are: at 100,000 entries each has about 200, a few microseconds to copy.
const SHARDS: usize = 512;

/// Says where a key belongs. It is cheap, and the same for the borrowed form of a key.
pub(super) trait Spread {
    /// Any number, well spread.
    fn spread(&self) -> u64;
}

/// A map whose clones share what neither has changed.
#[derive(Debug)]
pub(super) struct Shards<K, V>(Vec<Arc<HashMap<K, V>>>);

impl<K, V> Clone for Shards<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Eq + Hash + Clone + Spread, V: Clone> Shards<K, V> {
    pub(super) fn new() -> Self {
        // All parts are one and the same until they are written to.
        Self(vec![Arc::default(); SHARDS])
    }

    fn shard<Q: Spread + ?Sized>(&self, key: &Q) -> Option<&HashMap<K, V>> {
        self.0.get(place(key)).map(Arc::as_ref)
    }

    pub(super) fn at<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Spread + ?Sized,
    {
        self.shard(key)?.get_key_value(key)
    }

    /// The part that holds this key, to be changed; copied first if others share it.
    pub(super) fn shard_mut<Q>(&mut self, key: &Q) -> Option<&mut HashMap<K, V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Spread + ?Sized,
    {
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
        Q: Eq + Hash + Spread + ?Sized,
    {
        if let Some(shard) = self.shard_mut(key) {
            shard.remove(key);
        }
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

fn place<Q: Spread + ?Sized>(key: &Q) -> usize {
    // The high bits of a product depend on all bits of its factors.
    usize::try_from(key.spread() >> 48).unwrap_or(0) % SHARDS
}

/// A quick hash of a text, for spreading only: whoever can choose the texts gains nothing, since only
/// administrators put keys into a map, and within a part the map's own keyed hash decides.
pub(super) fn spread_text(text: &str) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let step = |sum: u64, word: u64| (sum.rotate_left(23) ^ word).wrapping_mul(ODD);
    let sum = words
        .iter()
        .fold(u64::try_from(text.len()).unwrap_or(u64::MAX), |sum, word| step(sum, u64::from_le_bytes(*word)));
    let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let mixed = step(sum, last);
    (mixed ^ (mixed >> 32)).wrapping_mul(ODD)
}

//! Which proofs were accepted already: sets of 128-bit hashes in buckets of time, of bounded size.
//!
//! A proof is remembered until it is too old to be accepted anyhow. When the store is full, or one key has its quota,
//! the proof is refused: forgetting another would let that one pass again. Its memory grows with what is in it and is
//! given back bucket by bucket.
//!
//! Hashes are keyed with a secret of the process, so that nobody can choose where they fall.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::spiffe::jose::sha256;

use super::Thumbprint;

/// The most entries, unless somebody says otherwise.
pub const ENTRIES_MAX: usize = 4_000_000;

/// The accepted proofs of one verifier.
pub struct Replay {
    secret: Zeroizing<[u8; 32]>,
    limits: Limits,
    /// By the number of the bucket: its end divided by its width.
    buckets: BTreeMap<u64, Bucket>,
    entries: usize,
    counts: Counts,
    /// All buckets up to this number were given back.
    forgotten: u64,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all keys together.
    pub entries_max: usize,
    /// Of one key.
    pub entries_per_key_max: usize,
    /// The longest time that a proof can be good.
    pub window: Duration,
}

/// Why a proof was not remembered, and must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It was accepted before.
    #[error("it was used before")]
    Replayed,
    /// There is no room for any proof.
    #[error("the store of used proofs is full")]
    Full,
    /// This key has used as much room as one key may.
    #[error("the key has used as many proofs as one key may in this time")]
    Quota,
    /// It is so old that it may have been forgotten.
    #[error("it is too old to tell whether it was used before")]
    Forgotten,
}

impl Replay {
    /// Empty. The secret is 256 random bits of this process.
    pub fn new(secret: Zeroizing<[u8; 32]>, limits: Limits) -> Self {
        let (buckets, counts) = (BTreeMap::new(), Counts::default());
        Self { secret, limits, buckets, entries: 0, counts, forgotten: 0 }
    }

    /// Remembers the proof of this key and `jti`, which nobody accepts after `end`, if it was not remembered already.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed.
    pub fn insert(
        &mut self,
        key: &Thumbprint,
        token_id: &str,
        end: SystemTime,
        now: SystemTime,
    ) -> Result<(), Refused> {
        self.forget(now);
        let number = self.number(end);
        if number <= self.forgotten {
            return Err(Refused::Forgotten);
        }
        let hash = first_half(sha256(&[self.secret.as_slice(), key.as_bytes(), token_id.as_bytes()]));
        if self.buckets.values().any(|bucket| bucket.contains(hash)) {
            return Err(Refused::Replayed);
        }
        if self.entries >= self.limits.entries_max {
            return Err(Refused::Full);
        }
        let cells = cells(first_half(sha256(&[self.secret.as_slice(), key.as_bytes()])));
        if self.counts.of(cells) >= self.limits.entries_per_key_max {
            return Err(Refused::Quota);
        }
        let bucket = self.buckets.entry(number).or_default();
        bucket.insert(hash);
        bucket.counts.add(cells);
        self.counts.add(cells);
        self.entries += 1;
        Ok(())
    }

    /// Gives back what nobody accepts any more.
    pub fn forget(&mut self, now: SystemTime) {
        let over = self.number(now).saturating_sub(1);
        while let Some(first) = self.buckets.first_entry().filter(|first| *first.key() <= over) {
            let bucket = first.remove();
            self.entries -= bucket.entries;
            self.counts.subtract(&bucket.counts);
        }
        self.forgotten = self.forgotten.max(over);
    }

    /// Empty again, as after a start: whatever was accepted before must be refused in another way.
    pub fn clear(&mut self) {
        self.buckets = BTreeMap::new();
        (self.entries, self.counts, self.forgotten) = (0, Counts::default(), 0);
    }

    /// How many proofs it remembers.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it remembers none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The bucket for what ends at this time: it is given back only after that.
    fn number(&self, time: SystemTime) -> u64 {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = since_1970.as_nanos() / self.width().as_nanos().max(1);
        u64::try_from(nanoseconds).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// A quarter of the window, so that five or six buckets live.
    fn width(&self) -> Duration {
        (self.limits.window / 4).max(Duration::from_secs(1))
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replay({} entries)", self.entries)
    }
}

/// What ends within one stretch of time. Sorted shards grow by little, are never moved as a whole, and have 16 bytes for
/// an entry and a quarter more at most.
#[derive(Default)]
struct Bucket {
    shards: Vec<Vec<u128>>,
    entries: usize,
    counts: Counts,
}

/// Of a bucket. A million entries in one make shards of 256.
const SHARDS: usize = 4_096;

impl Bucket {
    fn contains(&self, hash: u128) -> bool {
        self.shards.get(shard(hash)).is_some_and(|shard| shard.binary_search(&hash).is_ok())
    }

    fn insert(&mut self, hash: u128) {
        self.shards.resize_with(SHARDS, Vec::new);
        let Some(shard) = self.shards.get_mut(shard(hash)) else { return };
        if let Err(place) = shard.binary_search(&hash) {
            if shard.len() == shard.capacity() {
                shard.reserve_exact(shard.len() / 4 + 1);
            }
            shard.insert(place, hash);
            self.entries += 1;
        }
    }
}

/// The highest bits.
fn shard(hash: u128) -> usize {
    usize::try_from(hash >> (128 - SHARDS.trailing_zeros())).unwrap_or_default()
}

/// How many entries each key has: four numbers for a key, each of which it shares with some others, and of which the
/// least is the best guess. It is never too low, and too high only for a key that shares all four with greater ones.
#[derive(Default)]
struct Counts(Vec<u32>);

/// Rows of a table of counts, and cells of a row.
const ROWS: usize = 4;
const CELLS: usize = 4_096;

/// The cells of a key, one in each row.
fn cells(key: u128) -> [usize; ROWS] {
    let mut row = 0;
    [0, 32, 64, 96].map(|shift| {
        let cell = usize::try_from((key >> shift) & 0xfff).unwrap_or_default() + row;
        row += CELLS;
        cell
    })
}

impl Counts {
    fn of(&self, cells: [usize; ROWS]) -> usize {
        let least = cells.iter().map(|cell| self.0.get(*cell).copied().unwrap_or_default()).min();
        usize::try_from(least.unwrap_or_default()).unwrap_or(usize::MAX)
    }

    fn add(&mut self, cells: [usize; ROWS]) {
        self.0.resize(ROWS * CELLS, 0);
        for cell in cells {
            if let Some(count) = self.0.get_mut(cell) {
                *count = count.saturating_add(1);
            }
        }
    }

    fn subtract(&mut self, others: &Self) {
        for (count, other) in self.0.iter_mut().zip(&others.0) {
            *count = count.saturating_sub(*other);
        }
    }
}

fn first_half(hash: [u8; 32]) -> u128 {
    hash.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{
        sync::{Barrier, Mutex},
        thread,
    };

    use super::*;
    use crate::oauth::tests::kit::{now, seconds};

    const WINDOW: Duration = Duration::from_secs(65);

    fn replay(entries_max: usize, entries_per_key_max: usize) -> Replay {
        Replay::new(Zeroizing::new([7; 32]), Limits { entries_max, entries_per_key_max, window: WINDOW })
    }

    fn key(number: u32) -> Thumbprint {
        Thumbprint::of_ed25519(&sha256(&[&number.to_be_bytes()]))
    }

    #[test]
    fn a_proof_is_new_once_for_as_long_as_it_is_good() {
        let mut replay = replay(100, 100);
        let end = now() + seconds(60);
        assert_eq!(replay.insert(&key(1), "jti", end, now()), Ok(()));
        for later in [0, 1, 30, 59, 60] {
            assert_eq!(replay.insert(&key(1), "jti", end, now() + seconds(later)), Err(Refused::Replayed), "{later}");
        }
        // The same id in a later proof of the same key, and another's.
        let later = now() + seconds(50);
        assert_eq!(replay.insert(&key(1), "jti", later + seconds(60), later), Err(Refused::Replayed));
        assert_eq!(replay.insert(&key(2), "jti", end, later), Ok(()));
        assert_eq!(replay.insert(&key(1), "jtj", end, later), Ok(()));
        // RFC 9449 has two proofs with one `jti`, 2680 s apart.
        let much_later = now() + seconds(2_680);
        assert_eq!(replay.insert(&key(1), "jti", much_later + seconds(60), much_later), Ok(()));
    }

    #[test]
    fn what_may_be_forgotten_is_refused() {
        let mut replay = replay(100, 100);
        assert_eq!(replay.insert(&key(1), "jti", now() + seconds(60), now()), Ok(()));
        replay.forget(now() + seconds(200));
        assert!(replay.is_empty());
        // The clock goes back: the proof would be good again, and nobody knows it.
        assert_eq!(replay.insert(&key(1), "jti", now() + seconds(60), now()), Err(Refused::Forgotten));
        replay.clear();
        assert_eq!(replay.insert(&key(1), "jti", now() + seconds(60), now()), Ok(()));
    }

    #[test]
    fn one_key_has_a_quota_and_all_have_a_limit() {
        let mut replay = replay(8, 2);
        let mut insert = |number: u32, id: &str, at: SystemTime| replay.insert(&key(number), id, at + WINDOW, at);
        for number in 0..4 {
            assert_eq!((insert(number, "a", now()), insert(number, "b", now())), (Ok(()), Ok(())), "{number}");
            // The limit of one is met first, of all at last.
            let reason = if number == 3 { Refused::Full } else { Refused::Quota };
            assert_eq!(insert(number, "c", now()), Err(reason), "{number}");
        }
        assert_eq!(insert(9, "a", now()), Err(Refused::Full));
        assert_eq!(insert(0, "a", now()), Err(Refused::Replayed), "a full store still knows what it has");
        let later = now() + WINDOW + seconds(20);
        assert_eq!(insert(9, "a", later), Ok(()));
        assert_eq!(insert(0, "a", later), Ok(()));
        assert_eq!(replay.len(), 2);
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut replay = replay(200_000, 200_000);
        let capacity = |replay: &Replay| {
            let shards = replay.buckets.values().flat_map(|bucket| &bucket.shards);
            shards.map(Vec::capacity).sum::<usize>() * size_of::<u128>()
        };
        for number in 0..200_000_u32 {
            let at = now() + Duration::from_millis(u64::from(number) / 4);
            assert_eq!(replay.insert(&key(number % 5), &number.to_string(), at + seconds(60), at), Ok(()), "{number}");
        }
        assert_eq!(replay.len(), 200_000);
        assert!(replay.buckets.len() <= 6, "{}", replay.buckets.len());
        assert!(capacity(&replay) <= 200_000 * 24, "{}", capacity(&replay));
        // 4,000,000 entries in at most six buckets.
        let fixed = 6 * (SHARDS * size_of::<Vec<u128>>() + ROWS * CELLS * size_of::<u32>());
        assert!(ENTRIES_MAX * 24 + fixed <= 128 << 20);
        replay.forget(now() + seconds(200));
        assert_eq!((replay.len(), capacity(&replay), replay.buckets.len()), (0, 0, 0));
        assert!(replay.counts.0.iter().all(|count| *count == 0));
    }

    #[test]
    fn of_many_at_once_one_is_first() {
        let (replay, barrier) = (Mutex::new(replay(100, 100)), Barrier::new(8));
        let wins: usize = thread::scope(|scope| {
            let one = || {
                barrier.wait();
                let outcome = replay.lock().unwrap().insert(&key(1), "jti", now() + seconds(60), now());
                usize::from(outcome.is_ok())
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
    }
}

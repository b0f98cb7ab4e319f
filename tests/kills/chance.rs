//! Moments and choices at random, from a seed that is printed.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// A small generator (xorshift64*): good enough to choose when to kill.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A seed that nobody chose.
    pub(super) fn seed() -> u64 {
        RandomState::new().hash_one("a seed")
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    /// Anything up to `most`.
    pub(super) fn moment(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(most.as_micros()).expect("a short time")))
    }
}

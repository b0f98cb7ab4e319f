//! How often something may happen.

use std::time::{Duration, Instant};

/// A second's worth of something, refilled as time passes.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    spent: f64,
    at: Option<Instant>,
}

impl Bucket {
    pub(super) fn take(&mut self, per_second: u32, now: Instant) -> bool {
        let per_second = f64::from(per_second);
        let passed = self.at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        self.spent = if passed >= Duration::from_secs(1) {
            0.0
        } else {
            (self.spent - passed.as_secs_f64() * per_second).max(0.0)
        };
        self.at = Some(now);
        let fits = self.spent + 1.0 <= per_second;
        if fits {
            self.spent += 1.0;
        }
        fits
    }

    /// Takes what may not be there; what is owed comes back within half a second.
    pub(super) fn overdraw(&mut self, amount: u32, per_second: u32) {
        self.spent = (self.spent + f64::from(amount)).min(f64::from(per_second) * 1.5);
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(1))
    }
}

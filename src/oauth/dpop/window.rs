//! From when until when a proof is good.

use std::time::{Duration, SystemTime};

use super::Error;

/// The longest time that a proof is good for, before or after its `iat`.
pub const WINDOW_MAX: Duration = Duration::from_secs(300);

/// How far a proof's `iat` may be from the verifier's clock. More than [`WINDOW_MAX`] counts as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How old it may be.
    pub age_max: Duration,
    /// How far ahead it may be.
    pub ahead_max: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { age_max: Duration::from_secs(60), ahead_max: Duration::from_secs(5) }
    }
}

impl Window {
    /// How long one proof can be good, by the verifier's clock.
    pub fn length(self) -> Duration {
        self.age_max.min(WINDOW_MAX) + self.ahead_max.min(WINDOW_MAX)
    }

    /// The last moment at which a proof of this time is good.
    pub fn end(self, issued_at: SystemTime) -> SystemTime {
        issued_at + self.age_max.min(WINDOW_MAX)
    }

    pub(super) fn check(self, issued_at: SystemTime, now: SystemTime) -> Result<(), Error> {
        if now > self.end(issued_at) {
            return Err(Error::Stale);
        }
        match issued_at > now + self.ahead_max.min(WINDOW_MAX) {
            true => Err(Error::Ahead),
            false => Ok(()),
        }
    }
}

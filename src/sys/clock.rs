//! Time as the daemon reads it. Nothing else in the house asks the system for the wall clock.

use std::time::{Duration, SystemTime};

/// A source of wall-clock time; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    #[cfg(test)]
    Tokio {
        epoch: SystemTime,
        start: tokio::time::Instant,
    },
}

impl Clock {
    /// The system's wall clock.
    pub(crate) fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that moves with tokio's, so that a paused test moves it by sleeping.
    /// It begins at 2026-01-01T00:00:00Z.
    #[cfg(test)]
    pub(crate) fn following_tokio() -> Self {
        Self(Source::Tokio {
            epoch: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
            start: tokio::time::Instant::now(),
        })
    }

    /// The present moment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub(crate) fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            #[cfg(test)]
            Source::Tokio { epoch, start } => *epoch + start.elapsed(),
        }
    }

    /// Sleeps until `deadline`, in bites: a laptop that was suspended meanwhile wakes up late by at most one.
    pub(crate) async fn sleep_until(&self, deadline: SystemTime) {
        while let Ok(left) = deadline.duration_since(self.now()) {
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(BITE)).await;
        }
    }
}

/// The longest sleep between two looks at the wall clock.
const BITE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_sleep_ends_at_its_deadline() {
        let clock = Clock::following_tokio();
        let deadline = clock.now() + Duration::from_secs(3_601);
        clock.sleep_until(deadline).await;
        let late = clock.now().duration_since(deadline).unwrap_or_default();
        assert!(late < Duration::from_secs(1), "woke {late:?} late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_in_the_past_does_not_sleep() {
        let clock = Clock::following_tokio();
        let before = clock.now();
        clock.sleep_until(before - Duration::from_secs(5)).await;
        assert_eq!(clock.now(), before);
    }
}

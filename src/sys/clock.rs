//! Time as the daemon reads it. Nothing else in the house asks the system for the wall clock.

#[cfg(test)]
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A source of wall-clock time; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    #[cfg(test)]
    Tokio {
        epoch: Arc<Mutex<SystemTime>>,
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
            epoch: Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))),
            start: tokio::time::Instant::now(),
        })
    }

    /// Sets this clock, and all clones of it, back; nothing for the system's.
    #[cfg(test)]
    pub(crate) fn set_back(&self, by: Duration) {
        if let Source::Tokio { epoch, .. } = &self.0 {
            *epoch.lock().unwrap_or_else(PoisonError::into_inner) -= by;
        }
    }

    /// The present moment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub(crate) fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            #[cfg(test)]
            Source::Tokio { epoch, start } => *epoch.lock().unwrap_or_else(PoisonError::into_inner) + start.elapsed(),
        }
    }

    /// Sleeps until `deadline`, or until the clock shows less than `earliest`, as it was set back; in bites: a laptop
    /// that was suspended meanwhile, or whose clock was set, wakes up late by at most one.
    pub(crate) async fn sleep_between(&self, earliest: SystemTime, deadline: SystemTime) {
        loop {
            let now = self.now();
            let left = deadline.duration_since(now).unwrap_or_default();
            if left.is_zero() || now < earliest {
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
        clock.sleep_between(clock.now(), deadline).await;
        let late = clock.now().duration_since(deadline).unwrap_or_default();
        assert!(late < Duration::from_secs(1), "woke {late:?} late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_ends_a_sleep_within_one_bite() {
        let clock = Clock::following_tokio();
        let begin = clock.now();
        let later = begin + Duration::from_secs(36_000);
        let mut sleeping = Box::pin(clock.sleep_between(begin, later));
        assert!(futures_util::poll!(&mut sleeping).is_pending());
        clock.set_back(Duration::from_secs(3_600));
        let before = tokio::time::Instant::now();
        sleeping.await;
        assert!(before.elapsed() <= BITE + Duration::from_millis(1) && clock.now() < begin);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_in_the_past_does_not_sleep() {
        let clock = Clock::following_tokio();
        let before = clock.now();
        clock.sleep_between(before, before - Duration::from_secs(5)).await;
        assert_eq!(clock.now(), before);
    }
}

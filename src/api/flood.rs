//! When a connection's frames are a flood.

use std::time::Duration;

use tokio::time::Instant;

use crate::sys::frames::Tally;

/// A second of frames, weighed.
#[derive(Debug)]
pub(super) struct Flood {
    began: Option<Instant>,
    seen: Tally,
    useful_max: u32,
}

/// Frames without a request that a connection may send in a second, beside [`IDLE_FRAMES_EACH`] for each with one.
const IDLE_FRAMES_MAX: u32 = 1_000;
/// What belongs to one request: its message and end, a reset, two windows, a PING or two to measure the line.
const IDLE_FRAMES_EACH: u32 = 7;

impl Flood {
    /// What is beyond the user's requests is answered Unavailable; a connection that goes on with twice as many ends.
    pub(super) fn new(requests_per_second: u32) -> Self {
        Self { began: None, seen: Tally::default(), useful_max: requests_per_second.saturating_mul(2) }
    }

    /// Adds what came; answers whether it is a flood now.
    pub(super) fn is_one(&mut self, tally: Tally, now: Instant) -> bool {
        if tally.frames == 0 {
            return false;
        }
        if self.began.is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1)) {
            (self.began, self.seen) = (Some(now), Tally::default());
        }
        self.seen.frames = self.seen.frames.saturating_add(tally.frames);
        self.seen.useful = self.seen.useful.saturating_add(tally.useful);
        let idle = self.seen.frames.saturating_sub(self.seen.useful);
        let idle_max = IDLE_FRAMES_MAX.saturating_add(self.seen.useful.saturating_mul(IDLE_FRAMES_EACH));
        idle > idle_max || self.seen.useful > self.useful_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_frames_and_few_requests_are_a_flood() {
        let now = Instant::now();
        let pings = Tally { frames: 100, useful: 0 };
        let calls = Tally { frames: 40, useful: 8 };
        let mut flood = Flood::new(5_000);
        assert!((0..10).all(|_| !flood.is_one(pings, now)));
        assert!(flood.is_one(pings, now));
        let mut flood = Flood::new(5_000);
        assert!((0..1_000).all(|_| !flood.is_one(calls, now)), "a busy client is none");
        let mut flood = Flood::new(5_000);
        assert!((0..100).all(|second| !flood.is_one(pings, now + Duration::from_secs(second))), "nor is a slow one");
    }

    #[test]
    fn twice_the_requests_of_a_user_are_a_flood() {
        let now = Instant::now();
        let calls = Tally { frames: 20, useful: 10 };
        let mut flood = Flood::new(100);
        assert!((0..20).all(|_| !flood.is_one(calls, now)));
        assert!(flood.is_one(calls, now));
    }
}

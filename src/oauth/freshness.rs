//! Whether a proof is for now: its time, its nonce, and that it was not used before, for one place where proofs are
//! taken (a door, or a token endpoint).
//!
//! What was accepted is known only since the process began. Until all proofs from before have become too old, each must
//! carry a nonce of this process. A clock that is set back is treated alike: what it makes good again was forgotten.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    Thumbprint,
    dpop::{self, Expected, Proof, Unproved, Window},
    nonce::Nonces,
    replay::{self, Limits, Replay},
};

/// When a caller may try again for whom there was no room.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// By so much two callers may differ who have looked at the clock in another order than they come here. What was
/// forgotten in that time is not taken again.
const STEP_MIN: Duration = Duration::from_secs(5);

/// That a proof was checked, and as of which time that nobody has set back since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    epoch: u64,
}

/// How proofs are taken.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How old a proof may be.
    pub window: Window,
    /// Whether each proof must carry a nonce, not only those after a start.
    pub needs_nonce: bool,
    /// The most proofs that are remembered.
    pub entries_max: usize,
    /// The most of one key.
    pub entries_per_key_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Window::default(),
            needs_nonce: false,
            entries_max: replay::ENTRIES_MAX,
            entries_per_key_max: replay::ENTRIES_MAX / 4,
        }
    }
}

/// What one place knows of the proofs that it has taken.
#[derive(Debug)]
pub struct Freshness {
    settings: Settings,
    nonces: Nonces,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    replay: Replay,
    /// Counts the times that the clock was set back.
    epoch: u64,
    /// The latest time that was seen.
    latest: SystemTime,
    /// Until then each proof carries a nonce.
    unknown_until: SystemTime,
}

/// Why a proof is not for now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It is not for this request, or its signature is not right.
    #[error(transparent)]
    Proof(#[from] dpop::Error),
    /// It has no nonce, and needs one.
    #[error("it has no nonce")]
    NonceMissing,
    /// Its nonce is too old, or none of this place and process.
    #[error("its nonce is too old, or not of this process")]
    NonceStale,
    /// It may have been used before this process began, or before the clock was set back, and cannot carry a nonce.
    #[error("it may have been used before")]
    Unknown,
    /// It is not remembered, and must not be accepted.
    #[error(transparent)]
    Replay(#[from] replay::Refused),
}

impl Refused {
    /// A stable name for records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Proof(error) => error.code(),
            Self::NonceMissing => "nonce_missing",
            Self::NonceStale => "nonce_stale",
            Self::Unknown => "proof_unknown",
            Self::Replay(replay::Refused::Replayed) => "proof_replayed",
            Self::Replay(replay::Refused::Full) => "replay_full",
            Self::Replay(replay::Refused::Quota) => "replay_quota",
            Self::Replay(replay::Refused::Forgotten) => "proof_stale",
        }
    }

    /// Whether the caller should try again with the current nonce.
    pub fn wants_nonce(&self) -> bool {
        matches!(self, Self::NonceMissing | Self::NonceStale)
    }
}

impl Freshness {
    /// Begins to take proofs, in a process that knows of none. The secret is 256 random bits of this process; places of
    /// one process may share it.
    pub fn new(place: &'static str, secret: &Zeroizing<[u8; 32]>, settings: Settings, started: SystemTime) -> Self {
        let window = settings.window.length();
        let (entries_max, entries_per_key_max) = (settings.entries_max, settings.entries_per_key_max);
        let replay = Replay::new(secret.clone(), Limits { entries_max, entries_per_key_max, window });
        let state = State { replay, epoch: 0, latest: started, unknown_until: started + window };
        Self { settings, nonces: Nonces::new(secret, place), state: Mutex::new(state) }
    }

    /// How old a proof may be.
    pub fn window(&self) -> Window {
        self.settings.window
    }

    /// The nonce to hand out now.
    pub fn nonce(&self, now: SystemTime) -> String {
        let epoch = self.observe(now).epoch;
        self.nonces.current(epoch, now)
    }

    /// Whether a proof needs a nonce now: always, or because of what is not known.
    pub fn wants_nonce(&self, now: SystemTime) -> bool {
        self.settings.needs_nonce || now <= self.observe(now).unknown_until
    }

    /// Compares a proof with the request at hand and looks at its nonce. No signature is looked at. Its window is the
    /// one of this place.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn check(&self, proof: &Unproved<'_>, expected: &Expected<'_>) -> Result<Checked, Refused> {
        let now = expected.now;
        proof.check(&Expected { window: self.settings.window, ..*expected })?;
        let epoch = self.observe(now).epoch;
        match proof.nonce() {
            _ if !self.wants_nonce(now) => Ok(Checked { epoch }),
            None => Err(Refused::NonceMissing),
            Some(nonce) if self.nonces.is_fresh(nonce, epoch, now) => Ok(Checked { epoch }),
            Some(_) => Err(Refused::NonceStale),
        }
    }

    /// Remembers a proof that has passed every other check, unless it was used before.
    ///
    /// # Errors
    /// [`Refused::Replay`]; [`Refused::NonceStale`] where the clock was set back since it was checked: what was used
    /// before that is forgotten.
    pub fn spend(&self, proof: &Proof, checked: Checked, now: SystemTime) -> Result<(), Refused> {
        let end = self.settings.window.end(proof.issued_at());
        self.remember(&proof.thumbprint(), proof.token_id(), end, checked, now, Refused::NonceStale)
    }

    /// The longest time for which a proof may be good that says when it ends, and not when it was made.
    pub fn lifetime_max(&self) -> Duration {
        self.settings.window.length()
    }

    /// Whether a proof that ends then, at most [`lifetime_max`](Self::lifetime_max) from now, was surely not used before
    /// what is remembered: one that was had to end by a certain time.
    ///
    /// # Errors
    /// [`Refused::Unknown`]; one that ends later will pass.
    pub fn check_end(&self, end: SystemTime, now: SystemTime) -> Result<Checked, Refused> {
        let state = self.observe(now);
        match end > state.unknown_until {
            true => Ok(Checked { epoch: state.epoch }),
            false => Err(Refused::Unknown),
        }
    }

    /// Remembers such a proof by its key and `jti`, unless it was used before.
    ///
    /// # Errors
    /// [`Refused::Replay`]; [`Refused::Unknown`] where the clock was set back since it was checked.
    pub fn spend_until(
        &self,
        (key, token_id): (&Thumbprint, &str),
        end: SystemTime,
        checked: Checked,
        now: SystemTime,
    ) -> Result<(), Refused> {
        self.remember(key, token_id, end, checked, now, Refused::Unknown)
    }

    fn remember(
        &self,
        key: &Thumbprint,
        token_id: &str,
        end: SystemTime,
        checked: Checked,
        now: SystemTime,
        forgotten: Refused,
    ) -> Result<(), Refused> {
        let mut state = self.observe(now);
        if state.epoch != checked.epoch {
            return Err(forgotten);
        }
        Ok(state.replay.insert(key, token_id, end, now)?)
    }

    /// All of it, for a place that has nothing else to check between.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn take(&self, proof: Unproved<'_>, expected: &Expected<'_>) -> Result<Proof, Refused> {
        let checked = self.check(&proof, expected)?;
        let proof = proof.prove()?;
        self.spend(&proof, checked, expected.now).map(|()| proof)
    }

    /// How many used proofs are remembered.
    pub fn entries(&self) -> usize {
        self.lock().replay.len()
    }

    /// Gives back what is too old: for a quiet time, in which no proof comes.
    pub fn forget(&self, now: SystemTime) {
        self.observe(now).replay.forget(now);
    }

    /// Looks at the clock.
    fn observe(&self, now: SystemTime) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let window = self.settings.window;
        if now + window.ahead_max.min(dpop::WINDOW_MAX).max(STEP_MIN) < state.latest {
            state.replay.clear();
            state.epoch += 1;
            // Until then a proof of the time that was seen could be good again.
            state.unknown_until = state.unknown_until.max(state.latest + window.length());
            state.latest = now;
        }
        state.latest = state.latest.max(now);
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::oauth::{
        target::Target,
        tests::kit::{Holder, claims, now, seconds},
    };

    struct World {
        holder: Holder,
        target: Target,
        freshness: Freshness,
        next: Mutex<u64>,
    }

    impl World {
        fn new(settings: Settings) -> Self {
            let freshness = Freshness::new("door", &Zeroizing::new([3; 32]), settings, now());
            let target = Target::parse("https://api.example.org/items").unwrap();
            Self { holder: Holder::new(), target, freshness, next: Mutex::new(0) }
        }

        /// A proof of this moment.
        fn proof(&self, at: SystemTime, nonce: Option<&str>) -> String {
            let iat = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
            let mut next = self.next.lock().unwrap();
            *next += 1;
            let nonce = nonce.map(|nonce| format!(r#""{nonce}""#)).unwrap_or_default();
            self.holder.proof(&claims(&[("jti", &format!(r#""number{next:08}""#)), ("iat", &iat), ("nonce", &nonce)]))
        }

        fn take(&self, proof: &str, now: SystemTime) -> Result<(), Refused> {
            let expected =
                Expected { method: "GET", target: &self.target, token: None, window: Window::default(), now };
            self.freshness.take(Unproved::parse(proof).unwrap(), &expected).map(drop)
        }
    }

    #[test]
    fn after_a_start_every_proof_needs_a_nonce_of_this_process() {
        let world = World::new(Settings::default());
        // Captured before the process began.
        let captured = world.proof(now() - seconds(1), None);
        assert_eq!(world.take(&captured, now()), Err(Refused::NonceMissing));
        let stale = world.proof(now(), Some("AAAAAAAAAAAAAAAAAAAAAA"));
        assert_eq!(world.take(&stale, now()), Err(Refused::NonceStale));
        let nonce = world.freshness.nonce(now());
        let good = world.proof(now(), Some(&nonce));
        assert_eq!(world.take(&good, now()), Ok(()));
        assert_eq!(world.take(&good, now()), Err(Refused::Replay(replay::Refused::Replayed)));
        // From the most distant future that is accepted, to its end.
        let last = now() + seconds(65);
        let ahead = world.proof(now() + seconds(5), None);
        assert_eq!(world.take(&ahead, last), Err(Refused::NonceMissing));
        let after = last + Duration::from_millis(1);
        assert_eq!(world.take(&world.proof(after, None), after), Ok(()), "the window is over");
        assert!(world.freshness.wants_nonce(last) && !world.freshness.wants_nonce(after));
        assert_eq!(world.take(&world.proof(after, Some("of-another-server")), after), Ok(()));
    }

    #[test]
    fn where_nonces_are_required_they_are_so_for_ever() {
        let world = World::new(Settings { needs_nonce: true, ..Settings::default() });
        let later = now() + seconds(86_400);
        assert_eq!(world.take(&world.proof(later, None), later), Err(Refused::NonceMissing));
        let nonce = world.freshness.nonce(later);
        assert_eq!(world.take(&world.proof(later, Some(&nonce)), later), Ok(()));
        let later = later + seconds(300);
        assert_eq!(world.take(&world.proof(later, Some(&nonce)), later), Err(Refused::NonceStale));
    }

    #[test]
    fn a_clock_that_is_set_back_brings_no_proof_back() {
        let world = World::new(Settings::default());
        let begun = now() + seconds(66);
        let used = world.proof(begun, None);
        assert_eq!(world.take(&used, begun), Ok(()));
        // An hour ahead by mistake: what was used is forgotten.
        let ahead = begun + seconds(3_600);
        let used_ahead = world.proof(ahead, None);
        assert_eq!(world.take(&used_ahead, ahead), Ok(()));
        let nonce_ahead = world.freshness.nonce(ahead);
        let back = begun + seconds(2);
        assert_eq!(world.take(&used, back), Err(Refused::NonceMissing));
        assert_eq!(world.take(&world.proof(back, Some(&nonce_ahead)), back), Err(Refused::NonceStale));
        let fresh = world.proof(back, Some(&world.freshness.nonce(back)));
        assert_eq!(world.take(&fresh, back), Ok(()));
        assert_eq!(world.take(&fresh, back), Err(Refused::Replay(replay::Refused::Replayed)));
        // An hour later what was used in the hour ahead would be good again.
        for later in [3_595, 3_600, 3_660] {
            assert_eq!(world.take(&used_ahead, begun + seconds(later)), Err(Refused::NonceMissing), "{later}");
        }
        let after = ahead + seconds(66);
        assert_eq!(world.take(&world.proof(after, None), after), Ok(()));
    }

    #[test]
    fn what_was_checked_before_the_clock_was_set_back_is_not_spent_after() {
        let world = World::new(Settings::default());
        let begun = now() + seconds(66);
        let text = world.proof(begun, None);
        let spend = |checked, at| {
            let proof = Unproved::parse(&text).unwrap().prove().unwrap();
            world.freshness.spend(&proof, checked, at)
        };
        let expected =
            Expected { method: "GET", target: &world.target, token: None, window: Window::default(), now: begun };
        let checked = world.freshness.check(&Unproved::parse(&text).unwrap(), &expected).unwrap();
        assert_eq!(spend(checked, begun), Ok(()));
        // Another request forgets everything.
        world.freshness.nonce(begun - seconds(6));
        assert_eq!(spend(checked, begun), Err(Refused::NonceStale));
    }

    #[test]
    fn callers_in_another_order_than_their_looks_at_the_clock_are_no_step() {
        let window = Window { ahead_max: Duration::ZERO, ..Window::default() };
        let world = World::new(Settings { window, ..Settings::default() });
        let begun = now() + seconds(66);
        let used = world.proof(begun, None);
        assert_eq!(world.take(&used, begun + Duration::from_millis(2)), Ok(()));
        assert_eq!(world.take(&used, begun), Err(Refused::Replay(replay::Refused::Replayed)));
        assert!(!world.freshness.wants_nonce(begun));
    }

    #[test]
    fn a_little_back_is_no_step() {
        let world = World::new(Settings::default());
        let begun = now() + seconds(71);
        let used = world.proof(begun, None);
        assert_eq!(world.take(&used, begun), Ok(()));
        let back = begun - seconds(5);
        assert_eq!(world.take(&used, back), Err(Refused::Replay(replay::Refused::Replayed)));
        assert_eq!(world.take(&world.proof(back, None), back), Ok(()));
    }

    #[test]
    fn a_full_store_refuses_and_recovers() {
        let world = World::new(Settings { entries_max: 4, entries_per_key_max: 3, ..Settings::default() });
        let begun = now() + seconds(66);
        let take = |at: SystemTime| world.take(&world.proof(at, None), at);
        assert_eq!([take(begun), take(begun), take(begun)], [Ok(()), Ok(()), Ok(())]);
        assert_eq!(take(begun), Err(Refused::Replay(replay::Refused::Quota)));
        assert_eq!(world.freshness.entries(), 3);
        let later = begun + seconds(90);
        assert_eq!(take(later), Ok(()));
        assert_eq!(world.freshness.entries(), 1);
        world.freshness.forget(later + seconds(90));
        assert_eq!(world.freshness.entries(), 0);
    }
}

//! How many access tokens a grant gives in a minute.
//!
//! A grant of N a minute is a bucket of N tokens that is refilled evenly. It is kept as one time: when it will be full
//! again. One that is full is as good as none, and is not kept. A token that was taken and not issued is given back.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::registry::GrantId;

/// The most grants that have given tokens within a minute. Where there are more, the others give none until one of these
/// is full again: what is forgotten would give too many.
const GRANTS_MAX: usize = 100_000;
/// In which a bucket fills.
const MINUTE: Duration = Duration::from_secs(60);
/// How long to wait where there is no room.
const AGAIN: Duration = Duration::from_secs(1);

/// The buckets of all grants that are not full.
#[derive(Debug)]
pub(super) struct Rates {
    /// When each is full.
    full_at: Mutex<HashMap<GrantId, SystemTime>>,
    grants_max: usize,
}

/// A token that was taken. It goes back when this is dropped, unless it was [issued](Taken::issued).
#[must_use = "it goes back when it is dropped"]
#[derive(Debug)]
pub(super) struct Taken<'r> {
    rates: &'r Rates,
    /// What it costs; `None` where there is no rate.
    cost: Option<(GrantId, Duration)>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { full_at: Mutex::default(), grants_max: GRANTS_MAX }
    }
}

impl Rates {
    /// Takes a token of a grant with so many a minute. `None` is as many as anybody wants.
    ///
    /// # Errors
    /// How long it is until there is one.
    pub(super) fn take(
        &self,
        grant: &GrantId,
        per_minute: Option<NonZeroU32>,
        now: SystemTime,
    ) -> Result<Taken<'_>, Duration> {
        let Some(per_minute) = per_minute else { return Ok(Taken { rates: self, cost: None }) };
        let cost = MINUTE / per_minute.get();
        let mut all = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = match all.get_mut(grant) {
            // A clock that was set back must not keep a bucket empty for longer than it takes to fill.
            Some(full_at) => {
                *full_at = (*full_at).min(now + MINUTE);
                (*full_at).max(now)
            }
            None => now,
        };
        let then = full_at + cost;
        if let Ok(missing) = then.duration_since(now + MINUTE)
            && !missing.is_zero()
        {
            return Err(missing);
        }
        if all.len() >= self.grants_max && !all.contains_key(grant) {
            all.retain(|_, full_at| *full_at > now);
            if all.len() >= self.grants_max {
                return Err(AGAIN);
            }
        }
        all.insert(grant.clone(), then);
        Ok(Taken { rates: self, cost: Some((grant.clone(), cost)) })
    }
}

impl Taken<'_> {
    /// The token was issued.
    pub(super) fn issued(mut self) {
        self.cost = None;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some((grant, cost)) = self.cost.take() else { return };
        let mut all = self.rates.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = all.get_mut(&grant) {
            *full_at = full_at.checked_sub(cost).unwrap_or(*full_at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn grant(number: usize) -> GrantId {
        GrantId::parse(&format!("agent-{number}/tool")).unwrap()
    }

    /// How long it is until there is one; zero where one was issued.
    fn wait(rates: &Rates, grant: &GrantId, per_minute: u32, now: SystemTime) -> Duration {
        match rates.take(grant, NonZeroU32::new(per_minute), now) {
            Ok(taken) => {
                taken.issued();
                Duration::ZERO
            }
            Err(again_in) => again_in,
        }
    }

    #[test]
    fn a_grant_gives_its_number_at_once_and_then_one_by_one() {
        for per_minute in [1, 2, 7, 60, 1_000] {
            let (rates, id) = (Rates::default(), grant(1));
            let given = (0..2 * per_minute).filter(|_| wait(&rates, &id, per_minute, now()).is_zero()).count();
            assert_eq!(given, usize::try_from(per_minute).unwrap());
            let again_in = wait(&rates, &id, per_minute, now());
            assert!(again_in <= MINUTE / per_minute && !again_in.is_zero(), "{per_minute}: {again_in:?}");
            let then = now() + again_in;
            assert!(!wait(&rates, &id, per_minute, then - Duration::from_nanos(1)).is_zero(), "{per_minute}");
            assert!(wait(&rates, &id, per_minute, then).is_zero(), "{per_minute}");
            assert!(!wait(&rates, &id, per_minute, then).is_zero(), "{per_minute}");
        }
    }

    /// Three hours of somebody who asks five times as often as it may.
    #[test]
    fn over_any_time_it_is_the_rate_and_one_bucket() {
        let (rates, id) = (Rates::default(), grant(1));
        let given = (0..3 * 3_600_u64).filter(|at| wait(&rates, &id, 12, now() + Duration::from_secs(*at)).is_zero());
        let given = given.count();
        assert!((3 * 60 * 12 + 11..=3 * 60 * 12 + 12).contains(&given), "{given}");
    }

    #[test]
    fn what_is_not_issued_does_not_count() {
        let (rates, id) = (Rates::default(), grant(1));
        let one = NonZeroU32::new(1);
        for _ in 0..5 {
            let taken = rates.take(&id, one, now()).unwrap();
            assert!(rates.take(&id, one, now()).is_err(), "it is taken meanwhile");
            drop(taken);
        }
        rates.take(&id, one, now()).unwrap().issued();
        assert!(rates.take(&id, one, now()).is_err());
    }

    #[test]
    fn each_grant_has_its_own_and_without_a_rate_there_is_no_end() {
        let rates = Rates::default();
        assert!(wait(&rates, &grant(1), 1, now()).is_zero());
        assert!(!wait(&rates, &grant(1), 1, now()).is_zero());
        assert!(wait(&rates, &grant(2), 1, now()).is_zero());
        for _ in 0..10_000 {
            assert!(wait(&rates, &grant(1), 0, now()).is_zero());
        }
        assert_eq!(rates.full_at.lock().unwrap().len(), 2);
    }

    #[test]
    fn another_rate_counts_from_now_on() {
        let (rates, id) = (Rates::default(), grant(1));
        (0..10).for_each(|_| assert!(wait(&rates, &id, 10, now()).is_zero()));
        assert_eq!(wait(&rates, &id, 10, now()), 6 * AGAIN);
        assert_eq!(wait(&rates, &id, 60, now()), AGAIN);
        assert!(wait(&rates, &id, 60, now() + AGAIN).is_zero());
    }

    #[test]
    fn a_clock_that_is_set_back_costs_a_minute_at_most() {
        let (rates, id) = (Rates::default(), grant(1));
        (0..2).for_each(|_| assert!(wait(&rates, &id, 2, now()).is_zero()));
        let back = now() - 1_000 * MINUTE;
        assert_eq!(wait(&rates, &id, 2, back), MINUTE / 2);
        assert!(wait(&rates, &id, 2, back + MINUTE).is_zero());
    }

    #[test]
    fn of_too_many_grants_the_new_ones_wait_for_one_to_fill() {
        let rates = Rates { grants_max: 3, ..Rates::default() };
        (0..3).for_each(|number| assert!(wait(&rates, &grant(number), 2, now()).is_zero()));
        assert_eq!(wait(&rates, &grant(3), 2, now()), AGAIN);
        assert!(wait(&rates, &grant(2), 2, now()).is_zero(), "one that is there goes on");
        let later = now() + MINUTE / 2;
        assert!(wait(&rates, &grant(3), 2, later).is_zero());
        assert_eq!(rates.full_at.lock().unwrap().len(), 2, "two were full");
    }
}

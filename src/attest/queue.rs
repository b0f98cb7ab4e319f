//! Who is hashed for next: one file of each party at a time, and the parties in turn.
//!
//! Hashing takes seconds, and anybody may have many large files. So a party waits for itself first, and only one of it
//! at a time waits for a slot with the others; slots are given in the order in which they were asked for. Who comes
//! with many waits for each of them as often as everybody else has had a turn.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::sys::{kept::Kept, party::party_of};

/// How many callers of one party may wait at once. All together are as many as there may be streams.
pub(super) const WAITING_PER_PARTY: usize = 1_024;

/// The slots, and who waits for them.
#[derive(Debug)]
pub(super) struct Queue {
    slots: Arc<Semaphore>,
    parties: Mutex<Kept<Party>>,
}

#[derive(Debug)]
struct Party {
    waiting: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// A caller's place among those who wait; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _waiting: OwnedSemaphorePermit,
}

/// The right to hash one file; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _of_party: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

impl Queue {
    /// With so many slots.
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)), parties: Mutex::default() }
    }

    /// A place to wait at; `None` when this user's party has as many as it may.
    pub(super) fn enter(&self, uid: u32) -> Option<Place> {
        let waiting = self.of_party(uid, |party| party.waiting.clone());
        Some(Place { _waiting: waiting.try_acquire_owned().ok()? })
    }

    /// Waits for a turn of this user's party.
    pub(super) async fn turn(&self, uid: u32) -> Option<Turn> {
        let of_party = self.of_party(uid, |party| party.turn.clone());
        // Neither is ever closed.
        let of_party = of_party.acquire_owned().await.ok()?;
        let slot = self.slots.clone().acquire_owned().await.ok()?;
        Some(Turn { _of_party: of_party, _slot: slot })
    }

    fn of_party<T>(&self, uid: u32, take: impl FnOnce(&Party) -> T) -> T {
        let mut parties = self.parties.lock().unwrap_or_else(PoisonError::into_inner);
        take(parties.of(party_of(uid), Party::new, Party::is_idle))
    }
}

impl Party {
    fn new() -> Self {
        Self { waiting: Arc::new(Semaphore::new(WAITING_PER_PARTY)), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Whoever waits or has a turn holds one of them.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.waiting) == 1 && Arc::strong_count(&self.turn) == 1
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use futures_util::{FutureExt as _, poll};

    use super::*;
    use crate::sys::kept::KEPT_MIN;

    #[test]
    fn a_party_that_waits_at_all_its_places_leaves_others_theirs() {
        let queue = Queue::new(2);
        let places: Vec<_> = (0..WAITING_PER_PARTY).map(|_| queue.enter(100_000).unwrap()).collect();
        assert!(queue.enter(100_000).is_none() && queue.enter(100_001).is_none(), "the range is one party");
        assert!(queue.enter(1_000).is_some() && queue.enter(165_536).is_some());
        drop(places);
        assert!(queue.enter(100_001).is_some());
    }

    #[tokio::test]
    async fn a_party_has_one_turn_at_a_time() {
        let queue = Queue::new(2);
        let first = queue.turn(100_000).await.unwrap();
        let mut second = Box::pin(queue.turn(100_001));
        assert!(poll!(&mut second).is_pending(), "though there is a slot");
        assert!(queue.turn(1_000).now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn parties_take_turns_however_many_one_of_them_asks_for() {
        let queue = Queue::new(1);
        let mut turn = queue.turn(7).await.unwrap();
        let mut many: Vec<_> = (0..3).map(|_| Box::pin(queue.turn(7))).collect();
        for waiting in &mut many {
            assert!(poll!(waiting).is_pending());
        }
        let mut other = Box::pin(queue.turn(8));
        assert!(poll!(&mut other).is_pending());
        drop(turn);
        let mut next = many.remove(0);
        assert!(poll!(&mut next).is_pending(), "the other party is first");
        turn = other.await.unwrap();
        drop(turn);
        assert!(next.now_or_never().is_some());
    }

    #[test]
    fn parties_of_whom_nobody_waits_are_forgotten() {
        let queue = Queue::new(2);
        let held = queue.enter(5).unwrap();
        (0..u32::try_from(KEPT_MIN).unwrap() * 2).for_each(|uid| drop(queue.enter(uid)));
        let parties = queue.parties.lock().unwrap().whose();
        assert!(parties.len() <= KEPT_MIN && parties.contains(&5));
        drop(held);
    }
}

//! Looks at a process that may take as long as that process likes.
//!
//! Reading `/proc/PID` can wait for its subject: for the end of its exec, which a file of a user's own file system may
//! hold up for ever; for that file system itself; or for a gigabyte of page tables that the reader happens to be the
//! last to hold. Nothing ends such a wait. So each look is made on a thread of its own, nobody but who asked waits for
//! it, and a party may have only so many threads in looks at a time. Who draws them out waits for himself.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{kept::Kept, party::party_of, threads};

/// Looks of one user that are made at the same time.
pub(crate) const LOOKS_PER_USER: usize = 4;
/// Of all users of one party: of a user namespace, or of a directory service that gives them such numbers.
pub(crate) const LOOKS_PER_PARTY: usize = 8;
/// Of uid 0, as which containers without a user namespace run.
pub(crate) const LOOKS_OF_ROOT: usize = 16;
/// Of all parties together. Each may be a thread that hangs, of the 512 that the runtime may have.
pub(crate) const LOOKS_MAX: usize = 256;
/// A look that takes longer is told of.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// A look that is being made; dropped, one that has begun goes on to its end and nobody hears of it, and no other begins.
/// `None` when it broke off.
pub(crate) type Making<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

/// All looks of a daemon. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct AllLooks(Arc<All>);

#[derive(Debug)]
struct All {
    places: Arc<Semaphore>,
    users: Mutex<Kept<Arc<Semaphore>>>,
    parties: Mutex<Kept<Arc<Semaphore>>>,
    going_on: Mutex<GoingOn>,
}

/// By their numbers, which grow.
#[derive(Debug, Default)]
struct GoingOn {
    next: u64,
    looks: BTreeMap<u64, (Instant, i32)>,
}

/// The right of one user's connections to look at their callers. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Looks {
    of_user: Arc<Semaphore>,
    of_party: Arc<Semaphore>,
    all: AllLooks,
}

/// A look's place; given back when dropped.
struct Place {
    number: u64,
    all: AllLooks,
    _of_user: OwnedSemaphorePermit,
    _of_party: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for AllLooks {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(LOOKS_MAX));
        let (users, parties) = (Mutex::default(), Mutex::default());
        Self(Arc::new(All { places, users, parties, going_on: Mutex::default() }))
    }
}

impl AllLooks {
    /// The looks of a user, of which its party has a number too.
    pub(crate) fn of_user(&self, uid: u32) -> Looks {
        let (of_user, of_party) = match uid {
            0 => (LOOKS_OF_ROOT, LOOKS_OF_ROOT),
            _ => (LOOKS_PER_USER, LOOKS_PER_PARTY),
        };
        Looks {
            of_user: places(&self.0.users, uid, of_user),
            of_party: places(&self.0.parties, party_of(uid), of_party),
            all: self.clone(),
        }
    }

    /// Looks that the daemon makes for its admins, which no party can use up.
    pub(crate) fn own(&self) -> Looks {
        let [of_user, of_party] = [(); 2].map(|()| Arc::new(Semaphore::new(LOOKS_PER_USER)));
        Looks { of_user, of_party, all: self.clone() }
    }

    /// Processes that have kept a look waiting for longer than any does by itself, and for how long.
    pub(crate) fn hanging(&self) -> Vec<(i32, Duration)> {
        let now = Instant::now();
        let going_on = self.going_on();
        let waits = going_on.looks.values().map(|(begun, pid)| (*pid, now.saturating_duration_since(*begun)));
        waits.take_while(|(_, wait)| *wait >= HANGS_AFTER).collect()
    }

    fn going_on(&self) -> MutexGuard<'_, GoingOn> {
        self.0.going_on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The places of one of those that have some. Whoever has neither a connection nor a look is forgotten now and then.
fn places(of: &Mutex<Kept<Arc<Semaphore>>>, whose: u32, most: usize) -> Arc<Semaphore> {
    let mut of = of.lock().unwrap_or_else(PoisonError::into_inner);
    of.of(whose, || Arc::new(Semaphore::new(most)), |places| Arc::strong_count(places) == 1).clone()
}

impl Looks {
    /// Looks at process `pid`, as soon as fewer looks of this user and its party go on than may.
    pub(crate) fn make<T: Send + 'static>(&self, pid: i32, look: impl FnOnce() -> T + Send + 'static) -> Making<T> {
        let looks = self.clone();
        Box::pin(async move {
            let place = looks.place(pid).await?;
            let looking = move || {
                let seen = look();
                drop(place);
                seen
            };
            threads::aside(looking).await.ok()
        })
    }

    async fn place(self, pid: i32) -> Option<Place> {
        // None is ever closed.
        let of_user = self.of_user.acquire_owned().await.ok()?;
        let of_party = self.of_party.acquire_owned().await.ok()?;
        let of_all = self.all.0.places.clone().acquire_owned().await.ok()?;
        let number = {
            let mut going_on = self.all.going_on();
            going_on.next += 1;
            let number = going_on.next;
            going_on.looks.insert(number, (Instant::now(), pid));
            number
        };
        Some(Place { number, all: self.all, _of_user: of_user, _of_party: of_party, _of_all: of_all })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.going_on().looks.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;

    use super::{super::kept::KEPT_MIN, *};

    type Stuck = Vec<tokio::task::JoinHandle<Option<()>>>;

    /// As many looks as a user may have, that hang until the sender goes.
    fn hanging(looks: &Looks) -> (mpsc::Sender<()>, Stuck) {
        hanging_with(looks, &Arc::default())
    }

    /// The same; each that has begun has one more of `begun`.
    fn hanging_with(looks: &Looks, begun: &Arc<()>) -> (mpsc::Sender<()>, Stuck) {
        let (held, release) = mpsc::channel::<()>();
        let release = Arc::new(Mutex::new(release));
        let stuck = (0..LOOKS_PER_USER).map(|_| {
            let (release, begun) = (release.clone(), Arc::downgrade(begun));
            tokio::spawn(looks.make(7, move || {
                let _begun = begun.upgrade();
                release.lock().unwrap().recv().unwrap_err();
            }))
        });
        (held, stuck.collect())
    }

    #[tokio::test]
    async fn looks_that_hang_cost_their_own_party_alone() {
        let all = AllLooks::default();
        let (one, same, other) = (all.of_user(100_000), all.of_user(100_002), all.of_user(1_000));
        let (held, mut stuck) = hanging(&one);
        while one.of_user.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(futures_util::poll!(one.make(8, || ())).is_pending(), "its own user waits");
        assert_eq!(same.make(8, || 6).await, Some(6), "another of the same party looks");
        let (held_too, stuck_too) = hanging(&all.of_user(100_001));
        stuck.extend(stuck_too);
        while one.of_party.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(other.make(8, || 7).await, Some(7), "another party looks");
        let mut more = same.make(9, || 8);
        assert!(futures_util::poll!(&mut more).is_pending(), "all of the same party wait");
        drop((held, held_too));
        assert_eq!(more.await, Some(8));
        for task in stuck {
            assert_eq!(task.await.unwrap(), Some(()));
        }
        assert!(all.going_on().looks.is_empty());
    }

    #[tokio::test]
    async fn a_look_that_nobody_waits_for_keeps_its_place_until_it_ends() {
        let all = AllLooks::default();
        let looks = all.of_user(1_000);
        let begun = Arc::new(());
        let (held, stuck) = hanging_with(&looks, &begun);
        // One that has not begun goes with whoever waits for it.
        while Arc::strong_count(&begun) <= LOOKS_PER_USER {
            tokio::task::yield_now().await;
        }
        stuck.into_iter().for_each(|task| task.abort());
        tokio::task::yield_now().await;
        assert!(futures_util::poll!(looks.make(8, || ())).is_pending());
        let begun = Instant::now().checked_sub(HANGS_AFTER).unwrap();
        all.going_on().looks.values_mut().for_each(|look| look.0 = begun);
        let told: Vec<_> = all.hanging().into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(told, [7; LOOKS_PER_USER]);
        drop(held);
        assert_eq!(looks.make(8, || 1).await, Some(1));
    }

    #[test]
    fn a_look_that_gets_no_thread_gives_its_place_back() {
        let looks = AllLooks::default().of_user(1_000);
        let runtime = threads::runtime_without();
        for _ in 0..2 * LOOKS_PER_PARTY {
            assert_eq!(runtime.block_on(looks.make(7, || ())), None);
        }
        assert!(looks.all.going_on().looks.is_empty());
        assert_eq!(looks.of_party.available_permits(), LOOKS_PER_PARTY);
    }

    #[test]
    fn a_look_that_has_not_begun_gives_its_place_back_to_others() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let all = AllLooks::default();
            let (one, other) = (all.of_user(1_000), all.of_user(1_001));
            let (held, release) = mpsc::channel::<()>();
            let (begun, has_begun) = tokio::sync::oneshot::channel();
            let mut stuck = one.make(7, move || {
                begun.send(()).unwrap();
                release.recv().unwrap_err()
            });
            assert!(futures_util::poll!(&mut stuck).is_pending());
            has_begun.await.unwrap();
            let mut waits = other.make(8, || ());
            assert!(futures_util::poll!(&mut waits).is_pending());
            assert_eq!(all.going_on().looks.len(), 2);
            drop(waits);
            assert_eq!(all.going_on().looks.len(), 1, "whoever asked has left");
            let mut waits = other.make(8, || ());
            assert!(futures_util::poll!(&mut waits).is_pending());
            tokio::time::advance(threads::BEGIN_WAIT).await;
            assert_eq!(waits.await, None, "it is answered");
            assert_eq!(all.going_on().looks.len(), 1);
            drop(held);
            assert!(stuck.await.is_some());
        });
    }

    #[tokio::test]
    async fn all_parties_together_have_a_bound() {
        let all = AllLooks::default();
        let mut held = Vec::new();
        for uid in 0..u32::try_from((LOOKS_MAX - LOOKS_OF_ROOT) / LOOKS_PER_USER).unwrap() {
            for _ in 0..LOOKS_PER_USER {
                held.push(all.of_user(1 + uid).place(1).await.unwrap());
            }
        }
        for _ in 0..LOOKS_OF_ROOT {
            held.push(all.of_user(0).place(1).await.unwrap());
        }
        let mut next = all.of_user(99_999).make(2, || 3);
        assert!(futures_util::poll!(&mut next).is_pending());
        held.pop();
        assert_eq!(next.await, Some(3));
    }

    #[tokio::test]
    async fn users_without_a_connection_are_forgotten() {
        let all = AllLooks::default();
        let kept = all.of_user(1);
        for uid in 2..u32::try_from(KEPT_MIN).unwrap() + 10 {
            all.of_user(uid);
        }
        assert!(all.0.users.lock().unwrap().whose().len() <= KEPT_MIN);
        let again = all.of_user(1);
        assert!(Arc::ptr_eq(&kept.of_user, &again.of_user) && Arc::ptr_eq(&kept.of_party, &again.of_party));
    }
}

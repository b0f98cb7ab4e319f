//! Names of users and groups, for the selectors that are written with names, and the groups of names.
//!
//! Only asked where an entry uses one, and remembered briefly. A directory service may be slow, or never answer: it is
//! asked on threads that may wait, for each id or name once at a time, and for only so many at once. What does not come
//! back keeps its place, as its thread is gone until it does; when all of them are such, nobody is asked any more. What
//! one party's callers bring may wait only so far, and what nobody is called gives way to the names of others.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::Hash,
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::unistd::{Gid, Group, Uid, User};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

use crate::sys::{
    party::party_of,
    threads::{self, Undone},
};

/// How long a name is believed.
const FRESH: Duration = Duration::from_secs(5);
/// How many names are remembered.
pub(crate) const NAMES_MAX: usize = 4_096;
/// How many ids are looked up at once, users and groups together. Each may be a thread that hangs.
pub(crate) const LOOKUPS_MAX: usize = 8;
/// How many ids of a kind may wait for that, or be looked up.
pub(crate) const ASKED_MAX: usize = 1_024;
/// Of those, how many one party's callers bring.
pub(crate) const ASKED_PER_PARTY: usize = 64;

/// Why there is no name now. The caller may ask again.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The directory has answered that it cannot tell.
    #[error("the directory service has failed")]
    Directory(#[source] Arc<io::Error>),
    /// It did not answer in time.
    #[error("the directory service did not answer within {} s", .0.as_secs())]
    Late(Duration),
    /// [`ASKED_MAX`] others are waited for, or [`ASKED_PER_PARTY`] of the same party.
    #[error("too many names wait for the directory service")]
    Busy,
    /// It did not answer to as many questions as may be put at once, so it is asked no more.
    #[error("the directory service hangs")]
    Hangs,
    /// No thread can ask it, or the one that did has failed.
    #[error("the directory service could not be asked")]
    Unasked(#[source] Undone),
}

/// `None` when there is no such user or group.
type Outcome<V> = Result<Option<V>, Error>;
/// Asks the directory itself, and may take as long as that likes.
type Ask<K, V> = Box<dyn Fn(K) -> io::Result<Option<V>> + Send + Sync>;

/// Names that were looked up not long ago, and those that are being looked up.
#[derive(Debug)]
pub(crate) struct Names {
    users: Arc<Book<u32, Arc<str>>>,
    groups: Arc<Book<u32, Arc<str>>>,
    gids: Arc<Book<Arc<str>, u32>>,
}

/// The questions that a directory is asked.
pub(super) struct Directory {
    pub(super) user: Ask<u32, Arc<str>>,
    pub(super) group: Ask<u32, Arc<str>>,
    pub(super) gid: Ask<Arc<str>, u32>,
}

impl Directory {
    /// What the node is told to ask (`nsswitch.conf`).
    pub(super) fn of_node() -> Self {
        Self {
            user: Box::new(|uid| Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| user.name.into()))),
            group: Box::new(|gid| Ok(Group::from_gid(Gid::from_raw(gid))?.map(|group| group.name.into()))),
            gid: Box::new(|name| Ok(Group::from_name(&name)?.map(|group| group.gid.as_raw()))),
        }
    }
}

impl Names {
    /// A name that does not come within `wait` is none.
    pub(crate) fn new(directory: Directory, wait: Duration) -> Self {
        let desk = Arc::new(Desk { wait, places: Semaphore::new(LOOKUPS_MAX), hanging: AtomicUsize::new(0) });
        Self {
            users: Book::new(desk.clone(), directory.user),
            groups: Book::new(desk.clone(), directory.group),
            gids: Book::new(desk, directory.gid),
        }
    }

    /// The name of a user; `None` when there is none.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub(crate) async fn user(&self, uid: u32) -> Outcome<Arc<str>> {
        self.users.look(uid, Some(uid)).await
    }

    /// The name of a group that a caller with this uid brings; `None` when there is none.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub(crate) async fn group(&self, gid: u32, uid: u32) -> Outcome<Arc<str>> {
        self.groups.look(gid, Some(uid)).await
    }

    /// The group of a name, which may be another name than the group's own; `None` when there is none. Names come from
    /// entries, so no party is charged.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub(crate) async fn gid(&self, name: &str) -> Outcome<u32> {
        self.gids.look(name.into(), None).await
    }
}

/// Where the directory is asked.
#[derive(Debug)]
struct Desk {
    wait: Duration,
    places: Semaphore,
    /// How many of them did not answer in time, and have not yet.
    hanging: AtomicUsize,
}

/// Answers of one kind.
struct Book<K, V> {
    desk: Arc<Desk>,
    ask: Ask<K, V>,
    known: Mutex<HashMap<K, (Instant, Option<V>)>>,
    asking: Mutex<Waiting<K, V>>,
}

/// What is being asked, and how much of it for whom. A party of which nothing is asked is not there.
#[derive(Debug)]
struct Waiting<K, V> {
    ids: HashMap<K, Asking<V>>,
    of_parties: HashMap<u32, usize>,
}

/// Tells the answer to whoever waits for it.
type Asking<V> = watch::Receiver<Option<Outcome<V>>>;

impl<K, V> Book<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn new(desk: Arc<Desk>, ask: Ask<K, V>) -> Arc<Self> {
        Arc::new(Self { desk, ask, known: Mutex::default(), asking: Mutex::default() })
    }

    /// The answer, for a caller with this uid if it is one's.
    async fn look(self: &Arc<Self>, id: K, uid: Option<u32>) -> Outcome<V> {
        if let Some(name) = self.known(&id) {
            return Ok(name);
        }
        if self.desk.hanging.load(Ordering::Relaxed) >= LOOKUPS_MAX {
            return Err(Error::Hangs);
        }
        let late = || Err(Error::Late(self.desk.wait));
        let mut outcome = self.join_or_ask(id, uid.map(party_of))?;
        match timeout(self.desk.wait, outcome.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(late),
            Ok(Err(_)) | Err(_) => late(),
        }
    }

    /// One question for each id at a time; whoever comes meanwhile waits for the same answer.
    fn join_or_ask(self: &Arc<Self>, id: K, party: Option<u32>) -> Result<Asking<V>, Error> {
        let mut asking = lock(&self.asking);
        if let Some(outcome) = asking.ids.get(&id) {
            return Ok(outcome.clone());
        }
        let of_party = party.and_then(|party| asking.of_parties.get(&party)).copied().unwrap_or(0);
        if asking.ids.len() >= ASKED_MAX || of_party >= ASKED_PER_PARTY {
            return Err(Error::Busy);
        }
        let (done, outcome) = watch::channel(None);
        asking.ids.insert(id.clone(), outcome.clone());
        if let Some(party) = party {
            asking.of_parties.insert(party, of_party + 1);
        }
        let asked = Asked { book: self.clone(), id, party, done };
        // A runtime that ends drops it at once, and with it what takes the lock.
        drop(asking);
        tokio::spawn(async move {
            let answer = asked.book.look_up(asked.id.clone()).await;
            // First remembered, then forgotten as asked, so that nobody asks again between the two.
            asked.done.send_replace(Some(answer));
        });
        Ok(outcome)
    }

    async fn look_up(self: &Arc<Self>, id: K) -> Outcome<V> {
        let (desk, book, asked) = (&self.desk, self.clone(), id.clone());
        let late = Error::Late(desk.wait);
        let Ok(Ok(_place)) = timeout(desk.wait, desk.places.acquire()).await else { return Err(late) };
        let asked_at = Instant::now();
        let mut answer = pin!(threads::aside(move || (book.ask)(asked)));
        let answer = match timeout(desk.wait, &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                desk.hanging.fetch_add(1, Ordering::Relaxed);
                let answer = answer.await;
                desk.hanging.fetch_sub(1, Ordering::Relaxed);
                answer
            }
        };
        let name = answer.map_err(Error::Unasked)?.map_err(|error| Error::Directory(Arc::new(error)))?;
        self.remember(id, asked_at, name.clone());
        Ok(name)
    }

    fn known(&self, id: &K) -> Option<Option<V>> {
        let known = lock(&self.known);
        known.get(id).filter(|(since, _)| since.elapsed() < FRESH).map(|(_, name)| name.clone())
    }

    fn remember(&self, id: K, since: Instant, name: Option<V>) {
        let mut known = lock(&self.known);
        if known.len() >= NAMES_MAX {
            known.retain(|_, (since, _)| since.elapsed() < FRESH);
        }
        if known.len() >= NAMES_MAX && !known.contains_key(&id) {
            // Anybody can bring ids without a name: the oldest of these goes first.
            let first = known.iter().min_by_key(|(_, (since, name))| (name.is_some(), *since));
            if let Some(first) = first.map(|(id, _)| id.clone()) {
                known.remove(&first);
            }
        }
        known.insert(id, (since, name));
    }
}

/// A question that is being asked; when dropped, in whatever way, it may be asked again.
struct Asked<K: Eq + Hash, V> {
    book: Arc<Book<K, V>>,
    id: K,
    party: Option<u32>,
    done: watch::Sender<Option<Outcome<V>>>,
}

impl<K: Eq + Hash, V> Drop for Asked<K, V> {
    fn drop(&mut self) {
        let mut asking = lock(&self.book.asking);
        asking.ids.remove(&self.id);
        if let Some(Entry::Occupied(mut count)) = self.party.map(|party| asking.of_parties.entry(party)) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl<K, V> Default for Waiting<K, V> {
    fn default() -> Self {
        Self { ids: HashMap::new(), of_parties: HashMap::new() }
    }
}

impl<K, V> fmt::Debug for Book<K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Book").field("known", &lock(&self.known).len()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;

    use futures_util::{future::join_all, poll};

    use super::*;

    const WAIT: Duration = Duration::from_secs(3);
    const FIRST_HANGING: u32 = 1_000;

    type Known = Book<u32, Arc<str>>;

    /// A book whose directory does not answer for ids from [`FIRST_HANGING`] on until the sender goes, and how many
    /// questions it was asked.
    fn book() -> (Arc<Known>, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (held, release) = mpsc::channel::<()>();
        let (release, asked) = (Mutex::new(release), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        let ask = move |id| {
            count.fetch_add(1, Ordering::Relaxed);
            if id >= FIRST_HANGING {
                // Whichever has the lock hangs here, and the others hang for the lock.
                release.lock().unwrap().recv().unwrap_err();
            }
            Ok(Some(format!("name-{id}").into()))
        };
        let desk = Desk { wait: WAIT, places: Semaphore::new(LOOKUPS_MAX), hanging: AtomicUsize::new(0) };
        (Book::new(Arc::new(desk), Box::new(ask)), held, asked)
    }

    #[tokio::test]
    async fn root_has_a_name_and_a_made_up_uid_has_none() {
        let names = Names::new(Directory::of_node(), WAIT);
        assert_eq!(names.user(0).await.unwrap().as_deref(), Some("root"));
        assert_eq!(names.user(3_999_999_999).await.unwrap(), None);
        assert_eq!(names.gid("root").await.unwrap(), Some(0));
        assert_eq!(names.gid("no such group").await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_for_once_while_it_is_fresh() {
        let (book, _held, asked) = book();
        for questions in 1..3 {
            for _ in 0..3 {
                assert_eq!(book.look(1, None).await.unwrap().as_deref(), Some("name-1"));
                assert_eq!(asked.load(Ordering::Relaxed), questions);
            }
            tokio::time::advance(FRESH).await;
        }
    }

    #[tokio::test]
    async fn callers_at_once_share_one_question() {
        let (book, held, asked) = book();
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(book.look(FIRST_HANGING, None))).collect();
        for one in &mut waiting {
            assert!(poll!(one).is_pending());
        }
        drop(held);
        assert!(join_all(waiting).await.into_iter().all(|name| name.unwrap().as_deref() == Some("name-1000")));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn more_ids_than_places_are_looked_up_one_after_the_other() {
        let (book, _held, _) = book();
        let names = join_all((0..FIRST_HANGING).map(|id| book.look(id, None))).await;
        assert!(names.into_iter().all(|name| name.is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_hangs_costs_so_many_threads_and_nobody_waits_for_it_twice() {
        let (book, held, asked) = book();
        book.look(1, None).await.unwrap();
        let mut waiting: Vec<_> = (0..50).map(|more| Box::pin(book.look(FIRST_HANGING + more, None))).collect();
        for one in &mut waiting {
            assert!(poll!(one).is_pending());
        }
        while asked.load(Ordering::Relaxed) < 1 + LOOKUPS_MAX {
            tokio::task::yield_now().await;
        }
        // While threads work, a paused clock moves only when it is told to.
        tokio::time::advance(WAIT).await;
        assert!(join_all(waiting).await.into_iter().all(|name| matches!(name, Err(Error::Late(WAIT)))));
        while book.desk.hanging.load(Ordering::Relaxed) < LOOKUPS_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1 + LOOKUPS_MAX);
        let before = Instant::now();
        assert!(matches!(book.look(2, None).await, Err(Error::Hangs)));
        assert_eq!(before.elapsed(), Duration::ZERO, "at once");
        assert!(book.look(1, None).await.is_ok(), "what is known is known");

        drop(held);
        while book.desk.hanging.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(book.look(2, None).await.unwrap().as_deref(), Some("name-2"));
        assert_eq!(book.look(FIRST_HANGING, None).await.unwrap().as_deref(), Some("name-1000"), "and what came late");
    }

    #[tokio::test]
    async fn more_ids_than_may_wait_are_refused_at_once() {
        let (book, held, _) = book();
        let ids = FIRST_HANGING..FIRST_HANGING + u32::try_from(ASKED_MAX).unwrap();
        let mut waiting: Vec<_> = ids.map(|id| Box::pin(book.look(id, None))).collect();
        for one in &mut waiting {
            assert!(poll!(one).is_pending());
        }
        assert!(matches!(book.look(1, None).await, Err(Error::Busy)));
        assert!(poll!(Box::pin(book.look(FIRST_HANGING, None))).is_pending(), "one that waits already");
        drop(held);
        assert!(join_all(waiting).await.into_iter().all(|name| name.is_ok()));
        assert!(book.look(1, None).await.is_ok());
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let desk = Desk { wait: WAIT, places: Semaphore::new(LOOKUPS_MAX), hanging: AtomicUsize::new(0) };
        let fails = AtomicUsize::new(0);
        let ask = move |_| match fails.fetch_add(1, Ordering::Relaxed) {
            0 => Err(io::ErrorKind::Other.into()),
            _ => Ok(None),
        };
        let book = Known::new(Arc::new(desk), Box::new(ask));
        assert!(matches!(book.look(1, None).await, Err(Error::Directory(_))));
        assert_eq!(book.look(1, None).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn at_its_limit_what_has_no_name_gives_way_first_and_then_the_oldest() {
        let (book, _held, _) = book();
        let most = u32::try_from(NAMES_MAX).unwrap();
        let tick = || tokio::time::advance(Duration::from_millis(1));
        book.remember(0, Instant::now(), Some("oldest".into()));
        tick().await;
        for id in 1..most {
            book.remember(id, Instant::now(), None);
        }
        for id in most..2 * most - 1 {
            book.remember(id, Instant::now(), Some("honest".into()));
            assert_eq!(lock(&book.known).len(), NAMES_MAX);
            assert!(book.known(&id).is_some() && book.known(&0).is_some(), "a name is kept");
        }
        tick().await;
        book.remember(2 * most, Instant::now(), None);
        assert_eq!(lock(&book.known).len(), NAMES_MAX);
        assert_eq!(book.known(&0), None);
        assert!(book.known(&(2 * most)).is_some());
    }

    #[tokio::test]
    async fn a_party_that_brings_many_ids_keeps_nobody_else_from_asking() {
        let (book, held, _) = book();
        let (one, same, other) = (Some(100_000), Some(165_535), Some(1_000));
        let most = u32::try_from(ASKED_PER_PARTY).unwrap();
        let mut waiting: Vec<_> = (0..most).map(|more| Box::pin(book.look(FIRST_HANGING + more, one))).collect();
        for one in &mut waiting {
            assert!(poll!(one).is_pending());
        }
        assert!(matches!(book.look(1, same).await, Err(Error::Busy)), "another uid of the same party");
        assert!(poll!(Box::pin(book.look(FIRST_HANGING, same))).is_pending(), "what is asked already costs nothing");
        let mut others = Box::pin(book.look(1, other));
        assert!(poll!(&mut others).is_pending(), "another party asks");
        drop(held);
        assert!(others.await.is_ok());
        assert!(join_all(waiting).await.into_iter().all(|name| name.is_ok()));
        while !lock(&book.asking).ids.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(lock(&book.asking).of_parties.is_empty(), "a party of which nothing is asked is forgotten");
        assert!(book.look(2, same).await.is_ok());
    }

    #[test]
    fn an_id_that_could_not_be_asked_for_may_be_asked_again() {
        let (book, _held, asked) = book();
        let runtime = threads::runtime_without();
        for _ in 0..2 {
            let name = runtime.block_on(book.look(1, Some(1)));
            assert!(matches!(name, Err(Error::Unasked(Undone::NoThread))), "{name:?}");
        }
        // A runtime that ends drops what is being asked half-way.
        let _place = book.desk.places.try_acquire_many(u32::try_from(LOOKUPS_MAX).unwrap()).unwrap();
        runtime.block_on(async { assert!(poll!(Box::pin(book.look(2, Some(1)))).is_pending()) });
        assert_eq!(lock(&book.asking).ids.len(), 1);
        drop(runtime);
        assert!(lock(&book.asking).ids.is_empty());
        assert!(lock(&book.asking).of_parties.is_empty());
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_directory_that_panics_may_be_asked_again() {
        let desk = Desk { wait: WAIT, places: Semaphore::new(LOOKUPS_MAX), hanging: AtomicUsize::new(0) };
        let book = Known::new(Arc::new(desk), Box::new(|_| std::panic::resume_unwind(Box::new(()))));
        for _ in 0..2 {
            assert!(matches!(book.look(1, None).await, Err(Error::Unasked(Undone::Broken))));
        }
    }
}

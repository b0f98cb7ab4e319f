//! Names of users and groups, for the selectors that are written with names, and the groups of names.
//!
//! Only asked where an entry uses one, and remembered briefly. A directory service may be slow, or never answer: it is
//! asked on threads that may wait, for each id or name once at a time, and for only so many at once. What does not come
//! back keeps its place, as its thread is gone until it does; when all of them are such, nobody is asked any more.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::unistd::{Gid, Group, Uid, User};
use tokio::{
    sync::{Semaphore, watch},
    task,
    time::{Instant, timeout},
};

/// How long a name is believed.
const FRESH: Duration = Duration::from_secs(5);
/// How many names are remembered.
pub(crate) const NAMES_MAX: usize = 4_096;
/// How many ids are looked up at once, users and groups together. Each may be a thread that hangs.
pub(crate) const LOOKUPS_MAX: usize = 8;
/// How many ids of a kind may wait for that, or be looked up.
pub(crate) const ASKED_MAX: usize = 1_024;

/// Why there is no name now. The caller may ask again.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The directory has answered that it cannot tell.
    #[error("the directory service has failed")]
    Directory(#[source] Arc<io::Error>),
    /// It did not answer in time.
    #[error("the directory service did not answer within {} s", .0.as_secs())]
    Late(Duration),
    /// [`ASKED_MAX`] others are waited for.
    #[error("too many names wait for the directory service")]
    Busy,
    /// It did not answer to as many questions as may be put at once, so it is asked no more.
    #[error("the directory service hangs")]
    Hangs,
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
        self.users.look(uid).await
    }

    /// The name of a group; `None` when there is none.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub(crate) async fn group(&self, gid: u32) -> Outcome<Arc<str>> {
        self.groups.look(gid).await
    }

    /// The group of a name, which may be another name than the group's own; `None` when there is none.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub(crate) async fn gid(&self, name: &str) -> Outcome<u32> {
        self.gids.look(name.into()).await
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
    asking: Mutex<HashMap<K, Asking<V>>>,
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

    async fn look(self: &Arc<Self>, id: K) -> Outcome<V> {
        if let Some(name) = self.known(&id) {
            return Ok(name);
        }
        if self.desk.hanging.load(Ordering::Relaxed) >= LOOKUPS_MAX {
            return Err(Error::Hangs);
        }
        let late = || Err(Error::Late(self.desk.wait));
        let mut outcome = self.join_or_ask(id)?;
        match timeout(self.desk.wait, outcome.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(late),
            Ok(Err(_)) | Err(_) => late(),
        }
    }

    /// One question for each id at a time; whoever comes meanwhile waits for the same answer.
    fn join_or_ask(self: &Arc<Self>, id: K) -> Result<Asking<V>, Error> {
        let mut asking = lock(&self.asking);
        if let Some(outcome) = asking.get(&id) {
            return Ok(outcome.clone());
        }
        if asking.len() >= ASKED_MAX {
            return Err(Error::Busy);
        }
        let (done, outcome) = watch::channel(None);
        asking.insert(id.clone(), outcome.clone());
        let book = self.clone();
        tokio::spawn(async move {
            let answer = book.look_up(id.clone()).await;
            // First remembered, then forgotten as asked, so that nobody asks again between the two.
            done.send_replace(Some(answer));
            lock(&book.asking).remove(&id);
        });
        Ok(outcome)
    }

    async fn look_up(self: &Arc<Self>, id: K) -> Outcome<V> {
        let (desk, book, asked) = (&self.desk, self.clone(), id.clone());
        let late = Error::Late(desk.wait);
        let Ok(Ok(_place)) = timeout(desk.wait, desk.places.acquire()).await else { return Err(late) };
        let asked_at = Instant::now();
        let mut answer = task::spawn_blocking(move || (book.ask)(asked));
        let answer = match timeout(desk.wait, &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                desk.hanging.fetch_add(1, Ordering::Relaxed);
                let answer = answer.await;
                desk.hanging.fetch_sub(1, Ordering::Relaxed);
                answer
            }
        };
        let name = answer.map_err(|_| late)?.map_err(|error| Error::Directory(Arc::new(error)))?;
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
        if known.len() < NAMES_MAX {
            known.insert(id, (since, name));
        }
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
                assert_eq!(book.look(1).await.unwrap().as_deref(), Some("name-1"));
                assert_eq!(asked.load(Ordering::Relaxed), questions);
            }
            tokio::time::advance(FRESH).await;
        }
    }

    #[tokio::test]
    async fn callers_at_once_share_one_question() {
        let (book, held, asked) = book();
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(book.look(FIRST_HANGING))).collect();
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
        let names = join_all((0..FIRST_HANGING).map(|id| book.look(id))).await;
        assert!(names.into_iter().all(|name| name.is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_hangs_costs_so_many_threads_and_nobody_waits_for_it_twice() {
        let (book, held, asked) = book();
        book.look(1).await.unwrap();
        let mut waiting: Vec<_> = (0..50).map(|more| Box::pin(book.look(FIRST_HANGING + more))).collect();
        for one in &mut waiting {
            assert!(poll!(one).is_pending());
        }
        while asked.load(Ordering::Relaxed) < 1 + LOOKUPS_MAX {
            task::yield_now().await;
        }
        // While threads work, a paused clock moves only when it is told to.
        tokio::time::advance(WAIT).await;
        assert!(join_all(waiting).await.into_iter().all(|name| matches!(name, Err(Error::Late(WAIT)))));
        while book.desk.hanging.load(Ordering::Relaxed) < LOOKUPS_MAX {
            task::yield_now().await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1 + LOOKUPS_MAX);
        let before = Instant::now();
        assert!(matches!(book.look(2).await, Err(Error::Hangs)));
        assert_eq!(before.elapsed(), Duration::ZERO, "at once");
        assert!(book.look(1).await.is_ok(), "what is known is known");

        drop(held);
        while book.desk.hanging.load(Ordering::Relaxed) > 0 {
            task::yield_now().await;
        }
        assert_eq!(book.look(2).await.unwrap().as_deref(), Some("name-2"));
        assert_eq!(book.look(FIRST_HANGING).await.unwrap().as_deref(), Some("name-1000"), "and what came late");
    }

    #[tokio::test]
    async fn more_ids_than_may_wait_are_refused_at_once() {
        let (book, held, _) = book();
        let ids = FIRST_HANGING..FIRST_HANGING + u32::try_from(ASKED_MAX).unwrap();
        let mut waiting: Vec<_> = ids.map(|id| Box::pin(book.look(id))).collect();
        for one in &mut waiting {
            assert!(poll!(one).is_pending());
        }
        assert!(matches!(book.look(1).await, Err(Error::Busy)));
        assert!(poll!(Box::pin(book.look(FIRST_HANGING))).is_pending(), "one that waits already");
        drop(held);
        assert!(join_all(waiting).await.into_iter().all(|name| name.is_ok()));
        assert!(book.look(1).await.is_ok());
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
        assert!(matches!(book.look(1).await, Err(Error::Directory(_))));
        assert_eq!(book.look(1).await.unwrap(), None);
    }

    #[tokio::test]
    async fn beyond_its_limit_nothing_more_is_remembered() {
        let (book, _held, _) = book();
        for id in 0..=u32::try_from(NAMES_MAX).unwrap() {
            book.remember(id, Instant::now(), None);
        }
        assert_eq!(lock(&book.known).len(), NAMES_MAX);
    }
}

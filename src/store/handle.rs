//! The door: what others hold of the database.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};

use crate::{
    registry::{Change, Entry, Item, Revoked},
    spiffe::TrustDomain,
};

use super::{
    AuthorityRow, Behind, BundleRow, Error, database, keys,
    writer::{Fault, Job, Outcome, Reply, Turn, Work, Writer},
};

/// How many changes wait for the disk at most.
pub(super) const QUEUE_MAX: usize = 256;

/// How long a change waits for its turn, and then for the disk.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Everything that the database has.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// How often the registry was changed.
    pub(crate) registry_revision: u64,
    /// In no order.
    pub(crate) entries: Vec<Entry>,
    /// How many rows are no entries, or not as they were written. Each was logged.
    pub(crate) left_out: usize,
    /// Agents, tools and grants, in no order.
    pub(crate) items: Vec<Item>,
    /// How many rows of them are none, or not as they were written. Each was logged.
    pub(crate) items_left_out: usize,
    /// What was taken back, in no order.
    pub(crate) revoked: Vec<Revoked>,
    /// How many rows of it are not as they were written. Each was logged.
    pub(crate) revoked_left_out: usize,
    /// Those changed first come first.
    pub(crate) authorities: Vec<AuthorityRow>,
    /// The bundles of foreign trust domains, by their names.
    pub(crate) bundles: Vec<BundleRow>,
    /// How many rows of bundles are not as they were written. Each was logged.
    pub(crate) bundles_left_out: usize,
    /// What [`Store::keep_audit_checkpoint`] was given last.
    pub(crate) audit_checkpoint: Option<String>,
}

/// The open database. Cloning shares it; it is closed when the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Open>);

#[derive(Debug)]
struct Open {
    jobs: Mutex<Option<SyncSender<Job>>>,
    fault: Arc<Fault>,
    behind: Option<Behind>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the database in the state folder and reads everything; makes it where nothing was before. Blocks.
    ///
    /// # Errors
    /// When it is another's, newer, damaged, in use, or of another trust domain; when it is missing beside its keys,
    /// or keys are missing beside it. Nothing was written then.
    pub(crate) fn open(state: &Path, trust_domain: &TrustDomain) -> Result<(Self, Loaded), Error> {
        let path = database::path(state);
        let opened = database::open(state, trust_domain)?;
        let fault = Arc::new(Fault::default());
        let writer = Writer::of(opened, state, trust_domain.clone(), fault.clone())?;
        let behind = writer.mark.behind().cloned();
        let loaded = writer.load_checked()?;
        let missing = keys::missing(state, &loaded.authorities);
        if !missing.is_empty() {
            return Err(Error::KeysMissingBesideDatabase { path, missing });
        }
        let (jobs, waiting) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run(&waiting));
        let thread = thread
            .map_err(|source| Error::Dir(crate::sys::files::Error::Io { path, verb: "written by a thread", source }))?;
        let open = Open { jobs: Mutex::new(Some(jobs)), fault, behind, writer: Mutex::new(Some(thread)) };
        Ok((Self(Arc::new(open)), loaded))
    }

    /// Makes changes of the registry, all or none, and the registry's revision that they lead to. They are on the disk when
    /// this returns.
    ///
    /// # Errors
    /// When nothing was changed, and why; or [`Error::Unconfirmed`], when that cannot be known.
    pub(crate) async fn commit_entries(&self, revision: u64, changes: Vec<Change>) -> Result<(), Error> {
        self.ask(Work::Entries { revision, changes }).await.map(drop)
    }

    /// Writes authorities, each in the place of the one with its id, all or none.
    ///
    /// # Errors
    /// As [`Store::commit_entries`].
    pub(crate) async fn save_authorities(&self, rows: Vec<AuthorityRow>) -> Result<(), Error> {
        self.ask(Work::SaveAuthorities(rows)).await.map(drop)
    }

    /// Forgets an authority. One that is not known is forgotten already.
    ///
    /// # Errors
    /// As [`Store::commit_entries`].
    pub(crate) async fn remove_authority(&self, id: String) -> Result<(), Error> {
        self.ask(Work::RemoveAuthority(id)).await.map(drop)
    }

    /// Writes the bundle of a foreign trust domain in the place of the one that it had.
    ///
    /// # Errors
    /// As [`Store::commit_entries`].
    pub(crate) async fn save_bundle(&self, row: BundleRow) -> Result<(), Error> {
        self.ask(Work::SaveBundle(row)).await.map(drop)
    }

    /// Forgets the bundle of a foreign trust domain. One that is not known is forgotten already.
    ///
    /// # Errors
    /// As [`Store::commit_entries`].
    pub(crate) async fn remove_bundle(&self, trust_domain: TrustDomain) -> Result<(), Error> {
        self.ask(Work::RemoveBundle(trust_domain)).await.map(drop)
    }

    /// Keeps the audit log's last checkpoint, soon. What it answers waits so long for whether it is on the disk.
    pub(crate) fn keep_audit_checkpoint(
        &self,
        text: String,
    ) -> impl FnMut(Duration) -> Option<Result<(), Error>> + Send + use<> {
        let (reply, answer) = sync_channel(1);
        let (work, turn, reply) = (Work::AuditCheckpoint(text), Arc::default(), Reply::Thread(reply));
        let mut sent = Some(self.0.send(Job { work, turn, reply }));
        move |most| match (sent.take(), answer.recv_timeout(most)) {
            (Some(Err(error)), _) => Some(Err(error)),
            (_, Ok(outcome)) => Some(outcome.map(drop)),
            (_, Err(RecvTimeoutError::Timeout)) => None,
            (_, Err(RecvTimeoutError::Disconnected)) => Some(Err(Error::Closed)),
        }
    }

    /// Reads everything again: after [`Error::Unconfirmed`] it says what is true.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn load(&self) -> Result<Loaded, Error> {
        self.ask(Work::Load).await?.ok_or(Error::Closed)
    }

    /// Why the disk did not take the last change; `None` when it did, or would take one now.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.0.fault.present()
    }

    /// Whether the database has lost what was acknowledged, in this run or before it.
    pub(crate) fn behind(&self) -> Option<&Behind> {
        self.0.behind.as_ref()
    }

    /// Finishes what waits and closes the database. Blocks until that is done.
    pub(crate) fn close(&self) {
        self.0.close();
    }

    /// No thread waits here: where the system has none to give, what is on the disk would be told to nobody.
    async fn ask(&self, work: Work) -> Outcome {
        #[cfg(test)]
        let _held = crate::sys::threads::clock_stands();
        let turn = Arc::new(Turn::default());
        let (reply, answer) = oneshot::channel();
        self.0.send(Job { work, turn: turn.clone(), reply: Reply::Task(reply) })?;
        wait(&turn, answer, WAIT_MAX).await
    }
}

/// The audit log's last checkpoint, read from a database that no daemon has open. Nothing is written.
///
/// # Errors
/// [`Error::Locked`] while a daemon runs; when there is no database, or it cannot be read.
pub(crate) fn audit_checkpoint(state: &Path) -> Result<Option<String>, Error> {
    database::read_only(state)
}

/// Waits for the turn, and once it has come, for the disk.
pub(super) async fn wait(turn: &Turn, mut answer: oneshot::Receiver<Outcome>, most: Duration) -> Outcome {
    let answered = match within(most, &mut answer).await {
        None if turn.give_up() => return Err(Error::TimedOut { seconds: most.as_secs() }),
        None => within(most, &mut answer).await,
        answered => answered,
    };
    answered.unwrap_or(Err(Error::Unconfirmed { seconds: 2 * most.as_secs() }))
}

/// The answer, unless it takes longer. The real clock is looked at too: a test's clock that jumps must not end a wait
/// for a real disk.
async fn within(most: Duration, answer: &mut oneshot::Receiver<Outcome>) -> Option<Outcome> {
    let begun = Instant::now();
    loop {
        let left = most.saturating_sub(begun.elapsed());
        match timeout(left, &mut *answer).await {
            Ok(answered) => return Some(answered.unwrap_or(Err(Error::Closed))),
            Err(_) if begun.elapsed() >= most => return None,
            Err(_) => {}
        }
    }
}

impl Open {
    fn send(&self, job: Job) -> Result<(), Error> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(Error::Overloaded),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(Error::Closed),
        }
    }

    fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A writer that panicked has said so itself.
            writer.join().ok();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

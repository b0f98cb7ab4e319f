//! The thread that owns the database. What waits is written together and synced once; each change stands or falls for
//! itself.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{registry::Change, spiffe::TrustDomain, sys::files};

use super::{
    AuthorityRow, BundleRow, Error, Loaded, authorities, bundles, database, entries, items, mark::Mark, revocations,
    schema,
};

/// How many changes are written together at most, and for how long they are gathered.
pub(super) const GROUP_MAX: usize = 100;
const GATHER_MAX: Duration = Duration::from_millis(2);

/// How long the log of changes becomes before it is worked into the database; when nobody waits, sooner.
const WAL_BYTES_MAX: u64 = 16 << 20;
const WAL_BYTES_IDLE: u64 = 1 << 20;

/// How many batches of rows wait to be checked at most.
const BATCHES_MAX: usize = 128;

/// How soon a disk that did not take a change is asked again, and how much must be free on it then: where less is, the
/// next change may fail as the last one did.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const ROOM_BYTES: u64 = 256 << 10;

/// Something to do.
pub(super) enum Work {
    Entries { revision: u64, changes: Vec<Change> },
    SaveAuthorities(Vec<AuthorityRow>),
    RemoveAuthority(String),
    SaveBundle(BundleRow),
    RemoveBundle(TrustDomain),
    AuditCheckpoint(String),
    Load,
}

impl Work {
    /// Whether somebody relies on it from its reply on.
    fn is_acknowledged(&self) -> bool {
        match self {
            Self::Entries { .. }
            | Self::SaveAuthorities(_)
            | Self::RemoveAuthority(_)
            | Self::SaveBundle(_)
            | Self::RemoveBundle(_) => true,
            Self::AuditCheckpoint(_) | Self::Load => false,
        }
    }
}

/// Something to do, and whom to tell.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) turn: Arc<Turn>,
    pub(super) reply: Reply,
}

/// What a job came to.
pub(super) type Outcome = Result<Option<Loaded>, Error>;

/// Where somebody waits for it.
pub(super) enum Reply {
    Task(oneshot::Sender<Outcome>),
    Thread(SyncSender<Outcome>),
}

impl Reply {
    /// Whoever waits no more has been told so.
    fn tell(self, outcome: Outcome) {
        match self {
            Self::Task(reply) => drop(reply.send(outcome)),
            Self::Thread(reply) => drop(reply.try_send(outcome)),
        }
    }
}

/// Whose turn it is: a change that nobody waits for any more is not begun, and one that has begun is waited for.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU8);

impl Turn {
    const WAITING: u8 = 0;
    const BEGUN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// Whether it may begin.
    fn begin(&self) -> bool {
        self.leave_waiting(Self::BEGUN)
    }

    /// Whether it was given up before it began.
    pub(super) fn give_up(&self) -> bool {
        self.leave_waiting(Self::GIVEN_UP)
    }

    fn leave_waiting(&self, next: u8) -> bool {
        self.0.compare_exchange(Self::WAITING, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Why the disk did not take the last change; nothing when it did. The writer tells, others look.
#[derive(Debug, Default)]
pub(super) struct Fault(Mutex<Option<Error>>);

impl Fault {
    pub(super) fn present(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Error::share)
    }

    fn is(&self, error: Option<Error>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) trust_domain: TrustDomain,
    pub(super) fault: Arc<Fault>,
    pub(super) mark: Mark,
}

impl Writer {
    /// Compares what was opened with its mark. Nothing is written before [`Writer::run`].
    pub(super) fn of(
        opened: database::Opened,
        state: &Path,
        trust_domain: TrustDomain,
        fault: Arc<Fault>,
    ) -> Result<Self, Error> {
        let database::Opened { connection, is_fresh } = opened;
        let path = database::path(state);
        let count = database::change_count(&connection).map_err(Error::of_file(&path))?;
        let mark = Mark::compare(state, count, is_fresh);
        Ok(Self { connection, path, trust_domain, fault, mark })
    }

    /// Works until nobody can ask for anything any more, then closes the database. It runs once the database was
    /// accepted, so only now its mark is written.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        self.mark.begin();
        while let Some(first) = self.next(jobs) {
            let begun = Instant::now();
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && begun.elapsed() < GATHER_MAX
                && let Ok(next) = jobs.try_recv()
            {
                group.push(next);
            }
            let is_idle = group.len() < GROUP_MAX;
            group.retain(|job| job.turn.begin());
            self.write(group);
            self.checkpoint(is_idle);
        }
        // With the last connection the log is worked in and removed.
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "database not closed");
        }
    }

    /// Waits for the next change. A disk that did not take the last one is asked again meanwhile.
    fn next(&self, jobs: &Receiver<Job>) -> Option<Job> {
        while self.fault.present().is_some() {
            match jobs.recv_timeout(AGAIN_AFTER) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout) => self.try_again(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        jobs.recv().ok()
    }

    /// Writes what changes nothing, where there is room for more than that.
    pub(super) fn try_again(&self) {
        let written = match files::free_bytes(&self.path) {
            Ok(free) if free < ROOM_BYTES => Err(Error::Full),
            _ => {
                self.begin().and_then(|()| self.execute(&schema::version_again())).and_then(|()| self.execute("COMMIT"))
            }
        };
        match written {
            Ok(()) => {
                tracing::info!("database can be written again");
                self.fault.is(None);
            }
            Err(error) => {
                self.roll_back();
                self.fault.is(Some(error));
            }
        }
    }

    /// One transaction for all. The replies go out when the disk has everything.
    pub(super) fn write(&mut self, group: Vec<Job>) {
        let mut outcomes = Vec::with_capacity(group.len());
        let written = self.begin().and_then(|()| {
            for job in &group {
                outcomes.push(self.apply(&job.work)?);
            }
            let mut pairs = group.iter().zip(&outcomes);
            let is_change = pairs.any(|(job, outcome)| outcome.is_ok() && job.work.is_acknowledged());
            let count = if is_change { Some(database::count_change(&self.connection)) } else { None };
            let count = count.transpose().map_err(Error::of_change)?;
            self.execute("COMMIT").map(|()| count)
        });
        if let Ok(Some(count)) = &written {
            self.mark.note(*count);
        }
        if let Err(error) = &written {
            tracing::error!(%error, "database not written");
            self.roll_back();
        }
        self.notice(&group, &outcomes, written.as_ref().err());
        let mut outcomes = outcomes.into_iter();
        for job in group {
            let outcome = match (&written, outcomes.next()) {
                // What failed by itself has its own reason.
                (_, Some(Err(error))) => Err(error),
                (Ok(_), Some(Ok(loaded))) => Ok(loaded),
                (Ok(_), None) => Err(Error::Closed),
                (Err(error), _) => Err(error.share()),
            };
            job.reply.tell(outcome);
        }
    }

    /// Keeps in mind what the disk said. What only read, or broke a rule, says nothing about it.
    fn notice(&self, group: &[Job], outcomes: &[Result<Option<Loaded>, Error>], whole: Option<&Error>) {
        let mut errors = whole.into_iter().chain(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()));
        let mut pairs = group.iter().zip(outcomes);
        if let Some(error) = errors.find(|error| matches!(error, Error::Full | Error::Io(_))) {
            self.fault.is(Some(error.share()));
        } else if whole.is_none() && pairs.any(|(job, outcome)| outcome.is_ok() && !matches!(job.work, Work::Load)) {
            self.fault.is(None);
        }
    }

    /// Makes one change, or none of it. The outer error is the whole transaction's.
    fn apply(&self, work: &Work) -> Result<Result<Option<Loaded>, Error>, Error> {
        self.execute("SAVEPOINT change")?;
        let outcome = match work {
            Work::Entries { revision, changes } => database::registry_revision(&self.connection)
                .map_err(Error::of_file(&self.path))
                .and_then(|stored| entries::commit(&self.connection, stored, *revision, changes))
                .map(|()| None),
            Work::SaveAuthorities(rows) => {
                authorities::save(&self.connection, rows).map(|()| None).map_err(Error::of_change)
            }
            Work::RemoveAuthority(id) => {
                authorities::remove(&self.connection, id).map(|()| None).map_err(Error::of_change)
            }
            Work::SaveBundle(row) => bundles::save(&self.connection, row).map(|()| None).map_err(Error::of_change),
            Work::RemoveBundle(name) => {
                bundles::remove(&self.connection, name).map(|()| None).map_err(Error::of_change)
            }
            Work::AuditCheckpoint(text) => {
                database::keep_audit_checkpoint(&self.connection, text).map(|()| None).map_err(Error::of_change)
            }
            Work::Load => self.load().map(Some),
        };
        match outcome {
            Ok(done) => self.execute("RELEASE change").map(|()| Ok(done)),
            // A disk that fails ends the transaction, and nothing of the group is left.
            Err(error) if self.connection.is_autocommit() => Err(error),
            Err(error) => self.execute("ROLLBACK TO change; RELEASE change").map(|()| Err(error)),
        }
    }

    /// Everything that the database has.
    pub(super) fn load(&self) -> Result<Loaded, Error> {
        self.load_beside(checker(), || Ok(()))
    }

    /// Everything that the database has, after a look at every page of it.
    pub(super) fn load_checked(&self) -> Result<Loaded, Error> {
        self.load_beside(checker(), || database::check_integrity(&self.connection, &self.path))
    }

    /// Entries are checked by a thread of their own, while the next ones are read and `meanwhile` is done; where there
    /// is none to be had, by this one.
    pub(super) fn load_beside(
        &self,
        checker: thread::Builder,
        meanwhile: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Loaded, Error> {
        let (failed, own) = (Error::of_file(&self.path), &self.trust_domain);
        let since = database::entries_since(&self.connection).map_err(&failed)?;
        let (batches, waiting) = sync_channel::<Vec<entries::Raw>>(BATCHES_MAX);
        let (read, checked) = thread::scope(|scope| {
            let check_all = move || {
                let mut checked = entries::Checked::default();
                waiting.into_iter().for_each(|batch| checked.add(entries::check(batch, own, since)));
                checked
            };
            let Ok(checker) = checker.spawn_scoped(scope, check_all) else {
                let mut checked = entries::Checked::default();
                let read = entries::read(&self.connection, |batch| checked.add(entries::check(batch, own, since)));
                return (read.map_err(&failed).and_then(|()| meanwhile()), Ok(checked));
            };
            // A checker that is gone has panicked; that is found out when it is joined.
            let read = entries::read(&self.connection, |batch| drop(batches.send(batch)));
            drop(batches);
            (read.map_err(&failed).and_then(|()| meanwhile()), checker.join())
        });
        read?;
        let entries::Checked { entries, left_out } = checked.map_err(|_| Error::Closed)?;
        let (bundles, bundles_left_out) = bundles::load(&self.connection).map_err(&failed)?;
        let (items, items_left_out) = items::load(&self.connection).map_err(&failed)?;
        let (revoked, revoked_left_out) = revocations::load(&self.connection).map_err(&failed)?;
        Ok(Loaded {
            registry_revision: database::registry_revision(&self.connection).map_err(&failed)?,
            entries,
            left_out,
            items,
            items_left_out,
            revoked,
            revoked_left_out,
            authorities: authorities::load(&self.connection).map_err(&failed)?,
            bundles,
            bundles_left_out,
            audit_checkpoint: database::audit_checkpoint(&self.connection).map_err(&failed)?,
        })
    }

    fn begin(&self) -> Result<(), Error> {
        // Left over from a rollback that failed.
        if !self.connection.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        self.execute("BEGIN IMMEDIATE")
    }

    fn execute(&self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql).map_err(Error::of_change)
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "change not rolled back; it is tried again before the next one");
        }
    }

    /// Works the log of changes into the database, when it is long or nobody waits. Failing costs only space.
    fn checkpoint(&self, is_idle: bool) {
        let bytes = fs::metadata(self.path.with_extension("db-wal")).map_or(0, |meta| meta.len());
        if bytes <= if is_idle { WAL_BYTES_IDLE } else { WAL_BYTES_MAX } {
            return;
        }
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "database log not worked in");
        }
    }
}

/// The thread that checks entries.
fn checker() -> thread::Builder {
    thread::Builder::new().name("entries".to_owned())
}

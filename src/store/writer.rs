//! The one thread that writes. Changes that wait together are written together: one fsync for all of them.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::Error;

/// How many changes may wait.
pub(super) const QUEUE_MAX: usize = 1_024;
/// How many are written together.
const GROUP_MAX: usize = 100;
/// After so many groups the log of the database is folded into it.
const GROUPS_PER_CHECKPOINT: u32 = 256;

/// A change: all or nothing.
pub(super) type Work = Box<dyn Fn(&Transaction<'_>) -> Result<(), Error> + Send>;

/// A change, and who waits for it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<(), Error>>,
}

/// Starts the thread; it ends when the last sender is gone.
pub(super) fn start(connection: Connection) -> Result<SyncSender<Job>, Error> {
    let (sender, jobs) = sync_channel(QUEUE_MAX);
    let run = move || run(connection, &jobs);
    thread::Builder::new()
        .name("dayfly-store".into())
        .spawn(run)
        .map_err(|source| Error::Io { path: "writer".into(), source })?;
    Ok(sender)
}

fn run(mut connection: Connection, jobs: &Receiver<Job>) {
    let mut groups = 0_u32;
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP_MAX - 1));
        write(&mut connection, group);
        groups += 1;
        if groups.is_multiple_of(GROUPS_PER_CHECKPOINT) {
            checkpoint(&connection);
        }
    }
    checkpoint(&connection);
}

/// Writes a group. One that fails by itself takes nothing from the others; without a commit all have failed.
fn write(connection: &mut Connection, group: Vec<Job>) {
    let written = write_all(connection, &group);
    if !connection.is_autocommit() {
        // A failed COMMIT may leave the transaction open.
        connection.execute_batch("ROLLBACK").ok();
    }
    // Who has stopped waiting is not told.
    match written {
        Ok(results) => group.into_iter().zip(results).for_each(|(job, result)| drop(job.reply.send(result))),
        Err(error) => {
            let mut error = Some(error);
            for job in group {
                let failure = match &error {
                    Some(Error::Full) => Error::Full,
                    Some(Error::Locked) => Error::Locked,
                    _ => error.take().unwrap_or(Error::Gone),
                };
                job.reply.send(Err(failure)).ok();
            }
        }
    }
}

fn write_all(connection: &mut Connection, group: &[Job]) -> Result<Vec<Result<(), Error>>, Error> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(group.len());
    for job in group {
        let result = in_savepoint(&mut transaction, &job.work);
        // A full disk may roll all of it back at once; what came next would be committed by itself, and nobody told.
        if transaction.is_autocommit() {
            return Err(result.err().unwrap_or(Error::Gone));
        }
        results.push(result);
    }
    transaction.commit()?;
    Ok(results)
}

fn in_savepoint(transaction: &mut Transaction<'_>, work: &Work) -> Result<(), Error> {
    transaction.execute_batch("SAVEPOINT change")?;
    let result = work(transaction);
    match &result {
        Ok(()) => transaction.execute_batch("RELEASE change")?,
        Err(_) if transaction.is_autocommit() => {}
        Err(_) => transaction.execute_batch("ROLLBACK TO change; RELEASE change")?,
    }
    result
}

fn checkpoint(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(error = %error, "the database's log could not be folded in; it is tried again");
    }
}

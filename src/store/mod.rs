//! What must survive a restart: entries and authorities, in SQLite.
//!
//! One thread owns the database and writes in groups; a change is answered when it is on the disk. Reads happen once, at
//! start: afterwards everybody reads from memory. When the disk is full or broken, changes fail and nothing is
//! half-written; the next change is tried anew. What is stored has been checked, and is checked again when it is read.

mod error;
mod rows;
mod schema;
mod writer;

use std::{fs, path::Path, time::SystemTime};

use tokio::sync::oneshot;

use crate::{
    registry::{Change, Entry},
    spiffe::TrustDomain,
};

pub(crate) use error::Error;

/// A handle on the one thread that writes.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    jobs: std::sync::mpsc::SyncSender<writer::Job>,
}

/// Everything that was stored.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) registry_revision: u64,
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
    pub(crate) authorities: Vec<AuthorityRow>,
}

/// Which tier an authority is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorityKind {
    /// In the bundle.
    Root,
    /// Below a root.
    Issuing,
}

/// Where an authority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthoritySlot {
    Prepared,
    Active,
    Retired,
}

/// An authority, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorityRow {
    /// 32 characters of lower-case hex; its key file has the same name.
    pub(crate) id: String,
    pub(crate) kind: AuthorityKind,
    pub(crate) slot: AuthoritySlot,
    /// `p256` or `p384`.
    pub(crate) algorithm: String,
    /// DER.
    pub(crate) certificate: Vec<u8>,
    pub(crate) changed_at: SystemTime,
}

/// The database's file in the state folder.
const FILE: &str = "dayfly.db";

impl Store {
    /// Opens the database in a state folder, or makes it, and reads all of it. Blocks.
    ///
    /// # Errors
    /// When it is locked, corrupt, from a newer version, of another trust domain, or missing beside its keys.
    pub(crate) fn open(state: &Path, trust_domain: &TrustDomain) -> Result<(Self, Loaded), Error> {
        let path = state.join(FILE);
        let has_keys = has_keys(&state.join("keys"));
        if !path.exists() && has_keys {
            return Err(Error::DatabaseMissing { path });
        }
        let connection = schema::open(&path, trust_domain, has_keys)?;
        let loaded = rows::load(&connection, trust_domain)?;
        Ok((Self { jobs: writer::start(connection)? }, loaded))
    }

    /// Stores changes of the registry, all or none; answers when they are on the disk.
    ///
    /// # Errors
    /// When they are not; nothing was changed then.
    pub(crate) async fn commit_entries(&self, revision: u64, changes: Vec<Change>) -> Result<(), Error> {
        self.run(Box::new(move |transaction| rows::change_entries(transaction, revision, &changes))).await
    }

    /// Stores authorities, all or none, over those of the same id.
    ///
    /// # Errors
    /// As [`Store::commit_entries`].
    pub(crate) async fn save_authorities(&self, authorities: Vec<AuthorityRow>) -> Result<(), Error> {
        self.run(Box::new(move |transaction| rows::save_authorities(transaction, &authorities))).await
    }

    /// Forgets an authority.
    ///
    /// # Errors
    /// As [`Store::commit_entries`].
    pub(crate) async fn remove_authority(&self, id: String) -> Result<(), Error> {
        self.run(Box::new(move |transaction| rows::remove_authority(transaction, &id))).await
    }

    async fn run(&self, work: writer::Work) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        // A full queue is answered at once: whoever waits longer than it takes to fill it waits for a broken disk.
        self.jobs.try_send(writer::Job { work, reply }).map_err(|_| Error::Busy)?;
        answer.await.unwrap_or(Err(Error::Gone))
    }
}

fn has_keys(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    entries.any(|entry| entry.is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "key")))
}

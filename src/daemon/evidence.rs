//! What the audit log has outside its folder: the key that signs it, and its last checkpoint in the database.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use crate::{
    audit::{Checkpoint, Outside},
    store::{self, Store},
    sys::chain,
};

/// What the log is given at the start.
pub(super) fn outside(state: &Path, store: Store, kept: Option<&str>) -> anyhow::Result<Outside> {
    Ok(Outside {
        key: state.join("keys").join("audit.key"),
        known: kept.map(parse).transpose()?,
        keep: Box::new(move |checkpoint| {
            let mut answer = store.keep_audit_checkpoint(checkpoint.to_string());
            Box::new(move |most| answer(most).map(|kept| kept.map_err(|error| chain(&error))))
        }),
    })
}

/// What a database says of the log beside it.
pub(crate) enum Kept {
    /// There is none.
    NoDatabase,
    /// A daemon has it open, and knows.
    InUse,
    /// The last checkpoint, if there was one.
    At(Option<Box<Checkpoint>>),
}

/// What the database in a state folder says of the log, for those who are not the daemon.
///
/// # Errors
/// When it cannot be read, or says what no daemon wrote.
pub(crate) fn kept(state: &Path) -> anyhow::Result<Kept> {
    if !state.join("dayfly.db").exists() {
        return Ok(Kept::NoDatabase);
    }
    match store::audit_checkpoint(state) {
        Ok(text) => Ok(Kept::At(text.as_deref().map(parse).transpose()?.map(Box::new))),
        Err(store::Error::Locked { .. }) => Ok(Kept::InUse),
        Err(error) => Err(error).context("the database beside the audit log cannot be read"),
    }
}

fn parse(text: &str) -> anyhow::Result<Checkpoint> {
    Checkpoint::parse(text).ok_or_else(|| anyhow!("the database's last checkpoint of the audit log is none: {text:?}"))
}

//! How the daemon stands: whether it can issue, what does not work, and which authorities it has.

use std::{sync::Arc, time::SystemTime};

/// The daemon at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether a caller with an entry would get its credential now.
    pub(crate) is_ready: bool,
    /// What does not work, a sentence each; empty when all is well.
    pub(crate) problems: Vec<String>,
    /// The embedded authorities, oldest first.
    pub(crate) authorities: Vec<AuthorityStanding>,
    /// How many records the audit log has taken in its life.
    pub(crate) audit_records: u64,
    /// The audit log's last checkpoint; empty when there is none.
    pub(crate) audit_checkpoint: String,
}

/// One signing key and its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorityStanding {
    /// Its name in the store.
    pub(crate) id: String,
    /// `root` or `issuing`.
    pub(crate) kind: &'static str,
    /// `prepared`, `active` or `retired`.
    pub(crate) slot: &'static str,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// Tells how the daemon stands. It must not wait for anything.
pub(crate) type Stand = Arc<dyn Fn() -> Standing + Send + Sync>;

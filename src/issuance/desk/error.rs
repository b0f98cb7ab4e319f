//! Why the registry is not changed. Nothing of an order was done then, but where an error says otherwise.

use std::fmt;

use crate::{
    audit,
    oauth::access,
    registry::{self, Label, Problems},
    store,
};

use super::{CHANGES_MAX, ENTRIES_MAX};

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What was written is wrong.
    #[error("{0}")]
    Drafts(Faulty),
    /// Nothing could be issued.
    #[error("the end of the entry is past; name a later one, or none")]
    Past,
    /// It does not fit what is there.
    #[error(transparent)]
    Registry(registry::Error),
    /// Somebody else changed it meanwhile.
    #[error("the {what} was changed meanwhile: it has revision {present}, not {expected}")]
    Stale {
        /// As `entry ID` or `agent crew`.
        what: String,
        /// The revision that the admin saw.
        expected: u64,
        /// The revision that it has.
        present: u64,
    },
    /// One order says two things of one.
    #[error("the {0} is named twice")]
    Twice(String),
    /// A retired agent stays that.
    #[error("the agent {0} is retired, which is for good")]
    Retired(Label),
    /// A tool accepts what every one takes.
    #[error("the tool {0} names our own token issuer among what it accepts: every tool takes its tokens")]
    OwnIssuer(Label),
    /// A tool would be where tokens are issued.
    #[error("the audience of the tool {0} is our own token issuer's, and what is for that is for no tool")]
    OwnAudience(Label),
    /// It is no token of ours that could be revoked.
    #[error("the token cannot be revoked: {0}")]
    Token(access::Error),
    /// The disk was slower each time than the second that was to be the first good one was ahead.
    #[error("the disk is too slow: something that was issued meanwhile may be good yet")]
    Slow,
    /// More than [`CHANGES_MAX`] in one order.
    #[error("{0} changes at once, at most {CHANGES_MAX} are made")]
    TooManyChanges(usize),
    /// More than [`ENTRIES_MAX`] in all.
    #[error("there would be {0} entries, at most {ENTRIES_MAX} are kept")]
    TooManyEntries(usize),
    /// Too many orders wait.
    #[error("too many changes wait to be made")]
    Busy,
    /// The change is not on disk.
    #[error("the change could not be written")]
    Store(#[source] store::Error),
    /// The disk stopped answering in the middle of it. Whether it was made is known before the next order.
    #[error("it is not known whether the change was made")]
    Unsure(#[source] store::Error),
    /// Nothing is done without a record.
    #[error("the change could not be recorded")]
    Audit(#[source] audit::Error),
    /// A new entry has no name without them.
    #[error("there are no random bytes")]
    Random,
    /// It was not begun, and will not be.
    #[error("the system gives no thread for it")]
    NoThread,
    /// A fault of ours.
    #[error("the change met a fault")]
    Fault,
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Error {
    /// Whether the disk, or the daemon's share of it, is full: what an admin can mend.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Store(store::Error::Full) | Self::Audit(audit::Error::Full { .. }))
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        Self::Registry(error)
    }
}

/// All problems of all drafts of an order; at least one. Shown one a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faulty(Vec<String>);

impl Faulty {
    /// What is wrong with the only draft of an order.
    pub(super) fn one<P: fmt::Display>(problems: &Problems<P>) -> Self {
        Self(problems.iter().map(ToString::to_string).collect())
    }

    /// Adds what is wrong with one of several drafts.
    pub(super) fn add<P: fmt::Display>(&mut self, which: &str, problems: &Problems<P>) {
        self.0.extend(problems.iter().map(|problem| format!("{which}: {problem}")));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file of ten thousand wrong entries is told by its first ones.
        for (index, line) in self.0.iter().take(LINES_MAX).enumerate() {
            let end = if index > 0 { "\n" } else { "" };
            write!(out, "{end}{line}")?;
        }
        match self.0.len().saturating_sub(LINES_MAX) {
            0 => Ok(()),
            more => write!(out, "\nand {more} more"),
        }
    }
}

/// The most problems that are told at once; they travel in a header.
const LINES_MAX: usize = 20;

//! Why a caller could not be attested.

use crate::sys::peer::Fault;

/// Why nothing can be said of a caller now. What is true of it but not enough is no error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The connection is not its process's any more and is being closed.
    #[error("the connection is no longer its caller's")]
    Fault(#[source] Fault),
    /// It ended while it was being looked at.
    #[error("the connection ended while its caller was attested")]
    Ended,
    /// The process or its image changed each time it was looked at.
    #[error("the caller changed while it was attested")]
    Unsteady,
    /// No answer to the challenge in time.
    #[error("the caller did not answer the challenge within {seconds} s")]
    Unanswered { seconds: u64 },
    /// A process keeps us waiting that we look at, or as many of its user as may be looked at do.
    #[error(
        "the process, or others of its user, cannot be looked at in time: an exec of theirs hangs, or a file system"
    )]
    Looks,
    /// Names of users and groups could not be looked up.
    #[error("names of users and groups could not be looked up")]
    Names(#[source] super::names::Error),
    /// The executable could not be hashed in time, or too many wait for that.
    #[error("the executable could not be hashed")]
    Hash(#[source] super::hash::Error),
}

impl Error {
    /// A stable word for the audit log and the counters.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code(),
            Self::Ended => "connection_ended",
            Self::Unsteady => "image_changed",
            Self::Unanswered { .. } => "challenge_unanswered",
            Self::Looks => "looks_exhausted",
            Self::Names(_) => "names_unavailable",
            Self::Hash(_) => "hash_unavailable",
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

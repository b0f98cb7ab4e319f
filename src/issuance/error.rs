//! Why a caller gets nothing now.

use crate::{attest, audit, authority, policy::Reason};

/// How a request or a stream of them ends without an answer. A refusal is an answer, told apart here only because a
/// stream ends with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The caller has no identity, or none any more.
    #[error("the caller is entitled to nothing")]
    Refused(Vec<Reason>),
    /// The connection is being closed: it is not its caller's any more.
    #[error("the connection is being closed")]
    Closed,
    /// The caller could not be attested now.
    #[error("the caller could not be attested")]
    Attest(#[source] attest::Error),
    /// Not one of the caller's identities could be signed.
    #[error("no credential could be signed")]
    Sign(#[source] authority::Error),
    /// The audit log takes no record, and nothing leaves without one.
    #[error("the audit log takes no record")]
    Audit(#[source] audit::Error),
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}

//! The one place where errors become gRPC codes and words.
//!
//! The caller hears the class, the operator's log has the cause. Never `Cancelled` and never `InvalidArgument` for
//! something the daemon did, since clients end their watches for good on those; never `ResourceExhausted`, on which
//! they give up.

use tonic::{Code, Status};

use super::limits::Over;
use crate::issuance::Error;

/// The words for a request without exactly one `workload.spiffe.io: true`.
pub(crate) const NO_HEADER: &str = "security header missing from request";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(_) => Self::new(Code::PermissionDenied, "no identity issued"),
            Error::Closed => Self::new(Code::Unavailable, "connection closed"),
            Error::Attest(_) => Self::new(Code::Unavailable, "workload could not be attested; try again"),
            Error::Sign(_) => Self::new(Code::Unavailable, "credential could not be signed; try again"),
            Error::Audit(_) => Self::new(Code::Unavailable, "no record could be kept; try again"),
            Error::Stopping => Self::new(Code::Unavailable, "daemon is stopping; try again"),
        }
    }
}

/// A limit was met.
pub(crate) fn overloaded(over: Over) -> Status {
    Status::new(Code::Unavailable, format!("over the limit {}; try again later", over.code()))
}

/// A handler panicked; it must not look like a cancelled stream.
pub(crate) fn panicked() -> Status {
    Status::new(Code::Unavailable, "internal fault; try again")
}

/// A method that is not offered.
pub(crate) fn not_offered() -> Status {
    Status::new(Code::Unimplemented, "not offered")
}

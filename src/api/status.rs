//! The one place where errors become gRPC codes and words.
//!
//! The caller hears the class, the operator's log has the cause. Never `Cancelled` and never `InvalidArgument` for
//! something the daemon did, since clients end their watches for good on those; never `ResourceExhausted`, on which
//! they give up.

use tonic::{Code, Status};

use super::limits::Over;
use crate::{
    issuance::{Error, Unexplained, desk},
    registry,
    sys::chain,
};

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

impl From<desk::Error> for Status {
    fn from(error: desk::Error) -> Self {
        use desk::Error;
        match error {
            Error::Drafts(_) | Error::Twice(_) | Error::TooManyChanges(_) => invalid(&error.to_string()),
            Error::Registry(error) => error.into(),
            Error::Stale { .. } => Self::new(Code::Aborted, error.to_string()),
            Error::TooManyEntries(_) => Self::new(Code::Unavailable, error.to_string()),
            Error::Busy => over("admin_orders"),
            _ if error.is_disk_full() => fault("the disk is full, nothing was changed", &error),
            Error::Store(_) => fault("the change could not be written, nothing was changed", &error),
            Error::Audit(_) => fault("the change could not be recorded, nothing was changed", &error),
            Error::Random | Error::Fault => fault("internal fault, nothing was changed", &error),
            Error::Stopping => stopping(),
        }
    }
}

impl From<registry::Error> for Status {
    fn from(error: registry::Error) -> Self {
        use registry::Error;
        let code = match error {
            Error::EntryId(_) => Code::InvalidArgument,
            Error::UnknownEntry(_) => Code::NotFound,
            Error::IdTaken(_) | Error::Duplicate { .. } | Error::HintTaken { .. } => Code::AlreadyExists,
        };
        Self::new(code, words(&error.to_string()))
    }
}

impl From<Unexplained> for Status {
    fn from(error: Unexplained) -> Self {
        match error {
            Unexplained::NoProcess(_) => Self::new(Code::NotFound, error.to_string()),
            Unexplained::Failed(_) => fault("the process could not be looked at", &error),
        }
    }
}

/// The caller asked for something that makes no sense.
pub(crate) fn invalid(problem: &str) -> Status {
    Status::new(Code::InvalidArgument, words(problem))
}

/// The caller is neither the daemon's user, nor root, nor in the admin group.
pub(crate) fn stranger() -> Status {
    Status::new(Code::PermissionDenied, "only the daemon's user, root and the admin group may ask this")
}

/// A named limit was met.
pub(crate) fn over(limit: &'static str) -> Status {
    Status::new(Code::Unavailable, format!("over the limit {limit}; try again later"))
}

/// A watch was not read while more changed than is kept for it.
pub(crate) fn fell_behind() -> Status {
    Status::new(Code::Unavailable, "the watch fell behind, over the limit watch_batches; list and watch again")
}

/// The daemon stops.
pub(crate) fn stopping() -> Status {
    Status::new(Code::Unavailable, "daemon is stopping; try again")
}

/// Something does not work here. The caller hears of which class it is and a number to name it by; the cause is in
/// the log beside that number.
fn fault(class: &str, cause: &dyn std::error::Error) -> Status {
    let mut number = [0; 4];
    // A number that is not random is a number all the same.
    aws_lc_rs::rand::fill(&mut number).ok();
    let number = u32::from_be_bytes(number);
    tracing::error!(fault = format!("{number:08x}"), cause = %chain(cause), "call failed");
    Status::new(Code::Unavailable, format!("{class}; the daemon's log tells why at fault {number:08x}"))
}

/// Words travel in a header, percent-encoded, and clients take 8 KiB of headers or a little more.
fn words(text: &str) -> String {
    const BYTES_MAX: usize = 4_096;
    match text.len() {
        0..=BYTES_MAX => text.to_owned(),
        _ => format!("{}…", text.get(..text.floor_char_boundary(BYTES_MAX)).unwrap_or_default()),
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

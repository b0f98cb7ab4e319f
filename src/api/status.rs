//! The one place where errors become gRPC codes and words.
//!
//! The caller hears the class, the operator's log has the cause. Never `Cancelled` and never `InvalidArgument` for
//! something the daemon did, since clients end their watches for good on those; never `ResourceExhausted`, on which
//! they give up.

use tonic::{Code, Status};

use super::{admin::Uninvited, limits::Over};
use crate::{
    issuance::{Error, Misasked, Unexplained, desk, foreign},
    registry,
    spiffe::jwt,
    sys::chain,
};

/// The words for a request without exactly one `workload.spiffe.io: true`.
pub(crate) const NO_HEADER: &str = "security header missing from request";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(_) => nothing_given(),
            Error::Closed => Self::new(Code::Unavailable, "connection closed"),
            Error::Attest(_) => fault("workload could not be attested; try again", &error),
            Error::Sign(_) => fault("credential could not be signed; try again", &error),
            Error::Audit(_) => fault("no record could be kept; try again", &error),
            Error::Stopping => Self::new(Code::Unavailable, "daemon is stopping; try again"),
        }
    }
}

impl From<Misasked> for Status {
    fn from(error: Misasked) -> Self {
        invalid(&error.to_string())
    }
}

impl From<desk::Error> for Status {
    fn from(error: desk::Error) -> Self {
        use desk::Error;
        match error {
            Error::Drafts(_)
            | Error::Past
            | Error::Twice(_)
            | Error::TooManyChanges(_)
            | Error::Token(_)
            | Error::OwnIssuer(_)
            | Error::OwnAudience(_) => invalid(&error.to_string()),
            Error::Slow => Self::new(Code::Unavailable, format!("{error}; try again")),
            Error::Retired(_) => Self::new(Code::FailedPrecondition, error.to_string()),
            Error::Registry(error) => error.into(),
            Error::Stale { .. } => Self::new(Code::Aborted, error.to_string()),
            Error::TooManyEntries(_) => Self::new(Code::Unavailable, format!("{error}; nothing was changed")),
            Error::Busy => {
                Self::new(Code::Unavailable, "over the limit admin_orders; nothing was changed, try again later")
            }
            _ if error.is_disk_full() => fault("the disk is full; nothing was changed", &error),
            Error::Store(_) => fault("the change could not be written; nothing was changed", &error),
            Error::Unsure(_) => {
                fault("the disk does not answer; the change may be made or not, look before you try again", &error)
            }
            Error::Audit(_) => fault("the change could not be recorded; nothing was changed", &error),
            Error::NoThread => fault("the system gives no thread; nothing was changed, try again", &error),
            Error::Random | Error::Fault => fault("internal fault; nothing was changed", &error),
            Error::Stopping => stopping(),
        }
    }
}

impl From<foreign::Error> for Status {
    fn from(error: foreign::Error) -> Self {
        use foreign::Error;
        match error {
            Error::Name { .. } | Error::Own(_) | Error::Refused { .. } => invalid(&error.to_string()),
            Error::Unknown(_) => Self::new(Code::NotFound, error.to_string()),
            Error::Federated { .. } => Self::new(Code::FailedPrecondition, error.to_string()),
            Error::TooManyDomains(_) | Error::TooManyBytes(_) => {
                Self::new(Code::Unavailable, format!("{error}; nothing was changed"))
            }
            Error::Change(error) => error.into(),
        }
    }
}

impl From<registry::Error> for Status {
    fn from(error: registry::Error) -> Self {
        use registry::Error;
        let code = match error {
            Error::EntryId(_) => Code::InvalidArgument,
            Error::UnknownEntry(_) | Error::UnknownItem(_) | Error::UnknownAgent(_) | Error::NotRevoked(_) => {
                Code::NotFound
            }
            Error::IdTaken(_)
            | Error::Duplicate { .. }
            | Error::HintTaken { .. }
            | Error::Overlap { .. }
            | Error::ItemTaken(_)
            | Error::PlaceTaken { .. } => Code::AlreadyExists,
            Error::UnknownScope { .. } | Error::InUse { .. } => Code::FailedPrecondition,
            Error::TooManyTemplates | Error::TooMany { .. } => Code::Unavailable,
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

impl From<Uninvited> for Status {
    fn from(error: Uninvited) -> Self {
        match error {
            Uninvited::Busy => Self::new(Code::Unavailable, error.to_string()),
            Uninvited::Failed(_) => fault("no private channel could be made; nothing was changed", &error),
        }
    }
}

/// The caller asked for something that makes no sense.
pub(crate) fn invalid(problem: &str) -> Status {
    Status::new(Code::InvalidArgument, words(problem))
}

/// The caller is entitled to nothing of what it asks for.
pub(crate) fn nothing_given() -> Status {
    Status::new(Code::PermissionDenied, "no identity issued")
}

/// Secrets with these names were a proxy's and are not any more.
pub(crate) fn taken_away(names: &[String]) -> Status {
    const NAMES_MAX: usize = 8;
    let more = if names.len() > NAMES_MAX { " and more" } else { "" };
    let names: Vec<_> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let what = format!("no identity issued: {}{more} not given to this proxy any more", names.join(", "));
    Status::new(Code::PermissionDenied, words(&what))
}

/// A token is not believed.
pub(crate) fn not_valid(why: &jwt::Error) -> Status {
    invalid(&format!("the token is not valid: {why}"))
}

/// The caller is neither the daemon's user, nor root, nor in the admin group.
pub(crate) fn stranger() -> Status {
    Status::new(Code::PermissionDenied, "only the daemon's user, root and the admin group may ask this")
}

/// The caller may administer the daemon, and may not have what it has.
pub(crate) fn not_owner() -> Status {
    Status::new(Code::PermissionDenied, "only the daemon's own user and root may take its place")
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

/// There is nothing to judge by, or another process takes this one's place.
pub(crate) fn not_now() -> Status {
    Status::new(Code::Unavailable, "the daemon cannot judge requests now; try again")
}

/// Something does not work here. The caller hears of which class it is, and a number to name it by; the cause was
/// logged where it was met, and is logged once more beside that number for whoever looks for it.
fn fault(class: &str, cause: &dyn std::error::Error) -> Status {
    let mut number = [0; 4];
    // A number that is not random is a number all the same.
    aws_lc_rs::rand::fill(&mut number).ok();
    let number = u32::from_be_bytes(number);
    tracing::debug!(fault = format!("{number:08x}"), cause = %chain(cause), "call failed");
    Status::new(Code::Unavailable, format!("{class} (fault {number:08x})"))
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
    let hint = match over {
        Over::AnswerBytesOfUser | Over::AnswerBytesOfAll => "read the answers that wait, or try again later",
        _ => "try again later",
    };
    Status::new(Code::Unavailable, format!("over the limit {}; {hint}", over.code()))
}

/// A request did not come whole in time. Nobody's fault, as far as clients are told: they try again.
pub(crate) fn unfinished() -> Status {
    Status::new(Code::Unavailable, "the request did not end in time; try again")
}

/// A handler panicked; it must not look like a cancelled stream.
pub(crate) fn panicked() -> Status {
    Status::new(Code::Unavailable, "internal fault; try again")
}

/// A method that is not offered.
pub(crate) fn not_offered() -> Status {
    Status::new(Code::Unimplemented, "not offered")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{attest, audit};

    /// Clients end their watches for good on the first two, and give up on the third.
    const NEVER: [Code; 3] = [Code::Cancelled, Code::InvalidArgument, Code::ResourceExhausted];

    #[test]
    fn what_the_daemon_did_is_never_told_as_the_callers_fault() {
        let audit = || audit::Error::Closed;
        let daemon: Vec<Status> = vec![
            Error::Refused(Vec::new()).into(),
            Error::Closed.into(),
            Error::Attest(attest::Error::Unsteady).into(),
            Error::Audit(audit()).into(),
            Error::Stopping.into(),
            desk::Error::Busy.into(),
            desk::Error::Audit(audit()).into(),
            desk::Error::TooManyEntries(1).into(),
            desk::Error::Random.into(),
            desk::Error::NoThread.into(),
            desk::Error::Fault.into(),
            desk::Error::Stopping.into(),
            foreign::Error::TooManyDomains(1).into(),
            foreign::Error::TooManyBytes(1).into(),
            foreign::Error::Change(desk::Error::Busy).into(),
            Unexplained::Failed(Box::new(audit())).into(),
            overloaded(Over::RequestRate),
            overloaded(Over::AnswerBytesOfUser),
            over("watches"),
            fell_behind(),
            stopping(),
            unfinished(),
            panicked(),
        ];
        for status in daemon {
            assert!(!NEVER.contains(&status.code()), "{status:?}");
        }
    }

    #[test]
    fn a_fault_has_its_class_and_a_number_and_no_cause() {
        let status = Status::from(Error::Attest(attest::Error::Unanswered { seconds: 5 }));
        let (class, number) = status.message().split_once(" (fault ").unwrap();
        assert_eq!(class, "workload could not be attested; try again");
        assert_eq!(number.len(), "01234567)".len());
        assert_ne!(status.message(), Status::from(Error::Attest(attest::Error::Unsteady)).message());
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(words("short"), "short");
        assert_eq!(words(&format!("x{}", "é".repeat(4_096))).len(), 4_095 + "…".len());
    }
}

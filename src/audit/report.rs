//! What a reader of the whole log is told: that it is as it was written, or where it first is not.

use std::{io, path::PathBuf};

use super::{chain::Hash, checkpoint::Checkpoint};

/// A log that is as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// How many segments there are.
    pub(crate) segments: usize,
    /// How many records.
    pub(crate) records: u64,
    /// The number of the first one; 0 when there is none.
    pub(crate) first: u64,
    /// The number of the last one; 0 when there is none.
    pub(crate) last: u64,
    /// When the first one was written, RFC 3339.
    pub(crate) since: String,
    /// When the last one was written, RFC 3339.
    pub(crate) until: String,
    /// The hash of the last one, lower-case hex: kept elsewhere, it shows later that nothing before was rewritten.
    pub(crate) hash: String,
    /// The number of the last record that a checkpoint signs; 0 when none does.
    pub(crate) signed: u64,
    /// When it was signed, RFC 3339.
    pub(crate) signed_at: String,
    /// The fingerprint of the key that has signed all checkpoints, lower-case hex.
    pub(crate) key: String,
    /// How many credentials were counted, and have no line of their own.
    pub(crate) counted: u64,
    /// What the log says of its own past.
    pub(crate) findings: Vec<Finding>,
    /// The names of some files in the folder that look like segments and are none. They were not read.
    pub(crate) foreign: Vec<String>,
}

/// What is known of a log beside what is in its folder.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// The key that must have signed it.
    pub(crate) key: Option<Hash>,
    /// A checkpoint that must be in it.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Whether a daemon may be writing it now.
    pub(crate) is_written: bool,
}

/// Something that was found when the log was opened, and recorded then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The record that says so.
    pub(crate) record: u64,
    /// `tail_cut`, `head_missing`, `records_missing`, `unsigned_tail`, `damaged`; or `issued_counting`, where it is not
    /// told how many credentials were counted.
    pub(crate) kind: String,
    /// Of an `unsigned_tail`, its first record, and how many there are.
    pub(crate) tail: Option<(u64, u64)>,
}

/// What is wrong with a log: the first thing that is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A line is not one of ours.
    #[error("segment {segment}, line {line}: not an audit record")]
    Malformed { segment: u64, line: u64 },
    /// A line is not as it was written.
    #[error("segment {segment}, line {line}: the record was changed")]
    Changed { segment: u64, line: u64 },
    /// Another record stands here.
    #[error("segment {segment}, line {line}: record {found} stands where record {expected} belongs")]
    Order { segment: u64, line: u64, expected: u64, found: u64 },
    /// The record is the right one, but the one before it is not the one it was linked to.
    #[error("segment {segment}, line {line}: record {record} does not follow the one before it, which was replaced")]
    Unlinked { segment: u64, line: u64, record: u64 },
    /// A whole file is missing.
    #[error("segment {segment} is missing")]
    SegmentMissing { segment: u64 },
    /// The log begins later than it may.
    #[error("the log begins with record {first}, and nothing that is signed says that those before were removed")]
    BeginningMissing { first: u64 },
    /// The daemon had stopped and signed the log, and then somebody else has written.
    #[error(
        "segment {segment}, line {line}: record {record} was added after the daemon had stopped and signed the log"
    )]
    AfterEnd { segment: u64, line: u64, record: u64 },
    /// The log ends earlier than it did.
    #[error("the log ends with record {last}, but record {known} was written")]
    EndMissing { last: u64, known: u64 },
    /// Nothing says how far the log had come.
    #[error("the file `head` is missing or damaged, so records may be missing at the end")]
    HeadMissing,
    /// The record that the head knows is another one.
    #[error("segment {segment}, line {line}: record {record} is not the one that was written last")]
    Replaced { segment: u64, line: u64, record: u64 },
    /// Bytes that no daemon is writing now.
    #[error(
        "segment {segment}: {bytes} bytes behind record {last} are no record; they were added, or the daemon ended while it wrote (then its next start cuts them off)"
    )]
    Trailing { segment: u64, bytes: u64, last: u64 },
    /// A checkpoint that signs something else.
    #[error("segment {segment}, line {line}: the signature of checkpoint {record} is wrong")]
    Forged { segment: u64, line: u64, record: u64 },
    /// A checkpoint of somebody else's.
    #[error("segment {segment}, line {line}: checkpoint {record} is signed with the key {found}, not with {wanted}")]
    ForeignKey { segment: u64, line: u64, record: u64, found: String, wanted: String },
    /// Nothing is signed, though something must be.
    #[error("no checkpoint is in the log, though it was signed with the key {wanted}")]
    Unsigned { wanted: String },
    /// The record that others know is another one.
    #[error("segment {segment}, line {line}: record {record} is not the checkpoint that the database knows")]
    NotKnown { segment: u64, line: u64, record: u64 },
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Io { path: PathBuf, source: io::Error },
}

//! What is recorded. Never a key, a token, an environment or a command line.

use std::{path::PathBuf, time::SystemTime};

use serde::{Deserialize, Serialize, Serializer};

use crate::spiffe::Id;

use super::{
    Error,
    chain::{self, Hash, Link},
    checkpoint::Beginning,
};

/// The longest record, in bytes of JSON. An executable's path of 4,096 hostile bytes takes 24 KiB.
pub(super) const RECORD_BYTES_MAX: usize = 128 * 1024;

/// One thing that was done, or not.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Record {
    /// Credentials were signed for one answer. They leave after this, unless their caller has gone or changed meanwhile:
    /// then nobody gets them. Beyond a number of bytes for each party they are counted, not written.
    Issued {
        /// Who gets them.
        caller: Caller,
        /// Their kind: `x509-svid`.
        credential: &'static str,
        /// Whether the caller had them before.
        renewal: bool,
        /// One for each, at least one and at most [`IDENTITIES_PER_RECORD`].
        identities: Vec<IdentityIssued>,
    },
    /// A caller got nothing, or a template gave it nothing beside what it got. Beyond a number for each uid and minute these are counted, not written.
    Refused {
        /// Who asked.
        caller: Caller,
        /// For what: a kind of credential, or `connection` when it came no further.
        what: &'static str,
        /// Stable codes.
        reasons: Vec<&'static str>,
        /// More for people.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// Whose credential it came with, where that is sure: of the refusals that are written he has a share of his own.
        #[serde(skip)]
        holder: Option<String>,
    },
    /// An admin did something, or was not allowed to.
    Admin {
        /// Who.
        caller: Caller,
        /// What: `entry_create`.
        verb: &'static str,
        /// To what: an entry's id.
        object: String,
        /// `ok`, or a stable code of why not.
        result: &'static str,
        /// What is different now, a line each.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        changes: Vec<String>,
    },
    /// A signing authority changed its place.
    Authority {
        /// `prepared`, `activated`, `retired`, `removed`.
        event: &'static str,
        /// What it signs as: `root`, `issuing`, `jwt`, `wit`, `access`.
        role: &'static str,
        /// Its key's identifier, lower-case hex.
        id: String,
        /// The last second of its life.
        #[serde(serialize_with = "as_time")]
        not_after: SystemTime,
    },
    /// The daemon itself.
    Daemon {
        /// `started`, `stopped`, …
        event: &'static str,
        /// More for people.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

/// How many identities one record of what was issued has: with the longest IDs and the longest executable's path they
/// are no more than a record may be.
pub(crate) const IDENTITIES_PER_RECORD: usize = 32;

/// One credential that was issued.
#[derive(Debug, Serialize)]
pub(crate) struct IdentityIssued {
    /// Whose it is.
    #[serde(serialize_with = "as_text")]
    pub(crate) spiffe_id: Id,
    /// The entry that gives it.
    pub(crate) entry: String,
    /// That entry's revision.
    pub(crate) revision: u64,
    /// Lower-case hex: a certificate's serial number, a hash of an SVID that is a token, or the `jti` of an access token.
    pub(crate) serial: String,
    /// The last second of its life.
    #[serde(serialize_with = "as_time")]
    pub(crate) not_after: SystemTime,
    /// Of an access token, what it is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access: Option<AccessIssued>,
}

/// What an access token is good for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AccessIssued {
    /// Which agent has it.
    pub(crate) agent: String,
    /// For which tool.
    pub(crate) tool: String,
    /// For what there.
    pub(crate) scopes: Vec<String>,
    /// The thumbprint of its holder's key (RFC 7638), base64url.
    pub(crate) jkt: String,
    /// How long it lives.
    pub(crate) lifetime_seconds: u64,
    /// The user for whom the agent acts, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delegation: Option<Delegation>,
    /// The `jti` of the token that it was exchanged for, where that had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_jti: Option<String>,
    /// For what it was wanted, as the caller says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Who acts for whom.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Delegation {
    /// The user, as his issuer calls him.
    pub(crate) subject: String,
    /// That issuer.
    pub(crate) subject_issuer: String,
    /// The agent's SPIFFE ID, and who acted before it, the latest first.
    pub(crate) actors: Vec<String>,
}

/// A process on this node, as it was attested.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Caller {
    /// In the daemon's pid namespace.
    pub(crate) pid: i32,
    /// The kernel's word.
    pub(crate) uid: u32,
    /// The kernel's word.
    pub(crate) gid: u32,
    /// The image that answered, where one was asked. Bytes that are no UTF-8 are replaced.
    #[serde(serialize_with = "as_lossy", skip_serializing_if = "Option::is_none")]
    pub(crate) exe: Option<PathBuf>,
}

/// How much a record matters: whether it may use the reserve when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// It must not. Anybody can cause it: of the refusals that are written one by one for a uid it is at most half.
    Slight,
    /// It must not.
    Ordinary,
    /// It may: its subject has an identity already, and must keep it.
    Renewal,
}

/// What the log records of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Own {
    /// The first record of each segment.
    Segment { segment: u64 },
    /// An old segment goes, as there are more bytes than the log may have. Its last record was `through`.
    /// So many of its records were carried over, and so many that should have been had no room.
    Removed { segment: u64, through: Option<u64>, kept: u64, dropped: u64 },
    /// Refusals of one uid that were not written one by one; without a uid, of all that had no count of their own.
    RefusedMore {
        uid: Option<u32>,
        count: u64,
        reasons: std::collections::BTreeMap<&'static str, u64>,
        #[serde(serialize_with = "as_time")]
        since: SystemTime,
    },
    /// From here on, and until the moment that is named at the latest, credentials of this kind are counted for this uid,
    /// or for the 65,536 that begin with it; without a uid, for all that had no bytes of their own.
    IssuedCounting {
        uid: Option<u32>,
        credential: &'static str,
        #[serde(serialize_with = "as_time")]
        until: SystemTime,
    },
    /// What was counted since the record `of`. `serials` is a SHA-256 for each of them, in their order: over the hash of
    /// the one before (that of nothing, for the first) in hex, and the serial.
    IssuedMore {
        of: u64,
        uid: Option<u32>,
        credential: &'static str,
        count: u64,
        #[serde(serialize_with = "as_time")]
        since: SystemTime,
        #[serde(serialize_with = "as_time")]
        until: SystemTime,
        serials: String,
        rows: Vec<Row>,
        /// How many of them are in no row.
        #[serde(skip_serializing_if = "is_zero")]
        without_row: u64,
    },
    /// The end of the log was not whole when it was opened, as after a power failure, and these bytes were cut off.
    TailCut { bytes: u64 },
    /// Records that were on the disk are not there any more. The numbers go on behind them.
    RecordsMissing { through: u64 },
    /// The file that says how far the log had come was not there.
    HeadMissing,
    /// When the log was read at the start, it was not as it was written.
    Damaged { fault: String },
    /// These records stood at the end of the log when it was opened, and no checkpoint had signed them: the daemon did
    /// not stop by itself, or somebody else has written them. The checkpoint behind this record signs them.
    UnsignedTail { from: u64, count: u64 },
    /// Everything before is signed: the number and the hash of the record before this one, the time, where the log
    /// begins, and whether it ends here.
    Checkpoint {
        at: String,
        /// It was `key` once, which scanners of secrets take for one.
        #[serde(rename = "public_key")]
        key: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<First>,
        end: bool,
        signature: String,
    },
}

/// How many of those that were counted a process was given by an entry. Without a pid, how many more of them processes
/// of this uid were given by it; without an entry, how many more by any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<i32>,
    pub(super) uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) entry: Option<String>,
    pub(super) count: u64,
}

/// Where the log begins, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct First {
    segment: u64,
    /// The record before its first one.
    seq: u64,
    hash: String,
}

impl From<Beginning> for First {
    fn from(Beginning { segment, after }: Beginning) -> Self {
        Self { segment, seq: after.seq, hash: after.hash.to_string() }
    }
}

impl First {
    pub(super) fn beginning(&self) -> Option<Beginning> {
        let after = Link { seq: self.seq, hash: Hash::parse(self.hash.as_bytes())? };
        Some(Beginning { segment: self.segment, after })
    }
}

/// The members of a record's JSON object, without the braces.
pub(super) fn body(record: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut json = Vec::with_capacity(512);
    serde_json::to_writer(&mut json, record).map_err(Error::Encode)?;
    if json.len() > RECORD_BYTES_MAX {
        return Err(Error::TooLarge(json.len()));
    }
    json.pop();
    json.remove(0);
    Ok(json)
}

fn as_text<S: Serializer>(value: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.as_str())
}

fn as_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&chain::timestamp(*time))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn as_lossy<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.serialize_str(&path.to_string_lossy()),
        None => serializer.serialize_none(),
    }
}

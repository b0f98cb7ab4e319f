//! Why nothing is issued. Codes are for programs and stay as they are; sentences are for people.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::{
    registry::{EntryId, Withheld},
    spiffe::{Id, TrustDomain},
};

/// Why an identity is not issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No entry's selectors are all the caller's.
    NoEntry,
    /// The entry matches, and gives this caller nothing.
    Withheld(Withheld),
    /// The entry's own end has come.
    EntryExpired {
        /// Which entry.
        entry: EntryId,
        /// Since when.
        since: SystemTime,
    },
    /// The entry's SPIFFE ID is in another trust domain than the daemon.
    ForeignTrustDomain {
        /// Which entry.
        entry: EntryId,
        /// The trust domain it names.
        named: TrustDomain,
    },
    /// The rules leave less than a whole second of life.
    NoLifetime {
        /// Which entry.
        entry: EntryId,
        /// What they leave.
        left: Duration,
    },
    /// The caller asks for an identity by name that no entry gives to it.
    NotGiven {
        /// Which.
        id: Id,
    },
}

impl Reason {
    /// Why a caller is given nothing by the entries that it matches.
    pub(crate) fn of_nothing(withheld: Vec<Withheld>) -> Vec<Self> {
        match withheld.is_empty() {
            true => vec![Self::NoEntry],
            false => withheld.into_iter().map(Self::Withheld).collect(),
        }
    }

    /// A stable word for audit records, metrics and programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoEntry => "no_entry",
            Self::Withheld(withheld) => withheld.why.code(),
            Self::EntryExpired { .. } => "entry_expired",
            Self::ForeignTrustDomain { .. } => "foreign_trust_domain",
            Self::NoLifetime { .. } => "no_lifetime",
            Self::NotGiven { .. } => "identity_not_given",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntry => write!(f, "no entry's selectors are all the caller's"),
            Self::Withheld(withheld) => withheld.fmt(f),
            Self::EntryExpired { entry, since } => {
                let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                write!(f, "the entry {entry} has expired (at Unix time {since})")
            }
            Self::ForeignTrustDomain { entry, named } => {
                write!(f, "the entry {entry} names the trust domain {named}, which is not this daemon's")
            }
            Self::NoLifetime { entry, left } => {
                write!(f, "the rules leave {} ms of life to the entry {entry}", left.as_millis())
            }
            Self::NotGiven { id } => write!(f, "no entry gives {id} to the caller"),
        }
    }
}

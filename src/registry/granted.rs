//! Which of the entries that match a caller it is given, in one answer.
//!
//! Every kind of credential asks here, so that all agree: an entry that gives a certificate gives a token too, under the
//! same SPIFFE ID.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Deref,
    sync::Arc,
    time::SystemTime,
};

use super::{
    entry::{Entry, EntryId},
    name::Name,
    order::place,
    selectors::Selectors,
    snapshot::Snapshot,
    template::Placeholder,
};
use crate::spiffe::{Id, IdError};

/// Identities of one caller. Clients refuse a message with more (rust-spiffe), and one of 4 MiB.
pub(crate) const IDENTITIES_MAX: usize = 100;

/// Entries of which it is kept why they give one caller nothing: they are recorded, and a record has an end.
pub(super) const WITHHELD_MAX: usize = 100;

/// An entry with the SPIFFE ID that it gives to one caller. Only this file makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    entry: Arc<Entry>,
    id: Id,
}

impl Given {
    /// Whose the caller is by it.
    pub(crate) fn spiffe_id(&self) -> &Id {
        &self.id
    }
}

impl Deref for Given {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

/// What the entries that match a caller come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Oldest first; the first is the default identity. At most [`IDENTITIES_MAX`].
    pub(crate) given: Vec<Given>,
    /// Those that give this caller nothing, and why; oldest first. At most [`WITHHELD_MAX`].
    pub(crate) withheld: Vec<Withheld>,
    /// How many more there are of them.
    pub(crate) more_withheld: usize,
    /// How many more would be given if clients took them.
    pub(crate) beyond: usize,
}

/// An entry that matches a caller and gives it nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Withheld {
    /// Which entry.
    pub(crate) entry: EntryId,
    /// Why.
    pub(crate) why: Why,
}

/// Why an entry gives nothing to a caller that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its own end has come.
    Expired {
        /// Since when.
        since: SystemTime,
    },
    /// An older one of the same caller has its hint: hints are unique in an answer, and the oldest keeps it.
    HintTaken {
        /// That one.
        by: EntryId,
    },
    /// The caller has no value of something that its SPIFFE ID would be made of.
    NoValue {
        /// Of what.
        placeholder: Placeholder,
    },
    /// The caller has several.
    ManyValues {
        /// Of what.
        placeholder: Placeholder,
    },
    /// The caller's value is no segment of a SPIFFE ID.
    IllegalValue {
        /// Of what.
        placeholder: Placeholder,
        /// Which rule it breaks.
        reason: IdError,
    },
    /// All together are no SPIFFE ID.
    NoId {
        /// Which rule it breaks.
        reason: IdError,
    },
    /// Another entry says literally what the template comes to.
    IdTaken {
        /// That SPIFFE ID.
        id: Id,
    },
}

/// What a caller with these selectors is given at this time. Left out is what has expired, and each entry whose hint an
/// older one of the same caller has, as SPIRE does; empty hints may repeat. Which entries meet in one caller is known
/// only when it calls, so this cannot be wholly refused when entries are made.
pub(crate) fn granted(snapshot: &Snapshot, have: &Selectors, now: SystemTime) -> Granted {
    let mut granted = Granted::default();
    let mut hints: BTreeMap<String, EntryId> = BTreeMap::new();
    for entry in snapshot.matching(have) {
        match judged(&entry, snapshot, have, &hints, now) {
            Err(_) if granted.withheld.len() == WITHHELD_MAX => granted.more_withheld += 1,
            Err(why) => granted.withheld.push(Withheld { entry: entry.id.clone(), why }),
            Ok(_) if granted.given.len() == IDENTITIES_MAX => granted.beyond += 1,
            Ok(id) => {
                if !entry.spec.hint.is_empty() {
                    hints.insert(entry.spec.hint.clone(), entry.id.clone());
                }
                granted.given.push(Given { entry, id });
            }
        }
    }
    granted
}

/// What a proxy with these selectors is given: what is its own, and then that of the identities that its entries act for.
/// Those have entries of their own, of which the oldest counts that says the SPIFFE ID literally and has not expired.
pub(crate) fn granted_to_proxy(snapshot: &Snapshot, have: &Selectors, now: SystemTime) -> Granted {
    let mut granted = granted(snapshot, have, now);
    let named: BTreeSet<_> = granted.given.iter().flat_map(|entry| entry.spec.sds_for.iter().cloned()).collect();
    for id in named {
        if granted.given.iter().any(|given| given.id == id) {
            continue;
        }
        let good = snapshot.entries_saying(&id).filter(|entry| !entry.is_expired(now));
        let Some(entry) = good.min_by(|a, b| place(a).cmp(&place(b))) else { continue };
        match granted.given.len() {
            IDENTITIES_MAX => granted.beyond += 1,
            _ => granted.given.push(Given { entry: entry.clone(), id }),
        }
    }
    granted
}

/// What gives nothing takes no hint from those that do.
fn judged(
    entry: &Entry,
    snapshot: &Snapshot,
    have: &Selectors,
    hints: &BTreeMap<String, EntryId>,
    now: SystemTime,
) -> Result<Id, Why> {
    if let Some(since) = entry.spec.expires_at.filter(|_| entry.is_expired(now)) {
        return Err(Why::Expired { since });
    }
    let id = match &entry.spec.spiffe_id {
        Name::Id(id) => id.clone(),
        Name::Template(template) => match template.id_of(have)? {
            id if snapshot.has_literal(&id) => return Err(Why::IdTaken { id }),
            id => id,
        },
    };
    match hints.get(&entry.spec.hint) {
        Some(by) => Err(Why::HintTaken { by: by.clone() }),
        None => Ok(id),
    }
}

impl Why {
    /// Whether what the caller is made the difference, and not the entries alone.
    pub(crate) fn is_of_template(&self) -> bool {
        !matches!(self, Self::Expired { .. } | Self::HintTaken { .. })
    }

    /// A stable word for audit records, metrics and programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "entry_expired",
            Self::HintTaken { .. } => "hint_taken",
            Self::NoValue { .. } => "template_no_value",
            Self::ManyValues { .. } => "template_many_values",
            Self::IllegalValue { .. } | Self::NoId { .. } => "template_illegal_value",
            Self::IdTaken { .. } => "template_id_taken",
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, why } = self;
        match why {
            Why::Expired { since } => {
                let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                write!(f, "the entry {entry} has expired (at Unix time {since})")
            }
            Why::HintTaken { by } => write!(f, "the entry {entry} has the same hint as the older entry {by}"),
            Why::NoValue { placeholder } => write!(f, "the entry {entry} needs {placeholder}, which the caller lacks"),
            Why::ManyValues { placeholder } => {
                write!(f, "the entry {entry} needs one {placeholder}, and the caller has several")
            }
            Why::IllegalValue { placeholder, reason } => {
                write!(f, "the caller's {placeholder} cannot be put into the SPIFFE ID of the entry {entry}: {reason}")
            }
            Why::NoId { reason } => write!(f, "the entry {entry} comes to no SPIFFE ID: {reason}"),
            Why::IdTaken { id } => write!(f, "the entry {entry} comes to {id}, which is another entry's"),
        }
    }
}

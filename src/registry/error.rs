//! What can be wrong with a change of the registry as a whole.

use thiserror::Error;

use super::{entry::EntryId, taken::TEMPLATES_MAX};

/// Why a change was not made. The registry is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Error {
    /// Not a UUID in its canonical form.
    #[error("`{0}` is not an entry's id (a UUID in lower case)")]
    EntryId(String),
    /// No entry has this id.
    #[error("there is no entry {0}")]
    UnknownEntry(EntryId),
    /// The id of a new entry is taken.
    #[error("there is an entry {0} already")]
    IdTaken(EntryId),
    /// Another entry gives the same SPIFFE ID for the same selectors.
    #[error("the entry {existing} has the same SPIFFE ID and selectors")]
    Duplicate {
        /// The entry that is there.
        existing: EntryId,
    },
    /// Another entry has the same hint for the same selectors: of the two, callers would never see the
    /// younger, as hints must be unique within an answer of the Workload API.
    #[error("the entry {existing} has the hint `{hint}` for the same selectors")]
    HintTaken {
        /// The entry that is there.
        existing: EntryId,
        /// The hint.
        hint: String,
    },
    /// Another entry's template could give the same SPIFFE IDs to others.
    #[error("the entry {existing} has the template `{template}`, {}", Self::OVERLAP)]
    Overlap {
        /// The entry that is there.
        existing: EntryId,
        /// Its template.
        template: String,
    },
    /// More than [`TEMPLATES_MAX`].
    #[error("there are {TEMPLATES_MAX} different templates of SPIFFE IDs already, which is the most")]
    TooManyTemplates,
}

impl Error {
    /// The words behind a template that another one meets.
    pub(crate) const OVERLAP: &str = "which could give the same SPIFFE IDs to others";
}

//! What can be wrong with a change of the registry as a whole.

use thiserror::Error;

use super::{
    catalog::Needed, entry::EntryId, grant::GrantId, item::ItemId, label::Label, revocations::RevokedId,
    taken::TEMPLATES_MAX,
};

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
    /// No agent, tool or grant has this name.
    #[error("there is no {0}")]
    UnknownItem(ItemId),
    /// The name of a new agent, tool or grant is taken.
    #[error("there is {article} {0} {taken}", taken = Self::TAKEN, article = if let ItemId::Agent(_) = .0 { "an" } else { "a" })]
    ItemTaken(ItemId),
    /// An entry belongs to an agent that there is not.
    #[error("there is no agent {0} {no_agent}", no_agent = Self::NO_AGENT)]
    UnknownAgent(Label),
    /// Another tool has the audience or the base URL.
    #[error("the tool {existing} has the {what} `{value}`")]
    PlaceTaken {
        /// `audience` or `base URL`.
        what: &'static str,
        /// Which.
        value: String,
        /// The tool that is there.
        existing: Label,
    },
    /// A grant names a scope that its tool does not have.
    #[error("the grant {grant} names the scope `{scope}`, {}", Self::NO_SCOPE)]
    UnknownScope {
        /// Which grant.
        grant: GrantId,
        /// Which scope.
        scope: String,
    },
    /// Others hang on what was to go.
    #[error("the {item} cannot be removed: {by} {}", Self::NEEDED)]
    InUse {
        /// What was to go.
        item: ItemId,
        /// By whom it is needed.
        by: Needed,
    },
    /// What is to be good again was not revoked.
    #[error("the {0} is not revoked")]
    NotRevoked(RevokedId),
    /// More than there may be of something.
    #[error("there would be more than {max} {what}, which is the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}

impl Error {
    /// The words behind a scope that a tool does not have.
    pub(crate) const NO_SCOPE: &str = "which its tool does not have";
    /// The words between the name of an agent and what an entry needs it for.
    pub(crate) const NO_AGENT: &str = "for the entry to belong to";
    /// The words behind a name that is taken.
    pub(crate) const TAKEN: &str = "already";
    /// The words behind those that need what is to go.
    pub(crate) const NEEDED: &str = "would be left without it";
    /// The words behind a template that another one meets.
    pub(crate) const OVERLAP: &str = "which could give the same SPIFFE IDs to others";
}

//! The registry: which callers are which SPIFFE IDs.
//!
//! An entry gives a SPIFFE ID, or one made of what the caller is, to every caller that has all of its selectors. A [`Snapshot`] is the
//! registry at one revision: immutable, shared, and filed so that a caller's entries are found by looking
//! at a handful of them, however many there are. Who the caller is was proved elsewhere. Its [`Catalog`] has the agents
//! that entries may belong to, the tools that there are, and what is granted to whom; its [`Revocations`] what of all that
//! was issued was taken back.
//!
//! Pure: no file, clock or task is touched; what is kept on disk and who may change it is for others.

mod accepts;
mod agent;
mod asked;
mod bearers;
mod catalog;
mod draft;
mod entry;
mod error;
mod filing;
mod flaw;
mod grant;
mod granted;
mod image;
mod item;
mod label;
mod members;
mod name;
mod order;
mod profile;
mod revocations;
mod scope;
mod selector;
mod selectors;
mod shards;
mod snapshot;
mod standing;
mod taken;
mod template;
mod tool;
mod unix;

pub(crate) use agent::{Agent, AgentDraft, State};
pub(crate) use asked::{Asked, Mark};
pub(crate) use catalog::Catalog;
pub(crate) use draft::{Draft, Problem, Problems};
pub(crate) use entry::{Change, Entry, EntryId, Spec};
pub(crate) use error::Error;
pub(crate) use flaw::Flaw;
pub(crate) use grant::{Grant, GrantDraft, GrantId};
pub(crate) use granted::{Given, Granted, IDENTITIES_MAX, Withheld, granted, granted_to_proxy};
pub(crate) use image::{Image, ImageSet};
pub(crate) use item::{Item, ItemDraft, ItemId, ItemSpec};
pub(crate) use label::Label;
pub(crate) use name::Name;
pub(crate) use revocations::{Revocations, Revoked, RevokedId, next_second};
pub(crate) use scope::{Band, Scope};
pub(crate) use selector::Selector;
pub(crate) use selectors::Selectors;
pub(crate) use snapshot::Snapshot;
pub(crate) use tool::{Tool, ToolDraft};

#[cfg(test)]
pub(crate) use granted::Why;
#[cfg(test)]
pub(crate) use profile::Profile;
#[cfg(any(test, fuzzing))]
pub(crate) use template::Template;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::{Numbers, entry, grant};

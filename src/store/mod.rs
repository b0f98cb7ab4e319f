//! What must survive a restart: the registry's entries, agents, tools, grants and revocations, the authorities with their certificates, and foreign bundles.
//!
//! One SQLite file, owned by one thread; everything is read once, at the start, and then only written. A change is
//! either on the disk when its call returns, or was not made and the call says why; after a full disk the same handle
//! goes on as soon as there is space. A database that is another's, newer, damaged, without its keys,
//! or missing beside keys or an audit log is refused: nothing is ever begun anew in silence. One that has lost what was
//! acknowledged says so until somebody has looked (`mark`). Keys are not here, they
//! are files of the authority's.

mod authorities;
mod bundles;
mod database;
mod entries;
mod error;
mod handle;
mod items;
mod keys;
mod mark;
mod revocations;
mod schema;
mod writer;

pub(crate) use authorities::{AuthorityKind, AuthorityRow, AuthoritySlot};
pub(crate) use bundles::BundleRow;
pub(crate) use error::Error;
pub(crate) use handle::{Loaded, Store, audit_checkpoint};
pub(crate) use mark::Behind;
pub(crate) use schema::{check_schema, version as schema_version};

#[cfg(test)]
mod tests;

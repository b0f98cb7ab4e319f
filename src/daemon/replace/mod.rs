//! One daemon takes another's place, and no client meets a closed door: the listening sockets outlive the process.
//!
//! ```text
//! the new one                            the old one
//! looks at its configuration and places
//! Control.Replace (admin socket)      →  its own user or root only; recorded
//! joins a private channel             →  is it the process that asked?
//! ready                               →  accepts no more, signs no more, ends orders, closes log and database
//!                                     ←  yours: the listening descriptors
//! opens everything, serves
//! serving                             →  ends its streams with Unavailable, and exits
//! ```
//!
//! Clients wait in the sockets from `ready` to `serving`. There are never two signers: the old one has let go of the
//! lock of the state before it says *yours*, and takes it back only when the new process has ended. Until `ready`
//! nothing was changed, and the old one goes on whatever happens. Between `ready` and `serving` it has its descriptors
//! still: it opens everything again when the new one fails, is killed, or takes longer than [`SERVE_WAIT`]. When the
//! old one is killed before `yours`, the new one starts as ever.

mod coming;
mod halt;
mod leaving;
mod message;

use std::time::Duration;

pub(super) use coming::Predecessor;
pub(crate) use coming::{Coming, Error, Offer, is_running, look_first};
pub(super) use halt::reached;
pub(crate) use halt::{Step, halt_at};
pub(super) use leaving::{Guest, Seen, Visit, meet, reception};
#[cfg(any(fuzzing, test))]
pub(crate) use message::Message;
pub(crate) use message::PROTOCOL;

/// The private channel's name in the state folder.
const PLACE: &str = "replace.sock";
/// How long the old one waits for the process that it has invited.
const ACCEPT_WAIT: Duration = Duration::from_secs(5);
/// How long it waits for that process to be ready. It serves meanwhile.
const READY_WAIT: Duration = Duration::from_secs(10);
/// How long orders may take to end, and then the log and the database to close.
pub(super) const REST_WAIT: Duration = Duration::from_secs(10);
/// How long the new one waits from `ready` on: longer than the old one rests.
const YOURS_WAIT: Duration = Duration::from_secs(25);
/// How long the old one waits until the new one serves. A database may have to be migrated.
const SERVE_WAIT: Duration = Duration::from_secs(60);
/// How long each waits for the other's process to end, before the old one ends it.
const GONE_WAIT: Duration = Duration::from_secs(5);

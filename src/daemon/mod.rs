//! Assembly: what an operator decides becomes a daemon that serves.

mod access;
mod advice;
mod assembly;
mod bound;
pub mod config;
mod evidence;
mod health;
mod paths;
mod pinned;
pub(crate) mod replace;
mod reread;
mod settings;
pub(crate) mod sockets;
mod standing;
mod telemetry;
pub(crate) mod units;

pub(crate) use advice::{advice, advice_of};
pub use assembly::Daemon;
pub(crate) use assembly::Start;
pub use bound::{Bound, Rereads};
pub use config::Config;
pub(crate) use evidence::{Kept, kept};
pub use paths::{Paths, PathsError};
pub(crate) use pinned::check as check_pinned;
pub use telemetry::{Telemetry, log_panics};

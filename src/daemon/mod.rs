//! Assembly: what an operator decides becomes a daemon that serves.

mod advice;
mod assembly;
pub mod config;
mod evidence;
mod health;
mod paths;
mod settings;
mod standing;
mod telemetry;
pub(crate) mod units;

pub(crate) use advice::advice;
pub use assembly::{Bound, Daemon};
pub use config::Config;
pub(crate) use evidence::{Kept, kept};
pub use paths::{Paths, PathsError};
pub use telemetry::{Telemetry, log_panics};

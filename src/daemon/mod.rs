//! Assembly: what an operator decides becomes a daemon that serves.

pub mod config;
mod paths;
pub(crate) mod telemetry;
pub(crate) mod units;

pub use config::Config;
pub use paths::{Paths, PathsError};

//! The doors: they translate between the wire and the spine, and decide nothing.

mod body;
mod connection;
pub(crate) mod limits;
mod serve;
mod status;
mod workload;

pub(crate) use serve::{Door, Doorkeeper};
pub(crate) use workload::Workload;

//! The doors: they translate between the wire and the spine, and decide nothing.

mod body;
mod common;
mod connection;
pub(crate) mod limits;
pub(crate) mod metrics;
pub(crate) mod ops;
mod serve;
mod status;
mod workload;

pub(crate) use connection::{Service, Terms};
pub(crate) use serve::{Door, Doorkeeper, Memory};
pub(crate) use workload::workload_routes;

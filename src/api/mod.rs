//! The doors: they translate between the wire and the spine, and decide nothing.

mod admin;
mod allowance;
pub(crate) mod authz;
mod body;
mod bucket;
mod claims;
mod connection;
mod drive;
mod flood;
mod inbound;
pub(crate) mod limits;
pub(crate) mod metrics;
pub(crate) mod ops;
mod pages;
mod parties;
mod sds;
mod sealed;
mod serve;
mod standard;
mod status;
pub(crate) mod token;
mod turns;
mod workload;

pub(crate) use admin::{About, Admin, Invite, LogSwitch, Rights, Succession, Uninvited, admin_routes};
#[cfg(any(fuzzing, test))]
pub(crate) use admin::{List, amendment, entry_id, new_draft, order};
pub(crate) use connection::{Offers, Service, Terms};
#[cfg(any(fuzzing, test))]
pub(crate) use sds::{SdsRequest, begin as begin_sds};
pub(crate) use serve::{Door, Doorkeeper, Memory};
pub(crate) use workload::workload_routes;

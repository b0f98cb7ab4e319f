//! What was done, provably: an append-only log of records, each linked to the one before by its hash.
//!
//! A record is accepted when it is in its segment file; it is on the disk within 50 ms, or before
//! [`Log::append`] returns where durability is strict. A change, cut or reorder is found by [`verify`], unless
//! whoever did it wrote everything after it anew. Without space no record is accepted; a reserve is kept for
//! the renewals of those who have an identity already. What is recorded, and when, is for others to decide.

mod chain;
mod error;
mod head;
mod log;
mod record;
mod recover;
mod refusals;
mod segment;
mod syncer;
mod verify;
mod writer;

pub(crate) use error::Error;
pub(crate) use log::{Durability, Limits, Log};
pub(crate) use record::{Caller, Record, Urgency};
pub(crate) use verify::{Fault, Report, verify};

#[cfg(test)]
mod tests;

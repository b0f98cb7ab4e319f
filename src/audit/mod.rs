//! What was done, provably: an append-only log of records, each linked to the one before by its hash.
//!
//! A record is accepted when it is in its segment file; it is on the disk within 50 ms, or before
//! [`Log::append`] returns where durability is strict. A change, cut or reorder is found by [`verify`]: checkpoints sign
//! everything before them, at each start and end, at each segment's end, and every 10 seconds while there are records;
//! and the last one is kept outside the folder. They also sign where the log begins, and that it was closed. Whoever has
//! the key can sign another log. What no checkpoint has signed, after a crash, whoever can write the folder can change:
//! so the log says which records those were (`recover`), before it signs them.
//!
//! Old segments are removed for space, but what admins, authorities and the daemon did is carried over (`carry`):
//! workloads push only records of workloads out. What one person's workloads may have written in a minute has a limit,
//! beyond which it is counted (`minute`): so it takes days to push out what others did. Without space no record is
//! accepted; a reserve is kept for the renewals of those who have an identity already. What is recorded, and when, is
//! for others to decide.

mod cadence;
mod carry;
mod chain;
mod checkpoint;
mod error;
mod head;
mod header;
mod issues;
mod keeper;
mod limits;
mod log;
mod minute;
mod oldest;
mod record;
mod recover;
mod refusals;
mod report;
mod rows;
mod seal;
mod segment;
mod shared;
mod signed;
mod syncer;
mod verify;
mod writer;

pub(crate) use chain::Hash;
pub(crate) use checkpoint::Checkpoint;
pub(crate) use error::Error;
pub(crate) use limits::{Durability, Limits};
pub(crate) use log::{Log, Outside};
pub(crate) use record::{AccessIssued, Caller, Delegation, IDENTITIES_PER_RECORD, IdentityIssued, Record, Urgency};
pub(crate) use report::{Fault, Finding, Known, Report};
pub(crate) use segment::segments;
pub(crate) use verify::verify;

#[cfg(test)]
mod tests;

//! The kernel's edge: sockets, processes, files, memory, time. The only room with unsafe code.
//!
//! It promises that what it says about a process was true of one process, alive when the last word of it
//! was read; and that bytes handed up from a socket were written by the process that connected. What any of
//! that means for an identity is decided elsewhere.

pub(crate) mod activation;
pub(crate) mod clock;
pub(crate) mod closer;
pub(crate) mod counters;
pub(crate) mod files;
pub(crate) mod frames;
mod groups;
pub(crate) mod hpack;
pub(crate) mod id_map;
pub(crate) mod image;
pub(crate) mod inherited;
pub(crate) mod kept;
pub(crate) mod kernel;
pub(crate) mod lines;
pub(crate) mod listener;
pub(crate) mod looks;
pub(crate) mod memory;
pub(crate) mod notify;
pub(crate) mod packets;
pub(crate) mod party;
pub(crate) mod peer;
pub(crate) mod pidfd;
pub(crate) mod proc;
pub(crate) mod process;
pub(crate) mod rights;
#[cfg(test)]
pub(crate) mod scratch;
pub(crate) mod secret;
pub(crate) mod stream;
pub(crate) mod threads;
pub(crate) mod verity;
mod words;

pub(crate) use clock::Clock;
pub(crate) use secret::Secret;
pub(crate) use words::chain;

//! What the tests of this room share.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod foreign;
pub(crate) mod kit;
mod svids;
mod threats;
pub(crate) mod world;

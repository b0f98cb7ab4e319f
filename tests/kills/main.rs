//! The daemon ends at any moment, or its disk is full: what it said was done is done, nothing is half done, and it
//! goes on where it was.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod bundles;
mod chance;
mod disk;
mod dying;
mod first_start;
mod losses;
mod proof;
mod revocations;
mod rounds;
mod writer;

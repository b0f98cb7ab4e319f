//! One daemon takes another's place, or is given its sockets: clients wait, and nobody is turned away; whoever dies at
//! whatever step, one of them serves.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "../kills/chance.rs"]
mod chance;
#[path = "../common/mod.rs"]
mod common;
#[path = "../kills/proof.rs"]
mod proof;

mod activation;
mod clients;
mod kills;
mod played;
mod refusals;
mod stage;

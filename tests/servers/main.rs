//! Real servers with our certificates, through three rotations and no dropped query: PostgreSQL, NATS, nginx; and tools
//! behind nginx and Envoy, whose callers the daemon judges. And Envoys that take their certificates by themselves (`mesh`).
//!
//! What is configured and run is what the README says, line by line; only paths, ports and users are of the test. Each
//! server and each of its clients is a user of its own, so this takes root. `tests/run` installs the servers and says
//! where they are; one that is not there is not run. Another issuing authority comes meanwhile; in a full run it is one
//! that is in the bundles itself.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod asker;
mod bootstrap;
mod certificates;
mod coming;
mod envoy;
mod mesh;
mod nats;
mod nginx;
mod postgres;
mod probe;
mod readme;
mod stage;
mod tokens;

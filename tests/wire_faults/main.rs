//! What callers and operators may do wrong, against the built daemon: it answers as the standard says, stays up, and
//! serves everybody else.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod credentials;
mod crowds;
mod doors;
mod environments;
mod execs;
mod foreign;
mod groups;
mod headers;
mod hung;
mod other_issuers;
mod registered;
mod replayed;
mod reread;
mod resource;
mod revoked;
mod secrets;
mod start;
mod state;
mod stolen;
mod tokens;
mod transport;
mod unread;
mod userns;
mod wire;

use std::time::Duration;

use common::{Daemon, own_uid};

/// Long enough for a loaded machine, short enough to tell from never.
const SOON: Duration = Duration::from_secs(10);

/// A daemon that knows us.
fn registered(config: &str) -> Daemon {
    let daemon = Daemon::start(config);
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
    daemon.must_serve("registration");
    daemon
}

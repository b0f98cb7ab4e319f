//! The SPIFFE standards item by item, through the Workload API of the built daemon, read by other readers than its own.
//!
//! Each case says at its head which items it covers, and `register.txt` says for each MUST item that concerns a daemon
//! of our kind which tests cover it, or why none does; `register.rs` keeps the two in agreement with each other and with
//! the sources. Items are named as the project names them: `SID` identities, `XLEAF` and `XCA` certificates, `XVAL` their
//! validation, `JWT` and `WIT` tokens, `TDB`, `XBND` and `BMAP` bundles, `WEP` the endpoint, `WAPI` the Workload API,
//! `CLI` what clients in the field need, `ADV-…` rows of hostile input.
//!
//! The cases can also be pointed at another agent, which checks the suite:
//!
//! * `DAYFLY_CONFORMANCE_SOCKET=unix:///…` is its Workload API, for the trust domain `example.org`;
//! * `DAYFLY_CONFORMANCE_REGISTRAR=PROGRAM` registers for our uid: `PROGRAM add ID HINT`, `PROGRAM remove ID`, and before
//!   these `PROGRAM bundle FILE`, the SPIFFE bundle of `other.test`, with which all entries federate.
//!
//! `tests/conformance/spire` is such a registrar for SPIRE, and `tests/conformance/spire run` does all of it; the cases
//! then run one at a time. What SPIRE is known to do otherwise is in `deviations.rs`, row by row: a row that fails and is not
//! there is a failure, and so is one that is there and does not fail. Cases that need a configuration of ours are not run.
#![expect(
    unreachable_pub,
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
mod certificates;
mod deviations;
mod endpoint;
mod foreign;
mod forge;
mod identities;
mod judged;
mod register;
mod rows;
mod streams;
mod subject;
mod tokens;
mod wire;
mod wit;
mod x509;

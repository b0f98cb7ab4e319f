//! Dayfly ends static secrets for AI agents and the services they call.
//!
//! A daemon on each node asks the kernel who is calling on a Unix socket, matches that against registered
//! entries, judges by policy, and issues credentials that live minutes.

#[doc(hidden)]
pub mod cli;
pub mod daemon;
pub mod oauth;
pub mod resource;
pub mod spiffe;

pub(crate) mod api;
pub(crate) mod attest;
pub(crate) mod audit;
pub(crate) mod authority;
pub(crate) mod issuance;
pub(crate) mod pb;
pub(crate) mod policy;
pub(crate) mod registry;
pub(crate) mod store;
pub(crate) mod sys;

#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;

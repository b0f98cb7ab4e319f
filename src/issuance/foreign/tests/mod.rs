//! Foreign bundles: what is read of what admins give, and orders over a real store and a real log.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod orders;
mod reading;

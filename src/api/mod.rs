//! The doors: they translate between the wire and the spine, and decide nothing.

pub(crate) mod metrics;
pub(crate) mod ops;

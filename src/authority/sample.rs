//! Which signatures are verified before they leave.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The first signature of a key, and then every thousandth. After one that failed every one is, until one is right.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    signed: AtomicU64,
    /// Whether a signature was verified, and none has failed since.
    is_proved: AtomicBool,
}

const EVERY: u64 = 1_000;

impl Sample {
    /// Whether this signature is to be verified.
    pub(super) fn is_due(&self) -> bool {
        self.signed.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY) || !self.is_proved.load(Ordering::Acquire)
    }

    /// What came of it.
    pub(super) fn prove(&self, is_right: bool) {
        self.is_proved.store(is_right, Ordering::Release);
    }
}

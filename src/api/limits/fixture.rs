//! A gate for tests of what stands behind it.

use std::sync::Arc;

use super::{Gate, Limits, Share};
use crate::sys::looks::AllLooks;

/// And as many at once.
pub(in crate::api) const REQUESTS_PER_SECOND: u32 = 99;

/// Ample, but for the bytes of answers.
pub(in crate::api) fn gate(answer_bytes: usize) -> Arc<Gate> {
    let all = Share { connections: 9, streams: 9, answer_bytes };
    let limits = Limits {
        user: all,
        root: all,
        all,
        connects_per_second: 99,
        requests_per_second: REQUESTS_PER_SECOND,
        turns: 2,
    };
    Arc::new(Gate::new(limits, AllLooks::default()))
}

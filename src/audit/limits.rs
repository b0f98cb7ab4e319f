//! How large the log may become, and how sure a record must be.

/// How large the log may become, and how sure a record must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// When the next segment is begun, in bytes.
    pub(crate) segment_bytes_max: u64,
    /// Of all segments; beyond it the oldest are removed. Less than two segments count as two.
    pub(crate) total_bytes_max: u64,
    /// Kept free for renewals, in bytes; a renewal takes about 600.
    pub(crate) reserve_bytes: u64,
    /// How many refusals of one uid are written one by one in one minute. Those beyond are counted.
    pub(crate) refusals_per_minute: u32,
    /// How many bytes of records of what was issued to one party are written in one minute, and as many of what was
    /// refused to it. What is beyond is counted.
    pub(crate) bytes_per_minute: u64,
    /// When a record counts as accepted.
    pub(crate) durability: Durability,
}

/// When a record counts as accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When the kernel has it. It is on the disk within 50 ms: a power failure in between loses it.
    Soon,
    /// When the disk has it.
    Strict,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            total_bytes_max: 1 << 30,
            reserve_bytes: 8 << 20,
            refusals_per_minute: 60,
            bytes_per_minute: 128 << 10,
            durability: Durability::Soon,
        }
    }
}

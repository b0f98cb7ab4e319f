//! What answers may take of the memory until they have left: counted for their user before they are made.

use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;

use super::{
    limits::{BytesSlot, ConnectionSlot},
    status,
};
use crate::sys::counters::Counters;

/// Of whom the bytes are that are answered on one connection.
#[derive(Clone)]
pub(crate) struct Allowance {
    slot: Arc<ConnectionSlot>,
    counters: Arc<Counters>,
}

/// Room for the bytes of one answer, taken until it is dropped.
pub(crate) struct Taken {
    slot: BytesSlot,
    counters: Arc<Counters>,
}

/// Bytes with the room they take. They go first.
struct Counted<B> {
    bytes: B,
    _taken: Taken,
}

impl Allowance {
    pub(crate) fn new(slot: Arc<ConnectionSlot>, counters: Arc<Counters>) -> Self {
        Self { slot, counters }
    }

    /// Room for so many bytes.
    ///
    /// # Errors
    /// Unavailable, when its user, or everybody together, has too many that were not read.
    pub(crate) fn take(&self, bytes: usize) -> Result<Taken, Status> {
        match self.slot.hold(bytes) {
            Ok(slot) => {
                self.counters.answer_held(slot.bytes());
                Ok(Taken { slot, counters: self.counters.clone() })
            }
            Err(over) => {
                self.counters.limit_met(over.code());
                Err(status::overloaded(over))
            }
        }
    }
}

#[cfg(test)]
impl Allowance {
    /// Bytes that have not left.
    pub(super) fn held(&self) -> usize {
        usize::try_from(self.counters.answer_bytes()).unwrap_or(usize::MAX)
    }
}

impl Taken {
    /// These bytes, which give the room back when the last of them has left.
    pub(crate) fn by(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Counted { bytes, _taken: self })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.counters.answer_left(self.slot.bytes());
    }
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Counted<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// The allowance of a connection all of whose answers together may have so many bytes.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) fn allowance(answer_bytes: usize) -> Allowance {
    let slot = super::limits::fixture::gate(answer_bytes).connect(7, std::time::Instant::now()).unwrap();
    Allowance::new(Arc::new(slot), Arc::default())
}

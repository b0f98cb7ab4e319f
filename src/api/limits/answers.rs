//! Bytes of answers that have not left: an answer that nobody reads is held whole for as long as its stream is open.

use std::sync::Arc;

use super::{ConnectionSlot, Over, State};

/// Room for the bytes of one answer; given back when dropped, and before the place of its connection.
#[derive(Debug)]
pub(crate) struct BytesSlot {
    connection: Arc<ConnectionSlot>,
    bytes: usize,
}

impl BytesSlot {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl ConnectionSlot {
    /// Room for so many bytes of an answer. When there is none for anybody, a connection of whoever holds most goes.
    ///
    /// # Errors
    /// Which limit was met.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Result<BytesSlot, Over> {
        let (share, limits) = (self.gate.share(self.uid), self.gate.limits);
        let mut state = self.gate.state();
        let held = state.users.get(&self.uid).map_or(0, |user| user.answer_bytes);
        if held + bytes > share.answer_bytes {
            return Err(Over::AnswerBytesOfUser);
        }
        while state.answer_bytes + bytes > limits.all.answer_bytes {
            // What they held is there until they are dropped, so not too many go at once.
            let may_go = state.leaving_bytes <= limits.user.answer_bytes;
            let one = may_go.then(|| state.parties.connection_for_bytes(self.uid, bytes)).flatten();
            state.evict(one.ok_or(Over::AnswerBytesOfAll)?);
        }
        // One that must make room is answered nothing more.
        match state.change_answers(self, |held| held + bytes) {
            true => Ok(BytesSlot { connection: self.clone(), bytes }),
            false => Err(Over::AnswerBytesOfAll),
        }
    }
}

impl State {
    /// Changes how much a connection holds; answers whether it has not been taken off.
    fn change_answers(&mut self, slot: &ConnectionSlot, change: impl FnOnce(usize) -> usize) -> bool {
        let Some(open) = self.connections.get_mut(&slot.number) else { return false };
        let before = open.answer_bytes;
        open.answer_bytes = change(before);
        let now = open.answer_bytes;
        let changed = |held: usize| (held + now).saturating_sub(before);
        self.answer_bytes = changed(self.answer_bytes);
        if let Some(user) = self.users.get_mut(&slot.uid) {
            user.answer_bytes = changed(user.answer_bytes);
        }
        self.parties.bytes_changed(slot.uid, slot.number, before, now);
        true
    }
}

impl Drop for BytesSlot {
    fn drop(&mut self) {
        let mut state = self.connection.gate.state();
        // Of one that made room, all bytes were taken off with it.
        if !state.change_answers(&self.connection, |held| held.saturating_sub(self.bytes)) {
            state.leaving_bytes = state.leaving_bytes.saturating_sub(self.bytes);
        }
    }
}

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
    /// Room for so many bytes of an answer. When its user has none, the user's connection that holds most goes, if that is
    /// more than this one would hold; when there is none for anybody, one of whoever holds most.
    ///
    /// # Errors
    /// Which limit was met.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Result<BytesSlot, Over> {
        let mut state = self.gate.state();
        while let Some(one) = state.in_the_way(self, bytes).inspect_err(|_| state.note_refused(self, bytes))? {
            state.evict(one);
        }
        state.change_answers(self, |held| held + bytes);
        Ok(BytesSlot { connection: self.clone(), bytes })
    }
}

impl State {
    /// The connection that goes before this one can hold so many bytes more; none, when there is room.
    fn in_the_way(&self, slot: &ConnectionSlot, bytes: usize) -> Result<Option<u64>, Over> {
        let (share, limits) = (self.limits.share(slot.uid), self.limits);
        // One that must make room is answered nothing more, and nobody goes for it.
        let own = self.connections.get(&slot.number).ok_or(Over::AnswerBytesOfAll)?.answer_bytes;
        let held = self.users.get(&slot.uid).map_or(0, |user| user.answer_bytes);
        let (one, over) = if held + bytes > share.answer_bytes {
            (self.parties.own_connection_above(slot.uid, own + bytes), Over::AnswerBytesOfUser)
        } else if self.answer_bytes + bytes > limits.all.answer_bytes {
            (self.parties.connection_for_bytes(slot.uid, bytes), Over::AnswerBytesOfAll)
        } else {
            return Ok(None);
        };
        // What they held is there until they are dropped, so not too many go at once.
        let may_go = self.leaving_bytes <= limits.user.answer_bytes;
        one.filter(|_| may_go).map(Some).ok_or(over)
    }

    fn note_refused(&mut self, slot: &ConnectionSlot, bytes: usize) {
        if let Some(open) = self.connections.get_mut(&slot.number) {
            open.refused_bytes = bytes;
        }
    }

    /// Whether there is room, or can be made, for what a connection was refused last: else whatever it asks for is done
    /// in vain.
    ///
    /// # Errors
    /// Which limit is in its way.
    pub(super) fn look_for_refused(&self, slot: &ConnectionSlot) -> Result<(), Over> {
        match self.connections.get(&slot.number).map_or(0, |open| open.refused_bytes) {
            0 => Ok(()),
            bytes => self.in_the_way(slot, bytes).map(drop),
        }
    }

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

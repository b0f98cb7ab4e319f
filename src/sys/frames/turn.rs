//! Turns: how much of a client's frames h2 is given before the others have theirs.
//!
//! Bytes alone do not bound it: four KiB hold three hundred requests, each a task that others would wait behind.

use super::{HEADERS, Head, PREFACE_LENGTH};

/// What h2 is given in one turn of a connection's task, whichever is met first. A flood is seen after a few turns.
const BYTES_MAX: usize = 4 * 1024;
const FRAMES_MAX: u32 = 32;
const REQUESTS_MAX: u32 = 8;

/// How far h2 is in a client's frames, and what it may still have in this turn.
#[derive(Debug)]
pub(crate) struct Turn {
    head: Head,
    /// Bytes of the present frame, or of the preface.
    frame_left: usize,
    bytes_left: usize,
    frames_left: u32,
    requests_left: u32,
}

impl Turn {
    /// The first one, before the preface.
    pub(crate) fn new() -> Self {
        Self {
            head: Head::default(),
            frame_left: PREFACE_LENGTH.into(),
            bytes_left: BYTES_MAX,
            frames_left: FRAMES_MAX,
            requests_left: REQUESTS_MAX,
        }
    }

    /// Of a client that speaks something else: bytes alone bound it.
    pub(crate) fn unframed() -> Self {
        Self { frame_left: usize::MAX, ..Self::new() }
    }

    /// Begins the next one.
    pub(crate) fn begin(&mut self) {
        (self.bytes_left, self.frames_left, self.requests_left) = (BYTES_MAX, FRAMES_MAX, REQUESTS_MAX);
    }

    /// Whether h2 has had its part.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes_left == 0 || (self.frame_left == 0 && (self.frames_left == 0 || self.requests_left == 0))
    }

    /// How many of these bytes, the next ones, h2 is given now; zero when the turn is over.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while !self.is_over() {
            let rest = bytes.get(taken..).unwrap_or_default();
            let rest = rest.get(..self.bytes_left).unwrap_or(rest);
            if rest.is_empty() {
                break;
            }
            let step = self.step(rest);
            taken += step;
            self.bytes_left -= step;
        }
        taken
    }

    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.frame_left > 0 {
            let taken = self.frame_left.min(bytes.len());
            self.frame_left -= taken;
            return taken;
        }
        let taken = self.head.fill(bytes);
        if self.head.is_whole() {
            let head = std::mem::take(&mut self.head);
            self.frame_left = head.length();
            self.frames_left = self.frames_left.saturating_sub(1);
            self.requests_left = self.requests_left.saturating_sub(u32::from(head.kind() == HEADERS));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(kind: u8, length: u8, count: usize) -> Vec<u8> {
        let head = [0, 0, length, kind, 0, 0, 0, 0, 1];
        [&head[..], &vec![7; length.into()]].concat().repeat(count)
    }

    fn after_the_preface() -> Turn {
        let mut turn = Turn::new();
        assert_eq!(turn.take(&[b'P'; 24]), 24);
        turn.begin();
        turn
    }

    #[test]
    fn a_turn_ends_behind_a_whole_frame() {
        let of_others = usize::try_from(FRAMES_MAX).unwrap_or_default();
        let of_requests = usize::try_from(REQUESTS_MAX).unwrap_or_default();
        for (kind, length, count) in [(4, 6, of_others), (8, 0, of_others), (HEADERS, 40, of_requests)] {
            let bytes = frames(kind, length, 100);
            let each = bytes.len() / 100;
            for piece in [1, 5, 9, 10, bytes.len()] {
                let mut turn = after_the_preface();
                let mut given = 0;
                while !turn.is_over() {
                    given += turn.take(bytes.get(given..bytes.len().min(given + piece)).unwrap_or_default());
                }
                assert_eq!(given, each * count, "kind {kind} in pieces of {piece}");
                assert_eq!(turn.take(&bytes), 0, "it is over");
                turn.begin();
                assert_eq!(turn.take(&bytes), each * count, "and begins anew");
            }
        }
    }

    #[test]
    fn a_turn_ends_at_its_bytes() {
        let mut turn = after_the_preface();
        assert_eq!(turn.take(&frames(0, 255, 100)), BYTES_MAX);
        assert!(turn.is_over());
        turn.begin();
        assert_eq!(turn.take(&[]), 0);
        assert!(!turn.is_over());
    }
}

//! What outlives the segment that it is in: before a segment is removed for space, what admins, authorities and the
//! daemon did is written again at the end of the log, as `kept` records. So workloads, whose records are most, push
//! only their own out.
//!
//! Of one segment at most a quarter of a segment's bytes is carried, the newest; how many were not is recorded. The
//! syncer does it in bites, so that records are synced in between. A daemon that ends half-way carries the same
//! records once more at its next start.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    sync::MutexGuard,
};

use super::{
    Error, chain,
    header::LINE_BYTES_MAX,
    record::Urgency,
    shared::{Shared, State},
};

/// How much is read, or how many records are written, at once; and how often, before what was written is synced.
const BITE_BYTES: u64 = 64 << 10;
const BITE_RECORDS: usize = 64;
const BITES: usize = 64;

/// The oldest segment, on its way out.
#[derive(Default)]
pub(super) struct Carrier {
    present: Option<Carry>,
    /// There was no room when this was the last ordinary record. It is tried again when another one found some: a
    /// renewal comes from the reserve, and is no sign of room.
    stuck_at: Option<u64>,
}

struct Carry {
    number: u64,
    /// `None` once everything was read.
    reader: Option<BufReader<File>>,
    /// The bodies of the records that are still to be written.
    bodies: VecDeque<Vec<u8>>,
    bytes: usize,
    kept: u64,
    dropped: u64,
}

impl Carrier {
    /// Whether there is something to do now.
    pub(super) fn has_work(&self, state: &State) -> bool {
        !self.is_stuck(state) && (self.present.is_some() || state.writer.oldest_over().is_some())
    }

    fn is_stuck(&self, state: &State) -> bool {
        self.stuck_at.is_some_and(|at| at == state.writer.last_ordinary())
    }

    /// Does some of it. The door is open between two bites.
    pub(super) fn step<'a>(&mut self, shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        for _ in 0..BITES {
            if !self.has_work(&state) {
                break;
            }
            state = self.bite(shared, state);
            drop(state);
            state = shared.lock();
        }
        state
    }

    fn bite<'a>(&mut self, shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let carry = match self.present.take() {
            Some(carry) => carry,
            None => match state.writer.oldest_over() {
                Some((number, path)) => Carry::new(number, File::open(&path)),
                None => return state,
            },
        };
        let carry = self.present.insert(carry);
        if carry.reader.is_some() {
            drop(state);
            carry.read(usize::try_from(shared.limits.segment_bytes_max / 4).unwrap_or(usize::MAX));
            return shared.lock();
        }
        match carry.write(shared, &mut state) {
            Ok(true) => (self.present, self.stuck_at) = (None, None),
            Ok(false) => self.stuck_at = None,
            Err(error) => {
                // Once, until some of it was written.
                if self.stuck_at.replace(state.writer.last_ordinary()).is_none() {
                    tracing::warn!(%error, "audit records of an old segment not carried over yet");
                }
            }
        }
        state
    }
}

impl Carry {
    fn new(number: u64, file: io::Result<File>) -> Self {
        let reader = file.inspect_err(|error| unreadable(number, error)).ok().map(BufReader::new);
        Self { number, reader, bodies: VecDeque::new(), bytes: 0, kept: 0, dropped: 0 }
    }

    fn read(&mut self, bytes_max: usize) {
        let Some(mut reader) = self.reader.take() else { return };
        let (mut line, mut left) = (Vec::new(), BITE_BYTES);
        let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        while left > 0 {
            line.clear();
            match reader.by_ref().take(most).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(size) => left = left.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX)),
                Err(error) => return unreadable(self.number, &error),
            }
            let Some(body) = line.strip_suffix(b"\n").and_then(kept_body) else { continue };
            self.bytes = self.bytes.saturating_add(body.len());
            self.bodies.push_back(body);
            while self.bytes > bytes_max
                && let Some(oldest) = self.bodies.pop_front()
            {
                self.bytes = self.bytes.saturating_sub(oldest.len());
                self.dropped = self.dropped.saturating_add(1);
            }
        }
        self.reader = Some(reader);
    }

    /// Writes some of the records; after the last one, that the segment goes. Answers whether it does.
    fn write(&mut self, shared: &Shared, state: &mut State) -> Result<bool, Error> {
        let now = shared.clock.now();
        for _ in 0..BITE_RECORDS {
            let Some(body) = self.bodies.front() else {
                state.writer.remove_oldest(self.kept, self.dropped, now)?;
                state.is_dirty = true;
                return Ok(true);
            };
            state.writer.append(body, Urgency::Ordinary, now)?;
            state.is_dirty = true;
            self.kept = self.kept.saturating_add(1);
            self.bodies.pop_front();
        }
        Ok(false)
    }
}

/// The body of the record that a line becomes when it is carried over, if it is.
fn kept_body(line: &[u8]) -> Option<Vec<u8>> {
    const KIND: &[u8] = b",\"kind\":\"";
    // The number and the time stand before the kind, and nothing else.
    let at = line.get(..128).unwrap_or(line).windows(KIND.len()).position(|window| window == KIND)?;
    let rest = line.get(at + KIND.len()..)?;
    let kind = rest.split(|byte| *byte == b'"').next()?;
    match kind {
        // It holds the line that it was first.
        b"kept" => Some(chain::body(line.get(at + 1..)?)?.to_vec()),
        b"admin" | b"authority" | b"daemon" | b"tail_cut" | b"records_missing" | b"head_missing" | b"damaged"
        | b"unsigned_tail" => Some([b"\"kind\":\"kept\",\"record\":", line].concat()),
        _ => None,
    }
}

fn unreadable(number: u64, error: &io::Error) {
    tracing::error!(number, %error, "old audit segment cannot be read; what admins did in it is not carried over");
}

//! What outlives the segment that it is in: before a segment is removed for space, what admins, authorities and the
//! daemon did is written again at the end of the log, as `kept` records. So workloads, whose records are most, push
//! only their own out.
//!
//! Of one segment at most a quarter of a segment's bytes is carried, the newest; how many were not is recorded. The
//! syncer does it in bites, so that records are synced in between. A daemon that ends half-way carries the same
//! records once more at its next start.
//!
//! Nobody can look at the segment afterwards. So its records are followed while they are read, and where they are not
//! those that were written, the log says so.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    sync::MutexGuard,
};

use super::{
    Error,
    chain::{self, Link},
    header::LINE_BYTES_MAX,
    oldest::Leaving,
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
    /// The last record that was read, as long as each has followed the one before; and the last one that was written.
    link: Option<Link>,
    end: Option<Link>,
    /// Why it is not as it was written, until that is told.
    fault: Option<String>,
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
                Some(leaving) => Carry::new(&leaving),
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
    fn new(leaving: &Leaving) -> Self {
        let Leaving { number, path, after: link, end } = leaving;
        let (reader, fault) = match File::open(path) {
            Ok(file) => (Some(BufReader::new(file)), None),
            Err(error) => (None, Some(unreadable(*number, &error))),
        };
        let bodies = VecDeque::new();
        Self { number: *number, reader, link: *link, end: *end, fault, bodies, bytes: 0, kept: 0, dropped: 0 }
    }

    fn read(&mut self, bytes_max: usize) {
        let Some(mut reader) = self.reader.take() else { return };
        let (mut line, mut left) = (Vec::new(), BITE_BYTES);
        let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        while left > 0 {
            line.clear();
            match reader.by_ref().take(most).read_until(b'\n', &mut line) {
                Ok(0) => {
                    let is_whole = self.link.is_some() && self.link == self.end;
                    self.fault = (!is_whole).then(|| changed(self.number));
                    return;
                }
                Ok(size) => left = left.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX)),
                Err(error) => {
                    self.fault = Some(unreadable(self.number, &error));
                    return;
                }
            }
            let whole = line.strip_suffix(b"\n");
            self.link = self.link.zip(whole).and_then(|(link, whole)| chain::follow(&link, whole));
            let Some(body) = whole.and_then(kept_body) else { continue };
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
        if let Some(fault) = self.fault.take() {
            shared.tell_damage(state, fault);
        }
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

fn unreadable(number: u64, error: &io::Error) -> String {
    format!("segment {number} could not be read before it was removed for space, so nothing of it is kept: {error}")
}

fn changed(number: u64) -> String {
    format!(
        "segment {number} was not as it was written before it was removed for space; what is kept of it may be false"
    )
}

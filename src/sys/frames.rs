//! HTTP/2 frames as they pass: where one ends, which one answers our PING, which one needs its `:authority` made
//! legal. Everything else of HTTP/2 is h2's business.

mod turn;

pub(crate) use turn::Turn;

use super::hpack;

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_LENGTH: u8 = 24;
const HEAD: usize = 9;
/// The largest HEADERS frame that is looked into: the frame size that we advertise (RFC 9113 §4.2).
const FRAME_BYTES_MAX: usize = 16_384;

/// DATA that is smaller belongs to a request that is counted by its HEADERS.
const USEFUL_DATA_BYTES: usize = 1_024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const FLAG_ACK: u8 = 0x1;
const FLAG_END_HEADERS: u8 = 0x4;
const FLAG_PADDED: u8 = 0x8;
const FLAG_PRIORITY: u8 = 0x20;

/// The payload of a PING (RFC 9113 §6.7).
pub(crate) type Nonce = [u8; 8];

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    bytes: [u8; HEAD],
    have: u8,
}

impl Head {
    /// Takes bytes until the head is complete; answers how many were taken.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let room = self.bytes.get_mut(usize::from(self.have)..).unwrap_or_default();
        let taken = room.len().min(bytes.len());
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.have = self.have.saturating_add(u8::try_from(taken).unwrap_or(u8::MAX));
        taken
    }

    fn is_whole(&self) -> bool {
        usize::from(self.have) == HEAD
    }

    fn length(&self) -> usize {
        let [a, b, c, ..] = self.bytes;
        usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
    }

    fn kind(&self) -> u8 {
        let [_, _, _, kind, ..] = self.bytes;
        kind
    }

    fn has(&self, flag: u8) -> bool {
        let [_, _, _, _, flags, ..] = self.bytes;
        flags & flag != 0
    }
}

/// Whether a client that begins so speaks HTTP/2; `None` as long as that cannot be told.
pub(crate) fn is_http2(begin: &[u8]) -> Option<bool> {
    match (begin.starts_with(PREFACE), PREFACE.starts_with(begin)) {
        (true, _) => Some(true),
        (false, true) => None,
        (false, false) => Some(false),
    }
}

/// A PING frame with this payload.
pub(crate) fn ping(nonce: Nonce) -> [u8; HEAD + 8] {
    let mut frame = [0; HEAD + 8];
    let bytes = [0, 0, 8, PING, 0, 0, 0, 0, 0].into_iter().chain(nonce);
    for (to, from) in frame.iter_mut().zip(bytes) {
        *to = from;
    }
    frame
}

/// What comes from a client, on its way to h2.
#[derive(Debug)]
pub(crate) struct Inbound {
    preface_left: u8,
    head: Head,
    /// Bytes of the present frame that pass through unseen.
    pass: usize,
    /// A frame that is kept until it is whole, head and all.
    held: Vec<u8>,
    expected: Option<Nonce>,
    /// Since the last [`Inbound::take_tally`].
    tally: Tally,
}

/// How many frames came, and how many of those carry a request or a good part of one. A client that sends many of the
/// one and few of the other is a flood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// All frames.
    pub(crate) frames: u32,
    /// HEADERS that are whole, and DATA of [`USEFUL_DATA_BYTES`] or more.
    pub(crate) useful: u32,
}

impl Inbound {
    pub(crate) fn new() -> Self {
        Self {
            preface_left: PREFACE_LENGTH,
            head: Head::default(),
            pass: 0,
            held: Vec::new(),
            expected: None,
            tally: Tally::default(),
        }
    }

    /// Of a client that speaks something else: all of it passes as it is.
    pub(crate) fn unframed() -> Self {
        Self { preface_left: 0, pass: usize::MAX, ..Self::new() }
    }

    /// The ACK to swallow when it comes; only one is outstanding at a time.
    pub(crate) fn expect(&mut self, nonce: Nonce) {
        self.expected = Some(nonce);
    }

    /// The frames counted since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Passes bytes on into `out`; answers whether the expected ACK was among them (it is not passed on).
    pub(crate) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let mut answered = false;
        if self.preface_left > 0 {
            let taken = usize::from(self.preface_left).min(bytes.len());
            self.preface_left -= u8::try_from(taken).unwrap_or(self.preface_left);
            bytes = move_bytes(bytes, taken, out);
        }
        while !bytes.is_empty() {
            if self.pass > 0 {
                let taken = self.pass.min(bytes.len());
                self.pass -= taken;
                bytes = move_bytes(bytes, taken, out);
            } else if !self.held.is_empty() {
                let wanted = (HEAD + self.head.length()).saturating_sub(self.held.len());
                bytes = move_bytes(bytes, wanted.min(bytes.len()), &mut self.held);
                answered |= self.release(out);
            } else {
                let taken = self.head.fill(bytes);
                bytes = bytes.get(taken..).unwrap_or_default();
                if self.head.is_whole() {
                    self.begin(out);
                    answered |= self.release(out);
                }
            }
        }
        answered
    }

    /// Decides what becomes of a frame whose head is whole.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let (head, length) = (self.head, self.head.length());
        let is_block = head.kind() == HEADERS && head.has(FLAG_END_HEADERS);
        self.tally.frames = self.tally.frames.saturating_add(1);
        if is_block || (head.kind() == DATA && length >= USEFUL_DATA_BYTES) {
            self.tally.useful = self.tally.useful.saturating_add(1);
        }
        let is_ack = head.kind() == PING && head.has(FLAG_ACK) && length == 8 && self.expected.is_some();
        if is_ack || (is_block && length <= FRAME_BYTES_MAX) {
            self.held.extend_from_slice(&head.bytes);
        } else {
            out.extend_from_slice(&head.bytes);
            self.pass = length;
            self.head = Head::default();
        }
    }

    /// Lets a held frame go when it is whole.
    fn release(&mut self, out: &mut Vec<u8>) -> bool {
        if self.held.is_empty() || self.held.len() < HEAD + self.head.length() {
            return false;
        }
        let frame = std::mem::take(&mut self.held);
        let head = std::mem::take(&mut self.head);
        let payload = frame.get(HEAD..).unwrap_or_default();
        if head.kind() == PING && self.expected.is_some_and(|nonce| nonce == *payload) {
            self.expected = None;
            return true;
        }
        match cleaned_headers(head, payload) {
            Some(cleaned) => out.extend_from_slice(&cleaned),
            None => out.extend_from_slice(&frame),
        }
        false
    }
}

/// A HEADERS frame with its authority made legal; `None` when it may stay as it is.
fn cleaned_headers(head: Head, payload: &[u8]) -> Option<Vec<u8>> {
    if head.kind() != HEADERS {
        return None;
    }
    // RFC 9113 §6.2: padding length, then priority, then the block, then padding.
    let (padding, before) = if head.has(FLAG_PADDED) { (usize::from(*payload.first()?), 1) } else { (0, 0) };
    let before = if head.has(FLAG_PRIORITY) { before + 5 } else { before };
    let block = payload.get(before..payload.len().checked_sub(padding)?)?;
    let cleaned = hpack::clean_authority(block)?;
    let length = payload.len() - block.len() + cleaned.len();
    if length > FRAME_BYTES_MAX {
        return None;
    }
    let [_, high, middle, low] = u32::try_from(length).ok()?.to_be_bytes();
    let mut frame = Vec::with_capacity(HEAD + length);
    frame.extend_from_slice(&[high, middle, low]);
    frame.extend_from_slice(head.bytes.get(3..)?);
    frame.extend_from_slice(payload.get(..before)?);
    frame.extend_from_slice(&cleaned);
    frame.extend_from_slice(payload.get(payload.len() - padding..)?);
    Some(frame)
}

fn move_bytes<'a>(from: &'a [u8], count: usize, to: &mut Vec<u8>) -> &'a [u8] {
    let (taken, rest) = from.split_at_checked(count).unwrap_or((from, &[]));
    to.extend_from_slice(taken);
    rest
}

/// What h2 sends, as far as the socket has taken it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbound {
    head: Head,
    left: usize,
    in_block: bool,
    began: bool,
}

impl Outbound {
    /// Whether a frame of ours may stand here: between whole frames, not inside a header block (RFC 9113 §4.3),
    /// and not before h2's own SETTINGS.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.began && self.left == 0 && self.head.have == 0 && !self.in_block
    }

    /// Notes what has left.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = bytes.get(self.step(bytes)..).unwrap_or_default();
        }
    }

    /// How many of these bytes may leave before [`Outbound::is_between_frames`] holds; all of them if it does not.
    pub(crate) fn until_between_frames(&self, bytes: &[u8]) -> usize {
        let mut ahead = self.clone();
        let mut taken = 0;
        while taken < bytes.len() && !ahead.is_between_frames() {
            taken += ahead.step(bytes.get(taken..).unwrap_or_default());
        }
        taken
    }

    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let taken = self.left.min(bytes.len());
            self.left -= taken;
            self.began |= self.left == 0;
            return taken;
        }
        let taken = self.head.fill(bytes);
        if self.head.is_whole() {
            let head = std::mem::take(&mut self.head);
            self.left = head.length();
            if matches!(head.kind(), HEADERS | CONTINUATION) {
                self.in_block = !head.has(FLAG_END_HEADERS);
            }
            self.began |= self.left == 0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, 1][..], payload].concat()
    }

    fn authority(value: &[u8]) -> Vec<u8> {
        [&[0x83, 0x41, u8::try_from(value.len()).unwrap()][..], value].concat()
    }

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frames.concat()].concat()
    }

    #[test]
    fn bytes_come_out_alike_however_they_are_cut() {
        let nonce = *b"8 bytes!";
        let ack = frame(PING, FLAG_ACK, &nonce);
        let other = frame(PING, FLAG_ACK, b"notours!");
        let before = [
            frame(4, 0, &[]),
            frame(HEADERS, FLAG_END_HEADERS, &authority(b"/run/x.sock")),
            ack,
            other.clone(),
            frame(DATA, 1, b"\0\0\0\0\0"),
        ];
        let after = [
            frame(4, 0, &[]),
            frame(HEADERS, FLAG_END_HEADERS, &authority(b"-run-x.sock")),
            other,
            frame(DATA, 1, b"\0\0\0\0\0"),
        ];
        let bytes = stream(&before);
        for size in [1, 2, 3, 5, 8, 9, 10, 17, 24, 25, 100, bytes.len()] {
            let mut inbound = Inbound::new();
            inbound.expect(nonce);
            let mut out = Vec::new();
            let answers = bytes.chunks(size).filter(|chunk| inbound.push(chunk, &mut out)).count();
            assert_eq!(out, stream(&after), "in pieces of {size}");
            assert_eq!(answers, 1);
            assert_eq!(inbound.take_tally(), Tally { frames: 5, useful: 1 });
        }
    }

    #[test]
    fn http2_is_told_by_its_whole_preface() {
        assert_eq!(PREFACE.len(), usize::from(PREFACE_LENGTH));
        for end in 0..PREFACE.len() {
            let begin = PREFACE.get(..end).unwrap();
            assert_eq!(is_http2(begin), None, "{end}");
            assert_eq!(is_http2(&[begin, b"\0"].concat()), Some(false), "{end}");
        }
        assert_eq!(is_http2(PREFACE), Some(true));
        assert_eq!(is_http2(&stream(&[frame(4, 0, &[])])), Some(true));
        for other in ["GET / HTTP/1.1\r\n", "POST /", "PRI * HTTP/1.1\r\n\r\n", "pri * HTTP/2.0"] {
            assert_eq!(is_http2(other.as_bytes()), Some(false), "{other}");
        }
    }

    #[test]
    fn an_ack_is_swallowed_once() {
        let nonce = [7; 8];
        let ack = frame(PING, FLAG_ACK, &nonce);
        let mut inbound = Inbound::new();
        inbound.expect(nonce);
        let mut out = Vec::new();
        assert!(inbound.push(&stream(std::slice::from_ref(&ack)), &mut out));
        assert!(!inbound.push(&ack, &mut out));
        assert_eq!(out, stream(&[ack]));
    }

    #[test]
    fn padding_and_priority_stay() {
        let block = authority(b"/x");
        let payload = [&[3][..], &[0, 0, 0, 0, 16], &block, &[0, 0, 0]].concat();
        let flags = FLAG_END_HEADERS | FLAG_PADDED | FLAG_PRIORITY;
        let mut out = Vec::new();
        Inbound::new().push(&stream(&[frame(HEADERS, flags, &payload)]), &mut out);
        let clean = [&[3][..], &[0, 0, 0, 0, 16], &authority(b"-x"), &[0, 0, 0]].concat();
        assert_eq!(out, stream(&[frame(HEADERS, flags, &clean)]));
    }

    #[test]
    fn padding_longer_than_the_frame_is_left_to_h2() {
        let bytes = stream(&[frame(HEADERS, FLAG_END_HEADERS | FLAG_PADDED, &[200, 0x41, 2, b'/', b'x'])]);
        let mut out = Vec::new();
        Inbound::new().push(&bytes, &mut out);
        assert_eq!(out, bytes);
    }

    #[test]
    fn our_frame_stands_between_whole_frames_only() {
        let frames = [
            frame(4, 0, b"123456"),
            frame(HEADERS, 0, b"ab"),
            frame(CONTINUATION, FLAG_END_HEADERS, b"c"),
            frame(DATA, 0, b"xyz"),
        ];
        let ends: Vec<usize> = frames
            .iter()
            .scan(0, |end, frame| {
                *end += frame.len();
                Some(*end)
            })
            .collect();
        let bytes = frames.concat();
        for cut in 0..=bytes.len() {
            let mut outbound = Outbound::default();
            outbound.advance(bytes.get(..cut).unwrap());
            // Not at the start, and not after the HEADERS that a CONTINUATION follows.
            let may = ends.contains(&cut) && cut != *ends.get(1).unwrap();
            assert_eq!(outbound.is_between_frames(), may, "after {cut} bytes");
        }
        let outbound = Outbound::default();
        assert_eq!(outbound.until_between_frames(&bytes), *ends.first().unwrap());
    }
}

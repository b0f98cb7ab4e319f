//! HTTP/2 and gRPC to the byte, over a blocking socket: what a client may do wrong, tests do here on purpose.
//!
//! The reader is a good client: it answers SETTINGS and PING, and its windows never close. Its HPACK has no dynamic
//! table and of the static one only what answers of ours use.
#![allow(dead_code, unreachable_pub, reason = "each test target uses its own part of this")]
#![expect(clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const SECURITY: (&str, &str) = ("workload.spiffe.io", "true");

pub const OK: u32 = 0;
pub const INVALID_ARGUMENT: u32 = 3;
pub const PERMISSION_DENIED: u32 = 7;
pub const RESOURCE_EXHAUSTED: u32 = 8;
pub const UNIMPLEMENTED: u32 = 12;
pub const UNAVAILABLE: u32 = 14;

pub const FETCH_SVID: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
pub const FETCH_BUNDLES: &str = "/SpiffeWorkloadAPI/FetchX509Bundles";

/// One frame as it was read.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A body in frames of the usual size, the last one with these flags.
pub fn data(stream: u32, body: &[u8], flags: u8) -> Vec<u8> {
    const MOST: usize = 16_384;
    let (begin, last) = body.split_at(body.len().saturating_sub(1) / MOST * MOST);
    let begun = begin.chunks(MOST).flat_map(|part| frame(DATA, 0, stream, part));
    begun.chain(frame(DATA, flags, stream, last)).collect()
}

/// A gRPC message, not compressed.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a message's length");
    [&[0][..], &length.to_be_bytes(), bytes].concat()
}

/// A header field, literal and not indexed (RFC 7541 §6.2.2).
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for part in [name, value] {
        bytes.extend(integer(0, 7, part.len()));
        bytes.extend(part);
    }
    bytes
}

/// RFC 7541 §5.1.
pub fn integer(first: u8, prefix_bits: u32, value: usize) -> Vec<u8> {
    let most = (1 << prefix_bits) - 1;
    if value < most {
        return vec![first | u8::try_from(value).expect("below the prefix")];
    }
    let mut bytes = vec![first | u8::try_from(most).expect("a prefix")];
    let mut rest = value - most;
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
    bytes
}

/// What a request says of itself. Tests spoil it as they like.
#[derive(Clone, Debug)]
pub struct Head {
    pub path: String,
    pub authority: Option<Vec<u8>>,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Head {
    /// A good request, with the security header.
    pub fn new(path: &str) -> Self {
        Self::bare(path).with(SECURITY.0, SECURITY.1)
    }

    /// A good request but for the security header.
    pub fn bare(path: &str) -> Self {
        let head = Self { path: path.to_owned(), authority: Some(b"localhost".to_vec()), fields: Vec::new() };
        head.with("content-type", "application/grpc").with("te", "trailers")
    }

    pub fn with(self, name: &str, value: &str) -> Self {
        self.with_bytes(name.as_bytes(), value.as_bytes())
    }

    pub fn with_bytes(mut self, name: &[u8], value: &[u8]) -> Self {
        self.fields.push((name.to_vec(), value.to_vec()));
        self
    }

    pub fn authority(mut self, value: Option<&[u8]>) -> Self {
        self.authority = value.map(<[u8]>::to_vec);
        self
    }

    /// The header block.
    pub fn block(&self) -> Vec<u8> {
        // :method POST and :scheme http, from the static table.
        let mut block = vec![0x83, 0x86];
        block.extend(field(b":path", self.path.as_bytes()));
        if let Some(authority) = &self.authority {
            block.extend(field(b":authority", authority));
        }
        self.fields.iter().for_each(|(name, value)| block.extend(field(name, value)));
        block
    }

    /// HEADERS, and CONTINUATION where one frame does not hold it.
    pub fn frames(&self, stream: u32, flags: u8) -> Vec<u8> {
        let block = self.block();
        let chunks: Vec<_> = block.chunks(16_384).collect();
        let last = chunks.len() - 1;
        let frames = chunks.iter().enumerate().map(|(at, chunk)| {
            let end = if at == last { END_HEADERS } else { 0 };
            if at == 0 { frame(HEADERS, flags | end, stream, chunk) } else { frame(CONTINUATION, end, stream, chunk) }
        });
        frames.collect::<Vec<_>>().concat()
    }
}

/// How a call went, as far as it came.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub fields: Vec<(String, String)>,
    /// HEADERS frames that came: one when the answer is trailers only.
    pub blocks: usize,
    /// Whole messages that nobody has taken.
    pub messages: Vec<Vec<u8>>,
    pub reset: Option<u32>,
    pub ended: bool,
    partial: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The gRPC code, if one came.
    pub fn code(&self) -> Option<u32> {
        self.field("grpc-status")?.parse().ok()
    }

    /// What the daemon says about it, decoded as far as tests need.
    pub fn words(&self) -> String {
        self.field("grpc-message").unwrap_or_default().replace("%20", " ")
    }

    pub fn is_trailers_only(&self) -> bool {
        self.ended && self.blocks == 1 && self.code().is_some()
    }

    fn take_data(&mut self, payload: &[u8]) {
        self.partial.extend(payload);
        while let Some(length) = self.partial.get(1..5) {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
            let whole = 5 + usize::try_from(length).expect("a length");
            if self.partial.len() < whole {
                return;
            }
            let rest = self.partial.split_off(whole);
            self.messages.push(self.partial.split_off(5));
            self.partial = rest;
        }
    }
}

/// A connection on which anything can be sent.
pub struct Raw {
    pub socket: UnixStream,
    received: Vec<u8>,
    next: u32,
    pub answers: BTreeMap<u32, Answer>,
    /// The error code of a GOAWAY.
    pub goaway: Option<u32>,
}

impl Raw {
    /// Connected, and silent.
    pub fn silent(path: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        socket.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { socket, received: Vec::new(), next: 1, answers: BTreeMap::new(), goaway: None })
    }

    /// A connection that was begun elsewhere, all of whose frames were read; `next` is its next stream.
    pub fn adopted(socket: UnixStream, next: u32) -> Self {
        Self { socket, received: Vec::new(), next, answers: BTreeMap::new(), goaway: None }
    }

    /// Connected, with preface and SETTINGS sent.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let mut raw = Self::silent(path)?;
        raw.send(&hello())?;
        Ok(raw)
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The number of a stream that has not been used.
    pub fn stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// A whole call, answer not awaited.
    pub fn call(&mut self, head: &Head, body: &[u8]) -> io::Result<u32> {
        let stream = self.stream();
        let bytes = [head.frames(stream, 0), data(stream, body, END_STREAM)].concat();
        self.send(&bytes)?;
        Ok(stream)
    }

    /// A whole call with an empty message, to its end.
    pub fn ask(&mut self, head: &Head) -> io::Result<Answer> {
        let stream = self.call(head, &message(&[]))?;
        self.finish(stream)
    }

    /// Reads until the call has ended. An error when the connection ends first.
    pub fn finish(&mut self, stream: u32) -> io::Result<Answer> {
        while !self.answers.get(&stream).is_some_and(|answer| answer.ended) {
            self.pump()?;
        }
        Ok(self.answers.remove(&stream).unwrap_or_default())
    }

    /// The next message of a call; how the call ended if there is none.
    pub fn next_message(&mut self, stream: u32) -> io::Result<Result<Vec<u8>, Answer>> {
        loop {
            if let Some(answer) = self.answers.get_mut(&stream) {
                if !answer.messages.is_empty() {
                    return Ok(Ok(answer.messages.remove(0)));
                }
                if answer.ended {
                    return Ok(Err(self.answers.remove(&stream).unwrap_or_default()));
                }
            }
            self.pump()?;
        }
    }

    /// Gives a stream up, as a client does that cancels.
    pub fn reset(&mut self, stream: u32) -> io::Result<()> {
        self.answers.remove(&stream);
        self.send(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()))
    }

    /// Reads one frame and does what it asks.
    pub fn pump(&mut self) -> io::Result<Frame> {
        let came = self.next_frame()?;
        let answer = self.answers.entry(came.stream);
        match came.kind {
            DATA | HEADERS => {
                let answer = answer.or_default();
                if came.kind == DATA {
                    answer.take_data(&came.payload);
                } else {
                    answer.blocks += 1;
                    answer.fields.extend(fields(&came.payload));
                }
                answer.ended |= came.flags & END_STREAM != 0;
            }
            RST_STREAM => {
                let answer = answer.or_default();
                answer.reset = Some(be(&came.payload));
                answer.ended = true;
            }
            // A daemon that has hung up has still said what it had to say: go on reading.
            SETTINGS if came.flags & ACK == 0 => self.send(&frame(SETTINGS, ACK, 0, &[])).unwrap_or_default(),
            PING if came.flags & ACK == 0 => self.send(&frame(PING, ACK, 0, &came.payload)).unwrap_or_default(),
            GOAWAY => self.goaway = came.payload.get(4..8).map(be),
            _ => {}
        }
        Ok(came)
    }

    /// Reads one frame as it is.
    pub fn next_frame(&mut self) -> io::Result<Frame> {
        self.fill(9)?;
        let length = usize::try_from(be(&[&[0][..], &self.received[..3]].concat())).expect("a length");
        self.fill(9 + length)?;
        let rest = self.received.split_off(9 + length);
        let bytes = std::mem::replace(&mut self.received, rest);
        Ok(Frame { kind: bytes[3], flags: bytes[4], stream: be(&bytes[5..9]), payload: bytes[9..].to_vec() })
    }

    /// Reads until the daemon closes; answers whether it did within `limit`.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        let begin = std::time::Instant::now();
        loop {
            let left = limit.saturating_sub(begin.elapsed()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).expect("a timeout");
            // Without an answer to what comes: a silent client stays silent.
            match self.next_frame() {
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            }
        }
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let mut chunk = [0; 16_384];
        while self.received.len() < wanted {
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Preface and SETTINGS: no dynamic table, no push, windows that never close.
pub fn hello() -> Vec<u8> {
    let setting = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let settings = [setting(1, 0), setting(2, 0), setting(4, 0x7fff_ffff)].concat();
    let window = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
    [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &settings), frame(WINDOW_UPDATE, 0, 0, &window)].concat()
}

fn be(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

/// The fields of a header block.
fn fields(block: &[u8]) -> Vec<(String, String)> {
    let mut at = 0;
    let mut found = Vec::new();
    while at < block.len() {
        let first = block[at];
        if first & 0x80 != 0 {
            let index = read_integer(block, &mut at, 7);
            found.push(static_field(index));
        } else if first & 0xe0 == 0x20 {
            read_integer(block, &mut at, 5);
        } else {
            let prefix = if first & 0x40 != 0 { 6 } else { 4 };
            let index = read_integer(block, &mut at, prefix);
            let name = if index == 0 { read_text(block, &mut at) } else { static_field(index).0 };
            found.push((name, read_text(block, &mut at)));
        }
    }
    found
}

fn static_field(index: usize) -> (String, String) {
    let status = ["200", "204", "206", "304", "400", "404", "500"];
    match index {
        8..=14 => (":status".to_owned(), status[index - 8].to_owned()),
        31 => ("content-type".to_owned(), String::new()),
        ..=61 => (format!("static-{index}"), String::new()),
        _ => (format!("index {index}, though there is no dynamic table"), String::new()),
    }
}

fn read_integer(block: &[u8], at: &mut usize, prefix_bits: u32) -> usize {
    let most = (1 << prefix_bits) - 1;
    let mut value = usize::from(block[*at]) & most;
    *at += 1;
    if value < most {
        return value;
    }
    for shift in (0..).step_by(7) {
        let byte = usize::from(block[*at]);
        *at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn read_text(block: &[u8], at: &mut usize) -> String {
    let is_coded = block[*at] & 0x80 != 0;
    let length = read_integer(block, at, 7);
    let bytes = &block[*at..*at + length];
    *at += length;
    if is_coded { huffman(bytes) } else { String::from_utf8_lossy(bytes).into_owned() }
}

/// RFC 7541 appendix B is canonical, so each length's symbols in order are enough; none of ours is longer than 15 bits.
const SYMBOLS: [(u32, &[u8]); 10] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

fn huffman(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut code, mut length) = (0_u32, 0_u32);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1))) {
        code = code << 1 | bit;
        length += 1;
        let (mut first, mut before) = (0_u32, 0_u32);
        for (bits, symbols) in SYMBOLS {
            first <<= bits - before;
            let found = usize::try_from(code.wrapping_sub(first)).expect("a code");
            if bits == length && found < symbols.len() {
                text.push(char::from(symbols[found]));
                (code, length) = (0, 0);
                break;
            }
            first += u32::try_from(symbols.len()).expect("a count");
            before = bits;
        }
    }
    text
}

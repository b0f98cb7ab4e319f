//! HTTP/2 by hand: the bytes that callers of the Workload API send, and a reader for what comes back.
//!
//! Nothing here checks anything: an attacker needs to know when a secret has come, a PING to answer, or the end.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GO_AWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
/// No frame of the standard; both ends skip it.
pub const UNKNOWN: u8 = 0xbe;
/// Of SETTINGS and PING.
pub const ACK: u8 = 1;
/// Of HEADERS and DATA.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const HEAD_BYTES: usize = 9;
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The identity that attackers are after.
pub const IDENTITY: &str = "spiffe://example.org/trusted";

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The preface and the client's SETTINGS.
pub fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Room for many answers on one connection.
pub fn wide_window() -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())
}

/// The HEADERS of `FetchX509SVID`, every field a literal that no table remembers.
pub fn headers(stream: u32) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/SpiffeWorkloadAPI/FetchX509SVID"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("workload.spiffe.io", "true"),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or(0));
            block.extend(text.as_bytes());
        }
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// A gRPC message in a DATA frame.
pub fn message(stream: u32, flags: u8, message: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    body.extend(message);
    frame(DATA, flags, stream, &body)
}

/// A whole request.
pub fn request(stream: u32) -> Vec<u8> {
    [headers(stream), message(stream, END_STREAM, &[])].concat()
}

/// Several requests, on streams 1, 3, 5…
pub fn requests(count: u32) -> Vec<u8> {
    (0..count).flat_map(|number| request(number * 2 + 1)).collect()
}

/// So many PINGs of a client.
pub fn pings(count: usize) -> Vec<u8> {
    frame(PING, 0, 0, b"a client").repeat(count)
}

/// How many PINGs it takes to fill a socket with answers that nobody reads, and fewer than a flood.
pub const PINGS: usize = 900;

/// The answer to a PING.
pub fn ack(nonce: [u8; 8]) -> Vec<u8> {
    frame(PING, ACK, 0, &nonce)
}

/// What a client cares about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Settings,
    Ping([u8; 8]),
    /// An answer with the identity that attackers are after.
    Secret(u32),
    /// The stream ended.
    End(u32),
    /// The connection ended.
    Gone,
    /// Nothing came in time.
    Silent,
}

/// Reads frames off a connection. What is left over is kept for the next call.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// The next event before `deadline`.
    pub fn next(&mut self, mut socket: &UnixStream, deadline: Instant) -> Event {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).is_err() {
                return Event::Silent;
            }
            let mut scratch = [0; 16 * 1024];
            match socket.read(&mut scratch) {
                Ok(0) => return Event::Gone,
                Ok(count) => self.buffer.extend(&scratch[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Event::Gone,
            }
        }
    }

    /// The next event in what has been read.
    fn take(&mut self) -> Option<Event> {
        loop {
            let (kind, flags, stream, payload) = take_frame(&mut self.buffer)?;
            match (kind, flags & 1) {
                (SETTINGS, 0) => return Some(Event::Settings),
                (PING, 0) => return Some(Event::Ping(payload.try_into().unwrap_or_default())),
                (DATA, _) if contains(&payload, IDENTITY.as_bytes()) => return Some(Event::Secret(stream)),
                (DATA | HEADERS, END_STREAM) | (RESET, _) => return Some(Event::End(stream)),
                (GO_AWAY, _) => return Some(Event::Gone),
                _ => {}
            }
        }
    }
}

/// Takes a whole frame off the front: kind, flags, stream, payload.
pub fn take_frame(buffer: &mut Vec<u8>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head: [u8; HEAD_BYTES] = buffer.get(..HEAD_BYTES)?.try_into().ok()?;
    let [a, b, c, kind, flags, s @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
    let payload = buffer.get(HEAD_BYTES..HEAD_BYTES + length)?.to_vec();
    buffer.drain(..HEAD_BYTES + length);
    Some((kind, flags, u32::from_be_bytes(s) & 0x7fff_ffff, payload))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

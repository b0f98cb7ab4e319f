//! How a record becomes a line that is linked to the line before, and back.
//!
//! A line is `{"seq":…,"time":…,…,"prev":"H","hash":"H"}`. The hash is SHA-256 over the bytes of the line that stand
//! before `,"hash"`, so the hash of the line before is in it. It is taken over bytes, not over what they mean: nothing
//! has to be brought into a canonical form to check it.

use std::{fmt, time::SystemTime};

use aws_lc_rs::digest;
use serde::Deserialize;
use time::OffsetDateTime;

use super::{record::First, seal::Seal};

/// A SHA-256 in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash([u8; 64]);

impl Hash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digest = digest::digest(&digest::SHA256, bytes);
        let mut hex = [b'0'; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(digest.as_ref()) {
            for (place, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0x0f]) {
                *place = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            }
        }
        Self(hex)
    }

    /// Reads 64 lower-case hex digits.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let hex: [u8; 64] = text.try_into().ok()?;
        hex.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(hex))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The end of a chain: what the next line must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The number of the last record; 0 before the first.
    pub(super) seq: u64,
    /// Its hash; zeros before the first.
    pub(super) hash: Hash,
}

impl Link {
    /// Before the first record.
    pub(super) const START: Self = Self { seq: 0, hash: Hash([b'0'; 64]) };
}

/// Writes the line that follows `after` into `line`, the newline included.
pub(super) fn seal(line: &mut Vec<u8>, after: &Link, time: SystemTime, body: &[u8]) -> Link {
    let seq = after.seq.saturating_add(1);
    line.clear();
    line.extend_from_slice(b"{\"seq\":");
    line.extend_from_slice(seq.to_string().as_bytes());
    line.extend_from_slice(b",\"time\":\"");
    push_timestamp(line, time, true);
    line.extend_from_slice(b"\",");
    line.extend_from_slice(body);
    line.extend_from_slice(PREV_BEGIN);
    line.extend_from_slice(&after.hash.0);
    line.push(b'"');
    let hash = Hash::of(line);
    line.extend_from_slice(HASH_BEGIN);
    line.extend_from_slice(&hash.0);
    line.extend_from_slice(HASH_END);
    line.push(b'\n');
    Link { seq, hash }
}

/// What a sealed line says about its place.
#[derive(Debug)]
pub(super) struct Line {
    /// The end of the chain, up to this line.
    pub(super) link: Link,
    /// What it follows.
    pub(super) after: Link,
    /// When it was written, RFC 3339.
    pub(super) time: String,
    /// Which record it is.
    pub(super) kind: String,
    /// Of the log's own records, which segment they are about.
    pub(super) segment: Option<u64>,
    /// Of a removal, the last record that went; of missing records, the last one.
    pub(super) through: Option<u64>,
    /// Of unsigned records, the first one; of these and others, how many.
    pub(super) from: Option<u64>,
    pub(super) count: Option<u64>,
    /// Of credentials that were counted, the record that says so; of that record, until when they are at the latest.
    pub(super) of: Option<u64>,
    pub(super) until: Option<String>,
    /// Of a record that was carried over, its kind.
    pub(super) kept: Option<String>,
    /// Of a checkpoint, what it signs with.
    pub(super) seal: Option<Seal>,
}

/// Why a line is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is not built as one.
    Malformed,
    /// Its hash is another one's.
    Changed,
}

/// Reads a sealed line, without its newline. Whether it stands in its place is for the reader of all lines to see.
pub(super) fn read(line: &[u8]) -> Result<Line, Flaw> {
    #[derive(Deserialize)]
    struct Fields {
        seq: u64,
        time: String,
        kind: String,
        prev: String,
        segment: Option<u64>,
        through: Option<u64>,
        from: Option<u64>,
        count: Option<u64>,
        of: Option<u64>,
        until: Option<String>,
        record: Option<Kept>,
        first: Option<First>,
        #[serde(default)]
        end: bool,
        at: Option<String>,
        #[serde(alias = "key")]
        public_key: Option<String>,
        signature: Option<String>,
    }
    #[derive(Deserialize)]
    struct Kept {
        kind: String,
    }
    let cut = line.len().checked_sub(HASH_BEGIN.len() + 64 + HASH_END.len()).ok_or(Flaw::Malformed)?;
    let (covered, tail) = line.split_at_checked(cut).ok_or(Flaw::Malformed)?;
    let hash = tail
        .strip_prefix(HASH_BEGIN)
        .and_then(|tail| tail.strip_suffix(HASH_END))
        .and_then(Hash::parse)
        .ok_or(Flaw::Malformed)?;
    if Hash::of(covered) != hash {
        return Err(Flaw::Changed);
    }
    let fields: Fields = serde_json::from_slice(line).map_err(|_| Flaw::Malformed)?;
    let before = fields.seq.checked_sub(1).ok_or(Flaw::Malformed)?;
    let prev = Hash::parse(fields.prev.as_bytes()).ok_or(Flaw::Malformed)?;
    let beginning = match &fields.first {
        Some(first) => Some(first.beginning().ok_or(Flaw::Malformed)?),
        None => None,
    };
    Ok(Line {
        link: Link { seq: fields.seq, hash },
        after: Link { seq: before, hash: prev },
        time: fields.time,
        kind: fields.kind,
        segment: fields.segment,
        through: fields.through,
        from: fields.from,
        count: fields.count,
        of: fields.of,
        until: fields.until,
        kept: fields.record.map(|record| record.kind),
        seal: match (fields.at, fields.public_key, fields.signature) {
            (Some(at), Some(key), Some(signature)) => Some(Seal { at, key, beginning, is_end: fields.end, signature }),
            _ => None,
        },
    })
}

/// The end of the chain behind a line, if it follows this one. Whatever else it says is not looked at.
pub(super) fn follow(after: &Link, line: &[u8]) -> Option<Link> {
    let seq = after.seq.checked_add(1)?;
    let cut = line.len().checked_sub(HASH_BEGIN.len() + 64 + HASH_END.len())?;
    let (covered, tail) = line.split_at_checked(cut)?;
    let hash = tail.strip_prefix(HASH_BEGIN)?.strip_suffix(HASH_END).and_then(Hash::parse)?;
    let before = covered.strip_suffix(b"\"")?.strip_suffix(&after.hash.0)?;
    let follows = covered.starts_with(format!("{{\"seq\":{seq},").as_bytes()) && before.ends_with(PREV_BEGIN);
    (follows && Hash::of(covered) == hash).then_some(Link { seq, hash })
}

/// What a sealed line, or the end of one, has before its place and its hashes.
pub(super) fn body(line: &[u8]) -> Option<&[u8]> {
    let tail = PREV_BEGIN.len() + 64 + b"\"".len() + HASH_BEGIN.len() + 64 + HASH_END.len();
    let (body, tail) = line.split_at_checked(line.len().checked_sub(tail)?)?;
    tail.starts_with(PREV_BEGIN).then_some(body)
}

const PREV_BEGIN: &[u8] = b",\"prev\":\"";
const HASH_BEGIN: &[u8] = b",\"hash\":\"";
const HASH_END: &[u8] = b"\"}";

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hex stands for.
pub(super) fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.len().is_multiple_of(2).then(|| hex.as_bytes().chunks(2).map(pair).collect())?
}

/// A moment to the second, RFC 3339 in UTC.
pub(super) fn timestamp(time: SystemTime) -> String {
    let mut text = Vec::with_capacity(20);
    push_timestamp(&mut text, time, false);
    String::from_utf8(text).unwrap_or_default()
}

/// Moments before 1970 and after 9999 are none that a clock shows; they become 1970.
fn push_timestamp(text: &mut Vec<u8>, time: SystemTime, with_nanoseconds: bool) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let fields = [
        (moment.year().unsigned_abs(), 4, b'-'),
        (u32::from(u8::from(moment.month())), 2, b'-'),
        (u32::from(moment.day()), 2, b'T'),
        (u32::from(moment.hour()), 2, b':'),
        (u32::from(moment.minute()), 2, b':'),
        (u32::from(moment.second()), 2, if with_nanoseconds { b'.' } else { b'Z' }),
    ];
    for (value, width, end) in fields {
        push_digits(text, value, width);
        text.push(end);
    }
    if with_nanoseconds {
        push_digits(text, since.subsec_nanos(), 9);
        text.push(b'Z');
    }
}

fn push_digits(text: &mut Vec<u8>, value: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_u32.pow(place) % 10;
        text.push(b'0' + u8::try_from(digit).unwrap_or_default());
    }
}

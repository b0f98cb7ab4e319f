//! The first line of a segment, and how long any line may be.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    time::SystemTime,
};

use super::{
    Error,
    chain::{self, Line, Link},
    record::{self, Own, RECORD_BYTES_MAX, Urgency},
    segment::{self, Segment},
};

/// The longest line: a record, its place and its hashes; twice these where it was carried over.
pub(super) const LINE_BYTES_MAX: usize = RECORD_BYTES_MAX + 1024;

/// Writes the first line of a segment; answers the end of the chain after it.
pub(super) fn write_header(
    fresh: &mut Segment,
    after: &Link,
    line: &mut Vec<u8>,
    now: SystemTime,
) -> Result<Link, Error> {
    let body = record::body(&Own::Segment { segment: fresh.number })?;
    let link = chain::seal(line, after, now, &body);
    fresh.write(line, Urgency::Ordinary, now)?;
    Ok(link)
}

/// The first line of a segment, if it is one.
pub(super) fn first_line(dir: &Path, number: u64) -> Option<Line> {
    let file = File::open(segment::path(dir, number)).ok()?;
    let mut line = Vec::new();
    let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    BufReader::new(file.take(most)).read_until(b'\n', &mut line).ok()?;
    chain::read(line.strip_suffix(b"\n")?).ok()
}

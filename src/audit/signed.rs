//! How far a log is signed, when it is opened: up to the last checkpoint that others kept, or one behind it that they
//! were not told of in time.
//!
//! Only what the key has signed is believed here. What stands in the folder without a signature moves nothing.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::{
    Error,
    chain::{self, Hash, Link},
    checkpoint::Checkpoint,
    header::{LINE_BYTES_MAX, first_line},
    seal::Seal,
    segment,
};

/// The last checkpoint of this key: the known one, or one that follows it. Where none is known, the last segment is
/// looked through.
pub(super) fn last(
    dir: &Path,
    numbers: &[u64],
    known: Option<&Checkpoint>,
    key: Hash,
) -> Result<Option<Checkpoint>, Error> {
    let mut walk = match (known, numbers.last()) {
        (Some(known), _) if known.offset > 0 => Walk::new(known.segment, Some((known.offset, known.link)), known.key),
        (Some(known), _) => Walk::new(known.segment, None, known.key),
        (None, Some(last)) => Walk::new(*last, None, key),
        (None, None) => return Ok(None),
    };
    walk.last = known.copied();
    let from = walk.segment;
    for number in numbers.iter().copied().skip_while(|number| *number < from) {
        if number != walk.segment || !walk.read(dir).map_err(Error::io(&segment::path(dir, number), "read"))? {
            break;
        }
    }
    Ok(walk.last)
}

struct Walk {
    key: Hash,
    /// Where to go on; at the beginning of the segment where that is not known.
    segment: u64,
    place: Option<(u64, Link)>,
    last: Option<Checkpoint>,
}

impl Walk {
    fn new(segment: u64, place: Option<(u64, Link)>, key: Hash) -> Self {
        Self { key, segment, place, last: None }
    }

    /// Reads one segment; answers whether all its lines follow each other.
    fn read(&mut self, dir: &Path) -> io::Result<bool> {
        let place = self.place.or_else(|| Some((0, first_line(dir, self.segment)?.after)));
        let Some((mut offset, mut link)) = place else { return Ok(false) };
        let mut file = File::open(segment::path(dir, self.segment))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let size = reader.by_ref().take(most).read_until(b'\n', &mut bytes)?;
            offset = offset.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
            let line = match bytes.strip_suffix(b"\n").map(chain::read) {
                Some(Ok(line)) if line.after == link => line,
                _ => break,
            };
            link = line.link;
            if let Some(found) = Seal::checkpoint(&line, self.segment, offset)
                && found.key == self.key
                && self.last.is_none_or(|last| last.link.seq < found.link.seq)
            {
                self.last = Some(found);
            }
        }
        (self.segment, self.place) = (self.segment.saturating_add(1), Some((0, link)));
        Ok(bytes.is_empty())
    }
}

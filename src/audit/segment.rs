//! One file of the log: lines at its end, and blocks beyond the end that are its own already.
//!
//! The blocks beyond the end are the reserve. They belong to the file, so no other process can take them when the disk
//! fills up; ordinary records leave them alone. A file is never longer than its whole lines: what could only be
//! written in part is cut off again before anything else happens.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};

use crate::sys::files;

use super::{Error, record::Urgency};

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    /// Counts segments from 1.
    pub(super) number: u64,
    path: PathBuf,
    file: Arc<File>,
    length: u64,
    /// Up to where the file's blocks are its own; `None` on a file system that cannot tell.
    allocated: Option<u64>,
    /// How much beyond the end is kept for renewals.
    reserve: u64,
    /// Whether a part of a line may be beyond `length`.
    is_torn: bool,
    /// When there was no space last.
    full_at: Option<SystemTime>,
    /// Whether the system did not take the last line, though there was space.
    is_refused: bool,
}

impl Segment {
    /// Makes a new file with its reserve; nothing is left of it after an error.
    pub(super) fn create(dir: &Path, number: u64, reserve: u64) -> Result<Self, Error> {
        let path = path(dir, number);
        let create = || options().create_new(true).open(&path);
        let file = match create() {
            // Whoever may write the folder has taken the place: no reason to serve nobody.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => set_aside(&path).and_then(|()| create()),
            created => created,
        };
        let file = file.map_err(Error::io(&path, "created"))?;
        let mut segment = Self::new(path, number, file, 0, reserve);
        match segment.allocate(FIRST_BYTES) {
            Ok(()) => Ok(segment),
            Err(error) => {
                segment.discard();
                Err(error)
            }
        }
    }

    /// Opens a file again and cuts it to `length`. Space is looked for when a record comes.
    pub(super) fn open(dir: &Path, number: u64, length: u64, reserve: u64) -> Result<Self, Error> {
        let path = path(dir, number);
        let file = options().open(&path).map_err(Error::io(&path, "opened"))?;
        let on_disk = file.metadata().map_err(Error::io(&path, "read"))?.len();
        let mut segment = Self::new(path, number, file, length, reserve);
        segment.is_torn = on_disk > length;
        segment.mend()?;
        Ok(segment)
    }

    fn new(path: PathBuf, number: u64, file: File, length: u64, reserve: u64) -> Self {
        let (allocated, file) = (Some(0), Arc::new(file));
        Self { number, path, file, length, allocated, reserve, is_torn: false, full_at: None, is_refused: false }
    }

    /// How long it is, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The file, to be synced by somebody else.
    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Writes one line at the end, in one call, whole or not at all.
    pub(super) fn write(&mut self, line: &[u8], urgency: Urgency, now: SystemTime) -> Result<(), Error> {
        self.mend()?;
        let size = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let end = self.length.saturating_add(size);
        // Who may use the reserve does so only when there is nothing else.
        if let Err(error) = self.find_room(size, now)
            && (urgency != Urgency::Renewal || self.allocated.is_some_and(|allocated| end > allocated))
        {
            return Err(error);
        }
        match write_once(&self.file, line, self.length) {
            Ok(()) => {
                self.length = end;
                self.is_refused = false;
                Ok(())
            }
            Err(error) => {
                self.is_torn = true;
                // What cannot be cut off now is cut off before the next line.
                self.mend().ok();
                let error = Error::io(&self.path, "written")(error);
                self.is_refused = !matches!(error, Error::Full { .. });
                Err(error)
            }
        }
    }

    /// Makes sure that an ordinary line of so many bytes could be written now.
    pub(super) fn make_room(&mut self, size: u64, now: SystemTime) -> Result<(), Error> {
        self.mend()?;
        self.find_room(size, now)?;
        if self.allocated.is_none() && files::free_bytes(&self.path).is_ok_and(|free| free < size) {
            return Err(self.full());
        }
        if self.is_refused
            && let Some(end) = self.length.checked_sub(1)
        {
            // The last line's end once more: it changes nothing, and says what a new line would.
            self.file.write_all_at(b"\n", end).map_err(Error::io(&self.path, "written"))?;
            self.is_refused = false;
        }
        Ok(())
    }

    /// Room for so many bytes beside the reserve. On a file system that cannot tell, the line finds out by itself.
    fn find_room(&mut self, size: u64, now: SystemTime) -> Result<(), Error> {
        let end = self.length.saturating_add(size).saturating_add(self.reserve);
        match self.allocated.is_some_and(|allocated| end > allocated) {
            true => self.allocate_unless_full(size, now),
            false => Ok(()),
        }
    }

    /// Makes everything written so far last.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io(&self.path, "synced"))
    }

    /// Gives the reserve back: nothing more is written here. Best effort, as it costs only space.
    pub(super) fn close(self) {
        self.file.set_len(self.length).ok();
    }

    /// Removes a file that was made in vain.
    pub(super) fn discard(self) {
        // A leftover is empty or has one whole header, and is found at the next start.
        fs::remove_file(&self.path).ok();
    }

    /// A full file system may take milliseconds to say so; meanwhile renewals wait. So it is not asked each time.
    fn allocate_unless_full(&mut self, size: u64, now: SystemTime) -> Result<(), Error> {
        let is_fresh = |at: SystemTime| now.duration_since(at).is_ok_and(|since| since < ASK_AGAIN_AFTER);
        if self.full_at.is_some_and(is_fresh) {
            return Err(self.full());
        }
        let allocated = self.allocate(size);
        self.full_at = matches!(allocated, Err(Error::Full { .. })).then_some(now);
        allocated
    }

    /// Makes the reserve and `size` bytes more this file's own; with luck a whole chunk, so that it is not asked for
    /// every line.
    fn allocate(&mut self, size: u64) -> Result<(), Error> {
        let need = self.length.saturating_add(size).saturating_add(self.reserve);
        for end in [need.max(self.length.saturating_add(CHUNK_BYTES).saturating_add(self.reserve)), need] {
            let (Ok(from), Ok(bytes)) = (i64::try_from(self.length), i64::try_from(end.saturating_sub(self.length)))
            else {
                break;
            };
            match fallocate(&*self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, bytes) {
                Ok(()) => {
                    self.allocated = Some(end);
                    return Ok(());
                }
                // Such a file system has no reserve, and the record finds out by itself whether there is space.
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                    self.allocated = None;
                    return Ok(());
                }
                Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => {}
                Err(errno) => return Err(Error::io(&self.path, "allocated")(errno.into())),
            }
        }
        Err(self.full())
    }

    fn full(&self) -> Error {
        Error::io(&self.path, "allocated")(io::ErrorKind::StorageFull.into())
    }

    /// Cuts off what is no whole line.
    fn mend(&mut self) -> Result<(), Error> {
        if self.is_torn {
            self.file.set_len(self.length).map_err(Error::io(&self.path, "cut"))?;
            self.is_torn = false;
            // The cut gave the blocks beyond the end back too.
            self.allocated = self.allocated.map(|_| self.length);
        }
        Ok(())
    }
}

/// One write, so that nobody reads half a line that is not half on the disk too.
fn write_once(file: &File, line: &[u8], offset: u64) -> io::Result<()> {
    loop {
        match file.write_at(line, offset) {
            Ok(written) if written == line.len() => return Ok(()),
            // The kernel writes less than everything to a file only when there is no space for the rest.
            Ok(_) => return Err(io::ErrorKind::StorageFull.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Where a segment is.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.jsonl"))
}

/// What a folder has.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The numbers of all segments, in order.
    pub(super) numbers: Vec<u64>,
    /// The names of some files that look like segments and are none: of another kind, of a name that is not written as
    /// ours are, or of a number that the log cannot have come to.
    pub(super) foreign: Vec<String>,
}

/// Looks through the folder of a log that is known to have come to this segment, 0 where nothing is known. Files of
/// other names are nobody's business.
pub(super) fn list(dir: &Path, known: u64) -> io::Result<Listing> {
    let most = number_max(known);
    let mut listing = Listing::default();
    for file in fs::read_dir(dir)? {
        let file = file?;
        let name = file.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(|stem| stem.parse().ok());
        match number.filter(|number| (1..=most).contains(number) && path(dir, *number).file_name() == Some(&name)) {
            Some(number) if file.file_type()?.is_file() => listing.numbers.push(number),
            _ if listing.foreign.len() >= FOREIGN_TOLD => {}
            _ => {
                let name = name.to_string_lossy();
                listing.foreign.extend(name.contains(".jsonl").then(|| name.into_owned()));
            }
        }
    }
    listing.numbers.sort_unstable();
    listing.foreign.sort_unstable();
    Ok(listing)
}

/// The segment files, oldest first, for those who only show what is in them.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(list(dir, 0)?.numbers.into_iter().map(|number| path(dir, number)).collect())
}

/// The highest number that a segment may have. Whoever can write the folder must not bring the log to the end of all
/// numbers: behind the highest one there is always another, once a checkpoint that is kept outside knows of it.
pub(super) fn number_max(known: u64) -> u64 {
    known.saturating_add(NUMBERS_AHEAD)
}

/// Gives what stands in the place of a file of ours another name, loudly.
pub(super) fn set_aside(path: &Path) -> io::Result<()> {
    let mut random = [0; 8];
    // A name that is not random may be taken; then the system says so.
    aws_lc_rs::rand::fill(&mut random).ok();
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".foreign-{:016x}", u64::from_be_bytes(random)));
    fs::rename(path, &aside)?;
    tracing::error!(path = %path.display(), aside = %aside.display(), "audit folder had a foreign file in this place");
    Ok(())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options
}

/// How far beyond the segment that is known outside the folder the log may come: it never writes so many in between.
const NUMBERS_AHEAD: u64 = 100_000_000;

/// How many foreign files are named.
const FOREIGN_TOLD: usize = 8;

/// How long a full disk is believed to be full.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How much is allocated at once, beside the reserve.
const CHUNK_BYTES: u64 = 256 * 1024;

/// Without this much beside the reserve no segment is begun.
const FIRST_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::sys::scratch::Scratch;

    #[test]
    fn only_what_we_would_have_written_is_a_segment() {
        let dir = Scratch::new();
        let files = ["00000001", "00000007", "100000000", "100000001", "00000000", "1", "+0000002", "000000003"];
        let others = ["18446744073709551614", "18446744073709551615", "18446744073709551616", "x"];
        for stem in files.iter().chain(&others) {
            fs::write(dir.path().join(format!("{stem}.jsonl")), b"").unwrap();
        }
        fs::create_dir(path(dir.path(), 2)).unwrap();
        std::os::unix::fs::symlink(path(dir.path(), 1), path(dir.path(), 3)).unwrap();
        nix::unistd::mkfifo(&path(dir.path(), 4), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(dir.path().join("head"), b"").unwrap();
        let found = list(dir.path(), 0).unwrap();
        assert_eq!(found.numbers, [1, 7, 100_000_000]);
        assert_eq!(found.foreign.len(), FOREIGN_TOLD);
        assert!(!found.foreign.contains(&"head".to_owned()));
        assert_eq!(list(dir.path(), 1).unwrap().numbers, [1, 7, 100_000_000, 100_000_001]);
    }

    #[test]
    fn a_file_that_takes_nothing_is_told_until_it_does() {
        let (dir, now) = (Scratch::new(), SystemTime::UNIX_EPOCH);
        let mut segment = Segment::create(dir.path(), 1, 0).unwrap();
        segment.write(b"one\n", Urgency::Ordinary, now).unwrap();
        segment.make_room(100, now).unwrap();
        let read_only = Arc::new(File::open(path(dir.path(), 1)).unwrap());
        let whole = std::mem::replace(&mut segment.file, read_only);
        assert!(matches!(segment.write(b"two\n", Urgency::Ordinary, now), Err(Error::Io { .. })));
        assert!(matches!(segment.make_room(100, now), Err(Error::Io { .. })));
        segment.file = whole;
        segment.make_room(100, now).unwrap();
        assert_eq!(fs::read(path(dir.path(), 1)).unwrap(), b"one\n");
        segment.write(b"two\n", Urgency::Ordinary, now).unwrap();
        assert_eq!(fs::read(path(dir.path(), 1)).unwrap(), b"one\ntwo\n");
    }
}

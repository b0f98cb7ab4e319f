//! The version folders of a link, and which of them were made here.
//!
//! In a folder where others write too, a name proves nothing. So names cannot be foreseen, what was made is remembered
//! in the lock file, which only this user can open, and a folder is removed only while it is the very one that was made.
//! What is in it comes and goes through its descriptor, whatever its name has become.

use std::{
    ffi::CString,
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat, renameat},
    sys::stat::{Mode, mkdirat},
    unistd::{UnlinkatFlags, geteuid, symlinkat, unlinkat},
};

/// What was made here and may be there still. It is held as long as the turn to write: the lock is on its file.
#[derive(Debug)]
pub(super) struct Record {
    file: File,
    made: Vec<Made>,
}

/// A folder, as it was when it was made.
#[derive(Debug)]
struct Made {
    /// Its name without the prefix of its link.
    suffix: String,
    /// `None` until it has been made: a process that was killed may have made it all the same.
    place: Option<Place>,
}

/// Which folder it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
}

/// A folder that was made here.
pub(super) struct Version {
    pub(super) name: String,
    pub(super) path: PathBuf,
    dir: File,
}

impl Record {
    /// Reads what the lock file remembers; `None` where it is something else, which is then not written.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn read(file: File) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        (&file).take(BYTES_MAX).read_to_end(&mut bytes)?;
        // A file that was begun and never reached the disk has zeros. With another name it is some file of this user.
        if bytes.iter().all(|byte| *byte == 0) && file.metadata()?.nlink() == 1 {
            return Ok(Some(Self { file, made: Vec::new() }));
        }
        let text = String::from_utf8(bytes).unwrap_or_default();
        let Some(lines) = text.strip_prefix(HEADER) else { return Ok(None) };
        Ok(Some(Self { file, made: lines.lines().filter_map(Made::read).collect() }))
    }

    /// The same in a file with one name, in the place of one with several: a snapshot by hard links has it too, and is
    /// not to be written. The new file is locked before it has the name `path`.
    ///
    /// # Errors
    /// When it cannot be replaced; the old one is untouched then.
    pub(super) fn own(self, path: &Path) -> io::Result<Self> {
        if self.file.metadata()?.nlink() == 1 {
            return Ok(self);
        }
        let fresh = path.with_extension(format!("dayfly-lock-{}", random()?));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&fresh)?;
        let mut record = Self { file, made: self.made };
        let replaced = record.file.try_lock().map_err(io::Error::from);
        let replaced = replaced.and_then(|()| record.save()).and_then(|()| fs::rename(&fresh, path));
        replaced.inspect_err(|_| drop(fs::remove_file(&fresh)))?;
        // Until here, so that nobody takes the turn by the old one.
        drop(self.file);
        Ok(record)
    }

    /// Makes a folder beside the link whose versions begin with `prefix`. Its name is remembered first, so that it is
    /// found should this process be killed meanwhile.
    ///
    /// # Errors
    /// When it cannot be made or remembered; it is not there then.
    pub(super) fn make(&mut self, parent: &Path, prefix: &str) -> io::Result<Version> {
        let suffix = random()?;
        let name = format!("{prefix}{suffix}");
        self.made.push(Made { suffix, place: None });
        let made = self.save().and_then(|()| create(parent.join(&name), name)).and_then(|(version, place)| {
            self.made.last_mut().into_iter().for_each(|one| one.place = Some(place));
            self.save().inspect_err(|_| drop(version.remove()))?;
            Ok(version)
        });
        made.inspect_err(|_| drop(self.made.pop()))
    }

    /// Removes all that was made, but what is kept; what cannot be removed now is tried again the next time.
    pub(super) fn sweep(&mut self, parent: &Path, prefix: &str, keep: &[&str]) {
        self.made.retain(|one| {
            let name = format!("{prefix}{}", one.suffix);
            keep.contains(&name.as_str())
                || match one.place {
                    Some(place) => find(parent, name, place).is_some_and(|version| version.remove().is_err()),
                    None => remove_unfilled(&parent.join(name)).is_err(),
                }
        });
        // Were this lost, names of what is gone would be looked at once more.
        self.save().ok();
    }

    fn save(&mut self) -> io::Result<()> {
        // What could not be removed so often is left to the person.
        let oldest = self.made.len().saturating_sub(MADE_MAX);
        self.made.drain(..oldest);
        let lines = self.made.iter().map(Made::line);
        let text: String = [HEADER.to_owned()].into_iter().chain(lines).collect();
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.set_len(u64::try_from(text.len()).unwrap_or(BYTES_MAX))
    }
}

impl Made {
    fn line(&self) -> String {
        match self.place {
            Some(Place { device, inode }) => format!("{} {device} {inode}\n", self.suffix),
            None => format!("{}\n", self.suffix),
        }
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let suffix = words.next().filter(|suffix| is_suffix(suffix))?.to_owned();
        let place = match (words.next(), words.next()) {
            (Some(device), Some(inode)) => Some(Place { device: device.parse().ok()?, inode: inode.parse().ok()? }),
            // The rest of a longer line is no name.
            (None, _) if suffix.len() == SUFFIX_LENGTH => None,
            _ => return None,
        };
        Some(Self { suffix, place })
    }
}

/// The folder, if it is still this one that has the name.
fn find(parent: &Path, name: String, place: Place) -> Option<Version> {
    let path = parent.join(&name);
    let dir = open_folder(&path).ok()?;
    let meta = dir.metadata().ok()?;
    (meta.uid() == geteuid().as_raw() && Place::of(&meta) == place).then_some(Version { name, path, dir })
}

/// Removes the folder that a process was about to make when it was killed, if it did: an empty one of this user. What
/// is anything else stays, and is no error.
fn remove_unfilled(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() && meta.uid() == geteuid().as_raw() => match fs::remove_dir(path) {
            Err(error) if !matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => Err(error),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

impl Place {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

impl Version {
    /// Makes a folder in it.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn folder(&self, name: &str) -> io::Result<File> {
        mkdirat(&self.dir, name, Mode::from_bits_truncate(0o755))?;
        Ok(openat(&self.dir, name, FOLDER, Mode::empty())?.into())
    }

    /// Makes a file in it, or in a folder in it, to be written.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn file(&self, name: &str, mode: u32) -> io::Result<File> {
        Ok(openat(&self.dir, name, NEW, Mode::from_bits_truncate(mode))?.into())
    }

    /// Makes a link to it in it.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn link(&self, name: &str) -> io::Result<()> {
        Ok(symlinkat(self.name.as_str(), &self.dir, name)?)
    }

    /// Gives something in it another place, instead of what is there.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn move_out(&self, name: &str, to: &Path) -> io::Result<()> {
        Ok(renameat(&self.dir, name, AT_FDCWD, to)?)
    }

    /// Brings the names in it to the disk.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.dir.sync_all()
    }

    /// Removes what is in it, and then the name, if an empty folder has it.
    ///
    /// # Errors
    /// What the system said first.
    pub(super) fn remove(&self) -> io::Result<()> {
        empty(&self.dir, true)?;
        fs::remove_dir(&self.path)
    }
}

/// Makes the folder, and tells where it is.
fn create(path: PathBuf, name: String) -> io::Result<(Version, Place)> {
    DirBuilder::new().mode(0o755).create(&path)?;
    let opened = open_folder(&path).and_then(|dir| Ok((dir.metadata()?, dir)));
    // A name without a folder that could be looked at is taken back; only an empty one goes.
    let (meta, dir) = opened.inspect_err(|_| drop(fs::remove_dir(&path)))?;
    if meta.uid() != geteuid().as_raw() {
        return Err(io::Error::other("somebody put another folder in the place of the one that was made"));
    }
    Ok((Version { name, path, dir }, Place::of(&meta)))
}

/// Nobody foresees it: [`SUFFIX_LENGTH`] hexadecimal digits.
fn random() -> io::Result<String> {
    let mut random = [0; SUFFIX_LENGTH / 2];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(HEXLOWER.encode(&random))
}

/// What the names of versions end with: 32 hexadecimal digits, or the number of an earlier build.
pub(super) fn is_suffix(text: &str) -> bool {
    (1..=SUFFIX_LENGTH).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Removes all files of a folder, and of the folders in it, which have none.
fn empty(dir: &File, has_folders: bool) -> nix::Result<()> {
    let mut listing = Dir::from_fd(openat(dir, ".", FOLDER, Mode::empty())?)?;
    let names: Vec<CString> =
        listing.iter().map(|entry| Ok(entry?.file_name().to_owned())).collect::<nix::Result<_>>()?;
    for name in names.iter().filter(|name| ![c".", c".."].contains(&name.as_c_str())) {
        match unlinkat(dir, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) if has_folders => {
                empty(&File::from(openat(dir, name.as_c_str(), FOLDER, Mode::empty())?), false)?;
                unlinkat(dir, name.as_c_str(), UnlinkatFlags::RemoveDir)?;
            }
            removed => removed?,
        }
    }
    Ok(())
}

fn open_folder(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(FOLDER.bits()).open(path)
}

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NEW: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_CLOEXEC);
const SUFFIX_LENGTH: usize = 32;
/// How the lock file begins.
const HEADER: &str = "versions made by dayfly fetch\n";
/// Versions that are remembered; there are two, and what a crash or an error left behind.
const MADE_MAX: usize = 100;
/// What is read of the lock file; [`MADE_MAX`] lines are less.
const BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use crate::sys::scratch::Scratch;

    use super::*;

    const PREFIX: &str = ".certs.dayfly-";

    fn record(folder: &Path) -> Record {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join("lock"));
        Record::read(file.unwrap()).unwrap().unwrap()
    }

    #[test]
    fn what_was_made_is_removed_by_a_later_process() {
        let folder = Scratch::new();
        let (old, kept) = {
            let mut record = record(folder.path());
            let old = record.make(folder.path(), PREFIX).unwrap();
            fs::create_dir(old.path.join("federated")).unwrap();
            fs::write(old.path.join("federated/a.pem"), "").unwrap();
            fs::write(old.path.join("svid.pem"), "").unwrap();
            (old, record.make(folder.path(), PREFIX).unwrap())
        };
        let mut record = record(folder.path());
        assert_eq!(record.made.len(), 2);
        record.sweep(folder.path(), PREFIX, &[&kept.name]);
        assert!(!old.path.exists());
        assert!(kept.path.exists());
        assert_eq!(record.made.len(), 1);
    }

    #[test]
    fn another_folder_under_the_name_of_ours_stays() {
        let folder = Scratch::new();
        let mut record = record(folder.path());
        let version = record.make(folder.path(), PREFIX).unwrap();
        fs::write(version.path.join("svid.pem"), "").unwrap();
        let aside = folder.path().join("aside");
        fs::rename(&version.path, &aside).unwrap();
        fs::create_dir(&version.path).unwrap();
        fs::write(version.path.join("precious"), "").unwrap();
        record.sweep(folder.path(), PREFIX, &[]);
        assert!(version.path.join("precious").exists());
        assert!(record.made.is_empty(), "it is not looked at again");
        // Also between the look and the removal: the descriptor is still that of the one that was made.
        assert!(version.remove().is_err());
        assert!(version.path.join("precious").exists());
        assert!(!aside.join("svid.pem").exists());
    }

    #[test]
    fn a_link_under_the_name_of_ours_is_not_followed() {
        let folder = Scratch::new();
        let mut record = record(folder.path());
        let version = record.make(folder.path(), PREFIX).unwrap();
        let aside = folder.path().join("aside");
        fs::rename(&version.path, &aside).unwrap();
        fs::write(aside.join("precious"), "").unwrap();
        std::os::unix::fs::symlink("aside", &version.path).unwrap();
        record.sweep(folder.path(), PREFIX, &[]);
        assert!(aside.join("precious").exists());
    }

    #[test]
    fn what_cannot_be_removed_is_remembered_up_to_a_limit() {
        let folder = Scratch::new();
        let mut record = record(folder.path());
        let made: Vec<_> = (0..=MADE_MAX).map(|_| record.make(folder.path(), PREFIX).unwrap()).collect();
        assert_eq!(record.made.len(), MADE_MAX);
        // Two folders deep is nothing that was made here.
        fs::create_dir_all(made[1].path.join("a/b")).unwrap();
        record.sweep(folder.path(), PREFIX, &[]);
        assert_eq!(record.made.len(), 1);
        assert_eq!(made.iter().filter(|version| version.path.exists()).count(), 2, "the forgotten one, and that one");
        fs::remove_dir(made[1].path.join("a/b")).unwrap();
        record.sweep(folder.path(), PREFIX, &[]);
        assert!(!made[1].path.exists());
    }

    #[test]
    fn a_folder_that_was_made_before_a_kill_is_removed_only_if_it_is_empty() {
        let folder = Scratch::new();
        let names = ["a", "b", "c", "d"].map(|digit| digit.repeat(SUFFIX_LENGTH));
        let [empty, full, file, missing] = names.each_ref().map(|name| folder.path().join(format!("{PREFIX}{name}")));
        fs::create_dir_all(full.join("precious")).unwrap();
        fs::create_dir(&empty).unwrap();
        fs::write(&file, "").unwrap();
        fs::write(folder.path().join("lock"), [HEADER.to_owned(), names.join("\n"), "\n".to_owned()].concat()).unwrap();
        let mut record = record(folder.path());
        assert_eq!(record.made.len(), names.len());
        record.sweep(folder.path(), PREFIX, &[]);
        assert_eq!([&empty, &full, &file, &missing].map(|path| path.exists()), [false, true, true, false]);
        assert!(record.made.is_empty(), "they are not looked at again");
    }

    #[test]
    fn a_name_is_remembered_before_it_is_there() {
        let folder = Scratch::new();
        let mut record = record(folder.path());
        let absent = folder.path().join("absent");
        assert!(record.make(&absent, PREFIX).is_err());
        assert!(record.made.is_empty());
        let text = fs::read_to_string(folder.path().join("lock")).unwrap();
        let line = text.strip_prefix(HEADER).unwrap();
        assert_eq!(line.trim_end().len(), SUFFIX_LENGTH, "{line}");
        let version = record.make(folder.path(), PREFIX).unwrap();
        let text = fs::read_to_string(folder.path().join("lock")).unwrap();
        let place = Place::of(&fs::metadata(&version.path).unwrap());
        assert_eq!(Made::read(text.strip_prefix(HEADER).unwrap().trim_end()).unwrap().place, Some(place));
    }

    #[test]
    fn a_lock_file_with_something_else_is_no_record() {
        let folder = Scratch::new();
        for (text, is_record) in [("", true), ("\0\0\0", true), (HEADER, true), ("key = 1\n", false), ("\u{ff}", false)]
        {
            let path = folder.path().join("lock");
            fs::write(&path, text).unwrap();
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            assert_eq!(Record::read(file).unwrap().is_some(), is_record, "{text:?}");
        }
        for wrong in ["", "0123", "0123 1", "0123 1 x", "../a 1 2", "0123/.. 1 2", "X 1 2"] {
            assert!(Made::read(wrong).is_none(), "{wrong}");
        }
    }
}

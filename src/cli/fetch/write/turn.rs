//! Whose turn it is to write: one at a time, by a lock file beside the link.
//!
//! Anybody may lock a file that he can open, so it is one that only this user can. In a folder where others write too
//! one of theirs may have its name: it is neither locked nor written.

use std::{
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    thread,
    time::Duration,
};

use nix::unistd::geteuid;

use super::cannot;
use crate::cli::{exit::Exit, failure::Failure, fetch::versions::Record};

/// How often the turn is tried, and how far apart: ten seconds, and a write takes milliseconds.
pub(super) const TRIES_MAX: u32 = 500;
const TRY_AFTER: Duration = Duration::from_millis(20);
const NOT_ALONE: &str = "not this user's alone";

/// Waits for the turn to write `link`, by the lock file at `path`; it ends when the record is dropped.
///
/// # Errors
/// When another process keeps it through all tries; when the file is not ours.
pub(super) fn take(path: &Path, link: &Path, tries_max: u32) -> Result<Record, Failure> {
    for _ in 0..tries_max {
        if let Some(file) = lock(path)? {
            let record = Record::read(file).map_err(|error| cannot(path, &error))?;
            let record = record.ok_or_else(|| refused(path, "not from here"))?;
            return record.own(path).map_err(|error| cannot(path, &error));
        }
        thread::sleep(TRY_AFTER);
    }
    Err(Failure::new(Exit::Failed, format!("another process writes {} and does not end", link.display()))
        .hint(format!("`fuser {}` tells which", path.display())))
}

/// The lock file, locked; `None` while another has it, or where it was replaced before it was locked.
fn lock(path: &Path) -> Result<Option<File>, Failure> {
    let is_ours = |meta: &Metadata| meta.is_file() && meta.uid() == geteuid().as_raw() && meta.mode() & 0o077 == 0;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| match fs::symlink_metadata(path) {
            // Somebody else was first, in a folder where both may write.
            Ok(meta) if !is_ours(&meta) => refused(path, NOT_ALONE),
            _ => cannot(path, &error),
        })?;
    let meta = file.metadata().map_err(|error| cannot(path, &error))?;
    if !is_ours(&meta) {
        return Err(refused(path, NOT_ALONE));
    }
    match file.try_lock() {
        Ok(()) => {
            let named = fs::symlink_metadata(path).ok();
            Ok(named.is_some_and(|named| (named.dev(), named.ino()) == (meta.dev(), meta.ino())).then_some(file))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(cannot(path, &error)),
    }
}

fn refused(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::Conflict, format!("{} is {what}", path.display()))
        .hint("remove it when nobody writes there, and let only one user write there")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{
        io::{self, Write as _},
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::{
        super::{
            Target,
            tests::{MODES, pair, versions},
        },
        *,
    };
    use crate::sys::scratch::Scratch;

    /// Within the time of a turn: a program that another test starts in this moment has locks too, until it is loaded.
    fn must_lock(file: &File) {
        let locked = (0..TRIES_MAX).any(|_| {
            file.try_lock().is_ok() || {
                thread::sleep(TRY_AFTER);
                false
            }
        });
        assert!(locked, "somebody keeps it");
    }

    #[test]
    fn writers_take_turns_and_wait_for_nobody_else() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        // Anybody who may list the folder can do this.
        let stranger = File::open(folder.path()).unwrap();
        stranger.lock().unwrap();
        target.write(&pair("one"), MODES).unwrap();

        let other = target.turn(1).unwrap();
        let failure = target.turn(2).unwrap_err();
        assert!(failure.words().contains("does not end"), "{}", failure.words());
        drop(other);
        // A program that another test starts in this moment has the lock too, until it is loaded.
        target.turn(TRIES_MAX).unwrap();
    }

    #[test]
    fn a_lock_that_others_may_open_is_refused() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        let lock = folder.path().join(".certs.dayfly-lock");
        drop(target.turn(1).unwrap());
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(target.turn(1).unwrap_err().exit(), Exit::Conflict);
        fs::remove_file(&lock).unwrap();
        symlink("elsewhere", &lock).unwrap();
        must_advise(&target);
        assert!(!folder.path().join("elsewhere").exists());
        fs::remove_file(&lock).unwrap();
        fs::create_dir(&lock).unwrap();
        must_advise(&target);
    }

    fn must_advise(target: &Target) {
        let failure = target.turn(1).unwrap_err();
        assert!(failure.exit() == Exit::Conflict && failure.words().contains(NOT_ALONE), "{}", failure.words());
        assert!(failure.advice().is_some_and(|advice| advice.contains("only one user")));
    }

    #[test]
    fn a_lock_that_another_user_made_first_is_refused_with_what_to_do() {
        let folder = Scratch::new();
        // Where new files of others are not opened, as it is with `fs.protected_regular`, and where only root may.
        for mode in [0o1777, 0o755] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let lock = folder.path().join(".certs.dayfly-lock");
            fs::write(&lock, "").unwrap();
            fs::set_permissions(&lock, fs::Permissions::from_mode(0o600)).unwrap();
            if let Err(error) = std::os::unix::fs::chown(&lock, Some(65_534), None) {
                let words = format!("left out: no file can be given to another user here ({error})\n");
                io::stderr().write_all(words.as_bytes()).ok();
                return;
            }
            must_advise(&Target::new(&folder.path().join("certs")).unwrap());
        }
    }

    #[test]
    fn a_snapshot_by_hard_links_ends_no_renewal_and_is_not_written() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        for key in ["one", "two"] {
            target.write(&pair(key), MODES).unwrap();
        }
        let (lock, snapshot) = (folder.path().join(".certs.dayfly-lock"), folder.path().join("snapshot"));
        let text = fs::read(&lock).unwrap();
        fs::hard_link(&lock, &snapshot).unwrap();
        // Who waits for the file as it was goes on with the one in its place.
        let before = File::open(&lock).unwrap();
        before.lock().unwrap();
        assert!(target.turn(1).is_err());
        drop(before);
        for key in ["six", "ten"] {
            target.write(&pair(key), MODES).unwrap();
        }
        assert_eq!(versions(folder.path()), 2, "what was made is remembered");
        assert_eq!(fs::read(&snapshot).unwrap(), text);
        assert_eq!([&lock, &snapshot].map(|path| fs::metadata(path).unwrap().nlink()), [1, 1]);
        assert_eq!(fs::metadata(&lock).unwrap().mode() & 0o777, 0o600);
        // Nothing else was left.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
    }

    #[test]
    fn a_second_name_of_some_file_is_neither_written_nor_replaced() {
        let folder = Scratch::new();
        let (lock, file) = (folder.path().join(".certs.dayfly-lock"), folder.path().join("precious"));
        fs::write(&file, "key = 1\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&file, &lock).unwrap();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        assert_eq!(target.turn(1).unwrap_err().exit(), Exit::Conflict);
        assert_eq!(
            (fs::read_to_string(&file).unwrap().as_str(), fs::metadata(&file).unwrap().nlink()),
            ("key = 1\n", 2)
        );
    }

    #[test]
    fn a_lock_that_was_replaced_while_it_was_opened_is_not_the_turn() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        target.write(&pair("one"), MODES).unwrap();
        let (lock, snapshot) = (folder.path().join(".certs.dayfly-lock"), folder.path().join("snapshot"));
        fs::hard_link(&lock, &snapshot).unwrap();
        let other = target.turn(TRIES_MAX).unwrap();
        // The new file is locked from the moment it has the name, whatever becomes of the old one.
        must_lock(&File::open(&snapshot).unwrap());
        assert!(target.turn(1).is_err());
        drop(other);
        target.turn(TRIES_MAX).unwrap();
    }

    fn write_private(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_lock_that_is_another_file_is_refused_and_left_as_it_is() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        let (lock, other) = (folder.path().join(".certs.dayfly-lock"), folder.path().join("other"));
        write_private(&lock, "precious");
        assert_eq!(target.write(&pair("one"), MODES).unwrap_err().exit(), Exit::Conflict);
        assert_eq!(fs::read_to_string(&lock).unwrap(), "precious");
        fs::remove_file(&lock).unwrap();
        write_private(&other, "");
        fs::hard_link(&other, &lock).unwrap();
        assert_eq!(target.write(&pair("one"), MODES).unwrap_err().exit(), Exit::Conflict);
        assert_eq!(fs::read_to_string(&other).unwrap(), "");
    }
}

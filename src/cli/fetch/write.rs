//! Files that always match: certificate, key and bundle, or whatever else came together.
//!
//! `DIR` is a symlink to a version folder beside it (`.NAME.dayfly-…`). A new version is written whole, then the link is
//! replaced by one rename. The version before stays until the next write, for readers that are still in it. Those who
//! write take turns by a lock file of their own beside it, which nobody else can open. The folder may be shared: whatever
//! others put beside the link is neither used nor removed.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::unistd::geteuid;

use crate::{
    cli::{exit::Exit, failure::Failure},
    sys::files::sync_dir,
};

use super::{
    files::{Files, Modes},
    versions::{Record, Version, is_suffix},
};

/// Where the files go.
pub(super) struct Target {
    /// The link.
    link: PathBuf,
    parent: PathBuf,
    /// What all version folders of this link begin with.
    prefix: String,
}

impl Target {
    /// A place that may be written: it is not there, is an empty folder, or is a link of an earlier write.
    ///
    /// # Errors
    /// When something is there that is not ours to replace.
    pub(super) fn new(dir: &Path) -> Result<Self, Failure> {
        let whole = std::path::absolute(dir).map_err(|error| cannot(dir, &error))?;
        let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(Failure::new(Exit::Usage, format!("{} cannot be a link", dir.display())).hint(WHAT_IT_MAY_BE));
        };
        let target = Self {
            prefix: format!(".{}.dayfly-", name.to_string_lossy()),
            parent: parent.to_owned(),
            // Without the slash that a shell completes: with it the link itself could not be named.
            link: parent.join(name),
        };
        target.version()?;
        if !target.parent.is_dir() {
            return Err(Failure::new(Exit::Missing, format!("the folder {} is not there", target.parent.display())));
        }
        Ok(target)
    }

    /// As the person named it, but absolute.
    pub(super) fn path(&self) -> &Path {
        &self.link
    }

    /// Writes a new version and makes it the present one.
    ///
    /// # Errors
    /// When a file cannot be written, or another writer does not end; the version before is untouched then.
    pub(super) fn write(&self, files: &Files, modes: Modes) -> Result<(), Failure> {
        // Two that write to the same link take turns, so that neither removes the other's version.
        let mut record = self.turn(TURN_TRIES_MAX)?;
        let before = self.version()?;
        if let Some(before) = &before {
            self.check_kind(before, files)?;
        }
        let version = record.make(&self.parent, &self.prefix).map_err(|error| cannot(&self.link, &error))?;
        if let Err(error) = fill(&version.path, files, modes).and_then(|()| self.swap(&version)) {
            version.remove().ok();
            return Err(cannot(&self.link, &error));
        }
        // Where this fails the new version is in place already, and the one before stays as well.
        sync_dir(&self.parent).map_err(|error| Failure::because("the new files may not be on the disk", &error))?;
        let keep: Vec<_> = [Some(version.name.as_str()), before.as_deref()].into_iter().flatten().collect();
        record.sweep(&self.parent, &self.prefix, &keep);
        Ok(())
    }

    /// What is there is swapped whole: a token would take the certificates away that somebody else keeps there.
    fn check_kind(&self, version: &str, files: &Files) -> Result<(), Failure> {
        let there = fs::read_dir(self.parent.join(version)).into_iter().flatten().flatten();
        let there: Vec<_> = there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let (there, here) = (kind(&there), kind(&files.list.iter().map(|file| &file.name).collect::<Vec<_>>()));
        match there {
            Some(there) if here.is_some_and(|here| here != there) => Err(Failure::new(
                Exit::Conflict,
                format!("{} has what `fetch {there}` writes, which would be gone", self.link.display()),
            )
            .hint("name another DIR for each kind, or remove it")),
            _ => Ok(()),
        }
    }

    /// Waits for the turn to write; it ends when the record is dropped. Anybody may lock a file that he can open, so it
    /// is one that only this user can.
    fn turn(&self, tries_max: u32) -> Result<Record, Failure> {
        let path = self.parent.join(format!("{}lock", self.prefix));
        for _ in 0..tries_max {
            if let Some(file) = Self::try_turn(&path)? {
                let record = Record::read(file).map_err(|error| cannot(&path, &error))?;
                let record = record.ok_or_else(|| refused(&path, "not from here"))?;
                return record.own(&path).map_err(|error| cannot(&path, &error));
            }
            thread::sleep(TURN_TRY_AFTER);
        }
        Err(Failure::new(Exit::Failed, format!("another process writes {} and does not end", self.link.display()))
            .hint(format!("`fuser {}` tells which", path.display())))
    }

    /// The lock file, locked; `None` while another has it, or where it was replaced before it was locked.
    fn try_turn(path: &Path) -> Result<Option<File>, Failure> {
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

    /// The name of the version folder that the link names now.
    fn version(&self) -> Result<Option<String>, Failure> {
        let refused = || {
            Failure::new(Exit::Conflict, format!("{} is there, and is not from here", self.link.display()))
                .hint(WHAT_IT_MAY_BE)
        };
        match fs::read_link(&self.link) {
            Ok(named) => match named.to_str() {
                Some(name) if self.is_version(name) => Ok(Some(name.to_owned())),
                _ => Err(refused()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => match fs::read_dir(&self.link).map(|mut entries| entries.next().is_none()) {
                Ok(true) => Ok(None),
                _ => Err(refused()),
            },
        }
    }

    fn is_version(&self, name: &str) -> bool {
        name.strip_prefix(&self.prefix).is_some_and(is_suffix)
    }

    /// The new link is prepared within the version, where nobody else writes.
    fn swap(&self, version: &Version) -> io::Result<()> {
        let prepared = version.path.join(PREPARED);
        symlink(&version.name, &prepared)?;
        // An empty folder makes place; anything else is refused by the system, as it was before.
        if fs::symlink_metadata(&self.link).is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir(&self.link)?;
        }
        fs::rename(&prepared, &self.link)
    }
}

/// By which verb a folder with these files was made.
fn kind(names: &[impl AsRef<str>]) -> Option<&'static str> {
    let has = |begin: &str| names.iter().any(|name| name.as_ref().starts_with(begin));
    let kinds = [("svid", "x509"), ("jwt_svid", "jwt"), ("wit_svid", "wit"), ("", "bundle")];
    kinds.into_iter().find(|(begin, _)| has(begin)).map(|(_, kind)| kind)
}

fn fill(version: &Path, files: &Files, modes: Modes) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for file in &files.list {
        let path = version.join(&file.name);
        if let Some((folder, _)) = file.name.split_once('/')
            && folders.insert(folder)
        {
            DirBuilder::new().mode(0o755).create(version.join(folder))?;
        }
        create(&path, &file.bytes, if file.is_secret { modes.secret_mode } else { PUBLIC_MODE })?;
    }
    for folder in folders {
        sync_dir(&version.join(folder)).map_err(io::Error::other)?;
    }
    sync_dir(version).map_err(io::Error::other)
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    if mode != PUBLIC_MODE {
        // What was asked for counts, not the umask: a service that may not read its key is found out late.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

fn refused(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::Conflict, format!("{} is {what}", path.display()))
        .hint("remove it when nobody writes there, and let only one user write there")
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::because(format_args!("{} cannot be written", path.display()), error)
}

const NOT_ALONE: &str = "not this user's alone";
const PUBLIC_MODE: u32 = 0o644;
/// The link that is to be, in its version.
const PREPARED: &str = ".link";
/// How often the turn is tried, and how far apart: ten seconds, and a write takes milliseconds.
const TURN_TRIES_MAX: u32 = 500;
const TURN_TRY_AFTER: Duration = Duration::from_millis(20);
const WHAT_IT_MAY_BE: &str =
    "DIR may be a path where nothing is, an empty folder, or what an earlier `fetch --write` made";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use crate::{
        cli::fetch::watch::{Put, deliver},
        sys::scratch::Scratch,
    };

    use super::*;

    const MODES: Modes = Modes { secret_mode: 0o600 };

    fn pair(text: &str) -> Files {
        Files::new(String::new()).public("svid.pem", text).secret("svid_key.pem", text)
    }

    fn versions(parent: &Path) -> usize {
        fs::read_dir(parent)
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_dir() && !entry.path().is_symlink())
            .count()
    }

    #[test]
    fn the_link_names_a_whole_version_with_a_private_key() {
        let folder = Scratch::new();
        let dir = folder.path().join("certs");
        let target = Target::new(&dir).unwrap();
        let files = pair("one").public("federated/a.pem", "a").public("federated/b.pem", "b");
        for secret_mode in [0o600, 0o640] {
            target.write(&files, Modes { secret_mode }).unwrap();
            assert!(dir.is_symlink());
            for (name, mode) in [("svid.pem", 0o644), ("svid_key.pem", secret_mode), ("federated/b.pem", 0o644)] {
                assert_eq!(fs::metadata(dir.join(name)).unwrap().mode() & 0o777, mode, "{name}");
            }
        }
        assert_eq!(fs::read_to_string(dir.join("federated/a.pem")).unwrap(), "a");
    }

    #[test]
    fn the_version_before_stays_and_older_ones_go() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        let mut held = Vec::new();
        for key in ["one", "two", "six", "ten"] {
            target.write(&pair(key), MODES).unwrap();
            held.push(fs::canonicalize(target.path()).unwrap());
        }
        assert_eq!(versions(folder.path()), 2);
        assert!(held.iter().rev().take(2).all(|version| version.join("svid.pem").exists()));
    }

    #[test]
    fn an_empty_folder_makes_place_and_anything_else_is_left_alone() {
        let folder = Scratch::new();
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).unwrap();
        Target::new(&empty).unwrap().write(&pair("one"), MODES).unwrap();
        assert!(empty.is_symlink());

        let full = folder.path().join("full");
        fs::create_dir(&full).unwrap();
        fs::write(full.join("mine"), "").unwrap();
        let link = folder.path().join("link");
        symlink("full", &link).unwrap();
        let plain = folder.path().join("plain");
        fs::write(&plain, "").unwrap();
        for path in [full, link, plain] {
            assert_eq!(
                Target::new(&path).err().map(|failure| failure.exit()),
                Some(Exit::Conflict),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn a_slash_at_the_end_names_the_same_link() {
        let folder = Scratch::new();
        for (dir, key) in [("certs/", "one"), ("certs", "two"), ("certs/", "six")] {
            Target::new(&folder.path().join(dir)).unwrap().write(&pair(key), MODES).unwrap();
        }
        assert!(folder.path().join("certs").is_symlink());
        assert_eq!(versions(folder.path()), 2);
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
        target.turn(TURN_TRIES_MAX).unwrap();
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
            if std::os::unix::fs::chown(&lock, Some(65_534), None).is_err() {
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
        let other = target.turn(TURN_TRIES_MAX).unwrap();
        // The new file is locked from the moment it has the name, whatever becomes of the old one.
        File::open(&snapshot).unwrap().lock().unwrap();
        assert!(target.turn(1).is_err());
        drop(other);
        target.turn(TURN_TRIES_MAX).unwrap();
    }

    #[test]
    fn another_kind_does_not_take_the_place_of_what_is_there() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        target.write(&pair("one"), MODES).unwrap();
        let token = |name: &str| Files::new(String::new()).secret(name, "token");
        for other in
            [token("jwt_svid.token"), token("wit_svid.token"), token("bundles/a.pem"), token("jwt_bundle.json")]
        {
            assert_eq!(target.write(&other, MODES).unwrap_err().exit(), Exit::Conflict);
        }
        assert_eq!(fs::read_to_string(target.path().join("svid.pem")).unwrap(), "one");
        let target = Target::new(&folder.path().join("token")).unwrap();
        for same in ["jwt_svid.token", "jwt_svid.0.token", "jwt_svid.token"] {
            target.write(&token(same), MODES).unwrap();
        }
    }

    #[test]
    fn what_others_put_beside_the_link_neither_disturbs_nor_goes() {
        let folder = Scratch::new();
        let planted: Vec<_> = ["1", "2", "18446744073709551615", "link", "0123456789abcdef"]
            .map(|name| folder.path().join(format!(".certs.dayfly-{name}")).join("precious"))
            .into();
        for path in &planted {
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let target = Target::new(&folder.path().join("certs")).unwrap();
        for key in ["one", "two", "six", "ten"] {
            target.write(&pair(key), MODES).unwrap();
        }
        assert!(target.write(&pair("six").public("svid.pem", "twice"), MODES).is_err());
        assert_eq!(fs::read_to_string(target.path().join("svid.pem")).unwrap(), "ten");
        assert_eq!(planted.iter().filter(|path| path.exists()).count(), planted.len());
        assert_eq!(versions(folder.path()), planted.len() + 2);
    }

    #[test]
    fn a_lock_that_is_another_file_is_refused_and_left_as_it_is() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        let (lock, other) = (folder.path().join(".certs.dayfly-lock"), folder.path().join("other"));
        create(&lock, b"precious", 0o600).unwrap();
        assert_eq!(target.write(&pair("one"), MODES).unwrap_err().exit(), Exit::Conflict);
        assert_eq!(fs::read_to_string(&lock).unwrap(), "precious");
        fs::remove_file(&lock).unwrap();
        create(&other, b"", 0o600).unwrap();
        fs::hard_link(&other, &lock).unwrap();
        assert_eq!(target.write(&pair("one"), MODES).unwrap_err().exit(), Exit::Conflict);
        assert_eq!(fs::read_to_string(&other).unwrap(), "");
    }

    #[test]
    fn a_failed_write_leaves_the_version_before() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        target.write(&pair("one"), MODES).unwrap();
        let before = fs::read_link(target.path()).unwrap();
        // Its last file cannot be written; then the new link cannot be prepared.
        for obstacle in ["svid.pem", ".link"] {
            assert!(target.write(&pair("two").public(obstacle, ""), MODES).is_err());
            assert_eq!(fs::read_link(target.path()).unwrap(), before);
            assert_eq!(versions(folder.path()), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_writes_when_the_folder_can_be_written_again() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        target.write(&pair("one"), MODES).unwrap();
        let lock = folder.path().join(".certs.dayfly-lock");
        let let_others = |mode: u32| fs::set_permissions(&lock, fs::Permissions::from_mode(mode)).unwrap();
        let_others(0o644);
        let (sender, updates) = tokio::sync::mpsc::channel(1);
        let put = async |key: &&str| {
            Ok(match target.write(&pair(key), MODES) {
                Ok(()) => Put::Done,
                Err(failure) => Put::Again(failure),
            })
        };
        let mut warnings = Vec::new();
        let send = async {
            for key in ["two", "six"] {
                sender.send(key).await.unwrap();
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            let_others(0o600);
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(sender);
        };
        let warn = |failure: &Failure| warnings.push(failure.words().to_owned());
        tokio::join!(deliver(updates, put, warn), send).0.unwrap();
        assert_eq!(fs::read_to_string(target.path().join("svid_key.pem")).unwrap(), "six");
        assert!(
            warnings.iter().all(|words| words.contains("not this user's alone")) && warnings.len() == 1,
            "{warnings:?}"
        );
    }

    #[test]
    fn a_reader_never_sees_a_pair_that_does_not_match() {
        let folder = Scratch::new();
        let target = Target::new(&folder.path().join("certs")).unwrap();
        target.write(&pair("00"), MODES).unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 1..40_u8 {
                    target.write(&pair(&format!("{round:02}")), MODES).unwrap();
                }
            });
            while !writer.is_finished() {
                // The link may be replaced while it is followed.
                let Ok(now) = fs::canonicalize(target.path()) else { continue };
                let (Ok(leaf), Ok(key)) = (fs::read(now.join("svid.pem")), fs::read(now.join("svid_key.pem"))) else {
                    continue;
                };
                assert_eq!(leaf, key);
            }
        });
    }
}

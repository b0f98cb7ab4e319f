//! State that is missing, broken or loose: the daemon refuses to start, says why, and harms nothing. Put back as it
//! was, it starts with the same CA.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    common::{Daemon, Folder, messages::fetch, own_uid},
    start::{refused, says},
};

/// A home that has been lived in, its bundle, and a copy to put back.
struct Lived {
    folder: Folder,
    copy: Folder,
    bundle: Vec<u8>,
}

impl Lived {
    fn new() -> Self {
        let folder = Folder::new();
        let mut daemon = Daemon::start_in(folder.path(), &[]);
        daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
        let bundle = fetch(&daemon.socket()).unwrap().unwrap()[0].bundle.clone();
        assert!(daemon.stop());
        let copy = Folder::new();
        duplicate(&folder.path().join("state"), &copy.path().join("state"));
        Self { folder, copy, bundle }
    }

    fn home(&self) -> &Path {
        self.folder.path()
    }

    fn state(&self, name: &str) -> PathBuf {
        self.home().join("state").join(name)
    }

    fn database(&self) -> PathBuf {
        self.state("dayfly.db")
    }

    fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.database()).unwrap()
    }

    /// That it refuses for one of these reasons, makes no new CA, and that its state as it was still works.
    fn refuses(self, any: &[&str]) {
        let keys = names(&self.state("keys"));
        let words = refused(self.home(), "", "example.org");
        says(&words, any);
        assert_eq!(names(&self.state("keys")), keys, "no key was made or removed");
        fs::remove_dir_all(self.home().join("state")).unwrap();
        duplicate(&self.copy.path().join("state"), &self.home().join("state"));
        let daemon = Daemon::start_in(self.home(), &[]);
        assert_eq!(fetch(&daemon.socket()).unwrap().unwrap()[0].bundle, self.bundle);
    }
}

fn duplicate(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            duplicate(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> =
        fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default();
    names.sort();
    names
}

/// One of the authorities' keys.
fn authority_key(lived: &Lived) -> PathBuf {
    let mut keys = names(&lived.state("keys"));
    keys.retain(|path| !path.ends_with("audit.key"));
    keys.pop().unwrap()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_without_their_database_are_refused() {
    let lived = Lived::new();
    for name in ["dayfly.db", "dayfly.db-wal", "dayfly.db-shm"] {
        fs::remove_file(lived.state(name)).ok();
    }
    lived.refuses(&["dayfly.db is missing"]);
}

#[test]
fn an_audit_log_without_database_and_keys_is_refused() {
    let lived = Lived::new();
    for name in ["dayfly.db", "dayfly.db-wal", "dayfly.db-shm"] {
        fs::remove_file(lived.state(name)).ok();
    }
    fs::remove_dir_all(lived.state("keys")).unwrap();
    lived.refuses(&["tells of an earlier authority"]);
}

#[test]
fn a_database_without_its_keys_is_refused() {
    let lived = Lived::new();
    fs::remove_dir_all(lived.state("keys")).unwrap();
    lived.refuses(&["key"]);
}

#[test]
fn one_missing_key_is_refused() {
    let lived = Lived::new();
    fs::remove_file(authority_key(&lived)).unwrap();
    lived.refuses(&["key"]);
}

#[test]
fn a_database_that_another_program_holds_is_refused() {
    let lived = Lived::new();
    let holder = lived.sqlite();
    holder.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let words = refused(lived.home(), "", "example.org");
    says(&words, &["lock", "in use", "another"]);
    drop(holder);
    let daemon = Daemon::start_in(lived.home(), &[]);
    daemon.must_serve("the lock was let go");
}

#[test]
fn a_corrupt_database_is_refused() {
    let lived = Lived::new();
    let mut bytes = fs::read(lived.database()).unwrap();
    let end = bytes.len();
    bytes[end / 2..].fill(0xa5);
    fs::write(lived.database(), bytes).unwrap();
    fs::remove_file(lived.state("dayfly.db-wal")).ok();
    lived.refuses(&["corrupt", "integrity", "damaged", "malformed"]);
}

#[test]
fn a_database_that_is_none_is_refused() {
    for bytes in [&b"this is no database, though it is long enough to look like one, which it is not"[..], b""] {
        let lived = Lived::new();
        fs::write(lived.database(), bytes).unwrap();
        fs::remove_file(lived.state("dayfly.db-wal")).ok();
        lived.refuses(&["not a database", "is missing"]);
    }
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let lived = Lived::new();
    lived.sqlite().pragma_update(None, "user_version", 9_999).unwrap();
    lived.refuses(&["newer", "9999"]);
}

#[test]
fn an_entry_that_is_damaged_is_left_out_and_told() {
    let lived = Lived::new();
    lived.sqlite().execute("UPDATE entry SET selectors = 'unix:uid:4711'", []).unwrap();
    let daemon = Daemon::start_in(lived.home(), &[]);
    let status = daemon.status();
    assert_eq!((status.entries, status.state.as_str()), (0, "degraded"));
    assert!(
        status.problems[0].starts_with("damaged entries in the database are left out: 1 "),
        "{:?}",
        status.problems
    );
    assert!(daemon.log().contains("ERROR an entry in the database is left out"), "{}", daemon.log());
}

#[test]
fn a_certificate_whose_signature_is_damaged_is_refused() {
    for kind in ["root", "issuing"] {
        let lived = Lived::new();
        let select = "SELECT certificate FROM authority WHERE kind = ?1";
        let mut certificate: Vec<u8> = lived.sqlite().query_row(select, [kind], |row| row.get(0)).unwrap();
        *certificate.last_mut().unwrap() ^= 1;
        let update = "UPDATE authority SET certificate = ?1 WHERE kind = ?2";
        lived.sqlite().execute(update, (certificate, kind)).unwrap();
        lived.refuses(&["in dayfly.db was not signed by"]);
    }
}

#[test]
fn a_state_of_another_trust_domain_is_refused() {
    let lived = Lived::new();
    let words = refused(lived.home(), "", "other.example");
    says(&words, &["example.org"]);
    lived.refuses_not();
}

impl Lived {
    fn refuses_not(self) {
        let daemon = Daemon::start_in(self.home(), &[]);
        assert_eq!(fetch(&daemon.socket()).unwrap().unwrap()[0].bundle, self.bundle);
    }
}

#[test]
fn key_files_that_others_may_read_are_refused() {
    let lived = Lived::new();
    for path in names(&lived.state("keys")) {
        for mode in [0o640, 0o604, 0o666, 0o660] {
            chmod(&path, mode);
            let words = refused(lived.home(), "", "example.org");
            says(&words, &["mode", "permission", "group or others", "readable"]);
        }
        chmod(&path, 0o600);
    }
    for folder in ["keys", ""] {
        let path = lived.state(folder);
        chmod(&path, 0o777);
        let words = refused(lived.home(), "", "example.org");
        says(&words, &["mode", "permission", "group or others", "writable"]);
        chmod(&path, 0o700);
    }
    lived.refuses_not();
}

#[test]
fn a_key_file_that_is_a_link_is_refused() {
    let lived = Lived::new();
    let path = authority_key(&lived);
    let elsewhere = lived.home().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    lived.refuses(&["link", "regular", "key"]);
}

#[test]
fn a_broken_key_file_is_refused() {
    let lived = Lived::new();
    for bytes in [&b""[..], b"no key"] {
        let path = authority_key(&lived);
        fs::write(&path, bytes).unwrap();
        let words = refused(lived.home(), "", "example.org");
        says(&words, &["key"]);
    }
    lived.refuses(&["key"]);
}

/// A place mounted read-only on itself, until dropped.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn mount(path: PathBuf) -> Option<Self> {
        let mount = |args: &[&str]| {
            let done = Command::new("mount").args(args).arg(&path).stderr(Stdio::null()).status();
            done.is_ok_and(|status| status.success())
        };
        if !mount(&["--bind", path.to_str().unwrap()]) {
            println!("left out: nothing can be mounted here (it takes root)");
            return None;
        }
        let mounted = Self(path.clone());
        assert!(mount(&["-o", "remount,ro,bind"]));
        Some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[test]
fn a_read_only_state_is_refused_with_what_to_do_and_harms_nothing() {
    for part in ["state", "state/audit", "state/dayfly.db"] {
        let lived = Lived::new();
        let Some(mounted) = ReadOnly::mount(lived.home().join(part)) else { return };
        let words = refused(lived.home(), "", "example.org");
        says(&words, &[&format!("{part} is on a read-only file system")]);
        says(&words, &["mount it writable again"]);
        drop(mounted);
        let daemon = Daemon::start_in(lived.home(), &[]);
        assert_eq!(fetch(&daemon.socket()).unwrap().unwrap()[0].bundle, lived.bundle);
    }
}

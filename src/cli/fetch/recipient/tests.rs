//! Who gets a signal, and whose word is not enough.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    io,
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        process::ExitStatusExt as _,
    },
    process::{Child, Command},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    sys::wait::{Id, WaitPidFlag, waitid},
    unistd::Pid,
};

use crate::sys::scratch::Scratch;

use super::*;

struct World {
    folder: Scratch,
    child: Child,
}

impl World {
    fn new() -> Self {
        Self { folder: Scratch::new(), child: sleeping(&mut Command::new("env")).unwrap() }
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("a.pid");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn pid_file(&self) -> PathBuf {
        self.file(&format!("{}\n", self.child.id()))
    }

    fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().signal()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A process that ends at SIGHUP, also where whoever runs the tests has it ignored (nohup). Not before it is so.
fn sleeping(command: &mut Command) -> io::Result<Child> {
    let child = command.args(["--default-signal=HUP", "sleep", "600"]).spawn()?;
    let name = format!("/proc/{}/comm", child.id());
    while fs::read_to_string(&name).unwrap() != "sleep\n" {
        std::thread::yield_now();
    }
    Ok(child)
}

fn recipient(text: &str) -> Recipient {
    Recipient::new(&text.parse().unwrap()).unwrap()
}

async fn refused(path: &Path) -> String {
    recipient(path.to_str().unwrap()).signal().await.unwrap_err().words().to_owned()
}

#[test]
fn a_process_is_named_by_number_or_by_file_with_a_signal_or_without() {
    for (text, whom, signal) in [
        ("4711", Whom::Pid(4711), Signal::SIGHUP),
        ("4711:USR1", Whom::Pid(4711), Signal::SIGUSR1),
        ("4711:sigterm", Whom::Pid(4711), Signal::SIGTERM),
        ("/run/a.pid", Whom::File("/run/a.pid".into()), Signal::SIGHUP),
        ("/run/a.pid:SIGHUP", Whom::File("/run/a.pid".into()), Signal::SIGHUP),
        ("/run/a:b/c.pid", Whom::File("/run/a:b/c.pid".into()), Signal::SIGHUP),
    ] {
        assert_eq!(text.parse(), Ok(Wanted { whom, signal }), "{text}");
    }
    // Neither groups of processes nor everybody.
    for wrong in ["0", "-1", "-4711", "+5", "99999999999", "", ":HUP", "4711:", "4711:NOPE", "4711:1"] {
        assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn the_signal_reaches_the_process_that_is_named() {
    let mut by_number = World::new();
    recipient(&format!("{}:USR1", by_number.child.id())).signal().await.unwrap();
    assert_eq!(by_number.end(), Some(libc::SIGUSR1));

    let mut by_file = World::new();
    let path = by_file.file(&format!("{}\n/var/lib/more\n", by_file.child.id()));
    recipient(path.to_str().unwrap()).signal().await.unwrap();
    assert_eq!(by_file.end(), Some(libc::SIGHUP));
}

#[tokio::test]
async fn a_process_that_has_ended_gets_nothing() {
    let mut world = World::new();
    let (by_number, by_file) = (recipient(&world.child.id().to_string()), world.pid_file());
    let by_file = recipient(by_file.to_str().unwrap());
    world.child.kill().unwrap();
    // A zombie is nobody either.
    waitid(Id::Pid(Pid::from_raw(world.child.id().try_into().unwrap())), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
        .unwrap();
    assert!(by_file.signal().await.unwrap_err().words().contains("stale"));
    world.end();
    assert_eq!(by_number.signal().await.unwrap_err().exit(), Exit::Missing);
    assert!(by_file.signal().await.unwrap_err().words().contains("stale"));
    assert_eq!(Recipient::new(&world.child.id().to_string().parse().unwrap()).err().unwrap().exit(), Exit::Missing);
}

#[tokio::test]
async fn a_file_that_was_believed_is_not_read_again_for_whoever_has_the_number_now() {
    let mut world = World::new();
    let path = world.pid_file();
    let recipient = recipient(&format!("{}:CONT", path.display()));
    recipient.signal().await.unwrap();
    world.child.kill().unwrap();
    world.end();
    // Whatever has the number now: the file means the one before.
    assert!(recipient.signal().await.unwrap_err().words().contains("stale"));
    // A file that is written anew means another one.
    let next = World::new();
    fs::remove_file(&path).unwrap();
    world.file(&next.child.id().to_string());
    recipient.signal().await.unwrap();
}

#[tokio::test]
async fn a_malformed_file_is_refused() {
    let world = World::new();
    for wrong in ["", "\n", "0\n", "-1", "+4711", "4711x", "0x10", "pid: 4711", "99999999999", "\u{feff}4711"] {
        assert!(refused(&world.file(wrong)).await.contains("does not begin with the number"), "{wrong:?}");
    }
    let long = format!("{}4711", " ".repeat(5_000));
    assert!(refused(&world.file(&long)).await.contains("does not begin with the number"));
    assert!(refused(&world.folder.path().join("none.pid")).await.contains("is not there"));
    assert!(refused(world.folder.path()).await.contains("not a plain file"));
}

#[tokio::test]
async fn a_fifo_is_refused_and_not_waited_for() {
    let world = World::new();
    let path = world.folder.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refused(&path).await.contains("not a plain file"));
}

#[tokio::test]
async fn a_file_that_others_may_write_is_refused() {
    let world = World::new();
    let path = world.pid_file();
    for mode in [0o666, 0o664, 0o646] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(refused(&path).await.contains("may write"), "{mode:o}");
    }
}

#[tokio::test]
async fn another_users_file_names_only_that_users_processes() {
    if !geteuid().is_root() {
        return;
    }
    let mut world = World::new();
    let path = world.pid_file();
    chown(&path, Some(4_711), None).unwrap();
    assert!(refused(&path).await.contains("is uid 4711's"), "root's process by a stranger's word");
    let own = sleeping(Command::new("setpriv").args(["--reuid", "4711", "--clear-groups", "env"]));
    let Ok(own) = own else { return };
    world.child.kill().unwrap();
    world.end();
    world.child = own;
    fs::write(&path, world.child.id().to_string()).unwrap();
    recipient(path.to_str().unwrap()).signal().await.unwrap();
    assert_eq!(world.end(), Some(libc::SIGHUP));
}

#[tokio::test]
async fn a_link_of_another_user_is_refused_and_our_own_is_followed() {
    let mut world = World::new();
    let (path, link) = (world.pid_file(), world.folder.path().join("link.pid"));
    symlink(&path, &link).unwrap();
    if geteuid().is_root() {
        std::os::unix::fs::lchown(&link, Some(4_711), None).unwrap();
        assert!(refused(&link).await.contains("is a link of uid 4711"));
        std::os::unix::fs::lchown(&link, Some(0), None).unwrap();
    }
    recipient(link.to_str().unwrap()).signal().await.unwrap();
    assert_eq!(world.end(), Some(libc::SIGHUP));
}

/// Whoever owns the folder swaps a file of its own with a link to root's pid file, all the while.
#[tokio::test]
async fn a_link_that_comes_between_two_looks_is_not_followed() {
    if !geteuid().is_root() {
        return;
    }
    let mut world = World::new();
    let of_root = world.pid_file();
    let (path, link) = (world.folder.path().join("service.pid"), world.folder.path().join("link.pid"));
    fs::write(&path, world.child.id().to_string()).unwrap();
    chown(&path, Some(4_711), None).unwrap();
    symlink(&of_root, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(4_711), None).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &path, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let signalled = std::thread::spawn({
            let path = path.clone();
            move || (0..2_000).filter(|_| runtime.block_on(recipient(path.to_str().unwrap()).signal()).is_ok()).count()
        });
        let signalled = signalled.join();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(signalled.unwrap(), 0, "root's process, by a stranger's word");
    });
    assert!(world.child.try_wait().unwrap().is_none(), "it was signalled");
}

#[tokio::test(start_paused = true)]
#[expect(clippy::await_holding_lock, reason = "what is waited for in vain")]
async fn a_file_system_that_hangs_is_not_waited_for() {
    let world = World::new();
    let recipient = recipient(world.pid_file().to_str().unwrap());
    let Seat::File(_, known) = &*recipient.seat else { panic!("a file was named") };
    let hanging = known.lock().unwrap();
    let failure = recipient.signal().await.unwrap_err();
    drop(hanging);
    assert!(failure.words().contains("was not read within 10 s"), "{}", failure.words());
}

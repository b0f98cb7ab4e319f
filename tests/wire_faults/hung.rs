//! A caller whose exec hangs: whoever looks at it waits in the kernel, past any deadline, and nobody else may.
//!
//! An exec closes what it must not pass on, and for a file of a file system that a process answers for (FUSE) it waits
//! for that process. Here that is this test, which never answers.
#![expect(unsafe_code, reason = "a child that connects between fork and exec")]

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
        stat::{Mode, SFlag, makedev, mknod},
    },
};

use super::{
    SOON,
    common::{
        Daemon, Folder, eventually,
        h2raw::{Head, frame, hello, message},
        messages::fetch,
        own_uid,
    },
};

/// What the kernel asks of a file system (`<linux/fuse.h>`), as far as it matters here.
mod ask {
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const OPEN: u32 = 14;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
}

/// A file system of one file, which answers all but the flushes of others than ourselves: their numbers are told.
fn answer(mut device: &File, flushed: &mpsc::Sender<[u32; 2]>) {
    let mut request = vec![0; 1 << 20];
    // It ends when the file system is gone.
    while let Ok(length) = device.read(&mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        assert!(length >= 40, "a request has a head");
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        let reply = match word(4) {
            ask::INIT => words(&[7, 31, 65_536, 0, 16 << 16 | 16, 65_536, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            // An inode, nothing of it, and that it is a regular file.
            ask::GETATTR => {
                let mut attributes = [0; 26];
                (attributes[4], attributes[19], attributes[20]) = (1, 0o100_444, 1);
                words(&attributes)
            }
            ask::OPEN => words(&[1, 0, 0, 0]),
            ask::FLUSH if !Path::new(&format!("/proc/self/task/{}", word(32))).exists() => {
                flushed.send([word(8), word(12)]).ok();
                continue;
            }
            ask::FORGET | ask::INTERRUPT => continue,
            _ => Vec::new(),
        };
        let error = if reply.is_empty() { -libc::ENOSYS } else { 0 };
        let head = [u32::try_from(16 + reply.len()).unwrap(), error.cast_unsigned(), word(8), word(12)];
        device.write_all(&[words(&head), reply].concat()).ok();
    }
}

/// Mounts the file system where nobody else sees it, serves it, and opens its file.
fn file(device: Arc<File>, at: &Path, flushed: mpsc::Sender<[u32; 2]>) -> nix::Result<File> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let options = format!("fd={},rootmode=100444,user_id=0,group_id=0", device.as_raw_fd());
    mount(Some("hung"), at, Some("fuse"), MsFlags::empty(), Some(options.as_str()))?;
    thread::spawn(move || answer(&device, &flushed));
    File::open(at).map_err(|_| nix::Error::EIO)
}

/// A process that connects, asks, and then hangs in its exec while it has `file`.
fn caller(socket_path: &Path, file: OwnedFd) -> Child {
    let address = UnixAddr::new(socket_path).unwrap();
    let head = Head::new("/SpiffeWorkloadAPI/FetchX509SVID");
    let request = [hello(), head.frames(1, 0), frame(0, 1, 1, &message(&[]))].concat();
    let mut command = Command::new("sleep");
    command.arg("300");
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            let line = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)?;
            connect(line.as_raw_fd(), &address)?;
            nix::unistd::write(&line, &request)?;
            // The connection lives on in what is exec'd, and the file does not.
            fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            std::mem::forget(line);
            Ok(())
        });
    }
    command.spawn().unwrap()
}

/// Flushes that are answered when this is dropped, also by a test that fails: the processes could not even end before.
struct Held {
    device: Arc<File>,
    flushed: mpsc::Receiver<[u32; 2]>,
    numbers: Vec<[u32; 2]>,
    callers: Vec<thread::JoinHandle<Child>>,
}

impl Held {
    /// One more caller whose exec hangs now.
    fn add(&mut self, daemon: &Daemon, file: &File) {
        let (socket, file) = (daemon.socket(), file.try_clone().unwrap());
        // Returns when the exec does.
        self.callers.push(thread::spawn(move || caller(&socket, file.into())));
        self.numbers.push(self.flushed.recv_timeout(SOON).expect("the exec hangs"));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let answer = |[low, high]: [u32; 2]| {
            let reply: Vec<u8> = [16, 0, low, high].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
            (&*self.device).write_all(&reply).ok();
        };
        self.numbers.iter().copied().for_each(answer);
        // Each closes more than one copy.
        while self.callers.iter().any(|caller| !caller.is_finished()) {
            self.flushed.recv_timeout(Duration::from_millis(10)).into_iter().for_each(answer);
        }
        for caller in self.callers.drain(..) {
            let mut caller = caller.join().expect("a caller");
            caller.kill().ok();
            caller.wait().ok();
        }
    }
}

/// Looks of uid 0 at the same time (`LOOKS_OF_ROOT`).
const LOOKS: usize = 16;

#[test]
fn execs_that_hang_keep_nobody_else_waiting_and_no_call_for_ever() {
    let folder = Folder::new();
    let (node, place) = (folder.path().join("fuse"), folder.path().join("file"));
    File::create(&place).unwrap();
    let made = mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(10, 229));
    let device = made.ok().and_then(|()| OpenOptions::new().read(true).write(true).open(&node).ok());
    let Some(device) = device else {
        println!("left out: it takes root, and FUSE");
        return;
    };
    let daemon = Daemon::start("[limits]\nattestation_seconds = 1\n");
    daemon.entry("spiffe://example.org/me", &[&own_uid()], &[]);
    // An entry that could match our uid makes the daemon look at what runs.
    daemon.entry("spiffe://example.org/other", &[&own_uid(), "unix:path:/usr/bin/other"], &[]);

    let device = Arc::new(device);
    let (flushing, flushed) = mpsc::channel();
    let served = device.clone();
    let Ok(file) = thread::spawn(move || file(served, &place, flushing)).join().unwrap() else {
        println!("left out: no file system can be mounted here");
        return;
    };
    let mut held = Held { device, flushed, numbers: Vec::new(), callers: Vec::new() };
    for _ in 0..LOOKS / 2 {
        held.add(&daemon, &file);
        daemon.must_serve("an exec hung");
    }
    daemon.status();
    // More than may be looked at: those of the same user are told so in time, and everything else goes on.
    for _ in 0..LOOKS {
        held.add(&daemon, &file);
    }
    let refused = fetch(&daemon.socket()).unwrap().unwrap_err();
    assert_eq!(refused.code(), Some(14), "{refused:?}");
    eventually("status names processes that hang", || daemon.status().problems.iter().any(|one| one.contains("exec")));
    drop(held);
    eventually("all is as before", || matches!(fetch(&daemon.socket()), Ok(Ok(_))));
    daemon.must_serve("all execs ended");
}

//! SHA-256 of executables: once per file, one at a time of each party (`queue`), off the request path.
//!
//! The content is read from the descriptor that was opened, with the file's facts equal before and after. A running
//! executable cannot be written (ETXTBSY), so the same facts mean the same content; a file whose ctime is younger
//! than two seconds may still change within one tick of its clock and is not remembered.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::watch;

use super::queue::{Place, Queue};
use crate::sys::{proc::FileId, process};

/// How many digests are remembered.
pub(crate) const DIGESTS_MAX: usize = 4_096;
const READ_BYTES: usize = 64 * 1024;
/// A file that changed within this time before it was read is not remembered.
const SETTLED: Duration = Duration::from_secs(2);

/// Why there is no digest now. The caller may ask again.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file could not be read.
    #[error("the executable cannot be read")]
    Io(#[source] Arc<io::Error>),
    /// It took longer than it may.
    #[error("hashing took longer than {} s", .0.as_secs())]
    Late(Duration),
    /// The file changed while it was read.
    #[error("the executable changed while it was hashed")]
    Changed,
    /// As many callers of this one's party wait as may.
    #[error("too many callers of this user wait for hashes")]
    Busy,
    /// The system gives no thread to hash on.
    #[error("no thread is left to hash on")]
    NoThread,
}

/// Why a file has no digest at all; not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unhashed {
    /// Larger than the limit.
    TooLarge,
    /// Its file system is answered by another process, when that likes.
    Foreign,
}

/// A digest in lower-case hex, or why there is none.
pub(crate) type Outcome = Result<Result<String, Unhashed>, Error>;

/// What may be spent on hashing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes_max: u64,
    pub(crate) wait: Duration,
    pub(crate) at_once: usize,
}

/// A file in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Version {
    file: FileId,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What is known of a file before its content is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    kind: FileSystem,
    version: Version,
}

impl Seen {
    /// Looks at a file. One that a user's own file system has may keep us waiting.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn of(file: &impl std::os::fd::AsFd) -> io::Result<Self> {
        Ok(Self { kind: FileSystem::of(file)?, version: Version::of(&nix::sys::stat::fstat(file)?) })
    }

    /// Whether this kernel alone answers for its content.
    pub(crate) fn is_local(&self) -> bool {
        self.kind == FileSystem::Local
    }

    /// Which file it is.
    pub(crate) fn file(&self) -> FileId {
        self.version.file
    }
}

/// An outcome that comes.
#[derive(Clone, Debug)]
struct Pending(watch::Receiver<Option<Outcome>>);

/// The digests that are known, and those being made.
#[derive(Debug)]
pub(crate) struct Hasher {
    limits: Limits,
    known: Mutex<HashMap<Version, String>>,
    making: Mutex<HashMap<(u32, Version), Pending>>,
    queue: Queue,
}

impl Hasher {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, known: Mutex::default(), making: Mutex::default(), queue: Queue::new(limits.at_once) }
    }

    /// The digest of an executable. `open` opens its content; it is called on a thread that may block, and only for
    /// files on file systems that no user answers for.
    ///
    /// # Errors
    /// When the file cannot be read, changes meanwhile, or takes too long.
    pub(crate) async fn sha256(
        self: &Arc<Self>,
        uid: u32,
        Seen { kind, version }: Seen,
        open: impl FnOnce() -> io::Result<File> + Send + 'static,
        now: SystemTime,
    ) -> Outcome {
        if kind == FileSystem::User {
            return Ok(Err(Unhashed::Foreign));
        }
        if version.size > self.limits.bytes_max {
            return Ok(Err(Unhashed::TooLarge));
        }
        if let Some(digest) = self.known(kind, version) {
            return Ok(Ok(digest));
        }
        let place = self.queue.enter(uid).ok_or(Error::Busy)?;
        let (Pending(mut outcome), _place) = self.join_or_begin(uid, place, version, kind, open, now);
        let wait = tokio::time::timeout(self.limits.wait, outcome.wait_for(Option::is_some)).await;
        match wait {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(Error::Late(self.limits.wait))),
            Ok(Err(_)) | Err(_) => Err(Error::Late(self.limits.wait)),
        }
    }

    /// One hashing for each file and user at a time; whoever comes meanwhile waits for the same. What is begun keeps the
    /// place of whoever began it, also when he leaves, so that nobody begins more than may wait.
    fn join_or_begin(
        self: &Arc<Self>,
        uid: u32,
        place: Place,
        version: Version,
        kind: FileSystem,
        open: impl FnOnce() -> io::Result<File> + Send + 'static,
        now: SystemTime,
    ) -> (Pending, Option<Place>) {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = making.get(&(uid, version)) {
            return (outcome.clone(), Some(place));
        }
        let (done, outcome) = watch::channel(None);
        let outcome = Pending(outcome);
        making.insert((uid, version), outcome.clone());
        let hasher = self.clone();
        tokio::spawn(async move {
            let made = hasher.clone().make(uid, version, kind, open, now).await;
            done.send_replace(Some(made));
            hasher.making.lock().unwrap_or_else(PoisonError::into_inner).remove(&(uid, version));
            drop(place);
        });
        (outcome, None)
    }

    async fn make(
        self: Arc<Self>,
        uid: u32,
        version: Version,
        kind: FileSystem,
        open: impl FnOnce() -> io::Result<File> + Send + 'static,
        now: SystemTime,
    ) -> Outcome {
        let wait = self.limits.wait;
        let turn = tokio::time::timeout(wait, self.queue.turn(uid)).await;
        let Ok(Some(_turn)) = turn else { return Err(Error::Late(wait)) };
        // Another user's turn may have been for the same file.
        if let Some(digest) = self.known(kind, version) {
            return Ok(Ok(digest));
        }
        let digest = process::in_background(move || {
            open().map_err(|error| Error::Io(Arc::new(error))).and_then(|file| read(file, version, wait))
        })
        .await
        .unwrap_or(Err(Error::NoThread))?;
        if kind == FileSystem::Local && version.is_settled(now) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= DIGESTS_MAX {
                // Which one goes hardly matters: a digest costs one hashing.
                if let Some(any) = known.keys().next().copied() {
                    known.remove(&any);
                }
            }
            known.insert(version, digest.clone());
        }
        Ok(Ok(digest))
    }

    fn known(&self, kind: FileSystem, version: Version) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&version).filter(|_| kind == FileSystem::Local).cloned()
    }
}

fn read(mut file: File, version: Version, wait: Duration) -> Result<String, Error> {
    let failed = |error: io::Error| Error::Io(Arc::new(error));
    let began = Instant::now();
    let same = |file: &File| {
        nix::sys::stat::fstat(file).map(|stat| Version::of(&stat) == version).map_err(|error| failed(error.into()))
    };
    if !same(&file)? {
        return Err(Error::Changed);
    }
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            break;
        }
        context.update(buffer.get(..count).unwrap_or_default());
        if began.elapsed() > wait {
            return Err(Error::Late(wait));
        }
    }
    if !same(&file)? {
        return Err(Error::Changed);
    }
    Ok(hex(context.finish().as_ref()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

impl Version {
    fn of(stat: &libc::stat) -> Self {
        Self {
            file: FileId { device: stat.st_dev, inode: stat.st_ino },
            size: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, _) = self.changed;
        let changed = u64::try_from(seconds).ok().map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        changed.and_then(|changed| now.duration_since(changed).ok()).is_some_and(|age| age > SETTLED)
    }
}

/// Who answers for a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileSystem {
    /// This kernel alone.
    Local,
    /// Another machine: its facts may lag behind its content, so nothing is remembered.
    Remote,
    /// A process on this machine, perhaps the caller's own (FUSE).
    User,
}

impl FileSystem {
    fn of(file: &impl std::os::fd::AsFd) -> io::Result<Self> {
        // <linux/magic.h>
        const FUSE: i64 = 0x6573_5546;
        const LOCAL: [i64; 9] = [
            0xEF53,      // ext2, ext3, ext4
            0x5846_5342, // xfs
            0x9123_683E, // btrfs
            0x0102_1994, // tmpfs
            0xF2F5_2010, // f2fs
            0x2FC1_2FC1, // zfs
            0x7371_7368, // squashfs
            0xE0F5_E1E2, // erofs
            0x794C_7630, // overlayfs
        ];
        Ok(match nix::sys::statfs::fstatfs(file)?.filesystem_type().0 {
            FUSE => Self::User,
            kind if LOCAL.contains(&kind) => Self::Local,
            _ => Self::Remote,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{
        fs,
        path::PathBuf,
        sync::{
            atomic::{AtomicU32, Ordering},
            mpsc,
        },
    };

    use super::*;
    use crate::{attest::queue::WAITING_PER_PARTY, sys::scratch::Scratch};

    const LIMITS: Limits = Limits { bytes_max: 1 << 20, wait: Duration::from_secs(30), at_once: 2 };

    struct Subject {
        hasher: Arc<Hasher>,
        path: PathBuf,
        opened: Arc<AtomicU32>,
        _dir: Scratch,
    }

    impl Subject {
        fn new(content: &[u8]) -> Self {
            let dir = Scratch::new();
            let path = dir.path().join("program");
            fs::write(&path, content).unwrap();
            Self { hasher: Arc::new(Hasher::new(LIMITS)), path, opened: Arc::default(), _dir: dir }
        }

        async fn hash(&self, later: Duration) -> Outcome {
            let (path, opened) = (self.path.clone(), self.opened.clone());
            let file = File::open(&path).unwrap();
            let open = move || {
                opened.fetch_add(1, Ordering::Relaxed);
                File::open(path)
            };
            self.hasher.sha256(1000, Seen::of(&file).unwrap(), open, crate::sys::Clock::system().now() + later).await
        }

        /// A file of that uid whose reading hangs until the sender goes.
        fn hang(&self, uid: u32, name: &str) -> (mpsc::Sender<()>, impl Future<Output = Outcome> + use<>) {
            let path = self.path.with_file_name(name);
            fs::write(&path, name).unwrap();
            let (file, opened, (held, release)) = (File::open(&path).unwrap(), self.opened.clone(), mpsc::channel());
            let open = move || {
                opened.fetch_add(1, Ordering::Relaxed);
                release.recv().unwrap_err();
                File::open(path)
            };
            let (hasher, seen) = (self.hasher.clone(), Seen::of(&file).unwrap());
            (held, async move { hasher.sha256(uid, seen, open, crate::sys::Clock::system().now()).await })
        }
    }

    const LATER: Duration = Duration::from_secs(10);
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[tokio::test]
    async fn a_settled_file_is_read_once() {
        let subject = Subject::new(b"abc");
        for _ in 0..3 {
            assert_eq!(subject.hash(LATER).await.unwrap(), Ok(ABC.to_owned()));
        }
        assert_eq!(subject.opened.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_file_that_changed_just_now_is_read_each_time() {
        let subject = Subject::new(b"abc");
        for _ in 0..3 {
            assert_eq!(subject.hash(Duration::ZERO).await.unwrap(), Ok(ABC.to_owned()));
        }
        assert_eq!(subject.opened.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn new_content_has_a_new_digest() {
        let subject = Subject::new(b"abc");
        subject.hash(LATER).await.unwrap().unwrap();
        fs::write(&subject.path, b"abd").unwrap();
        assert_ne!(subject.hash(LATER).await.unwrap(), Ok(ABC.to_owned()));
    }

    #[tokio::test]
    async fn callers_at_once_share_one_reading() {
        let subject = Subject::new(b"abc");
        let all = futures_util::future::join_all((0..20).map(|_| subject.hash(LATER))).await;
        assert!(all.into_iter().all(|outcome| outcome.unwrap() == Ok(ABC.to_owned())));
        assert_eq!(subject.opened.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn whose_hashes_hang_keeps_no_other_party_waiting() {
        let subject = Subject::new(b"abc");
        let (held, mut hanging): (Vec<_>, Vec<_>) = (100_000..100_004)
            .map(|uid| subject.hang(uid, &uid.to_string()))
            .map(|(held, one)| (held, Box::pin(one)))
            .unzip();
        for one in &mut hanging {
            assert!(futures_util::poll!(one).is_pending());
        }
        while subject.opened.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        // Of as many as may hash at once, one is left.
        assert_eq!(subject.hash(LATER).await.unwrap(), Ok(ABC.to_owned()));
        assert_eq!(subject.opened.load(Ordering::Relaxed), 2, "one of theirs, and this one");
        drop(held);
        for outcome in futures_util::future::join_all(hanging).await {
            outcome.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_party_that_waits_as_often_as_it_may_leaves_others_room() {
        let subject = Subject::new(b"abc");
        let mut waiting = Vec::new();
        let (held, first) = subject.hang(100_000, "large");
        waiting.push(Box::pin(first));
        for _ in 1..WAITING_PER_PARTY {
            waiting.push(Box::pin(subject.hang(100_000, "large").1));
        }
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        assert!(matches!(subject.hang(100_001, "small").1.await, Err(Error::Busy)));
        // What they have begun goes on without them.
        drop(waiting);
        assert!(matches!(subject.hang(100_001, "small").1.await, Err(Error::Busy)));
        assert_eq!(subject.hash(LATER).await.unwrap(), Ok(ABC.to_owned()));
        drop(held);
    }

    #[tokio::test]
    async fn a_file_beyond_the_limit_has_no_digest() {
        let subject = Subject::new(&vec![0; (1 << 20) + 1]);
        assert_eq!(subject.hash(LATER).await.unwrap(), Err(Unhashed::TooLarge));
        assert_eq!(subject.opened.load(Ordering::Relaxed), 0);
    }
}

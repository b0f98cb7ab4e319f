//! Throw-away folders for tests.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A private folder that is removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a new empty folder, mode 0700, with a short path (socket paths have 107 bytes).
    #[expect(clippy::expect_used, reason = "a test without a folder cannot go on")]
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dayfly-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        super::files::create_private_dir(&path).expect("a scratch folder");
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A small file system of its own that a test can fill; unmounted when dropped.
pub(crate) struct SmallDisk(Scratch);

impl SmallDisk {
    /// Mounts one of so many KiB; `None` where that is not allowed, and then says so.
    pub(crate) fn mount(kibibytes: u32) -> Option<Self> {
        let folder = Scratch::new();
        let options = format!("size={kibibytes}k,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "dayfly-test"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        io::stderr().write_all(b"left out: a small disk cannot be mounted here (it takes root)\n").ok();
        None
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all space that is left.
    #[expect(clippy::expect_used, reason = "a test without a file cannot go on")]
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.path().join("filler")).expect("a file that takes the space");
        while file.write_all(&[0; 1024]).is_ok() {}
    }

    /// Gives it back.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.path().join("filler")).ok();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.path()).status().ok();
    }
}

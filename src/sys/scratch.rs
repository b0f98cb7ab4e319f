//! Throw-away folders for tests.

use std::{
    fs,
    path::{Path, PathBuf},
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

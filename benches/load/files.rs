//! A folder of our own, and programs of a given size.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};
use aws_lc_rs::digest;

/// A folder that is removed when dropped. Its path is short, since socket paths are.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dayfly-bench-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A copy of our own program, made `bytes` long: what follows the end of an ELF file does not matter to it.
pub(crate) fn padded_program(to: &Path, bytes: u64) -> Result<()> {
    fs::copy(env::current_exe()?, to)?;
    let mut file = fs::OpenOptions::new().append(true).open(to)?;
    let mut missing = bytes.saturating_sub(file.metadata()?.len());
    let block = vec![0x5a; 1 << 20];
    while missing > 0 {
        let part = usize::try_from(missing).unwrap_or(usize::MAX).min(block.len());
        file.write_all(block.get(..part).unwrap_or(&block))?;
        missing -= part as u64;
    }
    Ok(file.sync_all()?)
}

/// The SHA-256 of a file, in hex.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let (mut file, mut context, mut block) =
        (fs::File::open(path)?, digest::Context::new(&digest::SHA256), vec![0; 1 << 20]);
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => context.update(block.get(..read).unwrap_or_default()),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

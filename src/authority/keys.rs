//! The key files: one for each authority, `keys/<id>.key`, PKCS#8 in DER, readable by the daemon's user alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{AuthorityId, Error};
use crate::sys::{Secret, files};

/// The folder they are in.
#[derive(Clone, Debug)]
pub(super) struct Keys(PathBuf);

impl Keys {
    /// The folder below the state folder, made if it is not there.
    pub(super) fn open(state: &Path) -> Result<Self, Error> {
        let folder = state.join("keys");
        files::create_private_dir(&folder)?;
        Ok(Self(folder))
    }

    /// Where an authority's key is.
    pub(super) fn path(&self, id: &AuthorityId) -> PathBuf {
        self.0.join(format!("{id}.key"))
    }

    /// Reads a key that nobody else can read.
    pub(super) fn read(&self, id: &AuthorityId) -> Result<Secret, Error> {
        Ok(files::read_private(&self.path(id))?)
    }

    /// Writes a key; it is on the disk when this returns, or nothing is.
    pub(super) fn write(&self, id: &AuthorityId, pkcs8: &Secret) -> Result<(), Error> {
        Ok(files::write_private(&self.path(id), pkcs8.expose())?)
    }

    /// Removes a key for good. One that is not there is gone already.
    pub(super) fn remove(&self, id: &AuthorityId) -> Result<(), Error> {
        self.remove_file(self.path(id))?;
        Ok(files::sync_dir(&self.0)?)
    }

    /// Removes what a crash between a key and its row left: a key that has signed nothing and that nobody trusts. More
    /// than one is no crash's doing but, say, an old database put beside newer keys, and nothing is touched.
    pub(super) fn remove_orphan(&self, known: &[&AuthorityId]) -> Result<(), Error> {
        let mut orphans = self.orphans(known)?;
        match (orphans.pop(), orphans.len()) {
            (None, _) => Ok(()),
            (Some(orphan), 0) => {
                tracing::warn!(file = %orphan.display(), "a key that was never used is removed");
                self.remove_file(orphan)
            }
            (Some(_), more) => Err(Error::UnknownKeys { folder: self.0.clone(), count: more + 1 }),
        }
    }

    /// Leaves a key of which the database knows nothing, as the database has lost what it knew: it may be of the
    /// authority that signed last. Where no authority is left at all, a new one would be begun in its place.
    pub(super) fn keep_orphan(&self, known: &[&AuthorityId]) -> Result<(), Error> {
        let orphans = self.orphans(known)?;
        match (orphans.first(), orphans.len()) {
            (None, _) => Ok(()),
            (Some(orphan), 1) if !known.is_empty() => {
                tracing::error!(file = %orphan.display(), "a key is kept whose authority the database has lost");
                Ok(())
            }
            (Some(_), count) => Err(Error::UnknownKeys { folder: self.0.clone(), count }),
        }
    }

    /// Removes all keys but these: what this process itself wrote and could not finish.
    pub(super) fn remove_others(&self, known: &[&AuthorityId]) -> Result<(), Error> {
        self.orphans(known)?.into_iter().try_for_each(|orphan| self.remove_file(orphan))
    }

    /// Keys of no authority. A file that was being written when the daemon ended is removed on the way.
    fn orphans(&self, known: &[&AuthorityId]) -> Result<Vec<PathBuf>, Error> {
        let known: Vec<_> = known.iter().map(|id| self.path(id)).collect();
        let mut orphans = Vec::new();
        for file in fs::read_dir(&self.0).map_err(failed(&self.0))? {
            let path = file.map_err(failed(&self.0))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("new") => self.remove_file(path)?,
                // The audit log's is no authority's.
                Some("key") if path.file_name().is_some_and(|name| name == "audit.key") => {}
                Some("key") if !known.contains(&path) => orphans.push(path),
                _ => {}
            }
        }
        Ok(orphans)
    }

    fn remove_file(&self, path: PathBuf) -> Result<(), Error> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path)(error)),
            _ => Ok(()),
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::KeyFile { path, source }
}

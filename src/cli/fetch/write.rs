//! Files that always match: certificate, key and bundle, or whatever else came together.
//!
//! `DIR` is a symlink to a version folder beside it (`.NAME.dayfly-…`). A new version is written whole, then the link is
//! replaced by one rename. The version before stays until the next write, for readers that are still in it. Those who
//! write take turns (`turn`). The folder may be shared: whatever others put beside the link is neither used nor removed.

mod turn;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

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
        let mut record = self.turn(turn::TRIES_MAX)?;
        let before = self.version()?;
        if let Some(before) = &before {
            self.check_kind(before, files)?;
        }
        let version = record.make(&self.parent, &self.prefix).map_err(|error| cannot(&self.link, &error))?;
        if let Err(error) = fill(&version, files, modes).and_then(|()| self.swap(&version)) {
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

    fn turn(&self, tries_max: u32) -> Result<Record, Failure> {
        turn::take(&self.parent.join(format!("{}lock", self.prefix)), &self.link, tries_max)
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
        version.link(PREPARED)?;
        // An empty folder makes place; anything else is refused by the system, as it was before.
        if fs::symlink_metadata(&self.link).is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir(&self.link)?;
        }
        version.move_out(PREPARED, &self.link)
    }
}

/// By which verb a folder with these files was made.
fn kind(names: &[impl AsRef<str>]) -> Option<&'static str> {
    let has = |begin: &str| names.iter().any(|name| name.as_ref().starts_with(begin));
    let kinds = [("svid", "x509"), ("jwt_svid", "jwt"), ("wit_svid", "wit"), ("", "bundle")];
    kinds.into_iter().find(|(begin, _)| has(begin)).map(|(_, kind)| kind)
}

fn fill(version: &Version, files: &Files, modes: Modes) -> io::Result<()> {
    let mut folders = BTreeMap::new();
    for file in &files.list {
        if let Some((folder, _)) = file.name.split_once('/')
            && !folders.contains_key(folder)
        {
            folders.insert(folder, version.folder(folder)?);
        }
        let mode = if file.is_secret { modes.secret_mode } else { PUBLIC_MODE };
        let mut created = version.file(&file.name, mode)?;
        if mode != PUBLIC_MODE {
            // What was asked for counts, not the umask: a service that may not read its key is found out late.
            created.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        created.write_all(&file.bytes)?;
        created.sync_all()?;
    }
    folders.values().try_for_each(fs::File::sync_all)?;
    version.sync()
}

pub(super) fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::because(format_args!("{} cannot be written", path.display()), error)
}

const PUBLIC_MODE: u32 = 0o644;
/// The link that is to be, in its version.
const PREPARED: &str = ".link";
const WHAT_IT_MAY_BE: &str =
    "DIR may be a path where nothing is, an empty folder, or what an earlier `fetch --write` made";

#[cfg(test)]
mod tests;

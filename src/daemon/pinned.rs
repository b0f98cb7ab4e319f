//! Issuers that an operator has pinned: their keys as they stand in his files, read at the start and whenever he says so.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::libc;
use tokio::sync::watch;

use super::config::{PinnedIssuer, read_bounded};
use crate::{
    oauth::issuer::{Issuer, IssuerName, Issuers, IssuersError, JWKS_BYTES_MAX, JwksError, Reason},
    sys::files,
};

/// Why an issuer's keys are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Its file cannot be read.
    #[error("the keys of the issuer {issuer} cannot be read from {}", path.display())]
    File { issuer: IssuerName, path: PathBuf, source: io::Error },
    /// Whoever may write or replace its file is not the operator alone.
    #[error("the keys of the issuer {issuer} are not believed, as others could change them")]
    Untrusted { issuer: IssuerName, source: files::Error },
    /// What is in it is no JWK Set to use.
    #[error("the keys of the issuer {issuer} in {} are refused", path.display())]
    Keys { issuer: IssuerName, path: PathBuf, source: JwksError },
    /// They cannot stand together.
    #[error("the issuers cannot stand together")]
    Issuers(#[from] IssuersError),
}

/// Some issuers as they are believed now.
pub(crate) struct Pinned(watch::Sender<Arc<Issuers>>);

impl Pinned {
    /// Reads their keys for the first time.
    ///
    /// # Errors
    /// The first file that is not as it must be.
    pub(crate) fn open(issuers: &[PinnedIssuer]) -> Result<Self, Error> {
        Ok(Self(watch::Sender::new(Arc::new(read(issuers)?))))
    }

    /// Who is believed, now and after each change.
    pub(crate) fn watched(&self) -> watch::Receiver<Arc<Issuers>> {
        self.0.subscribe()
    }

    /// Believes these alone from now on. Answers whether they are others than before, or have other keys.
    pub(super) fn set(&self, issuers: Issuers) -> bool {
        let issuers = Arc::new(issuers);
        self.0.send_if_modified(|present| {
            let is_new = **present != *issuers;
            *present = issuers;
            is_new
        })
    }
}

/// Reads the keys of all of these. Keys that are not used are logged.
///
/// # Errors
/// The first file that is not as it must be.
pub(crate) fn read(issuers: &[PinnedIssuer]) -> Result<Issuers, Error> {
    let issuers = issuers.iter().map(|PinnedIssuer { name, jwks }| {
        let failed = |source| Error::File { issuer: name.clone(), path: jwks.clone(), source };
        let file = open(jwks).map_err(failed)?;
        files::check_trusted(jwks, &file).map_err(|source| Error::Untrusted { issuer: name.clone(), source })?;
        let bytes = read_bounded(file, u64::try_from(JWKS_BYTES_MAX).unwrap_or(u64::MAX)).map_err(failed)?;
        let issuer = Issuer::read(name.clone(), &bytes);
        let (issuer, left_out) =
            issuer.map_err(|source| Error::Keys { issuer: name.clone(), path: jwks.clone(), source })?;
        for key in left_out {
            // Sets have keys for encryption, too.
            match key.reason {
                Reason::Use => tracing::debug!(issuer = %name, key = key.index, "a key is not for signatures"),
                reason => tracing::warn!(issuer = %name, key = key.index, %reason, "a key of an issuer is not used"),
            }
        }
        tracing::info!(issuer = %name, keys = issuer.keys(), "the tokens of an issuer are believed");
        Ok(issuer)
    });
    Ok(Issuers::new(issuers.collect::<Result<Vec<_>, Error>>()?)?)
}

/// A plain file. Links are followed: mounted files are such.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a plain file")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{error::Error as _, fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::{
        spiffe::jose::{Algorithm, tests::kit::Key},
        sys::scratch::Scratch,
    };

    fn set(key: &Key) -> String {
        format!(r#"{{"keys":[{}]}}"#, key.jwk().to_json())
    }

    fn pinned(name: &str, jwks: PathBuf) -> PinnedIssuer {
        PinnedIssuer { name: IssuerName::parse(name).unwrap(), jwks }
    }

    #[test]
    fn a_rotated_set_is_taken_and_a_bad_one_is_none() {
        let home = Scratch::new();
        let (one, other) = (Key::new("", Algorithm::Es256), Key::new("", Algorithm::Es384));
        let issuers = [pinned("https://a.test", home.path().join("a.json"))];
        fs::write(&issuers[0].jwks, set(&one)).unwrap();
        let believed = Pinned::open(&issuers).unwrap();
        let mut watched = believed.watched();
        let first = watched.borrow_and_update().clone();
        assert!(first.get("https://a.test").is_some());
        believed.set(read(&issuers).unwrap());
        assert!(!watched.has_changed().unwrap(), "the same again is no change");
        fs::write(&issuers[0].jwks, set(&other)).unwrap();
        believed.set(read(&issuers).unwrap());
        assert!(watched.has_changed().unwrap());
        let second = watched.borrow_and_update().clone();
        assert_ne!(first, second);
        fs::write(&issuers[0].jwks, "{}").unwrap();
        assert!(matches!(read(&issuers), Err(Error::Keys { source: JwksError::NoKeys, .. })));
        assert!(!watched.has_changed().unwrap() && **watched.borrow() == *second);
        believed.set(Issuers::default());
        assert!(watched.borrow().is_empty());
    }

    #[test]
    fn a_file_that_others_write_or_that_is_none_is_refused() {
        let home = Scratch::new();
        let path = home.path().join("a.json");
        let why = || read(&[pinned("https://a.test", path.clone())]).unwrap_err().source().unwrap().to_string();
        assert!(why().contains("No such file"), "{}", why());
        fs::write(&path, set(&Key::new("", Algorithm::Es256))).unwrap();
        assert!(read(&[pinned("https://a.test", path.clone())]).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
        assert!(
            why().starts_with(&format!("{} may be written by others: it has mode 0646", path.display())),
            "{}",
            why()
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, vec![b' '; JWKS_BYTES_MAX + 1]).unwrap();
        assert_eq!(why(), "it is larger than 256KiB");
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(why(), "it is not a plain file");
        let twice = [pinned("https://a.test", home.path().join("b")), pinned("https://a.test", home.path().join("b"))];
        fs::write(home.path().join("b"), set(&Key::new("", Algorithm::Es256))).unwrap();
        assert!(matches!(read(&twice), Err(Error::Issuers(IssuersError::Twice(_)))));
    }
}

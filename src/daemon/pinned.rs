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

use super::{
    bound::record,
    config::{PinnedIssuer, read_bounded},
};
use crate::{
    audit,
    oauth::issuer::{Issuer, IssuerName, Issuers, IssuersError, JWKS_BYTES_MAX, JwksError, LeftOut, Reason},
    sys::{chain, files},
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
pub(crate) struct Pinned {
    believed: watch::Sender<Arc<Issuers>>,
    /// What is wrong with files of theirs, in words for an operator.
    problems: watch::Sender<Vec<String>>,
}

/// What was read of their files; nobody goes by it yet.
pub(super) struct Read {
    issuers: Issuers,
    known: Vec<(Arc<Issuer>, Vec<LeftOut>)>,
    faults: Vec<Fault>,
}

/// A file that is not as it must be.
struct Fault {
    issuer: IssuerName,
    jwks: PathBuf,
    error: Error,
    /// Whether keys that were read before go on counting.
    keeps: bool,
}

impl Pinned {
    /// Reads their keys for the first time. One whose file is not as it must be has none, and nothing of its is believed:
    /// that is said in the log, recorded, and told as a problem.
    ///
    /// # Errors
    /// When the issuers cannot stand together.
    pub(crate) fn open(issuers: &[PinnedIssuer], log: &audit::Log) -> Result<Self, Error> {
        let (believed, problems) = (watch::Sender::default(), watch::Sender::default());
        let pinned = Self { believed, problems };
        pinned.set(pinned.read(issuers)?, log);
        Ok(pinned)
    }

    /// Who is believed, now and after each change.
    pub(crate) fn watched(&self) -> watch::Receiver<Arc<Issuers>> {
        self.believed.subscribe()
    }

    /// What does not work of them, in a sentence for each; now and after each change.
    pub(super) fn problems(&self) -> watch::Receiver<Vec<String>> {
        self.problems.subscribe()
    }

    /// Reads the keys of all of these. One whose file is not as it must be keeps those that it has.
    ///
    /// # Errors
    /// When the issuers cannot stand together.
    pub(super) fn read(&self, issuers: &[PinnedIssuer]) -> Result<Read, Error> {
        let present = self.believed.borrow().clone();
        let (mut known, mut kept, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for pinned in issuers {
            match read_one(pinned) {
                Ok((issuer, left_out)) => known.push((Arc::new(issuer), left_out)),
                Err(error) => {
                    let before = present.get(pinned.name.as_str()).cloned();
                    let (issuer, jwks) = (pinned.name.clone(), pinned.jwks.clone());
                    faults.push(Fault { issuer, jwks, error, keeps: before.is_some() });
                    kept.extend(before);
                }
            }
        }
        let all = Issuers::new(known.iter().map(|(issuer, _)| issuer.clone()).chain(kept))?;
        let issuers = all.with_keyless(faults.iter().filter(|fault| !fault.keeps).map(|fault| &fault.issuer));
        Ok(Read { issuers, known, faults })
    }

    /// Goes by what was read from now on, and says so. Answers whether others are believed than before, or other keys.
    pub(super) fn set(&self, read: Read, log: &audit::Log) -> bool {
        let Read { issuers, known, faults } = read;
        for (issuer, left_out) in &known {
            say_known(issuer, left_out);
        }
        for Fault { issuer, error, keeps, .. } in &faults {
            let error = chain(error);
            match keeps {
                true => tracing::error!(%issuer, %error, "the keys of an issuer cannot be read; those of before stay"),
                false => tracing::error!(%issuer, %error, "there are no keys of an issuer: its tokens are refused"),
            }
            record(
                log,
                "issuer_keys_refused",
                format!("{issuer}: {}", if *keeps { "the old ones stay" } else { "none" }),
            );
        }
        self.problems.send_replace(faults.iter().map(Fault::problem).collect());
        let issuers = Arc::new(issuers);
        self.believed.send_if_modified(|present| {
            let is_new = **present != *issuers;
            *present = issuers;
            is_new
        })
    }
}

impl Fault {
    fn problem(&self) -> String {
        let Self { issuer, jwks, error, keeps } = self;
        let what = match keeps {
            true => "could not be read again, and those of before stay",
            false => "are not known, and none of its tokens is taken",
        };
        format!("the keys of the issuer {issuer} {what}: {}; mend {}, and send SIGHUP", chain(error), jwks.display())
    }
}

/// Whether the keys of all of these can be read.
///
/// # Errors
/// The first file that is not as it must be.
pub(crate) fn check(issuers: &[PinnedIssuer]) -> Result<(), Error> {
    for pinned in issuers {
        let (issuer, left_out) = read_one(pinned)?;
        say_known(&issuer, &left_out);
    }
    Ok(())
}

fn read_one(PinnedIssuer { name, jwks }: &PinnedIssuer) -> Result<(Issuer, Vec<LeftOut>), Error> {
    let failed = |source| Error::File { issuer: name.clone(), path: jwks.clone(), source };
    let file = open(jwks).map_err(failed)?;
    files::check_trusted(jwks, &file).map_err(|source| Error::Untrusted { issuer: name.clone(), source })?;
    let bytes = read_bounded(file, u64::try_from(JWKS_BYTES_MAX).unwrap_or(u64::MAX)).map_err(failed)?;
    let issuer = Issuer::read(name.clone(), &bytes);
    issuer.map_err(|source| Error::Keys { issuer: name.clone(), path: jwks.clone(), source })
}

fn say_known(issuer: &Issuer, left_out: &[LeftOut]) {
    let name = issuer.name();
    for key in left_out {
        // Sets have keys for encryption, too.
        match &key.reason {
            Reason::Use => tracing::debug!(issuer = %name, key = key.index, "a key is not for signatures"),
            reason => tracing::warn!(issuer = %name, key = key.index, %reason, "a key of an issuer is not used"),
        }
    }
    tracing::info!(issuer = %name, keys = issuer.keys(), "the tokens of an issuer are believed");
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
        sys::{Clock, scratch::Scratch},
    };

    fn set(key: &Key) -> String {
        format!(r#"{{"keys":[{}]}}"#, key.jwk().to_json())
    }

    fn pinned(name: &str, jwks: PathBuf) -> PinnedIssuer {
        PinnedIssuer { name: IssuerName::parse(name).unwrap(), jwks }
    }

    /// A log of the audit for a test.
    fn log(home: &Scratch) -> audit::Log {
        let clock = Clock::system();
        audit::Log::in_test(&home.path().join("audit"), audit::Limits::default(), clock).unwrap()
    }

    #[test]
    fn a_rotated_set_is_taken_and_a_bad_one_is_none() {
        let home = Scratch::new();
        let log = log(&home);
        let (one, other) = (Key::new("", Algorithm::Es256), Key::new("", Algorithm::Es384));
        let issuers = [pinned("https://a.test", home.path().join("a.json"))];
        fs::write(&issuers[0].jwks, set(&one)).unwrap();
        let believed = Pinned::open(&issuers, &log).unwrap();
        let take = || believed.set(believed.read(&issuers).unwrap(), &log);
        let problems = || believed.problems().borrow().concat();
        let mut watched = believed.watched();
        let first = watched.borrow_and_update().clone();
        assert!(first.get("https://a.test").is_some());
        assert!(!take() && !watched.has_changed().unwrap(), "the same again is no change");
        fs::write(&issuers[0].jwks, set(&other)).unwrap();
        let read = believed.read(&issuers).unwrap();
        assert!(!watched.has_changed().unwrap(), "what is only read is not believed");
        believed.set(read, &log);
        assert!(watched.has_changed().unwrap() && problems().is_empty());
        let second = watched.borrow_and_update().clone();
        assert_ne!(first, second);
        fs::write(&issuers[0].jwks, "{}").unwrap();
        assert!(matches!(check(&issuers), Err(Error::Keys { source: JwksError::NoKeys, .. })));
        assert!(!take() && **watched.borrow() == *second);
        assert!(problems().contains("https://a.test could not be read again, and those of before stay"));
        fs::write(&issuers[0].jwks, set(&one)).unwrap();
        assert!(take() && problems().is_empty() && **watched.borrow() == *first);
        let none = believed.read(&[]).unwrap();
        assert!(believed.set(none, &log) && watched.borrow().is_empty());
    }

    /// Nobody else goes without for it.
    #[test]
    fn an_issuer_whose_file_is_bad_at_the_start_is_there_without_keys() {
        let home = Scratch::new();
        let log = log(&home);
        let all = ["a", "b"].map(|name| pinned(&format!("https://{name}.test"), home.path().join(name)));
        fs::write(&all[1].jwks, set(&Key::new("", Algorithm::Es256))).unwrap();
        for bad in [None, Some(""), Some("{}"), Some("{\"keys\":[")] {
            if let Some(bad) = bad {
                fs::write(&all[0].jwks, bad).unwrap();
            }
            let believed = Pinned::open(&all, &log).unwrap();
            let issuers = believed.watched().borrow().clone();
            assert!(issuers.get("https://a.test").is_none() && issuers.is_keyless("https://a.test"), "{bad:?}");
            assert!(issuers.get("https://b.test").is_some() && !issuers.is_keyless("https://b.test"), "{bad:?}");
            let problems = believed.problems().borrow().clone();
            assert_eq!(problems.len(), 1, "{bad:?}");
            assert!(problems.concat().contains("https://a.test are not known, and none of its tokens is taken"));
            // And is like any other once it is mended.
            fs::write(&all[0].jwks, set(&Key::new("", Algorithm::Es256))).unwrap();
            assert!(believed.set(believed.read(&all).unwrap(), &log));
            let issuers = believed.watched().borrow().clone();
            assert!(issuers.get("https://a.test").is_some() && !issuers.is_keyless("https://a.test"));
            assert!(believed.problems().borrow().is_empty());
        }
    }

    #[test]
    fn a_file_that_others_write_or_that_is_none_is_refused() {
        let home = Scratch::new();
        let path = home.path().join("a.json");
        let why = || check(&[pinned("https://a.test", path.clone())]).unwrap_err().source().unwrap().to_string();
        assert!(why().contains("No such file"), "{}", why());
        fs::write(&path, set(&Key::new("", Algorithm::Es256))).unwrap();
        assert!(check(&[pinned("https://a.test", path.clone())]).is_ok());
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
        assert!(matches!(Pinned::open(&twice, &log(&home)), Err(Error::Issuers(IssuersError::Twice(_)))));
    }
}

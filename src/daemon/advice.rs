//! What to do about a daemon that does not start. The rooms say what is wrong; what helps is said here, to the person
//! who started it.

use std::{error::Error, io, path::Path};

use super::{pinned, sockets};
use crate::{
    audit, authority, store,
    sys::{activation, files, listener},
};

/// What to do about it, where that is known.
pub(crate) fn advice(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(of)
}

/// The same of one cause.
pub(crate) fn advice_of(cause: &(dyn Error + 'static)) -> Option<String> {
    of(cause)
}

fn of(cause: &(dyn Error + 'static)) -> Option<String> {
    None.or_else(|| cause.downcast_ref().and_then(of_store))
        .or_else(|| cause.downcast_ref().and_then(of_authority))
        .or_else(|| cause.downcast_ref().and_then(of_audit))
        .or_else(|| cause.downcast_ref().and_then(of_files))
        .or_else(|| cause.downcast_ref().and_then(of_listener))
        .or_else(|| cause.downcast_ref().and_then(of_passed))
        .or_else(|| cause.downcast_ref().and_then(of_activation))
        .or_else(|| cause.downcast_ref().and_then(of_pinned))
        .or_else(|| cause.downcast_ref().and_then(of_system))
}

fn of_store(error: &store::Error) -> Option<String> {
    use store::Error as E;
    Some(match error {
        E::Locked { path } => format!("end what has it open (`fuser {}`); a daemon may be running", path.display()),
        E::Corrupt { .. } | E::NoTrustDomain { .. } => {
            "restore the database from a backup, together with the keys beside it".to_owned()
        }
        E::NotOurs { path } => format!("set another state_dir, or move {} away", path.display()),
        E::Newer { .. } => "run the release that wrote it, or a later one".to_owned(),
        E::MissingBesideKeys { dir, .. } => format!(
            "restore the database from a backup; or move {} and the folder audit beside it away, and begin with a new authority that nobody trusts yet",
            dir.display()
        ),
        E::MissingBesideLog { log, .. } => format!(
            "restore the database and its keys from a backup; or move {} away, and begin with a new authority that nobody trusts yet",
            log.display()
        ),
        E::KeysMissingBesideDatabase { path, .. } => format!(
            "restore the keys from a backup; or move {} away, and begin with a new authority that nobody trusts yet",
            path.display()
        ),
        E::ForeignTrustDomain { found, .. } => {
            format!("set trust_domain to {found} again, or give the new trust domain a state_dir of its own")
        }
        E::Full => SPACE.to_owned(),
        E::Io(_) => "see that the disk of the state folder works and is not read-only".to_owned(),
        _ => return None,
    })
}

fn of_authority(error: &authority::Error) -> Option<String> {
    use authority::Error as E;
    Some(match error {
        // Transparent, so its cause alone would be found.
        E::File(error) => return of_files(error),
        E::LayoutChanged { found, .. } => {
            format!("set authority.layout to the present one, {found}, or give the new layout a state_dir of its own")
        }
        E::UnknownKeys { folder, .. } => {
            format!("restore the database that they belong to, or move the keys out of {}", folder.display())
        }
        E::WrongKey { .. } | E::Row(_) | E::Loaded { .. } | E::Unchained { .. } => {
            "restore database and keys from the same backup".to_owned()
        }
        E::Restless => "look at the host's clock, and at the lifetimes in the configuration".to_owned(),
        E::NoRoot | E::NoSigner | E::Expiring | E::Early => "look at the host's clock".to_owned(),
        _ => return None,
    })
}

fn of_audit(error: &audit::Error) -> Option<String> {
    use audit::Error as E;
    Some(match error {
        E::Full { .. } => SPACE.to_owned(),
        E::InUse { .. } => OTHER_DAEMON.to_owned(),
        E::Key { path } => format!(
            "restore {} from a backup; or move it away, and the next start makes another: then the log counts as replaced",
            path.display()
        ),
        E::Damaged { path } => format!("move {} away to begin a new log", folder(path)),
        _ => return None,
    })
}

fn of_pinned(error: &pinned::Error) -> Option<String> {
    use pinned::Error as E;
    let (E::File { path, .. } | E::Keys { path, .. }) = error else { return None };
    let path = path.display();
    Some(format!(
        "mend {path}: the public keys of the issuer as its `jwks_uri` has them, which `dayfly daemon --check` reads"
    ))
}

fn of_files(error: &files::Error) -> Option<String> {
    use files::Error as E;
    Some(match error {
        E::LooseMode { path, want, .. } => {
            format!("chmod {want:04o} {}, and think of who could read it meanwhile", path.display())
        }
        E::ForeignOwner { path, owner, uid } => {
            format!("run the daemon as uid {owner}, or chown {uid} {}", path.display())
        }
        E::Writable { path, .. } => format!("chmod go-w {}, and see that it says what it should", path.display()),
        E::OpenFolder { path, .. } => {
            format!("chmod go-w {}, or choose a folder of the daemon's own", path.display())
        }
        E::WrongKind { path, .. } => {
            format!("see what {} is; restore it from a backup, or move it away", path.display())
        }
        E::ReadOnly { path } => format!(
            "mount it writable again (a failing disk is made read-only: see `dmesg`), or copy {} to a disk that works and \
             set state_dir; nothing is issued without an audit record, so there is no start without a place for it",
            path.display()
        ),
        E::TooLarge { .. } => "restore it from a backup".to_owned(),
        E::InUse { .. } => OTHER_DAEMON.to_owned(),
        E::Io { source, .. } => return of_system(source),
    })
}

fn of_listener(error: &listener::Error) -> Option<String> {
    use listener::Error as E;
    Some(match error {
        E::TooLong { .. } => "choose a shorter path: with --home, or as workload_sockets and admin_socket".to_owned(),
        E::InUse { .. } => {
            "stop the daemon that serves it, or choose other paths: with --home, or as workload_sockets and admin_socket"
                .to_owned()
        }
        E::NotASocket { path } => format!("move {} away if nobody needs it, or choose another path", path.display()),
        E::Folder { source, .. } => return of_files(source),
        E::Passed { path, .. } => {
            format!("restart the unit that passes it, so that it makes {} anew", path.display())
        }
        E::Wide { most, .. } => format!("set SocketMode={most:04o} in the unit that passes it, and restart that unit"),
        E::Io { source, .. } => return of_system(source),
    })
}

fn of_passed(error: &sockets::Error) -> Option<String> {
    use sockets::Error as E;
    Some(match error {
        E::Kind { .. } => "pass listening sockets only (ListenStream=, and Accept=no)".to_owned(),
        E::Unknown { .. } => {
            "let ListenStream= and workload_sockets, admin_socket or ops.address name the same places".to_owned()
        }
        E::Role { role, .. } => format!("set FileDescriptorName={role} for that one, or leave the names out"),
    })
}

fn of_activation(error: &activation::Error) -> Option<String> {
    use activation::Error as E;
    Some(match error {
        E::NoNumber { .. } | E::Names { .. } | E::NotOpen { .. } => {
            "unset LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES, unless it is systemd that sets them".to_owned()
        }
        E::TooMany { .. } => "let the unit pass the sockets of this configuration only".to_owned(),
        E::Threads => "start it as a process of its own".to_owned(),
        E::Io(source) => return of_system(source),
    })
}

fn of_system(error: &io::Error) -> Option<String> {
    Some(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SPACE.to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "set state_dir and the sockets to places that can be written".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "run it as the user whose files these are, or give it a folder of its own with --home".to_owned()
        }
        io::ErrorKind::AddrInUse => "stop what listens there, or set another ops.address".to_owned(),
        io::ErrorKind::AddrNotAvailable => "set ops.address to an address that this host has".to_owned(),
        // A link is not followed where a private file must be.
        _ if error.raw_os_error() == Some(libc::ELOOP) => "put the file itself in the place of the link".to_owned(),
        _ => return None,
    })
}

fn folder(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}

const SPACE: &str = "make space on the disk of the state folder";
const OTHER_DAEMON: &str = "stop the daemon that runs on this state, or give this one a state of its own with --home";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use anyhow::Context as _;

    use super::*;
    use crate::{
        oauth::issuer::IssuerName,
        spiffe::{TrustDomain, x509},
        sys::inherited,
    };

    #[test]
    fn every_fault_of_a_start_has_its_advice() {
        let path = || "/state/dayfly.db".into();
        let configured = TrustDomain::parse("new.example").unwrap();
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let table: Vec<(anyhow::Error, &str)> = vec![
            (store::Error::Locked { path: path() }.into(), "fuser /state/dayfly.db"),
            (store::Error::Corrupt { path: path(), what: "x".into() }.into(), "restore the database from a backup"),
            (store::Error::NotOurs { path: path() }.into(), "move /state/dayfly.db away"),
            (store::Error::Newer { path: path(), found: 9, known: 1 }.into(), "run the release that wrote it"),
            (
                store::Error::MissingBesideKeys { path: path(), dir: "/state/keys".into(), keys: 2 }.into(),
                "restore the database from a backup; or move /state/keys and the folder audit",
            ),
            (
                store::Error::MissingBesideLog { path: path(), keys: "/state/keys".into(), log: "/state/audit".into() }
                    .into(),
                "restore the database and its keys from a backup; or move /state/audit away",
            ),
            (
                store::Error::KeysMissingBesideDatabase { path: path(), missing: Vec::new() }.into(),
                "restore the keys from a backup; or move /state/dayfly.db away",
            ),
            (
                store::Error::ForeignTrustDomain { path: path(), found: "old.example".into(), configured }.into(),
                "set trust_domain to old.example again",
            ),
            (store::Error::Full.into(), "make space"),
            (
                store::Error::from(files::Error::LooseMode { path: "/state".into(), mode: 0o777, want: 0o700 }).into(),
                "chmod 0700 /state",
            ),
            (
                authority::Error::from(files::Error::LooseMode { path: "/k".into(), mode: 0o640, want: 0o600 }).into(),
                "chmod 0600 /k",
            ),
            (authority::Error::from(store::Error::Full).into(), "make space"),
            (authority::Error::UnknownKeys { folder: "/state/keys".into(), count: 3 }.into(), "restore the database"),
            (
                authority::Error::Loaded { id: "ab".into(), source: x509::Error::Signature }.into(),
                "from the same backup",
            ),
            (authority::Error::WrongKey { path: "/k".into() }.into(), "from the same backup"),
            (files::Error::ReadOnly { path: "/state".into() }.into(), "mount it writable again"),
            (files::Error::InUse { path: "/state/lock".into() }.into(), "stop the daemon"),
            (files::Error::ForeignOwner { path: "/k".into(), owner: 7, uid: 8 }.into(), "as uid 7, or chown 8 /k"),
            (
                pinned::Error::Untrusted {
                    issuer: IssuerName::parse("https://a.test").unwrap(),
                    source: files::Error::Writable { path: "/j".into(), mode: 0o664, group: 7 },
                }
                .into(),
                "chmod go-w /j",
            ),
            (audit::Error::Full { dir: "/state/audit".into() }.into(), "make space"),
            (audit::Error::Key { path: "/state/keys/audit.key".into() }.into(), "restore /state/keys/audit.key"),
            (audit::Error::Damaged { path: "/state/audit/1".into() }.into(), "move /state/audit away"),
            (listener::Error::TooLong { path: "/s".into(), length: 200 }.into(), "choose a shorter path"),
            (listener::Error::InUse { path: "/s".into() }.into(), "stop the daemon that serves it"),
            (listener::Error::NotASocket { path: "/s".into() }.into(), "move /s away"),
            (
                listener::Error::Folder {
                    path: "/run/x/s".into(),
                    source: files::Error::OpenFolder { path: "/run/x".into(), mode: 0o777 },
                }
                .into(),
                "chmod go-w /run/x",
            ),
            (
                listener::Error::Passed {
                    path: "/s".into(),
                    source: inherited::Error::OtherFile { path: "/s".into() },
                }
                .into(),
                "restart the unit that passes it",
            ),
            (listener::Error::Wide { path: "/s".into(), mode: 0o666, most: 0o600 }.into(), "set SocketMode=0600"),
            (files::Error::ForeignOwner { path: "/home/x".into(), owner: 7, uid: 0 }.into(), "or chown 0 /home/x"),
            (io(io::ErrorKind::PermissionDenied).into(), "as the user whose files these are"),
            (io(io::ErrorKind::AddrInUse).into(), "set another ops.address"),
        ];
        for (error, wanted) in table {
            let words = format!("{error:#}");
            let advice = advice(&error).unwrap();
            assert!(advice.contains(wanted), "{words}: {advice}");
            // However deep it lies.
            assert_eq!(super::advice(&Err::<(), _>(error).context("above").unwrap_err()), Some(advice));
        }
        assert_eq!(advice(&anyhow::anyhow!("nobody knows")), None);
    }
}

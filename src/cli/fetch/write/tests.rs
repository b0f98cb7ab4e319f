//! Whole versions, one after the other, however often.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    os::unix::fs::{MetadataExt as _, symlink},
    thread,
    time::Duration,
};

use crate::{
    cli::fetch::watch::{Put, deliver},
    sys::scratch::Scratch,
};

use super::*;

pub(super) const MODES: Modes = Modes { secret_mode: 0o600 };

pub(super) fn pair(text: &str) -> Files {
    Files::new(String::new()).public("svid.pem", text).secret("svid_key.pem", text)
}

pub(super) fn versions(parent: &Path) -> usize {
    fs::read_dir(parent).unwrap().flatten().filter(|entry| entry.path().is_dir() && !entry.path().is_symlink()).count()
}

#[test]
fn the_link_names_a_whole_version_with_a_private_key() {
    let folder = Scratch::new();
    let dir = folder.path().join("certs");
    let target = Target::new(&dir).unwrap();
    let files = pair("one").public("federated/a.pem", "a").public("federated/b.pem", "b");
    for secret_mode in [0o600, 0o640] {
        target.write(&files, Modes { secret_mode }).unwrap();
        assert!(dir.is_symlink());
        for (name, mode) in [("svid.pem", 0o644), ("svid_key.pem", secret_mode), ("federated/b.pem", 0o644)] {
            assert_eq!(fs::metadata(dir.join(name)).unwrap().mode() & 0o777, mode, "{name}");
        }
    }
    assert_eq!(fs::read_to_string(dir.join("federated/a.pem")).unwrap(), "a");
}

#[test]
fn the_version_before_stays_and_older_ones_go() {
    let folder = Scratch::new();
    let target = Target::new(&folder.path().join("certs")).unwrap();
    let mut held = Vec::new();
    for key in ["one", "two", "six", "ten"] {
        target.write(&pair(key), MODES).unwrap();
        held.push(fs::canonicalize(target.path()).unwrap());
    }
    assert_eq!(versions(folder.path()), 2);
    assert!(held.iter().rev().take(2).all(|version| version.join("svid.pem").exists()));
}

/// What another user may do in a folder where both write: a link to a folder of his, whose group the key would have.
#[test]
fn what_is_written_goes_into_the_folder_that_was_made_whatever_has_its_name() {
    let folder = Scratch::new();
    let target = Target::new(&folder.path().join("certs")).unwrap();
    let version = target.turn(1).unwrap().make(&target.parent, &target.prefix).unwrap();
    let [aside, theirs] = ["aside", "theirs"].map(|name| folder.path().join(name));
    fs::rename(&version.path, &aside).unwrap();
    fs::create_dir(&theirs).unwrap();
    symlink("theirs", &version.path).unwrap();
    fill(&version, &pair("one").public("federated/a.pem", "a"), MODES).unwrap();
    target.swap(&version).unwrap();
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0);
    for (name, text) in [("svid.pem", "one"), ("svid_key.pem", "one"), ("federated/a.pem", "a")] {
        assert_eq!(fs::read_to_string(aside.join(name)).unwrap(), text);
    }
}

#[test]
fn an_empty_folder_makes_place_and_anything_else_is_left_alone() {
    let folder = Scratch::new();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    Target::new(&empty).unwrap().write(&pair("one"), MODES).unwrap();
    assert!(empty.is_symlink());

    let full = folder.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "").unwrap();
    let link = folder.path().join("link");
    symlink("full", &link).unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    for path in [full, link, plain] {
        assert_eq!(Target::new(&path).err().map(|failure| failure.exit()), Some(Exit::Conflict), "{}", path.display());
    }
}

#[test]
fn a_slash_at_the_end_names_the_same_link() {
    let folder = Scratch::new();
    for (dir, key) in [("certs/", "one"), ("certs", "two"), ("certs/", "six")] {
        Target::new(&folder.path().join(dir)).unwrap().write(&pair(key), MODES).unwrap();
    }
    assert!(folder.path().join("certs").is_symlink());
    assert_eq!(versions(folder.path()), 2);
}

#[test]
fn another_kind_does_not_take_the_place_of_what_is_there() {
    let folder = Scratch::new();
    let target = Target::new(&folder.path().join("certs")).unwrap();
    target.write(&pair("one"), MODES).unwrap();
    let token = |name: &str| Files::new(String::new()).secret(name, "token");
    for other in [token("jwt_svid.token"), token("wit_svid.token"), token("bundles/a.pem"), token("jwt_bundle.json")] {
        assert_eq!(target.write(&other, MODES).unwrap_err().exit(), Exit::Conflict);
    }
    assert_eq!(fs::read_to_string(target.path().join("svid.pem")).unwrap(), "one");
    let target = Target::new(&folder.path().join("token")).unwrap();
    for same in ["jwt_svid.token", "jwt_svid.0.token", "jwt_svid.token"] {
        target.write(&token(same), MODES).unwrap();
    }
}

#[test]
fn what_others_put_beside_the_link_neither_disturbs_nor_goes() {
    let folder = Scratch::new();
    let planted: Vec<_> = ["1", "2", "18446744073709551615", "link", "0123456789abcdef"]
        .map(|name| folder.path().join(format!(".certs.dayfly-{name}")).join("precious"))
        .into();
    for path in &planted {
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let target = Target::new(&folder.path().join("certs")).unwrap();
    for key in ["one", "two", "six", "ten"] {
        target.write(&pair(key), MODES).unwrap();
    }
    assert!(target.write(&pair("six").public("svid.pem", "twice"), MODES).is_err());
    assert_eq!(fs::read_to_string(target.path().join("svid.pem")).unwrap(), "ten");
    assert_eq!(planted.iter().filter(|path| path.exists()).count(), planted.len());
    assert_eq!(versions(folder.path()), planted.len() + 2);
}

#[test]
fn a_failed_write_leaves_the_version_before() {
    let folder = Scratch::new();
    let target = Target::new(&folder.path().join("certs")).unwrap();
    target.write(&pair("one"), MODES).unwrap();
    let before = fs::read_link(target.path()).unwrap();
    // Its last file cannot be written; then the new link cannot be prepared.
    for obstacle in ["svid.pem", ".link"] {
        assert!(target.write(&pair("two").public(obstacle, ""), MODES).is_err());
        assert_eq!(fs::read_link(target.path()).unwrap(), before);
        assert_eq!(versions(folder.path()), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_writes_when_the_folder_can_be_written_again() {
    let folder = Scratch::new();
    let target = Target::new(&folder.path().join("certs")).unwrap();
    target.write(&pair("one"), MODES).unwrap();
    let lock = folder.path().join(".certs.dayfly-lock");
    let let_others = |mode: u32| fs::set_permissions(&lock, fs::Permissions::from_mode(mode)).unwrap();
    let_others(0o644);
    let (sender, updates) = tokio::sync::mpsc::channel(1);
    let put = async |key: &&str| {
        Ok(match target.write(&pair(key), MODES) {
            Ok(()) => Put::Done,
            Err(failure) => Put::Again(failure),
        })
    };
    let mut warnings = Vec::new();
    let send = async {
        for key in ["two", "six"] {
            sender.send(key).await.unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let_others(0o600);
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(sender);
    };
    let warn = |failure: &Failure| warnings.push(failure.words().to_owned());
    tokio::join!(deliver(updates, put, warn), send).0.unwrap();
    assert_eq!(fs::read_to_string(target.path().join("svid_key.pem")).unwrap(), "six");
    assert!(
        warnings.iter().all(|words| words.contains("not this user's alone")) && warnings.len() == 1,
        "{warnings:?}"
    );
}

#[test]
fn a_reader_never_sees_a_pair_that_does_not_match() {
    let folder = Scratch::new();
    let target = Target::new(&folder.path().join("certs")).unwrap();
    target.write(&pair("00"), MODES).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..40_u8 {
                target.write(&pair(&format!("{round:02}")), MODES).unwrap();
            }
        });
        while !writer.is_finished() {
            // The link may be replaced while it is followed.
            let Ok(now) = fs::canonicalize(target.path()) else { continue };
            let (Ok(leaf), Ok(key)) = (fs::read(now.join("svid.pem")), fs::read(now.join("svid_key.pem"))) else {
                continue;
            };
            assert_eq!(leaf, key);
        }
    });
}

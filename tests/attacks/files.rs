//! Programs that go by another's name: by argv, by a path, by a file that was deleted, replaced or rewritten.

use std::{
    ffi::OsString,
    fs::{self, File, FileTimes},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::ensure;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::{
    naive::Switch,
    scene::{Actor, Outcome, Scene},
    table::{Attack, Given, Need, PLAIN},
    userns::asks_as_a_client,
};

const DELETED: &[&str] = &["image_deleted"];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "mounted-over-by-root",
        what: "another program mounted over the trusted one's path, in a mount namespace that root made",
        needs: &[Need::Root],
        reasons: &["image_path_differs"],
        run: mounted_over_by_root,
        ..PLAIN
    },
    Attack {
        name: "name-in-argv",
        what: "the trusted program's path as first argument, and its name as thread name",
        control: &[Switch::Argv],
        reasons: &["no_entry"],
        run: |scene| named(scene, &[&scene.programs.trusted.to_string_lossy()]),
        ..PLAIN
    },
    Attack {
        name: "name-as-script",
        what: "a script at the trusted program's path, which an own program interprets",
        control: &[Switch::Argv],
        reasons: &["no_entry"],
        run: scripted,
        ..PLAIN
    },
    Attack {
        name: "deleted-name",
        what: "an own program at the trusted one's path, deleted before the trusted one comes back",
        control: &[Switch::Undelete],
        reasons: DELETED,
        run: deleted,
        ..PLAIN
    },
    Attack {
        name: "deleted-in-name",
        what: "an own program whose file is called `trusted (deleted)`",
        control: &[Switch::Undelete],
        reasons: DELETED,
        run: deleted_in_name,
        ..PLAIN
    },
    Attack {
        name: "replaced-file",
        what: "the trusted program put in the place of the own one that runs; the entry names its hash",
        grant: Given::Hash,
        control: &[Switch::HashByPath, Switch::Undelete],
        reasons: &["no_entry"],
        run: replaced,
        ..PLAIN
    },
    Attack {
        name: "hash-cache",
        what: "a file that was hashed is rewritten, with size and mtime as before",
        grant: Given::Hash,
        control: &[Switch::HashByTime],
        reasons: &["no_entry"],
        run: hash_cache,
        ..PLAIN
    },
];

fn mounted_over_by_root(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let (own, trusted) = (&scene.programs.attacker, &scene.programs.trusted);
    let own_mounts = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        mount(Some(own), trusted, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(())
    };
    let liar = Actor::start(trusted, &[&trusted.to_string_lossy()], scene.users.owner, own_mounts)?;
    asks_as_a_client(scene, &liar)
}

fn named(scene: &Scene<'_>, words: &[&str]) -> anyhow::Result<Outcome> {
    let liar = Actor::start(&scene.programs.attacker, words, scene.users.owner, || Ok(()))?;
    liar.does(&[b"take the name", b"trusted"])?;
    asks_as_a_client(scene, &liar)
}

fn scripted(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let (trusted, aside) = (&scene.programs.trusted, scene.folder.join("aside"));
    fs::rename(trusted, &aside)?;
    let liar = script(trusted, &scene.programs.attacker).and_then(|()| scene.actor(trusted, scene.users.owner));
    fs::rename(&aside, trusted)?;
    let liar = liar?;
    let words = fs::read(format!("/proc/{}/cmdline", liar.pid))?;
    let second = words.split(|byte| *byte == 0).nth(1);
    ensure!(second == Some(trusted.as_os_str().as_bytes()), "the kernel did not start it as a script");
    asks_as_a_client(scene, &liar)
}

fn deleted(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let (trusted, aside) = (&scene.programs.trusted, scene.folder.join("aside"));
    fs::rename(trusted, &aside)?;
    let liar = copy(&scene.programs.attacker, trusted).and_then(|()| scene.actor(trusted, scene.users.owner));
    fs::rename(&aside, trusted)?;
    asks_as_a_client(scene, &liar?)
}

fn deleted_in_name(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let mut path = OsString::from(&scene.programs.trusted);
    path.push(" (deleted)");
    let path = PathBuf::from(path);
    copy(&scene.programs.attacker, &path)?;
    let liar = scene.actor(&path, scene.users.owner)?;
    let outcome = asks_as_a_client(scene, &liar);
    fs::remove_file(&path)?;
    outcome
}

fn replaced(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let (own, other) = (scene.folder.join("program"), scene.folder.join("other"));
    copy(&scene.programs.attacker, &own)?;
    copy(&scene.programs.trusted, &other)?;
    let liar = scene.actor(&own, scene.users.owner)?;
    fs::rename(&other, &own)?;
    asks_as_a_client(scene, &liar)
}

fn hash_cache(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let path = scene.folder.join("program");
    copy(&scene.programs.trusted, &path)?;
    let owner = scene.actor(&path, scene.users.owner)?;
    ensure!(asks_as_a_client(scene, &owner)? == Outcome::Answered, "the right hash was not served");
    owner.exits()?;
    let before = fs::metadata(&path)?;
    fs::write(&path, fs::read(&scene.programs.attacker)?)?;
    File::options().write(true).open(&path)?.set_times(FileTimes::new().set_modified(before.modified()?))?;
    let after = fs::metadata(&path)?;
    ensure!(after.len() == before.len() && after.modified()? == before.modified()?, "the file shows that it changed");
    let liar = scene.actor(&path, scene.users.owner)?;
    asks_as_a_client(scene, &liar)
}

/// A script that this program interprets.
pub fn script(path: &Path, interpreter: &Path) -> anyhow::Result<()> {
    fs::write(path, format!("#!{}\n", interpreter.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

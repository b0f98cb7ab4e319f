//! Ids that show one thing here and another there.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
};

use crate::{
    naive::Switch,
    scene::{Actor, Outcome, Scene},
    table::{Attack, Given, Need, PLAIN},
    userns::asks_as_a_client,
    wire::{opening, request},
};

const MIXED: &[&str] = &["mixed_ids"];
const ROOT: &[Need] = &[Need::Root];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "set-uid",
        what: "a set-uid program of the owner, run by a stranger, asks",
        needs: ROOT,
        grant: Given::Uid,
        reasons: MIXED,
        run: |scene| asks_as_a_client(scene, &set_uid(scene)?),
        ..PLAIN
    },
    Attack {
        name: "set-uid-dropped",
        what: "the same connects as the owner and asks as the stranger",
        needs: ROOT,
        grant: Given::Uid,
        reasons: MIXED,
        run: dropped,
        ..PLAIN
    },
    Attack {
        name: "ids-of-a-thread",
        what: "one thread of it takes the owner's ids, connects and asks",
        needs: ROOT,
        grant: Given::Uid,
        reasons: MIXED,
        run: |scene| in_a_thread(scene, "worker"),
        ..PLAIN
    },
    Attack {
        name: "ids-of-the-leader",
        what: "its leader alone takes the owner's ids; another thread connects and asks",
        needs: ROOT,
        grant: Given::Uid,
        control: &[Switch::UidOfStatus],
        reasons: MIXED,
        run: |scene| in_a_thread(scene, "leader"),
        ..PLAIN
    },
    Attack {
        name: "root-of-a-namespace",
        what: "uid 0 of a user namespace, as uid 0",
        needs: &[Need::Root, Need::UserNamespaces],
        grant: Given::Root,
        control: &[Switch::UidOfFile],
        reasons: &["no_entry"],
        run: root_of_a_namespace,
        ..PLAIN
    },
];

/// A stranger's process that runs a set-uid program of the owner.
fn set_uid(scene: &Scene<'_>) -> anyhow::Result<Actor> {
    let path = scene.folder.join("set-uid");
    fs::copy(&scene.programs.attacker, &path)?;
    chown(&path, Some(scene.users.owner), Some(scene.users.owner))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755))?;
    let actor = scene.actor(&path, scene.users.stranger)?;
    let status = fs::read_to_string(format!("/proc/{}/status", actor.pid))?;
    let ids = format!("Uid:\t{}\t{}", scene.users.stranger, scene.users.owner);
    anyhow::ensure!(status.contains(&ids), "set-uid programs are not run here");
    Ok(actor)
}

fn dropped(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let actor = set_uid(scene)?;
    actor.connect(scene)?;
    let uid = scene.users.stranger.to_string();
    actor.does(&[b"become", uid.as_bytes(), uid.as_bytes(), uid.as_bytes()])?;
    Ok(if actor.fetches(1, 1)? { Outcome::Answered } else { Outcome::Refused(Some(actor.pid)) })
}

fn in_a_thread(scene: &Scene<'_>, who: &str) -> anyhow::Result<Outcome> {
    let actor = set_uid(scene)?;
    let uid = scene.users.owner.to_string();
    let uid = uid.as_bytes();
    let ask = [opening(), request(1)].concat();
    actor.does(&[b"connect in a thread", who.as_bytes(), uid, uid, uid, scene.socket(), &ask])?;
    scene.theft(&actor, 1, Some(actor.pid))
}

fn root_of_a_namespace(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let actor = scene.actor(&scene.programs.attacker, scene.users.stranger)?;
    actor.does(&[b"be root of a user namespace", b"0"])?;
    actor.does(&[b"become", b"0", b"0", b"0"])?;
    actor.does(&[b"be undumpable"])?;
    asks_as_a_client(scene, &actor)
}

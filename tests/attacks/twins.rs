//! Honest callers that do what attackers do too: each must be served, at the first try.

use std::fs;

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::{
    files::script,
    naive::{CAREFUL, Switch},
    scene::{Actor, Outcome, Scene},
    table::{Attack, Given, Kind, Need, PLAIN},
    userns::namespace,
    wire::{opening, request},
};

const TWIN: Attack = Attack { kind: Kind::Twin, control: &CAREFUL, ..PLAIN };
const ROOT: &[Need] = &[Need::Root];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "twin-namespaces",
        what: "a caller in a user and a pid namespace of its own, known by its uid",
        needs: &[Need::UserNamespaces],
        grant: Given::Uid,
        control: &[Switch::Sender],
        run: |scene| {
            let (_maker, inside) = namespace(scene)?;
            is_served(scene, &inside)
        },
        ..TWIN
    },
    Attack {
        name: "twin-private-mounts",
        what: "a service with mounts of its own (PrivateTmp=, ProtectSystem=)",
        needs: ROOT,
        run: private_mounts,
        ..TWIN
    },
    Attack {
        name: "twin-private-network",
        what: "a service with a network of its own (PrivateNetwork=)",
        needs: ROOT,
        run: |scene| is_served(scene, &trusted_after(scene, || Ok(unshare(CloneFlags::CLONE_NEWNET)?))?),
        ..TWIN
    },
    Attack { name: "twin-busy", what: "200 requests at once", run: busy, ..TWIN },
    Attack {
        name: "twin-thread",
        what: "one thread asks, another answers the PING",
        run: |scene| asks_by(scene, b"write in a thread"),
        ..TWIN
    },
    Attack {
        name: "twin-piecemeal",
        what: "the request comes byte by byte",
        run: |scene| asks_by(scene, b"write piecemeal"),
        ..TWIN
    },
    Attack {
        name: "twin-forked-first",
        what: "a child that connects after the fork",
        run: |scene| {
            let parent = scene.trusted()?;
            is_served(scene, &parent.forks()?)
        },
        ..TWIN
    },
    Attack {
        name: "twin-script",
        what: "a script whose interpreter is the registered program",
        run: |scene| {
            let path = scene.folder.join("script");
            script(&path, &scene.programs.trusted)?;
            is_served(scene, &scene.actor(&path, scene.users.owner)?)
        },
        ..TWIN
    },
    Attack {
        name: "twin-exec-again",
        what: "a service that execs itself and keeps its connection",
        run: exec_again,
        ..TWIN
    },
    Attack {
        name: "twin-upgraded",
        what: "a service whose program is upgraded goes on with its connection; a new one has no path",
        control: &[],
        run: upgraded,
        ..TWIN
    },
];

fn is_served(scene: &Scene<'_>, caller: &Actor) -> anyhow::Result<Outcome> {
    caller.connect(scene)?;
    caller.is_served(1, 1)
}

/// The trusted program, started after root has prepared its surroundings.
fn trusted_after(scene: &Scene<'_>, before: impl Fn() -> std::io::Result<()>) -> anyhow::Result<Actor> {
    let program = &scene.programs.trusted;
    Actor::start(program, &[&program.to_string_lossy()], scene.users.owner, before)
}

fn private_mounts(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let caller = trusted_after(scene, || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        mount(Some("private"), scene.folder, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        let again = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some("/usr"), "/usr", None::<&str>, again, None::<&str>)?;
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        Ok(mount(None::<&str>, "/usr", None::<&str>, read_only, None::<&str>)?)
    })?;
    is_served(scene, &caller)
}

fn busy(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let caller = scene.trusted()?;
    caller.connect(scene)?;
    caller.is_served(1, 200)
}

fn asks_by(scene: &Scene<'_>, verb: &[u8]) -> anyhow::Result<Outcome> {
    let caller = scene.trusted()?;
    caller.connect(scene)?;
    caller.does(&[verb, &[opening(), request(1)].concat()])?;
    let seen = caller.does(&[b"await secret", b"10000"])?.text(1);
    anyhow::ensure!(seen == "came", "an honest caller was not served: {seen}");
    Ok(Outcome::Answered)
}

fn exec_again(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let caller = scene.trusted()?;
    caller.connect(scene)?;
    anyhow::ensure!(caller.fetches(1, 1)?, "it was not served before");
    caller.exec_actor(&scene.programs.trusted)?;
    caller.is_served(3, 1)
}

fn upgraded(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let caller = scene.trusted()?;
    caller.connect(scene)?;
    anyhow::ensure!(caller.fetches(1, 1)?, "it was not served before");
    let (path, aside, new) = (&scene.programs.trusted, scene.folder.join("aside"), scene.folder.join("new"));
    fs::hard_link(path, &aside)?;
    fs::copy(path, &new)?;
    fs::rename(&new, path)?;
    let goes_on = caller.is_served(3, 1);
    let again = caller.connect(scene).and_then(|()| caller.fetches(1, 1));
    // As it was, for the next try.
    fs::rename(&aside, path)?;
    anyhow::ensure!(!again?, "a deleted program was taken for the one at its path");
    goes_on
}

//! Numbers of processes, given to another: in a pid namespace of their own, server and attackers choose them.

use std::fs;

use anyhow::{Context as _, bail};

use crate::{
    scene::{Actor, Outcome, Scene},
    table::{Attack, Need, PLAIN, Place},
    wire::request,
};

const NEEDS: &[Need] = &[Need::Root];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "reuse-before-accept",
        what: "A connects, asks and exits; a trusted process gets its number before the connection is accepted",
        needs: NEEDS,
        place: Place::OwnPidNamespace,
        reasons: &["peer_gone", "challenge_unanswered"],
        run: |scene| reuse(scene, false),
        waits: true,
        ..PLAIN
    },
    Attack {
        name: "reuse-before-request",
        what: "the same between accept and request",
        needs: NEEDS,
        place: Place::OwnPidNamespace,
        reasons: &["peer_gone"],
        run: |scene| reuse(scene, true),
        waits: true,
        ..PLAIN
    },
];

fn reuse(scene: &Scene<'_>, is_accepted: bool) -> anyhow::Result<Outcome> {
    let thief = scene.attacker()?;
    let mortal = scene.attacker()?;
    if is_accepted {
        mortal.connect_and_open(scene)?;
        mortal.does(&[b"await settings", b"10000"])?;
    }
    scene.server.stop()?;
    if !is_accepted {
        mortal.connect_and_open(scene)?;
    }
    mortal.write(&request(1))?;
    thief.takes(&mortal.gives()?)?;
    mortal.exits()?;
    let successor = with_number(scene, mortal.pid)?;
    scene.server.go_on()?;
    let outcome = scene.theft(&thief, 1, Some(mortal.pid));
    drop(successor);
    outcome
}

/// A trusted process with this number.
fn with_number(scene: &Scene<'_>, pid: i32) -> anyhow::Result<Actor> {
    for _ in 0..ATTEMPTS_MAX {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).context("numbers cannot be chosen")?;
        let actor = scene.trusted()?;
        if actor.pid == pid {
            return Ok(actor);
        }
        actor.exits()?;
    }
    bail!("the number went to somebody else each time")
}

/// Somebody else in the namespace may be faster.
const ATTEMPTS_MAX: usize = 20;

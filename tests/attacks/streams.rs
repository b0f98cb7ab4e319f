//! Streams that outlive the right to them: what is pushed reaches whoever holds the connection.

use crate::{
    naive::Switch,
    scene::{Actor, Outcome, Scene},
    table::{Attack, Given, Need, PLAIN},
};

const CONTROL: &[Switch] = &[Switch::Push];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "stream-after-exit",
        what: "the process exits; another that holds its connection reads on",
        control: CONTROL,
        reasons: &["peer_gone"],
        run: after_exit,
        ..PLAIN
    },
    Attack {
        name: "stream-after-exec-idle",
        what: "the process execs another program; a process that holds its connection reads on",
        control: CONTROL,
        reasons: &["challenge_unanswered", "image_changed"],
        run: after_exec_idle,
        waits: true,
        ..PLAIN
    },
    Attack {
        name: "stream-after-exec",
        what: "the process execs another program, which answers the PING and reads on",
        control: CONTROL,
        reasons: &["no_entry"],
        run: after_exec,
        ..PLAIN
    },
    Attack {
        name: "stream-after-uid",
        what: "the process changes its uid and reads on",
        needs: &[Need::Root],
        grant: Given::RootWithPath,
        control: CONTROL,
        reasons: &["mixed_ids"],
        run: after_uid,
        ..PLAIN
    },
];

/// The trusted program with an open stream.
fn served(scene: &Scene<'_>) -> anyhow::Result<Actor> {
    let owner = scene.trusted()?;
    owner.connect(scene)?;
    anyhow::ensure!(owner.fetches(1, 1)?, "the owner was not served");
    Ok(owner)
}

/// An attacker with this connection.
fn heir(scene: &Scene<'_>, owner: &Actor) -> anyhow::Result<Actor> {
    let heir = scene.attacker()?;
    heir.takes(&owner.gives()?)?;
    Ok(heir)
}

/// Has the server push, and this actor read.
fn push(scene: &Scene<'_>, thief: &Actor, connected: i32) -> anyhow::Result<Outcome> {
    scene.server.push(&format!("push-{connected}"))?;
    scene.theft(thief, 1, Some(connected))
}

fn after_exit(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let owner = served(scene)?;
    let thief = heir(scene, &owner)?;
    owner.exits()?;
    scene.forget_what_came(&thief)?;
    push(scene, &thief, owner.pid)
}

fn after_exec_idle(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let owner = served(scene)?;
    let thief = heir(scene, &owner)?;
    scene.exec_idle(&owner, &scene.programs.attacker)?;
    scene.forget_what_came(&thief)?;
    push(scene, &thief, owner.pid)
}

fn after_exec(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let owner = served(scene)?;
    owner.exec_actor(&scene.programs.attacker)?;
    scene.forget_what_came(&owner)?;
    scene.server.push(&format!("push-{}", owner.pid))?;
    let seen = owner.does(&[b"await secret", b"10000"])?.text(1);
    Ok(match seen.as_str() {
        "came" => Outcome::Answered,
        "Silent" => Outcome::Broken("neither a secret nor an end came".to_owned()),
        _ => Outcome::Refused(Some(owner.pid)),
    })
}

fn after_uid(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let owner = served(scene)?;
    let uid = scene.users.stranger.to_string();
    owner.does(&[b"become", uid.as_bytes(), uid.as_bytes(), uid.as_bytes()])?;
    scene.forget_what_came(&owner)?;
    push(scene, &owner, owner.pid)
}

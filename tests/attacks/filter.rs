//! Programs that copy what they are given: with our socket as their output, they say what somebody else wants.

use nix::sched::{CloneFlags, unshare};

use crate::{
    naive::Switch,
    scene::{Actor, Outcome, Scene},
    table::{Attack, Need, PLAIN},
    wire::{ack, opening, request},
};

const STANDARD: &[&str] = &["image_standard_stream"];
/// Every rule but that no connection to us may be a standard stream.
const NO_STREAMS: &[Switch] =
    &[Switch::Sender, Switch::Ping, Switch::Empty, Switch::Layout, Switch::Personality, Switch::Namespace];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "filter-stdout",
        what: "a trusted filter with our socket as its output is fed request and ACK",
        control: NO_STREAMS,
        reasons: STANDARD,
        run: |scene| filter(scene, scene.attacker()?, "1"),
        ..PLAIN
    },
    Attack {
        name: "filter-stderr",
        what: "the same with our socket as its standard error",
        control: NO_STREAMS,
        reasons: STANDARD,
        run: |scene| filter(scene, scene.attacker()?, "2"),
        ..PLAIN
    },
    Attack {
        name: "filter-stdin",
        what: "the same with our socket as its input, to which it writes",
        control: NO_STREAMS,
        reasons: STANDARD,
        run: |scene| filter(scene, scene.attacker()?, "0"),
        ..PLAIN
    },
    Attack {
        name: "filter-other-network",
        what: "the same with a socket made in another network namespace",
        needs: &[Need::Root],
        control: &[
            Switch::Sender,
            Switch::Ping,
            Switch::Empty,
            Switch::Layout,
            Switch::Personality,
            Switch::Namespace,
            Switch::StreamsByTable,
        ],
        reasons: STANDARD,
        run: |scene| {
            let program = &scene.programs.attacker;
            let name = program.to_string_lossy();
            let own_network = || Ok(unshare(CloneFlags::CLONE_NEWNET)?);
            filter(scene, Actor::start(program, &[&name], scene.users.owner, own_network)?, "1")
        },
        ..PLAIN
    },
];

/// The descriptor at which the filter reads: the pipe's, away from the three.
const INPUT: &str = "60";

/// Has an actor become the trusted program as a filter into its connection. A child feeds it and reads the answer.
fn filter(scene: &Scene<'_>, decoy: Actor, output: &str) -> anyhow::Result<Outcome> {
    let pid = decoy.pid;
    filter_with(scene, decoy, output, Some(pid))
}

/// The same, with the number under which the audit log knows the actor, if we know it.
pub fn filter_with(scene: &Scene<'_>, decoy: Actor, output: &str, pid: Option<i32>) -> anyhow::Result<Outcome> {
    decoy.connect(scene)?;
    decoy.does(&[b"make a pipe"])?;
    let thief = decoy.forks()?;
    let program = scene.programs.trusted.to_string_lossy();
    let (socket, pipe) = (format!("{output}=CONNECTION"), format!("{INPUT}=KEPT"));
    decoy.exec(&[&program, &program, &socket, &pipe, "filter", INPUT, output])?;
    decoy.wait_closed()?;
    thief.does(&[b"write into the pipe", &[opening(), request(1)].concat()])?;
    // A server that asks nobody does not ask; the theft shows what came of it.
    if let Some(nonce) = thief.challenge(500)? {
        thief.does(&[b"write into the pipe", &ack(nonce)])?;
    }
    scene.theft(&thief, 1, pid)
}

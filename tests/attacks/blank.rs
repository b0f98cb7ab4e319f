//! Bytes that were queued by one process and are still written by another: pages shared with the socket.

use crate::{
    naive::Switch,
    scene::{Outcome, Scene},
    table::{Attack, PLAIN},
    wire::{HEAD_BYTES, PINGS, UNKNOWN, ack, frame, pings, request},
};

/// Every rule but that nothing may be queued when the PING leaves.
const NOT_EMPTY: &[Switch] =
    &[Switch::Sender, Switch::Ping, Switch::Layout, Switch::Personality, Switch::Streams, Switch::Namespace];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "blank-ack",
        what: "A queues its request and a blank ACK in a shared page, execs the trusted program; B fills it in",
        control: NOT_EMPTY,
        reasons: &["challenge_unanswered", "image_changed"],
        run: |scene| blank_ack(scene, true),
        waits: true,
        ..PLAIN
    },
    Attack {
        name: "blank-ack-backlog",
        what: "the same, before the connection is accepted",
        control: NOT_EMPTY,
        reasons: &["challenge_unanswered", "image_changed"],
        run: |scene| blank_ack(scene, false),
        waits: true,
        ..PLAIN
    },
];

/// What lies between the request and the blank ACK: more than a server that must have everything read keeps.
const BEHIND_BYTES: usize = 140 * 1024;
/// What fits one frame.
const FRAME_BYTES: usize = 16 * 1024 - HEAD_BYTES;

fn blank_ack(scene: &Scene<'_>, is_accepted: bool) -> anyhow::Result<Outcome> {
    let decoy = scene.attacker()?;
    if is_accepted {
        decoy.connect_and_open(scene)?;
        decoy.does(&[b"await settings", b"10000"])?;
    }
    scene.server.stop()?;
    if !is_accepted {
        decoy.connect_and_open(scene)?;
    }
    decoy.does(&[b"make a page"])?;
    let blank = ack([0; 8]);
    decoy.does(&[b"fill the page", b"0", &blank])?;
    // The PINGs, whose answers nobody reads, keep a simple server from coming to the ACK before it is filled in.
    let filler = frame(UNKNOWN, 0, 0, &vec![0; FRAME_BYTES]);
    decoy.write(&[request(1), pings(PINGS)].concat())?;
    for _ in 0..BEHIND_BYTES.div_ceil(filler.len()) {
        decoy.write(&filler)?;
    }
    decoy.does(&[b"queue the page", blank.len().to_string().as_bytes()])?;
    let thief = decoy.forks()?;
    scene.exec_trusted(&decoy)?;
    scene.server.go_on()?;
    if let Some(nonce) = thief.challenge(5_000)? {
        thief.does(&[b"fill the page", HEAD_BYTES.to_string().as_bytes(), &nonce])?;
    }
    scene.theft(&thief, 1, Some(decoy.pid))
}

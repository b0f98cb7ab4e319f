//! One process, several programs: what was written by one is answered to another.

use crate::{
    naive::Switch,
    scene::{Actor, Outcome, Scene},
    table::{Attack, PLAIN},
    wire::{PINGS, opening, pings, request, requests},
};

const UNANSWERED: &[&str] = &["challenge_unanswered", "image_changed"];
/// Every rule but where the image lies, which an exec changes.
const NO_LAYOUT: &[Switch] =
    &[Switch::Sender, Switch::Ping, Switch::Empty, Switch::Personality, Switch::Streams, Switch::Namespace];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "writes-then-execs",
        what: "A writes many requests and execs the trusted program; B only reads",
        reasons: &["challenge_unanswered", "image_changed", "no_entry"],
        run: writes_then_execs,
        waits: true,
        ..PLAIN
    },
    Attack {
        name: "writes-then-execs-stopped",
        what: "the same, one request, while the server stands still",
        reasons: UNANSWERED,
        run: |scene| writes_then_execs_stopped(scene, true),
        waits: true,
        ..PLAIN
    },
    Attack {
        name: "writes-then-execs-backlog",
        what: "the same, before the connection is accepted",
        reasons: UNANSWERED,
        run: |scene| writes_then_execs_stopped(scene, false),
        waits: true,
        ..PLAIN
    },
    Attack {
        name: "exec-between-looks",
        what: "trusted at the first look, another program answers the PING, trusted at the second look",
        control: NO_LAYOUT,
        reasons: UNANSWERED,
        run: |scene| between_looks(scene, Trick::None),
        waits: true,
        ..PLAIN
    },
    Attack {
        name: "exec-between-looks-pinned",
        what: "the same, with the first image's memory held by a reader",
        control: &[
            Switch::Sender,
            Switch::Ping,
            Switch::Empty,
            Switch::Watch,
            Switch::Personality,
            Switch::Streams,
            Switch::Namespace,
        ],
        reasons: UNANSWERED,
        run: |scene| between_looks(scene, Trick::Pinned),
        waits: true,
        ..PLAIN
    },
    Attack {
        name: "exec-between-looks-fixed",
        what: "the same, without address randomisation",
        control: &[Switch::Sender, Switch::Ping, Switch::Empty, Switch::Layout, Switch::Streams, Switch::Namespace],
        reasons: &["image_not_randomized"],
        run: |scene| between_looks(scene, Trick::NotRandomized),
        ..PLAIN
    },
    Attack {
        name: "exec-between-requests",
        what: "the trusted program is served, another asks on, the trusted program again",
        control: &[
            Switch::Sender,
            Switch::Ping,
            Switch::Once,
            Switch::Empty,
            Switch::Personality,
            Switch::Streams,
            Switch::Namespace,
        ],
        reasons: UNANSWERED,
        run: between_requests,
        waits: true,
        ..PLAIN
    },
    Attack {
        name: "exec-between-pushes",
        what: "the trusted program is served, another runs, the trusted program again; B reads the next push",
        control: &[
            Switch::Sender,
            Switch::Ping,
            Switch::Empty,
            Switch::Personality,
            Switch::Streams,
            Switch::Namespace,
            Switch::Push,
            Switch::PushLooks,
        ],
        reasons: UNANSWERED,
        run: between_pushes,
        waits: true,
        ..PLAIN
    },
];

/// How many requests are in the queue when the program changes; fewer than a connection may have open.
const MANY: u32 = 150;

fn writes_then_execs(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let decoy = scene.attacker()?;
    decoy.connect(scene)?;
    let thief = decoy.forks()?;
    // Nobody reads yet: a server that writes as it reads comes no further than these.
    decoy.write(&[opening(), pings(PINGS), requests(MANY)].concat())?;
    scene.exec_trusted(&decoy)?;
    scene.theft(&thief, MANY, Some(decoy.pid))
}

fn writes_then_execs_stopped(scene: &Scene<'_>, is_accepted: bool) -> anyhow::Result<Outcome> {
    let decoy = scene.attacker()?;
    if is_accepted {
        decoy.connect_and_open(scene)?;
        decoy.does(&[b"await settings", b"10000"])?;
    }
    scene.server.stop()?;
    if !is_accepted {
        decoy.connect_and_open(scene)?;
    }
    decoy.write(&request(1))?;
    let thief = decoy.forks()?;
    scene.exec_trusted(&decoy)?;
    scene.server.go_on()?;
    scene.theft(&thief, 1, Some(decoy.pid))
}

/// What hides the exec.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trick {
    None,
    Pinned,
    NotRandomized,
}

fn between_looks(scene: &Scene<'_>, trick: Trick) -> anyhow::Result<Outcome> {
    let decoy = scene.attacker()?;
    if trick == Trick::NotRandomized {
        decoy.does(&[b"do not randomise"])?;
    }
    decoy.connect(scene)?;
    scene.server.stop()?;
    decoy.write(&[opening(), request(1)].concat())?;
    let thief = decoy.forks()?;
    // A trusted program that runs others, as env and timeout do.
    decoy.exec_actor(&scene.programs.trusted)?;
    scene.server.go_on()?;
    let Some(nonce) = thief.challenge(5_000)? else {
        return scene.theft(&thief, 1, Some(decoy.pid));
    };
    scene.server.stop()?;
    let holder = if trick == Trick::Pinned { Some(hold_memory(scene, &decoy)?) } else { None };
    decoy.exec_actor(&scene.programs.attacker)?;
    decoy.answer(nonce)?;
    // As an actor again, with the same words as before: without randomisation it lies exactly where it lay.
    decoy.exec_actor(&scene.programs.trusted)?;
    scene.server.go_on()?;
    let outcome = scene.theft(&thief, 1, Some(decoy.pid));
    drop(holder);
    outcome
}

/// Has another process of the same user read this one's memory for a while. It is kept meanwhile.
fn hold_memory(scene: &Scene<'_>, subject: &Actor) -> anyhow::Result<Actor> {
    use anyhow::Context as _;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", subject.pid))?;
    let code = maps.lines().find(|line| line.contains(" r-xp ")).and_then(|line| line.split_once('-'));
    let (begin, rest) = code.context("its code is mapped")?;
    let end = rest.split(' ').next().unwrap_or_default();
    let (begin, end) = (usize::from_str_radix(begin, 16)?, usize::from_str_radix(end, 16)?);
    let range = (end - begin).min(2 << 20);
    let holder = scene.attacker()?;
    let [pid, address, range, times] =
        [subject.pid.to_string(), begin.to_string(), range.to_string(), "1024".to_owned()];
    holder.does(&[b"hold the memory of", pid.as_bytes(), address.as_bytes(), range.as_bytes(), times.as_bytes()])?;
    // It said so just before the call; by now it is in it, and stays there for many times as long as an exec takes.
    std::thread::sleep(std::time::Duration::from_millis(5));
    Ok(holder)
}

/// The trusted program, served on a connection that another process holds too.
fn served_and_shared(scene: &Scene<'_>) -> anyhow::Result<Option<(Actor, Actor)>> {
    let owner = scene.trusted()?;
    owner.connect(scene)?;
    if !owner.fetches(1, 1)? {
        return Ok(None);
    }
    let thief = scene.attacker()?;
    thief.takes(&owner.gives()?)?;
    Ok(Some((owner, thief)))
}

fn between_requests(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let Some((owner, thief)) = served_and_shared(scene)? else {
        return Ok(Outcome::Broken("the owner was not served".to_owned()));
    };
    scene.server.stop()?;
    owner.exec_actor(&scene.programs.attacker)?;
    owner.write(&request(3))?;
    scene.exec_trusted(&owner)?;
    scene.server.go_on()?;
    scene.theft(&thief, 1, Some(owner.pid))
}

fn between_pushes(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let Some((owner, thief)) = served_and_shared(scene)? else {
        return Ok(Outcome::Broken("the owner was not served".to_owned()));
    };
    scene.server.stop()?;
    owner.exec_actor(&scene.programs.attacker)?;
    scene.exec_trusted(&owner)?;
    scene.forget_what_came(&thief)?;
    scene.server.go_on()?;
    scene.server.push(&format!("push-{}", owner.pid))?;
    scene.theft(&thief, 1, Some(owner.pid))
}

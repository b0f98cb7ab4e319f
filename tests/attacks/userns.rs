//! Namespaces that anybody can make: inside, an actor is root, forges senders, and sets what it seems to run.

use anyhow::Context as _;

use crate::{
    filter::filter_with,
    naive::Switch,
    scene::{Actor, Outcome, Scene, runs, wait_until},
    table::{Attack, Given, Need, PLAIN},
    wire::{ack, opening, request},
};

const NAMESPACE: &[&str] = &["image_user_namespace"];
/// Every rule but that on user namespaces.
const NO_NAMESPACE: &[Switch] =
    &[Switch::Sender, Switch::Ping, Switch::Empty, Switch::Layout, Switch::Personality, Switch::Streams];
const NEEDS: &[Need] = &[Need::UserNamespaces];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "namespace-forged-ack",
        what: "A writes all and execs the trusted program; B answers the PING in its name",
        needs: NEEDS,
        control: NO_NAMESPACE,
        reasons: NAMESPACE,
        run: |scene| forged(scene, false),
        ..PLAIN
    },
    Attack {
        name: "namespace-forged-all",
        what: "A connects and execs the trusted program; B asks and answers in its name",
        needs: NEEDS,
        control: NO_NAMESPACE,
        reasons: NAMESPACE,
        run: |scene| forged(scene, true),
        ..PLAIN
    },
    Attack {
        name: "namespace-filter",
        what: "a trusted filter in a user namespace is fed request and ACK",
        needs: NEEDS,
        control: &[Switch::Sender, Switch::Ping, Switch::Empty, Switch::Layout, Switch::Personality],
        reasons: NAMESPACE,
        run: |scene| {
            let (_maker, inside) = namespace(scene)?;
            filter_with(scene, inside, "1", None)
        },
        ..PLAIN
    },
    Attack {
        name: "mounted-over",
        what: "the own program mounted over the trusted one's path, in namespaces of the own",
        needs: NEEDS,
        reasons: NAMESPACE,
        run: mounted_over,
        ..PLAIN
    },
    Attack {
        name: "rewritten-exe",
        what: "the own /proc/PID/exe set to the trusted program",
        needs: NEEDS,
        reasons: NAMESPACE,
        run: rewritten,
        ..PLAIN
    },
    Attack {
        name: "rewritten-exe-hash",
        what: "the same, where the entry names the program's hash",
        needs: NEEDS,
        grant: Given::Hash,
        reasons: NAMESPACE,
        run: rewritten,
        ..PLAIN
    },
    Attack {
        name: "rewritten-exe-pinging",
        what: "the same, where the running image must answer",
        needs: NEEDS,
        control: NO_NAMESPACE,
        reasons: NAMESPACE,
        run: rewritten,
        ..PLAIN
    },
    Attack {
        name: "rewritten-after-proof",
        what: "the trusted program is served, then the own is set to look like it, where it lay, and asks on",
        needs: NEEDS,
        control: &[
            Switch::Sender,
            Switch::Ping,
            Switch::Once,
            Switch::Empty,
            Switch::Layout,
            Switch::Personality,
            Switch::Streams,
        ],
        reasons: NAMESPACE,
        run: |scene| rewritten_after_proof(scene, false),
        ..PLAIN
    },
    Attack {
        name: "rewritten-between-pushes",
        what: "the same, and only reads what is pushed",
        needs: NEEDS,
        control: &[
            Switch::Sender,
            Switch::Ping,
            Switch::Empty,
            Switch::Layout,
            Switch::Personality,
            Switch::Streams,
            Switch::Push,
            Switch::PushLooks,
        ],
        reasons: NAMESPACE,
        run: |scene| rewritten_after_proof(scene, true),
        ..PLAIN
    },
];

/// An actor that made a user and a pid namespace, and its child: the first process in there.
pub fn namespace(scene: &Scene<'_>) -> anyhow::Result<(Actor, Actor)> {
    let maker = scene.attacker()?;
    maker.does(&[b"be root of a user namespace", b"0"])?;
    let first = maker.forks()?;
    Ok((maker, first))
}

/// The number that we see of a child of this process that sees itself as `inside`.
fn number_of(parent: i32, inside: i32) -> anyhow::Result<i32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let numbers = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
    let mut ours = numbers.filter(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        line.split_whitespace().last() == Some(&inside.to_string())
    });
    ours.next().context("a child in there")
}

fn forged(scene: &Scene<'_>, is_request_forged: bool) -> anyhow::Result<Outcome> {
    let (_maker, first) = namespace(scene)?;
    let decoy = first.forks()?;
    let seen = number_of(first.pid, decoy.pid)?;
    decoy.connect(scene)?;
    let ask = [opening(), request(1)].concat();
    if !is_request_forged {
        scene.server.stop()?;
        decoy.write(&ask)?;
    }
    let thief = first.forks()?;
    thief.takes(&decoy.gives()?)?;
    let program = scene.programs.trusted.to_string_lossy();
    decoy.exec(&[&program, &program, "idle"])?;
    decoy.wait_closed()?;
    wait_until("the program runs", || runs(seen, &scene.programs.trusted))?;
    let inside = decoy.pid.to_string();
    if is_request_forged {
        thief.does(&[b"write as", inside.as_bytes(), &ask])?;
    } else {
        scene.server.go_on()?;
    }
    if let Some(nonce) = thief.challenge(500)? {
        thief.does(&[b"write as", inside.as_bytes(), &ack(nonce)])?;
    }
    scene.theft(&thief, 1, Some(seen))
}

fn mounted_over(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let liar = scene.attacker()?;
    liar.does(&[b"be root of a user namespace", b"0"])?;
    let (own, trusted) = (scene.programs.attacker.to_string_lossy(), scene.programs.trusted.to_string_lossy());
    liar.does(&[b"mount over", own.as_bytes(), trusted.as_bytes()])?;
    liar.exec_actor(&scene.programs.trusted)?;
    asks_as_a_client(scene, &liar)
}

fn rewritten(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let liar = scene.attacker()?;
    liar.does(&[b"be root of a user namespace", b"0"])?;
    liar.does(&[b"rewrite the executable", scene.programs.trusted.to_string_lossy().as_bytes()])?;
    wait_until("it seems to run the trusted program", || runs(liar.pid, &scene.programs.trusted))?;
    asks_as_a_client(scene, &liar)
}

/// The trusted program proves itself; another takes its place in the process, its looks, and its connection.
fn rewritten_after_proof(scene: &Scene<'_>, is_pushed: bool) -> anyhow::Result<Outcome> {
    let liar = scene.trusted()?;
    liar.connect(scene)?;
    if !liar.fetches(1, 1)? {
        return Ok(Outcome::Broken("the owner was not served".to_owned()));
    }
    let layout = layout_of(liar.pid)?.map(|address| address.to_string());
    scene.server.stop()?;
    liar.exec_actor(&scene.programs.attacker)?;
    liar.does(&[b"be root of a user namespace", b"0"])?;
    let trusted = scene.programs.trusted.to_string_lossy();
    let [code, stack, heap] = layout.each_ref().map(String::as_bytes);
    liar.does(&[b"rewrite the executable", trusted.as_bytes(), code, stack, heap])?;
    wait_until("it seems to run the trusted program", || runs(liar.pid, &scene.programs.trusted))?;
    anyhow::ensure!(layout_of(liar.pid)?.map(|address| address.to_string()) == layout, "it seems to lie where it lay");
    if is_pushed {
        scene.forget_what_came(&liar)?;
        scene.server.go_on()?;
        scene.server.push(&format!("push-{}", liar.pid))?;
    } else {
        liar.write(&request(3))?;
        scene.server.go_on()?;
    }
    scene.theft(&liar, 1, Some(liar.pid))
}

/// Where code, stack and heap of a process begin.
fn layout_of(pid: i32) -> anyhow::Result<[u64; 3]> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after: Vec<&str> = stat.rsplit_once(") ").context("a stat")?.1.split(' ').collect();
    let field = |number: usize| after.get(number - 3).context("a field")?.parse().context("an address");
    Ok([field(26)?, field(28)?, field(47)?])
}

/// Connects, asks, and answers every PING.
pub fn asks_as_a_client(scene: &Scene<'_>, actor: &Actor) -> anyhow::Result<Outcome> {
    actor.connect(scene)?;
    Ok(if actor.fetches(1, 1)? { Outcome::Answered } else { Outcome::Refused(Some(actor.pid)) })
}

//! What comes beside the stream of bytes: a byte out of band, and open descriptors.

use std::time::{Duration, Instant};

use crate::{
    naive::Switch,
    scene::{Outcome, Scene},
    table::{Attack, PLAIN},
    wire::request,
};

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "out-of-band",
        what: "another process writes one byte out of band on the trusted one's connection",
        control: &[Switch::Sender],
        reasons: &["oob"],
        run: out_of_band,
        ..PLAIN
    },
    Attack {
        name: "descriptors",
        what: "messages with descriptors, among them sockets whose close blocks; is anybody else served meanwhile?",
        control: &[Switch::OneThread],
        reasons: &["descriptors_sent"],
        run: descriptors,
        waits: true,
        ..PLAIN
    },
];

fn out_of_band(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let owner = scene.trusted()?;
    owner.connect_and_open(scene)?;
    owner.does(&[b"await settings", b"10000"])?;
    let other = owner.forks()?;
    other.does(&[b"out of band"])?;
    // The server has time to come across it before anything else follows.
    std::thread::sleep(Duration::from_millis(20));
    owner.write(&request(1))?;
    scene.theft(&owner, 1, Some(owner.pid))
}

/// How many messages in one try; ten tries make ten thousand.
const MESSAGES: &str = "1000";
/// Whoever waits longer was kept from being served. Closing one of the sockets takes twice as long.
const BLOCKED: Duration = Duration::from_millis(1_500);

fn descriptors(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let sender = scene.attacker()?;
    sender.connect_and_open(scene)?;
    sender.does(&[b"await settings", b"10000"])?;
    // The sender has closed its own by the time the server comes to it: whoever closes last waits.
    scene.server.stop()?;
    let first = sender.does(&[b"send descriptors", scene.socket(), b"1"])?;
    scene.server.go_on()?;
    if first.text(1) == "0" {
        return Ok(Outcome::Prevented(first.text(2)));
    }
    sender.tell(&[b"send descriptors", scene.socket(), MESSAGES.as_bytes()], None)?;
    let owner = scene.trusted()?;
    let begin = Instant::now();
    owner.connect(scene)?;
    let is_served = owner.fetches(1, 1)?;
    let waited = begin.elapsed();
    sender.hear()?;
    Ok(if waited > BLOCKED {
        Outcome::Answered
    } else if is_served {
        Outcome::Refused(Some(sender.pid))
    } else {
        Outcome::Broken("another client was not served".to_owned())
    })
}

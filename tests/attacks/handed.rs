//! Connections in other hands: made by one process, used by another.

use crate::{
    scene::{Actor, Outcome, Scene},
    table::{Attack, PLAIN},
    wire::{END_STREAM, HEAD_BYTES, headers, message, opening, request},
};

const FOREIGN: &[&str] = &["sender_differs", "forked_client"];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "handed-child",
        what: "connect, exec the trusted program; a child with the descriptor asks",
        reasons: FOREIGN,
        run: |scene| handed(scene, Heir::Child, When::AtOnce),
        ..PLAIN
    },
    Attack {
        name: "handed-child-after-preface",
        what: "the same after the preface",
        reasons: FOREIGN,
        run: |scene| handed(scene, Heir::Child, When::AfterPreface),
        ..PLAIN
    },
    Attack {
        name: "handed-child-split",
        what: "the same with the request split between both",
        reasons: FOREIGN,
        run: |scene| handed(scene, Heir::Child, When::InTheMiddle),
        ..PLAIN
    },
    Attack {
        name: "handed-sent",
        what: "connect, send the descriptor to another process, exec the trusted program; the other asks",
        reasons: FOREIGN,
        run: |scene| handed(scene, Heir::Other, When::AtOnce),
        ..PLAIN
    },
    Attack {
        name: "handed-sent-after-preface",
        what: "the same after the preface",
        reasons: FOREIGN,
        run: |scene| handed(scene, Heir::Other, When::AfterPreface),
        ..PLAIN
    },
    Attack {
        name: "handed-sent-split",
        what: "the same with the request split between both",
        reasons: FOREIGN,
        run: |scene| handed(scene, Heir::Other, When::InTheMiddle),
        ..PLAIN
    },
    Attack {
        name: "given-away-sent",
        what: "the trusted process gives its connection away and lives on",
        reasons: FOREIGN,
        run: |scene| given_away(scene, Heir::Other, When::AtOnce),
        ..PLAIN
    },
    Attack {
        name: "given-away-after-preface",
        what: "the same after the preface",
        reasons: FOREIGN,
        run: |scene| given_away(scene, Heir::Other, When::AfterPreface),
        ..PLAIN
    },
    Attack {
        name: "given-away-child",
        what: "a child of the trusted process inherits its connection",
        reasons: FOREIGN,
        run: |scene| given_away(scene, Heir::Child, When::AfterPreface),
        ..PLAIN
    },
    Attack {
        name: "given-away-after-an-answer",
        what: "the trusted process is served, then gives its connection away",
        reasons: FOREIGN,
        run: given_away_after_an_answer,
        ..PLAIN
    },
];

/// Who gets the connection.
#[derive(Clone, Copy)]
enum Heir {
    Child,
    Other,
}

/// What the one who connected still writes.
#[derive(Clone, Copy)]
enum When {
    AtOnce,
    AfterPreface,
    InTheMiddle,
}

impl When {
    /// What is written before and after the connection changes hands.
    fn halves(self) -> (Vec<u8>, Vec<u8>) {
        let all = [opening(), request(1)].concat();
        let body = message(1, END_STREAM, &[]).len();
        let cut = match self {
            Self::AtOnce => 0,
            Self::AfterPreface => opening().len(),
            // In the middle of the gRPC message, whose frame head has been sent.
            Self::InTheMiddle => opening().len() + headers(1).len() + body.min(HEAD_BYTES + 2),
        };
        let (before, after) = all.split_at(cut);
        (before.to_vec(), after.to_vec())
    }
}

impl Heir {
    /// A process with this one's connection.
    fn of(self, scene: &Scene<'_>, actor: &Actor) -> anyhow::Result<Actor> {
        match self {
            Self::Child => actor.forks(),
            Self::Other => {
                let heir = scene.attacker()?;
                heir.takes(&actor.gives()?)?;
                Ok(heir)
            }
        }
    }
}

fn handed(scene: &Scene<'_>, heir: Heir, when: When) -> anyhow::Result<Outcome> {
    let (before, after) = when.halves();
    let decoy = scene.attacker()?;
    decoy.connect(scene)?;
    decoy.write(&before)?;
    let thief = heir.of(scene, &decoy)?;
    scene.exec_trusted(&decoy)?;
    thief.write(&after)?;
    scene.theft(&thief, 1, Some(decoy.pid))
}

fn given_away(scene: &Scene<'_>, heir: Heir, when: When) -> anyhow::Result<Outcome> {
    let (before, after) = when.halves();
    let owner = scene.trusted()?;
    owner.connect(scene)?;
    owner.write(&before)?;
    let thief = heir.of(scene, &owner)?;
    thief.write(&after)?;
    scene.theft(&thief, 1, Some(owner.pid))
}

fn given_away_after_an_answer(scene: &Scene<'_>) -> anyhow::Result<Outcome> {
    let owner = scene.trusted()?;
    owner.connect(scene)?;
    if !owner.fetches(1, 1)? {
        return Ok(Outcome::Broken("the owner was not served".to_owned()));
    }
    let thief = Heir::Other.of(scene, &owner)?;
    thief.write(&request(3))?;
    scene.theft(&thief, 1, Some(owner.pid))
}

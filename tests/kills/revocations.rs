//! kill -9, while tokens and keys are revoked.

use std::{collections::BTreeSet, time::Duration};

use super::{
    chance::Chance,
    common::{
        Daemon, Folder,
        messages::{Admin, Named, Nothing, Revoked, RevokedAsked, RevokedPage},
        rounds,
    },
    dying::die_at_work,
    proof::audit_must_verify,
};

/// One who revokes, and knows what was acknowledged.
struct Writer {
    number: u8,
    next: u32,
    tokens: BTreeSet<String>,
    keys: BTreeSet<String>,
    doubt: Option<Doubt>,
    written: u64,
}

/// What was asked for when the daemon died.
#[derive(Clone)]
enum Doubt {
    Token(String),
    Key(String),
    Restored(String),
}

impl Writer {
    fn write_until_it_dies(&mut self, daemon: &Daemon) {
        let Ok(mut admin) = Admin::connect(daemon.home()) else { return };
        loop {
            self.next += 1;
            let wanted = match (self.next % 3, self.keys.first()) {
                (0, Some(key)) if self.keys.len() > 20 => Doubt::Restored(key.clone()),
                (1, _) => Doubt::Token(self.name(16)),
                _ => Doubt::Key(self.name(32)),
            };
            self.doubt = Some(wanted.clone());
            let (method, name) = match &wanted {
                Doubt::Token(name) => ("RevokeToken", name),
                Doubt::Key(name) => ("RevokeKey", name),
                Doubt::Restored(name) => ("RestoreKey", name),
            };
            match admin.call::<Nothing>(&format!("Revocations/{method}"), &Named { name: name.clone() }) {
                Ok(Ok(_)) => self.acknowledge(wanted),
                Ok(Err(answer)) => panic!("refused: {:?} {}", answer.code(), answer.words()),
                Err(_) => return,
            }
            self.doubt = None;
            self.written += 1;
        }
    }

    /// Nobody else's.
    fn name(&self, length: usize) -> String {
        let mut bytes = vec![self.number; length];
        bytes[1..5].copy_from_slice(&self.next.to_be_bytes());
        data_encoding::BASE64URL_NOPAD.encode(&bytes)
    }

    fn acknowledge(&mut self, done: Doubt) {
        match done {
            Doubt::Token(name) => drop(self.tokens.insert(name)),
            Doubt::Key(name) => drop(self.keys.insert(name)),
            Doubt::Restored(name) => drop(self.keys.remove(&name)),
        }
    }

    fn reconcile(&mut self, all: &[Revoked]) {
        let is_own = |one: &&Revoked| {
            data_encoding::BASE64URL_NOPAD.decode(one.name.as_bytes()).unwrap().first() == Some(&self.number)
        };
        let of = |kind: &str| {
            let names = all.iter().filter(|one| one.kind == kind).filter(is_own).map(|one| one.name.clone());
            names.collect::<BTreeSet<_>>()
        };
        let found = (of("token"), of("key"));
        if let Some(doubt) = self.doubt.take() {
            let made = match &doubt {
                Doubt::Token(name) => found.0.contains(name),
                Doubt::Key(name) => found.1.contains(name),
                Doubt::Restored(name) => !found.1.contains(name),
            };
            if made {
                self.acknowledge(doubt);
            }
        }
        assert!(found.0 == self.tokens && found.1 == self.keys, "{}: something was lost, or came back", self.number);
    }
}

fn all(daemon: &Daemon) -> Vec<Revoked> {
    let (mut admin, mut all, mut page_token) = (Admin::connect(daemon.home()).unwrap(), Vec::new(), String::new());
    loop {
        let asked = RevokedAsked { page_size: 1_000, page_token };
        let page = admin.call::<RevokedPage>("Revocations/List", &asked).unwrap().expect("a list");
        all.extend(page.revoked);
        if page.next.is_empty() {
            return all;
        }
        page_token = page.next;
    }
}

#[test]
fn a_kill_at_any_moment_loses_no_revocation_that_was_acknowledged() {
    let seed = Chance::seed();
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let folder = Folder::new();
    let writer =
        |number| Writer { number, next: 0, tokens: BTreeSet::new(), keys: BTreeSet::new(), doubt: None, written: 0 };
    let mut writers: Vec<_> = (1..4).map(writer).collect();
    for _ in 0..rounds(100) {
        let mut daemon = Daemon::start_in(folder.path(), &[]);
        let found = all(&daemon);
        writers.iter_mut().for_each(|writer| writer.reconcile(&found));
        let moment = chance.moment(Duration::from_millis(300));
        die_at_work(&mut daemon, &mut writers, moment, Writer::write_until_it_dies);
    }
    let daemon = Daemon::start_in(folder.path(), &[]);
    let found = all(&daemon);
    writers.iter_mut().for_each(|writer| writer.reconcile(&found));
    audit_must_verify(&daemon);
    let (log, written) = (daemon.log(), writers.iter().map(|writer| writer.written).sum::<u64>());
    assert!(!log.contains("panicked") && !log.contains("left out"), "{log}");
    println!("{} rounds, {written} writes acknowledged, {} are revoked", rounds(100), found.len());
    assert!(written > 0);
}

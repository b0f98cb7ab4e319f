//! kill -9, while foreign bundles are written.

use std::time::Duration;

use super::{
    chance::Chance,
    common::{
        Daemon, Folder,
        messages::{Admin, Foreign, ForeignNamed, ForeignSet, Nothing},
        rounds,
    },
    dying::die_at_work,
    proof::audit_must_verify,
};

/// One who writes the bundle of one trust domain, and knows what was acknowledged.
struct Writer {
    name: String,
    /// The sequence of the document that is there; `None` after a deletion.
    acknowledged: Option<u64>,
    /// What was asked for when the daemon died.
    doubt: Option<Option<u64>>,
    next: u64,
    written: u64,
}

impl Writer {
    fn write_until_it_dies(&mut self, daemon: &Daemon) {
        let Ok(mut admin) = Admin::connect(daemon.home()) else { return };
        loop {
            self.next += 1;
            let wanted = (!self.next.is_multiple_of(5) || self.acknowledged.is_none()).then_some(self.next);
            self.doubt = Some(wanted);
            let outcome = match wanted {
                Some(number) => {
                    let document = format!(r#"{{"keys":[],"spiffe_sequence":{number}}}"#).into_bytes();
                    let request = Foreign { trust_domain: self.name.clone(), document, ..Foreign::default() };
                    admin.call::<ForeignSet>("Bundles/Set", &request).map(|answer| answer.map(drop))
                }
                None => {
                    let request = ForeignNamed { trust_domain: self.name.clone(), force: false };
                    admin.call::<Nothing>("Bundles/Delete", &request).map(|answer| answer.map(drop))
                }
            };
            match outcome {
                Ok(Ok(())) => (self.acknowledged, self.doubt) = (wanted, None),
                Ok(Err(answer)) => panic!("refused: {:?} {}", answer.code(), answer.words()),
                Err(_) => return,
            }
            self.written += 1;
        }
    }

    fn reconcile(&mut self, admin: &mut Admin) {
        let request = ForeignNamed { trust_domain: self.name.clone(), force: false };
        let found = admin.call::<Foreign>("Bundles/Show", &request).unwrap();
        let found = found.ok().map(|bundle| bundle.sequence.expect("each has a number"));
        let may = [Some(self.acknowledged), self.doubt.take()];
        assert!(may.contains(&Some(found)), "{}: {found:?} is there, and not {may:?}", self.name);
        self.acknowledged = found;
    }
}

#[test]
fn a_kill_at_any_moment_loses_no_bundle_that_was_acknowledged() {
    let seed = Chance::seed();
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let folder = Folder::new();
    let mut writers: Vec<_> = ["one.test", "two.test", "three.test"]
        .map(|name| Writer { name: name.into(), acknowledged: None, doubt: None, next: 0, written: 0 })
        .into();
    for _ in 0..rounds(100) {
        let mut daemon = Daemon::start_in(folder.path(), &[]);
        let mut admin = Admin::connect(daemon.home()).unwrap();
        writers.iter_mut().for_each(|writer| writer.reconcile(&mut admin));
        let moment = chance.moment(Duration::from_millis(300));
        die_at_work(&mut daemon, &mut writers, moment, Writer::write_until_it_dies);
    }
    let daemon = Daemon::start_in(folder.path(), &[]);
    let mut admin = Admin::connect(daemon.home()).unwrap();
    writers.iter_mut().for_each(|writer| writer.reconcile(&mut admin));
    audit_must_verify(&daemon);
    let (log, written) = (daemon.log(), writers.iter().map(|writer| writer.written).sum::<u64>());
    assert!(!log.contains("panicked") && !log.contains("left out"), "{log}");
    println!("{} rounds, {written} writes acknowledged", rounds(100));
    assert!(written > 0);
}

//! A desk over a real store and a real log, for the tests of this room and of the doors.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Author, Desk, open};
use crate::{
    audit,
    issuance::foreign::{self, Office, fixture::own_keys},
    registry::{Catalog, Draft, Revocations, Snapshot},
    spiffe::TrustDomain,
    store::Store,
    sys::{Clock, counters::Counters, scratch::Scratch},
};

/// An admin.
pub(crate) const ADMIN: Author = Author { pid: 4242, uid: 501, gid: 20 };

/// A desk whose clerk runs.
pub(crate) struct Fixture {
    pub(crate) desk: Desk,
    pub(crate) office: Office,
    pub(crate) log: audit::Log,
    pub(crate) store: Store,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stopping: CancellationToken,
    clerk: JoinHandle<()>,
    registrar: JoinHandle<()>,
    home: Scratch,
}

impl Fixture {
    /// With nothing registered.
    pub(crate) fn new() -> Self {
        Self::in_home(Scratch::new())
    }

    /// With a database that refuses every entry whose hint is `unwritable`.
    pub(crate) fn with_faulty_store() -> Self {
        let home = Scratch::new();
        Store::open(home.path(), &trust_domain()).unwrap().0.close();
        let database = rusqlite::Connection::open(home.path().join("dayfly.db")).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON entry WHEN NEW.hint = 'unwritable'
            BEGIN SELECT RAISE(FAIL, 'refused'); END";
        database.execute_batch(trigger).unwrap();
        drop(database);
        Self::in_home(home)
    }

    fn in_home(home: Scratch) -> Self {
        let (store, loaded) = Store::open(home.path(), &trust_domain()).unwrap();
        let clock = Clock::system();
        let log = audit::Log::in_test(&home.path().join("audit"), audit::Limits::default(), clock.clone()).unwrap();
        let present = Snapshot::build(loaded.registry_revision, loaded.entries.into_iter().map(Arc::new));
        let present = present.with_catalog(Catalog::build(loaded.items).0);
        let present = present.with_revocations(Revocations::of(loaded.revoked));
        let (counters, stopping) = (Arc::new(Counters::default()), CancellationToken::new());
        let (desk, clerk) = open(trust_domain(), present, store.clone(), log.clone(), clock.clone(), counters.clone());
        let (registry, kept) = (desk.registry(), loaded.bundles);
        let foreign = foreign::open(kept, registry, own_keys(), store.clone(), log.clone(), clock, counters.clone());
        let clerk = tokio::spawn(clerk.run(stopping.clone()));
        let registrar = tokio::spawn(foreign.registrar.run(stopping.clone()));
        Self { desk, office: foreign.office, log, store, counters, stopping, clerk, registrar, home }
    }

    /// Ends it and begins anew with what was stored.
    pub(crate) async fn restart(self) -> Self {
        let Self { desk, log, store, stopping, clerk, registrar, home, .. } = self;
        stopping.cancel();
        clerk.await.unwrap();
        registrar.await.unwrap();
        log.close();
        store.close();
        drop(desk);
        Self::in_home(home)
    }

    /// All audit records of a kind, in their order.
    pub(crate) fn records(&self, kind: &str) -> Vec<serde_json::Value> {
        records(&self.home.path().join("audit"), kind)
    }

    /// The value of a counter, over all its labels.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let mut sum = 0;
        self.counters.each(|sample| sum += if sample.name == name { sample.value } else { 0 });
        sum
    }
}

pub(crate) fn records(folder: &Path, kind: &str) -> Vec<serde_json::Value> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().filter_map(|path| fs::read_to_string(path).ok());
    let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let records = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok());
    records.filter(|record| record.get("kind").is_some_and(|found| found == kind)).collect()
}

/// `example.org`
pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

/// An entry for `spiffe://example.org/NAME` and a uid.
pub(crate) fn draft(name: &str, uid: u32) -> Draft {
    Draft {
        spiffe_id: format!("spiffe://example.org/{name}"),
        selectors: vec![format!("unix:uid:{uid}")],
        ..Draft::default()
    }
}

//! The owner of the foreign bundles. It carries out one order after the other:
//! check → record → disk → snapshot.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    audit,
    authority::Keyring,
    issuance::{
        desk::{self, Author},
        orders::{self, Owner, Pending},
    },
    registry::Snapshot,
    store::{self, Store},
    sys::{Clock, chain, counters::Counters, threads::aside},
};

use super::{
    Error, Foreign, Outcome,
    office::{Order, undone},
    plan::{Plan, Present},
};

/// The owner task.
pub(crate) struct Registrar {
    pub(super) queue: mpsc::Receiver<Pending<Self>>,
    pub(super) foreign: watch::Sender<Arc<Foreign>>,
    pub(super) registry: watch::Receiver<Arc<Snapshot>>,
    pub(super) keyring: watch::Receiver<Arc<Keyring>>,
    pub(super) store: Store,
    pub(super) log: audit::Log,
    pub(super) clock: Clock,
    pub(super) counters: Arc<Counters>,
    /// A plan that the disk neither confirmed nor refused, and whose it is.
    pub(super) unsure: Option<(Author, Plan)>,
}

impl Registrar {
    /// Carries out orders until the daemon stops. One that has begun is brought to its end.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        orders::run(self, stopping).await;
    }
}

impl Owner for Registrar {
    type Order = Order;
    type Outcome = Outcome;
    type Error = Error;
    const OF: &'static str = "foreign bundles";

    fn queue(&mut self) -> &mut mpsc::Receiver<Pending<Self>> {
        &mut self.queue
    }

    async fn carry_out(&mut self, author: Author, order: Order) -> Result<Outcome, Error> {
        self.settle().await?;
        let present = Present {
            foreign: self.foreign.borrow().clone(),
            registry: self.registry.borrow().clone(),
            keyring: self.keyring.borrow().clone(),
            now: self.now(),
        };
        let log = self.log.clone();
        // Counting the entries of a domain is a walk over all, and a strict log takes milliseconds.
        let planned = aside(move || {
            let plan = present.plan(order)?;
            plan.record(&log, author)?;
            Ok(plan)
        });
        let planned: Result<Plan, Error> = planned.await.map_err(undone)?;
        let plan = planned.inspect_err(|error| {
            if let Error::Change(desk::Error::Audit(_)) = error {
                tracing::error!(error = %chain(error), "audit log takes no record, so nothing is changed");
                self.counters.audit_failed();
            }
        })?;
        if !plan.outcome.is_changed {
            return Ok(plan.outcome);
        }
        let written = match plan.next.of(plan.trust_domain()) {
            Some(bundle) => self.store.save_bundle(bundle.row()).await,
            None => self.store.remove_bundle(plan.trust_domain().clone()).await,
        };
        match written {
            Ok(()) => Ok(self.publish(author, plan)),
            Err(error @ store::Error::Unconfirmed { .. }) => {
                tracing::error!(error = %chain(&error), "it is not known whether a foreign bundle is on the disk");
                self.unsure = Some((author, plan));
                match self.settle().await {
                    Ok(Some(outcome)) => Ok(outcome),
                    Ok(None) => Err(desk::Error::Store(error).into()),
                    Err(_) => Err(desk::Error::Unsure(error).into()),
                }
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "a foreign bundle could not be written");
                self.counters.store_failed();
                plan.take_back(&self.log, author);
                Err(desk::Error::Store(error).into())
            }
        }
    }
}

impl Registrar {
    /// Asks the store whether a change that it did not confirm was made, and goes on from there.
    async fn settle(&mut self) -> Result<Option<Outcome>, Error> {
        let Some((author, plan)) = self.unsure.take() else { return Ok(None) };
        match self.store.load().await {
            Ok(loaded) => {
                let name = plan.trust_domain();
                let found = loaded.bundles.into_iter().find(|row| row.trust_domain == *name);
                if found == plan.next.of(name).map(|bundle| bundle.row()) {
                    return Ok(Some(self.publish(author, plan)));
                }
                self.counters.store_failed();
                plan.take_back(&self.log, author);
                Ok(None)
            }
            Err(error) => {
                self.unsure = Some((author, plan));
                Err(desk::Error::Store(error).into())
            }
        }
    }

    /// From here on it is true for everybody.
    fn publish(&self, author: Author, plan: Plan) -> Outcome {
        let Plan { next, outcome, verb, .. } = plan;
        self.counters.store_committed();
        self.counters.foreign_bundles_are(next.len());
        let document = outcome.bundle.document();
        tracing::info!(
            trust_domain = %document.trust_domain(),
            verb,
            revision = outcome.bundle.revision(),
            x509 = document.x509().authorities().len(),
            jwt = document.jwt().len(),
            wit = document.wit().len(),
            entries = outcome.entries,
            uid = author.uid,
            pid = author.pid,
            "foreign bundle changed"
        );
        self.foreign.send_replace(Arc::new(next));
        outcome
    }

    /// The store keeps nanoseconds of the epoch.
    fn now(&self) -> SystemTime {
        let since_epoch = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{
        issuance::{
            desk::fixture::ADMIN,
            foreign::{
                Office, Opened,
                fixture::{anchor, domain, json, own_keys, x509_entry},
                office::ORDERS_MAX,
                open,
                read::read_kept,
            },
        },
        spiffe::TrustDomain,
        sys::scratch::Scratch,
    };

    /// An office without anything, and its registrar, who does not run yet.
    fn office(home: &Scratch) -> (Office, Registrar) {
        let (store, _) = Store::open(home.path(), &domain("example.org")).unwrap();
        let log = audit::Log::in_test(&home.path().join("audit"), audit::Limits::default(), Clock::system()).unwrap();
        let registry = watch::channel(Arc::new(Snapshot::empty())).1;
        let Opened { office, registrar, .. } =
            open(Vec::new(), registry, own_keys(), store, log, Clock::system(), Arc::default());
        (office, registrar)
    }

    #[tokio::test]
    async fn what_the_disk_did_not_confirm_is_settled_before_anything_else() {
        for was_made in [true, false] {
            let home = Scratch::new();
            let (office, mut registrar) = office(&home);
            let store = registrar.store.clone();
            let document = read_kept(&domain("a.test"), json(&[x509_entry(&anchor("a.test"))]).as_bytes()).unwrap();
            let present = Present {
                foreign: Arc::default(),
                registry: Arc::new(Snapshot::empty()),
                keyring: registrar.keyring.borrow().clone(),
                now: registrar.now(),
            };
            let plan = present.plan(Order::Set(Box::new(document))).unwrap();
            if was_made {
                store.save_bundle(plan.outcome.bundle.row()).await.unwrap();
            }
            registrar.unsure = Some((ADMIN, plan));
            tokio::spawn(registrar.run(CancellationToken::new()));
            office.set(ADMIN, "b.test", json(&[]).into()).await.unwrap();
            let names = |names: Vec<&TrustDomain>| names.into_iter().map(ToString::to_string).collect::<Vec<_>>();
            let seen = office.foreign().borrow().clone();
            let kept = store.load().await.unwrap().bundles;
            let expected = if was_made { vec!["a.test", "b.test"] } else { vec!["b.test"] };
            assert_eq!(names(seen.iter().map(|bundle| bundle.document().trust_domain()).collect()), expected);
            assert_eq!(names(kept.iter().map(|row| &row.trust_domain).collect()), expected);
        }
    }

    #[tokio::test]
    async fn a_deletion_that_was_not_confirmed_is_settled_too() {
        for was_made in [true, false] {
            let home = Scratch::new();
            let (office, mut registrar) = office(&home);
            let store = registrar.store.clone();
            let given = || Box::new(read_kept(&domain("a.test"), json(&[]).as_bytes()).unwrap());
            registrar.carry_out(ADMIN, Order::Set(given())).await.unwrap();
            let present = Present {
                foreign: registrar.foreign.borrow().clone(),
                registry: Arc::new(Snapshot::empty()),
                keyring: registrar.keyring.borrow().clone(),
                now: registrar.now(),
            };
            let plan = present.plan(Order::Delete { trust_domain: domain("a.test"), force: false }).unwrap();
            if was_made {
                store.remove_bundle(domain("a.test")).await.unwrap();
            }
            registrar.unsure = Some((ADMIN, plan));
            let outcome = registrar.carry_out(ADMIN, Order::Set(given())).await.unwrap();
            assert_eq!((outcome.is_changed, office.foreign().borrow().len()), (was_made, 1));
            assert_eq!(store.load().await.unwrap().bundles.len(), 1);
        }
    }

    #[test]
    fn without_a_thread_nothing_is_changed_and_the_registrar_goes_on() {
        let home = Scratch::new();
        crate::sys::threads::runtime_without().block_on(async {
            let (office, registrar) = office(&home);
            tokio::spawn(registrar.run(CancellationToken::new()));
            for _ in 0..2 {
                let error = office.delete(ADMIN, "a.test", false).await.unwrap_err();
                assert!(matches!(error, Error::Change(desk::Error::NoThread)), "{error}");
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_of_orders_is_told_as_such() {
        let home = Scratch::new();
        let (office, registrar) = office(&home);
        // Nobody works at them.
        let waiting: Vec<_> = (0..ORDERS_MAX)
            .map(|_| {
                let office = office.clone();
                tokio::spawn(async move { office.delete(ADMIN, "a.test", false).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        let error = office.delete(ADMIN, "a.test", false).await.unwrap_err();
        assert!(matches!(error, Error::Change(desk::Error::Busy)), "{error}");
        drop(registrar);
        for order in waiting {
            assert!(!order.await.unwrap(), "whoever waits hears that the daemon stops");
        }
    }
}

//! Where admins bring foreign bundles.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::{
    audit,
    authority::Keyring,
    issuance::{
        desk::{self, Author},
        orders::{self, Pending},
    },
    registry::Snapshot,
    spiffe::TrustDomain,
    store::{BundleRow, Store},
    sys::{
        Clock,
        counters::Counters,
        threads::{Undone, aside},
    },
};

use super::{
    Bundle, Error, Foreign, Outcome, Registrar,
    read::{self, Given},
};

/// Orders that may wait for the one before them.
pub(crate) const ORDERS_MAX: usize = 16;

/// Takes orders. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Office {
    own: TrustDomain,
    clock: Clock,
    orders: mpsc::Sender<Pending<Registrar>>,
    foreign: watch::Receiver<Arc<Foreign>>,
    registry: watch::Receiver<Arc<Snapshot>>,
    counters: Arc<Counters>,
}

/// An order whose document is right.
#[derive(Debug)]
pub(in crate::issuance) enum Order {
    Set(Box<Given>),
    Delete { trust_domain: TrustDomain, force: bool },
}

/// An office over what the store has.
pub(crate) struct Opened {
    pub(crate) office: Office,
    /// It must run for any order to be carried out.
    pub(crate) registrar: Registrar,
    /// How many of the store's documents are none. Each was logged.
    pub(crate) left_out: usize,
}

/// Opens the office of a trust domain over what the store has.
pub(crate) fn open(
    rows: Vec<BundleRow>,
    registry: watch::Receiver<Arc<Snapshot>>,
    keyring: watch::Receiver<Arc<Keyring>>,
    store: Store,
    log: audit::Log,
    clock: Clock,
    counters: Arc<Counters>,
) -> Opened {
    let own = keyring.borrow().bundle().trust_domain().clone();
    let all = rows.len();
    let bundles = rows.into_iter().filter_map(|row| load(&own, row));
    let present = bundles.fold(Foreign::default(), |all, bundle| all.with(Arc::new(bundle)));
    let left_out = all.saturating_sub(present.len());
    counters.foreign_bundles_are(present.len());
    let (orders, queue) = mpsc::channel(ORDERS_MAX);
    let (sender, foreign) = watch::channel(Arc::new(present));
    let office =
        Office { own, clock: clock.clone(), orders, foreign, registry: registry.clone(), counters: counters.clone() };
    let registrar = Registrar { queue, foreign: sender, registry, keyring, store, log, clock, counters, unsure: None };
    Opened { office, registrar, left_out }
}

fn load(own: &TrustDomain, row: BundleRow) -> Option<Bundle> {
    let BundleRow { trust_domain, document, revision, changed_at } = row;
    let read = match trust_domain == *own {
        true => Err(Error::Own(trust_domain.clone())),
        false => read::read_kept(&trust_domain, &document)
            .map_err(|reason| Error::Refused { trust_domain: trust_domain.clone(), reason }),
    };
    let read = read.inspect_err(|error| {
        tracing::error!(%trust_domain, problem = %error, "a foreign bundle in the database is left out");
    });
    Some(Bundle::new(read.ok()?.document, revision, changed_at))
}

impl Office {
    /// All foreign bundles, now and after each change.
    pub(crate) fn foreign(&self) -> watch::Receiver<Arc<Foreign>> {
        self.foreign.clone()
    }

    /// The registry, whose entries say who is given which bundle.
    pub(crate) fn registry(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.registry.clone()
    }

    /// Puts a document in the place of the one that a trust domain had: SPIFFE JSON, or certificates in PEM.
    ///
    /// # Errors
    /// When the name is none or our own, the document is refused, there would be too much, or that nothing can be
    /// changed now.
    pub(crate) async fn set(&self, author: Author, name: &str, document: Bytes) -> Result<Outcome, Error> {
        let trust_domain = self.named(name)?;
        let (named, now) = (trust_domain.clone(), self.clock.now());
        // A large one takes milliseconds: not on a thread that serves.
        let given = aside(move || read::read(&named, &document, now)).await.map_err(undone)?;
        let given = given.map_err(|reason| Error::Refused { trust_domain, reason })?;
        self.order(author, Order::Set(Box::new(given))).await
    }

    /// Takes the bundle of a trust domain away.
    ///
    /// # Errors
    /// When there is none, entries federate with it and it is not forced, or nothing can be changed now.
    pub(crate) async fn delete(&self, author: Author, name: &str, force: bool) -> Result<Outcome, Error> {
        let trust_domain = self.named(name)?;
        self.order(author, Order::Delete { trust_domain, force }).await
    }

    /// The bundle of a trust domain.
    ///
    /// # Errors
    /// When the name is none or our own, or there is no bundle of it.
    pub(crate) fn show(&self, name: &str) -> Result<Arc<Bundle>, Error> {
        let trust_domain = self.named(name)?;
        let found = self.foreign.borrow().of(&trust_domain).cloned();
        found.ok_or(Error::Unknown(trust_domain))
    }

    /// A foreign trust domain; `spiffe://NAME` is read too, as with entries.
    fn named(&self, name: &str) -> Result<TrustDomain, Error> {
        const SHOWN_CHARS_MAX: usize = 120;
        let parsed = match name.starts_with("spiffe://") {
            true => TrustDomain::parse_id(name),
            false => TrustDomain::parse(name),
        };
        match parsed {
            Ok(name) if name == self.own => Err(Error::Own(name)),
            Ok(name) => Ok(name),
            Err(reason) => {
                let name = name.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
                Err(Error::Name { name, reason })
            }
        }
    }

    /// Once it is in the queue an order is carried out, whether or not anybody waits for its outcome.
    async fn order(&self, author: Author, order: Order) -> Result<Outcome, Error> {
        orders::ask(&self.orders, &self.counters, author, order).await
    }
}

/// Work that was not done is as with entries.
pub(super) fn undone(undone: Undone) -> Error {
    Error::Change(match undone {
        Undone::NoThread => desk::Error::NoThread,
        Undone::Broken => desk::Error::Fault,
    })
}

//! The keys of one kind that one caller should trust, for as long as it listens: those of our own trust domain, and of
//! the foreign ones that its entries federate with.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Error, Issuer, ROUNDS_MAX,
    foreign::{Foreign, View},
    pace::Pace,
};
use crate::{
    attest::{self, Attested, Caller},
    authority::Keyring,
    policy::{Credential, Reason},
    registry::{Given, Snapshot},
    spiffe::TrustDomain,
};

/// Every bundle that a caller should have; never a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bundles {
    /// Our own trust domain's, which is always there.
    pub(crate) own: (TrustDomain, Bytes),
    /// The foreign ones'.
    pub(crate) federated: View,
}

/// The state of one stream of bundles.
pub(crate) struct BundleFeed {
    issuer: Arc<Issuer>,
    kind: Credential,
    caller: Arc<Caller>,
    registry: watch::Receiver<Arc<Snapshot>>,
    keyring: watch::Receiver<Arc<Keyring>>,
    foreign: watch::Receiver<Arc<Foreign>>,
    attested: Option<Arc<Attested>>,
    /// When the first of the caller's entries ends.
    until: Option<SystemTime>,
    sent: Option<Bundles>,
    pace: Pace,
}

impl BundleFeed {
    pub(super) fn new(issuer: Arc<Issuer>, kind: Credential, caller: Arc<Caller>) -> Self {
        let (registry, keyring, foreign) = (issuer.registry(), issuer.keyring(), issuer.foreign());
        let pace = Pace::default();
        Self { issuer, kind, caller, registry, keyring, foreign, attested: None, until: None, sent: None, pace }
    }

    /// The next message: at once the first time, then when a bundle has changed.
    ///
    /// # Errors
    /// When the caller has no identity (any more), is gone, or the daemon cannot answer.
    pub(crate) async fn next(&mut self) -> Result<Bundles, Error> {
        loop {
            if !self.pace.is_due() {
                self.wait().await?;
                self.pace.due();
            }
            self.pace.rest().await;
            match Box::pin(self.compute()).await? {
                Some(bundles) => {
                    self.pace.sent();
                    return Ok(bundles);
                }
                None => self.pace.same(),
            }
        }
    }

    /// Sleeps until something may have changed for this caller.
    async fn wait(&mut self) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = self.issuer.stopping().cancelled() => return Err(Error::Stopping),
                Ok(()) = self.registry.changed() => if self.is_concerned() { return Ok(()) },
                Ok(()) = self.keyring.changed() => if self.sees_another_own() { return Ok(()) },
                Ok(()) = self.foreign.changed() => if self.is_concerned() { return Ok(()) },
                () = sleep_until(&self.issuer, self.until) => return Ok(()),
                else => return Err(Error::Stopping),
            }
        }
    }

    /// Whether the registry and the foreign bundles as they are now say anything else to this caller than what it has.
    fn is_concerned(&self) -> bool {
        let snapshot = self.registry.borrow().clone();
        let (Some(attested), Some(sent)) = (&self.attested, &self.sent) else { return true };
        if !attested.is_enough_for(&snapshot) {
            return true;
        }
        match self.entitled(&snapshot, attested) {
            Ok(entries) => {
                self.until != end_of(&entries) || self.foreign.borrow().view(self.kind, &entries) != sent.federated
            }
            Err(_) => true,
        }
    }

    /// The entries that say which foreign bundles the caller has. Where strangers may verify, one without an identity
    /// has our own.
    fn entitled(&self, snapshot: &Snapshot, attested: &Attested) -> Result<Vec<Given>, Vec<Reason>> {
        match self.issuer.entitled(attested, snapshot, self.kind) {
            Err(_) if self.issuer.jwt_rules().strangers_verify => Ok(Vec::new()),
            entitled => entitled,
        }
    }

    fn sees_another_own(&self) -> bool {
        self.sent.as_ref().is_none_or(|sent| sent.own.1 != own(self.kind, &self.keyring.borrow()))
    }

    /// The state now; `None` when it is what was sent last.
    async fn compute(&mut self) -> Result<Option<Bundles>, Error> {
        for _ in 0..ROUNDS_MAX {
            // Before anything is read, so that no change is lost.
            let snapshot = self.registry.borrow_and_update().clone();
            let attested = self.issuer.attest(&self.caller, &snapshot).await?;
            if !self.issuer.gives_still(&attested, &snapshot) {
                continue;
            }
            let keyring = self.keyring.borrow_and_update().clone();
            let foreign = self.foreign.borrow_and_update().clone();
            let entries = match self.entitled(&snapshot, &attested) {
                Ok(entries) => entries,
                Err(reasons) => {
                    if !self.issuer.holds(&self.caller, &attested).await? {
                        continue;
                    }
                    return Err(self.issuer.refuse(&self.caller, &attested, "bundles", reasons));
                }
            };
            self.attested = Some(attested.clone());
            self.until = end_of(&entries);
            self.issuer.tell_missing(&self.caller, &foreign, &entries);
            let own = (keyring.bundle().trust_domain().clone(), own(self.kind, &keyring));
            let bundles = Bundles { own, federated: foreign.view(self.kind, &entries) };
            if self.sent.as_ref() == Some(&bundles) {
                return Ok(None);
            }
            if self.issuer.holds(&self.caller, &attested).await? && self.issuer.gives_still(&attested, &snapshot) {
                if self.sent.is_some() {
                    self.issuer.pushed();
                }
                self.sent = Some(bundles.clone());
                return Ok(Some(bundles));
            }
        }
        Err(Error::Attest(attest::Error::Unsteady))
    }
}

/// What our own trust domain has in a map of this kind.
fn own(kind: Credential, keyring: &Keyring) -> Bytes {
    match kind {
        Credential::X509 => keyring.bundle().der().clone(),
        Credential::Jwt => keyring.jwt_bundle(),
        Credential::Wit => keyring.wit_bundle(),
    }
}

/// When one of these entries ends first, where one does.
fn end_of(entries: &[Given]) -> Option<SystemTime> {
    entries.iter().filter_map(|entry| entry.spec.expires_at).min()
}

/// Sleeps until an entry has ended; for ever where none does.
async fn sleep_until(issuer: &Issuer, until: Option<SystemTime>) {
    match until {
        // Policy gives nothing in the last second.
        Some(until) => issuer.clock().sleep_between(SystemTime::UNIX_EPOCH, until - LAST_SECOND).await,
        None => std::future::pending().await,
    }
}

const LAST_SECOND: Duration = Duration::from_millis(999);

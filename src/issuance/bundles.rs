//! The X.509 authorities that one caller should trust, for as long as it listens.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Error, Issuer, ROUNDS_MAX};
use crate::{
    attest::{self, Attested, Caller},
    authority::Keyring,
    policy::Reason,
    registry::Snapshot,
};

/// The state of one stream of bundles.
pub(crate) struct BundleFeed {
    issuer: Arc<Issuer>,
    caller: Arc<Caller>,
    registry: watch::Receiver<Arc<Snapshot>>,
    keyring: watch::Receiver<Arc<Keyring>>,
    attested: Option<Arc<Attested>>,
    sent: Option<Bytes>,
}

impl BundleFeed {
    pub(super) fn new(issuer: Arc<Issuer>, caller: Arc<Caller>) -> Self {
        let (registry, keyring) = (issuer.registry(), issuer.keyring());
        Self { issuer, caller, registry, keyring, attested: None, sent: None }
    }

    /// The next message, trust domain IDs with their authorities (DER, one after the other): at once the first time,
    /// then when a bundle has changed.
    ///
    /// # Errors
    /// When the caller has no identity (any more), is gone, or the daemon cannot answer.
    pub(crate) async fn next(&mut self) -> Result<HashMap<String, Bytes>, Error> {
        loop {
            if self.sent.is_some() {
                self.wait().await?;
            }
            if let Some(bundles) = self.compute().await? {
                return Ok(bundles);
            }
        }
    }

    /// Sleeps until something may have changed for this caller.
    async fn wait(&mut self) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = self.issuer.stopping().cancelled() => return Err(Error::Stopping),
                Ok(()) = self.registry.changed() => if self.is_concerned() { return Ok(()) },
                Ok(()) = self.keyring.changed() => return Ok(()),
                else => return Err(Error::Stopping),
            }
        }
    }

    /// Whether the registry as it is now may have taken the caller's last identity.
    fn is_concerned(&self) -> bool {
        let snapshot = self.registry.borrow().clone();
        self.attested.as_ref().is_none_or(|attested| {
            !attested.is_enough_for(&snapshot) || self.issuer.granted(attested, &snapshot).given.is_empty()
        })
    }

    /// The state now; `None` when it is what was sent last.
    async fn compute(&mut self) -> Result<Option<HashMap<String, Bytes>>, Error> {
        for _ in 0..ROUNDS_MAX {
            let snapshot = self.registry.borrow_and_update().clone();
            let keyring = self.keyring.borrow_and_update().clone();
            let attested = self.issuer.attest(&self.caller, &snapshot).await?;
            let granted = self.issuer.granted(&attested, &snapshot);
            if granted.given.is_empty() {
                if !self.issuer.holds(&self.caller, &attested).await? {
                    continue;
                }
                let reasons = Reason::of_nothing(granted.withheld);
                return Err(self.issuer.refuse(&self.caller, &attested, "bundles", reasons));
            }
            self.attested = Some(attested.clone());
            let bundle = keyring.bundle();
            if self.sent.as_ref() == Some(bundle.der()) {
                return Ok(None);
            }
            if self.issuer.holds(&self.caller, &attested).await? {
                if self.sent.is_some() {
                    self.issuer.pushed();
                }
                self.sent = Some(bundle.der().clone());
                return Ok(Some(HashMap::from([(bundle.trust_domain().id(), bundle.der().clone())])));
            }
        }
        Err(Error::Attest(attest::Error::Unsteady))
    }
}

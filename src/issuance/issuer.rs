//! What every door shares: the present registry, the present keys, the rules, and the log.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{BundleFeed, Error, X509Feed};
use crate::{
    attest::{self, Attested, Caller},
    audit::{self, Record, Urgency},
    authority::{Keyring, Svid},
    policy::{self, Judgement, Reason, Request, Rules},
    registry::{Entry, Snapshot},
    sys::{Clock, chain, counters::Counters},
};

/// The way from a caller to a credential. One for the daemon.
pub(crate) struct Issuer {
    registry: watch::Receiver<Arc<Snapshot>>,
    keyring: watch::Receiver<Arc<Keyring>>,
    rules: Rules,
    log: audit::Log,
    clock: Clock,
    counters: Arc<Counters>,
    stopping: CancellationToken,
    /// Nothing is signed any more, and streams stay.
    resting: CancellationToken,
}

/// What an entry came to.
pub(super) enum Outcome {
    Signed(Svid),
    Refused(Vec<Reason>),
    Failed(Error),
}

impl Issuer {
    /// Everything the spine stands on.
    pub(crate) fn new(
        registry: watch::Receiver<Arc<Snapshot>>,
        keyring: watch::Receiver<Arc<Keyring>>,
        rules: Rules,
        log: audit::Log,
        clock: Clock,
        counters: Arc<Counters>,
        stopping: CancellationToken,
    ) -> Self {
        let resting = stopping.clone();
        Self { registry, keyring, rules, log, clock, counters, stopping, resting }
    }

    /// Signs nothing any more once this is cancelled: another process may, soon.
    pub(crate) fn rests_with(self, resting: CancellationToken) -> Self {
        Self { resting, ..self }
    }

    /// The X.509-SVIDs of a caller, now and after each change.
    pub(crate) fn x509(self: &Arc<Self>, caller: Arc<Caller>) -> X509Feed {
        X509Feed::new(self.clone(), caller)
    }

    /// The X.509 authorities that a caller should trust, now and after each change.
    pub(crate) fn x509_bundles(self: &Arc<Self>, caller: Arc<Caller>) -> BundleFeed {
        BundleFeed::new(self.clone(), caller)
    }

    pub(super) fn registry(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.registry.clone()
    }

    pub(super) fn keyring(&self) -> watch::Receiver<Arc<Keyring>> {
        self.keyring.clone()
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A message leaves on a stream that has had one.
    pub(super) fn pushed(&self) {
        self.counters.pushed();
    }

    /// A caller has more identities than one answer has.
    pub(super) fn too_many(&self, caller: &Caller, identities: usize) {
        self.counters.limit_met("identities_per_caller");
        let peer = caller.peer();
        if self.counters.is_worth_a_line(peer.uid()) {
            tracing::warn!(
                pid = peer.pid(),
                uid = peer.uid(),
                identities,
                "a caller matches more entries than are issued to one; it is given the oldest"
            );
        }
    }

    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// What is true of the caller now.
    pub(super) async fn attest(&self, caller: &Caller, snapshot: &Snapshot) -> Result<Arc<Attested>, Error> {
        let attested = caller.attest(snapshot).await;
        self.counters.attested(attested.as_ref().err().map(attest::Error::code));
        attested.map_err(|error| self.not_attested(caller, error))
    }

    /// Whether what was attested is still so. The last question before anything leaves.
    pub(super) async fn holds(&self, caller: &Caller, attested: &Arc<Attested>) -> Result<bool, Error> {
        caller.holds(attested).await.map_err(|error| self.not_attested(caller, error))
    }

    fn not_attested(&self, caller: &Caller, error: attest::Error) -> Error {
        match error {
            // The connection's own task records it, as it does for what it finds by itself.
            attest::Error::Fault(fault) => {
                caller.condemn(fault);
                Error::Closed
            }
            error => {
                if self.counters.is_worth_a_line(caller.peer().uid()) {
                    tracing::warn!(
                        pid = caller.peer().pid(),
                        uid = caller.peer().uid(),
                        reason = error.code(),
                        "caller not attested"
                    );
                }
                // A record that is not taken changes nothing here: nothing was issued.
                self.record_refusal(caller, None, &[error.code()], None).ok();
                Error::Attest(error)
            }
        }
    }

    /// Judges and signs one entry for a caller, and records it. What is signed has its record.
    pub(super) fn sign(
        &self,
        caller: &Caller,
        attested: &Attested,
        entry: &Entry,
        renewal: bool,
        now: SystemTime,
    ) -> Outcome {
        if self.resting.is_cancelled() {
            return Outcome::Failed(Error::Stopping);
        }
        let permit = match policy::judge(&Request { entry }, &self.rules, now) {
            Judgement::Permit(permit) => permit,
            Judgement::Refuse(reasons) => return Outcome::Refused(reasons),
        };
        let keyring = self.keyring.borrow().clone();
        let svid = match keyring.sign_x509(permit, now) {
            Ok(svid) => svid,
            Err(error) => {
                if self.counters.is_worth_a_line(caller.peer().uid()) {
                    tracing::error!(entry = %entry.id, id = %entry.spec.spiffe_id, error = %chain(&error), "credential not signed");
                }
                self.counters.sign_failed();
                return Outcome::Failed(Error::Sign(error));
            }
        };
        let record = Record::Issued {
            caller: self.recorded(caller, attested),
            credential: "x509-svid",
            spiffe_id: svid.id.clone(),
            entry: entry.id.to_string(),
            revision: entry.revision,
            serial: svid.serial.clone(),
            not_after: svid.not_after,
            renewal,
        };
        let urgency = if renewal { Urgency::Renewal } else { Urgency::Ordinary };
        if let Err(error) = self.log.append(&record, urgency) {
            if self.counters.is_worth_a_line(caller.peer().uid()) {
                tracing::error!(error = %chain(&error), "audit log takes no record");
            }
            self.counters.audit_failed();
            return Outcome::Failed(Error::Audit(error));
        }
        self.counters.issued(renewal);
        tracing::debug!(id = %svid.id, serial = svid.serial, authority = %svid.authority, pid = caller.peer().pid(), renewal, "issued");
        Outcome::Signed(svid)
    }

    /// Records that a caller was entitled to nothing.
    pub(super) fn refuse(&self, caller: &Caller, attested: &Attested, reasons: Vec<Reason>) -> Error {
        let codes: Vec<&'static str> =
            reasons.iter().map(Reason::code).chain(attested.lack.map(|lack| lack.code())).collect();
        for code in &codes {
            self.counters.refused(code);
        }
        tracing::debug!(pid = caller.peer().pid(), uid = caller.peer().uid(), ?codes, "refused");
        self.record_refusal(caller, Some(attested), &codes, None).ok();
        Error::Refused(reasons)
    }

    fn record_refusal(
        &self,
        caller: &Caller,
        attested: Option<&Attested>,
        reasons: &[&'static str],
        detail: Option<String>,
    ) -> Result<(), audit::Error> {
        let caller = match attested {
            Some(attested) => self.recorded(caller, attested),
            None => audit::Caller {
                pid: caller.peer().pid(),
                uid: caller.peer().uid(),
                gid: caller.peer().gid(),
                exe: None,
            },
        };
        let record = Record::Refused { caller, what: "x509-svid", reasons: reasons.to_vec(), detail };
        self.log.append(&record, Urgency::Ordinary).map(|_| ())
    }

    fn recorded(&self, caller: &Caller, attested: &Attested) -> audit::Caller {
        audit::Caller {
            pid: caller.peer().pid(),
            uid: attested.facts.uid,
            gid: attested.facts.gid,
            exe: attested.image.as_ref().map(|image| image.path.clone()),
        }
    }
}

//! What every door shares: the present registry, the present keys, the rules, and the log.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Alive, BundleFeed, Error, Feed, HolderKeys, JwtRules, Proxies, Wanted,
    credential::{Credentials, Order},
    foreign::{Foreign, Missing},
    rates::Rates,
    recorded::Unrecorded,
    reuse::Reuse,
    secrets::Secrets,
    wit::Wit,
    x509::X509,
};
use crate::{
    attest::{self, Attested, Caller},
    audit,
    authority::{self, Keyring},
    policy::{self, Credential, Judgement, Permit, Reason, Request, Rules},
    registry::{Given, Granted, Label, Selectors, Snapshot, granted},
    spiffe::TrustDomain,
    sys::{Clock, chain, counters::Counters, image::Spot},
};

/// The way from a caller to a credential. One for the daemon.
pub(crate) struct Issuer {
    sources: Sources,
    /// Foreign trust domains that were told to be missing.
    missing: Missing,
    rules: Rules,
    jwt_rules: JwtRules,
    log: audit::Log,
    clock: Clock,
    counters: Arc<Counters>,
    stopping: CancellationToken,
    /// X.509-SVIDs that are given again to a program that comes again.
    lately: Option<Arc<Reuse>>,
    /// The `iss` of access tokens; without one there are none.
    access_issuer: Option<String>,
    environment: Option<Label>,
    /// What the rates of grants leave.
    rates: Rates,
    /// Access tokens that are out.
    alive: Arc<Alive>,
    proxies: Arc<Proxies>,
    /// Nothing is signed any more, and streams stay.
    resting: CancellationToken,
}

/// Where the present state is read, now and after each change.
pub(crate) struct Sources {
    /// Who is who.
    pub(crate) registry: watch::Receiver<Arc<Snapshot>>,
    /// What signs, and what is trusted.
    pub(crate) keyring: watch::Receiver<Arc<Keyring>>,
    /// Who is trusted beside our own.
    pub(crate) foreign: watch::Receiver<Arc<Foreign>>,
}

/// So long a caller is kept waiting for the second in which what it is issued would count.
const GOOD_WAIT_MAX: Duration = Duration::from_secs(2);

/// Which of the entries that match a caller it is given.
pub(super) type Grants = fn(&Snapshot, &Selectors, SystemTime) -> Granted;

/// What an entry came to.
pub(super) enum Outcome<'e, T> {
    Signed(Unrecorded<'e, T>),
    Refused(Vec<Reason>),
    Failed(Error),
}

impl Issuer {
    /// Everything the spine stands on.
    pub(crate) fn new(
        sources: Sources,
        rules: Rules,
        jwt_rules: JwtRules,
        log: audit::Log,
        clock: Clock,
        counters: Arc<Counters>,
        stopping: CancellationToken,
    ) -> Self {
        let (resting, alive) = (stopping.clone(), Arc::new(Alive::new(clock.now())));
        Self {
            sources,
            missing: Missing::default(),
            rules,
            jwt_rules,
            log,
            clock,
            counters,
            stopping,
            lately: None,
            access_issuer: None,
            environment: None,
            rates: Rates::default(),
            alive,
            proxies: Arc::default(),
            resting,
        }
    }

    /// Signs nothing any more once this is cancelled: another process may, soon.
    pub(crate) fn rests_with(self, resting: CancellationToken) -> Self {
        Self { resting, ..self }
    }

    /// Gives the same X.509-SVIDs to a program that comes again within this time; zero for never.
    pub(crate) fn gives_again_within(self, time: Duration) -> Self {
        let lately = (!time.is_zero()).then(|| Arc::new(Reuse::new(time, self.counters.clone())));
        Self { lately, ..self }
    }

    /// Issues access tokens under this name.
    pub(crate) fn issues_access_as(self, issuer: String) -> Self {
        Self { access_issuer: Some(issuer), ..self }
    }

    /// Gives access to agents of this environment alone; `None`: they are not judged by theirs.
    pub(crate) fn gives_access_in(self, environment: Option<Label>) -> Self {
        Self { environment, ..self }
    }

    /// The X.509-SVIDs of a caller, now and after each change.
    pub(crate) fn x509(self: &Arc<Self>, caller: Arc<Caller>) -> Feed<X509> {
        let lately = self.lately.clone().zip(caller.peer().lasting_key());
        Feed::new(X509::new(lately), self.clone(), caller)
    }

    /// The secrets that a proxy asks for by name, now and after each change. Nothing is asked for yet.
    pub(crate) fn secrets(self: &Arc<Self>, caller: Arc<Caller>, keys: &HolderKeys) -> Feed<Secrets> {
        let lately = caller.peer().lasting_key().map(|process| (keys.x509(&self.counters), process));
        Feed::new(Secrets::new(X509::new(lately)), self.clone(), caller)
    }

    /// The WIT-SVIDs of a caller, of all its identities or of the one it wants, now and after each change.
    pub(crate) fn wit(self: &Arc<Self>, caller: Arc<Caller>, wanted: Wanted, keys: Arc<HolderKeys>) -> Feed<Wit> {
        Feed::new(Wit::new(wanted, keys), self.clone(), caller)
    }

    /// The keys that verify one kind of credential for a caller, now and after each change.
    pub(crate) fn bundles(self: &Arc<Self>, credential: Credential, caller: Arc<Caller>) -> BundleFeed {
        BundleFeed::new(self.clone(), credential, caller)
    }

    /// Who is who now.
    pub(crate) fn present_registry(&self) -> Arc<Snapshot> {
        self.sources.registry.borrow().clone()
    }

    /// What signs now.
    pub(crate) fn present_keyring(&self) -> Arc<Keyring> {
        self.sources.keyring.borrow().clone()
    }

    pub(super) fn registry(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.sources.registry.clone()
    }

    pub(super) fn keyring(&self) -> watch::Receiver<Arc<Keyring>> {
        self.sources.keyring.clone()
    }

    /// The foreign bundles. Which of them a caller is given, its entries say.
    pub(super) fn foreign(&self) -> watch::Receiver<Arc<Foreign>> {
        self.sources.foreign.clone()
    }

    /// Of the entries that match a caller, those that it may have this credential of, oldest first; or why there is
    /// none.
    pub(super) fn entitled(
        &self,
        attested: &Attested,
        snapshot: &Snapshot,
        credential: Credential,
    ) -> Result<Vec<Given>, Vec<Reason>> {
        let Granted { given: mut entitled, withheld, .. } = self.granted(attested, snapshot);
        let (now, mut refusals) = (self.clock.now(), Vec::new());
        entitled.retain(|entry| match policy::judge(&Request { entry, credential }, &self.rules, now) {
            Judgement::Permit(_) => true,
            Judgement::Refuse(reasons) => {
                refusals.extend(reasons);
                false
            }
        });
        match (entitled.is_empty(), refusals.is_empty()) {
            (false, _) => Ok(entitled),
            (true, false) => Err(refusals),
            (true, true) => Err(Reason::of_nothing(withheld)),
        }
    }

    /// Says once of each foreign trust domain that there is no bundle of it. Its entries are served without.
    pub(super) fn tell_missing(&self, caller: &Caller, foreign: &Foreign, entries: &[Given]) {
        for trust_domain in self.missing.newly(foreign, entries) {
            if self.counters.is_worth_a_line(caller.peer().uid()) {
                tracing::warn!(%trust_domain, "an entry federates with a trust domain that there is no bundle of; it is served without");
            }
        }
    }

    pub(super) fn jwt_rules(&self) -> &JwtRules {
        &self.jwt_rules
    }

    pub(super) fn access_issuer(&self) -> Option<&str> {
        self.access_issuer.as_deref()
    }

    /// Of which environment agents must be, if they are judged by theirs.
    pub(crate) fn environment(&self) -> Option<&Label> {
        self.environment.as_ref()
    }

    /// Access tokens that are out.
    pub(crate) fn alive(&self) -> &Arc<Alive> {
        &self.alive
    }

    /// Who listens for secrets.
    pub(crate) fn proxies(&self) -> &Arc<Proxies> {
        &self.proxies
    }

    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.rules.trust_domain
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A token was judged on a caller's behalf.
    pub(super) fn judged(&self, is_believed: bool) {
        self.counters.judged(is_believed);
    }

    /// A message leaves on a stream that has had one.
    pub(super) fn pushed(&self) {
        self.counters.pushed();
    }

    /// What the entries give to a caller now.
    pub(super) fn granted(&self, attested: &Attested, snapshot: &Snapshot) -> Granted {
        self.granted_by(granted, attested, snapshot)
    }

    /// As [`Self::granted`], by these rules.
    pub(super) fn granted_by(&self, rules: Grants, attested: &Attested, snapshot: &Snapshot) -> Granted {
        rules(snapshot, &attested.selectors, self.clock.now())
    }

    /// Whether the registry as it is now gives a caller what it gave then. While a caller was asked, or looked at, which
    /// it can draw out, an entry may have gone.
    pub(super) fn gives_still(&self, attested: &Attested, then: &Arc<Snapshot>) -> bool {
        self.gives_still_by(granted, attested, then)
    }

    /// As [`Self::gives_still`], by these rules.
    pub(super) fn gives_still_by(&self, rules: Grants, attested: &Attested, then: &Arc<Snapshot>) -> bool {
        let now = self.sources.registry.borrow().clone();
        let said = |snapshot: &Snapshot| {
            let given = self.granted_by(rules, attested, snapshot).given.into_iter();
            let said = |one: Given| (one.id.clone(), one.revision, one.spiffe_id().clone(), snapshot.tokens_from(&one));
            given.map(said).collect::<Vec<_>>()
        };
        Arc::ptr_eq(&now, then) || attested.is_enough_for(&now) && said(&now) == said(then)
    }

    /// Waits for the second from which on what is issued counts, where that is soon: later than [`GOOD_WAIT_MAX`] it is only
    /// where the clock was set back or the disk was slow.
    pub(super) async fn wait_until(&self, from: SystemTime) {
        let now = self.clock.now();
        if from.duration_since(now).unwrap_or_default() <= GOOD_WAIT_MAX {
            self.clock.sleep_between(now, from).await;
        }
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

    pub(super) fn log(&self) -> &audit::Log {
        &self.log
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether nothing is signed any more.
    pub(crate) fn is_resting(&self) -> bool {
        self.resting.is_cancelled()
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

    /// The program that a caller runs, as [`Caller::program`].
    pub(super) async fn program(&self, caller: &Caller) -> Result<Option<Spot>, Error> {
        caller.program().await.map_err(|error| self.not_attested(caller, error))
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
                self.record_refusal(caller, None, "identity", &[error.code()], None).ok();
                Error::Attest(error)
            }
        }
    }

    /// Judges one entry for a caller, and has it signed. It has no record then.
    pub(super) fn sign<'e, T: Credentials>(
        &self,
        caller: &Caller,
        order: Order<'e>,
        sign: impl FnOnce(&Keyring, Permit) -> Result<T, authority::Error>,
    ) -> Outcome<'e, T> {
        if self.is_resting() {
            return Outcome::Failed(Error::Stopping);
        }
        let Order { entry, credential, renewal, now } = order;
        match policy::judge(&Request { entry, credential }, &self.rules, now) {
            Judgement::Permit(permit) => match self.signed(caller, entry, renewal, |keyring| sign(keyring, permit)) {
                Ok(signed) => Outcome::Signed(signed),
                Err(error) => Outcome::Failed(error),
            },
            Judgement::Refuse(reasons) => Outcome::Refused(reasons),
        }
    }

    /// Has something signed for a caller, by an entry and with a permit. It has no record then.
    pub(super) fn signed<'e, T: Credentials>(
        &self,
        caller: &Caller,
        entry: &'e Given,
        renewal: bool,
        sign: impl FnOnce(&Keyring) -> Result<T, authority::Error>,
    ) -> Result<Unrecorded<'e, T>, Error> {
        let keyring = self.sources.keyring.borrow().clone();
        sign(&keyring).map(|signed| Unrecorded::new(entry, renewal, signed)).map_err(|error| {
            if self.counters.is_worth_a_line(caller.peer().uid()) {
                tracing::error!(entry = %entry.id, id = %entry.spiffe_id(), error = %chain(&error), "credential not signed");
            }
            self.counters.sign_failed();
            Error::Sign(error)
        })
    }
}

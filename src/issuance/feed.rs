//! The credentials of one caller of one kind, for as long as it listens.
//!
//! A change elsewhere neither signs nor sends anything here: an entry is signed when
//! it is new to this stream, says something else about the credential, or is due; a message is sent when it differs
//! from the last one.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Error, Issuer, ROUNDS_MAX,
    credential::{Credentials, Order},
    foreign::{Foreign, View},
    held::Held,
    issuer::Outcome,
    kind::Kind,
    pace::Pace,
    recorded::Recorded,
};
use crate::{
    attest::{Attested, Caller},
    authority::Keyring,
    policy::Reason,
    registry::{EntryId, Given, Granted, Snapshot, Withheld},
    sys::image::Spot,
};

/// One identity of a caller, with everything it needs.
pub(crate) struct Identity<T> {
    pub(crate) svid: Arc<T>,
    pub(crate) hint: String,
}

/// Everything a caller is entitled to at one moment; never a part of it.
pub(crate) struct Update<T> {
    /// The default identity first, and it stays first. None only where a caller waits ([`Kind::lacks`]).
    pub(crate) identities: Vec<Identity<T>>,
    /// As [`Kind::bundle`].
    pub(crate) bundle: Bytes,
    /// As [`Kind::federated`].
    pub(crate) federated: View,
}

/// The state of one stream.
pub(crate) struct Feed<K: Kind> {
    kind: K,
    issuer: Arc<Issuer>,
    caller: Arc<Caller>,
    registry: watch::Receiver<Arc<Snapshot>>,
    keyring: watch::Receiver<Arc<Keyring>>,
    foreign: watch::Receiver<Arc<Foreign>>,
    attested: Option<Arc<Attested>>,
    /// One for each entry, sorted by its id. Most callers have one: a map's node would take more than what it holds.
    held: Vec<Held<K::Signed>>,
    sent: Option<Said>,
    /// What templates did not give to it, as far as that was recorded.
    told: Vec<Withheld>,
    /// Why it is not given all that it asks for by name, as far as that was recorded.
    lacking: Vec<Reason>,
    pace: Pace,
}

/// What a look at the entries came to.
struct Renewed<T> {
    identities: Vec<Identity<T>>,
    /// Why entries that are wanted give nothing.
    refusals: Vec<Reason>,
}

/// What a message says.
#[derive(PartialEq, Eq)]
struct Said {
    /// Serials and hints, in order.
    identities: Vec<(String, String)>,
    bundle: Bytes,
    federated: View,
}

impl<K: Kind> Feed<K> {
    pub(super) fn new(kind: K, issuer: Arc<Issuer>, caller: Arc<Caller>) -> Self {
        let (registry, keyring, foreign) = (issuer.registry(), issuer.keyring(), issuer.foreign());
        let (held, told, lacking, pace) = (Vec::new(), Vec::new(), Vec::new(), Pace::default());
        Self { kind, issuer, caller, registry, keyring, foreign, attested: None, held, sent: None, told, lacking, pace }
    }

    /// The next message: at once the first time, then when something has changed for this caller.
    ///
    /// # Errors
    /// When the caller is entitled to nothing (any more), is gone, or the daemon cannot answer.
    pub(crate) async fn next(&mut self) -> Result<Update<K::Signed>, Error> {
        loop {
            self.changed().await?;
            if let Some(update) = self.look().await? {
                return Ok(update);
            }
        }
    }

    /// Returns when there may be something to tell: at once the first time. Whoever stops waiting may wait again.
    ///
    /// # Errors
    /// When the daemon stops.
    pub(crate) async fn changed(&mut self) -> Result<(), Error> {
        if !self.pace.is_due() {
            self.wait().await?;
            self.pace.due();
        }
        Ok(())
    }

    /// What there is to tell now; `None` when it is what was told last.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(crate) async fn look(&mut self) -> Result<Option<Update<K::Signed>>, Error> {
        self.pace.rest().await;
        // In a box, so that a stream that waits, as nearly all do, is not as large as one that computes.
        let update = Box::pin(self.compute()).await?;
        match &update {
            Some(_) => self.pace.sent(),
            None => self.pace.same(),
        }
        Ok(update)
    }

    /// Whether there may be something to tell.
    pub(crate) fn is_due(&self) -> bool {
        self.pace.is_due()
    }

    /// Of what it hands out.
    pub(crate) fn kind(&self) -> &K {
        &self.kind
    }

    /// Asks for something else. All of it is told next, also what was told before.
    pub(crate) fn ask(&mut self, change: impl FnOnce(&mut K)) {
        change(&mut self.kind);
        self.sent = None;
        self.pace.due();
    }

    /// Sleeps until something may have changed for this caller.
    async fn wait(&mut self) -> Result<(), Error> {
        loop {
            let due = self.held.iter().map(|held| held.renew_at).min();
            let since = self.held.iter().map(|held| held.since).max();
            tokio::select! {
                () = self.issuer.stopping().cancelled() => return Err(Error::Stopping),
                Ok(()) = self.registry.changed() => if self.is_concerned() { return Ok(()) },
                Ok(()) = self.keyring.changed() => if self.is_rekeyed() { return Ok(()) },
                Ok(()) = self.foreign.changed() => if self.sees_others() { return Ok(()) },
                () = sleep_between(&self.issuer, since, due) => return Ok(()),
                else => return Err(Error::Stopping),
            }
        }
    }

    /// Whether another key signs than what this holds was signed by, or the bundle is another one.
    fn is_rekeyed(&self) -> bool {
        let keyring = self.keyring.borrow();
        let is_signer = |held: &Held<K::Signed>| K::signer(&keyring).is_some_and(|(id, _)| id == held.svid.authority());
        self.sent.as_ref().is_none_or(|sent| sent.bundle != self.kind.bundle(&keyring))
            || !self.held.iter().all(is_signer)
    }

    /// Whether the registry as it is now says anything else to this caller than what it holds.
    fn is_concerned(&self) -> bool {
        let snapshot = self.registry.borrow().clone();
        let Some(attested) = &self.attested else { return true };
        if !attested.is_enough_for(&snapshot) {
            return true;
        }
        let mut now = self.issuer.granted_by(K::GRANTS, attested, &snapshot).given;
        if self.kind.is_concerned(&now) {
            return true;
        }
        now.retain(|entry| self.kind.wants(entry));
        now.len() != self.held.len()
            || now.iter().any(|entry| {
                self.held(&entry.id).is_none_or(|held| {
                    held.entry.revision != entry.revision
                        || held.entry.spiffe_id() != entry.spiffe_id()
                        || held.svid.not_before() < K::counts_from(entry, &snapshot)
                })
            })
    }

    /// Whether the foreign bundles as they are now are others than those that were sent.
    fn sees_others(&self) -> bool {
        let federated = self.federated(&self.foreign.borrow());
        self.sent.as_ref().is_none_or(|sent| sent.federated != federated)
    }

    /// The foreign bundles of the identities that are held.
    fn federated(&self, foreign: &Foreign) -> View {
        self.kind.federated(foreign, self.held.iter().map(|held| &held.entry))
    }

    /// The state now; `None` when it is what was sent last.
    async fn compute(&mut self) -> Result<Option<Update<K::Signed>>, Error> {
        for _ in 0..ROUNDS_MAX {
            // Before anything is read, so that no change is lost.
            let snapshot = self.registry.borrow_and_update().clone();
            let attested = self.issuer.attest(&self.caller, &snapshot).await?;
            if !self.issuer.gives_still_by(K::GRANTS, &attested, &snapshot) {
                continue;
            }
            let program = self.program().await?;
            if !self.kind.runs(program) {
                self.held.clear();
            }
            let keyring = self.keyring.borrow_and_update().clone();
            let foreign = self.foreign.borrow_and_update().clone();
            let mut granted = self.issuer.granted_by(K::GRANTS, &attested, &snapshot);
            if granted.beyond > 0 && self.sent.is_none() {
                self.issuer.too_many(&self.caller, granted.given.len() + granted.beyond);
            }
            self.kind.granted(&granted.given);
            let lacks = self.kind.lacks(&granted);
            granted.given.retain(|entry| self.kind.wants(entry));
            if granted.given.is_empty() && !self.issuer.holds(&self.caller, &attested).await? {
                continue;
            }
            let from = granted.given.iter().map(|entry| K::counts_from(entry, &snapshot)).max();
            self.issuer.wait_until(from.unwrap_or(SystemTime::UNIX_EPOCH)).await;
            let told_apart = self.kind.is_told_apart();
            let is_same = told_apart || self.is_as_sent(&granted.given, &snapshot, &keyring, &foreign);
            let Renewed { mut identities, refusals } = self.renew(&attested, &granted, &snapshot, &keyring, is_same)?;
            if identities.is_empty() && lacks.is_none() {
                return Err(self.refuse(&attested, refusals, granted.withheld));
            }
            self.attested = Some(attested.clone());
            if !is_same {
                // What could not be signed anew goes to nobody, and is tried again when it is due.
                identities.retain(|one| !self.was_sent(one));
                if identities.is_empty() {
                    return Ok(None);
                }
            }
            let said = Said {
                identities: identities.iter().map(|one| (one.svid.serial().to_owned(), one.hint.clone())).collect(),
                bundle: self.kind.bundle(&keyring),
                federated: self.federated(&foreign),
            };
            self.issuer.tell_missing(&self.caller, &foreign, &granted.given);
            let is_news = self.sent.as_ref() != Some(&said);
            // One turned due since it was looked at.
            if is_news && is_same && !self.kind.is_told_apart() {
                continue;
            }
            // The bundle was read before the leaves were signed; if a new issuer came meanwhile, begin again, so that
            // no message has a leaf that its own bundle does not verify.
            if self.keyring.has_changed().unwrap_or(false) {
                continue;
            }
            if self.program().await? != program {
                continue;
            }
            // Last of all: it is still the process that was attested, and nothing was taken from it meanwhile.
            if self.issuer.holds(&self.caller, &attested).await?
                && self.issuer.gives_still_by(K::GRANTS, &attested, &snapshot)
            {
                if is_news && self.sent.is_some() {
                    self.issuer.pushed();
                }
                self.tell(&attested, granted.withheld);
                self.tell_lacks(&attested, lacks, refusals);
                let (bundle, federated) = (said.bundle.clone(), said.federated.clone());
                self.sent = Some(said);
                self.held.iter_mut().for_each(|held| held.is_sent = true);
                return Ok(is_news.then_some(Update { identities, bundle, federated }));
            }
        }
        Err(Error::Attest(crate::attest::Error::Unsteady))
    }

    /// Whether a message would say what the last one said, with nothing signed.
    fn is_as_sent(&mut self, entries: &[Given], snapshot: &Snapshot, keyring: &Keyring, foreign: &Foreign) -> bool {
        let now = self.issuer.clock().now();
        self.held.iter_mut().for_each(|held| held.look_at::<K>(keyring, now));
        let held = entries.iter().map(|entry| Some((self.held(&entry.id)?, entry)));
        let identities = held.map(|one| {
            let (held, entry) = one.filter(|(held, entry)| held.is_fresh::<K>(entry, snapshot, now))?;
            Some((held.svid.serial().to_owned(), entry.spec.hint.clone()))
        });
        let federated = self.kind.federated(foreign, entries);
        match (&self.sent, identities.collect::<Option<Vec<_>>>()) {
            (Some(sent), Some(identities)) => {
                *sent == Said { identities, bundle: self.kind.bundle(keyring), federated }
            }
            _ => false,
        }
    }

    /// Whether a message had it already.
    fn was_sent(&self, one: &Identity<K::Signed>) -> bool {
        self.held.iter().any(|held| held.is_sent && Arc::ptr_eq(&held.svid, &one.svid))
    }

    /// The program that runs, where that matters and can be told.
    async fn program(&self) -> Result<Option<Spot>, Error> {
        match self.kind.is_of_program() {
            true => self.issuer.program(&self.caller).await,
            false => Ok(None),
        }
    }

    /// Signs what is new or due, keeps the rest, and forgets what is not granted any more. `repeats` is false where
    /// what was sent may not be sent again.
    fn renew(
        &mut self,
        attested: &Attested,
        Granted { given: entries, .. }: &Granted,
        snapshot: &Snapshot,
        keyring: &Keyring,
        repeats: bool,
    ) -> Result<Renewed<K::Signed>, Error> {
        self.held.retain(|held| entries.iter().any(|entry| entry.id == held.entry.id));
        let now = self.issuer.clock().now();
        self.held.iter_mut().for_each(|held| held.look_at::<K>(keyring, now));
        let (mut signed, mut refusals, mut failure) = (Vec::new(), Vec::new(), None);
        for entry in entries {
            let now = self.issuer.clock().now();
            let held = self.held(&entry.id);
            if let Some(held) = held
                && held.is_fresh::<K>(entry, snapshot, now)
                && (repeats || !held.is_sent)
            {
                self.update(entry);
                continue;
            }
            // Another identity by the same entry is a first one.
            let renewal = held.is_some_and(|held| held.entry.spiffe_id() == entry.spiffe_id());
            let order = Order { entry, credential: K::CREDENTIAL, renewal, now };
            let outcome =
                self.issuer.sign(&self.caller, order, |keyring, permit| self.kind.sign(keyring, permit, entry, now));
            match outcome {
                Outcome::Signed(one) => signed.push(one),
                Outcome::Refused(reasons) => {
                    self.forget(&entry.id);
                    refusals.extend(reasons);
                }
                // One entry that cannot be signed takes nothing from the others. What is still good is repeated,
                // unless it says something the entry does not say any more.
                Outcome::Failed(error) => {
                    failure = Some(error);
                    self.postpone(entry, now);
                }
            }
        }
        let Recorded { given, left, failure: unrecorded } =
            self.issuer.record(&self.caller, attested, K::CREDENTIAL.name(), signed);
        let now = self.issuer.clock().now();
        for (entry, svid) in given {
            self.hold(Held::new::<K>(entry.clone(), svid, keyring, now));
        }
        left.into_iter().for_each(|entry| self.postpone(entry, now));
        let failure = unrecorded.or(failure);
        let identities: Vec<_> = entries.iter().filter_map(|entry| self.held(&entry.id)).map(Held::identity).collect();
        match failure.filter(|_| identities.is_empty()) {
            Some(error) => Err(error),
            None => Ok(Renewed { identities, refusals }),
        }
    }

    /// Refuses a caller that is given nothing.
    fn refuse(&self, attested: &Attested, mut refusals: Vec<Reason>, withheld: Vec<Withheld>) -> Error {
        if refusals.is_empty() || !withheld.is_empty() {
            refusals.extend(Reason::of_nothing(withheld));
        }
        self.issuer.refuse(&self.caller, attested, K::CREDENTIAL.name(), refusals)
    }

    /// Tells once why a caller that waits is not given all that it asks for.
    fn tell_lacks(&mut self, attested: &Attested, lacks: Option<Vec<Reason>>, refusals: Vec<Reason>) {
        let Some(mut lacks) = lacks else { return };
        lacks.extend(refusals);
        if lacks != self.lacking && !lacks.is_empty() {
            self.issuer.refuse(&self.caller, attested, K::CREDENTIAL.name(), lacks.clone());
        }
        self.lacking = lacks;
    }

    /// Tells once of each template what it did not give to this caller, who has something else.
    fn tell(&mut self, attested: &Attested, mut withheld: Vec<Withheld>) {
        withheld.retain(|each| each.why.is_of_template());
        if withheld != self.told {
            let news: Vec<_> = withheld.iter().filter(|each| !self.told.contains(each)).collect();
            self.issuer.withheld(&self.caller, attested, K::CREDENTIAL.name(), &news);
            self.told = withheld;
        }
    }

    fn place(&self, id: &EntryId) -> Result<usize, usize> {
        self.held.binary_search_by(|held| held.entry.id.cmp(id))
    }

    fn held(&self, id: &EntryId) -> Option<&Held<K::Signed>> {
        self.place(id).ok().and_then(|at| self.held.get(at))
    }

    fn held_mut(&mut self, id: &EntryId) -> Option<&mut Held<K::Signed>> {
        self.place(id).ok().and_then(|at| self.held.get_mut(at))
    }

    fn hold(&mut self, new: Held<K::Signed>) {
        match self.place(&new.entry.id) {
            Ok(at) => self.held.splice(at..=at, [new]).for_each(drop),
            Err(at) => self.held.insert(at, new),
        }
    }

    fn forget(&mut self, id: &EntryId) {
        self.held.retain(|held| held.entry.id != *id);
    }

    /// Takes over what an entry says beside the certificate.
    fn update(&mut self, entry: &Given) {
        if let Some(held) = self.held_mut(&entry.id) {
            held.entry = entry.clone();
        }
    }

    /// Keeps a credential that could not be renewed while it is good, and tries again halfway to its end; soon, when
    /// the clock was set back so that it is not good yet.
    fn postpone(&mut self, entry: &Given, now: SystemTime) {
        let keep =
            self.held(&entry.id).is_some_and(|held| held.svid.not_after() > now && held.says_the_same::<K>(entry));
        if !keep {
            self.forget(&entry.id);
        } else if let Some(held) = self.held_mut(&entry.id) {
            held.postpone(now);
        }
    }
}

/// Sleeps until `due`, or until the clock shows less than `since`; for ever when nothing is due.
async fn sleep_between(issuer: &Issuer, since: Option<SystemTime>, due: Option<SystemTime>) {
    match (since, due) {
        (Some(since), Some(due)) => issuer.clock().sleep_between(since, due).await,
        _ => std::future::pending().await,
    }
}

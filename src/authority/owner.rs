//! The one task that changes authorities: it makes, activates, retires and removes them, and publishes what signs.
//!
//! The order is always key file → row → publish → use, each on the disk before the next; for removal it is row →
//! publish → key file. What a crash leaves between two steps is recovered at the next start: a key without a row was
//! never used and goes (but where the store has lost what it acknowledged: then it stays), a row without its key is refused, and
//! a row is acted on as if it had just been written.

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Algorithm, AuthorityId, Error, Event, Key, Keyring, Listed, Signer, access, issuing_certificate,
    keys::Keys,
    member::{Authority, check_chains, check_layout, events},
    root_certificate,
    slots::{Action, Slot, Succession, step},
    token::TokenKeys,
};
use crate::{
    spiffe::{TrustDomain, jose::Usage, x509::Bundle},
    store::{self, AuthorityKind, AuthorityRow, Store},
    sys::{Clock, chain},
};

/// How many tiers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A root in the bundle, and an issuing CA below it.
    Rooted,
    /// One certificate that is both.
    SelfSigned,
}

impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Rooted => "rooted",
            Self::SelfSigned => "self-signed",
        })
    }
}

/// What the operator decides.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) layout: Layout,
    pub(crate) algorithm: Algorithm,
    /// Life of what signs leaves.
    pub(crate) issuing_ttl: Duration,
    /// Life of the root, where there is one.
    pub(crate) root_ttl: Duration,
    /// Life of a key that signs tokens.
    pub(crate) token_key_ttl: Duration,
    /// Whether there are to be keys for WIT-SVIDs.
    pub(crate) signs_wit: bool,
}

/// Told what happened, when it is on the disk and before it has an effect.
type Tell = Box<dyn Fn(&Event) + Send + Sync>;

/// The authorities of a daemon, and the task that changes them.
pub(crate) struct Owner {
    roster: Roster,
    outlet: Outlet,
}

/// A failed change is tried again after this.
const RETRY: Duration = Duration::from_secs(30);
/// More steps than this at once mean that something is wrong with the clock or the settings.
const STEPS_MAX: usize = 16;
/// What is wrong with a root that was made while the clock was ahead, and what to do.
pub(crate) const ROOT_IS_EARLY: &str = "the root is not valid yet, so nothing can be issued: the clock was ahead when it \
     was made, or is behind now; set the clock right; if it is, begin with a new state folder and give everybody its bundle";
/// How long nothing may be due, at most.
const DAY: Duration = Duration::from_secs(86_400);

impl Owner {
    /// Reads the keys of all authorities in the store, makes what is missing, and is ready to sign. What cannot be
    /// changed now is tried again later, as long as something can sign.
    ///
    /// # Errors
    /// When a key is missing, not private, or not the one of its certificate; when the layout is another one than it
    /// was; when nothing can sign and nothing new can be written.
    pub(crate) async fn open(
        settings: Settings,
        state: &Path,
        store: Store,
        rows: Vec<AuthorityRow>,
        clock: Clock,
        tell: Tell,
    ) -> Result<Self, Error> {
        let keys = Keys::open(state)?;
        let mut roster =
            Roster { settings, keys, store, clock, tell, authorities: Vec::new(), is_unsure: false, is_early: false };
        roster.authorities = roster.read(rows)?;
        match roster.store.behind() {
            None => roster.keys.remove_orphan(&roster.ids())?,
            Some(_) => roster.keys.keep_orphan(&roster.ids())?,
        }
        if let Err(error) = roster.settle(None).await {
            if !roster.can_sign() {
                return Err(error);
            }
            tracing::error!(error = %chain(&error), "authorities could not be changed; they are tried again");
        }
        let outlet = Outlet::new(&roster)?;
        Ok(Self { roster, outlet })
    }

    /// What signs and what is trusted, now and later.
    pub(crate) fn keyring(&self) -> watch::Receiver<Arc<Keyring>> {
        self.outlet.keyring.subscribe()
    }

    /// All authorities, for status.
    pub(crate) fn listed(&self) -> watch::Receiver<Arc<[Listed]>> {
        self.outlet.listed.subscribe()
    }

    /// Does what is due, each time it is due, until it is told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self { mut roster, outlet } = self;
        loop {
            let next = match roster.settle(Some(&outlet)).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(error = %chain(&error), "authorities could not be changed; they are tried again");
                    roster.clock.now() + RETRY
                }
            };
            // A clock that is set back may leave what signs in the future.
            let now = roster.clock.now();
            tokio::select! {
                () = stop.cancelled() => return,
                () = roster.clock.sleep_between(now, next) => {}
            }
        }
    }
}

/// What there is, and how it is changed.
struct Roster {
    settings: Settings,
    keys: Keys,
    store: Store,
    clock: Clock,
    tell: Tell,
    authorities: Vec<Authority>,
    /// Whether the store may have more than it confirmed.
    is_unsure: bool,
    /// Whether the active root is not valid yet.
    is_early: bool,
}

impl Roster {
    /// Takes all steps that are due; answers when the next one is. Trouble with one kind does not keep another from its
    /// successor.
    async fn settle(&mut self, outlet: Option<&Outlet>) -> Result<SystemTime, Error> {
        if self.is_unsure {
            self.read_again(outlet).await?;
        }
        let anchors = self.settle_kind(AuthorityKind::Root, Succession::Anchor, outlet).await;
        let issuing = match self.settings.layout {
            Layout::Rooted => self.settle_kind(AuthorityKind::Issuing, Succession::Issuing, outlet).await,
            Layout::SelfSigned => Ok(self.clock.now() + DAY),
        };
        let jwt = self.settle_kind(AuthorityKind::Jwt, Succession::Anchor, outlet).await;
        let wit = match self.settings.signs_wit {
            true => self.settle_kind(AuthorityKind::Wit, Succession::Anchor, outlet).await,
            false => self.run_out(AuthorityKind::Wit, outlet).await,
        };
        let access = self.settle_kind(AuthorityKind::Access, Succession::Anchor, outlet).await;
        self.say_if_early();
        Ok(anchors?.min(issuing?).min(jwt?).min(wit?).min(access?))
    }

    /// Removes those of a kind that is not wanted any more, each at its end.
    async fn run_out(&mut self, kind: AuthorityKind, outlet: Option<&Outlet>) -> Result<SystemTime, Error> {
        let now = self.clock.now();
        let ended = self.of(kind).filter(|one| one.signer.not_after <= now).map(|one| one.signer.id.clone());
        for id in ended.collect::<Vec<_>>() {
            self.remove(&id, outlet).await?;
        }
        Ok(self.of(kind).map(|one| one.signer.not_after).min().unwrap_or(now + DAY))
    }

    /// A root cannot be replaced unseen, so somebody must act.
    fn say_if_early(&mut self) {
        let was_early = self.is_early;
        let Some(root) = self.active(AuthorityKind::Root) else { return };
        self.is_early = self.clock.now() < root.not_before;
        match (was_early, self.is_early) {
            (false, true) => {
                let left = root.not_before.duration_since(self.clock.now()).unwrap_or_default().as_secs();
                tracing::error!(authority = %root.id, valid_in_seconds = left, "{ROOT_IS_EARLY}");
            }
            (true, false) => tracing::info!(authority = %root.id, "the root is valid now"),
            _ => {}
        }
    }

    async fn settle_kind(
        &mut self,
        kind: AuthorityKind,
        succession: Succession,
        outlet: Option<&Outlet>,
    ) -> Result<SystemTime, Error> {
        for _ in 0..STEPS_MAX {
            let now = self.clock.now();
            let held: Vec<_> = self.of(kind).map(Authority::held).collect();
            match step(&held, succession, now) {
                Action::Wait(until) => return Ok(until),
                Action::Prepare => self.prepare(kind, now, outlet).await?,
                Action::Activate(id) => self.activate(kind, &id, now, outlet).await?,
                Action::Remove(id) => self.remove(&id, outlet).await?,
            }
        }
        Err(Error::Restless)
    }

    /// Makes a new authority. An anchor is in the bundle from now on, long before it signs.
    async fn prepare(&mut self, kind: AuthorityKind, now: SystemTime, outlet: Option<&Outlet>) -> Result<(), Error> {
        let Settings { trust_domain, algorithm, issuing_ttl, root_ttl, token_key_ttl, layout, .. } = &self.settings;
        let algorithm = match kind {
            AuthorityKind::Access => access::ALGORITHM,
            _ => *algorithm,
        };
        let key = Key::generate(algorithm)?;
        let certificate = match (kind, layout) {
            (AuthorityKind::Root, Layout::Rooted) => root_certificate(trust_domain, &key, 1, now, *root_ttl)?,
            (AuthorityKind::Root, Layout::SelfSigned) => root_certificate(trust_domain, &key, 0, now, *issuing_ttl)?,
            (AuthorityKind::Issuing, _) => {
                let root = self.active(AuthorityKind::Root).ok_or(Error::NoRoot)?;
                issuing_certificate(trust_domain, &key, &root, now, *issuing_ttl)?
            }
            (AuthorityKind::Jwt | AuthorityKind::Wit | AuthorityKind::Access, _) => {
                root_certificate(trust_domain, &key, 0, now, *token_key_ttl)?
            }
        };
        let pkcs8 = key.to_pkcs8()?;
        let made = Authority::prepared(kind, algorithm, key, certificate, trust_domain)?;
        self.keys.write(&made.signer.id, &pkcs8)?;
        if let Err(error) = self.save(vec![made.row(now)]).await {
            // Only what the store certainly does not know may go at once.
            if !self.is_unsure {
                self.keys.remove(&made.signer.id).ok();
            }
            return Err(error);
        }
        let mut after = self.authorities.clone();
        after.push(made);
        self.adopt(after, outlet)
    }

    async fn activate(
        &mut self,
        kind: AuthorityKind,
        id: &AuthorityId,
        now: SystemTime,
        outlet: Option<&Outlet>,
    ) -> Result<(), Error> {
        let mut after = self.authorities.clone();
        let mut rows = Vec::new();
        for one in after.iter_mut().filter(|one| one.kind == kind) {
            one.slot = match one.slot {
                _ if one.signer.id == *id => Slot::Active,
                Slot::Active => Slot::Retired,
                Slot::Prepared | Slot::Retired => continue,
            };
            rows.push(one.row(now));
        }
        self.save(rows).await?;
        self.adopt(after, outlet)
    }

    async fn remove(&mut self, id: &AuthorityId, outlet: Option<&Outlet>) -> Result<(), Error> {
        let removed = self.store.remove_authority(id.as_str().to_owned()).await;
        self.note(removed)?;
        let after = self.authorities.iter().filter(|one| one.signer.id != *id).cloned().collect();
        self.adopt(after, outlet)?;
        self.keys.remove(id)
    }

    async fn save(&mut self, rows: Vec<AuthorityRow>) -> Result<(), Error> {
        let saved = self.store.save_authorities(rows).await;
        self.note(saved)
    }

    /// A change that was not confirmed may have been made all the same.
    fn note(&mut self, outcome: Result<(), store::Error>) -> Result<(), Error> {
        self.is_unsure |= matches!(outcome, Err(store::Error::Unconfirmed { .. }));
        outcome.map_err(Error::Store)
    }

    /// Finds out what was made of changes that were not confirmed.
    async fn read_again(&mut self, outlet: Option<&Outlet>) -> Result<(), Error> {
        let rows = self.store.load().await?.authorities;
        let after = self.read(rows)?;
        self.adopt(after, outlet)?;
        if self.store.behind().is_none() {
            self.keys.remove_others(&self.ids())?;
        }
        self.is_unsure = false;
        Ok(())
    }

    /// What is on the disk is told, then it is true for everybody.
    fn adopt(&mut self, after: Vec<Authority>, outlet: Option<&Outlet>) -> Result<(), Error> {
        for event in events(&self.authorities, &after) {
            (self.tell)(&event);
        }
        self.authorities = after;
        outlet.map_or(Ok(()), |outlet| outlet.publish(self))
    }

    fn read(&self, rows: Vec<AuthorityRow>) -> Result<Vec<Authority>, Error> {
        let own = &self.settings.trust_domain;
        let read = rows.into_iter().map(|row| Authority::read(&self.keys, row, own));
        let authorities = read.collect::<Result<Vec<_>, _>>()?;
        check_layout(self.settings.layout, &authorities)?;
        check_chains(&authorities, self.clock.now())?;
        Ok(authorities)
    }

    fn of(&self, kind: AuthorityKind) -> impl Iterator<Item = &Authority> {
        self.authorities.iter().filter(move |one| one.kind == kind)
    }

    fn ids(&self) -> Vec<&AuthorityId> {
        self.authorities.iter().map(|one| &one.signer.id).collect()
    }

    fn active(&self, kind: AuthorityKind) -> Option<Arc<Signer>> {
        self.of(kind).find(|one| one.slot == Slot::Active).map(|one| one.signer.clone())
    }

    /// What signs leaves.
    fn signer(&self) -> Option<Arc<Signer>> {
        self.active(match self.settings.layout {
            Layout::Rooted => AuthorityKind::Issuing,
            Layout::SelfSigned => AuthorityKind::Root,
        })
    }

    fn can_sign(&self) -> bool {
        let now = self.clock.now();
        self.signer().is_some_and(|signer| signer.not_before <= now && now < signer.not_after)
    }

    /// What signs and what is trusted.
    fn ring(&self) -> Result<Keyring, Error> {
        let ring = Keyring::new(self.signer().ok_or(Error::NoSigner)?, self.bundle()?);
        let wit = if self.settings.signs_wit { self.token_keys(AuthorityKind::Wit)? } else { None };
        Ok(ring.with_tokens(self.token_keys(AuthorityKind::Jwt)?, wit, self.token_keys(AuthorityKind::Access)?))
    }

    fn token_keys<U: Usage>(&self, kind: AuthorityKind) -> Result<Option<TokenKeys<U>>, Error> {
        let Some(active) = self.of(kind).find(|one| one.slot == Slot::Active).and_then(|one| one.token.clone()) else {
            return Ok(None);
        };
        let all = self.of(kind).filter_map(|one| one.token.clone());
        TokenKeys::new(self.settings.trust_domain.clone(), active, all).map(Some)
    }

    /// All anchors, the oldest first, so that the bundle has the same bytes after a restart.
    fn bundle(&self) -> Result<Bundle, Error> {
        let mut anchors: Vec<_> = self.of(AuthorityKind::Root).map(|one| &one.signer).collect();
        anchors.sort_by_key(|signer| (signer.not_before, signer.id.clone()));
        let certificates = anchors.into_iter().map(|signer| signer.certificate.clone()).collect();
        Bundle::new(self.settings.trust_domain.clone(), certificates).map_err(Error::Profile)
    }
}

/// Where everybody reads it.
struct Outlet {
    keyring: watch::Sender<Arc<Keyring>>,
    listed: watch::Sender<Arc<[Listed]>>,
}

impl Outlet {
    fn new(roster: &Roster) -> Result<Self, Error> {
        let (listed, _) = watch::channel(roster.authorities.iter().map(Authority::listed).collect());
        let (keyring, _) = watch::channel(Arc::new(roster.ring()?));
        Ok(Self { keyring, listed })
    }

    /// Nobody hears of what is as it was.
    fn publish(&self, roster: &Roster) -> Result<(), Error> {
        let ring = roster.ring()?;
        self.listed.send_replace(roster.authorities.iter().map(Authority::listed).collect());
        self.keyring.send_if_modified(|keyring| {
            let is_news = !keyring.is_as(&ring);
            if is_news {
                *keyring = Arc::new(ring);
            }
            is_news
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{store::AuthoritySlot, sys::scratch::Scratch};

    /// A change that the disk did not confirm in time may have been made: its row counts, with its key; a key whose row
    /// was not written goes.
    #[tokio::test(start_paused = true)]
    async fn what_became_of_an_unconfirmed_change_is_read_from_the_store() {
        let (dir, clock) = (Scratch::new(), Clock::following_tokio());
        let trust_domain = TrustDomain::parse("example.org").unwrap();
        let (store, loaded) = Store::open(dir.path(), &trust_domain).unwrap();
        let hour = Duration::from_secs(3_600);
        let settings = Settings {
            trust_domain: trust_domain.clone(),
            layout: Layout::Rooted,
            algorithm: Algorithm::P256,
            issuing_ttl: 24 * hour,
            root_ttl: 240 * hour,
            token_key_ttl: 24 * hour,
            signs_wit: false,
        };
        let rows = loaded.authorities;
        let owner = Owner::open(settings, dir.path(), store.clone(), rows, clock.clone(), Box::new(|_| {})).await;
        let Owner { mut roster, outlet } = owner.unwrap();
        let make = || {
            let key = Key::generate(Algorithm::P256).unwrap();
            let certificate = root_certificate(&trust_domain, &key, 1, clock.now(), 240 * hour).unwrap();
            let pkcs8 = key.to_pkcs8().unwrap();
            let made = Authority::prepared(AuthorityKind::Root, Algorithm::P256, key, certificate, &trust_domain);
            let made = made.unwrap();
            roster.keys.write(&made.signer.id, &pkcs8).unwrap();
            made
        };
        let (written, lost) = (make(), make());
        let row = written.row(clock.now());
        assert_eq!(row.slot, AuthoritySlot::Prepared);
        store.save_authorities(vec![row]).await.unwrap();
        roster.is_unsure = true;
        roster.settle(Some(&outlet)).await.unwrap();
        assert!(!roster.is_unsure);
        assert!(roster.ids().contains(&&written.signer.id));
        assert_eq!(outlet.keyring.borrow().bundle().authorities().len(), 2);
        assert!(roster.keys.read(&written.signer.id).is_ok());
        assert!(roster.keys.read(&lost.signer.id).is_err());
    }
}

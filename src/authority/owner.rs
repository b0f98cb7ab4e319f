//! The one task that changes authorities: it makes, activates, retires and removes them, and publishes what signs.
//!
//! The order is always key file → fsync → row → publish → use, and for removal row → key file. What a crash leaves
//! between two steps is recovered at the next start: a key without a row was never used and goes; a row without its
//! key is refused.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Algorithm, AuthorityId, Error, Key, Keyring, Signer, issuing_certificate, root_certificate,
    slots::{Action, Held, Slot, Succession, step},
};
use crate::{
    spiffe::{TrustDomain, x509::Bundle},
    store::{AuthorityKind, AuthorityRow, AuthoritySlot, Store},
    sys::{Clock, files},
};

/// How many tiers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A root in the bundle, and an issuing CA below it.
    Rooted,
    /// One certificate that is both.
    SelfSigned,
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
}

/// What happened to an authority, for the audit log.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) event: &'static str,
    pub(crate) id: AuthorityId,
    pub(crate) not_after: SystemTime,
}

/// An authority as status shows it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: AuthorityId,
    pub(crate) kind: &'static str,
    pub(crate) slot: &'static str,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// Told what happened, before it has an effect.
type Tell = Box<dyn Fn(&Event) + Send + Sync>;

/// The authorities of a daemon, and the task that changes them.
pub(crate) struct Owner {
    settings: Settings,
    keys: PathBuf,
    store: Store,
    clock: Clock,
    tell: Tell,
    authorities: Vec<Authority>,
    keyring: watch::Sender<Arc<Keyring>>,
    listed: watch::Sender<Arc<[Listed]>>,
}

/// One authority with its key, which is read once.
#[derive(Clone)]
struct Authority {
    kind: AuthorityKind,
    slot: Slot,
    algorithm: Algorithm,
    signer: Arc<Signer>,
}

/// A failed change is tried again after this.
const RETRY: Duration = Duration::from_secs(30);
/// More steps than this at once mean that something is wrong with the clock or the settings.
const STEPS_MAX: usize = 16;

impl Owner {
    /// Reads the keys of all authorities in the store, makes what is missing, and is ready to sign.
    ///
    /// # Errors
    /// When a key is missing, not private, or not the one of its certificate; when nothing can be written.
    pub(crate) async fn open(
        settings: Settings,
        state: &Path,
        store: Store,
        rows: Vec<AuthorityRow>,
        clock: Clock,
        tell: Tell,
    ) -> Result<Self, Error> {
        let keys = state.join("keys");
        files::create_private_dir(&keys)?;
        let mut authorities = rows.into_iter().map(|row| Authority::read(&keys, row)).collect::<Result<Vec<_>, _>>()?;
        remove_orphans(&keys, &authorities)?;
        // The first step of a new authority needs something to publish; nobody sees it before it signs.
        let now = clock.now();
        if authorities.iter().all(|one| one.kind != AuthorityKind::Root) {
            authorities.push(make_anchor(&settings, &keys, &store, now, &tell).await?);
        }
        let first = authorities.first().ok_or(Error::Key)?.signer.clone();
        let bundle = bundle_of(&settings.trust_domain, &authorities)?;
        let (keyring, _) = watch::channel(Arc::new(Keyring::new(first, bundle)));
        let (listed, _) = watch::channel(Arc::from([]));
        let mut owner = Self { settings, keys, store, clock, tell, authorities, keyring, listed };
        owner.settle().await?;
        Ok(owner)
    }

    /// What signs and what is trusted, now and later.
    pub(crate) fn keyring(&self) -> watch::Receiver<Arc<Keyring>> {
        self.keyring.subscribe()
    }

    /// All authorities, for status.
    pub(crate) fn listed(&self) -> watch::Receiver<Arc<[Listed]>> {
        self.listed.subscribe()
    }

    /// Does what is due, each time it is due, until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = match self.settle().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(error = %crate::sys::chain(&error), "authorities could not be changed; they are tried again");
                    self.clock.now() + RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(next) => {}
            }
        }
    }

    /// Takes all steps that are due; answers when the next one is.
    async fn settle(&mut self) -> Result<SystemTime, Error> {
        let mut next = None;
        for _ in 0..STEPS_MAX {
            let now = self.clock.now();
            let anchors = step(&self.held(AuthorityKind::Root), Succession::Anchor, now);
            let issuing = match self.settings.layout {
                Layout::Rooted => step(&self.held(AuthorityKind::Issuing), Succession::Issuing, now),
                Layout::SelfSigned => Action::Wait(now + Duration::from_secs(86_400)),
            };
            match (anchors, issuing) {
                (Action::Wait(one), Action::Wait(other)) => {
                    next = Some(one.min(other));
                    break;
                }
                (Action::Wait(_), action) => self.take(AuthorityKind::Issuing, action, now).await?,
                (action, _) => self.take(AuthorityKind::Root, action, now).await?,
            }
        }
        self.publish()?;
        Ok(next.unwrap_or_else(|| self.clock.now() + RETRY))
    }

    fn held(&self, kind: AuthorityKind) -> Vec<Held> {
        self.authorities.iter().filter(|one| one.kind == kind).map(Authority::held).collect()
    }

    async fn take(&mut self, kind: AuthorityKind, action: Action, now: SystemTime) -> Result<(), Error> {
        match action {
            Action::Prepare if kind == AuthorityKind::Root => {
                let made = make_anchor(&self.settings, &self.keys, &self.store, now, &self.tell).await?;
                self.authorities.push(made);
                // Validators have it long before it signs.
                self.publish()
            }
            Action::Prepare => self.prepare_issuing(now).await,
            Action::Activate(id) => self.activate(kind, &id).await,
            Action::Remove(id) => self.remove(&id).await,
            Action::Wait(_) => Ok(()),
        }
    }

    async fn prepare_issuing(&mut self, now: SystemTime) -> Result<(), Error> {
        let root = self.active(AuthorityKind::Root).ok_or(Error::NoRoot)?;
        let Settings { trust_domain, algorithm, issuing_ttl, .. } = &self.settings;
        let key = Key::generate(*algorithm)?;
        let certificate = issuing_certificate(trust_domain, &key, &root, now, *issuing_ttl)?;
        let made = keep(AuthorityKind::Issuing, *algorithm, key, certificate, &self.keys, &self.store, now, &self.tell)
            .await?;
        self.authorities.push(made);
        Ok(())
    }

    async fn activate(&mut self, kind: AuthorityKind, id: &AuthorityId) -> Result<(), Error> {
        let now = self.clock.now();
        let mut changed = self.authorities.clone();
        for one in changed.iter_mut().filter(|one| one.kind == kind) {
            match one.slot {
                _ if one.signer.id == *id => one.slot = Slot::Active,
                Slot::Active => one.slot = Slot::Retired,
                Slot::Prepared | Slot::Retired => {}
            }
        }
        let rows = changed.iter().filter(|one| one.kind == kind).map(|one| one.row(now)).collect();
        self.store.save_authorities(rows).await?;
        self.authorities = changed;
        for one in self.authorities.iter().filter(|one| one.kind == kind) {
            match one.slot {
                Slot::Active => (self.tell)(&one.event("activated")),
                Slot::Retired => (self.tell)(&one.event("retired")),
                Slot::Prepared => {}
            }
        }
        self.publish()
    }

    async fn remove(&mut self, id: &AuthorityId) -> Result<(), Error> {
        self.store.remove_authority(id.as_str().to_owned()).await?;
        if let Some(gone) = self.authorities.iter().find(|one| one.signer.id == *id) {
            (self.tell)(&gone.event("removed"));
        }
        self.authorities.retain(|one| one.signer.id != *id);
        let path = key_path(&self.keys, id);
        fs::remove_file(&path).map_err(|source| Error::KeyFile { path, source })?;
        self.publish()
    }

    fn active(&self, kind: AuthorityKind) -> Option<Arc<Signer>> {
        self.authorities.iter().find(|one| one.kind == kind && one.slot == Slot::Active).map(|one| one.signer.clone())
    }

    /// Publishes what signs now; without anything that signs, only what is trusted changes.
    fn publish(&self) -> Result<(), Error> {
        let kind = match self.settings.layout {
            Layout::Rooted => AuthorityKind::Issuing,
            Layout::SelfSigned => AuthorityKind::Root,
        };
        let now: Arc<[Listed]> = self.authorities.iter().map(Authority::listed).collect();
        self.listed.send_replace(now);
        let bundle = bundle_of(&self.settings.trust_domain, &self.authorities)?;
        let Some(active) = self.active(kind) else { return Ok(()) };
        self.keyring.send_if_modified(|keyring| {
            if *keyring.issuer() == active.id && *keyring.bundle() == bundle {
                return false;
            }
            *keyring = Arc::new(Keyring::new(active, bundle));
            true
        });
        Ok(())
    }
}

/// A new self-signed certificate for the bundle, prepared.
async fn make_anchor(
    settings: &Settings,
    keys: &Path,
    store: &Store,
    now: SystemTime,
    tell: &Tell,
) -> Result<Authority, Error> {
    let (path_length, life) = match settings.layout {
        Layout::Rooted => (1, settings.root_ttl),
        Layout::SelfSigned => (0, settings.issuing_ttl),
    };
    let key = Key::generate(settings.algorithm)?;
    let certificate = root_certificate(&settings.trust_domain, &key, path_length, now, life)?;
    keep(AuthorityKind::Root, settings.algorithm, key, certificate, keys, store, now, tell).await
}

/// Key file, then row; only then is it anybody's.
#[expect(clippy::too_many_arguments, reason = "everything that one new authority is made of")]
async fn keep(
    kind: AuthorityKind,
    algorithm: Algorithm,
    key: Key,
    certificate: Bytes,
    keys: &Path,
    store: &Store,
    now: SystemTime,
    tell: &Tell,
) -> Result<Authority, Error> {
    let pkcs8 = key.to_pkcs8()?;
    let signer = Signer::new(key, certificate, kind == AuthorityKind::Root)?;
    files::write_private(&key_path(keys, &signer.id), pkcs8.expose())?;
    let made = Authority { kind, slot: Slot::Prepared, algorithm, signer: Arc::new(signer) };
    store.save_authorities(vec![made.row(now)]).await?;
    tell(&made.event("prepared"));
    Ok(made)
}

impl Authority {
    /// An authority of the store, with its key, which must be private and its certificate's.
    fn read(keys: &Path, row: AuthorityRow) -> Result<Self, Error> {
        let id = AuthorityId::parse(&row.id).ok_or_else(|| Error::Row(row.id.clone()))?;
        let algorithm = Algorithm::named_as(&row.algorithm).ok_or_else(|| Error::Row(row.id.clone()))?;
        let path = key_path(keys, &id);
        let pkcs8 = files::read_private(&path)?;
        let key = Key::from_pkcs8(algorithm, &pkcs8).map_err(|_| Error::WrongKey { path: path.clone() })?;
        let is_its_own = key.is_of(&row.certificate)?;
        let signer = Signer::new(key, row.certificate.into(), row.kind == AuthorityKind::Root)?;
        if signer.id != id || !is_its_own {
            return Err(Error::WrongKey { path });
        }
        let slot = match row.slot {
            AuthoritySlot::Prepared => Slot::Prepared,
            AuthoritySlot::Active => Slot::Active,
            AuthoritySlot::Retired => Slot::Retired,
        };
        Ok(Self { kind: row.kind, slot, algorithm, signer: Arc::new(signer) })
    }

    fn row(&self, now: SystemTime) -> AuthorityRow {
        AuthorityRow {
            id: self.signer.id.as_str().to_owned(),
            kind: self.kind,
            slot: match self.slot {
                Slot::Prepared => AuthoritySlot::Prepared,
                Slot::Active => AuthoritySlot::Active,
                Slot::Retired => AuthoritySlot::Retired,
            },
            algorithm: self.algorithm.name().to_owned(),
            certificate: self.signer.certificate.to_vec(),
            changed_at: now,
        }
    }

    fn held(&self) -> Held {
        let Signer { id, not_before, not_after, .. } = &*self.signer;
        Held { id: id.clone(), slot: self.slot, not_before: *not_before, not_after: *not_after }
    }

    fn listed(&self) -> Listed {
        let Held { id, not_before, not_after, .. } = self.held();
        let kind = match self.kind {
            AuthorityKind::Root => "root",
            AuthorityKind::Issuing => "issuing",
        };
        let slot = match self.slot {
            Slot::Prepared => "prepared",
            Slot::Active => "active",
            Slot::Retired => "retired",
        };
        Listed { id, kind, slot, not_before, not_after }
    }

    fn event(&self, event: &'static str) -> Event {
        Event { event, id: self.signer.id.clone(), not_after: self.signer.not_after }
    }
}

fn bundle_of(trust_domain: &TrustDomain, authorities: &[Authority]) -> Result<Bundle, Error> {
    let anchors = authorities.iter().filter(|one| one.kind == AuthorityKind::Root);
    Bundle::new(trust_domain.clone(), anchors.map(|one| one.signer.certificate.clone()).collect())
        .map_err(Error::Profile)
}

fn key_path(keys: &Path, id: &AuthorityId) -> PathBuf {
    keys.join(format!("{id}.key"))
}

/// A crash between a key and its row leaves a key that signed nothing and that nobody trusts.
fn remove_orphans(keys: &Path, authorities: &[Authority]) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::KeyFile { path, source }
    };
    for entry in fs::read_dir(keys).map_err(failed(keys))? {
        let path = entry.map_err(failed(keys))?.path();
        let is_known = authorities.iter().any(|one| key_path(keys, &one.signer.id) == path);
        let is_ours = path.extension().is_some_and(|extension| extension == "key" || extension == "new");
        if is_ours && !is_known {
            tracing::warn!(file = %path.display(), "a key that was never used is removed");
            fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    Ok(())
}

//! The owner with a real store, real key files and a clock that the test moves.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    policy::{Credential, Judgement, Permit, Request, Rules, judge},
    registry::{Draft, Entry, EntryId, grant},
    spiffe::{
        TrustDomain,
        x509::{self, Bundle, Bundles, Purpose},
    },
    store::{AuthorityKind, AuthorityRow, AuthoritySlot, Store},
    sys::{
        Clock, files,
        scratch::{Scratch, SmallDisk},
    },
};

mod access;
mod rotation;
mod starts;
mod tokens;
mod trouble;

const HOUR: Duration = Duration::from_secs(3_600);

fn domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn settings(layout: Layout) -> Settings {
    Settings {
        trust_domain: domain(),
        layout,
        algorithm: Algorithm::P256,
        issuing_ttl: 24 * HOUR,
        root_ttl: 240 * HOUR,
        token_key_ttl: 24 * HOUR,
        signs_wit: true,
    }
}

fn silent() -> Box<dyn Fn(&Event) + Send + Sync> {
    Box::new(|_| {})
}

async fn try_open(state: &Path, settings: Settings, clock: &Clock) -> Result<(Owner, Store), Error> {
    let (store, loaded) = Store::open(state, &domain())?;
    let owner = Owner::open(settings, state, store.clone(), loaded.authorities, clock.clone(), silent()).await?;
    Ok((owner, store))
}

async fn open(state: &Path, clock: &Clock) -> (Owner, Store) {
    try_open(state, settings(Layout::Rooted), clock).await.unwrap()
}

fn permit(now: SystemTime) -> Permit {
    permit_for(Credential::X509, now)
}

fn permit_for(credential: Credential, now: SystemTime) -> Permit {
    let rules = Rules::in_test(domain(), HOUR);
    let draft = Draft {
        spiffe_id: "spiffe://example.org/a".to_owned(),
        selectors: vec!["unix:uid:1".to_owned()],
        ..Draft::default()
    };
    let spec = draft.check(&domain()).unwrap();
    let entry = Entry { id: EntryId::from_random([7; 16]), spec, revision: 1, created_at: now, since: now };
    match judge(&Request { entry: &grant(&entry), credential }, &rules, now) {
        Judgement::Permit(permit) => permit,
        Judgement::Refuse(reasons) => panic!("{reasons:?}"),
    }
}

fn sign(keyring: &watch::Receiver<Arc<Keyring>>, now: SystemTime) -> Svid {
    let keyring = keyring.borrow().clone();
    keyring.sign_x509(permit(now), now).unwrap()
}

/// Whether a stranger with this bundle believes it at that time.
fn is_believed(svid: &Svid, bundle: &Bundle, at: SystemTime) -> bool {
    let bundles: Bundles = [bundle.clone()].into_iter().collect();
    x509::verify(&x509::split(&svid.chain).unwrap(), &bundles, Purpose::Any, at).is_ok()
}

fn key_files(state: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(state.join("keys")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// Every row has its key, and every key its row.
async fn assert_whole(state: &Path, store: &Store) {
    let rows = store.load().await.unwrap().authorities;
    let mut wanted: Vec<_> = rows.iter().map(|row| state.join("keys").join(format!("{}.key", row.id))).collect();
    wanted.sort();
    assert_eq!(key_files(state), wanted);
    for file in wanted {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

//! A caller that could be another program without showing: what it was sent is for it alone, and is not sent again.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::*;
use crate::{
    authority::{self, AuthorityId},
    issuance::{feed::Identity, kind::Kind},
    policy::{Credential, Permit},
    registry::{Given, Spec},
};

/// X.509-SVIDs for a program that cannot be told from another.
#[derive(Default)]
struct Opaque {
    /// There is no key for `/b`.
    is_without_keys: Arc<AtomicBool>,
}

impl Kind for Opaque {
    type Signed = Svid;
    const CREDENTIAL: Credential = Credential::X509;

    fn is_told_apart(&self) -> bool {
        false
    }

    fn sign(
        &self,
        keyring: &Keyring,
        permit: Permit,
        entry: &Given,
        now: SystemTime,
    ) -> Result<Arc<Svid>, authority::Error> {
        match permit.id().path() == "/b" && self.is_without_keys.load(Ordering::Relaxed) {
            true => Err(authority::Error::Key),
            false => X509::new(None).sign(keyring, permit, entry, now),
        }
    }

    fn is_same(then: &Spec, now: &Spec) -> bool {
        X509::is_same(then, now)
    }

    fn signer(keyring: &Keyring) -> Option<(&AuthorityId, SystemTime)> {
        X509::signer(keyring)
    }

    fn bundle(&self, keyring: &Keyring) -> Bytes {
        keyring.bundle().der().clone()
    }
}

/// The next message's serials and hints.
async fn said(feed: &mut Feed<Opaque>) -> Vec<(String, String)> {
    let both = |one: &Identity<Svid>| (one.svid.serial.clone(), one.hint.clone());
    feed.next().await.unwrap().identities.iter().map(both).collect()
}

async fn is_silent(feed: &mut Feed<Opaque>) -> bool {
    tokio::time::timeout(60 * SECOND, feed.next()).await.is_err()
}

fn hinted(number: u8, name: &str, hint: &str, revision: u64) -> Arc<Entry> {
    let mut entry = Arc::unwrap_or_clone(named(number, name, nix::unistd::getuid().as_raw()));
    (entry.spec.hint, entry.revision) = (hint.into(), revision);
    Arc::new(entry)
}

fn say(scene: &Scene, revision: u64, entries: Vec<Arc<Entry>>) {
    scene.registry.send_replace(Arc::new(Snapshot::build(revision, entries)));
}

#[tokio::test(start_paused = true)]
async fn a_message_repeats_nothing_of_the_one_before_and_without_news_nothing_is_signed() {
    let Some(scene) = Scene::new(24 * HOUR, None) else { return };
    let mut feed = Feed::new(Opaque::default(), scene.issuer.clone(), scene.caller.clone());
    say(&scene, 2, vec![hinted(1, "a", "one", 2), hinted(2, "b", "", 2)]);
    let first = said(&mut feed).await;
    assert_eq!(first.len(), 2);
    // Another revision that says the same.
    say(&scene, 3, vec![hinted(1, "a", "one", 3), hinted(2, "b", "", 3)]);
    assert!(is_silent(&mut feed).await);
    assert_eq!(records(&scene, "issued").len(), 1);
    // A hint alone, which signs nothing elsewhere; then an entry less.
    say(&scene, 4, vec![hinted(1, "a", "two", 4), hinted(2, "b", "", 3)]);
    let second = said(&mut feed).await;
    assert_eq!(second.iter().map(|one| one.1.as_str()).collect::<Vec<_>>(), ["two", ""]);
    assert!(second.iter().zip(&first).all(|(now, then)| now.0 != then.0), "{first:?} {second:?}");
    say(&scene, 5, vec![hinted(2, "b", "", 3)]);
    let third = said(&mut feed).await;
    assert!(third.len() == 1 && third[0].0 != second[1].0, "{second:?} {third:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_signed_anew_is_not_sent_until_it_can() {
    let Some(scene) = Scene::new(24 * HOUR, None) else { return };
    let is_without_keys = Arc::new(AtomicBool::new(false));
    let kind = Opaque { is_without_keys: is_without_keys.clone() };
    let mut feed = Feed::new(kind, scene.issuer.clone(), scene.caller.clone());
    say(&scene, 2, vec![hinted(1, "b", "one", 2)]);
    let first = said(&mut feed).await;
    is_without_keys.store(true, Ordering::Relaxed);
    say(&scene, 3, vec![hinted(1, "b", "two", 3)]);
    assert!(is_silent(&mut feed).await);
    // With another beside it, and that one signed once more.
    say(&scene, 4, vec![hinted(1, "b", "two", 3), hinted(2, "a", "", 4)]);
    let second = said(&mut feed).await;
    say(&scene, 5, vec![hinted(1, "b", "two", 3), hinted(2, "a", "new", 5)]);
    let third = said(&mut feed).await;
    assert_eq!(
        [&second, &third].map(|said| said.iter().map(|one| one.1.as_str()).collect::<Vec<_>>()),
        [[""], ["new"]]
    );
    is_without_keys.store(false, Ordering::Relaxed);
    let last = said(&mut feed).await;
    assert_eq!(last.iter().map(|one| one.1.as_str()).collect::<Vec<_>>(), ["two", "new"]);
    let before: Vec<_> = [first, second, third].concat();
    assert!(last.iter().all(|(serial, _)| before.iter().all(|(then, _)| then != serial)), "{before:?} {last:?}");
}

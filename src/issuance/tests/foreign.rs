//! What one caller's streams are told of foreign trust domains.

use bytes::Bytes;

use super::*;
use crate::{
    authority::Svid,
    issuance::{
        BundleFeed, Bundles, Update,
        foreign::{
            View,
            fixture::{anchor, domain, json, kept, token_entry, x509_entry},
        },
        pace,
    },
    policy::{Credential, Reason},
};

/// Far longer than a change takes.
const QUIET: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(100);

/// An entry for this process that federates with these.
fn federating(revision: u64, names: &[&str], expires_at: u64) -> Arc<Snapshot> {
    let draft = Draft {
        federates_with: names.iter().map(ToString::to_string).collect(),
        expires_at,
        ..draft("web", nix::unistd::getuid().as_raw())
    };
    Arc::new(one_entry(revision, draft))
}

fn scene(names: &[&str]) -> Option<Scene> {
    let scene = Scene::new(24 * HOUR, None)?;
    scene.registry.send_replace(federating(2, names, 0));
    Some(scene)
}

impl Scene {
    fn bundles(&self, kind: Credential) -> BundleFeed {
        self.issuer.bundles(kind, self.caller.clone())
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        self.registry.borrow().entries().cloned().collect()
    }

    async fn soon(&mut self) -> Option<Update<Svid>> {
        tokio::time::timeout(SOON, self.feed.next()).await.ok().map(Result::unwrap)
    }
}

async fn soon(bundles: &mut BundleFeed) -> Option<Bundles> {
    tokio::time::timeout(SOON, bundles.next()).await.ok().map(Result::unwrap)
}

async fn is_quiet(bundles: &mut BundleFeed) -> bool {
    tokio::time::timeout(QUIET, bundles.next()).await.is_err()
}

fn names(view: &View) -> Vec<&str> {
    view.iter().map(|(name, _)| name.as_str()).collect()
}

fn serial(update: &Update<Svid>) -> String {
    update.identities.first().unwrap().svid.serial.clone()
}

fn x509(name: &str) -> String {
    json(&[x509_entry(&anchor(name))])
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_told_of_the_domains_that_its_entries_name_and_of_no_others() {
    let Some(mut scene) = scene(&["a.test", "empty.test", "jwt.test", "missing.test"]) else { return };
    let (a, b) = (anchor("a.test"), anchor("b.test"));
    let tokens = json(&[token_entry("jwt-svid", "k"), token_entry("wit-svid", "w")]);
    scene.foreign.send_replace(kept(&[
        ("a.test", &json(&[x509_entry(&a)])),
        ("b.test", &json(&[x509_entry(&b)])),
        ("empty.test", r#"{"keys":[]}"#),
        ("jwt.test", &tokens),
    ]));
    let update = scene.feed.next().await.unwrap();
    // WAPI-53, TDB-11: no key of this kind, and all revoked, are the same to a map.
    assert_eq!(update.federated, [(domain("a.test"), Bytes::from(a))]);
    let bundles = scene.bundles(Credential::X509).next().await.unwrap();
    assert_eq!(bundles.own, (trust_domain(), update.bundle));
    assert_eq!(bundles.federated, update.federated);
    for kind in [Credential::Jwt, Credential::Wit] {
        let bundles = scene.bundles(kind).next().await.unwrap();
        assert_eq!(names(&bundles.federated), ["jwt.test"], "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_one_message_to_who_sees_it_and_none_to_others() {
    let Some(mut scene) = scene(&["a.test"]) else { return };
    let (first, other) = (x509("a.test"), x509("b.test"));
    scene.foreign.send_replace(kept(&[("a.test", &first)]));
    let (mut bundles, mut tokens) = (scene.bundles(Credential::X509), scene.bundles(Credential::Jwt));
    let signed = serial(&scene.feed.next().await.unwrap());
    bundles.next().await.unwrap();
    tokens.next().await.unwrap();
    for unseen in [
        kept(&[("a.test", &first), ("b.test", &other)]),
        kept(&[("a.test", &first), ("b.test", r#"{"keys":[]}"#)]),
        kept(&[("a.test", &first)]),
    ] {
        scene.foreign.send_replace(unseen);
        assert!(scene.is_silent_until(scene.clock.now() + QUIET).await);
        assert!(is_quiet(&mut bundles).await);
    }

    let second = kept(&[("a.test", &x509("a.test"))]);
    scene.foreign.send_replace(second.clone());
    let update = scene.soon().await.unwrap();
    assert_eq!(serial(&update), signed, "nothing is signed for it");
    assert_eq!(update.federated, second.view(Credential::X509, &scene.entries()));
    assert_eq!(soon(&mut bundles).await.unwrap().federated, update.federated);
    assert!(scene.is_silent_until(scene.clock.now() + QUIET).await, "one message");
    assert!(is_quiet(&mut bundles).await, "one message");
    assert!(is_quiet(&mut tokens).await, "no key for tokens was changed");

    // WAPI-08: what is left out is withdrawn. That all keys are revoked, and that there is no bundle, look the same.
    scene.foreign.send_replace(kept(&[("a.test", r#"{"keys":[]}"#)]));
    assert!(scene.soon().await.unwrap().federated.is_empty());
    assert!(soon(&mut bundles).await.unwrap().federated.is_empty());
    scene.foreign.send_replace(kept(&[]));
    assert!(scene.is_silent_until(scene.clock.now() + QUIET).await);
    assert!(is_quiet(&mut bundles).await);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_federates_otherwise_is_told_without_a_signature() {
    let Some(mut scene) = scene(&[]) else { return };
    scene.foreign.send_replace(kept(&[("a.test", &x509("a.test")), ("b.test", &x509("b.test"))]));
    let mut bundles = scene.bundles(Credential::X509);
    let first = scene.feed.next().await.unwrap();
    assert!(first.federated.is_empty() && bundles.next().await.unwrap().federated.is_empty());
    for (revision, federates) in [(3, vec!["b.test"]), (4, vec!["a.test", "b.test"]), (5, vec![])] {
        scene.registry.send_replace(federating(revision, &federates, 0));
        let update = scene.soon().await.unwrap();
        assert_eq!(names(&update.federated), federates);
        assert_eq!(serial(&update), serial(&first));
        assert_eq!(names(&soon(&mut bundles).await.unwrap().federated), federates);
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_few_messages_and_the_last_is_the_truth() {
    let Some(mut scene) = scene(&["a.test"]) else { return };
    let changes: Vec<_> = (0..21).map(|_| kept(&[("a.test", &x509("a.test"))])).collect();
    scene.foreign.send_replace(changes.first().unwrap().clone());
    let mut bundles = scene.bundles(Credential::X509);
    scene.feed.next().await.unwrap();
    bundles.next().await.unwrap();
    tokio::time::sleep(QUIET).await;

    let truth = changes.last().unwrap().view(Credential::X509, &scene.entries());
    let (sender, begin) = (scene.foreign.clone(), tokio::time::Instant::now());
    tokio::spawn(async move {
        for change in changes.into_iter().skip(1) {
            sender.send_replace(change);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (mut messages, mut last) = (0, None);
    while let Ok(update) = tokio::time::timeout(QUIET, scene.feed.next()).await {
        (messages, last) = (messages + 1, Some((update.unwrap().federated, begin.elapsed())));
    }
    let (federated, when) = last.unwrap();
    assert_eq!(federated, truth);
    assert!((2..=4).contains(&messages), "{messages}");
    // The last of them is made 95 ms after the first.
    assert!(when <= Duration::from_millis(96) + pace::BETWEEN, "{when:?}");
    assert_eq!(bundles.next().await.unwrap().federated, truth, "who did not look meanwhile has one message");
    assert!(is_quiet(&mut bundles).await);
}

#[tokio::test(start_paused = true)]
async fn bundles_end_with_the_last_entry() {
    let Some(scene) = scene(&[]) else { return };
    let mut bundles = scene.bundles(Credential::X509);
    bundles.next().await.unwrap();
    let begin = scene.clock.now();
    scene.registry.send_replace(federating(3, &[], end(&scene.clock, Some(HOUR))));
    assert!(tokio::time::timeout(HOUR - 2 * SECOND, bundles.next()).await.is_err());
    let ended = |ended: Result<Bundles, Error>| matches!(ended, Err(Error::Refused(reasons)) if !reasons.is_empty() && !reasons.contains(&Reason::NoEntry));
    assert!(ended(bundles.next().await) && scene.clock.now() <= begin + HOUR);
    // WAPI-52: and none are given to who has no identity.
    assert!(ended(scene.bundles(Credential::X509).next().await));
}

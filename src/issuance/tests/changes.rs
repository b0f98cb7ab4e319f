//! A change, and a burst of them, on all five streams of one caller; and the keys of tokens that succeed each other.

use std::iter;

use tokio::time::Instant;

use super::*;
use crate::{
    authority::{Layout, Owner, Settings},
    issuance::{
        BundleFeed, HolderKeys, Update, Wanted,
        foreign::{
            View,
            fixture::{anchor, json, kept, token_entry, x509_entry},
        },
        pace,
    },
    policy::Credential,
    store::Store,
};

/// Far longer than a change takes.
const QUIET: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(100);

/// A scene whose keys are a whole daemon's.
pub(super) async fn owned() -> Option<Scene> {
    let scene = Scene::new(24 * HOUR, None)?;
    let state = scene.home.path().join("state");
    let (store, loaded) = Store::open(&state, &trust_domain()).unwrap();
    let settings = Settings {
        trust_domain: trust_domain(),
        layout: Layout::Rooted,
        algorithm: Algorithm::P256,
        issuing_ttl: 24 * HOUR,
        root_ttl: 2_400 * HOUR,
        token_key_ttl: 24 * HOUR,
        signs_wit: true,
    };
    let (rows, clock) = (loaded.authorities, scene.clock.clone());
    let owner = Owner::open(settings, &state, store, rows, clock, Box::new(|_| ())).await.unwrap();
    let (mut keys, keyring) = (owner.keyring(), scene.keyring.clone());
    tokio::spawn(owner.run(CancellationToken::new()));
    keyring.send_replace(keys.borrow_and_update().clone());
    tokio::spawn(async move {
        while keys.changed().await.is_ok() {
            keyring.send_replace(keys.borrow_and_update().clone());
        }
    });
    Some(scene)
}

/// What all of a caller's streams said of one thing, and when.
struct Heard([Vec<(String, Duration)>; 5]);

/// The first messages of all five, then what they say while `change` is made.
async fn hear(scene: &Scene, change: impl Future<Output = ()>) -> Heard {
    let (issuer, caller) = (&scene.issuer, &scene.caller);
    let mut x509 = issuer.x509(caller.clone());
    let mut wit = issuer.wit(caller.clone(), Wanted::default(), Arc::new(HolderKeys::default()));
    let [mut of_x509, mut of_jwt, mut of_wit] =
        [Credential::X509, Credential::Jwt, Credential::Wit].map(|kind| issuer.bundles(kind, caller.clone()));
    x509.next().await.unwrap();
    wit.next().await.unwrap();
    for bundles in [&mut of_x509, &mut of_jwt, &mut of_wit] {
        bundles.next().await.unwrap();
    }
    tokio::time::sleep(QUIET).await;
    let begin = Instant::now();
    let bundles =
        |feed| gather(feed, async |feed: &mut BundleFeed| names(&feed.next().await.unwrap().federated), begin);
    let (first, second, third, fourth, fifth, ()) = tokio::join!(
        gather(x509, async |feed| said(&feed.next().await.unwrap()), begin),
        gather(wit, async |feed| said(&feed.next().await.unwrap()), begin),
        bundles(of_x509),
        bundles(of_jwt),
        bundles(of_wit),
        change,
    );
    Heard([first, second, third, fourth, fifth])
}

async fn gather<F>(mut feed: F, next: impl AsyncFn(&mut F) -> String, begin: Instant) -> Vec<(String, Duration)> {
    let mut heard = Vec::new();
    while let Ok(words) = tokio::time::timeout(QUIET, next(&mut feed)).await {
        heard.push((words, begin.elapsed()));
    }
    heard
}

/// The hints of an answer, and the foreign domains that are in it.
fn said<T>(update: &Update<T>) -> String {
    let hints = update.identities.iter().map(|one| one.hint.as_str());
    hints.chain(iter::once(names(&update.federated).as_str())).collect::<Vec<_>>().join(" ")
}

fn names(view: &View) -> String {
    view.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(" ")
}

/// An entry of this process with another hint and another foreign domain each time.
fn entries(number: u64) -> Arc<Snapshot> {
    let (hint, domain) = (format!("h{number}"), if number.is_multiple_of(2) { "even.test" } else { "odd.test" });
    let draft = Draft { hint, federates_with: vec![domain.into()], ..draft("web", nix::unistd::getuid().as_raw()) };
    Arc::new(one_entry(number, draft))
}

/// A document with a key of each kind.
fn document() -> String {
    json(&[x509_entry(&anchor("any.test")), token_entry("jwt-svid", "j"), token_entry("wit-svid", "w")])
}

#[tokio::test(start_paused = true)]
async fn a_change_of_entries_is_one_message_on_each_of_five_streams() {
    let Some(scene) = owned().await else { return };
    scene.foreign.send_replace(kept(&[("even.test", &document()), ("odd.test", &document())]));
    scene.registry.send_replace(entries(2));
    let Heard(all) = hear(&scene, async { drop(scene.registry.send_replace(entries(3))) }).await;
    let whole = ["h3 odd.test", "h3 ", "odd.test", "odd.test", "odd.test"];
    for (heard, wanted) in all.iter().zip(whole) {
        let [(words, when)] = heard.as_slice() else { panic!("one message: {heard:?}") };
        assert!(words == wanted && *when <= SOON, "{words} after {when:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_changes_of_entries_are_few_messages_on_each_of_five_streams_and_the_last_is_the_truth() {
    let Some(scene) = owned().await else { return };
    scene.foreign.send_replace(kept(&[("even.test", &document()), ("odd.test", &document())]));
    scene.registry.send_replace(entries(2));
    let burst = async {
        for number in 3..=23 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            scene.registry.send_replace(entries(number));
        }
    };
    let Heard(all) = hear(&scene, burst).await;
    let whole = ["h23 odd.test", "h23 ", "odd.test", "odd.test", "odd.test"];
    for (heard, wanted) in all.iter().zip(whole) {
        let (words, when) = heard.last().unwrap();
        assert_eq!(words, wanted, "the last is the truth");
        assert!((1..=4).contains(&heard.len()), "few messages: {heard:?}");
        // The last change is made 105 ms after the beginning.
        assert!(*when <= Duration::from_millis(106) + pace::BETWEEN, "{when:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_changes_of_foreign_bundles_are_few_messages_on_each_stream_that_has_them() {
    let Some(scene) = owned().await else { return };
    let (with, document) = (document(), document());
    scene.registry.send_replace(entries(2));
    scene.foreign.send_replace(kept(&[("even.test", &document)]));
    let burst = async {
        for number in 0..20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let document = if number % 2 == 0 { r#"{"keys":[]}"# } else { &with };
            scene.foreign.send_replace(kept(&[("even.test", document)]));
        }
    };
    let Heard([x509, wit, bundles @ ..]) = hear(&scene, burst).await;
    assert!(wit.is_empty(), "an answer with WIT-SVIDs has no bundles: {wit:?}");
    for (heard, wanted) in iter::once((&x509, "h2 even.test")).chain(bundles.iter().map(|heard| (heard, "even.test"))) {
        assert_eq!(heard.last().unwrap().0, wanted, "the last is the truth");
        assert!((1..=4).contains(&heard.len()), "few messages: {heard:?}");
    }
}

/// Three days of keys that live one: who holds a stream has each key before anything is signed with it.
#[tokio::test(start_paused = true)]
async fn a_stream_of_token_keys_has_each_before_it_signs() {
    for kind in [Credential::Jwt, Credential::Wit] {
        let Some(scene) = owned().await else { return };
        let mut feed = scene.issuer.bundles(kind, scene.caller.clone());
        let (mut sets, mut signers) = (vec![feed.next().await.unwrap().own.1], Vec::new());
        let end = scene.clock.now() + 72 * HOUR;
        while scene.clock.now() < end {
            if let Ok(next) = tokio::time::timeout(HOUR / 4, feed.next()).await {
                sets.push(next.unwrap().own.1);
            }
            let keyring = scene.keyring.borrow().clone();
            let signer = match kind {
                Credential::Jwt => keyring.jwt().unwrap().signer().0.to_string(),
                _ => keyring.wit().unwrap().signer().0.to_string(),
            };
            let told = String::from_utf8(sets.last().unwrap().to_vec()).unwrap();
            assert!(told.contains(&signer), "{kind:?}: {signer} signs, and the stream has {told}");
            signers.push(signer);
        }
        signers.dedup();
        // Each key comes, and most have gone: a message for each.
        assert!(signers.len() >= 4 && sets.len() > signers.len(), "{} keys, {} sets", signers.len(), sets.len());
        assert!(sets.windows(2).all(|two| two[0] != two[1]), "no message says the same again");
    }
}

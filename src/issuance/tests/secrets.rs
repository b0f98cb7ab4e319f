//! A proxy's streams: what is not there is waited for, and one identity has one key on all of them.

use std::collections::BTreeSet;

use super::*;
use crate::{
    issuance::{Certificates, HolderKeys, Secrets, Update},
    spiffe::Id,
};

fn ids(names: &[&str]) -> Certificates {
    let ids: BTreeSet<_> = names.iter().map(|name| id(name)).collect();
    Certificates { ids, ..Certificates::default() }
}

fn id(name: &str) -> Id {
    Id::parse(&format!("spiffe://example.org/{name}")).unwrap()
}

fn asking(scene: &Scene, keys: &HolderKeys, certificates: Certificates) -> Feed<Secrets> {
    let mut feed = scene.issuer.secrets(scene.caller.clone(), keys);
    feed.ask(|secrets| secrets.ask(certificates));
    feed
}

fn serials(update: &Update<Svid>) -> Vec<&str> {
    update.identities.iter().map(|one| one.svid.serial.as_str()).collect()
}

fn say(scene: &Scene, revision: u64, entries: impl IntoIterator<Item = Arc<Entry>>) {
    scene.registry.send_replace(Arc::new(Snapshot::build(revision, entries)));
}

fn own(number: u8, name: &str) -> Arc<Entry> {
    named(number, name, nix::unistd::getuid().as_raw())
}

#[tokio::test(start_paused = true)]
async fn all_streams_of_a_proxy_have_one_key_through_renewals() {
    let Some(scene) = Scene::new(24 * HOUR, None) else { return };
    let keys = HolderKeys::default();
    let mut one = asking(&scene, &keys, ids(&["web"]));
    let mut other = asking(&scene, &keys, Certificates { default: true, ..Certificates::default() });
    let (first, second) = (one.next().await.unwrap(), other.next().await.unwrap());
    assert_eq!(serials(&first), serials(&second));
    assert_eq!(records(&scene, "issued").len(), 2, "each answer has its record");
    let stranger = asking(&scene, &HolderKeys::default(), ids(&["web"])).next().await.unwrap();
    assert_ne!(serials(&stranger), serials(&first), "on another connection");
    let (first, second) = tokio::join!(one.next(), other.next());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(serials(&first), serials(&second));
    assert_ne!(serials(&first), serials(&stranger));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_waited_for_and_told_once() {
    let Some(scene) = Scene::new(24 * HOUR, None) else { return };
    let mut feed = asking(&scene, &HolderKeys::default(), ids(&["db"]));
    let update = feed.next().await.unwrap();
    assert!(update.identities.is_empty() && !update.bundle.is_empty());
    assert_eq!(feed.kind().default_id(), Some(&id("web")));
    let refused = records(&scene, "refused");
    assert_eq!((refused.len(), &refused[0]["reasons"]), (1, &serde_json::json!(["identity_not_given"])));
    // Somebody else's changes.
    say(&scene, 2, [own(7, "web"), named(1, "db", u32::MAX - 9)]);
    assert!(tokio::time::timeout(HOUR, feed.next()).await.is_err());
    assert_eq!(records(&scene, "refused").len(), 1);
    say(&scene, 3, [own(7, "web"), own(8, "db")]);
    let begin = tokio::time::Instant::now();
    assert_eq!(feed.next().await.unwrap().identities.first().unwrap().svid.id, id("db"));
    assert!(begin.elapsed() <= Duration::from_millis(50), "{:?}", begin.elapsed());
    say(&scene, 4, [own(7, "web")]);
    assert!(feed.next().await.unwrap().identities.is_empty(), "it is told, and goes on");
    say(&scene, 5, [own(7, "web"), own(8, "db")]);
    assert_eq!(feed.next().await.unwrap().identities.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_entry_waits_and_is_told_nobody_to_trust() {
    let Some(scene) = Scene::new(24 * HOUR, None) else { return };
    say(&scene, 2, []);
    let mut feed = asking(&scene, &HolderKeys::default(), Certificates::default());
    let update = feed.next().await.unwrap();
    assert!(update.identities.is_empty() && update.bundle.is_empty() && feed.kind().default_id().is_none());
    assert_eq!(records(&scene, "refused")[0]["reasons"], serde_json::json!(["no_entry"]));
    say(&scene, 3, [own(7, "web")]);
    let update = feed.next().await.unwrap();
    assert!(update.identities.is_empty() && !update.bundle.is_empty(), "authorities alone are asked for");
    assert!(records(&scene, "issued").is_empty(), "and nothing is signed");
    say(&scene, 4, []);
    assert!(feed.next().await.unwrap().bundle.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_one_spiffe_id_the_oldest_entry_is_given() {
    let Some(scene) = Scene::new(24 * HOUR, None) else { return };
    let hinted = |number, hint: &str| {
        let mut entry = Arc::unwrap_or_clone(own(number, "web"));
        entry.spec.hint = hint.to_owned();
        Arc::new(entry)
    };
    say(&scene, 2, [hinted(2, "new"), hinted(1, "old"), own(3, "db")]);
    let every = Certificates { every: true, ..Certificates::default() };
    let update = asking(&scene, &HolderKeys::default(), every).next().await.unwrap();
    let given: Vec<_> = update.identities.iter().map(|one| (one.svid.id.path(), one.hint.as_str())).collect();
    assert_eq!(given, [("/web", "old"), ("/db", "")]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_is_answered_with_what_it_has() {
    let Some(scene) = Scene::new(24 * HOUR, None) else { return };
    let mut feed = asking(&scene, &HolderKeys::default(), ids(&["web"]));
    let first = feed.next().await.unwrap();
    assert!(tokio::time::timeout(HOUR / 4, feed.next()).await.is_err());
    feed.ask(|secrets| secrets.ask(ids(&["web", "db"])));
    let again = feed.next().await.unwrap();
    assert_eq!(serials(&again), serials(&first));
}

//! One caller's stream while the clock moves: this process, through a real connection to itself.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

pub(crate) mod access;
mod changes;
mod foreign;
mod opaque;
mod reuse;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{net::UnixStream, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Feed, Issuer, JwtRules, Sources,
    desk::fixture::{self, draft, trust_domain},
    foreign::Foreign,
    x509::X509,
};
use crate::{
    attest::{Attestor, Caller, Waits},
    audit,
    authority::{Algorithm, Key, Keyring, Signer, Svid, root_certificate},
    policy::{Reason, Rules},
    registry::{Draft, Entry, EntryId, Snapshot},
    spiffe::x509::Bundle,
    sys::{
        Clock,
        image::Lens,
        kernel::{Feature, Kernel},
        looks::AllLooks,
        peer::Peer,
        scratch::Scratch,
        stream::{Speech, Stream, guard},
    },
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const ISSUER: &str = "https://example.org/oauth";

/// A spine with one caller.
pub(crate) struct Scene {
    pub(crate) clock: Clock,
    keyring: watch::Sender<Arc<Keyring>>,
    pub(crate) registry: watch::Sender<Arc<Snapshot>>,
    foreign: watch::Sender<Arc<Foreign>>,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) caller: Arc<Caller>,
    feed: Feed<X509>,
    _connection: (Stream, UnixStream),
    home: Scratch,
}

impl Scene {
    /// With an entry for this process that lets credentials live an hour; `None` on a kernel where a challenge must be
    /// answered first.
    fn new(authority_life: Duration, entry_life: Option<Duration>) -> Option<Self> {
        Self::that_gives_again(Duration::ZERO, authority_life, entry_life)
    }

    /// The same, where SVIDs are given again within this time.
    fn that_gives_again(time: Duration, authority_life: Duration, entry_life: Option<Duration>) -> Option<Self> {
        let (kernel, clock, home) = (Kernel::probe(&[]).unwrap(), Clock::following_tokio(), Scratch::new());
        if !kernel.has(Feature::PeerPidfd) {
            return None;
        }
        let (registry, entries) = watch::channel(Arc::new(snapshot(1, end(&clock, entry_life))));
        let (keyring, keys) = watch::channel(keyring(clock.now(), authority_life));
        let log = audit::Log::in_test(&home.path().join("audit"), audit::Limits::default(), clock.clone()).unwrap();
        let rules = Rules::in_test(trust_domain(), HOUR);
        let (foreign, abroad) = watch::channel(Arc::new(Foreign::default()));
        let sources = Sources { registry: entries, keyring: keys, foreign: abroad };
        let jwt = JwtRules { issuer: None, leeway: Duration::ZERO, strangers_verify: false };
        let (counters, stopping) = (Arc::default(), CancellationToken::new());
        let issuer = Issuer::new(sources, rules, jwt, log, clock.clone(), counters, stopping).gives_again_within(time);
        let issuer = issuer.issues_access_as(ISSUER.into());

        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = Arc::new(Peer::of(&ours, kernel).unwrap());
        let lens = Lens::new("/".into(), Vec::new()).unwrap();
        let waits = Waits { attestation: HOUR, ping: HOUR, hash: HOUR, hash_bytes_max: 0, hashes_at_once: 1 };
        let attestor = Attestor::new(lens.clone(), waits, kernel, &AllLooks::default(), clock.clone(), Arc::default());
        let looks = AllLooks::default().of_user(0);
        let (stream, line) = guard(ours, peer, lens, looks.clone(), Speech::Http2);
        let (issuer, caller) = (Arc::new(issuer), Arc::new(Caller::new(line, looks, Arc::new(attestor))));
        let feed = issuer.x509(caller.clone());
        Some(Self { clock, keyring, registry, foreign, issuer, caller, feed, _connection: (stream, theirs), home })
    }

    /// The next message's serial, and when its credential ends.
    async fn next(&mut self) -> Result<(String, SystemTime), Error> {
        let update = self.feed.next().await?;
        let svid = &update.identities.first().unwrap().svid;
        Ok((svid.serial.clone(), svid.not_after))
    }

    /// The next message's serials and paths.
    async fn identities(&mut self) -> Result<(Vec<String>, Vec<String>), Error> {
        let update = self.feed.next().await?;
        let both = |one: &super::feed::Identity<Svid>| (one.svid.serial.clone(), one.svid.id.path().to_owned());
        Ok(update.identities.iter().map(both).unzip())
    }

    /// Whether nothing comes before this moment.
    async fn is_silent_until(&mut self, moment: SystemTime) -> bool {
        let left = moment.duration_since(self.clock.now()).unwrap();
        tokio::time::timeout(left, self.feed.next()).await.is_err()
    }
}

fn end(clock: &Clock, life: Option<Duration>) -> u64 {
    let end = life.map(|life| clock.now() + life);
    end.map_or(0, |end| end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
}

pub(crate) fn records(scene: &Scene, kind: &str) -> Vec<serde_json::Value> {
    fixture::records(&scene.home.path().join("audit"), kind)
}

fn snapshot(revision: u64, expires_at: u64) -> Snapshot {
    one_entry(revision, Draft { expires_at, ..draft("web", nix::unistd::getuid().as_raw()) })
}

/// A registry in which this is said, of old.
fn one_entry(revision: u64, draft: Draft) -> Snapshot {
    let (spec, created_at) = (draft.check(&trust_domain()).unwrap(), SystemTime::UNIX_EPOCH);
    let entry = Entry { id: EntryId::from_random([7; 16]), spec, revision, created_at, since: created_at };
    Snapshot::build(revision, [Arc::new(entry)])
}

fn keyring(now: SystemTime, life: Duration) -> Arc<Keyring> {
    let key = Key::generate(Algorithm::P256).unwrap();
    let anchor = root_certificate(&trust_domain(), &key, 0, now, life).unwrap();
    let signer = Signer::new(key, anchor.clone(), true).unwrap();
    Arc::new(Keyring::new(Arc::new(signer), Bundle::new(trust_domain(), vec![anchor]).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_stream_renews_in_the_middle_of_a_life() {
    let Some(mut scene) = Scene::new(24 * HOUR, None) else { return };
    let (first, end) = scene.next().await.unwrap();
    assert!(scene.is_silent_until(end - HOUR * 61 / 100).await);
    let (second, later) = scene.next().await.unwrap();
    assert!(second != first && later > end && scene.clock.now() < end - HOUR / 3);
}

#[tokio::test(start_paused = true)]
async fn what_ends_with_its_entry_is_not_renewed_again() {
    let Some(mut scene) = Scene::new(24 * HOUR, Some(HOUR * 4 / 3)) else { return };
    let begin = scene.clock.now();
    let (_, first) = scene.next().await.unwrap();
    assert_eq!(first, begin + HOUR);
    // That one gains twenty minutes. None after it would gain anything.
    let (_, last) = scene.next().await.unwrap();
    let end = begin + HOUR * 4 / 3;
    assert!(last <= end && last + SECOND >= end);
    assert!(scene.is_silent_until(last - SECOND).await);
    // A second that was lost to rounding may still be given.
    let ended = match scene.next().await {
        Ok(_) => scene.next().await,
        ended => ended,
    };
    assert!(matches!(ended, Err(Error::Refused(_))), "{ended:?}");
    assert!(scene.clock.now() >= last);
}

#[tokio::test(start_paused = true)]
async fn a_hint_goes_to_the_next_entry_when_the_oldest_that_has_it_ends() {
    let Some(mut scene) = Scene::new(24 * HOUR, None) else { return };
    let begin = scene.clock.now();
    let hinted = |number: u8, name: &str, expires_at: Option<SystemTime>| {
        let mut entry = Arc::unwrap_or_clone(named(number, name, nix::unistd::getuid().as_raw()));
        (entry.spec.hint, entry.spec.expires_at) = ("main".into(), expires_at);
        Arc::new(entry)
    };
    let entries = [hinted(1, "old", Some(begin + HOUR / 2)), hinted(2, "new", None)];
    scene.registry.send_replace(Arc::new(Snapshot::build(2, entries)));
    assert_eq!(scene.identities().await.unwrap().1, ["/old"]);
    assert_eq!(scene.identities().await.unwrap().1, ["/new"]);
    assert!(scene.clock.now() >= begin + HOUR / 2 && scene.clock.now() < begin + HOUR / 2 + 2 * SECOND);
}

/// An entry whose number is its age.
fn named(number: u8, name: &str, uid: u32) -> Arc<Entry> {
    let spec = draft(name, uid).check(&trust_domain()).unwrap();
    let created_at = SystemTime::UNIX_EPOCH + u32::from(number) * SECOND;
    Arc::new(Entry { id: EntryId::from_random([number; 16]), spec, revision: 1, created_at, since: created_at })
}

#[tokio::test(start_paused = true)]
async fn a_template_gives_what_no_other_entry_says_from_one_moment_to_the_next() {
    let Some(mut scene) = Scene::new(24 * HOUR, None) else { return };
    let uid = nix::unistd::getuid().as_raw();
    let template = || named(1, "user/{unix:uid}", uid);
    let (web, service) = (|| named(2, "web", uid), || named(3, &format!("user/{uid}"), uid + 1));
    let say = |scene: &Scene, revision: u64, entries: Vec<Arc<Entry>>| {
        scene.registry.send_replace(Arc::new(Snapshot::build(revision, entries)));
    };
    let own = format!("/user/{uid}");
    say(&scene, 2, vec![template(), web()]);
    let (first, names) = scene.identities().await.unwrap();
    assert_eq!(names, [own.as_str(), "/web"]);
    assert_eq!(records(&scene, "issued")[0]["identities"][0]["spiffe_id"], format!("spiffe://example.org{own}"));
    // Somebody else's from now on.
    say(&scene, 3, vec![template(), web(), service()]);
    let (second, names) = scene.identities().await.unwrap();
    assert_eq!((names, &second[0]), (vec!["/web".into()], &first[1]));
    let refused = records(&scene, "refused");
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["reasons"], serde_json::json!(["template_id_taken"]));
    assert!(refused[0]["detail"].as_str().unwrap().contains(&own), "{refused:?}");
    // What changes nothing for it is neither sent nor told again.
    say(&scene, 4, vec![template(), web(), service(), named(4, "x", uid + 2)]);
    assert!(scene.is_silent_until(scene.clock.now() + 60 * SECOND).await);
    assert_eq!(records(&scene, "refused").len(), 1);
    // And back, with a new certificate, which renews nothing.
    say(&scene, 5, vec![template(), web()]);
    let (third, names) = scene.identities().await.unwrap();
    assert_eq!(names, [own.as_str(), "/web"]);
    assert!(third[0] != first[0] && third[1] == first[1]);
    assert_eq!(records(&scene, "issued").last().unwrap()["renewal"], false);
    // With nothing else it is entitled to nothing.
    say(&scene, 6, vec![template(), service()]);
    let ended = scene.feed.next().await.err().unwrap();
    let codes = |error: &Error| match error {
        Error::Refused(reasons) => reasons.iter().map(Reason::code).collect(),
        _ => Vec::new(),
    };
    assert_eq!(codes(&ended), ["template_id_taken"]);
}

#[tokio::test(start_paused = true)]
async fn another_template_of_the_same_entry_is_another_identity() {
    let Some(mut scene) = Scene::new(24 * HOUR, None) else { return };
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    for (revision, name, path) in
        [(2, "uid/{unix:uid}", format!("/uid/{uid}")), (3, "gid/{unix:gid}", format!("/gid/{gid}"))]
    {
        let mut entry = Arc::unwrap_or_clone(named(1, name, uid));
        entry.revision = revision;
        scene.registry.send_replace(Arc::new(Snapshot::build(revision, [Arc::new(entry)])));
        assert_eq!(scene.identities().await.unwrap().1, [path]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_given_more_time_is_renewed_at_once() {
    let Some(mut scene) = Scene::new(24 * HOUR, Some(HOUR / 2)) else { return };
    let begin = scene.clock.now();
    assert_eq!(scene.next().await.unwrap().1, begin + HOUR / 2);
    assert!(scene.is_silent_until(begin + HOUR * 2 / 5).await);
    scene.registry.send_replace(Arc::new(snapshot(2, end(&scene.clock, Some(2 * HOUR)))));
    assert_eq!(scene.next().await.unwrap().1, begin + HOUR * 7 / 5);
    assert_eq!(scene.clock.now(), begin + HOUR * 2 / 5);
}

#[tokio::test(start_paused = true)]
async fn what_ends_with_its_authority_is_renewed_under_the_next() {
    let Some(mut scene) = Scene::new(HOUR / 2, None) else { return };
    let begin = scene.clock.now();
    let (first, end) = scene.next().await.unwrap();
    assert_eq!(end, begin + HOUR / 2);
    assert!(scene.is_silent_until(begin + HOUR * 2 / 5).await);
    scene.keyring.send_replace(keyring(scene.clock.now(), 24 * HOUR));
    // The new bundle, and what was held: not everybody renews in the moment of a rotation.
    assert_eq!(scene.next().await.unwrap(), (first.clone(), end));
    let (second, later) = scene.next().await.unwrap();
    assert!(second != first && later > end && scene.clock.now() < end - 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_valid_yet_after_the_clock_was_set_back_is_renewed() {
    let Some(mut scene) = Scene::new(24 * HOUR, None) else { return };
    let (first, end) = scene.next().await.unwrap();
    scene.clock.set_back(5 * HOUR);
    // The authority is not valid yet either: what there is stays, and is tried again without haste.
    let begin = tokio::time::Instant::now();
    assert!(tokio::time::timeout(HOUR / 4, scene.feed.next()).await.is_err());
    assert!(scene.clock.now() < end - 4 * HOUR && begin.elapsed() >= HOUR / 4);
    scene.keyring.send_replace(keyring(scene.clock.now(), 24 * HOUR));
    let (second, later) = scene.next().await.unwrap();
    assert!(second != first && later == scene.clock.now() + HOUR);
    assert!(scene.is_silent_until(later - HOUR * 61 / 100).await);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_wakes_those_whose_credential_it_precedes() {
    let Some(mut scene) = Scene::new(24 * HOUR, None) else { return };
    tokio::time::sleep(10 * HOUR).await;
    let (first, _) = scene.next().await.unwrap();
    let begin = tokio::time::Instant::now();
    let mut next = Box::pin(scene.feed.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    scene.clock.set_back(5 * HOUR);
    let update = next.await.unwrap();
    assert!(begin.elapsed() <= 61 * SECOND, "{:?}", begin.elapsed());
    let svid = &update.identities.first().unwrap().svid;
    assert!(svid.serial != first && svid.not_after == scene.clock.now() + HOUR);
}

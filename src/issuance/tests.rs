//! One caller's stream while the clock moves: this process, through a real connection to itself.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{net::UnixStream, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Feed, Issuer, JwtRules, Sources,
    desk::fixture::{draft, trust_domain},
    kind::X509,
};
use crate::{
    attest::{Attestor, Caller, Waits},
    audit,
    authority::{Algorithm, Key, Keyring, Signer, root_certificate},
    policy::Rules,
    registry::{Draft, Entry, EntryId, Snapshot},
    spiffe::x509::Bundle,
    sys::{
        Clock,
        image::Lens,
        kernel::{Feature, Kernel},
        looks::AllLooks,
        peer::Peer,
        scratch::Scratch,
        stream::{Stream, guard},
    },
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A spine with one caller.
struct Scene {
    clock: Clock,
    keyring: watch::Sender<Arc<Keyring>>,
    registry: watch::Sender<Arc<Snapshot>>,
    feed: Feed<X509>,
    _connection: (Stream, UnixStream),
    _home: Scratch,
}

impl Scene {
    /// With an entry for this process that lets credentials live an hour; `None` on a kernel where a challenge must be
    /// answered first.
    fn new(authority_life: Duration, entry_life: Option<Duration>) -> Option<Self> {
        let (kernel, clock, home) = (Kernel::probe(&[]).unwrap(), Clock::following_tokio(), Scratch::new());
        if !kernel.has(Feature::PeerPidfd) {
            return None;
        }
        let (registry, entries) = watch::channel(Arc::new(snapshot(1, end(&clock, entry_life))));
        let (keyring, keys) = watch::channel(keyring(clock.now(), authority_life));
        let log = audit::Log::in_test(&home.path().join("audit"), audit::Limits::default(), clock.clone()).unwrap();
        let rules = Rules::in_test(trust_domain(), HOUR);
        let sources = Sources { registry: entries, keyring: keys };
        let jwt = JwtRules { issuer: None, leeway: Duration::ZERO, strangers_verify: false };
        let (counters, stopping) = (Arc::default(), CancellationToken::new());
        let issuer = Issuer::new(sources, rules, jwt, log, clock.clone(), counters, stopping);

        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = Arc::new(Peer::of(&ours, kernel).unwrap());
        let lens = Lens::new("/".into(), Vec::new()).unwrap();
        let waits = Waits { attestation: HOUR, ping: HOUR, hash: HOUR, hash_bytes_max: 0, hashes_at_once: 1 };
        let attestor = Attestor::new(lens.clone(), waits, kernel, &AllLooks::default(), clock.clone(), Arc::default());
        let looks = AllLooks::default().of_user(0);
        let (stream, line) = guard(ours, peer, lens, looks.clone());
        let feed = Arc::new(issuer).x509(Arc::new(Caller::new(line, looks, Arc::new(attestor))));
        Some(Self { clock, keyring, registry, feed, _connection: (stream, theirs), _home: home })
    }

    /// The next message's serial, and when its credential ends.
    async fn next(&mut self) -> Result<(String, SystemTime), Error> {
        let update = self.feed.next().await?;
        let svid = &update.identities.first().unwrap().svid;
        Ok((svid.serial.clone(), svid.not_after))
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

fn snapshot(revision: u64, expires_at: u64) -> Snapshot {
    let draft = Draft { expires_at, ..draft("web", nix::unistd::getuid().as_raw()) };
    let spec = draft.check(&trust_domain()).unwrap();
    let entry = Entry { id: EntryId::from_random([7; 16]), spec, revision, created_at: SystemTime::UNIX_EPOCH };
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

//! A program that comes again soon, where it is given the same again.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    super::reuse::{Holder, Reuse, SVIDS_MAX},
    *,
};
use crate::{
    authority::{self, AuthorityId},
    issuance::feed::Identity,
    policy::{Credential, Judgement, Request, judge},
    registry::{Given, granted},
    sys::{
        counters::Counters,
        image::Spot,
        peer::ProcessKey,
        proc::{FileId, Layout},
    },
};

const AGAIN: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_program_that_comes_again_soon_has_the_same_recorded_each_time() {
    let Some(mut scene) = Scene::that_gives_again(AGAIN, 24 * HOUR, None) else { return };
    let (first, end) = scene.next().await.unwrap();
    let mut others = [scene.issuer.x509(scene.caller.clone()), scene.issuer.x509(scene.caller.clone())];
    let [second, _] = &mut others;
    assert_eq!(serial(&second.next().await.unwrap().identities), first);
    let told = records(&scene, "issued");
    assert_eq!(told.len(), 2, "each of them is recorded");
    assert!(told.iter().all(|record| record["identities"][0]["serial"] == first.as_str()));
    // No message on either of them for it.
    assert!(scene.is_silent_until(scene.clock.now() + AGAIN).await);
    let [_, third] = &mut others;
    let later = serial(&third.next().await.unwrap().identities);
    assert_ne!(later, first, "the time is over");
    // And each is renewed as ever.
    assert!(scene.is_silent_until(end - HOUR * 61 / 100).await);
    let (renewed, _) = scene.next().await.unwrap();
    assert!(renewed != first && renewed != later);
}

#[tokio::test(start_paused = true)]
async fn each_stream_has_its_own_where_nothing_else_is_said() {
    let Some(mut scene) = Scene::new(24 * HOUR, None) else { return };
    let (first, _) = scene.next().await.unwrap();
    let second = scene.issuer.x509(scene.caller.clone()).next().await.unwrap();
    assert_ne!(serial(&second.identities), first);
}

fn serial(identities: &[Identity<Svid>]) -> String {
    identities.first().unwrap().svid.serial.clone()
}

/// What was signed lately, for one entry of one program.
struct Bench {
    clock: Clock,
    keyring: Arc<Keyring>,
    counters: Arc<Counters>,
    reuse: Arc<Reuse>,
    signed: AtomicU32,
}

impl Bench {
    fn new(time: Duration) -> Self {
        let (clock, counters) = (Clock::following_tokio(), Arc::<Counters>::default());
        let keyring = keyring(clock.now(), 24 * HOUR);
        let reuse = Arc::new(Reuse::new(time, counters.clone()));
        Self { clock, keyring, counters, reuse, signed: AtomicU32::new(0) }
    }

    fn svid(&self, entry: &Given) -> Result<Arc<Svid>, authority::Error> {
        self.signed.fetch_add(1, Ordering::Relaxed);
        let request = Request { entry, credential: Credential::X509 };
        match judge(&request, &Rules::in_test(trust_domain(), HOUR), self.clock.now()) {
            Judgement::Permit(permit) => self.keyring.sign_x509(permit, self.clock.now()).map(Arc::new),
            Judgement::Refuse(reasons) => panic!("{reasons:?}"),
        }
    }

    /// Whether this was to be signed, and not given again.
    fn signs(&self, holder: Holder, entry: &Given, signer: &AuthorityId) -> bool {
        let before = self.signed.load(Ordering::Relaxed);
        self.reuse.again_or::<X509>(holder, entry, signer, self.clock.now(), || self.svid(entry)).ok();
        self.signed.load(Ordering::Relaxed) > before
    }
}

fn holder(process: u64, stack: u64) -> Holder {
    let (file, layout) = (FileId { device: 1, inode: 1 }, Layout { code: 1, stack, heap: 1 });
    Holder { process: ProcessKey::Inode(process), program: Spot { file, layout } }
}

/// What an entry for this uid gives.
fn grant(entry: Arc<Entry>, clock: &Clock) -> Given {
    let selectors = [format!("unix:uid:{}", nix::unistd::getuid())];
    let selectors = selectors.iter().map(|one| one.parse().unwrap()).collect();
    granted(&Snapshot::build(1, [entry]), &selectors, clock.now()).given.remove(0)
}

#[tokio::test(start_paused = true)]
async fn only_the_same_program_entry_and_authority_is_given_the_same() {
    let bench = Bench::new(AGAIN);
    let uid = nix::unistd::getuid().as_raw();
    let entry = grant(named(1, "web", uid), &bench.clock);
    let signer = bench.keyring.issuer();
    assert!(bench.signs(holder(1, 1), &entry, signer));
    assert!(!bench.signs(holder(1, 1), &entry, signer));
    assert!(bench.signs(holder(2, 1), &entry, signer), "another process");
    assert!(bench.signs(holder(1, 2), &entry, signer), "another program in the same process");
    assert!(bench.signs(holder(1, 1), &grant(named(2, "web", uid), &bench.clock), signer), "another entry");
    let mut changed = Arc::unwrap_or_clone(named(1, "web", uid));
    changed.spec.dns_names = vec!["web.example.org".into()];
    let changed = grant(Arc::new(changed), &bench.clock);
    assert!(bench.signs(holder(1, 1), &changed, signer), "the entry says something else");
    assert!(!bench.signs(holder(1, 1), &changed, signer));
    let another = keyring(bench.clock.now(), HOUR);
    assert!(bench.signs(holder(1, 1), &changed, another.issuer()), "another authority signs");
    bench.clock.set_back(HOUR);
    assert!(bench.signs(holder(2, 1), &entry, signer), "not valid yet");
}

#[tokio::test(start_paused = true)]
async fn one_is_given_again_for_a_time_and_for_a_quarter_of_its_life_at_most() {
    for (time, last) in [(AGAIN, AGAIN), (4 * HOUR, HOUR / 4)] {
        let bench = Bench::new(time);
        let entry = grant(named(1, "web", nix::unistd::getuid().as_raw()), &bench.clock);
        assert!(bench.signs(holder(1, 1), &entry, bench.keyring.issuer()));
        tokio::time::sleep(last - SECOND).await;
        assert!(!bench.signs(holder(1, 1), &entry, bench.keyring.issuer()));
        tokio::time::sleep(2 * SECOND).await;
        assert!(bench.reuse.is_empty(), "nothing of it stays");
        assert!(bench.signs(holder(1, 1), &entry, bench.keyring.issuer()));
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_so_many_each_stream_has_its_own() {
    let bench = Bench::new(AGAIN);
    let entry = grant(named(1, "web", nix::unistd::getuid().as_raw()), &bench.clock);
    let svid = bench.svid(&entry).unwrap();
    let ask = |process: u64| {
        let is_asked = std::cell::Cell::new(false);
        let sign = || {
            is_asked.set(true);
            Ok(svid.clone())
        };
        let (signer, now) = (bench.keyring.issuer(), bench.clock.now());
        bench.reuse.again_or::<X509>(holder(process, 1), &entry, signer, now, sign).unwrap();
        is_asked.get()
    };
    let most = u64::try_from(SVIDS_MAX).unwrap();
    assert!((0..most).all(ask) && !ask(most - 1));
    assert!(ask(most) && ask(most), "beyond the limit none is kept");
    let mut met = Vec::new();
    bench.counters.each(|sample| {
        if sample.name == "limits_met" {
            met.push((format!("{:?}", sample.labels), sample.value));
        }
    });
    assert!(matches!(&met[..], [(limit, 2)] if limit.contains("svids_given_again")), "{met:?}");
}

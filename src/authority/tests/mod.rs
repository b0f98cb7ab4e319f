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
    registry::{Draft, Entry, EntryId},
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

mod tokens;

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
    let entry = Entry { id: EntryId::from_random([7; 16]), spec, revision: 1, created_at: now };
    match judge(&Request { entry: &entry, credential }, &rules, now) {
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

#[tokio::test(start_paused = true)]
async fn the_first_start_makes_authorities_and_the_next_one_keeps_them() {
    for (layout, count) in [(Layout::Rooted, 4), (Layout::SelfSigned, 3)] {
        let (dir, clock) = (Scratch::new(), Clock::following_tokio());
        let (owner, store) = try_open(dir.path(), settings(layout), &clock).await.unwrap();
        let first = owner.keyring();
        assert!(is_believed(&sign(&first, clock.now()), first.borrow().bundle(), clock.now()));
        assert_eq!(key_files(dir.path()).len(), count);
        assert_whole(dir.path(), &store).await;
        drop((owner, store));

        let (owner, store) = try_open(dir.path(), settings(layout), &clock).await.unwrap();
        let second = owner.keyring();
        assert_eq!(second.borrow().issuer(), first.borrow().issuer());
        assert_eq!(second.borrow().bundle(), first.borrow().bundle());
        assert_eq!(store.load().await.unwrap().authorities.len(), count);
    }
}

/// Plays twenty days with ten-day roots and one-day issuing CAs. At each hour: what is signed is believed by whoever has
/// the bundle of then, of a while before, and any bundle up to its end.
async fn rotate(layout: Layout) {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, store) = try_open(dir.path(), settings(layout), &clock).await.unwrap();
    let keyring = owner.keyring();
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    let mut history: Vec<(SystemTime, Bundle, Svid)> = Vec::new();
    for _ in 0..20 * 24 * 4 {
        tokio::time::sleep(HOUR / 4).await;
        let now = clock.now();
        history.push((now, keyring.borrow().bundle().clone(), sign(&keyring, now)));
    }
    let (mut issuers, mut bundles) = (Vec::new(), Vec::new());
    for (at, (signed, bundle, svid)) in history.iter().enumerate() {
        assert!(is_believed(svid, bundle, *signed));
        if let Some((_, before, _)) = at.checked_sub(2).and_then(|at| history.get(at)) {
            assert!(is_believed(svid, before, *signed), "it signed before everybody knew it");
        }
        let last = history.iter().skip(at).take_while(|(then, ..)| *then <= svid.not_after).last();
        let (then, later, _) = last.unwrap();
        assert!(is_believed(svid, later, *then), "what it signed is not believed any more");
        issuers.push(svid.authority.clone());
        bundles.push(bundle.der().clone());
    }
    issuers.dedup();
    bundles.dedup();
    match layout {
        Layout::Rooted => {
            assert!((37..=43).contains(&issuers.len()), "{} issuing CAs", issuers.len());
            assert!((4..=7).contains(&bundles.len()), "{} bundles", bundles.len());
        }
        Layout::SelfSigned => assert!((22..=50).contains(&issuers.len()), "{} authorities", issuers.len()),
    }
    assert!(key_files(dir.path()).len() <= 12, "{:?}", key_files(dir.path()));
    assert_whole(dir.path(), &store).await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rotation_of_two_tiers_is_noticed_by_nobody() {
    rotate(Layout::Rooted).await;
}

#[tokio::test(start_paused = true)]
async fn rotation_of_one_tier_is_noticed_by_nobody() {
    rotate(Layout::SelfSigned).await;
}

/// The daemon is cut off right after each write of a row, again and again, while forty days pass in leaps of seven hours.
#[tokio::test(start_paused = true)]
async fn a_crash_after_any_row_is_recovered_at_the_next_start() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let mut crashes = 0;
    while clock.now() < SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600) + 960 * HOUR {
        let (store, loaded) = Store::open(dir.path(), &domain()).unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        let counter = told.clone();
        let crash: Box<dyn Fn(&Event) + Send + Sync> = Box::new(move |_| {
            assert!(counter.fetch_add(1, Ordering::SeqCst) > 0, "the daemon is killed here");
        });
        let state = dir.path().to_owned();
        let (settings, theirs) = (settings(Layout::Rooted), clock.clone());
        let opened = tokio::spawn(async move {
            let owner = Owner::open(settings, &state, store, loaded.authorities, theirs, crash).await;
            owner.map(|owner| owner.keyring()).unwrap()
        });
        match opened.await {
            Err(_) => crashes += 1,
            Ok(keyring) => {
                assert!(is_believed(&sign(&keyring, clock.now()), keyring.borrow().bundle(), clock.now()));
                tokio::time::advance(7 * HOUR).await;
            }
        }
    }
    assert!(crashes > 100, "{crashes} crashes");
    let (_, store) = open(dir.path(), &clock).await;
    assert_whole(dir.path(), &store).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_no_row_knows_was_never_used_and_goes() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    // Even before the very first row.
    files::create_private_dir(&dir.path().join("keys")).unwrap();
    let (store, loaded) = Store::open(dir.path(), &domain()).unwrap();
    let orphan = dir.path().join("keys").join(format!("{:032x}.key", 1));
    files::write_private(&orphan, b"key").unwrap();
    fs::write(dir.path().join("keys").join(format!("{:032x}.new", 2)), b"half a k").unwrap();
    let owner =
        Owner::open(settings(Layout::Rooted), dir.path(), store.clone(), loaded.authorities, clock.clone(), silent());
    drop(owner.await.unwrap());
    assert_whole(dir.path(), &store).await;
    drop(store);
    files::write_private(&orphan, b"key").unwrap();
    let (_, store) = open(dir.path(), &clock).await;
    assert_whole(dir.path(), &store).await;
}

#[tokio::test(start_paused = true)]
async fn several_keys_that_no_row_knows_are_not_touched() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    drop(open(dir.path(), &clock).await);
    for number in 1..=2 {
        files::write_private(&dir.path().join("keys").join(format!("{number:032x}.key")), b"key").unwrap();
    }
    let Err(error) = try_open(dir.path(), settings(Layout::Rooted), &clock).await else { panic!("it was opened") };
    assert!(matches!(error, Error::UnknownKeys { count: 2, .. }), "{error}");
    assert_eq!(key_files(dir.path()).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_row_without_its_key_is_refused() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    drop(open(dir.path(), &clock).await);
    fs::remove_file(key_files(dir.path()).pop().unwrap()).unwrap();
    let Err(error) = try_open(dir.path(), settings(Layout::Rooted), &clock).await else { panic!("it was opened") };
    assert!(matches!(error, Error::Store(crate::store::Error::KeysMissingBesideDatabase { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_loose_foreign_or_swapped_are_refused() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    drop(open(dir.path(), &clock).await);
    let refused = async |what: &str| {
        let Err(error) = try_open(dir.path(), settings(Layout::Rooted), &clock).await else { panic!("{what}: opened") };
        error
    };
    let (one, other) = (key_files(dir.path()).remove(0), key_files(dir.path()).remove(1));
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&one, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(refused("loose").await, Error::File(files::Error::LooseMode { .. })), "mode {mode:o}");
    }
    fs::set_permissions(&one, fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&one, Some(4242), None).unwrap();
        assert!(matches!(refused("foreign").await, Error::File(files::Error::ForeignOwner { .. })));
        std::os::unix::fs::chown(&one, Some(0), None).unwrap();
    }
    let bytes = (fs::read(&one).unwrap(), fs::read(&other).unwrap());
    fs::write(&one, &bytes.1).unwrap();
    assert!(matches!(refused("swapped").await, Error::WrongKey { .. }));
    fs::write(&one, b"no key at all").unwrap();
    assert!(matches!(refused("damaged").await, Error::WrongKey { .. }));
    fs::write(&one, &bytes.0).unwrap();
    open(dir.path(), &clock).await;
}

#[tokio::test(start_paused = true)]
async fn another_layout_is_refused_with_words() {
    for (first, second) in [(Layout::Rooted, Layout::SelfSigned), (Layout::SelfSigned, Layout::Rooted)] {
        let (dir, clock) = (Scratch::new(), Clock::following_tokio());
        drop(try_open(dir.path(), settings(first), &clock).await.unwrap());
        let before = key_files(dir.path());
        let Err(error) = try_open(dir.path(), settings(second), &clock).await else { panic!("it was opened") };
        assert!(matches!(error, Error::LayoutChanged { .. }), "{error}");
        assert_eq!(key_files(dir.path()), before);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_long_sleep_there_is_something_that_signs_at_once() {
    for hours in [13, 30, 200, 5_000] {
        let (dir, clock) = (Scratch::new(), Clock::following_tokio());
        drop(open(dir.path(), &clock).await);
        tokio::time::advance(hours * HOUR).await;
        let (owner, store) = open(dir.path(), &clock).await;
        let keyring = owner.keyring();
        let svid = sign(&keyring, clock.now());
        assert!(is_believed(&svid, keyring.borrow().bundle(), clock.now()));
        assert_eq!(svid.not_after, clock.now() + HOUR, "after {hours} hours");
        assert_whole(dir.path(), &store).await;
    }
}

/// Whether it is so within a minute and a bit.
async fn soon(is_so: impl Fn() -> bool) -> bool {
    for _ in 0..70 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if is_so() {
            return true;
        }
    }
    false
}

/// The root is older than the offset; the issuing CA is not.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_gets_an_issuing_authority_of_its_time() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, store) = open(dir.path(), &clock).await;
    let keyring = owner.keyring();
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    tokio::time::sleep(47 * HOUR).await;
    let before = keyring.borrow().issuer().clone();
    clock.set_back(30 * HOUR);
    assert!(matches!(keyring.borrow().sign_x509(permit(clock.now()), clock.now()), Err(Error::Early)));
    assert!(soon(|| *keyring.borrow().issuer() != before).await);
    let svid = sign(&keyring, clock.now());
    assert!(is_believed(&svid, keyring.borrow().bundle(), clock.now()));
    assert_eq!(svid.not_after, clock.now() + HOUR);
    assert_whole(dir.path(), &store).await;
    let issuer = keyring.borrow().issuer().clone();
    stop.cancel();
    task.await.unwrap();
    drop(store);

    // And at a start, should it have been set back further meanwhile.
    clock.set_back(10 * HOUR);
    let (owner, store) = open(dir.path(), &clock).await;
    let keyring = owner.keyring();
    assert_ne!(*keyring.borrow().issuer(), issuer);
    assert!(is_believed(&sign(&keyring, clock.now()), keyring.borrow().bundle(), clock.now()));
    assert_whole(dir.path(), &store).await;
}

#[tokio::test(start_paused = true)]
async fn a_root_of_the_future_is_kept_and_signs_when_its_time_has_come() {
    for layout in [Layout::Rooted, Layout::SelfSigned] {
        let (dir, clock) = (Scratch::new(), Clock::following_tokio());
        let (owner, store) = try_open(dir.path(), settings(layout), &clock).await.unwrap();
        let (keyring, listed) = (owner.keyring(), owner.listed());
        let bundle = keyring.borrow().bundle().clone();
        let stop = CancellationToken::new();
        let task = tokio::spawn(owner.run(stop.clone()));
        tokio::time::sleep(HOUR).await;
        clock.set_back(5 * HOUR);
        tokio::time::sleep(HOUR).await;
        assert!(keyring.borrow().sign_x509(permit(clock.now()), clock.now()).is_err());
        assert!(listed.borrow().iter().any(|one| one.is_early_root(clock.now())));
        tokio::time::sleep(3 * HOUR).await;
        assert_eq!(*keyring.borrow().bundle(), bundle);
        assert!(!listed.borrow().iter().any(|one| one.is_early_root(clock.now())));
        assert!(is_believed(&sign(&keyring, clock.now()), &bundle, clock.now()));
        assert_whole(dir.path(), &store).await;
        stop.cancel();
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_the_old_authority_goes_on_and_is_replaced_when_there_is_space() {
    let Some(disk) = SmallDisk::mount(2048) else { return };
    let (state, clock) = (disk.path().join("state"), Clock::following_tokio());
    let (owner, store) = open(&state, &clock).await;
    let keyring = owner.keyring();
    let first = keyring.borrow().issuer().clone();
    disk.fill();
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    tokio::time::sleep(13 * HOUR).await;
    assert_eq!(*keyring.borrow().issuer(), first);
    sign(&keyring, clock.now());
    assert_whole(&state, &store).await;
    stop.cancel();
    task.await.unwrap();
    drop(store);

    // A start on the full disk serves what it has, too.
    let (owner, store) = open(&state, &clock).await;
    let keyring = owner.keyring();
    assert_eq!(*keyring.borrow().issuer(), first);
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    disk.empty();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_ne!(*keyring.borrow().issuer(), first);
    assert!(is_believed(&sign(&keyring, clock.now()), keyring.borrow().bundle(), clock.now()));
    assert_whole(&state, &store).await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_at_the_first_start_is_an_error_and_leaves_no_key() {
    let Some(disk) = SmallDisk::mount(2048) else { return };
    let (state, clock) = (disk.path().join("state"), Clock::following_tokio());
    let (store, loaded) = Store::open(&state, &domain()).unwrap();
    files::create_private_dir(&state.join("keys")).unwrap();
    disk.fill();
    let opened =
        Owner::open(settings(Layout::Rooted), &state, store.clone(), loaded.authorities, clock.clone(), silent());
    let Err(error) = opened.await else { panic!("it was opened") };
    assert!(matches!(&error, Error::File(_) | Error::Store(_)), "{error}");
    assert_eq!(key_files(&state), Vec::<PathBuf>::new());
    drop(store);
    disk.empty();
    let (_, store) = open(&state, &clock).await;
    assert_whole(&state, &store).await;
}

#[tokio::test(start_paused = true)]
async fn every_step_is_told_once() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let told: Arc<Mutex<Vec<Event>>> = Arc::default();
    let theirs = told.clone();
    let (store, loaded) = Store::open(dir.path(), &domain()).unwrap();
    let tell = Box::new(move |event: &Event| theirs.lock().unwrap().push(event.clone()));
    let owner = Owner::open(settings(Layout::Rooted), dir.path(), store, loaded.authorities, clock.clone(), tell)
        .await
        .unwrap();
    let count = |told: &[Event], event| told.iter().filter(|one| one.event == event).count();
    for event in ["prepared", "activated"] {
        assert_eq!(count(&told.lock().unwrap(), event), 4, "{event}");
    }
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    tokio::time::sleep(100 * HOUR).await;
    stop.cancel();
    task.await.unwrap();
    let told = told.lock().unwrap();
    for (event, times) in [("prepared", 28), ("activated", 26), ("retired", 22), ("removed", 21)] {
        assert_eq!(count(&told, event), times, "{event}");
    }
    let mut each: Vec<_> = told.iter().map(|one| (one.event, one.id.clone())).collect();
    each.sort();
    each.dedup();
    assert_eq!(each.len(), told.len(), "nothing is told twice");
}

#[tokio::test(start_paused = true)]
async fn rows_of_two_prepared_authorities_are_used_one_after_the_other() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, store) = open(dir.path(), &clock).await;
    drop(owner);
    // What a change that was never confirmed, and was made again, may leave.
    let now = clock.now();
    for _ in 0..2 {
        let key = Key::generate(Algorithm::P256).unwrap();
        let id = AuthorityId::of(&key);
        let certificate = root_certificate(&domain(), &key, 1, now, 240 * HOUR).unwrap().to_vec();
        let path = dir.path().join("keys").join(format!("{id}.key"));
        files::write_private(&path, key.to_pkcs8().unwrap().expose()).unwrap();
        let (kind, slot) = (AuthorityKind::Root, AuthoritySlot::Prepared);
        let row = AuthorityRow {
            id: id.as_str().to_owned(),
            kind,
            slot,
            algorithm: "p256".to_owned(),
            certificate,
            changed_at: now,
        };
        store.save_authorities(vec![row]).await.unwrap();
    }
    drop(store);
    let (owner, store) = open(dir.path(), &clock).await;
    assert_eq!(owner.keyring().borrow().bundle().authorities().len(), 3);
    let keyring = owner.keyring();
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    tokio::time::sleep(600 * HOUR).await;
    assert!(is_believed(&sign(&keyring, clock.now()), keyring.borrow().bundle(), clock.now()));
    assert_whole(dir.path(), &store).await;
    stop.cancel();
    task.await.unwrap();
}

/// Authorities of these lifetimes, in a fresh folder, and how many were made so far.
async fn counted(settings: Settings, clock: &Clock) -> (Scratch, Owner, Arc<AtomicUsize>) {
    let dir = Scratch::new();
    let (store, loaded) = Store::open(dir.path(), &domain()).unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let tell = Box::new(move |event: &Event| {
        counter.fetch_add(usize::from(event.event == "prepared"), Ordering::SeqCst);
    });
    let owner = Owner::open(settings, dir.path(), store, loaded.authorities, clock.clone(), tell).await.unwrap();
    (dir, owner, made)
}

/// With the least lifetimes that the configuration takes, authorities succeed each other without a gap and without
/// haste; with a life of one backdate they do not.
#[tokio::test(start_paused = true)]
async fn the_least_lifetimes_are_long_enough_and_a_backdate_is_not() {
    let clock = Clock::following_tokio();
    for layout in [Layout::Rooted, Layout::SelfSigned] {
        let least = Settings { issuing_ttl: ISSUING_TTL_MIN, root_ttl: ROOT_TTL_MIN, ..settings(layout) };
        let (_dir, owner, made) = counted(least, &clock).await;
        let (keyring, stop) = (owner.keyring(), CancellationToken::new());
        let task = tokio::spawn(owner.run(stop.clone()));
        for _ in 0..3 * ROOT_TTL_MIN.as_secs() / 5 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let life = sign(&keyring, clock.now()).not_after.duration_since(clock.now()).unwrap();
            assert!(life >= Duration::from_secs(10), "{layout}: {life:?} are left");
        }
        let made = made.load(Ordering::SeqCst);
        assert!(made <= 100, "{layout}: {made} were made in 36 minutes");
        stop.cancel();
        task.await.unwrap();
    }
    let hasty = Settings { issuing_ttl: ISSUING_TTL_MIN / 2, ..settings(Layout::Rooted) };
    let (.., made) = counted(hasty, &clock).await;
    assert!(made.load(Ordering::SeqCst) >= 8, "one that is past its half at once is replaced at once");
}

/// Each bit of what certificates say and of their signatures: with one flipped nothing is opened, in silence or not.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_damaged_in_the_store_is_refused() {
    for (layout, kind) in [
        (Layout::Rooted, AuthorityKind::Root),
        (Layout::Rooted, AuthorityKind::Issuing),
        (Layout::SelfSigned, AuthorityKind::Root),
    ] {
        let (dir, clock) = (Scratch::new(), Clock::following_tokio());
        let (owner, store) = try_open(dir.path(), settings(layout), &clock).await.unwrap();
        drop(owner);
        let whole = store.load().await.unwrap().authorities;
        let at = whole.iter().position(|row| row.kind == kind).unwrap();
        let length = whole.get(at).unwrap().certificate.len();
        for byte in (0..length).step_by(7).chain(length - 40..length) {
            let mut rows = whole.clone();
            *rows.get_mut(at).and_then(|row| row.certificate.get_mut(byte)).unwrap() ^= 1;
            let opened = Owner::open(settings(layout), dir.path(), store.clone(), rows, clock.clone(), silent()).await;
            let Err(error) = opened else { panic!("{layout} {kind:?}, byte {byte}: it was opened") };
            let is_told = matches!(error, Error::Loaded { .. } | Error::Unchained { .. } | Error::WrongKey { .. });
            assert!(is_told || matches!(error, Error::LayoutChanged { .. }), "byte {byte}: {error}");
        }
    }
}

/// A root that has ended is forgotten before what it signed, if the daemon ends in between.
#[tokio::test(start_paused = true)]
async fn an_issuing_ca_that_has_ended_needs_no_root() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, store) = open(dir.path(), &clock).await;
    drop(owner);
    tokio::time::advance(5_000 * HOUR).await;
    let rows = store.load().await.unwrap().authorities;
    let issuing = rows.into_iter().filter(|row| row.kind != AuthorityKind::Root).collect();
    for row in store.load().await.unwrap().authorities.iter().filter(|row| row.kind == AuthorityKind::Root) {
        store.remove_authority(row.id.clone()).await.unwrap();
        fs::remove_file(dir.path().join("keys").join(format!("{}.key", row.id))).unwrap();
    }
    Owner::open(settings(Layout::Rooted), dir.path(), store, issuing, clock, silent()).await.unwrap();
}

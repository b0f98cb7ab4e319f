//! Authorities succeed each other, told once each, also after crashes and with the least lifetimes.

use super::*;

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
    stop.cancel();
    task.await.unwrap();
    assert_whole(dir.path(), &store).await;
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
        assert_eq!(count(&told.lock().unwrap(), event), 5, "{event}");
    }
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    tokio::time::sleep(100 * HOUR).await;
    stop.cancel();
    task.await.unwrap();
    let told = told.lock().unwrap();
    for (event, times) in [("prepared", 37), ("activated", 34), ("retired", 29), ("removed", 28)] {
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
    stop.cancel();
    task.await.unwrap();
    assert_whole(dir.path(), &store).await;
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

//! Clocks that are set back, long sleeps, and full disks.

use super::*;

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

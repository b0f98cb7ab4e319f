//! What is at the first start, and at the next ones: keys and rows that belong together, or do not.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_first_start_makes_authorities_and_the_next_one_keeps_them() {
    for (layout, count) in [(Layout::Rooted, 5), (Layout::SelfSigned, 4)] {
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
    assert_eq!(key_files(dir.path()).len(), 7);
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

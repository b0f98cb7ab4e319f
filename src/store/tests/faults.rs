//! Full disks and sudden ends.

use std::fs;

use super::*;
use crate::sys::scratch::SmallDisk;

#[tokio::test]
async fn on_a_full_disk_a_change_fails_whole_and_the_handle_heals() {
    let Some(disk) = SmallDisk::mount(2048) else { return };
    let state = disk.path().join("state");
    let (store, _) = open(&state);
    store.commit_entries(1, vec![Change::Create(entry(1))]).await.unwrap();
    disk.fill();
    let mut made = 1;
    let error = loop {
        // Some space is left in pages that were written before.
        match store.commit_entries(made + 1, vec![Change::Create(entry(u32::try_from(made).unwrap() + 1))]).await {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full), "{error}");
    let many: Vec<_> = (1_000..1_500).map(|number| Change::Create(entry(number))).collect();
    for _ in 0..3 {
        let error = store.commit_entries(made + 1, many.clone()).await.unwrap_err();
        assert!(matches!(error, Error::Full), "{error}");
        assert_eq!(store.load().await.unwrap().registry_revision, made, "reading goes on");
    }
    disk.empty();
    store.commit_entries(made + 1, many).await.unwrap();
    drop(store);
    let loaded = open(&state).1;
    assert_eq!(loaded.registry_revision, made + 1);
    assert_eq!(loaded.entries.len(), usize::try_from(made).unwrap() + 500);
}

#[test]
fn a_full_disk_at_the_first_start_is_an_error_and_the_next_start_begins() {
    let Some(disk) = SmallDisk::mount(256) else { return };
    let state = disk.path().join("state");
    disk.fill();
    let Err(error) = Store::open(&state, &domain()) else { panic!("it was opened") };
    assert!(matches!(error, Error::Full | Error::Io(_)), "{error}");
    disk.empty();
    open(&state);
}

/// What kill -9 leaves: the files as they are at that moment, without a close.
#[tokio::test]
async fn whatever_was_confirmed_is_there_after_a_sudden_end() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    for revision in 1..=60_u32 {
        store.commit_entries(u64::from(revision), vec![Change::Create(entry(revision))]).await.unwrap();
        if revision % 7 != 0 {
            continue;
        }
        let left = Scratch::new();
        for name in ["dayfly.db", "dayfly.db-wal"] {
            fs::copy(dir.path().join(name), left.path().join(name)).unwrap();
        }
        let loaded = open(left.path()).1;
        assert_eq!(loaded.registry_revision, u64::from(revision));
        assert_eq!(loaded.entries.len(), usize::try_from(revision).unwrap());
    }
}

#[tokio::test]
async fn a_torn_end_of_the_log_of_changes_is_no_damage() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    for revision in 1..=10_u32 {
        store.commit_entries(u64::from(revision), vec![Change::Create(entry(revision))]).await.unwrap();
    }
    let wal = fs::read(dir.path().join("dayfly.db-wal")).unwrap();
    for cut in (0..wal.len()).step_by(1_003) {
        let left = Scratch::new();
        fs::copy(dir.path().join("dayfly.db"), left.path().join("dayfly.db")).unwrap();
        fs::write(left.path().join("dayfly.db-wal"), &wal[..cut]).unwrap();
        let loaded = open(left.path()).1;
        assert_eq!(loaded.registry_revision, u64::try_from(loaded.entries.len()).unwrap(), "cut at {cut}");
    }
}

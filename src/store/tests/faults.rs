//! Full disks and sudden ends.

use std::{fs, sync::mpsc::sync_channel};

use super::{
    writer::{Job, Reply, Work},
    *,
};
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

/// Writes entries as one change, as the thread would; answers the writer's word on the disk.
fn written(writer: &mut Writer, revision: u64, numbers: std::ops::Range<u32>) -> Option<Error> {
    let work = Work::Entries { revision, changes: numbers.map(|number| Change::Create(entry(number))).collect() };
    writer.write(vec![Job { work, turn: Arc::default(), reply: Reply::Thread(sync_channel(1).0) }]);
    writer.fault.present()
}

#[test]
fn a_full_disk_is_told_until_there_is_space_and_needs_no_change_to_be_seen() {
    let Some(disk) = SmallDisk::mount(2048) else { return };
    let mut writer = writer(&disk.path().join("state"));
    assert!(written(&mut writer, 1, 0..1).is_none());
    disk.fill();
    assert!(matches!(written(&mut writer, 2, 1..1_000), Some(Error::Full)));
    writer.write(vec![Job { work: Work::Load, turn: Arc::default(), reply: Reply::Thread(sync_channel(1).0) }]);
    assert!(matches!(writer.fault.present(), Some(Error::Full)), "to read says nothing of the disk");
    // Blocks that the change in vain has taken are there for a small one. That is no space.
    writer.try_again();
    assert!(matches!(writer.fault.present(), Some(Error::Full)));
    disk.empty();
    writer.try_again();
    assert!(writer.fault.present().is_none());
    assert!(written(&mut writer, 2, 1..1_000).is_none());
}

#[test]
fn a_database_that_is_read_only_is_told_until_it_is_not() {
    let dir = Scratch::new();
    let mut writer = writer(dir.path());
    let read_only = |writer: &Writer, is_so: bool| writer.connection.pragma_update(None, "query_only", is_so).unwrap();
    read_only(&writer, true);
    assert!(matches!(written(&mut writer, 1, 0..1), Some(Error::Io(_))));
    writer.try_again();
    assert!(matches!(writer.fault.present(), Some(Error::Io(_))));
    read_only(&writer, false);
    // A change that breaks a rule says nothing of the disk; one that is made does.
    assert!(matches!(written(&mut writer, 0, 0..1), Some(Error::Io(_))));
    assert!(written(&mut writer, 1, 0..1).is_none());
    assert_eq!(writer.load().unwrap().registry_revision, 1);
}

#[test]
fn a_writer_that_nobody_asks_finds_out_that_the_disk_heals() {
    let dir = Scratch::new();
    let mut writer = writer(dir.path());
    writer.connection.pragma_update(None, "query_only", true).unwrap();
    written(&mut writer, 1, 0..1);
    writer.connection.pragma_update(None, "query_only", false).unwrap();
    let (fault, (jobs, waiting)) = (writer.fault.clone(), sync_channel(1));
    let thread = std::thread::spawn(move || writer.run(&waiting));
    while fault.present().is_some() {
        std::thread::yield_now();
    }
    drop(jobs);
    thread.join().unwrap();
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

//! What was acknowledged and is not there any more is told, and nothing else is.

use std::fs;

use super::*;

const NAMES: [&str; 3] = ["dayfly.db", "dayfly.db-wal", "dayfly.mark"];

/// A folder as kill -9 leaves it after so many acknowledged changes, with a checkpoint of the audit log behind them.
async fn killed(changes: u32) -> Scratch {
    let (dir, left) = (Scratch::new(), Scratch::new());
    let (store, _) = open(dir.path());
    for revision in 1..=changes {
        store.commit_entries(u64::from(revision), vec![Change::Create(entry(revision))]).await.unwrap();
    }
    drop(store.keep_audit_checkpoint("nobody relies on it".to_owned()));
    store.load().await.unwrap();
    for name in NAMES {
        fs::copy(dir.path().join(name), left.path().join(name)).unwrap();
    }
    left
}

fn copy(of: &Scratch) -> Scratch {
    let dir = Scratch::new();
    for name in NAMES {
        fs::copy(of.path().join(name), dir.path().join(name)).unwrap();
    }
    dir
}

/// How many changes it says to have lost.
fn lost(state: &Path) -> u64 {
    open(state).0.behind().map_or(0, |behind| behind.acknowledged - behind.found)
}

#[tokio::test]
async fn a_flipped_byte_in_any_acknowledged_frame_is_told() {
    let left = killed(12).await;
    assert_eq!(lost(copy(&left).path()), 0, "a kill loses nothing");
    let wal = fs::read(left.path().join("dayfly.db-wal")).unwrap();
    let (head, frame) = (32, 24 + 4096);
    let (mut before, mut told) = (u64::MAX, 0);
    for at in 0..(wal.len() - head) / frame {
        let (dir, mut damaged) = (copy(&left), wal.clone());
        damaged[head + at * frame + 100] ^= 1;
        fs::write(dir.path().join("dayfly.db-wal"), damaged).unwrap();
        // The first frames are the schema's: without it the database is none that was lived in.
        let lost = lost(dir.path());
        if lost > 0 {
            assert!(lost <= before, "what comes later takes less with it");
            (before, told) = (lost, told + 1);
        }
    }
    assert!(told >= 12 && before == 1, "{told} frames, the last one takes {before} with it");
}

#[tokio::test]
async fn a_loss_is_told_at_each_start_until_the_mark_is_removed() {
    let dir = killed(5).await;
    fs::remove_file(dir.path().join("dayfly.db-wal")).unwrap();
    // The schema was in the log of changes, too.
    assert_eq!(lost(dir.path()), 0, "a database that is begun anew has lost nothing");
    let dir = killed(5).await;
    drop(open(dir.path()));
    let old = fs::read(database::path(dir.path())).unwrap();
    let (store, _) = open(dir.path());
    store.commit_entries(6, vec![Change::Create(entry(6))]).await.unwrap();
    store.commit_entries(7, vec![Change::Create(entry(7))]).await.unwrap();
    drop(store);
    fs::write(database::path(dir.path()), old).unwrap();
    for revision in 6..10 {
        let (store, loaded) = open(dir.path());
        let found = Behind { acknowledged: 7, found: 5, mark: mark::path(dir.path()) };
        assert_eq!(store.behind(), Some(&found), "also when there are as many changes again");
        assert_eq!(loaded.registry_revision, revision - 1);
        store
            .commit_entries(revision, vec![Change::Create(entry(u32::try_from(revision).unwrap() + 10))])
            .await
            .unwrap();
    }
    fs::remove_file(mark::path(dir.path())).unwrap();
    assert_eq!(lost(dir.path()), 0);
}

#[tokio::test]
async fn a_mark_that_is_damaged_missing_or_behind_is_no_loss() {
    let left = killed(3).await;
    let mark = fs::read(mark::path(left.path())).unwrap();
    for at in (0..mark.len()).step_by(9) {
        let (dir, mut damaged) = (copy(&left), mark.clone());
        damaged[at] ^= 1;
        fs::write(mark::path(dir.path()), damaged).unwrap();
        assert_eq!(lost(dir.path()), 0, "byte {at}");
        assert_eq!(fs::read(mark::path(dir.path())).unwrap(), mark, "it is as it should be again");
    }
    // A power failure may leave an older one, or none.
    let dir = copy(&left);
    fs::copy(mark::path(killed(1).await.path()), mark::path(dir.path())).unwrap();
    assert_eq!(lost(dir.path()), 0);
    fs::remove_file(mark::path(dir.path())).unwrap();
    assert_eq!(lost(dir.path()), 0);
    // Where there can be none the database is used all the same.
    fs::remove_file(mark::path(dir.path())).unwrap();
    fs::create_dir(mark::path(dir.path())).unwrap();
    assert_eq!(open(dir.path()).1.entries.len(), 3);
}

#[tokio::test]
async fn a_start_that_is_refused_leaves_the_mark_as_it_is() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    store.commit_entries(1, vec![Change::Create(entry(1))]).await.unwrap();
    store.close();
    let old = fs::read(database::path(dir.path())).unwrap();
    let (store, _) = open(dir.path());
    let root = authority(dir.path(), 1, AuthorityKind::Root, AuthoritySlot::Active);
    let key = keys::dir(dir.path()).join(format!("{}.key", root.id));
    store.save_authorities(vec![root]).await.unwrap();
    store.close();
    let whole = fs::read(database::path(dir.path())).unwrap();
    let mark = fs::read(mark::path(dir.path())).unwrap();

    // An older copy that is damaged, too; and the whole one without its key.
    let mut damaged = old.clone();
    damaged[old.len() - 4096..][..200].fill(0xa5);
    fs::write(database::path(dir.path()), damaged).unwrap();
    let error = Store::open(dir.path(), &domain()).map(drop).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_eq!(fs::read(mark::path(dir.path())).unwrap(), mark);
    fs::write(database::path(dir.path()), &whole).unwrap();
    fs::rename(&key, key.with_extension("away")).unwrap();
    fs::remove_file(mark::path(dir.path())).unwrap();
    let error = Store::open(dir.path(), &domain()).map(drop).unwrap_err();
    assert!(matches!(error, Error::KeysMissingBesideDatabase { .. }), "{error}");
    assert!(!mark::path(dir.path()).exists(), "none is made");

    fs::write(mark::path(dir.path()), &mark).unwrap();
    fs::rename(key.with_extension("away"), &key).unwrap();
    assert_eq!(lost(dir.path()), 0, "a whole backup is no loss");
    assert_eq!(fs::read(mark::path(dir.path())).unwrap(), mark);
    fs::write(database::path(dir.path()), old).unwrap();
    assert_eq!(lost(dir.path()), 1, "an older one that is accepted is");
}

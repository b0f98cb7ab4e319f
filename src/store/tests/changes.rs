//! What is written is read again, and nothing else.

use std::sync::{Arc, mpsc::sync_channel};

use tokio::sync::oneshot;

use super::{
    handle::{QUEUE_MAX, wait},
    writer::{GROUP_MAX, Job, Reply, Turn, Work},
    *,
};

#[tokio::test]
async fn everything_survives_a_restart() {
    let dir = Scratch::new();
    let (store, loaded) = open(dir.path());
    assert_eq!((loaded.registry_revision, loaded.entries.len(), loaded.authorities.len()), (0, 0, 0));
    let (first, second) = (entry(1), entry(2));
    let plain = Draft {
        spiffe_id: "spiffe://example.org/plain".to_owned(),
        selectors: vec!["unix:uid:9".to_owned()],
        ..Draft::default()
    };
    let plain = Entry { spec: plain.check(&domain()).unwrap(), ..entry(3) };
    let all = [first.clone(), second.clone(), plain.clone()];
    store.commit_entries(1, all.clone().map(Change::Create).to_vec()).await.unwrap();
    let changed = Entry { spec: plain.spec.clone(), revision: 2, ..second };
    store.commit_entries(2, vec![Change::Update(changed.clone()), Change::Delete(first.id)]).await.unwrap();
    let root = authority(dir.path(), 1, AuthorityKind::Root, AuthoritySlot::Active);
    let issuing = authority(dir.path(), 2, AuthorityKind::Issuing, AuthoritySlot::Prepared);
    store.save_authorities(vec![root.clone(), issuing.clone()]).await.unwrap();
    drop(store);

    let (store, loaded) = open(dir.path());
    assert_eq!(loaded.registry_revision, 2);
    assert_eq!(sorted(loaded.entries), sorted(vec![changed, plain]));
    assert_eq!(loaded.authorities, [root, issuing]);
    let again = store.load().await.unwrap();
    assert_eq!((again.registry_revision, again.entries.len(), again.authorities.len()), (2, 2, 2));
}

#[tokio::test]
async fn entries_are_read_where_there_is_no_thread_to_check_them() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    store.commit_entries(1, (1..4).map(|number| Change::Create(entry(number))).collect()).await.unwrap();
    store.close();
    let no_room = std::thread::Builder::new().stack_size(1 << 50);
    let loaded = writer(dir.path()).load_beside(no_room, || Ok(())).unwrap();
    assert_eq!(sorted(loaded.entries), sorted((1..4).map(entry).collect()));
}

#[tokio::test]
async fn a_foreign_bundle_is_replaced_and_forgotten_by_its_name() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    for row in [bundle("b.test", 1), bundle("a.test", 1), bundle("b.test", 2)] {
        store.save_bundle(row).await.unwrap();
    }
    drop(store);
    let (store, loaded) = open(dir.path());
    assert_eq!((loaded.bundles, loaded.bundles_left_out), (vec![bundle("a.test", 1), bundle("b.test", 2)], 0));
    for _ in 0..2 {
        store.remove_bundle(TrustDomain::parse("b.test").unwrap()).await.unwrap();
    }
    assert_eq!(store.load().await.unwrap().bundles, [bundle("a.test", 1)]);
    assert_eq!(store.load().await.unwrap().registry_revision, 0, "the registry is another matter");
}

#[tokio::test]
async fn agents_tools_and_grants_are_replaced_and_removed_by_their_names() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    let [agent, grant, tool] = items();
    store.commit_entries(1, items().map(Change::Put).to_vec()).await.unwrap();
    let Item::Tool(mut newer) = tool else { panic!("it is a tool") };
    newer.revision = 2;
    let newer = Item::Tool(newer);
    store.commit_entries(2, vec![Change::Put(newer.clone()), Change::Remove(grant.id())]).await.unwrap();
    drop(store);
    let (store, loaded) = open(dir.path());
    assert_eq!((loaded.registry_revision, loaded.items_left_out), (2, 0));
    assert_eq!(loaded.items, [agent.clone(), newer.clone()]);
    // What is gone cannot go, and nothing else of that change is made.
    let outcome = store.commit_entries(3, vec![Change::Remove(agent.id()), Change::Remove(grant.id())]).await;
    assert!(matches!(&outcome, Err(Error::Item(id)) if *id == grant.id()), "{outcome:?}");
    assert_eq!(store.load().await.unwrap().items, [agent, newer]);
}

#[tokio::test]
async fn what_was_taken_back_is_replaced_and_forgotten_by_its_name() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    let [token, key] = revoked();
    store.commit_entries(1, revoked().map(Change::Revoke).to_vec()).await.unwrap();
    let longer = Revoked { until: token.until.map(|end| end + Duration::from_secs(9)), ..token };
    store.commit_entries(2, vec![Change::Revoke(longer), Change::Restore(key.id)]).await.unwrap();
    drop(store);
    let (store, loaded) = open(dir.path());
    assert_eq!((loaded.revoked, loaded.revoked_left_out, loaded.registry_revision), (vec![longer], 0, 2));
    let outcome = store.commit_entries(3, vec![Change::Restore(key.id)]).await;
    assert!(matches!(&outcome, Err(Error::Revoked(id)) if *id == key.id), "{outcome:?}");
}

#[tokio::test]
async fn authorities_succeed_each_other_in_one_write() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    let mut first = authority(dir.path(), 1, AuthorityKind::Issuing, AuthoritySlot::Active);
    let mut second = authority(dir.path(), 2, AuthorityKind::Issuing, AuthoritySlot::Prepared);
    let root = authority(dir.path(), 3, AuthorityKind::Root, AuthoritySlot::Active);
    store.save_authorities(vec![first.clone(), second.clone(), root]).await.unwrap();
    second.slot = AuthoritySlot::Active;
    assert!(matches!(store.save_authorities(vec![second.clone()]).await, Err(Error::Rule(_))), "two would be active");
    first.slot = AuthoritySlot::Retired;
    store.save_authorities(vec![second, first.clone()]).await.unwrap();
    store.remove_authority(first.id.clone()).await.unwrap();
    store.remove_authority(first.id).await.unwrap();
    assert_eq!(store.load().await.unwrap().authorities.len(), 2);
}

#[tokio::test]
async fn a_change_that_does_not_fit_changes_nothing() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    store.commit_entries(5, vec![Change::Create(entry(1))]).await.unwrap();
    let outcomes = [
        store.commit_entries(6, vec![Change::Create(entry(2)), Change::Create(entry(1))]).await,
        store.commit_entries(6, vec![Change::Create(entry(2)), Change::Update(entry(3))]).await,
        store.commit_entries(6, vec![Change::Delete(entry(1).id), Change::Delete(entry(3).id)]).await,
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::Entry(_))), "{outcome:?}");
    }
    for revision in [5, 4, 0] {
        let outcome = store.commit_entries(revision, vec![Change::Create(entry(2))]).await;
        assert!(matches!(outcome, Err(Error::Revision { stored: 5, .. })), "{outcome:?}");
    }
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.registry_revision, loaded.entries), (5, vec![entry(1)]));
}

#[tokio::test]
async fn changes_that_wait_are_written_together_and_each_stands_for_itself() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    let tasks: Vec<_> = (1..=200_u8)
        .map(|number| {
            let row = authority(dir.path(), number, AuthorityKind::Root, AuthoritySlot::Prepared);
            let store = store.clone();
            // Every tenth breaks a rule.
            let algorithm = row.algorithm.clone();
            let slot = if number % 10 == 0 { AuthoritySlot::Active } else { row.slot };
            let row = AuthorityRow { slot, algorithm, ..row };
            tokio::spawn(async move { store.save_authorities(vec![row]).await.is_ok() })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 181, "all prepared ones, and one active one");
    assert_eq!(store.load().await.unwrap().authorities.len(), 181);
}

#[test]
fn beyond_the_queue_changes_are_turned_away_at_once() {
    let dir = Scratch::new();
    let (jobs, waiting) = sync_channel::<Job>(QUEUE_MAX);
    let job = || Job { work: Work::Load, turn: Arc::default(), reply: Reply::Task(oneshot::channel().0) };
    for _ in 0..QUEUE_MAX {
        jobs.try_send(job()).unwrap();
    }
    assert!(jobs.try_send(job()).is_err());
    // Nobody waits for any of them; the writer works them off in groups and ends.
    drop(jobs);
    writer(dir.path()).run(&waiting);
    const { assert!(QUEUE_MAX > GROUP_MAX) };
}

#[tokio::test]
async fn a_change_that_was_given_up_is_never_made() {
    let dir = Scratch::new();
    let writer = writer(dir.path());
    let (jobs, waiting) = sync_channel(2);
    let send = |revision, number| {
        let (turn, (reply, answer)) = (Arc::new(Turn::default()), oneshot::channel());
        let work = Work::Entries { revision, changes: vec![Change::Create(entry(number))] };
        jobs.try_send(Job { work, turn: turn.clone(), reply: Reply::Task(reply) }).unwrap();
        (turn, answer)
    };
    let (turn, answer) = send(1, 1);
    let outcome = wait(&turn, answer, Duration::ZERO).await;
    assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
    let (turn, answer) = send(2, 2);
    drop(jobs);
    writer.run(&waiting);
    wait(&turn, answer, Duration::from_secs(10)).await.unwrap();
    assert_eq!(open(dir.path()).1.entries, [entry(2)]);
}

#[tokio::test]
async fn a_change_that_has_begun_and_is_not_confirmed_says_so() {
    let (turn, (_reply, answer)) = (Turn::default(), oneshot::channel());
    assert!(turn.give_up(), "as if it had left the queue");
    let outcome = wait(&turn, answer, Duration::ZERO).await;
    assert!(matches!(outcome, Err(Error::Unconfirmed { .. })), "{outcome:?}");
}

#[test]
fn a_change_is_made_and_told_where_there_is_no_thread_to_wait() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    let made = store.commit_entries(1, vec![Change::Create(entry(1))]);
    crate::sys::threads::runtime_without().block_on(made).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).1.entries, [entry(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ends_no_wait_for_the_disk() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    let before = tokio::time::Instant::now();
    tokio::select! {
        done = store.commit_entries(1, vec![Change::Create(entry(1))]) => done.unwrap(),
        () = tokio::time::sleep(Duration::from_secs(3_600)) => panic!("the clock did not wait for the disk"),
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[test]
fn whoever_keeps_a_checkpoint_is_told_whether_it_is_kept() {
    let state = Scratch::new();
    let (store, _) = open(state.path());
    assert!(matches!(store.keep_audit_checkpoint("1".to_owned())(Duration::from_secs(10)), Some(Ok(()))));
    store.close();
    assert!(matches!(store.keep_audit_checkpoint("2".to_owned())(Duration::ZERO), Some(Err(Error::Closed))));
    assert_eq!(open(state.path()).1.audit_checkpoint.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_closed_store_changes_nothing_and_leaves_no_log_of_changes() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    store.commit_entries(1, vec![Change::Create(entry(1))]).await.unwrap();
    store.close();
    assert!(matches!(store.commit_entries(2, vec![Change::Delete(entry(1).id)]).await, Err(Error::Closed)));
    let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert_eq!(files, ["dayfly.db", "dayfly.mark"]);
}

#[tokio::test]
async fn the_log_of_changes_does_not_grow_without_bound() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    for revision in 1..=40 {
        let numbers = (revision - 1) * 300..revision * 300;
        let changes = numbers.map(|number| Change::Create(entry(u32::try_from(number).unwrap()))).collect();
        store.commit_entries(revision, changes).await.unwrap();
    }
    // A reply goes out before the log is worked in, so one more is waited for.
    store.load().await.unwrap();
    let bytes = std::fs::metadata(dir.path().join("dayfly.db-wal")).unwrap().len();
    assert!(bytes < 4 << 20, "{bytes} bytes");
    assert_eq!(store.load().await.unwrap().entries.len(), 12_000);
}

//! Orders over a real store and a real log.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::{Duration, SystemTime};

use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{
    fixture::{ADMIN, Fixture, draft, trust_domain},
    *,
};
use crate::{
    registry::{self, Change},
    sys::scratch::Scratch,
};

fn amendment(entry: &Entry, draft: Draft) -> Amendment {
    Amendment { id: entry.id.clone(), draft, expected: None }
}

#[tokio::test]
async fn a_new_entry_is_seen_recorded_and_kept() {
    let house = Fixture::new();
    let entry = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    let seen = house.desk.registry().borrow().clone();
    assert_eq!((seen.revision(), seen.entry(&entry.id)), (1, Some(&entry)));
    assert_eq!(house.counted("entries"), 1);
    assert_eq!(house.counted("store_commits"), 1);
    let record = &house.records("admin")[0];
    assert_eq!(record["verb"], "entry_create");
    assert_eq!(record["object"], entry.id.to_string());
    assert_eq!(record["result"], "ok");
    assert_eq!((&record["caller"]["uid"], &record["caller"]["pid"]), (&501.into(), &4242.into()));
    assert_eq!(record["changes"][0], "spiffe_id: spiffe://example.org/web");

    let house = house.restart().await;
    let kept = house.desk.registry().borrow().clone();
    assert_eq!((kept.revision(), kept.entry(&entry.id)), (1, Some(&entry)));
}

#[tokio::test]
async fn an_update_keeps_id_place_and_time() {
    let house = Fixture::new();
    let before = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    let change = Draft { hint: "front".into(), ..draft("web", 1001) };
    let after = house.desk.update(ADMIN, amendment(&before, change)).await.unwrap();
    assert_eq!((&after.id, after.created_at, after.revision), (&before.id, before.created_at, 2));
    let record = &house.records("admin")[1];
    assert_eq!(record["verb"], "entry_update");
    assert_eq!(record["changes"][0], "selectors: unix:uid:1000 -> unix:uid:1001");
    assert_eq!(record["changes"][1], "hint: none -> front");
    let house = house.restart().await;
    assert_eq!(house.desk.registry().borrow().entry(&after.id), Some(&after));
}

#[tokio::test]
async fn an_end_that_is_named_must_be_ahead() {
    let house = Fixture::new();
    let past = || Draft { expires_at: 1_000_000, ..draft("web", 1000) };
    assert!(matches!(house.desk.create(ADMIN, past()).await, Err(Error::Past)));
    let entry = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    assert!(matches!(house.desk.update(ADMIN, amendment(&entry, past())).await, Err(Error::Past)));
    assert_eq!(house.desk.registry().borrow().revision(), 1, "nothing was changed");

    // A file keeps what has ended, and what has ended can be changed in all else.
    house.desk.delete(ADMIN, entry.id.clone()).await.unwrap();
    let order = Order { create: vec![past()], ..Order::default() };
    let ended = house.desk.apply(ADMIN, order).await.unwrap().created.remove(0);
    let change = Draft { hint: "old".into(), ..past() };
    house.desk.update(ADMIN, amendment(&ended, change)).await.unwrap();
}

#[tokio::test]
async fn a_new_entry_that_nobody_can_match_is_refused() {
    let house = Fixture::new();
    let draft = Draft { selectors: vec!["unix:uid:1".into(), "unix:uid:2".into()], ..draft("web", 1) };
    let order = Order { create: vec![draft.clone()], ..Order::default() };
    assert!(matches!(house.desk.create(ADMIN, draft).await, Err(Error::Drafts(_))));
    assert!(matches!(house.desk.apply(ADMIN, order).await, Err(Error::Drafts(_))));
}

#[tokio::test]
async fn a_deleted_entry_is_gone_for_good() {
    let house = Fixture::new();
    let entry = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    house.desk.delete(ADMIN, entry.id.clone()).await.unwrap();
    assert!(house.desk.registry().borrow().is_empty());
    assert_eq!(house.records("admin")[1]["verb"], "entry_delete");
    let error = house.desk.delete(ADMIN, entry.id.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Registry(registry::Error::UnknownEntry(_))), "{error}");
    assert!(house.restart().await.desk.registry().borrow().is_empty());
}

#[tokio::test]
async fn what_is_wrong_or_does_not_fit_changes_nothing() {
    let house = Fixture::new();
    let entry = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    let wrong = Draft { selectors: Vec::new(), ..draft("/", 1) };
    let error = house.desk.create(ADMIN, wrong).await.unwrap_err();
    assert_eq!(error.to_string().lines().count(), 2, "{error}");
    let error = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap_err();
    assert!(error.to_string().contains(&entry.id.to_string()), "a duplicate is named: {error}");
    let stale = Amendment { expected: Some(7), ..amendment(&entry, draft("web", 2)) };
    let error = house.desk.update(ADMIN, stale).await.unwrap_err();
    assert!(matches!(error, Error::Stale { expected: 7, present: 1, .. }), "{error}");
    assert_eq!(house.desk.registry().borrow().revision(), 1);
    assert_eq!(house.records("admin").len(), 1, "only what is done is recorded");
}

#[tokio::test]
async fn the_revision_that_was_seen_is_enough() {
    let house = Fixture::new();
    let entry = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    let change = Amendment { expected: Some(1), ..amendment(&entry, draft("web", 2)) };
    assert_eq!(house.desk.update(ADMIN, change).await.unwrap().revision, 2);
}

#[tokio::test]
async fn an_order_is_made_whole_or_not_at_all() {
    let house = Fixture::new();
    let entry = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    let order = Order {
        create: vec![draft("a", 1), draft("b", 2), draft("a", 1)],
        delete: vec![entry.id.clone()],
        ..Order::default()
    };
    let error = house.desk.apply(ADMIN, order).await.unwrap_err();
    assert!(matches!(error, Error::Registry(registry::Error::Duplicate { .. })), "{error}");
    let order = Order { create: vec![draft("a", 1), draft("", 2), draft("b c", 3)], ..Order::default() };
    let error = house.desk.apply(ADMIN, order).await.unwrap_err().to_string();
    assert!(error.contains("create 2: ") && error.contains("\ncreate 3: "), "{error}");
    let house = house.restart().await;
    let kept = house.desk.registry().borrow().clone();
    assert_eq!(kept.entries().collect::<Vec<_>>(), [&entry]);
    assert_eq!(kept.revision(), 1);
}

#[tokio::test]
async fn an_order_takes_away_before_it_adds() {
    let house = Fixture::new();
    let old = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    let other = house.desk.create(ADMIN, draft("db", 1001)).await.unwrap();
    let order = Order {
        create: vec![draft("db", 1001), draft("new", 3)],
        update: vec![amendment(&other, draft("web", 1000))],
        delete: vec![old.id.clone()],
        ..Order::default()
    };
    let outcome = house.desk.apply(ADMIN, order).await.unwrap();
    assert_eq!(outcome.deleted, [old]);
    assert_eq!(outcome.updated[0].id, other.id);
    assert_eq!(outcome.created.len(), 2);
    assert!(outcome.created[0].created_at < outcome.created[1].created_at, "the order's order is the order of age");
    assert_eq!(house.desk.registry().borrow().revision(), 3, "one order is one revision");
    assert_eq!(house.records("admin").len(), 6);
}

#[tokio::test]
async fn one_order_names_an_entry_once() {
    let house = Fixture::new();
    let entry = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    let update = vec![amendment(&entry, draft("web", 1))];
    let order = Order { update, delete: vec![entry.id.clone()], ..Order::default() };
    let error = house.desk.apply(ADMIN, order).await.unwrap_err();
    assert!(matches!(error, Error::Twice(_)), "{error}");
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_changes_nothing() {
    let house = Fixture::new();
    house.desk.create(ADMIN, draft("web", 1000)).await.unwrap();
    let order = |uid| Order { create: vec![draft("web", uid)], dry_run: true, ..Order::default() };
    assert!(matches!(house.desk.apply(ADMIN, order(1000)).await, Err(Error::Registry(_))));
    let outcome = house.desk.apply(ADMIN, order(2)).await.unwrap();
    assert_eq!(outcome.created[0].spec.spiffe_id.as_str(), "spiffe://example.org/web");
    assert_eq!(house.desk.registry().borrow().revision(), 1);
    assert_eq!(house.records("admin").len(), 1);
    assert_eq!(house.restart().await.desk.registry().borrow().len(), 1);
}

#[tokio::test]
async fn an_order_of_nothing_is_no_revision() {
    let house = Fixture::new();
    house.desk.apply(ADMIN, Order::default()).await.unwrap();
    assert_eq!(house.desk.registry().borrow().revision(), 0);
}

#[tokio::test]
async fn what_cannot_be_written_is_not_made_and_the_log_says_so() {
    let house = Fixture::with_faulty_store();
    let bad = Draft { hint: "unwritable".into(), ..draft("bad", 2) };
    let order = Order { create: vec![draft("good", 1), bad], ..Order::default() };
    let error = house.desk.apply(ADMIN, order).await.unwrap_err();
    assert!(matches!(error, Error::Store(_)), "{error:?}");
    assert!(house.desk.registry().borrow().is_empty());
    let results: Vec<_> = house.records("admin").iter().map(|record| record["result"].clone()).collect();
    assert_eq!(results, ["ok", "ok", "not_made", "not_made"]);
    assert_eq!(house.counted("store_failures"), 1);
    // And it goes on.
    house.desk.create(ADMIN, draft("good", 1)).await.unwrap();
    let house = house.restart().await;
    assert_eq!(house.desk.registry().borrow().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_made() {
    let house = Fixture::new();
    house.log.close();
    let error = house.desk.create(ADMIN, draft("web", 1000)).await.unwrap_err();
    assert!(matches!(error, Error::Audit(_)), "{error:?}");
    assert!(house.desk.registry().borrow().is_empty());
    assert_eq!(house.counted("audit_failures"), 1);
    assert!(house.restart().await.desk.registry().borrow().is_empty());
}

#[tokio::test]
async fn an_entry_is_never_older_than_one_that_was_there_before() {
    let future = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let old = Entry {
        id: EntryId::from_random([7; 16]),
        spec: draft("old", 1).check(&trust_domain()).unwrap(),
        revision: 1,
        created_at: future,
        since: future,
    };
    let house = Fixture::new();
    house.store.commit_entries(1, vec![Change::Create(old.clone())]).await.unwrap();
    let house = house.restart().await;
    let (one, two) = (house.desk.create(ADMIN, draft("one", 1)), house.desk.create(ADMIN, draft("two", 1)));
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert!(future < one.created_at && one.created_at < two.created_at);
    let restarted = house.restart().await;
    let snapshot = restarted.desk.registry().borrow().clone();
    let ids: Vec<_> = snapshot.entries().map(|entry| entry.id.clone()).collect();
    assert_eq!(ids, [old.id, one.id.clone(), two.id.clone()]);
}

#[tokio::test]
async fn orders_made_at_once_are_all_made() {
    let house = Fixture::new();
    let orders = (0..200).map(|uid| house.desk.create(ADMIN, draft("many", uid)));
    let done = futures_util::future::join_all(orders).await;
    assert!(done.iter().all(Result::is_ok));
    assert_eq!(house.desk.registry().borrow().revision(), 200);
    assert_eq!(house.restart().await.desk.registry().borrow().len(), 200);
}

#[tokio::test]
async fn a_watch_hears_each_order_once_and_in_order() {
    let house = Fixture::new();
    house.desk.create(ADMIN, draft("before", 1)).await.unwrap();
    let mut watch = house.desk.watch().unwrap();
    assert_eq!(watch.revision, 1);
    let entry = house.desk.create(ADMIN, draft("web", 2)).await.unwrap();
    house.desk.delete(ADMIN, entry.id.clone()).await.unwrap();
    let batches = [watch.batches.recv().await.unwrap(), watch.batches.recv().await.unwrap()];
    assert_eq!(batches.each_ref().map(|batch| batch.revision), [2, 3]);
    assert_eq!(batches[0].outcome.created, std::slice::from_ref(&entry));
    assert_eq!(batches[1].outcome.deleted, [entry]);
    assert!(matches!(watch.batches.try_recv(), Err(TryRecvError::Empty)));
}

#[tokio::test]
async fn a_watch_that_is_not_read_keeps_no_more_than_its_limit() {
    let house = Fixture::new();
    let mut watch = house.desk.watch().unwrap();
    for uid in 0..=u32::try_from(BATCHES_MAX).unwrap() {
        house.desk.create(ADMIN, draft("web", uid)).await.unwrap();
    }
    assert!(matches!(watch.batches.recv().await, Err(RecvError::Lagged(1))));
}

#[tokio::test]
async fn an_order_has_a_most_of_changes() {
    let house = Fixture::new();
    let order = Order { create: vec![Draft::default(); CHANGES_MAX + 1], ..Order::default() };
    let error = house.desk.apply(ADMIN, order).await.unwrap_err();
    assert!(matches!(error, Error::TooManyChanges(_)), "{error}");
    let create = (0..u32::try_from(CHANGES_MAX).unwrap()).map(|uid| draft("web", uid)).collect();
    let outcome = house.desk.apply(ADMIN, Order { create, ..Order::default() }).await.unwrap();
    assert_eq!(outcome.created.len(), CHANGES_MAX);
}

#[tokio::test]
async fn many_problems_are_told_by_the_first() {
    let house = Fixture::new();
    let order = Order { create: vec![Draft::default(); 1_000], ..Order::default() };
    let error = house.desk.apply(ADMIN, order).await.unwrap_err().to_string();
    assert_eq!(error.lines().count(), 21);
    assert!(error.ends_with("\nand 1980 more"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_of_orders_is_told_as_such() {
    let home = Scratch::new();
    let (store, _) = Store::open(home.path(), &trust_domain()).unwrap();
    let log = audit::Log::in_test(&home.path().join("audit"), audit::Limits::default(), Clock::system()).unwrap();
    let counters = Arc::new(Counters::default());
    // The clerk does not run.
    let (desk, _clerk) = open(trust_domain(), Snapshot::empty(), store, log, Clock::system(), counters);
    for uid in 0..u32::try_from(ORDERS_MAX).unwrap() {
        let desk = desk.clone();
        tokio::spawn(async move { desk.create(ADMIN, draft("web", uid)).await });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = desk.create(ADMIN, draft("late", 1)).await.unwrap_err();
    assert!(matches!(error, Error::Busy), "{error}");
}

#[tokio::test]
async fn a_desk_without_its_clerk_says_that_the_daemon_stops() {
    let house = Fixture::new();
    let desk = house.desk.clone();
    let house = house.restart().await;
    assert!(matches!(desk.create(ADMIN, draft("web", 1)).await, Err(Error::Stopping)));
    assert!(matches!(desk.watch(), Err(Error::Stopping)));
    house.desk.create(ADMIN, draft("web", 1)).await.unwrap();
}

#[tokio::test]
async fn strangers_at_the_socket_are_recorded() {
    let house = Fixture::new();
    house.desk.note_stranger(ADMIN);
    let record = &house.records("refused")[0];
    assert_eq!((&record["what"], &record["reasons"][0]), (&"admin".into(), &"not_admin".into()));
}

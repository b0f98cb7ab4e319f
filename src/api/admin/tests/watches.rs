//! Watches of the registry.

use super::*;
use crate::api::admin::entries::WATCHES_MAX;

#[tokio::test]
async fn a_watch_begins_with_the_revision_and_tells_each_change() {
    let house = House::new();
    house.create(entry("before", &["unix:uid:1"])).await;
    let mut events = house.entries().watch(pb::WatchEntriesRequest {}).await.unwrap().into_inner();
    let synced = events.try_next().await.unwrap().unwrap();
    assert_eq!((synced.kind(), synced.revision, synced.entry), (Kind::Synced, 1, None));
    let created = house.create(entry("web", &["unix:uid:2"])).await;
    let changed = pb::Entry { hint: "h".into(), ..created.clone() };
    let request = pb::UpdateEntryRequest { entry: Some(changed), expected_revision: 0 };
    let updated = house.entries().update(request).await.unwrap().into_inner();
    house.entries().delete(pb::DeleteEntryRequest { id: created.id.clone() }).await.unwrap();
    for (kind, entry, revision) in
        [(Kind::Created, &created, 2), (Kind::Updated, &updated, 3), (Kind::Deleted, &updated, 4)]
    {
        let event = events.try_next().await.unwrap().unwrap();
        assert_eq!((event.kind(), event.entry.as_ref(), event.revision), (kind, Some(entry), revision));
    }
    house.fixture.stopping.cancel();
    assert_eq!(events.try_next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_watch_that_falls_behind_is_ended_and_told_why() {
    let house = House::new();
    let mut events = house.entries().watch(pb::WatchEntriesRequest {}).await.unwrap().into_inner();
    for uid in 0..=BATCHES_MAX + 16 {
        house.create(entry("web", &[&format!("unix:uid:{uid}")])).await;
    }
    let error = loop {
        if let Err(status) = events.try_next().await {
            break status;
        }
    };
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("fell behind"), "{error}");
    assert_eq!(house.fixture.counted("watches_dropped"), 1);
}

#[tokio::test]
async fn watches_have_a_most_and_give_their_place_back() {
    let house = House::new();
    let mut open = Vec::new();
    for _ in 0..WATCHES_MAX {
        open.push(house.entries().watch(pb::WatchEntriesRequest {}).await.unwrap());
    }
    let error = house.entries().watch(pb::WatchEntriesRequest {}).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "over the limit watches; try again later"));
    open.pop();
    house.entries().watch(pb::WatchEntriesRequest {}).await.unwrap();
}

//! Entries, one by one and many at once.

use super::*;

#[tokio::test]
async fn an_entry_comes_back_as_it_was_given() {
    let house = House::new();
    let given = pb::Entry {
        x509_ttl_seconds: 60,
        jwt_ttl_seconds: 61,
        wit_ttl_seconds: 62,
        dns_names: vec!["web.test".into()],
        hint: "front".into(),
        federates_with: vec!["other.test".into()],
        admin: true,
        downstream: true,
        expires_at: 4_000_000_000,
        ..entry("web", &["unix:uid:1000", "unix:gid:100"])
    };
    let created = house.create(given.clone()).await;
    assert_eq!((created.id.len(), created.revision), (36, 1));
    assert!(created.created_at > 1_700_000_000);
    let mut selectors = given.selectors.clone();
    selectors.sort();
    let expected =
        pb::Entry { id: created.id.clone(), revision: 1, created_at: created.created_at, selectors, ..given };
    assert_eq!(created, expected);
    assert_eq!(house.entries().show(show(&created.id)).await.unwrap().into_inner(), expected);
    let record = &house.fixture.records("admin")[0];
    assert_eq!((&record["caller"]["uid"], &record["caller"]["pid"]), (&OWN.into(), &4242.into()));
}

#[tokio::test]
async fn an_entry_that_was_shown_can_be_sent_back_changed() {
    let house = House::new();
    let created = house.create(entry("web", &["unix:uid:1000"])).await;
    let changed = pb::Entry { hint: "new".into(), ..created.clone() };
    let request = pb::UpdateEntryRequest { entry: Some(changed.clone()), expected_revision: 1 };
    let updated = house.entries().update(request.clone()).await.unwrap().into_inner();
    assert_eq!(updated, pb::Entry { revision: 2, ..changed });
    let error = house.entries().update(request).await.unwrap_err();
    assert_eq!(error.code(), Code::Aborted);
    assert!(error.message().contains("it has revision 2, not 1"), "{error}");
}

#[tokio::test]
async fn an_apply_is_made_whole_or_not_at_all() {
    let house = House::new();
    let old = house.create(entry("old", &["unix:uid:1"])).await;
    let other = house.create(entry("other", &["unix:uid:2"])).await;
    let changed = pb::Entry { hint: "h".into(), ..other.clone() };
    let request = pb::ApplyEntriesRequest {
        create: vec![entry("new", &["unix:uid:3"])],
        update: vec![pb::UpdateEntryRequest { entry: Some(changed), expected_revision: 1 }],
        delete: vec![old.id.clone()],
        dry_run: true,
        ..pb::ApplyEntriesRequest::default()
    };
    let dry = house.entries().apply(request.clone()).await.unwrap().into_inner();
    assert_eq!((dry.created.len(), dry.updated.len(), dry.deleted), (1, 1, 1));
    assert_eq!(dry.created[0].id, "", "an id that nobody will have is not shown");
    assert_eq!(house.list(pb::ListEntriesRequest::default()).await.entries, [old.clone(), other.clone()]);

    let broken = pb::ApplyEntriesRequest {
        create: vec![entry("new", &["unix:uid:3"]), entry("new", &["unix:uid:3"])],
        dry_run: false,
        ..request.clone()
    };
    assert_eq!(house.entries().apply(broken).await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(house.list(pb::ListEntriesRequest::default()).await.entries, [old, other.clone()]);

    let done = house.entries().apply(pb::ApplyEntriesRequest { dry_run: false, ..request }).await.unwrap().into_inner();
    assert_eq!((done.updated[0].revision, done.updated[0].id.clone(), done.deleted), (2, other.id, 1));
    let listed = house.list(pb::ListEntriesRequest::default()).await.entries;
    assert_eq!(listed, [done.updated[0].clone(), done.created[0].clone()]);
}

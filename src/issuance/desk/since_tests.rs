//! Since when entries are what they are: what was issued by them in earlier seconds is not lent to who has them now.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::SystemTime;

use super::{
    fixture::{ADMIN, Fixture, draft},
    *,
};
use crate::registry::AgentDraft;

/// A desk that knows two agents.
async fn house() -> Fixture {
    let house = Fixture::new();
    for name in ["crew", "night"] {
        let agent = AgentDraft { name: name.into(), owner: "payments".into(), ..AgentDraft::default() };
        house.desk.create_item(ADMIN, ItemDraft::Agent(agent)).await.unwrap();
    }
    house
}

fn of(agent: &str, name: &str, uid: u32) -> Draft {
    Draft { agent: agent.into(), ..draft(name, uid) }
}

fn now() -> SystemTime {
    Clock::system().now()
}

fn since(house: &Fixture, id: &EntryId) -> SystemTime {
    house.desk.registry().borrow().entry(id).unwrap().since
}

/// Whether it is a second that was to come at that time, and not long ago.
fn is_next(since: SystemTime, then: SystemTime) -> bool {
    let is_whole = since.duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos() == 0;
    is_whole && since > then && since <= now() + Duration::from_secs(1)
}

#[tokio::test]
async fn an_entry_that_becomes_another_counts_from_a_second_that_is_to_come() {
    let house = house().await;
    let entry = house.desk.create(ADMIN, of("crew", "web", 1)).await.unwrap();
    assert_eq!(entry.since, entry.created_at, "nothing of its name was there before");
    let update = |draft: Draft| house.desk.update(ADMIN, Amendment { id: entry.id.clone(), draft, expected: None });
    let mut last = entry.since;
    for draft in [
        of("night", "web", 1),
        of("", "web", 1),
        of("crew", "web", 1),
        of("crew", "api", 1),
        of("crew", "a/{unix:uid}", 1),
        of("crew", "web", 2),
    ] {
        let (words, before) = (format!("{draft:?}"), now());
        update(draft).await.unwrap();
        let since = since(&house, &entry.id);
        assert!(is_next(since, before) && since >= last, "{words}: {since:?} {before:?}");
        last = since;
    }
    // What changes nothing of who is whom changes nothing of that.
    update(Draft { hint: "x".into(), jwt_ttl_seconds: 60, ..of("crew", "web", 2) }).await.unwrap();
    assert_eq!(since(&house, &entry.id), last);
    let created = house.desk.registry().borrow().entry(&entry.id).unwrap().created_at;
    assert_eq!(created, entry.created_at, "it is as old as it was");
    let house = house.restart().await;
    assert_eq!(since(&house, &entry.id), last);
}

#[tokio::test]
async fn an_entry_in_the_place_of_another_counts_from_a_later_second() {
    let house = house().await;
    let first = house.desk.create(ADMIN, of("crew", "web", 1)).await.unwrap();
    house.desk.delete(ADMIN, first.id.clone()).await.unwrap();
    let gone = now();
    let second = house.desk.create(ADMIN, of("night", "web", 1)).await.unwrap();
    assert!(second.since >= crate::registry::next_second(gone) || now() >= crate::registry::next_second(gone));
    assert!(second.created_at <= now(), "its age is another matter");
    // At once.
    let before = now();
    let order = Order { delete: vec![second.id.clone()], create: vec![of("crew", "web", 1)], ..Order::default() };
    let third = house.desk.apply(ADMIN, order).await.unwrap().created[0].clone();
    assert!(is_next(since(&house, &third.id), before));
}

#[tokio::test]
async fn an_entry_that_takes_an_id_from_a_template_counts_from_a_later_second() {
    let house = house().await;
    house.desk.create(ADMIN, of("crew", "user/{unix:user}", 1)).await.unwrap();
    let other = house.desk.create(ADMIN, of("night", "group/ada", 2)).await.unwrap();
    assert_eq!(other.since, other.created_at);
    let before = now();
    let taken = house.desk.create(ADMIN, of("night", "user/ada", 2)).await.unwrap();
    assert!(is_next(since(&house, &taken.id), before));
}

/// As long as two agents have one SPIFFE ID, who shows it is nobody. When one goes, its SVIDs are not the other's.
#[tokio::test]
async fn an_entry_that_had_its_id_together_with_another_agents_begins_anew() {
    for agent in ["crew", ""] {
        let house = house().await;
        let gone = house.desk.create(ADMIN, of(agent, "web", 1)).await.unwrap();
        let stays = house.desk.create(ADMIN, of("night", "web", 2)).await.unwrap();
        let other = house.desk.create(ADMIN, of("night", "api", 3)).await.unwrap();
        assert_eq!(since(&house, &stays.id), stays.created_at);
        let before = now();
        house.desk.delete(ADMIN, gone.id.clone()).await.unwrap();
        assert!(is_next(since(&house, &stays.id), before), "{agent}");
        assert_eq!(since(&house, &other.id), other.created_at);
        let record = house.records("admin").pop().unwrap();
        assert_eq!(
            (record["verb"].as_str(), record["object"].as_str()),
            (Some("entry_update"), Some(&*stays.id.to_string()))
        );
        assert!(record["changes"][0].as_str().unwrap().starts_with("since: "), "{record}");
        // One of the same agent lends it nothing.
        let third = house.desk.create(ADMIN, of("night", "web", 4)).await.unwrap();
        let before = since(&house, &stays.id);
        house.desk.delete(ADMIN, third.id.clone()).await.unwrap();
        assert_eq!(since(&house, &stays.id), before);
        let house = house.restart().await;
        assert_eq!(since(&house, &stays.id), before);
    }
}

#[tokio::test]
async fn a_dry_run_begins_nothing() {
    let house = house().await;
    let entry = house.desk.create(ADMIN, of("crew", "web", 1)).await.unwrap();
    let update = vec![Amendment { id: entry.id.clone(), draft: of("night", "web", 1), expected: None }];
    house.desk.apply(ADMIN, Order { update, dry_run: true, ..Order::default() }).await.unwrap();
    assert_eq!(since(&house, &entry.id), entry.since);
}

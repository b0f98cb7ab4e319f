//! Taking back through the desk: what is recorded, kept, refused.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::time::SystemTime;

use super::{
    fixture::{ADMIN, Fixture},
    *,
};
use crate::{
    oauth::{Thumbprint, access::TokenId},
    registry::{self, AgentDraft, ToolDraft},
};

const TOKEN: TokenId = TokenId([7; 16]);

fn key() -> Thumbprint {
    Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap()
}

fn crew() -> Label {
    Label::parse("crew").unwrap()
}

/// A desk that knows the agent `crew`.
async fn house() -> Fixture {
    let house = Fixture::new();
    let agent = AgentDraft { name: "crew".into(), owner: "payments".into(), ..AgentDraft::default() };
    house.desk.create_item(ADMIN, ItemDraft::Agent(agent)).await.unwrap();
    house
}

fn has(house: &Fixture, id: RevokedId) -> bool {
    house.desk.registry().borrow().revocations().has(&id)
}

fn agent(house: &Fixture) -> Arc<registry::Agent> {
    house.desk.registry().borrow().catalog().agent("crew").unwrap().clone()
}

fn verbs(house: &Fixture) -> Vec<(String, String)> {
    let text = |record: &serde_json::Value, name: &str| record[name].as_str().unwrap().to_owned();
    house.records("admin").iter().map(|record| (text(record, "verb"), text(record, "object"))).collect()
}

fn now() -> SystemTime {
    Clock::system().now()
}

#[tokio::test]
async fn what_is_taken_back_is_recorded_and_kept_and_nothing_is_done_twice() {
    let house = house().await;
    let revision = || house.desk.registry().borrow().revision();
    let first = house.desk.revoke_token_id(ADMIN, TOKEN).await.unwrap();
    let left = first.until.unwrap().duration_since(now()).unwrap().as_secs();
    assert!((86_400..=86_405).contains(&left), "{left}: nothing with a `jti` lives longer");
    let by_key = house.desk.revoke_key(ADMIN, key()).await.unwrap();
    assert_eq!(by_key.until, None);
    let before = revision();
    assert_eq!(house.desk.revoke_key(ADMIN, key()).await.unwrap(), by_key);
    assert_eq!(revision(), before, "it is so already");
    let mut told = verbs(&house);
    told.remove(0);
    let expected = [("token_revoke", TOKEN.to_string()), ("key_revoke", key().to_string())];
    assert_eq!(told, expected.map(|(verb, object)| (verb.to_owned(), object)));
    let until = first.until.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(house.records("admin")[1]["changes"], serde_json::json!([format!("until: {until}")]));
    let house = house.restart().await;
    assert!(has(&house, RevokedId::Token(TOKEN)) && has(&house, RevokedId::Key(key())));
    house.desk.restore_key(ADMIN, key()).await.unwrap();
    assert_eq!(verbs(&house).last().unwrap().0, "key_restore");
    let error = house.desk.restore_key(ADMIN, key()).await.unwrap_err();
    assert!(matches!(error, Error::Registry(registry::Error::NotRevoked(_))), "{error}");
    let house = house.restart().await;
    assert!(has(&house, RevokedId::Token(TOKEN)) && !has(&house, RevokedId::Key(key())));
}

#[tokio::test]
async fn what_an_agent_was_issued_is_revoked_up_to_a_second_that_is_to_come() {
    let house = house().await;
    let before = house.desk.revoke_agent(ADMIN, crew()).await.unwrap();
    let ahead = before.duration_since(now()).unwrap_or_default();
    assert!(ahead.as_millis() <= 1_000, "{ahead:?}");
    let seconds = before.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(seconds.subsec_nanos(), 0, "tokens know whole seconds");
    assert_eq!((agent(&house).revoked_before, agent(&house).state), (before, State::Active));
    let record = house.records("admin").pop().unwrap();
    assert_eq!((record["verb"].as_str(), record["object"].as_str()), (Some("agent_revoke"), Some("crew")));
    assert_eq!(record["changes"], serde_json::json!([format!("revoked_before: {}", seconds.as_secs())]));
    // What is changed otherwise keeps it, and so does a new start.
    let draft = AgentDraft { name: "crew".into(), owner: "others".into(), ..AgentDraft::default() };
    house.desk.update_item(ADMIN, ItemDraft::Agent(draft), None).await.unwrap();
    house.desk.set_state(ADMIN, crew(), State::Suspended).await.unwrap();
    let house = house.restart().await;
    assert_eq!((agent(&house).revoked_before, agent(&house).state), (before, State::Suspended));
    let error = house.desk.revoke_agent(ADMIN, Label::parse("none").unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no agent none");
}

#[tokio::test]
async fn many_take_back_at_once_and_all_of_it_is_kept() {
    let house = house().await;
    let one = |number: u8| {
        let desk = house.desk.clone();
        tokio::spawn(async move {
            desk.revoke_token_id(ADMIN, TokenId([number; 16])).await.unwrap();
            desk.revoke_agent(ADMIN, crew()).await.unwrap();
            desk.revoke_key(ADMIN, key()).await.unwrap();
        })
    };
    let all: Vec<_> = (0..40).map(one).collect();
    for each in all {
        each.await.unwrap();
    }
    assert_eq!(verbs(&house).iter().filter(|(verb, _)| verb == "key_revoke").count(), 1);
    let house = house.restart().await;
    let tokens = (0..40).filter(|number| has(&house, RevokedId::Token(TokenId([*number; 16])))).count();
    assert!(tokens == 40 && has(&house, RevokedId::Key(key())));
}

/// A token that is not ours takes nothing back, not even by its `jti`.
#[tokio::test]
async fn what_is_no_token_of_ours_is_refused() {
    let house = house().await;
    for text in ["", "x", "eyJ.eyJ.x"] {
        let error = house.desk.revoke_token(ADMIN, text).await.unwrap_err();
        assert!(matches!(error, Error::Token(_)), "{error}");
    }
    assert_eq!(house.desk.registry().borrow().revocations().iter().count(), 0);
}

#[tokio::test]
async fn a_name_that_went_in_this_second_is_given_again_in_the_next_one() {
    let house = house().await;
    let tool = || {
        ItemDraft::Tool(ToolDraft {
            name: "shop".into(),
            audience: "https://shop.example.org".into(),
            scopes: vec![("read".into(), "read".into())],
            ..ToolDraft::default()
        })
    };
    let created = |item: Item| if let Item::Tool(tool) = item { tool.created_at } else { panic!("it is a tool") };
    let first = created(house.desk.create_item(ADMIN, tool()).await.unwrap());
    assert!(first <= now(), "nothing of its name was there before");
    let changed = created(house.desk.update_item(ADMIN, tool(), None).await.unwrap());
    assert_eq!(changed, first);
    house.desk.remove(ADMIN, vec![ItemId::Tool(Label::parse("shop").unwrap())], false).await.unwrap();
    let gone = now();
    let again = created(house.desk.create_item(ADMIN, tool()).await.unwrap());
    assert!(again >= registry::next_second(gone) || now() >= registry::next_second(gone), "{again:?} {gone:?}");
    assert!(again > first);
    let house = house.restart().await;
    let kept = house.desk.registry().borrow().catalog().tool("shop").unwrap().created_at;
    assert_eq!(kept, again);
}

//! Tokens in exchange for others: whose they become, what the log says, and what ends with them.

use super::*;
use crate::{
    oauth::{
        access::{Actor, Claims, Subject},
        exchange::{Parent, User},
    },
    registry::Scope,
    spiffe::Id,
};

fn user(scopes: Option<&str>, lifetime: Duration, scene: &Scene) -> Parent {
    Parent::of_user(User {
        name: "ada".into(),
        issuer: "https://login.test".into(),
        actors: vec![Actor { name: "first".into(), issuer: None }],
        may_act: None,
        scopes: scopes.map(|scopes| scopes.split(' ').map(|scope| Scope::parse(scope).unwrap()).collect()),
        expires_at: scene.clock.now() + lifetime,
        token_id: Some("j1".into()),
    })
}

fn claims(scene: &Scene, token: &AccessToken) -> Claims {
    let keyring = scene.keyring.borrow().clone();
    Unverified::parse(text(token)).unwrap().verify(ISSUER, keyring.access().unwrap().bundle()).unwrap()
}

fn codes(scene: &Scene) -> serde_json::Value {
    records(scene, "refused").last().unwrap()["reasons"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_users_token_makes_the_agent_his_actor_and_the_log_says_so() {
    let Some(scene) = scene(0).await else { return };
    let parent = user(Some("read openid"), 100 * SECOND, &scene);
    let token = get(&scene, &asked("", ORDERS, "").for_token(parent)).await.unwrap();
    let claims = claims(&scene, &token);
    let agent = Id::parse("spiffe://example.org/crew/a").unwrap();
    let earlier = vec![Actor { name: "first".into(), issuer: None }];
    let (name, issuer) = ("ada".to_owned(), "https://login.test".to_owned());
    assert_eq!(claims.subject, Subject::User { name, issuer, agent, earlier });
    assert_eq!((claims.client.as_str(), claims.scopes.to_string().as_str(), claims.key), ("crew", "read", holder()));
    assert!(token.lifetime() <= 100 * SECOND && token.lifetime() >= 99 * SECOND, "{:?}", token.lifetime());
    let record = &records(&scene, "issued")[0]["identities"][0];
    let told = serde_json::json!({
        "subject": "ada", "subject_issuer": "https://login.test", "actors": ["spiffe://example.org/crew/a", "first"]
    });
    assert_eq!((&record["access"]["delegation"], &record["access"]["parent_jti"]), (&told, &"j1".into()));
    assert_eq!(record["spiffe_id"], "spiffe://example.org/crew/a");
}

#[tokio::test(start_paused = true)]
async fn a_delegation_that_is_exchanged_again_stays_the_same_users() {
    let Some(scene) = scene(0).await else { return };
    let first = get(&scene, &asked("", ORDERS, "").for_token(user(None, HOUR, &scene))).await.unwrap();
    let first = claims(&scene, &first);
    tokio::time::sleep(10 * SECOND).await;
    let second = get(&scene, &asked("", ORDERS, "read").for_token(Parent::of_own(first.clone()))).await.unwrap();
    let second = claims(&scene, &second);
    assert_eq!((&second.subject, &second.client, second.key), (&first.subject, &first.client, first.key));
    assert_eq!((first.scopes.to_string(), second.scopes.to_string()), ("read write".into(), "read".into()));
    assert!(second.scopes.is_within(&first.scopes) && second.expires_at <= first.expires_at);
    assert_ne!(second.token_id, first.token_id);
    let record = &records(&scene, "issued")[1]["identities"][0]["access"];
    assert_eq!(record["parent_jti"], first.token_id.to_string());
}

/// The deputy has the right entry, but the token was given to another one, or is not good any more.
#[tokio::test(start_paused = true)]
async fn a_token_of_ours_is_exchanged_by_whom_it_was_given_to_and_while_it_stands() {
    let Some(scene) = scene(0).await else { return };
    let own = claims(&scene, &get(&scene, &asked("", ORDERS, "read")).await.unwrap());
    let of = |change: fn(&mut Claims)| {
        let mut claims = own.clone();
        change(&mut claims);
        asked("", ORDERS, "read").for_token(Parent::of_own(claims))
    };
    assert!(get(&scene, &of(|_| {})).await.is_ok());
    type Row = (fn(&mut Claims), fn(&Ungranted) -> bool, &'static str);
    let rows: [Row; 6] = [
        (|it| it.client = "night".into(), |it| matches!(it, Ungranted::Subject), "subject_other_agent"),
        (
            |it| it.subject = Subject::Agent(Id::parse("spiffe://example.org/crew/b").unwrap()),
            |it| matches!(it, Ungranted::Subject),
            "subject_other_agent",
        ),
        (|it| it.issued_at = SystemTime::UNIX_EPOCH - SECOND, |it| matches!(it, Ungranted::Subject), "subject_revoked"),
        (|it| it.expires_at = it.issued_at, |it| matches!(it, Ungranted::Subject), "subject_expired"),
        (|it| it.audience = BILLING.into(), |it| matches!(it, Ungranted::Subject), "subject_revoked"),
        (
            |it| it.scopes = [Scope::parse("write").unwrap()].into_iter().collect(),
            |it| matches!(it, Ungranted::Scope),
            "subject_scope",
        ),
    ];
    for (change, is_answer, code) in rows {
        let refused = get(&scene, &of(change)).await.unwrap_err();
        assert!(is_answer(&refused), "{code}: {refused:?}");
        assert!(codes(&scene).as_array().unwrap().contains(&code.into()), "{code}: {}", codes(&scene));
    }
    // Its right to the other tool is no fault of the token.
    let items = vec![
        agent("crew", State::Active),
        tool("orders", ORDERS),
        tool("billing", BILLING),
        right("crew", "orders", &["read"], 0),
        right("crew", "billing", &["read"], 0),
    ];
    scene.registry.send_replace(said(vec![entry_of(1, "crew/a", "crew")], items));
    let elsewhere = asked("", BILLING, "read").for_token(Parent::of_own(own.clone()));
    let refused = get(&scene, &elsewhere).await.unwrap_err();
    assert!(matches!(refused, Ungranted::Target), "{refused:?}");
    assert_eq!(codes(&scene), serde_json::json!(["subject_other_audience"]));
    // The grant that it rests on has lost a scope.
    let items = vec![agent("crew", State::Active), tool("orders", ORDERS), right("crew", "orders", &["list"], 0)];
    scene.registry.send_replace(said(vec![entry_of(1, "crew/a", "crew")], items));
    let refused = get(&scene, &asked("", ORDERS, "list").for_token(Parent::of_own(own))).await.unwrap_err();
    assert!(matches!(refused, Ungranted::Subject), "{refused:?}");
    assert_eq!(codes(&scene), serde_json::json!(["subject_revoked", "subject_scope"]));
}

/// A caller with two entries of one agent exchanges a token by the one that it was given by.
#[tokio::test(start_paused = true)]
async fn of_several_entries_the_one_is_meant_that_the_token_was_given_by() {
    let Some(scene) = scene(0).await else { return };
    let entries = [entry_of(1, "crew/a", "crew"), entry_of(2, "crew/b", "crew"), entry_of(3, "night/a", "night")];
    scene.registry.send_replace(said(entries.to_vec(), two_agents()));
    let own = claims(&scene, &get(&scene, &asked("night", ORDERS, "")).await.unwrap());
    for client_id in ["", "night"] {
        let wanted = asked(client_id, ORDERS, "").for_token(Parent::of_own(own.clone()));
        let token = get(&scene, &wanted).await.unwrap();
        assert_eq!(token.token.id.as_str(), "spiffe://example.org/night/a", "{client_id}");
    }
    let as_another = asked("crew", ORDERS, "").for_token(Parent::of_own(own.clone()));
    assert!(matches!(get(&scene, &as_another).await, Err(Ungranted::Subject)));
    let mut other = own;
    (other.client, other.subject) = ("crew".into(), Subject::Agent(Id::parse("spiffe://example.org/crew/b").unwrap()));
    let token = get(&scene, &asked("", ORDERS, "").for_token(Parent::of_own(other))).await.unwrap();
    assert_eq!(token.token.id.as_str(), "spiffe://example.org/crew/b");
}

/// What the token that is exchanged rests on is taken away when the new one is signed already.
#[tokio::test(start_paused = true)]
async fn nothing_leaves_after_the_token_that_is_exchanged_has_gone() {
    let narrowed = said(
        vec![entry_of(1, "crew/a", "crew")],
        vec![agent("crew", State::Active), tool("orders", ORDERS), right("crew", "orders", &["read"], 0)],
    );
    for attempt in 0.. {
        let Some(scene) = scene(0).await else { return };
        let own = claims(&scene, &get(&scene, &asked("", ORDERS, "read write")).await.unwrap());
        let wanted = asked("", ORDERS, "read").for_token(Parent::of_own(own));
        if let Some(outcome) = get_while(&scene, &narrowed, &wanted).await {
            assert!(matches!(outcome, Err(Ungranted::Subject)), "{outcome:?}");
            assert_eq!(codes(&scene), serde_json::json!(["subject_revoked"]));
            break;
        }
        assert!(attempt < 100, "nobody was told");
    }
}

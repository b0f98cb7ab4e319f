//! Agents, tools and grants through the desk: what is recorded, kept, refused.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::{
    fixture::{ADMIN, Fixture, draft},
    *,
};
use crate::registry::{self, Agent, AgentDraft, GrantDraft, GrantId, ToolDraft};

fn agent(name: &str) -> ItemDraft {
    ItemDraft::Agent(AgentDraft { name: name.into(), owner: "payments".into(), ..AgentDraft::default() })
}

fn tool(name: &str) -> ItemDraft {
    ItemDraft::Tool(ToolDraft {
        name: name.into(),
        audience: format!("https://{name}.example.org"),
        scopes: vec![("orders:read".into(), "read".into()), ("orders:write".into(), "write".into())],
        ..ToolDraft::default()
    })
}

fn grant(agent: &str, tool: &str, scopes: &[&str]) -> ItemDraft {
    let scopes = scopes.iter().map(|scope| (*scope).into()).collect();
    ItemDraft::Grant(GrantDraft { agent: agent.into(), tool: tool.into(), scopes, ..GrantDraft::default() })
}

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn agent_id(name: &str) -> ItemId {
    ItemId::Agent(label(name))
}

fn grant_id(agent: &str, tool: &str) -> ItemId {
    ItemId::Grant(GrantId { agent: label(agent), tool: label(tool) })
}

/// An agent with a tool, a grant and an entry.
async fn house() -> Fixture {
    let house = Fixture::new();
    for draft in [agent("crew"), tool("shop"), grant("crew", "shop", &["orders:read"])] {
        house.desk.create_item(ADMIN, draft).await.unwrap();
    }
    house.desk.create(ADMIN, Draft { agent: "crew".into(), ..draft("web", 1000) }).await.unwrap();
    house
}

fn verbs(house: &Fixture) -> Vec<String> {
    let told = |record: &serde_json::Value| {
        format!("{} {}", record["verb"].as_str().unwrap(), record["object"].as_str().unwrap())
    };
    house.records("admin").iter().map(told).filter(|told| !told.starts_with("entry")).collect()
}

#[tokio::test]
async fn what_is_registered_is_recorded_and_kept() {
    let house = house().await;
    assert_eq!(verbs(&house), ["agent_create crew", "tool_create shop", "grant_create crew/shop"]);
    let first = &house.records("admin")[0];
    assert_eq!(first["changes"], serde_json::json!(["owner: payments"]));
    let house = house.restart().await;
    let seen = house.desk.registry().borrow().clone();
    let kept = seen.catalog().agent("crew").unwrap();
    assert_eq!((kept.created_by, kept.revision, kept.state), (ADMIN.uid, 1, State::Active));
    assert!(seen.catalog().grant("crew", "shop").unwrap().spec.has("orders:read"));
    assert_eq!(seen.entries().next().unwrap().spec.agent, Some(label("crew")));
}

#[tokio::test]
async fn of_two_who_change_one_at_once_the_second_hears_of_it() {
    let house = house().await;
    let changed = grant("crew", "shop", &["orders:write"]);
    let made = house.desk.update_item(ADMIN, changed.clone(), Some(1)).await.unwrap();
    assert_eq!(made.revision(), 2);
    let error = house.desk.update_item(ADMIN, grant("crew", "shop", &["orders:read"]), Some(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "the grant crew/shop was changed meanwhile: it has revision 2, not 1");
    // Whoever expects nothing overwrites.
    assert_eq!(house.desk.update_item(ADMIN, changed, None).await.unwrap().revision(), 3);
    let told = house.records("admin").into_iter().find(|record| record["verb"] == "grant_update").unwrap();
    assert_eq!(told["changes"], serde_json::json!(["scopes: orders:read -> orders:write"]));
}

#[tokio::test]
async fn a_name_is_registered_once_and_must_be_there_to_be_changed() {
    let house = house().await;
    let taken = |error: Error| matches!(error, Error::Registry(registry::Error::ItemTaken(_)));
    for draft in [agent("crew"), tool("shop"), grant("crew", "shop", &["orders:write"])] {
        assert!(taken(house.desk.create_item(ADMIN, draft).await.unwrap_err()));
    }
    for draft in [agent("other"), tool("other"), grant("crew", "other", &["a"])] {
        let error = house.desk.update_item(ADMIN, draft, None).await.unwrap_err();
        assert!(matches!(error, Error::Registry(registry::Error::UnknownItem(_))), "{error}");
    }
    let error = house.desk.create_item(ADMIN, agent("No")).await.unwrap_err();
    assert!(matches!(error, Error::Drafts(_)), "{error}");
    assert_eq!(verbs(&house).len(), 3, "what is refused is not recorded as done");
}

#[tokio::test]
async fn an_agent_is_suspended_resumed_and_retired_for_good() {
    let house = house().await;
    let set = async |state| house.desk.set_state(ADMIN, label("crew"), state).await;
    let state = |item: Item| match item {
        Item::Agent(Agent { state, revision, .. }) => (state, revision),
        _ => panic!("it is an agent"),
    };
    assert_eq!(state(set(State::Suspended).await.unwrap()), (State::Suspended, 2));
    assert_eq!(state(set(State::Suspended).await.unwrap()), (State::Suspended, 2), "nothing is done twice");
    // What is changed otherwise keeps the state.
    let changed = house.desk.update_item(ADMIN, agent("crew"), Some(2)).await.unwrap();
    assert_eq!(state(changed), (State::Suspended, 3));
    assert_eq!(state(set(State::Active).await.unwrap()), (State::Active, 4));
    assert_eq!(state(set(State::Retired).await.unwrap()), (State::Retired, 5));
    let error = set(State::Active).await.unwrap_err();
    assert_eq!(error.to_string(), "the agent crew is retired, which is for good");
    let told = ["agent_suspend crew", "agent_update crew", "agent_resume crew", "agent_retire crew"];
    assert_eq!(verbs(&house)[3..], told);
    let house = house.restart().await;
    assert_eq!(house.desk.registry().borrow().catalog().agent("crew").unwrap().state, State::Retired);
    let error = house.desk.set_state(ADMIN, label("none"), State::Active).await.unwrap_err();
    assert!(matches!(error, Error::Registry(registry::Error::UnknownItem(_))), "{error}");
}

#[tokio::test]
async fn what_hangs_on_something_goes_with_it_only_where_that_is_wanted() {
    let house = house().await;
    let error = house.desk.remove(ADMIN, vec![agent_id("crew")], false).await.unwrap_err();
    assert!(error.to_string().contains(": the grant crew/shop, the entry "), "{error}");
    let error = house.desk.remove(ADMIN, vec![agent_id("crew"), grant_id("crew", "shop")], false).await.unwrap_err();
    assert!(error.to_string().contains("the entry "), "{error}");
    assert_eq!(house.desk.registry().borrow().catalog().counts().grants, 1);
    // A grant that is named too goes once.
    let gone = house.desk.remove(ADMIN, vec![agent_id("crew"), grant_id("crew", "shop")], true).await.unwrap();
    assert_eq!((gone.removed.len(), gone.deleted.len()), (2, 1));
    let told = verbs(&house);
    assert!(told.contains(&"agent_delete crew".into()) && told.contains(&"grant_delete crew/shop".into()), "{told:?}");
    let house = house.restart().await;
    let seen = house.desk.registry().borrow().clone();
    assert_eq!((seen.len(), seen.catalog().counts().agents, seen.catalog().counts().tools), (0, 0, 1));
}

#[tokio::test]
async fn one_order_changes_everything_or_nothing() {
    let house = house().await;
    let put = |draft, stand| Put { draft, stand };
    let order = |dry_run| Order {
        create: vec![Draft { agent: "new".into(), ..draft("new", 1) }],
        put: vec![
            put(grant("new", "mail", &["orders:read"]), Stand::New),
            put(agent("new"), Stand::New),
            put(tool("mail"), Stand::New),
            put(grant("crew", "shop", &["orders:write"]), Stand::Old(Some(1))),
        ],
        dry_run,
        ..Order::default()
    };
    let outcome = house.desk.apply(ADMIN, order(true)).await.unwrap();
    assert_eq!((outcome.put.len(), house.desk.registry().borrow().catalog().counts().agents), (4, 1));
    let outcome = house.desk.apply(ADMIN, order(false)).await.unwrap();
    assert_eq!(
        outcome.put.iter().map(|item| item.id().to_string()).collect::<Vec<_>>()[..2],
        ["grant new/mail", "agent new"]
    );
    // Made already, and with an old revision: nothing is changed, neither is the entry.
    let before = house.desk.registry().borrow().revision();
    assert!(house.desk.apply(ADMIN, order(false)).await.is_err());
    let twice = Order { put: vec![put(agent("x"), Stand::New), put(agent("x"), Stand::New)], ..Order::default() };
    let error = house.desk.apply(ADMIN, twice).await.unwrap_err();
    assert_eq!(error.to_string(), "the agent x is named twice");
    let faulty = Order { put: vec![put(agent("X"), Stand::New), put(agent("y"), Stand::New)], ..Order::default() };
    let error = house.desk.apply(ADMIN, faulty).await.unwrap_err();
    assert!(error.to_string().starts_with("put 1: the agent name `X` is not valid"), "{error}");
    let many = (0..=CHANGES_MAX).map(|number| agent_id(&format!("a{number}"))).collect();
    let error = house.desk.remove(ADMIN, many, false).await.unwrap_err();
    assert!(matches!(error, Error::TooManyChanges(10_001)), "{error}");
    assert_eq!(house.desk.registry().borrow().revision(), before);
}

#[tokio::test]
async fn ten_thousand_agents_with_twenty_grants_each_are_loaded_quickly() {
    let house = Fixture::new();
    let tools: Vec<_> = (0..20).map(|number| format!("tool-{number}")).collect();
    let put = |draft| Put { draft, stand: Stand::New };
    let mut all: Vec<_> = tools.iter().map(|name| put(tool(name))).collect();
    for number in 0..10_000 {
        let name = format!("agent-{number}");
        all.push(put(agent(&name)));
        all.extend(tools.iter().map(|tool| put(grant(&name, tool, &["orders:read", "orders:write"]))));
    }
    let items = all.into_iter().map(|Put { draft, .. }| match draft.check().unwrap() {
        ItemSpec::Agent(spec) => Item::Agent(Agent {
            spec,
            state: State::Active,
            created_by: 0,
            created_at: std::time::SystemTime::UNIX_EPOCH,
            revoked_before: std::time::SystemTime::UNIX_EPOCH,
            revision: 1,
        }),
        ItemSpec::Tool(spec) => {
            Item::Tool(registry::Tool { spec, created_at: std::time::SystemTime::UNIX_EPOCH, revision: 1 })
        }
        ItemSpec::Grant(spec) => {
            Item::Grant(registry::Grant { spec, created_at: std::time::SystemTime::UNIX_EPOCH, revision: 1 })
        }
    });
    let items: Vec<_> = items.map(registry::Change::Put).collect();
    // Two hundred thousand records would be the audit log's test, and not this one.
    for (chunk, revision) in items.chunks(50_000).zip(1..) {
        house.store.commit_entries(revision, chunk.to_vec()).await.unwrap();
    }
    drop(items);
    let begun = std::time::Instant::now();
    let loaded = house.store.load().await.unwrap();
    let read = begun.elapsed();
    let (catalog, left_out) = registry::Catalog::build(loaded.items);
    let whole = begun.elapsed();
    assert_eq!((catalog.counts().grants, left_out.len()), (200_000, 0));
    // An unoptimised build takes several times as long as the daemon that people run.
    let most = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 2 });
    assert!(whole < most, "read in {read:?}, filed after {whole:?}");
    // One change copies little: a thousand of them are made in the time of a few.
    let one = registry::Change::Put(catalog.item(&grant_id("agent-7", "tool-7")).unwrap());
    let begun = std::time::Instant::now();
    for _ in 0..1_000 {
        std::hint::black_box(catalog.apply(std::slice::from_ref(&one)).unwrap());
    }
    let thousand = begun.elapsed();
    assert!(thousand < most, "{thousand:?}");
}

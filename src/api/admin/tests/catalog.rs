//! Agents, tools and grants as a client sees them.

use super::*;
use crate::pb::admin::item::Item as Inner;

fn item(inner: Inner) -> Option<pb::Item> {
    Some(pb::Item { item: Some(inner) })
}

fn agent(name: &str, owner: &str) -> Option<pb::Item> {
    item(Inner::Agent(pb::Agent { name: name.into(), owner: owner.into(), ..pb::Agent::default() }))
}

fn tool(name: &str) -> Option<pb::Item> {
    let scopes = vec![pb::ToolScope { name: "a".into(), band: "write".into() }];
    let audience = format!("https://{name}.example.org");
    item(Inner::Tool(pb::Tool { name: name.into(), audience, scopes, ..pb::Tool::default() }))
}

fn grant(agent: &str, tool: &str) -> Option<pb::Item> {
    let (agent, tool, scopes) = (agent.into(), tool.into(), vec!["a".into()]);
    item(Inner::Grant(pb::Grant { agent, tool, scopes, ..pb::Grant::default() }))
}

fn names(answer: &pb::ListItemsResponse) -> Vec<String> {
    let name = |item: &pb::Item| match item.item.as_ref().unwrap() {
        Inner::Agent(agent) => agent.name.clone(),
        Inner::Tool(tool) => tool.name.clone(),
        Inner::Grant(grant) => format!("{}/{}", grant.agent, grant.tool),
    };
    answer.items.iter().map(name).collect()
}

impl House {
    async fn make(&self, item: Option<pb::Item>) -> Result<pb::Item, Status> {
        self.catalog().create(pb::CreateItemRequest { item }).await.map(tonic::Response::into_inner)
    }
}

#[tokio::test]
async fn what_is_made_is_shown_listed_changed_and_deleted() {
    let house = House::new();
    let made = house.make(agent("crew", "payments")).await.unwrap();
    let id = pb::ItemId { kind: pb::ItemKind::Agent.into(), name: "crew".into() };
    assert_eq!(house.catalog().show(id.clone()).await.unwrap().into_inner(), made);
    let Some(Inner::Agent(mut crew)) = made.item else { panic!("it is an agent") };
    assert_eq!((crew.state.as_str(), crew.revision, crew.created_by), ("active", 1, OWN));
    crew.purpose = "answers".into();
    let update =
        |revision| pb::UpdateItemRequest { item: item(Inner::Agent(crew.clone())), expected_revision: revision };
    house.catalog().update(update(1)).await.unwrap();
    assert_eq!(house.catalog().update(update(1)).await.unwrap_err().code(), Code::Aborted);
    house.make(tool("shop")).await.unwrap();
    house.make(grant("crew", "shop")).await.unwrap();
    let reach = house.catalog().reach(pb::AgentName { name: "crew".into() }).await.unwrap().into_inner().reach;
    assert_eq!((reach.len(), reach[0].scopes[0].lifetime_seconds), (1, 300));
    let delete = |cascade| pb::DeleteItemsRequest { ids: vec![id.clone()], cascade };
    assert_eq!(house.catalog().delete(delete(false)).await.unwrap_err().code(), Code::FailedPrecondition);
    let gone = house.catalog().delete(delete(true)).await.unwrap().into_inner();
    assert_eq!((gone.removed.len(), gone.entries), (2, 0));
    assert_eq!(house.catalog().show(id).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let house = House::new();
    house.make(agent("crew", "payments")).await.unwrap();
    for (wrong, code) in [
        (None, Code::InvalidArgument),
        (Some(pb::Item { item: None }), Code::InvalidArgument),
        (agent("Crew", "o"), Code::InvalidArgument),
        (agent("crew", "o"), Code::AlreadyExists),
        (grant("crew", "none"), Code::NotFound),
    ] {
        assert_eq!(house.make(wrong).await.unwrap_err().code(), code);
    }
    let name = |name: &str| pb::AgentName { name: name.into() };
    assert_eq!(house.catalog().suspend(name("none")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(house.catalog().reach(name("none")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(house.catalog().suspend(name(&"x".repeat(10_240))).await.unwrap_err().code(), Code::InvalidArgument);
    house.catalog().retire(name("crew")).await.unwrap();
    assert_eq!(house.catalog().resume(name("crew")).await.unwrap_err().code(), Code::FailedPrecondition);
    for kind in [0, 77] {
        let id = pb::ItemId { kind, name: "crew".into() };
        assert_eq!(house.catalog().show(id).await.unwrap_err().code(), Code::InvalidArgument);
        let list = pb::ListItemsRequest { kind, ..pb::ListItemsRequest::default() };
        assert_eq!(house.catalog().list(list).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let put = pb::PutItem { item: agent("new", "o"), new: true, expected_revision: 3 };
    let apply = pb::ApplyEntriesRequest { put: vec![put], ..pb::ApplyEntriesRequest::default() };
    assert_eq!(house.entries().apply(apply).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    let house = House::new();
    for name in ["c", "a", "b"] {
        house.make(agent(name, if name == "b" { "two" } else { "one" })).await.unwrap();
    }
    for name in ["mail", "shop"] {
        house.make(tool(name)).await.unwrap();
    }
    for (agent, tool) in [("c", "shop"), ("a", "shop"), ("a", "mail")] {
        house.make(grant(agent, tool)).await.unwrap();
    }
    house.catalog().suspend(pb::AgentName { name: "c".into() }).await.unwrap();
    let list = async |change: fn(&mut pb::ListItemsRequest)| {
        let mut request = pb::ListItemsRequest { kind: pb::ItemKind::Agent.into(), ..pb::ListItemsRequest::default() };
        change(&mut request);
        let answer = house.catalog().list(request).await.unwrap().into_inner();
        (names(&answer).join(" "), answer.next_page_token, answer.total)
    };
    let all = |names: &str, total| (names.to_owned(), String::new(), total);
    assert_eq!(list(|_| {}).await, all("a b c", 3));
    assert_eq!(list(|it| it.owner = "one".into()).await, all("a c", 2));
    assert_eq!(list(|it| it.state = "suspended".into()).await, all("c", 1));
    assert_eq!(list(|it| it.environment = "production".into()).await, all("", 0));
    assert_eq!(list(|it| it.count_only = true).await, all("", 3));
    assert_eq!(list(|it| it.page_size = 2).await, ("a b".into(), "b".into(), 3));
    assert_eq!(list(|it| (it.page_size, it.page_token) = (2, "b".into())).await, all("c", 3));
    // A page goes on where it ended, also when that one is gone.
    assert_eq!(list(|it| it.page_token = "aa".into()).await, all("b c", 3));
    let grants: fn(&mut pb::ListItemsRequest) = |it| it.kind = pb::ItemKind::Grant.into();
    assert_eq!(list(grants).await, all("a/mail a/shop c/shop", 3));
    let of_a: fn(&mut pb::ListItemsRequest) = |it| (it.kind, it.agent) = (pb::ItemKind::Grant.into(), "a".into());
    assert_eq!(list(of_a).await, all("a/mail a/shop", 2));
    let of_shop: fn(&mut pb::ListItemsRequest) = |it| (it.kind, it.tool) = (pb::ItemKind::Grant.into(), "shop".into());
    assert_eq!(list(of_shop).await, all("a/shop c/shop", 2));
    let tools: fn(&mut pb::ListItemsRequest) = |it| (it.kind, it.scope) = (pb::ItemKind::Tool.into(), "a".into());
    assert_eq!(list(tools).await, all("mail shop", 2));
    let wrong = pb::ListItemsRequest { kind: 1, state: "away".into(), ..pb::ListItemsRequest::default() };
    assert_eq!(house.catalog().list(wrong).await.unwrap_err().code(), Code::InvalidArgument);
}

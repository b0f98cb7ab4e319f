//! Agents, tools and grants: how they are written, and what hangs on what.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{entry, id};
use crate::oauth::target::Target;
use crate::registry::{
    Agent, AgentDraft, Band, Catalog, Change, Entry, Error, Flaw, Grant, GrantDraft, GrantId, Item, ItemDraft, ItemId,
    Label, Snapshot, State, Tool, ToolDraft,
};

pub(crate) fn agent(name: &str) -> Item {
    let draft = AgentDraft { name: name.into(), owner: "payments@example.org".into(), ..AgentDraft::default() };
    let created_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let spec = draft.check().unwrap();
    Item::Agent(Agent {
        spec,
        state: State::Active,
        created_by: 1000,
        created_at,
        revoked_before: SystemTime::UNIX_EPOCH,
        revision: 1,
    })
}

fn tool_draft(name: &str) -> ToolDraft {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(one, two)| ((*one).into(), (*two).into())).collect();
    ToolDraft {
        name: name.into(),
        audience: format!("https://{name}.example.org"),
        base_urls: vec![format!("https://{name}.example.org/api")],
        scopes: pairs(&[("orders:read", "read"), ("orders:write", "write")]),
        routes: pairs(&[("GET /orders/*", "orders:read"), ("POST /orders", "orders:write")]),
        encoded_slash: false,
    }
}

pub(crate) fn tool(name: &str) -> Item {
    Item::Tool(Tool { spec: tool_draft(name).check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 1 })
}

pub(crate) fn grant(agent: &str, tool: &str, scopes: &[&str]) -> Item {
    let scopes = scopes.iter().map(|scope| (*scope).into()).collect();
    let draft = GrantDraft { agent: agent.into(), tool: tool.into(), scopes, ..GrantDraft::default() };
    Item::Grant(Grant { spec: draft.check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 1 })
}

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn grant_id(agent: &str, tool: &str) -> GrantId {
    GrantId { agent: label(agent), tool: label(tool) }
}

fn put(item: Item) -> Change {
    Change::Put(item)
}

/// One agent with one tool.
fn catalog() -> Catalog {
    let (catalog, left_out) = Catalog::build([grant("crew", "shop", &["orders:read"]), tool("shop"), agent("crew")]);
    assert_eq!(left_out, []);
    catalog
}

fn told(draft: ItemDraft) -> Vec<String> {
    draft.check().expect_err("the draft is good").iter().map(Flaw::to_string).collect()
}

#[test]
fn what_is_there_is_found_by_all_its_names() {
    let catalog = catalog();
    assert_eq!(catalog.agent("crew").unwrap().state, State::Active);
    assert_eq!(catalog.tool_of("https://shop.example.org").unwrap().spec.name.as_str(), "shop");
    assert!(catalog.tool_of("https://shop.example.org/").is_none(), "octet by octet");
    let grant = catalog.grant("crew", "shop").unwrap();
    assert!(grant.spec.has("orders:read") && !grant.spec.has("orders:write"));
    assert_eq!(catalog.grants("crew").len(), 1);
    assert_eq!(catalog.grants("nobody"), []);
    assert!(catalog.grant("crew", "other").is_none() && catalog.tool("other").is_none());
    assert_eq!(catalog.tool("shop").unwrap().spec.band("orders:write"), Some(Band::Write));
}

#[test]
fn a_url_is_of_the_longest_base_that_ends_where_a_segment_does() {
    let (mut wide, mut deep) = (tool_draft("wide"), tool_draft("deep"));
    wide.base_urls = vec!["https://EXAMPLE.org:443/".into()];
    deep.base_urls = vec!["https://example.org/a/b".into(), "https://[::1]:8443".into()];
    let tools = [wide, deep].map(|draft| {
        Item::Tool(Tool { spec: draft.check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 1 })
    });
    let (catalog, _) = Catalog::build(tools);
    let found = |origin: &str, path: &str| {
        let target = Target::parse(&format!("{origin}{path}")).unwrap();
        catalog.tool_at(&target).map(|(tool, below)| (tool.spec.name.to_string(), below.to_owned()))
    };
    let is = |name: &str, below: &str| Some((name.to_owned(), below.to_owned()));
    assert_eq!(found("https://example.org", "/a/b/c"), is("deep", "/c"));
    assert_eq!(found("https://example.org", "/a/b/"), is("deep", "/"));
    assert_eq!(found("https://example.org", "/a/b"), is("deep", "/"));
    assert_eq!(found("https://example.org", "/a/bc"), is("wide", "/a/bc"));
    assert_eq!(found("https://example.org", "/"), is("wide", "/"));
    assert_eq!(found("https://[::1]:8443", "/x"), is("deep", "/x"));
    assert_eq!(found("http://example.org", "/a/b"), None);
    assert_eq!(found("https://example.org", &"/x".repeat(4_000)).unwrap().0, "wide");
}

#[test]
fn the_most_precise_route_says_the_scope() {
    let mut draft = tool_draft("shop");
    draft.scopes = ["any", "one", "new", "deep", "root"].map(|name| (name.into(), "read".into())).to_vec();
    draft.routes = [
        ("GET /*", "any"),
        ("GET /orders/*", "one"),
        ("GET /orders/new", "new"),
        ("GET /*/items/*", "deep"),
        ("GET /", "root"),
    ]
    .map(|(route, scope)| (route.into(), scope.into()))
    .to_vec();
    for reversed in [false, true] {
        if reversed {
            draft.routes.reverse();
        }
        let spec = draft.clone().check().unwrap();
        let scope = |path: &str| spec.scope_of("GET", path).map(ToString::to_string);
        let is = |scope: &str| Some(scope.to_owned());
        assert_eq!(scope("/orders/new"), is("new"));
        assert_eq!(scope("/orders/7"), is("one"));
        assert_eq!(scope("/orders/7/items/1"), is("one"), "a literal first segment says more");
        assert_eq!(scope("/carts/items/1"), is("deep"));
        assert_eq!(scope("/carts"), is("any"));
        assert_eq!(scope("/"), is("root"));
        assert_eq!(scope("/orders/"), None, "`*` is no empty segment");
        assert_eq!(scope("/Orders/new"), is("any"));
        assert_eq!(spec.scope_of("HEAD", "/orders/new"), None);
    }
}

#[test]
fn what_hangs_on_something_keeps_it() {
    let catalog = catalog();
    let agent_id = ItemId::Agent(label("crew"));
    let error = catalog.apply(&[Change::Remove(agent_id.clone())]).unwrap_err();
    assert_eq!(error.to_string(), "the agent crew cannot be removed: the grant crew/shop would be left without it");
    let tool_id = ItemId::Tool(label("shop"));
    let error = catalog.apply(&[Change::Remove(tool_id.clone())]).unwrap_err();
    assert!(matches!(&error, Error::InUse { item, .. } if *item == tool_id), "{error}");
    // In one order they may go together, whatever comes first.
    let grant_id = ItemId::Grant(grant_id("crew", "shop"));
    let gone = catalog.apply(&[agent_id, tool_id, grant_id].map(Change::Remove)).unwrap();
    assert_eq!((gone.counts(), gone.agents().count(), gone.tools().count()), (Default::default(), 0, 0));
    assert!(gone.tool_of("https://shop.example.org").is_none());
    assert_eq!(catalog.counts().grants, 1, "the one before is as it was");
}

#[test]
fn what_names_something_that_is_not_there_is_refused() {
    let catalog = catalog();
    let refused = |changes: &[Change]| catalog.apply(changes).unwrap_err().to_string();
    assert_eq!(refused(&[put(grant("nobody", "shop", &["orders:read"]))]), "there is no agent nobody");
    assert_eq!(refused(&[put(grant("crew", "none", &["orders:read"]))]), "there is no tool none");
    assert_eq!(
        refused(&[put(grant("crew", "shop", &["orders:burn"]))]),
        "the grant crew/shop names the scope `orders:burn`, which its tool does not have"
    );
    assert_eq!(refused(&[Change::Remove(ItemId::Grant(grant_id("crew", "none")))]), "there is no grant crew/none");
    assert_eq!(refused(&[Change::Remove(ItemId::Tool(label("none")))]), "there is no tool none");
    assert_eq!(refused(&[Change::Remove(ItemId::Agent(label("none")))]), "there is no agent none");
    // A tool cannot lose a scope that somebody is granted.
    let mut draft = tool_draft("shop");
    (draft.scopes, draft.routes) = (vec![("orders:write".into(), "write".into())], Vec::new());
    let smaller = Item::Tool(Tool { spec: draft.check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 2 });
    assert!(refused(&[put(smaller.clone())]).contains("the grant crew/shop names the scope `orders:read`"));
    // Nothing hinders it together with the grant.
    catalog.apply(&[put(smaller), put(grant("crew", "shop", &["orders:write"]))]).unwrap();
}

#[test]
fn audiences_and_urls_are_one_tools_only() {
    let with = |name: &str, change: fn(&mut ToolDraft)| {
        let mut draft = tool_draft(name);
        change(&mut draft);
        put(Item::Tool(Tool { spec: draft.check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 1 }))
    };
    let (catalog, _) = Catalog::build([tool("shop"), tool("mail")]);
    let error = catalog.apply(&[with("new", |it| it.audience = "https://shop.example.org".into())]).unwrap_err();
    assert_eq!(error.to_string(), "the tool shop has the audience `https://shop.example.org`");
    let url: fn(&mut ToolDraft) = |it| it.base_urls = vec!["https://SHOP.example.org:443/api/".into()];
    let error = catalog.apply(&[with("new", url)]).unwrap_err();
    assert_eq!(error.to_string(), "the tool shop has the base URL `https://shop.example.org/api`");
    // Two tools may change places in one order.
    let swapped = catalog.apply(&[
        with("shop", |it| it.audience = "https://mail.example.org".into()),
        with("mail", |it| it.audience = "https://shop.example.org".into()),
    ]);
    assert_eq!(swapped.unwrap().tool_of("https://mail.example.org").unwrap().spec.name.as_str(), "shop");
}

#[test]
fn an_entry_needs_its_agent() {
    let of = |number, agent: &str| {
        let mut entry = entry(number, &format!("n{number}"), &["unix:uid:1"]);
        entry.spec.agent = Some(label(agent));
        entry
    };
    let snapshot = Snapshot::build(1, []).with_catalog(catalog());
    let error = snapshot.apply(2, &[Change::Create(of(1, "nobody"))]).unwrap_err();
    assert_eq!(error.to_string(), "there is no agent nobody for the entry to belong to");
    let snapshot = snapshot.apply(2, &[Change::Create(of(1, "crew"))]).unwrap();
    let free = Entry { spec: super::spec("n1", &["unix:uid:1"]), ..of(1, "crew") };
    let error = snapshot.apply(3, &[Change::Update(of(1, "nobody"))]).unwrap_err();
    assert_eq!(error, Error::UnknownAgent(label("nobody")));
    let remove =
        || [Change::Remove(ItemId::Grant(grant_id("crew", "shop"))), Change::Remove(ItemId::Agent(label("crew")))];
    let error = snapshot.apply(3, &remove()).unwrap_err().to_string();
    assert_eq!(error, format!("the agent crew cannot be removed: the entry {} would be left without it", id(1)));
    // The entry may go with it, or stay without it.
    for change in [Change::Delete(id(1)), Change::Update(free)] {
        let changes = [remove().to_vec(), vec![change]].concat();
        assert_eq!(snapshot.apply(3, &changes).unwrap().catalog().counts().agents, 0);
    }
    // And a new filing keeps the catalog.
    let many: Vec<_> = (10..5_000).map(|number| Change::Create(of(number, "crew"))).collect();
    assert!(snapshot.apply(3, &many).unwrap().catalog().agent("crew").is_some());
}

#[test]
fn there_is_an_end_to_agents_tools_and_grants() {
    let agents = (0..Catalog::AGENTS_MAX).map(|number| agent(&format!("a{number}")));
    let (catalog, left_out) = Catalog::build(agents);
    assert_eq!((catalog.counts().agents, left_out.len()), (Catalog::AGENTS_MAX, 0));
    let error = catalog.apply(&[put(agent("more"))]).unwrap_err();
    assert_eq!(error.to_string(), "there would be more than 100000 agents, which is the most");
    catalog.apply(&[put(agent("more")), Change::Remove(ItemId::Agent(label("a1")))]).unwrap();

    let (catalog, _) = Catalog::build((0..Catalog::TOOLS_MAX).map(|number| tool(&format!("t{number}"))));
    let error = catalog.apply(&[put(tool("more"))]).unwrap_err();
    assert_eq!(error, Error::TooMany { what: "tools", max: Catalog::TOOLS_MAX });
    catalog.apply(&[put(tool("t1"))]).unwrap();

    let grants =
        (0..Catalog::GRANTS_PER_AGENT_MAX).map(|number| put(grant("a", &format!("t{number}"), &["orders:read"])));
    let full = catalog.apply(&[vec![put(agent("a"))], grants.collect()].concat()).unwrap();
    let error = full.apply(&[put(grant("a", "t256", &["orders:read"]))]).unwrap_err();
    assert_eq!(error, Error::TooMany { what: "grants of one agent", max: 256 });
    full.apply(&[put(grant("a", "t255", &["orders:write"]))]).unwrap();
    // Only the first of those who need something are named.
    let error = full.apply(&[Change::Remove(ItemId::Agent(label("a")))]).unwrap_err().to_string();
    assert!(error.contains("the grant a/t0, ") && error.contains(" and 236 more would be left without it"), "{error}");
}

#[test]
fn a_change_shares_what_it_does_not_touch() {
    let mut items: Vec<_> = (0..1_000).map(|number| agent(&format!("a{number}"))).collect();
    items.push(tool("shop"));
    items.extend((0..1_000).map(|number| grant(&format!("a{number}"), "shop", &["orders:read"])));
    let (before, _) = Catalog::build(items);
    let after = before.apply(&[put(grant("a7", "shop", &["orders:write"]))]).unwrap();
    let same = |name: &str| Arc::ptr_eq(before.grant(name, "shop").unwrap(), after.grant(name, "shop").unwrap());
    assert!(!same("a7") && (0..1_000).filter(|number| *number != 7).all(|number| same(&format!("a{number}"))));
    // A grant says its names and scopes in the words of the agent and the tool.
    let (grant, tool) = (after.grant("a7", "shop").unwrap(), after.tool("shop").unwrap());
    assert_eq!(grant.spec.id.tool.as_str().as_ptr(), tool.spec.name.as_str().as_ptr());
    assert_eq!(grant.spec.scopes[0].as_str().as_ptr(), tool.spec.scopes[1].0.as_str().as_ptr());
}

#[test]
fn what_lost_what_it_needs_is_left_out_and_named() {
    let (catalog, left_out) = Catalog::build([agent("crew"), grant("crew", "shop", &["orders:read"])]);
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0].0.to_string(), "grant crew/shop");
    assert_eq!(catalog.counts().grants, 0);
}

#[test]
fn what_is_wrong_is_told_in_clear_words() {
    let long = "x".repeat(10_240);
    let agent = |change: &dyn Fn(&mut AgentDraft)| {
        let mut draft = AgentDraft { name: "crew".into(), owner: "o".into(), ..AgentDraft::default() };
        change(&mut draft);
        ItemDraft::Agent(draft)
    };
    let tool = |change: &dyn Fn(&mut ToolDraft)| {
        let mut draft = tool_draft("shop");
        change(&mut draft);
        ItemDraft::Tool(draft)
    };
    let grant = |change: &dyn Fn(&mut GrantDraft)| {
        let mut draft =
            GrantDraft { agent: "a".into(), tool: "t".into(), scopes: vec!["s".into()], ..GrantDraft::default() };
        change(&mut draft);
        ItemDraft::Grant(draft)
    };
    let url = |url: &str| tool(&|it| it.base_urls = vec![url.into()]);
    let audience = |audience: &str| tool(&|it| it.audience = audience.into());
    let route = |route: &str| tool(&|it| it.routes = vec![(route.into(), "orders:read".into())]);
    let table = [
        // Names
        (agent(&|it| it.name = String::new()), "the agent name is missing"),
        (agent(&|it| it.name = "сrew".into()), "it has the character U+0441, only a-z 0-9 - are allowed"),
        (agent(&|it| it.name = "Crew".into()), "it has `C`, only"),
        (agent(&|it| it.name = "cr\u{0}ew".into()), "it has the character U+0000, only"),
        (agent(&|it| it.name = "cr ew".into()), "it has the character U+0020, only"),
        (agent(&|it| it.name = "-crew".into()), "it begins with `-`"),
        (agent(&|it| it.name = "x".repeat(64)), "it has 64 bytes, at most 63 are allowed"),
        (agent(&|it| it.name = long.clone()), "it has 10240 bytes, at most 63 are allowed"),
        // The rest of an agent
        (agent(&|it| it.owner = String::new()), "the owner is missing"),
        (agent(&|it| it.owner = "pаyments".into()), "it has the character U+0430, only printable ASCII is allowed"),
        (agent(&|it| it.owner = "a\nb".into()), "it has the character U+000A, only printable ASCII is allowed"),
        (agent(&|it| it.owner = " a".into()), "it begins or ends with a space"),
        (agent(&|it| it.owner = "x".repeat(201)), "it has 201 bytes, at most 200 are allowed"),
        (agent(&|it| it.purpose = long.clone()), "it has 10240 bytes, at most 500 are allowed"),
        (agent(&|it| it.purpose = "a\u{202e}b".into()), "it has the character U+202E, which cannot be seen"),
        (agent(&|it| it.purpose = "a\u{1b}[2Jb".into()), "it has the character U+001B, which cannot be seen"),
        (agent(&|it| it.environment = "Production".into()), "the environment `Production` is not valid"),
        (agent(&|it| it.data_class = "a/b".into()), "the data class `a/b` is not valid: it has `/`"),
        (agent(&|it| it.review_by = u64::MAX), "the review-by time of 18446744073709551615 is out of range"),
        // Audiences
        (audience(""), "the audience is missing"),
        (audience("shop"), "it must be an absolute URI"),
        (audience("https://"), "it must be an absolute URI"),
        (audience("1a:b"), "it must be an absolute URI"),
        (audience("https://a#b"), "it has a fragment"),
        (audience("https://a b"), "it has the character U+0020, which stands in no URI"),
        (audience("https://ä.org"), "it has the character U+00E4"),
        (audience("https://a/%g0"), "it has a `%` without two hexadecimal digits"),
        (audience(&format!("https://{long}")), "it has 10248 bytes, at most 256 are allowed"),
        // Base URLs
        (url(""), "the URL does not begin with http:// or https://"),
        (url("ftp://a"), "the URL does not begin with http:// or https://"),
        (url("https:///a"), "the URL's host is empty"),
        (url("https://u@a"), "the URL has a user name"),
        (url("https://a/?b"), "the URL has a query"),
        (url("https://a/b#c"), "the URL has a fragment"),
        (url("https://a/%41"), "the URL has a `%`"),
        (url("https://a/b/../c"), "the URL's path has a segment `.` or `..`"),
        (url("https://a//c"), "the URL's path has an empty segment"),
        (url("https://a/b;c"), "the URL's path has a semicolon"),
        (url("https://a/b\\c"), "the URL's path has a backslash"),
        (url("https://a:0"), "the URL's port is not a number from 1 to 65535"),
        (url("https://аpi.org"), "not one that every parser reads alike"),
        (url("https://127.1"), "not one that every parser reads alike"),
        (url(&format!("https://a{}", "/b".repeat(17))), "its path has more than 16 segments"),
        (url(&format!("https://a/{long}")), "it has 10250 bytes, at most 512 are allowed"),
        // Scopes and bands
        (tool(&|it| (it.scopes, it.routes) = Default::default()), "the scope is missing"),
        (tool(&|it| it.scopes.push(("x".into(), "admin".into()))), "it must be read, write, delete, send or deploy"),
        (tool(&|it| it.scopes.push(("a b".into(), "read".into()))), "it has the character U+0020; printable ASCII"),
        (tool(&|it| it.scopes.push(("a\"b".into(), "read".into()))), "it has `\"`; printable ASCII"),
        (tool(&|it| it.scopes.push(("x".repeat(65), "read".into()))), "it has 65 bytes, at most 64 are allowed"),
        (tool(&|it| it.scopes.push(("orders:read".into(), "write".into()))), "the scope `orders:read` is there twice"),
        // Routes
        (route("get /a"), "the route's method is not a name in upper-case letters"),
        (route("GET a"), "the route is not METHOD /path"),
        (route("GET /a*"), "the route has `*` as a part of a segment"),
        (route("GET /../b"), "the route's path is none that a request can have"),
        (route(&format!("GET /{long}")), "the route has 10245 bytes, at most 512 are allowed"),
        (tool(&|it| it.routes[0].1 = "none".into()), "the tool has no scope `none`"),
        (tool(&|it| it.routes = vec![it.routes[0].clone(); 2]), "the route `GET /orders/*` is there twice"),
        // Grants
        (grant(&|it| it.agent = String::new()), "the agent is missing"),
        (grant(&|it| it.tool = "T".into()), "the tool `T` is not valid"),
        (grant(&|it| it.scopes.clear()), "the scope is missing"),
        (grant(&|it| it.scopes = vec!["a".into(); 2]), "the scope `a` is there twice"),
        (grant(&|it| it.datasets = vec!["a b".into()]), "it has a space"),
        (grant(&|it| it.datasets = vec![String::new()]), "the name of a data set is missing"),
        (grant(&|it| it.datasets = vec!["ü".into()]), "it has the character U+00FC, only printable ASCII is allowed"),
        (grant(&|it| it.ttl_max_seconds = 3_601), "the ttl max in seconds of 3601 is out of range: 1 to 3600"),
        (grant(&|it| it.rate_per_minute = u64::MAX), "is out of range: 1 to 1000000"),
    ];
    for (draft, words) in table {
        let shown = format!("{draft:?}");
        let told = told(draft);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(words), "{told:?} has no `{words}`, {}", &shown[..shown.floor_char_boundary(300)]);
        assert!(told[0].len() < 500 && !told[0].contains(char::is_control), "{told:?}");
    }
}

#[test]
fn lists_of_tools_and_grants_have_limits() {
    let pairs = |most: usize, one: &dyn Fn(usize) -> String, two: &str| {
        (0..most).map(|number| (one(number), two.to_owned())).collect::<Vec<_>>()
    };
    let route = |number| format!("GET /{number}");
    let name = |number| format!("s{number}");
    let url = |number| format!("https://u{number}.example.org");
    let mut full = tool_draft("shop");
    full.scopes = pairs(ToolDraft::SCOPES_MAX, &name, "read");
    full.routes = pairs(ToolDraft::ROUTES_MAX, &route, "s0");
    full.base_urls = (0..ToolDraft::URLS_MAX).map(url).collect();
    full.clone().check().unwrap();
    let mut over = full;
    over.base_urls.push(url(99));
    over.scopes.push((name(999), "read".into()));
    over.routes.push((route(999), "s0".into()));
    let words = told(ItemDraft::Tool(over));
    assert_eq!(
        words,
        [
            "there are 17 base URLs, at most 16 are allowed",
            "there are 129 scopes, at most 128 are allowed",
            "there are 257 routes, at most 256 are allowed"
        ]
    );

    let mut full = GrantDraft { agent: "a".into(), tool: "t".into(), ..GrantDraft::default() };
    full.scopes = (0..GrantDraft::SCOPES_MAX).map(|number| format!("s{number:05}")).collect();
    full.datasets = (0..GrantDraft::DATASETS_MAX).map(|number| format!("d{number}")).collect();
    full.clone().check().unwrap();
    let over = GrantDraft {
        scopes: (0..65).map(|number| format!("s{number}")).collect(),
        datasets: (0..65).map(|number| format!("d{number}")).collect(),
        ..full.clone()
    };
    let words = told(ItemDraft::Grant(over));
    assert_eq!(
        words,
        ["there are 65 scopes, at most 64 are allowed", "there are 65 data sets, at most 64 are allowed"]
    );
    // Together they must have room in a token.
    let wide = GrantDraft { scopes: (0..10).map(|number| format!("{number:051}")).collect(), ..full };
    assert_eq!(told(ItemDraft::Grant(wide)), ["there are 519 bytes of scopes, at most 512 are allowed"]);
}

#[test]
fn what_was_checked_passes_again() {
    for item in [agent("crew"), tool("shop"), grant("crew", "shop", &["b", "a"])] {
        let draft = item.draft();
        let again = draft.clone().check().unwrap();
        assert_eq!(again.id(), item.id());
        let same = match (&item, again) {
            (Item::Agent(one), crate::registry::ItemSpec::Agent(two)) => one.spec == two,
            (Item::Tool(one), crate::registry::ItemSpec::Tool(two)) => one.spec == two,
            (Item::Grant(one), crate::registry::ItemSpec::Grant(two)) => one.spec == two,
            _ => false,
        };
        assert!(same, "{draft:?}");
    }
}

#[test]
fn a_band_and_a_grant_cap_the_lifetime() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let lifetime = |ttl, band| {
        let draft = GrantDraft {
            agent: "a".into(),
            tool: "t".into(),
            scopes: vec!["s".into()],
            ttl_max_seconds: ttl,
            ..GrantDraft::default()
        };
        draft.check().unwrap().lifetime_max(band)
    };
    assert_eq!((lifetime(0, Band::Read), lifetime(0, Band::Write)), (minutes(15), minutes(5)));
    assert_eq!((lifetime(3_600, Band::Read), lifetime(3_600, Band::Deploy)), (minutes(60), minutes(15)));
    assert_eq!((lifetime(1, Band::Read), lifetime(1, Band::Send)), (Duration::from_secs(1), Duration::from_secs(1)));
}

//! Access tokens for this process, which is an agent as far as its entries say so.

mod exchange;

use std::sync::Mutex;

use super::{changes::owned, *};
use crate::{
    authority::{self, AccessToken},
    issuance::{AccessAsked, Audiences, Malformed, Ungranted, Wanted},
    oauth::{Thumbprint, access::Unverified, freshness::Refused, replay},
    registry::{
        Agent, AgentDraft, Catalog, Grant, GrantDraft, Item, Revocations, Revoked, RevokedId, State, Tool, ToolDraft,
    },
};

pub(crate) const ORDERS: &str = "https://orders.example.org";
const BILLING: &str = "https://billing.example.org";
const SECONDS_5_MIN: Duration = Duration::from_secs(300);

fn uid() -> u32 {
    nix::unistd::getuid().as_raw()
}

/// The thumbprint of RFC 9449's key.
fn holder() -> Thumbprint {
    Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap()
}

fn agent(name: &str, state: State) -> Item {
    let draft = AgentDraft { name: name.into(), owner: "ops".into(), ..AgentDraft::default() };
    let spec = draft.check().unwrap();
    Item::Agent(Agent {
        spec,
        state,
        created_by: 0,
        created_at: SystemTime::UNIX_EPOCH,
        revoked_before: SystemTime::UNIX_EPOCH,
        revision: 1,
    })
}

fn tool(name: &str, audience: &str) -> Item {
    let scopes = [("read", "read"), ("list", "read"), ("write", "write")];
    let scopes = scopes.map(|(name, band)| (name.to_owned(), band.to_owned())).to_vec();
    let draft = ToolDraft { name: name.into(), audience: audience.into(), scopes, ..ToolDraft::default() };
    Item::Tool(Tool { spec: draft.check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 1 })
}

fn right(agent: &str, tool: &str, scopes: &[&str], rate_per_minute: u64) -> Item {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let draft = GrantDraft { agent: agent.into(), tool: tool.into(), scopes, rate_per_minute, ..GrantDraft::default() };
    Item::Grant(Grant { spec: draft.check().unwrap(), created_at: SystemTime::UNIX_EPOCH, revision: 1 })
}

/// An entry of this process whose number is its age, of an agent or of none.
fn entry_of(number: u8, name: &str, agent: &str) -> Arc<Entry> {
    let draft = Draft { agent: agent.into(), ..draft(name, uid()) };
    let spec = draft.check(&trust_domain()).unwrap();
    let created_at = SystemTime::UNIX_EPOCH + u32::from(number) * SECOND;
    Arc::new(Entry { id: EntryId::from_random([number; 16]), spec, revision: 1, created_at, since: created_at })
}

fn said(entries: Vec<Arc<Entry>>, items: Vec<Item>) -> Arc<Snapshot> {
    let (catalog, left_out) = Catalog::build(items);
    assert!(left_out.is_empty(), "{left_out:?}");
    Arc::new(Snapshot::build(2, entries).with_catalog(catalog))
}

/// The agent `crew`, which may read and write orders.
fn crew(state: State, rate: u64) -> Arc<Snapshot> {
    let items = vec![
        agent("crew", state),
        tool("orders", ORDERS),
        tool("billing", BILLING),
        right("crew", "orders", &["read", "write"], rate),
    ];
    said(vec![entry_of(1, "crew/a", "crew")], items)
}

/// The agents `crew` and `night`, which may both read orders.
fn two_agents() -> Vec<Item> {
    let names = ["crew", "night"];
    let mut items = names.map(|name| agent(name, State::Active)).to_vec();
    items.push(tool("orders", ORDERS));
    items.extend(names.map(|name| right(name, "orders", &["read"], 0)));
    items
}

/// A scene where the process is that agent.
pub(crate) async fn scene(rate: u64) -> Option<Scene> {
    let scene = owned().await?;
    scene.registry.send_replace(crew(State::Active, rate));
    Some(scene)
}

fn asked(client_id: &str, audience: &str, scope: &str) -> AccessAsked {
    AccessAsked::new(client_id, [audience], scope, 0).unwrap()
}

async fn get(scene: &Scene, asked: &AccessAsked) -> Result<AccessToken, Ungranted> {
    scene.issuer.access(&scene.caller, asked, holder(), || Ok(()), || Ok(())).await
}

fn text(token: &AccessToken) -> &str {
    std::str::from_utf8(token.token.text.expose()).unwrap()
}

/// Whoever is refused has not used its proof, and a proof that is refused has nothing signed or taken from the rate.
#[tokio::test(start_paused = true)]
async fn the_proof_is_taken_when_all_else_is_granted_and_before_anything_is_signed() {
    let Some(scene) = scene(1).await else { return };
    let take = |asked: AccessAsked, outcome: Result<(), Refused>| {
        let scene = &scene;
        async move {
            let mut taken = 0;
            let token = scene.issuer.access(
                &scene.caller,
                &asked,
                holder(),
                || {
                    taken += 1;
                    outcome
                },
                || Ok(()),
            );
            (token.await.map(drop), taken)
        }
    };
    let (refused, taken) = take(asked("", ORDERS, "delete"), Ok(())).await;
    assert!(matches!(refused, Err(Ungranted::Scope)) && taken == 0);
    let used = Refused::Replay(replay::Refused::Replayed);
    let (refused, taken) = take(asked("", ORDERS, ""), Err(used.clone())).await;
    assert!(matches!(refused, Err(Ungranted::Proof(why)) if why == used) && taken == 1);
    assert!(records(&scene, "issued").is_empty());
    let last = records(&scene, "refused").pop().unwrap();
    assert_eq!(last["reasons"], serde_json::json!(["proof_replayed"]));
    let (given, taken) = take(asked("", ORDERS, ""), Ok(())).await;
    assert!(given.is_ok() && taken == 1, "the rate had one left");
}

#[tokio::test(start_paused = true)]
async fn an_agent_has_a_token_for_its_tool_and_its_key_and_it_is_recorded() {
    let Some(scene) = scene(0).await else { return };
    let token = get(&scene, &asked("", ORDERS, "read delete")).await.unwrap();
    let now = scene.clock.now();
    let keyring = scene.keyring.borrow().clone();
    let claims = Unverified::parse(text(&token)).unwrap().verify(ISSUER, keyring.access().unwrap().bundle()).unwrap();
    claims.check(ORDERS, now).unwrap();
    assert_eq!((claims.subject.name(), claims.client.as_str()), ("spiffe://example.org/crew/a", "crew"));
    assert_eq!((claims.scopes.to_string(), claims.key, claims.session), ("read".into(), holder(), None));
    assert_eq!(claims.expires_at.duration_since(claims.issued_at).unwrap(), Duration::from_secs(900));
    assert_eq!(token.lifetime(), Duration::from_secs(900));
    assert!(
        text(&token).len() <= 2_048
            && text(&token).starts_with("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6ImRmbHkt")
    );
    let records = records(&scene, "issued");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    let identity = &record["identities"][0];
    assert_eq!((record["credential"].as_str(), record["renewal"].as_bool()), (Some("access-token"), Some(false)));
    assert_eq!(identity["spiffe_id"], "spiffe://example.org/crew/a");
    assert_eq!(identity["serial"], claims.token_id.to_string());
    let told = serde_json::json!({
        "agent": "crew", "tool": "orders", "scopes": ["read"], "jkt": holder().to_string(), "lifetime_seconds": 900
    });
    assert_eq!(identity["access"], told);
    let line = record.to_string();
    assert!(!line.contains(text(&token).rsplit('.').next().unwrap()), "a signature is in the log");
}

#[tokio::test(start_paused = true)]
async fn without_a_scope_it_has_all_and_the_strictest_band_says_how_long() {
    let Some(scene) = scene(0).await else { return };
    let token = get(&scene, &asked("crew", ORDERS, "")).await.unwrap();
    let scopes: Vec<_> = token.scopes.iter().map(ToString::to_string).collect();
    assert_eq!((scopes, token.lifetime()), (vec!["read".to_owned(), "write".into()], SECONDS_5_MIN));
    let shorter = AccessAsked::new("", [ORDERS], "", 60).unwrap();
    assert_eq!(get(&scene, &shorter).await.unwrap().lifetime(), Duration::from_secs(60));
    let ids: std::collections::HashSet<_> =
        [token.token.serial, get(&scene, &shorter).await.unwrap().token.serial].into();
    assert_eq!(ids.len(), 2);
}

/// What is refused, which answer it gets, and what the log says.
#[tokio::test(start_paused = true)]
async fn each_refusal_has_its_answer_and_its_record() {
    let stranger = |number| {
        let spec = draft("x", uid() + 1).check(&trust_domain()).unwrap();
        let id = EntryId::from_random([number; 16]);
        Arc::new(Entry { id, spec, revision: 1, created_at: SystemTime::UNIX_EPOCH, since: SystemTime::UNIX_EPOCH })
    };
    type Is = fn(&Ungranted) -> bool;
    let rows: [(Arc<Snapshot>, AccessAsked, Is, &[&str]); 10] = [
        (said(vec![stranger(3)], vec![]), asked("", ORDERS, ""), |it| matches!(it, Ungranted::NoAgent), &["no_entry"]),
        (
            said(vec![entry_of(1, "web", "")], vec![agent("crew", State::Active), tool("orders", ORDERS)]),
            asked("crew", ORDERS, ""),
            |it| matches!(it, Ungranted::NoAgent),
            &["no_agent"],
        ),
        (
            crew(State::Active, 0),
            asked("billing", ORDERS, ""),
            |it| matches!(it, Ungranted::NoAgent),
            &["not_its_agent"],
        ),
        (
            crew(State::Suspended, 0),
            asked("", ORDERS, ""),
            |it| matches!(it, Ungranted::Inactive),
            &["agent_suspended"],
        ),
        (
            crew(State::Retired, 0),
            asked("crew", BILLING, ""),
            |it| matches!(it, Ungranted::Inactive),
            &["agent_retired", "no_grant"],
        ),
        (
            crew(State::Active, 0),
            asked("", "https://unknown.example.org", ""),
            |it| matches!(it, Ungranted::Target),
            &["unknown_tool"],
        ),
        (
            crew(State::Active, 0),
            asked("", &format!("{ORDERS}/"), ""),
            |it| matches!(it, Ungranted::Target),
            &["unknown_tool"],
        ),
        (crew(State::Active, 0), asked("", BILLING, ""), |it| matches!(it, Ungranted::Target), &["no_grant"]),
        (
            crew(State::Active, 0),
            asked("", ORDERS, "list delete"),
            |it| matches!(it, Ungranted::Scope),
            &["scope_not_granted"],
        ),
        (
            crew(State::Suspended, 0),
            asked("", ORDERS, "list"),
            |it| matches!(it, Ungranted::Inactive),
            &["agent_suspended", "scope_not_granted"],
        ),
    ];
    let Some(scene) = scene(0).await else { return };
    for (at, (snapshot, asked, is_answer, codes)) in rows.into_iter().enumerate() {
        scene.registry.send_replace(snapshot);
        let refused = get(&scene, &asked).await.unwrap_err();
        assert!(is_answer(&refused), "{codes:?}: {refused:?}");
        let records = records(&scene, "refused");
        let record = records.last().unwrap();
        assert_eq!((records.len(), &record["what"]), (at + 1, &serde_json::json!("access-token")));
        assert_eq!(record["reasons"], serde_json::json!(codes));
    }
    assert!(records(&scene, "issued").is_empty());
    let unknown = records(&scene, "refused").into_iter().find(|record| record["reasons"][0] == "unknown_tool").unwrap();
    assert!(unknown["detail"].as_str().unwrap().contains("`https://unknown.example.org`"), "{unknown}");
}

#[tokio::test(start_paused = true)]
async fn of_several_agents_it_is_the_one_it_says_or_that_of_the_oldest_entry() {
    let Some(scene) = scene(0).await else { return };
    let entries = [
        entry_of(1, "plain", ""),
        entry_of(2, "night/a", "night"),
        entry_of(3, "crew/a", "crew"),
        entry_of(4, "night/b", "night"),
    ];
    scene.registry.send_replace(said(entries.to_vec(), two_agents()));
    for (client_id, name, id) in [
        ("", "night", "spiffe://example.org/night/a"),
        ("night", "night", "spiffe://example.org/night/a"),
        ("crew", "crew", "spiffe://example.org/crew/a"),
    ] {
        let token = get(&scene, &asked(client_id, ORDERS, "")).await.unwrap();
        assert_eq!((token.agent.as_str(), token.token.id.as_str()), (name, id), "{client_id}");
    }
    let refused = get(&scene, &asked("Crew", ORDERS, "")).await.unwrap_err();
    assert!(matches!(refused, Ungranted::NoAgent), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_grants_rate_counts_what_was_issued_and_comes_back_evenly() {
    let Some(scene) = scene(3).await else { return };
    let good = asked("", ORDERS, "read");
    for _ in 0..5 {
        get(&scene, &asked("", ORDERS, "list")).await.unwrap_err();
    }
    for _ in 0..3 {
        get(&scene, &good).await.unwrap();
    }
    let again_in = match get(&scene, &good).await.unwrap_err() {
        Ungranted::Rate { again_in } => again_in,
        other => panic!("{other:?}"),
    };
    assert_eq!(again_in, 20 * SECOND);
    assert_eq!(records(&scene, "refused").last().unwrap()["reasons"], serde_json::json!(["rate_reached"]));
    tokio::time::sleep(again_in).await;
    get(&scene, &good).await.unwrap();
    assert!(matches!(get(&scene, &good).await, Err(Ungranted::Rate { .. })));
    assert_eq!(records(&scene, "issued").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_the_entry_and_with_its_key() {
    let Some(scene) = scene(0).await else { return };
    let mut ending = Arc::unwrap_or_clone(entry_of(1, "crew/a", "crew"));
    ending.spec.expires_at = Some(scene.clock.now() + 10 * SECOND);
    let items = vec![agent("crew", State::Active), tool("orders", ORDERS), right("crew", "orders", &["read"], 0)];
    scene.registry.send_replace(said(vec![Arc::new(ending)], items));
    assert_eq!(get(&scene, &asked("", ORDERS, "")).await.unwrap().lifetime(), 10 * SECOND);
    tokio::time::sleep(10 * SECOND).await;
    let refused = get(&scene, &asked("", ORDERS, "")).await.unwrap_err();
    assert!(matches!(refused, Ungranted::NoAgent), "{refused:?}");
    assert_eq!(records(&scene, "refused").last().unwrap()["reasons"], serde_json::json!(["entry_expired"]));
    // A key that ends in a minute, and nobody who makes another one.
    scene.registry.send_replace(crew(State::Active, 0));
    let keyring = scene.keyring.borrow().clone();
    let end = keyring.access().unwrap().signer().1;
    let late = end - 60 * SECOND;
    let Scene { issuer, caller, clock, .. } = &scene;
    tokio::time::advance(late.duration_since(clock.now()).unwrap()).await;
    scene.keyring.send_replace(keyring);
    let token = issuer.access(caller, &asked("", ORDERS, "read"), holder(), || Ok(()), || Ok(())).await.unwrap();
    assert_eq!(token.token.not_after, end);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_would_be_too_long_is_refused_and_none_is_counted() {
    let Some(scene) = scene(1).await else { return };
    let items = vec![agent("crew", State::Active), tool("orders", ORDERS), right("crew", "orders", &["read"], 1)];
    let deep = format!("crew/{}", "a".repeat(1_500));
    scene.registry.send_replace(said(vec![entry_of(1, &deep, "crew")], items));
    for _ in 0..2 {
        let refused = get(&scene, &asked("", ORDERS, "")).await.unwrap_err();
        assert!(matches!(refused, Ungranted::TooLong { bytes: 2_049.. }), "{refused:?}");
        assert_eq!(records(&scene, "refused").last().unwrap()["reasons"], serde_json::json!(["token_too_long"]));
    }
    assert!(records(&scene, "issued").is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_signed_without_a_key_or_a_name_or_while_the_daemon_rests() {
    let Some(scene) = scene(0).await else { return };
    let good = asked("", ORDERS, "read");
    let keyring = scene.keyring.send_replace(keyring(scene.clock.now(), 24 * HOUR));
    let failed = get(&scene, &good).await.unwrap_err();
    assert!(matches!(failed, Ungranted::Failed(Error::Sign(authority::Error::NoTokenKey))), "{failed:?}");
    scene.keyring.send_replace(keyring);
    get(&scene, &good).await.unwrap();
    let Scene { issuer, caller, feed, .. } = scene;
    drop(feed);
    let resting = CancellationToken::new();
    let issuer = Arc::into_inner(issuer).unwrap().rests_with(resting.clone());
    issuer.access(&caller, &good, holder(), || Ok(()), || Ok(())).await.unwrap();
    resting.cancel();
    for asked in [good, asked("", BILLING, "")] {
        let failed = issuer.access(&caller, &asked, holder(), || Ok(()), || Ok(())).await.unwrap_err();
        assert!(matches!(failed, Ungranted::Failed(Error::Stopping)), "{failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_record_there_is_no_token() {
    let Some(scene) = scene(1).await else { return };
    scene.issuer.log().close();
    for _ in 0..2 {
        let failed = get(&scene, &asked("", ORDERS, "")).await.unwrap_err();
        assert!(matches!(failed, Ungranted::Failed(Error::Audit(_))), "{failed:?}");
    }
}

type Meddle = Box<dyn FnOnce() + Send>;

/// Does something once a credential was issued, before it leaves.
struct Meddler(Arc<Mutex<Option<Meddle>>>);

/// What comes of `work` when `meddle` happens once something was issued and before it leaves. `None` where it did not
/// happen: another test's thread may keep the line from being told while it meets it for the first time.
pub(crate) async fn meddled<T>(meddle: impl FnOnce() + Send + 'static, work: impl Future<Output = T>) -> Option<T> {
    let meddle: Arc<Mutex<Option<Meddle>>> = Arc::new(Mutex::new(Some(Box::new(meddle))));
    let guard = tracing::subscriber::set_default(Meddler(meddle.clone()));
    tracing::callsite::rebuild_interest_cache();
    let outcome = work.await;
    drop(guard);
    meddle.lock().unwrap().is_none().then_some(outcome)
}

/// The same for the registry, which then says something else.
async fn get_while(scene: &Scene, says: &Arc<Snapshot>, asked: &AccessAsked) -> Option<Result<AccessToken, Ungranted>> {
    let (registry, says) = (scene.registry.clone(), says.clone());
    meddled(move || drop(registry.send_replace(says)), get(scene, asked)).await
}

impl tracing::Subscriber for Meddler {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().ends_with("issuance::recorded")
    }

    fn event(&self, _: &tracing::Event<'_>) {
        if let Some(meddle) = self.0.lock().unwrap().take() {
            meddle();
        }
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_token_does_not_leave_after_what_it_was_judged_by_has_changed() {
    let entries = || vec![entry_of(1, "crew/a", "crew")];
    let without_grant = said(entries(), vec![agent("crew", State::Active), tool("orders", ORDERS)]);
    let narrowed = said(
        entries(),
        vec![agent("crew", State::Active), tool("orders", ORDERS), right("crew", "orders", &["list"], 1)],
    );
    type Is = fn(&Result<AccessToken, Ungranted>) -> bool;
    let rows: [(Arc<Snapshot>, Is, usize); 5] = [
        (crew(State::Suspended, 1), |it| matches!(it, Err(Ungranted::Inactive)), 1),
        (without_grant, |it| matches!(it, Err(Ungranted::Target)), 1),
        (
            narrowed,
            |it| it.as_ref().is_ok_and(|token| token.scopes.len() == 1 && token.scopes[0].as_str() == "list"),
            2,
        ),
        (said(vec![], vec![]), |it| matches!(it, Err(Ungranted::NoAgent)), 1),
        // What says the same is signed once; a rate of one leaves no second.
        (crew(State::Active, 1), |it| it.as_ref().is_ok_and(|token| token.scopes.len() == 2), 1),
    ];
    for (at, (snapshot, is_right, signed)) in rows.into_iter().enumerate() {
        for attempt in 0.. {
            let Some(scene) = scene(1).await else { return };
            if let Some(outcome) = get_while(&scene, &snapshot, &asked("", ORDERS, "")).await {
                assert!(is_right(&outcome), "{at}: {outcome:?}");
                assert_eq!(records(&scene, "issued").len(), signed, "{at}");
                break;
            }
            assert!(attempt < 100, "{at}: nobody was told");
        }
    }
}

/// What the token was judged by must be so still when it leaves.
#[tokio::test(start_paused = true)]
async fn what_changes_meanwhile_is_seen_before_the_token_leaves() {
    let Some(scene) = scene(0).await else { return };
    let then = crew(State::Active, 0);
    let good = asked("", ORDERS, "read");
    let items = |extra: Vec<Item>| {
        let mut items = vec![agent("crew", State::Active), tool("orders", ORDERS), tool("billing", BILLING)];
        items.push(right("crew", "orders", &["read", "write"], 0));
        items.extend(extra);
        said(vec![entry_of(1, "crew/a", "crew")], items)
    };
    let moved = vec![agent("crew", State::Active), tool("orders", BILLING), right("crew", "orders", &["read"], 0)];
    for (now, is_still, what) in [
        (then.clone(), true, "the same"),
        (crew(State::Active, 0), true, "another one that says the same"),
        (items(vec![agent("night", State::Suspended), right("crew", "billing", &["read"], 0)]), true, "something else"),
        (crew(State::Suspended, 0), false, "suspended"),
        (crew(State::Active, 7), false, "another rate"),
        (said(vec![entry_of(1, "crew/a", "crew")], moved), false, "the audience has moved"),
        (said(vec![], vec![agent("crew", State::Active), tool("orders", ORDERS)]), false, "the grant has gone"),
    ] {
        scene.registry.send_replace(now);
        let agent = crate::registry::Label::parse("crew").unwrap();
        assert_eq!(scene.issuer.grants_still(&agent, &then, &good), is_still, "{what}");
    }
}

#[test]
fn a_request_names_one_target_and_scopes_as_the_standard_has_them() {
    let read = |targets: &[&str], scope: &str| AccessAsked::new("", targets.iter().copied(), scope, 0);
    assert!(read(&[ORDERS], "").is_ok() && read(&["", ORDERS, ""], "a b").is_ok());
    for (targets, count) in [(&[][..], 0), (&["", ""], 0), (&[ORDERS, BILLING], 2), (&[ORDERS, ORDERS], 2)] {
        assert_eq!(read(targets, ""), Err(Malformed::Targets(count)));
    }
    let many = |count: usize| vec!["a"; count].join(" ");
    assert!(read(&[ORDERS], &many(128)).is_ok());
    for scope in [" ", "a ", " a", "a  b", "a\tb", "a\"b", "a\\b", "ä", &"a".repeat(65), &many(129)] {
        assert!(matches!(read(&[ORDERS], scope), Err(Malformed::Scope(_))), "{scope:?}");
    }
}

/// What the agent `crew` was issued before is revoked.
fn revoked(before: SystemTime) -> Arc<Snapshot> {
    let mut items = vec![tool("orders", ORDERS), right("crew", "orders", &["read", "write"], 0)];
    let Item::Agent(agent) = agent("crew", State::Active) else { panic!("it is an agent") };
    items.push(Item::Agent(Agent { revoked_before: before, ..agent }));
    said(vec![entry_of(1, "crew/a", "crew")], items)
}

/// Its entry has become another.
fn begun(since: SystemTime) -> Arc<Snapshot> {
    let items = vec![agent("crew", State::Active), tool("orders", ORDERS), right("crew", "orders", &["read"], 0)];
    said(vec![Arc::new(Entry { since, ..Entry::clone(&entry_of(1, "crew/a", "crew")) })], items)
}

/// SVIDs say whole seconds, and tools look at them.
#[tokio::test(start_paused = true)]
async fn after_a_revocation_svids_are_of_a_second_that_counts_and_streams_get_new_ones() {
    for change in [revoked, begun] {
        let Some(scene) = scene(0).await else { return };
        let (wanted, audiences) = (Wanted::default(), Audiences::new(vec![ORDERS.into()]).unwrap());
        let jwt =
            async || scene.issuer.jwt(&scene.caller, &audiences, &wanted).await.unwrap().remove(0).token.not_before;
        let mut feed = scene.issuer.wit(scene.caller.clone(), Wanted::default(), Arc::default());
        let mut wit = async || feed.next().await.unwrap().identities.remove(0).svid.token.not_before;
        let begin = scene.clock.now();
        let (first, sent) = (jwt().await, wit().await);
        assert!(begin <= first.min(sent) && scene.clock.now() < begin + SECOND / 10, "nothing is waited for");
        let from = crate::registry::next_second(scene.clock.now());
        scene.registry.send_replace(change(from));
        let issued = wit().await;
        assert!(issued >= from && scene.clock.now() < from + SECOND, "{issued:?}");
        assert!(jwt().await >= from);
        // The same once more is no news.
        scene.registry.send_replace(change(from));
        assert!(tokio::time::timeout(60 * SECOND, wit()).await.is_err());
        scene.registry.send_replace(change(crate::registry::next_second(scene.clock.now())));
        let late = scene.clock.now();
        assert!(jwt().await > late);
        // A clock that was set back is not waited for: they are good for others.
        let late = scene.clock.now();
        scene.registry.send_replace(change(late + 3_600 * SECOND));
        assert!(jwt().await < late + SECOND / 10);
    }
}

/// From which second on what is issued counts.
#[tokio::test(start_paused = true)]
async fn after_a_revocation_the_agent_has_a_token_of_a_second_that_counts() {
    let Some(scene) = scene(0).await else { return };
    let now = scene.clock.now();
    let before = crate::registry::next_second(now);
    scene.registry.send_replace(revoked(before));
    let token = get(&scene, &asked("", ORDERS, "")).await.unwrap();
    let claims = Unverified::parse(text(&token)).unwrap().unverified_claims().clone();
    assert_eq!(claims.issued_at, before, "neither earlier nor of a second that has not come");
    assert!(scene.clock.now() >= before && scene.clock.now() < before + SECOND);
    let snapshot = scene.registry.borrow().clone();
    assert_eq!(snapshot.revocation(&claims), None);
    // As after its entry became another one.
    let from = crate::registry::next_second(scene.clock.now());
    scene.registry.send_replace(begun(from));
    let token = get(&scene, &asked("", ORDERS, "")).await.unwrap();
    assert_eq!(Unverified::parse(text(&token)).unwrap().unverified_claims().issued_at, from);
    // A clock that was set back is not waited for.
    scene.registry.send_replace(revoked(scene.clock.now() + 3_600 * SECOND));
    let (begun, refused) = (scene.clock.now(), get(&scene, &asked("", ORDERS, "")).await.unwrap_err());
    assert!(matches!(refused, Ungranted::NotYet { again_in } if again_in > 3_500 * SECOND), "{refused}");
    assert_eq!(scene.clock.now(), begun);
    let last = records(&scene, "refused").pop().unwrap();
    assert_eq!(last["reasons"], serde_json::json!(["not_yet"]));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_issued_to_a_key_that_was_revoked() {
    let Some(scene) = scene(1).await else { return };
    let revoked = Revoked { id: RevokedId::Key(holder()), at: SystemTime::UNIX_EPOCH, until: None };
    let known = Snapshot::clone(&crew(State::Active, 1)).with_revocations(Revocations::of([revoked]));
    scene.registry.send_replace(Arc::new(known));
    let refused = get(&scene, &asked("", ORDERS, "")).await.unwrap_err();
    assert!(matches!(refused, Ungranted::Key), "{refused}");
    let last = records(&scene, "refused").pop().unwrap();
    assert_eq!(last["reasons"], serde_json::json!(["key_revoked"]));
    assert!(records(&scene, "issued").is_empty());
    // Another key has one, and the rate has it yet.
    let other = Thumbprint::parse("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs").unwrap();
    scene.issuer.access(&scene.caller, &asked("", ORDERS, ""), other, || Ok(()), || Ok(())).await.unwrap();
}

/// It is revoked between the signature and the answer.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_revoked_meanwhile_gets_nothing() {
    let Some(scene) = scene(0).await else { return };
    let revoked = Revoked { id: RevokedId::Key(holder()), at: SystemTime::UNIX_EPOCH, until: None };
    let known = Snapshot::clone(&crew(State::Active, 0)).with_revocations(Revocations::of([revoked]));
    let asked = asked("", ORDERS, "");
    let refused = scene.issuer.access(
        &scene.caller,
        &asked,
        holder(),
        || {
            scene.registry.send_replace(Arc::new(known));
            Ok(())
        },
        || Ok(()),
    );
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, Ungranted::Key), "{refused}");
}

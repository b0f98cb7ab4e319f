//! The daemon itself.

use super::*;

#[tokio::test]
async fn status_tells_how_the_daemon_stands() {
    let house = House::new();
    house.create(entry("web", &["unix:uid:1"])).await;
    house.fixture.counters.refused("no_entry");
    let status = house.control().status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.trust_domain.as_str(), status.state.as_str()), ("example.org", "degraded"));
    assert_eq!(status.problems, ["the clock is odd"]);
    assert_eq!((status.entries, status.registry_revision), (1, 1));
    assert_eq!((status.pid, status.started_at, status.log_level.as_str()), (std::process::id(), 1_700_000_000, "info"));
    assert_eq!((status.authorities[0].slot.as_str(), status.authorities[0].not_after), ("active", 2));
    assert_eq!(status.kernel.len(), 5);
    assert!(status.rss_bytes > 0 && status.audit_records == 9);
    assert_eq!(status.audit_checkpoint, "1 9 aa bb");
    let counter = pb::Counter { name: "dayfly_refused_total".into(), labels: "reason=\"no_entry\"".into(), value: 1 };
    assert!(status.counters.contains(&counter));
}

#[tokio::test]
async fn explain_tells_what_matches_and_what_others_lack() {
    let house = House::new();
    let one = house.create(entry("web", &["unix:uid:1000"])).await;
    let two = house.create(entry("web", &["unix:uid:1000", "unix:path:/usr/bin/web"])).await;
    let three = house.create(entry("db", &["unix:uid:1000", "unix:gid:5"])).await;
    let answer = house.control().explain(pb::ExplainRequest { pid: 7 }).await.unwrap().into_inner();
    assert_eq!((answer.uid, answer.executable.as_str()), (1000, "/usr/bin/web"));
    assert_eq!(answer.selectors[1].condition, "if it answers");
    assert_eq!(answer.matching, [one, two]);
    assert_eq!((&answer.near[0].entry, &answer.near[0].missing[..]), (&Some(three), &["unix:gid:5".to_owned()][..]));
    assert_eq!(answer.notes, ["it is traced"]);
    assert_eq!(answer.given, ["spiffe://example.org/web", "spiffe://example.org/web"]);
}

#[tokio::test]
async fn explain_tells_why_an_entry_that_matches_gives_nothing() {
    let house = House::new();
    let hinted = |path: &str| pb::Entry { hint: "main".into(), ..entry("web", &["unix:uid:1000", path]) };
    let first = house.create(pb::Entry { hint: "main".into(), ..entry("web", &["unix:uid:1000"]) }).await;
    let second = house.create(hinted("unix:path:/usr/bin/web")).await;
    let answer = house.control().explain(pb::ExplainRequest { pid: 7 }).await.unwrap().into_inner();
    assert_eq!(answer.given, ["spiffe://example.org/web", ""]);
    let told = format!("the entry {} has the same hint as the older entry {}", second.id, first.id);
    assert_eq!(answer.notes, ["it is traced".to_owned(), told]);
    assert_eq!(answer.matching, [first, second]);
}

#[tokio::test]
async fn the_log_level_is_changed_and_that_is_recorded() {
    let house = House::new();
    let request = pb::SetLogLevelRequest { level: "debug".into() };
    let before = house.control().set_log_level(request).await.unwrap().into_inner().before;
    assert_eq!(before, "info");
    assert_eq!(house.control().status(pb::StatusRequest {}).await.unwrap().into_inner().log_level, "debug");
    let record = &house.fixture.records("admin")[0];
    assert_eq!((&record["verb"], &record["object"]), (&"log_level".into(), &"debug".into()));
}

#[tokio::test]
async fn only_the_daemons_user_and_root_are_invited_to_take_its_place_and_one_at_a_time() {
    let house = House::new();
    let ask = |who| {
        let mut client = ControlClient::new(house.calls(who));
        let request = pb::ReplaceRequest { version: "1.2\n3".into() };
        async move { client.replace(request).await }
    };
    for group in [caller(1000, GROUP, &[]), caller(1000, 100, &[GROUP]), caller(1000, 100, &[])] {
        assert_eq!(ask(group).await.unwrap_err().code(), Code::PermissionDenied);
    }
    let refused = house.fixture.records("refused");
    let reasons: Vec<_> = refused.iter().map(|record| record["reasons"][0].as_str().unwrap()).collect();
    assert_eq!(reasons, ["not_owner", "not_owner", "not_admin"]);
    assert!(house.invited.lock().unwrap().is_empty());
    let answer = ask(caller(OWN, 20, &[])).await.unwrap().into_inner();
    assert_eq!((answer.trust_domain.as_str(), answer.state_dir.as_str()), ("example.org", "/var/lib/dayfly"));
    assert_eq!((answer.schema, answer.protocol, answer.pid), (7, 4, std::process::id()));
    assert_eq!(*house.invited.lock().unwrap(), [4242]);
    let record = &house.fixture.records("admin")[0];
    assert_eq!((&record["verb"], &record["object"]), (&"replace".into(), &"version 1.23".into()));
    assert_eq!(ask(caller(0, 0, &[])).await.unwrap_err().code(), Code::Unavailable);
}

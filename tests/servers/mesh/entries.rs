//! Entries that come and go under a proxy.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    Mesh, SERVER_SIDE, SHORT_LIVES, STRANGE_SIDE,
    asker::Asker,
    common::{
        Daemon, eventually,
        messages::{Admin, Create, Entry},
        own_uid,
    },
    id,
    proxy::{Asks, Proxy},
    sidecar::{Setup, Sidecar},
};

/// From the answer of the admin API until the proxy has the secret.
const SERVED_WITHIN: Duration = Duration::from_millis(100);
/// How often that is looked at.
const ADDED: usize = 20;

#[test]
fn who_loses_an_entry_is_told_why_and_waits_and_is_served_when_it_is_back() {
    let Some(mut mesh) = Mesh::start(SHORT_LIVES) else { return };
    let pair = mesh.pair("GRPC");
    let (entry, server) = (mesh.entries.remove("server").unwrap(), &pair.server);
    mesh.stage.daemon.cli(&["entry", "delete", &entry]);
    for name in ["default", "ROOTCA"] {
        let why = format!("closed: 7, no identity issued: {name} not given to this proxy any more");
        mesh.stage.eventually("Envoy logs why", || server.log().contains(&why));
    }
    let kept = server.admin.serial().unwrap();
    // It asks again, and is answered nothing, while the other one goes on.
    waits_for(&mesh, server, &["ROOTCA", "default"]);
    let goes_on = Asker::start({
        let admin = pair.client.admin.clone();
        move || admin.serial()
    });
    mesh.stage.after_rotations("the other one has new certificates", || goes_on.answers() > 2);
    goes_on.end();
    assert_eq!(server.admin.serial().unwrap(), kept);
    waits_for(&mesh, server, &["ROOTCA", "default"]);

    let opened = |mesh: &Mesh| {
        let since = mesh.streams_of(server).iter().map(|stream| stream["since"].as_u64().unwrap()).collect::<Vec<_>>();
        (mesh.status()["connections"].as_u64().unwrap(), since)
    };
    let before = opened(&mesh);
    mesh.add_entry("server", SERVER_SIDE);
    let begin = Instant::now();
    mesh.stage.eventually("Envoy has a new certificate", || server.admin.serial().unwrap() != kept);
    println!("an entry was added: in use by Envoy within {:?}, the look at it included", begin.elapsed());
    assert_eq!(opened(&mesh), before, "neither a new connection nor a new stream");
    mesh.stage.eventually("a request passes", || pair.client.curl("").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_name_that_is_anothers_is_not_given_and_explain_says_so() {
    let Some(mesh) = Mesh::start("") else { return };
    let curious = Setup::server("curious", STRANGE_SIDE, &id("server"), "").start(&mesh.stage, "DELTA_GRPC");
    waits_for(&mesh, &curious, &[&id("server")]);
    mesh.stage.eventually("it has whom to trust", || curious.admin.stat("sds.ROOTCA.update_success") == 1);
    assert!(curious.admin.serial().is_err());
    assert_eq!(curious.admin.stats()["sds.spiffe_example.org/server.update_success"], 0);
}

/// The daemon says in its status and to who asks about this process that it asks for these, and is not given them.
fn waits_for(mesh: &Mesh, sidecar: &Sidecar, names: &[&str]) {
    mesh.stage.eventually("it waits", || {
        let streams = mesh.streams_of(sidecar);
        let waits = streams.iter().flat_map(|stream| stream["waits_for"].as_array().unwrap().clone());
        let mut waits: Vec<_> = waits.map(|name| name.as_str().unwrap().to_owned()).collect();
        waits.sort();
        waits == names
    });
    let said = mesh.stage.daemon.cli(&["explain", "--pid", &sidecar.pid().to_string()]);
    for name in names {
        assert!(
            said.contains(&format!("it asks for the secret `{name}` (SDS), and is not given it")),
            "{name}: {said}"
        );
    }
}

#[test]
fn an_entry_that_is_added_is_served_to_who_waits_on_the_same_stream() {
    for asks in [Asks::ForAll, Asks::ForChanges] {
        let daemon = Daemon::start("");
        let names: Vec<_> = (0..ADDED).map(|number| id(&format!("late/{number}"))).collect();
        let mut proxy = Proxy::connect(&daemon.socket(), "late").unwrap();
        let stream = proxy.ask(asks, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let mut admin = Admin::connect(daemon.home()).unwrap();
        eventually("it waits", || {
            let status: Value = serde_json::from_str(&daemon.cli(&["status", "--output", "json"])).unwrap();
            status["proxies"][0]["waits_for"].as_array().is_some_and(|waits| waits.len() == ADDED)
        });
        let connections = admin.status().unwrap().connections;
        let mut times: Vec<_> = names
            .iter()
            .map(|name| {
                let entry = Entry { spiffe_id: name.clone(), selectors: vec![own_uid()], ..Entry::default() };
                admin.call::<Entry>("Entries/Create", &Create { entry: Some(entry) }).unwrap().unwrap();
                let begin = Instant::now();
                while !proxy.next(stream).unwrap().iter().any(|secret| secret.name == *name && !secret.key.is_empty()) {
                }
                begin.elapsed()
            })
            .collect();
        assert_eq!(admin.status().unwrap().connections, connections);
        times.sort();
        println!(
            "{asks:?}: {ADDED} entries added, served after {:?} (median), {:?} (worst)",
            times[ADDED / 2],
            times[ADDED - 1]
        );
        assert!(times[ADDED / 2] <= SERVED_WITHIN, "{times:?}");
    }
}

//! New certificates under load.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Mesh, Pair, SHORT_LIVES, asker::Asker, load::Load, sidecar::Sidecar};

const ROTATIONS: usize = 10;

#[test]
fn no_request_is_lost_through_ten_rotations_of_both_sides() {
    rotates("GRPC", "state of the world");
}

#[test]
fn no_request_is_lost_through_ten_rotations_of_both_sides_by_delta() {
    rotates("DELTA_GRPC", "delta");
}

fn rotates(api: &str, protocol: &str) {
    let Some(mesh) = Mesh::start(SHORT_LIVES) else { return };
    let pair = mesh.pair(api);
    let Some(load) = Load::start(pair.client.port) else { return };
    // What the Envoys say that they have, and what each shows the other.
    let has = pair.both().map(|sidecar| {
        Asker::start({
            let admin = sidecar.admin.clone();
            move || admin.serial()
        })
    });
    let shows = ["x-client-serial", "x-server-until"].map(|header| Asker::start(pair.client.asks_for(header)));
    let all = || has.iter().chain(&shows);
    mesh.stage.after_rotations("ten rotations of both", || {
        load.done();
        all().all(|asker| asker.answers() > ROTATIONS)
    });
    let requests = load.end();
    let [client_has, server_has, client_shows, server_shows] =
        has.into_iter().chain(shows).map(Asker::end).collect::<Vec<_>>().try_into().ok().unwrap();
    println!(
        "{protocol}: {requests} requests by h2load, none failed; {} and {} certificates, {} and {} of them shown",
        client_has.answers.len(),
        server_has.answers.len(),
        client_shows.answers.len(),
        server_shows.answers.len(),
    );
    assert!(client_shows.answers.is_subset(&client_has.answers), "{:?}", client_shows.answers);
    let least = u64::try_from(ROTATIONS).unwrap();
    for sidecar in pair.both() {
        let stats = sidecar.admin.stats();
        let of = |name: &str| stats.iter().filter(|(own, _)| own.ends_with(name)).map(|(_, value)| *value).sum::<u64>();
        assert!(of("sds.default.update_success") > least, "{stats:?}");
        assert!(of("ssl_context_update_by_sds") > least, "{stats:?}");
        assert!(of(".ssl.handshake") > least, "{stats:?}");
        for name in [
            "update_rejected",
            "update_failure",
            "key_rotation_failed",
            "init_fetch_timeout",
            ".ssl.connection_error",
            ".ssl.fail_verify_error",
            ".ssl.fail_verify_san",
            ".ssl.fail_verify_no_cert",
            "upstream_cx_connect_fail",
            "context_secrets_not_ready",
        ] {
            assert_eq!(of(name), 0, "{}: {name}", sidecar.name);
        }
    }
    is_told(&mesh, &pair, protocol);
}

/// The daemon's status tells of both, and that they took what they were sent.
fn is_told(mesh: &Mesh, pair: &Pair, protocol: &str) {
    for sidecar in pair.both() {
        mesh.stage.eventually("all that was sent was taken", || {
            secrets(&mesh.streams_of(sidecar)).iter().all(|secret| secret["sent"] == secret["taken"])
        });
        let streams = mesh.streams_of(sidecar);
        let names: BTreeSet<_> =
            secrets(&streams).iter().map(|secret| secret["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!((streams.len(), names), (2, ["ROOTCA", "default"].map(str::to_owned).into()), "{streams:?}");
        for stream in &streams {
            is_of(stream, sidecar, protocol);
        }
    }
}

fn is_of(stream: &Value, sidecar: &Sidecar, protocol: &str) {
    let said = [&stream["protocol"], &stream["cluster"], &stream["agent"]].map(|word| word.as_str().unwrap());
    assert_eq!(said, [protocol, "mesh", "envoy 1.40.0"], "{stream}");
    assert_eq!(
        (stream["pid"].as_u64(), stream["uid"].as_u64()),
        (Some(sidecar.pid().into()), Some(sidecar.uid.into()))
    );
    assert_eq!((&stream["waits_for"], &stream["refusal"]), (&Value::Array(Vec::new()), &"".into()), "{stream}");
}

fn secrets(streams: &[Value]) -> Vec<Value> {
    streams.iter().flat_map(|stream| stream["secrets"].as_array().unwrap().clone()).collect()
}

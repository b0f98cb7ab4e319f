//! The daemon away, back, and replaced: the Envoys serve with what they have, and then take new certificates.

use std::{
    env,
    time::{Duration, Instant},
};

use super::{
    Mesh, Pair,
    load::{Load, PER_SECOND},
};

/// How long the daemon is away in a full run, and in another one.
const AWAY: Duration = Duration::from_secs(30);
const AWAY_SHORTLY: Duration = Duration::from_secs(4);

#[test]
fn envoys_serve_without_a_daemon_and_are_refreshed_by_the_next() {
    let Some(mut mesh) = Mesh::start("") else { return };
    let pair = mesh.pair("GRPC");
    let Some(load) = Load::start(pair.client.port) else { return };
    let away = if env::var_os("DAYFLY_TESTS_FULL").is_some() { AWAY } else { AWAY_SHORTLY };
    mesh.stage.eventually("the load has begun", || load.done() > 0);
    let first = serials(&pair);
    assert!(mesh.stage.daemon.stop());
    let (begin, before) = (Instant::now(), load.done());
    let enough = before + PER_SECOND * usize::try_from(away.as_secs()).unwrap();
    mesh.stage.after_rotations("the load lasts", || load.done() >= enough && begin.elapsed() >= away);
    assert_eq!(serials(&pair), first, "there is nobody to give another");
    println!("{:?} without a daemon: {} requests, none failed", begin.elapsed(), load.done() - before);
    mesh.stage.daemon.start_again();
    let second = refreshed(&mesh, &pair, &first, "a start");
    mesh.stage.daemon.replace();
    refreshed(&mesh, &pair, &second, "a replacement");
    println!("{} requests in all, none failed", load.end());
}

fn serials(pair: &Pair) -> [String; 2] {
    pair.both().map(|sidecar| sidecar.admin.serial().unwrap())
}

/// Waits until each has another certificate than before, and the client shows it; these.
fn refreshed(mesh: &Mesh, pair: &Pair, before: &[String; 2], after: &str) -> [String; 2] {
    let (begin, mut now) = (Instant::now(), before.clone());
    mesh.stage.after_rotations(&format!("new certificates after {after}"), || {
        now = serials(pair);
        now.iter().zip(before).all(|(now, before)| now != before)
    });
    println!("after {after} both have new certificates within {:?}", begin.elapsed());
    let mut shown = pair.client.asks_for("x-client-serial");
    mesh.stage.eventually("the client shows its new one", || shown().unwrap() == now[0]);
    for sidecar in pair.both() {
        assert_eq!(sidecar.admin.stat("sds.default.update_rejected"), 0);
    }
    now
}

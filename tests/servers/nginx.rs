//! nginx: `ssl_verify_client`, and who it is by the common name.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use nix::sys::signal::Signal;

use super::{
    asker::Asker,
    common::DAYFLY,
    postgres::answer,
    probe::{Preface, Probe},
    readme::Recipe,
    stage::{CLIENT, STRANGER, Stage, port, program, words},
};

#[test]
fn nginx_drops_no_request_through_three_rotations() {
    let Some(nginx) = program("DAYFLY_NGINX") else { return };
    let (port, bin) = (port(), super::common::Folder::new());
    let stage = Stage::new(bin.path());
    let at = stage.path().display().to_string();
    let stage = stage.with("CURL_HOME", &at);
    let recipe = Recipe::of("nginx")
        .swap("unix:user:shop", format!("unix:uid:{CLIENT}"))
        .swap("unix:path:/usr/local/bin/dayfly", format!("unix:path:{DAYFLY}"))
        .swap("listen 443", format!("listen 127.0.0.1:{port}"))
        .swap("/var/lib/", format!("{at}/"))
        .swap("/run/", format!("{at}/"));
    stage.place("nginx", 0);
    let client_certs = stage.place("shop", CLIENT).join("certs");
    stage.run(0, &recipe.lines("as admin"));

    // As the system has it, but with places of its own; its master is root, its workers are not.
    let temps =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {at}/nginx/{kind};"));
    let main = format!(
        "user www-data;\npid {at}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\nssl_protocols TLSv1.2 TLSv1.3;\n{}\n{}}}\n",
        temps.join("\n"),
        recipe.text("/etc/nginx/sites-enabled/web")
    );
    fs::write(stage.path().join("nginx.conf"), main).unwrap();
    let script = format!("#!/bin/sh\nexec {} -e stderr -p {at} -c {at}/nginx.conf \"$@\"\n", nginx.display());
    fs::write(bin.path().join("nginx"), script).unwrap();
    fs::set_permissions(bin.path().join("nginx"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(stage.path().join(".curlrc"), format!("connect-to = \"::127.0.0.1:{port}\"\nmax-time = 20\n")).unwrap();

    let by_command = stage.fetch(0, &recipe.lines("as root").concat());
    let _client = stage.fetch(CLIENT, recipe.lines("as shop").first().unwrap());
    let _server = stage.start(0, "exec nginx -g 'daemon off;'", Signal::SIGTERM);
    let curl = recipe.lines("as shop").split_off(1).join("\n");
    stage
        .eventually("nginx serves", || stage.shell(CLIENT, &curl).output().is_ok_and(|output| output.status.success()));
    assert!(stage.run(CLIENT, std::slice::from_ref(&curl)).starts_with("CN=shop.example.org "));
    refuses_others(&stage, &curl);

    let probe = Probe { port, name: "web.example.org", preface: Preface::Nothing, certs: client_certs };
    let (server, authority) = (probe.clone(), probe.authority().unwrap());
    let server_serials = Asker::start(move || server.serial());
    let mut one = stage.shell(CLIENT, &curl);
    let client_serials = Asker::start(move || answer(&mut one));
    stage.after_rotations("three rotations of both sides", || {
        server_serials.answers() > 3 && client_serials.answers() > 3
    });

    drop(by_command);
    let before = server_serials.answers();
    let _by_signal = stage.fetch(0, &recipe.lines("or, as root").concat());
    stage.after_rotations("two more, by a signal", || server_serials.answers() > before + 1);
    stage.after_another_authority(&authority, &probe, &server_serials);

    let (servers, clients) = (server_serials.end(), client_serials.end());
    println!(
        "{} requests, {} certificates of the server and {} of the client",
        servers.asked + clients.asked,
        servers.answers.len(),
        clients.answers.len()
    );
}

/// No certificate, one of another service, and one of another trust domain that claims to be the service.
fn refuses_others(stage: &Stage, curl: &str) {
    let place = stage.place("stranger", STRANGER);
    let uid = format!("unix:uid:{STRANGER}");
    stage.daemon.entry("spiffe://example.org/stranger", &[&uid], &["--dns", "stranger.example.org"]);
    let stranger = place.join("certs");
    stage.run(STRANGER, &[format!("dayfly fetch x509 --write {}", stranger.display())]);
    let forged = stage.forged(&["--dns", "shop.example.org"]);
    let svid = |certs: &Path| format!("{}/svid", certs.display());
    for (uid, text, with, says) in [
        (STRANGER, "$certs/svid", svid(&stranger), "403"),
        (CLIENT, "$certs/svid", svid(&forged), "400"),
        (CLIENT, "--cert $certs/svid.pem --key $certs/svid_key.pem", String::new(), "400"),
    ] {
        assert!(curl.contains(text), "{curl}");
        let output = stage.shell(uid, &curl.replace(text, &with)).output().unwrap();
        assert!(!output.status.success() && words(&output).contains(says), "{says}: {}", words(&output));
    }
}

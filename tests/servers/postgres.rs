//! PostgreSQL: `cert` in `pg_hba.conf`, by the common name of the profile `database`.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::chown,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use super::{
    asker::Asker,
    probe::{Preface, Probe},
    readme::Recipe,
    stage::{CLIENT, STRANGER, Stage, port, program, uid_of, words},
};

#[test]
fn postgresql_drops_no_query_through_three_rotations() {
    let Some(bin) = program("DAYFLY_POSTGRESQL") else { return };
    let port = port();
    let stage = Stage::new(&bin).with("PGHOSTADDR", "127.0.0.1").with("PGPORT", port);
    let recipe = Recipe::of("PostgreSQL")
        .swap("unix:user:orders", format!("unix:uid:{CLIENT}"))
        .swap("/var/lib/", format!("{}/", stage.path().display()));
    let server = uid_of("postgres");
    let home = stage.place("postgresql", server);
    let data = home.join("15/main");
    let client_certs = stage.place("orders", CLIENT).join("certs");
    stage.run(0, &recipe.lines("as admin"));

    // The server takes what is there when it starts; that nothing could be reloaded before is said, and no more.
    let by_command = stage.fetch(server, &recipe.lines("as postgres").concat());
    let _client = stage.fetch(CLIENT, recipe.lines("as orders").first().unwrap());
    stage.run(server, &[format!("initdb -D {} -A peer --no-sync >&2", data.display())]);
    let settings = format!(
        "{}listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n",
        recipe.text("postgresql.conf"),
        home.display()
    );
    fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
    fs::write(data.join("pg_hba.conf"), format!("local all postgres peer\n{}", recipe.text("pg_hba.conf"))).unwrap();
    for name in ["postgresql.auto.conf", "pg_hba.conf"] {
        chown(data.join(name), Some(server), Some(server)).unwrap();
    }
    let _server = stage.start(server, &format!("exec postgres -D {}", data.display()), Signal::SIGINT);
    let admin = format!("env -u PGHOSTADDR psql -Xq -h {} -d postgres", home.display());
    stage.eventually("PostgreSQL serves", || {
        stage.shell(server, &format!("{admin} -c 'select 1'")).output().is_ok_and(|output| output.status.success())
    });
    stage.run(server, &[format!("{admin} -c 'create role orders_rw login' -c 'create database orders'")]);

    let psql = recipe.lines("as orders").split_off(1).join("\n");
    let ask = format!("{psql} -XAtc 'select client_serial from pg_stat_ssl where pid = pg_backend_pid()'");
    stage.run(CLIENT, std::slice::from_ref(&ask));
    refuses_others(&stage, &ask);

    let probe = Probe { port, name: "db.example.org", preface: Preface::Postgres, certs: client_certs };
    let (asking, authority) = (probe.clone(), probe.authority().unwrap());
    let server_serials = Asker::start(move || asking.serial());
    let mut one = stage.shell(CLIENT, &ask);
    let client_serials = Asker::start(move || answer(&mut one));
    let kept = Asker::start(kept(stage.shell(CLIENT, &format!("{psql} -XAtq"))));
    stage.after_rotations("three rotations of both sides", || {
        server_serials.answers() > 3 && client_serials.answers() > 3 && kept.answers() == 1
    });

    drop(by_command);
    let before = server_serials.answers();
    let _by_signal = stage.fetch(server, &recipe.lines("or, as postgres").concat());
    stage.after_rotations("two more, by a signal", || server_serials.answers() > before + 1);
    stage.after_another_authority(&authority, &probe, &server_serials);

    let (servers, clients, kept) = (server_serials.end(), client_serials.end(), kept.end());
    assert_eq!(kept.answers.len(), 1, "one backend all the while");
    println!(
        "{} connections and {} queries of one connection, {} certificates of the server and {} of the client",
        servers.asked + clients.asked,
        kept.asked,
        servers.answers.len(),
        clients.answers.len()
    );
}

/// No certificate, one of another account, and one of another trust domain that claims the account.
fn refuses_others(stage: &Stage, ask: &str) {
    let place = stage.place("stranger", STRANGER);
    let uid = format!("unix:uid:{STRANGER}");
    let account = ["--certificate-profile", "database", "--common-name"];
    stage.daemon.entry("spiffe://example.org/stranger", &[&uid], &[&account[..], &["stranger"]].concat());
    let stranger = place.join("certs");
    stage.run(STRANGER, &[format!("dayfly fetch x509 --write {}", stranger.display())]);
    let forged = stage.forged(&[&account[..], &["orders_rw"]].concat());
    for (uid, text, with, says) in [
        (
            STRANGER,
            "$certs/svid",
            format!("{}/svid", stranger.display()),
            "authentication failed for user \"orders_rw\"",
        ),
        (CLIENT, "$certs/svid", format!("{}/svid", forged.display()), "unknown ca"),
        (
            CLIENT,
            "sslcert=$certs/svid.pem sslkey=$certs/svid_key.pem",
            String::new(),
            "requires a valid client certificate",
        ),
    ] {
        assert!(ask.contains(text), "{ask}");
        let output = stage.shell(uid, &ask.replace(text, &with)).output().unwrap();
        assert!(!output.status.success() && words(&output).contains(says), "{says}: {}", words(&output));
    }
}

/// One question, one connection.
pub(super) fn answer(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !answer.is_empty() { Ok(answer) } else { Err(words(&output)) }
}

/// Questions on one connection: the answer is its backend's number.
fn kept(mut psql: Command) -> impl FnMut() -> io::Result<String> {
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut questions, answers) = (psql.stdin.take().unwrap(), psql.stdout.take().unwrap());
    let mut answers = BufReader::new(answers);
    move || {
        questions.write_all(b"select pg_backend_pid();\n")?;
        let mut answer = String::new();
        match answers.read_line(&mut answer)? {
            0 => Err(io::Error::other(format!("the connection is closed: {:?}", psql.try_wait()))),
            _ => Ok(answer.trim().to_owned()),
        }
    }
}

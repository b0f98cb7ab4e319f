//! NATS: `verify_and_map` by the SPIFFE ID itself.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
};

use nix::sys::signal::Signal;

use super::{
    asker::Asker,
    probe::{Preface, Probe, Stream, serial_in},
    readme::Recipe,
    stage::{CLIENT, STRANGER, Stage, port, program},
};

/// As which user the server runs; it needs none that has a name.
const SERVER: u32 = 47_103;

#[test]
fn nats_drops_no_message_through_three_rotations() {
    let Some(nats) = program("DAYFLY_NATS") else { return };
    let port = port();
    let stage = Stage::new(nats.parent().unwrap());
    let at = stage.path().display().to_string();
    let recipe = Recipe::of("NATS")
        .swap("unix:user:nats", format!("unix:uid:{SERVER}"))
        .swap("unix:user:billing", format!("unix:uid:{CLIENT}"))
        .swap("/var/lib/", format!("{at}/"))
        .swap("/run/", format!("{at}/"));
    stage.place("nats", SERVER);
    let client_certs = stage.place("billing", CLIENT).join("certs");
    stage.run(0, &recipe.lines("as admin"));
    let settings = format!("listen: \"127.0.0.1:{port}\"\n{}", recipe.text("/etc/nats-server.conf"));
    std::fs::write(stage.path().join("nats-server.conf"), settings).unwrap();

    let by_command = stage.fetch(SERVER, &recipe.lines("as nats").concat());
    let _client = stage.fetch(CLIENT, &recipe.lines("as billing").concat());
    let _server = stage.start(SERVER, &format!("exec nats-server -c {at}/nats-server.conf"), Signal::SIGTERM);
    let probe = Probe { port, name: "nats.example.org", preface: Preface::Nats, certs: client_certs.clone() };
    stage.eventually("NATS serves", || Connection::open(&probe, Some(&client_certs)).is_ok());
    refuses_others(&stage, &probe);

    // Each message on a connection of its own, by the certificate of that moment.
    let (asking, certs) = (probe.clone(), client_certs.clone());
    let client_serials = Asker::start(move || -> io::Result<String> {
        let now = certs.canonicalize()?;
        Connection::open(&asking, Some(&now))?.echo()?;
        serial_in(&now.join("svid.pem"))
    });
    let mut connection = Connection::open(&probe, Some(&client_certs)).unwrap();
    let kept = Asker::start(move || connection.echo());
    let (server, authority) = (probe.clone(), probe.authority().unwrap());
    let server_serials = Asker::start(move || server.serial());
    stage.after_rotations("three rotations of both sides", || {
        server_serials.answers() > 3 && client_serials.answers() > 3 && kept.answers() == 1
    });

    drop(by_command);
    let before = server_serials.answers();
    let _by_signal = stage.fetch(SERVER, &recipe.lines("or, as nats").concat());
    stage.after_rotations("two more, by a signal", || server_serials.answers() > before + 1);
    stage.after_another_authority(&authority, &probe, &server_serials);

    let (servers, clients, kept) = (server_serials.end(), client_serials.end(), kept.end());
    println!(
        "{} connections and {} messages of one connection, {} certificates of the server and {} of the client",
        servers.asked + clients.asked,
        kept.asked,
        servers.answers.len(),
        clients.answers.len()
    );
}

/// No certificate, one of another service, and one of another trust domain.
fn refuses_others(stage: &Stage, probe: &Probe) {
    let place = stage.place("stranger", STRANGER);
    stage.daemon.entry("spiffe://example.org/stranger", &[&format!("unix:uid:{STRANGER}")], &[]);
    let stranger = place.join("certs");
    stage.run(STRANGER, &[format!("dayfly fetch x509 --write {}", stranger.display())]);
    let forged = stage.forged(&[]);
    let refused = |identity: Option<&Path>| Connection::open(probe, identity).err().map(|error| error.to_string());
    let said = refused(Some(&stranger)).unwrap();
    assert!(said.contains("Authorization Violation"), "{said}");
    for identity in [Some(forged.as_path()), None] {
        let said = refused(identity).unwrap();
        assert!(said.contains("alert"), "{identity:?}: {said}");
    }
}

/// A client that hears what it says.
struct Connection(BufReader<Stream>);

impl Connection {
    fn open(probe: &Probe, identity: Option<&Path>) -> io::Result<Self> {
        let mut connection = Self(BufReader::new(probe.connect(identity)?));
        connection.say(
            "CONNECT {\"verbose\":false,\"pedantic\":true,\"tls_required\":true}\r\nSUB billing.paid 1\r\nPING\r\n",
        )?;
        connection.hear("PONG")?;
        Ok(connection)
    }

    /// Publishes, and waits for it to come back.
    fn echo(&mut self) -> io::Result<String> {
        self.say("PUB billing.paid 4\r\n4711\r\n")?;
        self.hear("MSG billing.paid 1 4")?;
        self.hear("4711")
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())?;
        self.0.get_mut().flush()
    }

    /// Waits for this line.
    fn hear(&mut self, wanted: &str) -> io::Result<String> {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            match line.trim_end() {
                heard if heard == wanted => return Ok(heard.to_owned()),
                "PING" => self.say("PONG\r\n")?,
                heard if heard.starts_with("INFO ") => {}
                heard => return Err(io::Error::other(format!("`{heard}` in place of {wanted}"))),
            }
        }
    }
}

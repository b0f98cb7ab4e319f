//! The real SPIRE beside Dayfly: its entries go in by `dayfly apply`, and the same callers are the same in both.
//!
//! `spire/entries.json` is what the SPIRE server is given, with its agent as `node` and the words in braces filled in;
//! what the server then shows is what Dayfly gets. Callers with ids of their own need root.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::common::{DAYFLY, Daemon, Folder, eventually};

/// A SPIRE server and an agent that joined it as `spiffe://example.org/node`; ended when dropped.
struct Spire {
    programs: PathBuf,
    folder: Folder,
    running: Vec<Child>,
}

impl Spire {
    fn start(programs: &str) -> Self {
        let mut spire = Self { programs: programs.into(), folder: Folder::new(), running: Vec::new() };
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        let port = free.port().to_string();
        fs::create_dir(spire.path("server")).unwrap();
        spire.run("spire-server", "server.conf", &["-serverPort", &port]);
        eventually("SPIRE's server is ready", || spire.try_server(&["healthcheck"]).status.success());
        fs::write(spire.path("server.pem"), spire.server(&["bundle", "show"])).unwrap();
        let made = spire.server(&["token", "generate", "-spiffeID", "spiffe://example.org/node"]);
        let token = made.strip_prefix("Token: ").unwrap().trim();
        spire.run("spire-agent", "agent.conf", &["-serverPort", &port, "-joinToken", token]);
        spire
    }

    fn run(&mut self, program: &str, config: &str, more: &[&str]) {
        let log = fs::File::create(self.path(&format!("{program}.log"))).unwrap();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/spire").join(config);
        let mut command = Command::new(self.programs.join(program));
        command.args(["run", "-config"]).arg(config).args(more).current_dir(self.folder.path());
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.running.push(child);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_server(&self, args: &[&str]) -> Output {
        let mut command = Command::new(self.programs.join("spire-server"));
        command.args(args).args(["-socketPath", "server.sock"]).current_dir(self.folder.path()).output().unwrap()
    }

    /// A verb of the server's that must succeed; answers its output.
    fn server(&self, args: &[&str]) -> String {
        let output = self.try_server(args);
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "spire-server {args:?}: {out}{err}\n{}", self.log());
        out
    }

    fn log(&self) -> String {
        ["spire-server.log", "spire-agent.log"]
            .map(|log| fs::read_to_string(self.path(log)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Spire {
    fn drop(&mut self) {
        for child in self.running.iter_mut().rev() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Who calls: a program, started with these ids.
struct Caller {
    program: PathBuf,
    ids: &'static [&'static str],
}

/// An identity as both must issue it.
#[derive(Debug, PartialEq)]
struct Svid {
    id: String,
    hint: String,
    dns_names: Vec<String>,
}

impl Caller {
    fn ask(&self, socket: &Path) -> Output {
        let mut command = match self.ids {
            [] => Command::new(&self.program),
            _ => Command::new("setpriv"),
        };
        if !self.ids.is_empty() {
            command.args(self.ids).arg(&self.program);
        }
        command.args(["fetch", "x509", "--output", "json", "--socket"]).arg(socket).output().unwrap()
    }

    /// Its identities, the default one first, and when they end; none when it is refused.
    fn fetch(&self, socket: &Path) -> Vec<(Svid, i64)> {
        let output = self.ask(socket);
        if output.status.code() == Some(3) {
            return Vec::new();
        }
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} at {}: {words}", self.ids, socket.display());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        answer.get("svids").unwrap().as_array().unwrap().iter().map(svid).collect()
    }
}

fn svid(shown: &serde_json::Value) -> (Svid, i64) {
    let text = |name: &str| shown.get(name).unwrap().as_str().unwrap().to_owned();
    let leaf = pem::parse(text("x509_svid")).unwrap();
    let (_, leaf) = X509Certificate::from_der(leaf.contents()).unwrap();
    let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    let dns_names = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let svid = Svid { id: text("spiffe_id"), hint: text("hint"), dns_names: dns_names.collect() };
    (svid, shown.get("not_after").unwrap().as_i64().unwrap())
}

/// The client in a place that every user can reach, and another file that does the same.
fn programs(folder: &Folder) -> [PathBuf; 2] {
    ["program", "other"].map(|name| {
        let path = folder.path().join(name);
        let mut bytes = fs::read(DAYFLY).unwrap();
        bytes.extend(name.as_bytes());
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    })
}

fn sha256(file: &Path) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &fs::read(file).unwrap());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn spires_entries_issue_the_same_identities_to_the_same_callers() {
    let Some(spire) = super::from_environment("DAYFLY_SPIRE") else { return };
    let spire = Spire::start(&spire);
    let folder = Folder::new();
    let [program, other] = programs(&folder);
    let nogroup = nix::unistd::Group::from_gid(65_534.into()).unwrap().map_or("nogroup".into(), |group| group.name);
    let words = BTreeMap::from([
        ("{uid}", nix::unistd::getuid().to_string()),
        ("{gid}", nix::unistd::getgid().to_string()),
        ("{path}", program.display().to_string()),
        ("{sha256}", sha256(&program)),
        ("{other_sha256}", sha256(&other)),
        ("{nogroup}", nogroup),
    ]);
    let entries = words
        .iter()
        .fold(include_str!("spire/entries.json").to_owned(), |text, (word, value)| text.replace(word, value));
    fs::write(spire.path("entries.json"), entries).unwrap();
    // Any authority will do for a foreign domain.
    spire.server(&["bundle", "set", "-id", "spiffe://other.org", "-path", "server.pem"]);
    spire.server(&["entry", "create", "-data", "entries.json"]);
    let shown = spire.path("shown.json");
    fs::write(&shown, spire.server(&["entry", "show", "-output", "json"])).unwrap();

    let daemon = Daemon::start("");
    daemon.cli(&["apply", "-f", shown.to_str().unwrap(), "--parent", "spiffe://example.org/node"]);
    let [theirs, ours] = [spire.path("agent.sock"), daemon.socket()];
    let own = |program: &PathBuf| Caller { program: program.clone(), ids: &[] };
    eventually("SPIRE's agent has the entries", || own(&program).ask(&theirs).status.success());

    let mut callers = vec![own(&program), own(&other)];
    let as_others: [&[&str]; 5] = [
        &["--reuid", "65534", "--regid", "65534", "--clear-groups"],
        &["--reuid", "4711", "--regid", "4711", "--clear-groups"],
        &["--reuid", "4711", "--regid", "4712", "--groups", "4713,65534"],
        &["--reuid", "4710", "--regid", "4710", "--groups", "4713,4712"],
        &["--reuid", "4710", "--regid", "4710", "--clear-groups"],
    ];
    match nix::unistd::geteuid().is_root() {
        true => callers.extend(as_others.map(|ids| Caller { program: program.clone(), ids })),
        false => println!("not run: callers with other ids, this is not root"),
    }
    for caller in callers {
        let (theirs, ours) = (caller.fetch(&theirs), caller.fetch(&ours));
        let who = format!("{} {:?}", caller.program.display(), caller.ids);
        let svids = |fetched: &[(Svid, i64)]| fetched.iter().map(|(svid, _)| format!("{svid:?}")).collect::<Vec<_>>();
        assert_eq!(svids(&theirs), svids(&ours), "{who}\n{}\n{}", spire.log(), daemon.log());
        for ((svid, theirs), (_, ours)) in theirs.iter().zip(&ours) {
            assert!(theirs.abs_diff(*ours) < 300, "{who}: {svid:?} ends {theirs} at SPIRE, and {ours} here");
        }
    }
}

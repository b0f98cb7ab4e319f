//! One Envoy: how it is set up, and what it says of itself.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    id,
    stage::{Background, Stage, port, words},
};

/// What an Envoy is told, but for the daemon's sockets and the way to ask.
pub(super) struct Setup<'a> {
    name: &'static str,
    uid: u32,
    template: &'static str,
    words: Vec<(&'static str, String)>,
    filters: &'a str,
}

pub(super) struct Sidecar {
    /// Its node's ID, too.
    pub(super) name: &'static str,
    pub(super) uid: u32,
    pub(super) port: u16,
    pub(super) admin: Admin,
    log: PathBuf,
    process: Background,
}

/// The admin interface of an Envoy.
#[derive(Clone)]
pub(super) struct Admin(PathBuf);

impl<'a> Setup<'a> {
    /// One that lets the client in, has the certificate of this name, and answers by itself.
    pub(super) fn server(name: &'static str, uid: u32, secret: &str, filters: &'a str) -> Self {
        let words = vec![("@NAME@", secret.to_owned()), ("@PEER@", id("client"))];
        Self { name, uid, template: include_str!("server.yaml"), words, filters }
    }

    /// One that brings what it is sent to the server.
    pub(super) fn client(name: &'static str, uid: u32, server: &Sidecar) -> Self {
        let words =
            vec![("@NAME@", "default".to_owned()), ("@PEER@", id(server.name)), ("@SERVER@", server.port.to_string())];
        Self { name, uid, template: include_str!("client.yaml"), words, filters: "" }
    }

    pub(super) fn start(self, stage: &Stage, api: &str) -> Sidecar {
        let (place, port) = (stage.place(self.name, self.uid), port());
        let admin = place.join("admin.sock");
        let socket = |name: &str| stage.daemon.home().join(name).display().to_string();
        let here = [
            ("@NODE@", self.name.to_owned()),
            ("@PORT@", port.to_string()),
            ("@ADMIN@", admin.display().to_string()),
            ("@API@", api.to_owned()),
            ("@SOCKET@", socket("workload.sock")),
            ("@AUTHZ@", socket("authz.sock")),
            ("          #@FILTERS@\n", self.filters.to_owned()),
        ];
        let all = here.iter().chain(&self.words);
        let config = all.fold(self.template.to_owned(), |text, (from, to)| text.replace(from, to));
        let [file, log] = ["envoy.yaml", "log"].map(|name| place.join(name));
        fs::write(&file, config).unwrap();
        let line = "exec envoy --disable-hot-restart --concurrency 1 -l warning -c";
        let line = format!("{line} {} 2>{}", file.display(), log.display());
        let mut process = stage.start(self.uid, &line, Signal::SIGTERM);
        stage.eventually("Envoy's admin interface is there", || {
            assert!(process.is_running(), "{}", fs::read_to_string(&log).unwrap_or_default());
            admin.exists()
        });
        Sidecar { name: self.name, uid: self.uid, port, admin: Admin(admin), log, process }
    }
}

impl Sidecar {
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has logged.
    pub(super) fn log(&self) -> String {
        // gRPC's messages are percent-encoded, and Envoy shows them as they came.
        fs::read_to_string(&self.log).unwrap_or_default().replace("%20", " ")
    }

    /// The head of the answer to a request that is sent to it without TLS; these are words for curl.
    pub(super) fn curl(&self, more: &str) -> String {
        curl(&format!("-sSi --max-time 10 {more} http://127.0.0.1:{}/", self.port))
    }

    /// Asks it once, and takes a header of the answer, which must be a good one.
    pub(super) fn asks_for(&self, header: &'static str) -> impl FnMut() -> Result<String, String> + Send + use<> {
        let line = format!("-sSi --max-time 10 http://127.0.0.1:{}/", self.port);
        move || {
            let answer = curl(&line);
            let value = answer.lines().find_map(|line| line.strip_prefix(header)?.strip_prefix(": "));
            let value = value.filter(|_| answer.starts_with("HTTP/1.1 200 "));
            value.map(|value| value.trim().to_owned()).ok_or(answer)
        }
    }
}

impl Admin {
    fn get(&self, path: &str) -> String {
        curl(&format!("-sS --max-time 10 --unix-socket {} http://envoy/{path}", self.0.display()))
    }

    /// The serial number of its own certificate that is good for longest; contexts of open connections have older ones.
    ///
    /// # Errors
    /// When it has none.
    pub(super) fn serial(&self) -> io::Result<String> {
        let said = self.get("certs");
        let document: Value =
            serde_json::from_str(&said).map_err(|error| io::Error::other(format!("{error}: {said}")))?;
        let contexts = document["certificates"].as_array().into_iter().flatten();
        let leaves = contexts.filter_map(|context| context["cert_chain"].get(0));
        let newest = leaves.max_by_key(|leaf| leaf["expiration_time"].as_str().unwrap_or_default().to_owned());
        newest.and_then(|leaf| leaf["serial_number"].as_str()).map(str::to_owned).ok_or_else(|| io::Error::other(said))
    }

    /// All its counters and gauges.
    pub(super) fn stats(&self) -> BTreeMap<String, u64> {
        let said = self.get("stats");
        let pairs = said.lines().filter_map(|line| line.rsplit_once(": "));
        pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// One of them, by the end of its name: that of a listener begins with its address. 0 where there is none yet.
    pub(super) fn stat(&self, name: &str) -> u64 {
        let stats = self.stats();
        let found: Vec<_> = stats.iter().filter(|(own, _)| own.ends_with(name)).collect();
        assert!(found.len() <= 1, "{name}: {found:?}");
        found.first().map_or(0, |(_, value)| **value)
    }
}

/// All that curl says.
pub(super) fn curl(line: &str) -> String {
    words(&Command::new("sh").args(["-c", &format!("exec curl {line}")]).stdin(Stdio::null()).output().unwrap())
}

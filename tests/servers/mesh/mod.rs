//! The mesh: real Envoys that speak mTLS to each other, with certificates and authorities that they take from the daemon
//! by secret discovery (SDS). Each is a user of its own, as which the daemon knows it.

mod away;
mod crowd;
mod entries;
mod ingress;
mod load;
mod proxy;
mod rotation;
mod sidecar;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use self::{
    sidecar::{Setup, Sidecar},
    stage::{Stage, program},
};
use super::{asker, common, envoy, stage};

/// The users that the Envoys run as.
const CLIENT_SIDE: u32 = 47_201;
const SERVER_SIDE: u32 = 47_202;
/// One more, whom the server does not let in.
const STRANGE_SIDE: u32 = 47_203;
/// Certificates live so long, and are renewed at half of that.
const SHORT_LIVES: &str = "[x509]\nttl = \"10s\"\n";
/// One test at a time: each has a load, or measures time.
static ALONE: Mutex<()> = Mutex::new(());

/// A daemon with an entry for each of the Envoys.
struct Mesh {
    stage: Stage,
    /// Ids by the name of whose entry it is.
    entries: BTreeMap<&'static str, String>,
    _alone: MutexGuard<'static, ()>,
}

/// Two Envoys; what is sent to the client's port comes to the server by mTLS.
struct Pair {
    client: Sidecar,
    server: Sidecar,
}

impl Mesh {
    /// `None`, and a word about it, where there is no Envoy.
    fn start(config: &str) -> Option<Self> {
        let envoy = program("DAYFLY_ENVOY")?;
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mesh =
            Self { stage: Stage::of(config, envoy.parent().unwrap()), entries: BTreeMap::new(), _alone: alone };
        for (name, uid) in [("client", CLIENT_SIDE), ("server", SERVER_SIDE), ("stranger", STRANGE_SIDE)] {
            mesh.add_entry(name, uid);
        }
        Some(mesh)
    }

    fn add_entry(&mut self, name: &'static str, uid: u32) {
        let id = self.stage.daemon.entry(&id(name), &[&format!("unix:uid:{uid}")], &[]);
        self.entries.insert(name, id);
    }

    /// Two Envoys that ask in this way (`api_type`), once a request has passed.
    fn pair(&self, api: &str) -> Pair {
        self.pair_with(api, "")
    }

    /// The same, with these filters before what answers.
    fn pair_with(&self, api: &str, filters: &str) -> Pair {
        let server = Setup::server("server", SERVER_SIDE, "default", filters).start(&self.stage, api);
        let client = Setup::client("client", CLIENT_SIDE, &server).start(&self.stage, api);
        let pair = Pair { client, server };
        self.stage.eventually("a request passes", || pair.client.curl("").starts_with("HTTP/1.1 "));
        if filters.is_empty() {
            self.stage.eventually("it is answered", || pair.client.curl("").starts_with("HTTP/1.1 200"));
        }
        pair
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.stage.daemon.cli(&["status", "--output", "json"])).unwrap()
    }

    /// What the daemon says of the streams of one Envoy.
    fn streams_of(&self, sidecar: &Sidecar) -> Vec<Value> {
        let status = self.status();
        let its = status["proxies"].as_array().unwrap().iter().filter(|stream| stream["node"] == sidecar.name);
        its.cloned().collect()
    }
}

impl Pair {
    fn both(&self) -> [&Sidecar; 2] {
        [&self.client, &self.server]
    }
}

fn id(name: &str) -> String {
    format!("spiffe://example.org/{name}")
}

//! The agent that is looked at: a daemon of the case's own, or somebody else's that a registrar arranges.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prost::Message;

use super::{
    common::{
        Daemon, Folder, PATIENCE, eventually,
        h2raw::{Answer, DATA, END_STREAM, Head, Raw, frame, message},
        messages, own_uid,
    },
    forge::Forge,
};

/// What the other agent has registered for us, as path and hint; `None` before it has our foreign bundle.
static REGISTERED: Mutex<Option<Vec<(String, String)>>> = Mutex::new(None);

type Registered = MutexGuard<'static, Option<Vec<(String, String)>>>;

/// An agent that serves `example.org`.
pub enum Subject {
    Ours(Box<Daemon>),
    /// There is one such agent, so one case at a time has it.
    Theirs {
        socket: PathBuf,
        registrar: String,
        registered: std::cell::RefCell<Registered>,
    },
}

impl Subject {
    /// One that knows us by these paths and hints, the first one longest, and by no others.
    pub fn with(identities: &[(&str, &str)]) -> Self {
        Self::of(theirs().unwrap_or_else(|| Self::started("")), identities)
    }

    /// A daemon of ours with this configuration; `None` when another agent is looked at.
    pub fn configured(config: &str, identities: &[(&str, &str)]) -> Option<Self> {
        if env::var_os("DAYFLY_CONFORMANCE_SOCKET").is_some() {
            println!("not run: another agent has not this configuration: {config:?}");
            return None;
        }
        Some(Self::of(Self::started(config), identities))
    }

    /// A daemon of ours that has the bundle of `other.test`.
    fn started(config: &str) -> Self {
        let subject = Self::Ours(Box::new(Daemon::start(config)));
        subject.set_bundle(&Forge::get().document());
        subject
    }

    fn of(subject: Self, identities: &[(&str, &str)]) -> Self {
        if let Self::Theirs { registered, .. } = &subject {
            let before = registered.borrow().clone().unwrap_or_default();
            let is_wanted = |(path, hint): &&(String, String)| identities.contains(&(path.as_str(), hint.as_str()));
            for (path, _) in before.iter().filter(|one| !is_wanted(one)) {
                subject.remove(path);
            }
        }
        identities.iter().for_each(|(path, hint)| subject.add(path, hint));
        subject.settle(identities.iter().map(|(path, _)| *path));
        subject
    }

    /// Waits until it serves these paths and no others.
    fn settle<'a>(&self, paths: impl Iterator<Item = &'a str>) {
        let wanted: BTreeSet<String> = paths.map(|path| format!("spiffe://example.org/{path}")).collect();
        eventually("the agent serves what is registered", || {
            let served = match messages::fetch(&self.socket()) {
                Ok(Ok(svids)) => svids.into_iter().map(|svid| svid.spiffe_id).collect(),
                Ok(Err(_)) => BTreeSet::new(),
                Err(_) => return false,
            };
            served == wanted
        });
    }

    /// Registers our uid for one more identity.
    pub fn add(&self, path: &str, hint: &str) {
        let id = format!("spiffe://example.org/{path}");
        match self {
            Self::Ours(daemon) => {
                let more = ["--federates-with", "other.test", "--hint", hint];
                daemon.entry(&id, &[&own_uid()], if hint.is_empty() { &more[..2] } else { &more });
            }
            Self::Theirs { registered, .. } => {
                let one = (path.to_owned(), hint.to_owned());
                if !registered.borrow().as_ref().is_some_and(|all| all.contains(&one)) {
                    self.order(&["add", &id, hint]);
                    registered.borrow_mut().get_or_insert_default().push(one);
                }
            }
        }
    }

    /// Takes one identity away.
    pub fn remove(&self, path: &str) {
        let id = format!("spiffe://example.org/{path}");
        match self {
            Self::Ours(daemon) => {
                let listed: serde_json::Value =
                    serde_json::from_str(&daemon.cli(&["entry", "list", "--output", "json"])).unwrap();
                let entries = listed["entries"].as_array().unwrap();
                let entry = entries.iter().find(|entry| entry["spiffe_id"] == id.as_str()).unwrap();
                daemon.cli(&["entry", "remove", entry["id"].as_str().unwrap()]);
            }
            Self::Theirs { registered, .. } => {
                self.order(&["remove", &id]);
                registered.borrow_mut().get_or_insert_default().retain(|(one, _)| one != path);
            }
        }
    }

    /// Makes this document the bundle of `other.test`.
    pub fn set_bundle(&self, document: &str) {
        let folder = Folder::new();
        let file = folder.path().join("other.test.json");
        fs::write(&file, document).unwrap();
        let file = file.to_str().unwrap();
        match self {
            Self::Ours(daemon) => drop(daemon.cli(&["bundle", "set", "other.test", file])),
            Self::Theirs { .. } => self.order(&["bundle", file]),
        }
    }

    fn order(&self, words: &[&str]) {
        let Self::Theirs { registrar, .. } = self else { return };
        let output = Command::new(registrar).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{registrar} {words:?}: {said}");
    }

    /// Our own daemon, if that is what is looked at.
    pub fn ours(&self) -> Option<&Daemon> {
        match self {
            Self::Ours(daemon) => Some(daemon),
            Self::Theirs { .. } => None,
        }
    }

    pub fn socket(&self) -> PathBuf {
        match self {
            Self::Ours(daemon) => daemon.socket(),
            Self::Theirs { socket, .. } => socket.clone(),
        }
    }

    /// A new connection.
    pub fn connect(&self) -> Raw {
        Raw::connect(&self.socket()).unwrap()
    }

    /// A unary call; its answer, or how it was refused.
    pub fn ask<T: Message + Default>(&self, method: &str, request: &impl Message) -> Result<T, Answer> {
        Stream::open(self, method, request).end()
    }

    /// The first message of a stream, or how it was refused.
    pub fn first<T: Message + Default>(&self, method: &str, request: &impl Message) -> Result<T, Answer> {
        Stream::open(self, method, request).next()
    }
}

/// An open stream on a connection of its own.
pub struct Stream {
    pub raw: Raw,
    pub stream: u32,
}

impl Stream {
    pub fn open(subject: &Subject, method: &str, request: &impl Message) -> Self {
        let mut raw = subject.connect();
        let stream = raw.stream();
        let mut bytes = Head::new(&format!("/SpiffeWorkloadAPI/{method}")).frames(stream, 0);
        let body = message(&request.encode_to_vec());
        // As much as the windows hold: of what is longer, its length has been said by then.
        let sent = &body[..body.len().min(65_535)];
        sent.chunks(16_384).for_each(|chunk| bytes.extend(frame(DATA, 0, stream, chunk)));
        if sent.len() == body.len() {
            bytes.extend(frame(DATA, END_STREAM, stream, &[]));
        }
        raw.send(&bytes).unwrap();
        Self { raw, stream }
    }

    /// The only message of a call that had to end well, or how it ended.
    fn end<T: Message + Default>(mut self) -> Result<T, Answer> {
        let mut answer = self.raw.finish(self.stream).unwrap();
        match answer.messages.len() {
            1 if answer.code() == Some(0) => Ok(T::decode(&*answer.messages.remove(0)).unwrap()),
            _ => Err(answer),
        }
    }

    /// The next message, or how the stream ended.
    pub fn next<T: Message + Default>(&mut self) -> Result<T, Answer> {
        self.raw.next_message(self.stream).unwrap().map(|bytes| T::decode(&*bytes).unwrap())
    }

    /// What comes within a while, if anything does.
    pub fn within<T: Message + Default>(&mut self, a_while: Duration) -> Option<Result<T, Answer>> {
        self.raw.socket.set_read_timeout(Some(a_while)).unwrap();
        let next = self.raw.next_message(self.stream);
        self.raw.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        match next {
            Ok(next) => Some(next.map(|bytes| T::decode(&*bytes).unwrap())),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn theirs() -> Option<Subject> {
    let address = env::var("DAYFLY_CONFORMANCE_SOCKET").ok()?;
    let socket = PathBuf::from(address.strip_prefix("unix://").expect("unix:///path in DAYFLY_CONFORMANCE_SOCKET"));
    let registrar = env::var("DAYFLY_CONFORMANCE_REGISTRAR").expect("DAYFLY_CONFORMANCE_REGISTRAR; see main.rs");
    let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = registered.is_none();
    let subject = Subject::Theirs { socket, registrar, registered: registered.into() };
    if is_new {
        subject.set_bundle(&Forge::get().document());
    }
    Some(subject)
}

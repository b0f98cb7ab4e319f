//! Which proxies listen for secrets, what each was told, and what it says that it took.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// All streams of proxies, in the order in which they began.
#[derive(Debug, Default)]
pub(crate) struct Proxies(Mutex<Streams>);

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    each: BTreeMap<u64, ProxyStream>,
}

/// One stream of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyStream {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) since: SystemTime,
    /// As which way to ask.
    pub(crate) protocol: &'static str,
    /// What the proxy says of itself: its node's ID, its cluster, its program. Nothing is given for it.
    pub(crate) node: String,
    pub(crate) cluster: String,
    pub(crate) agent: String,
    /// What it was told, by name.
    pub(crate) secrets: BTreeMap<String, SecretStanding>,
    /// What it asks for and is not given.
    pub(crate) waits_for: Vec<String>,
    /// When it did not take an answer, and why by its own word, until it takes one. Envoy refuses a good secret where
    /// another one of the same TLS context is bad.
    pub(crate) refusal: Option<(SystemTime, String)>,
}

/// A secret as one stream has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretStanding {
    /// The version that was sent last, and the answer that had it.
    pub(crate) sent: String,
    pub(crate) nonce: String,
    pub(crate) sent_at: SystemTime,
    /// The version that was taken last; `None` before the first.
    pub(crate) taken: Option<String>,
}

impl Proxies {
    /// A stream begins. It is forgotten with what this gives.
    pub(crate) fn enter(self: &Arc<Self>, stream: ProxyStream) -> Seat {
        let mut streams = self.streams();
        let number = streams.next;
        streams.next += 1;
        streams.each.insert(number, stream);
        Seat { proxies: self.clone(), number }
    }

    /// How many listen now.
    pub(crate) fn len(&self) -> usize {
        self.streams().each.len()
    }

    /// The oldest that listen now, at most so many.
    pub(crate) fn first(&self, most: usize) -> Vec<ProxyStream> {
        self.streams().each.values().take(most).cloned().collect()
    }

    /// What the process of this number asks for and is not given.
    pub(crate) fn waits_of(&self, pid: u32) -> BTreeSet<String> {
        let streams = self.streams();
        let its = streams.each.values().filter(|stream| stream.pid == pid);
        its.flat_map(|stream| stream.waits_for.iter().cloned()).collect()
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one stream.
pub(crate) struct Seat {
    proxies: Arc<Proxies>,
    number: u64,
}

impl Seat {
    /// Who it says that it is.
    pub(crate) fn is(&self, node: &str, cluster: &str, agent: &str) {
        self.change(|stream| {
            (stream.node, stream.cluster, stream.agent) = (node.to_owned(), cluster.to_owned(), agent.to_owned());
        });
    }

    /// An answer leaves, with these secrets by name and version.
    pub(crate) fn told<'s>(&self, nonce: &str, secrets: impl Iterator<Item = (&'s str, &'s str)>, now: SystemTime) {
        self.change(|stream| {
            for (name, version) in secrets {
                let taken = stream.secrets.remove(name).and_then(|before| before.taken);
                let sent = version.to_owned();
                let standing = SecretStanding { sent, nonce: nonce.to_owned(), sent_at: now, taken };
                stream.secrets.insert(name.to_owned(), standing);
            }
        });
    }

    /// It waits for these, and of what it was told it has only these still.
    pub(crate) fn waits_for(&self, names: Vec<String>, has: impl Fn(&str) -> bool) {
        self.change(|stream| {
            stream.secrets.retain(|name, _| has(name));
            stream.waits_for = names;
        });
    }

    /// It has taken an answer.
    pub(crate) fn took(&self, nonce: &str) {
        self.change(|stream| {
            for secret in stream.secrets.values_mut().filter(|secret| secret.nonce == nonce) {
                secret.taken = Some(secret.sent.clone());
            }
            stream.refusal = None;
        });
    }

    /// It has not taken one, and says why.
    pub(crate) fn refused(&self, why: String, now: SystemTime) {
        self.change(|stream| stream.refusal = Some((now, why)));
    }

    fn change(&self, change: impl FnOnce(&mut ProxyStream)) {
        self.proxies.streams().each.get_mut(&self.number).map(change);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.proxies.streams().each.remove(&self.number);
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Seat").field(&self.number).finish()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn stream() -> ProxyStream {
        ProxyStream {
            pid: 7,
            uid: 7,
            since: SystemTime::UNIX_EPOCH,
            protocol: "delta",
            node: String::new(),
            cluster: String::new(),
            agent: String::new(),
            secrets: BTreeMap::new(),
            waits_for: Vec::new(),
            refusal: None,
        }
    }

    /// What was taken under a name; `None` also where nothing was sent.
    fn taken(stream: &ProxyStream, name: &str) -> Option<String> {
        stream.secrets.get(name).and_then(|secret| secret.taken.clone())
    }

    fn only(proxies: &Proxies) -> ProxyStream {
        <[_; 1]>::try_from(proxies.first(9)).unwrap().into_iter().next().unwrap()
    }

    #[test]
    fn what_was_taken_is_told_from_what_was_sent() {
        let proxies = Arc::new(Proxies::default());
        let seat = proxies.enter(stream());
        let now = SystemTime::UNIX_EPOCH;
        seat.told("1", [("default", "a"), ("ROOTCA", "x")].into_iter(), now);
        assert!(only(&proxies).secrets.values().all(|secret| secret.taken.is_none()));
        seat.told("2", [("default", "b")].into_iter(), now);
        seat.took("1");
        assert_eq!(taken(&only(&proxies), "ROOTCA").as_deref(), Some("x"));
        assert_eq!(taken(&only(&proxies), "default"), None, "an answer came after that one");
        seat.refused("bad".to_owned(), now);
        assert_eq!(only(&proxies).refusal, Some((now, "bad".to_owned())));
        seat.took("2");
        assert_eq!(only(&proxies).refusal, None, "that is over");
        assert_eq!(taken(&only(&proxies), "default").as_deref(), Some("b"));
        seat.told("3", [("default", "c")].into_iter(), now);
        assert_eq!(taken(&only(&proxies), "default").as_deref(), Some("b"));
    }

    #[test]
    fn a_stream_is_forgotten_when_it_ends() {
        let proxies = Arc::new(Proxies::default());
        let (one, other) = (proxies.enter(stream()), proxies.enter(stream()));
        one.waits_for(vec!["ALL".to_owned()], |_| true);
        drop(other);
        assert_eq!((only(&proxies).waits_for, proxies.len()), (vec!["ALL".to_owned()], 1));
        assert_eq!((proxies.waits_of(7).len(), proxies.waits_of(8).len()), (1, 0));
        drop(one);
        assert!(proxies.first(9).is_empty());
    }
}

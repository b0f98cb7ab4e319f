//! A proxy that is no Envoy and asks as one: on HTTP/2 of our own, with messages that are as large.

use std::{collections::BTreeMap, io, path::Path};

use prost::Message as _;

use super::common::h2raw::{DATA, Frame, Head, Raw, SETTINGS, WINDOW_UPDATE, frame, message};

/// The window of a connection, and of a stream before the server says another one (RFC 9113 §6.9.2).
const WINDOW: i64 = 65_535;
/// The setting that says another one.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The largest frame that every server takes.
const FRAME_BYTES_MAX: usize = 16_384;
/// As many as Envoy 1.40 has; it names them in each message, which has 61 kB by that.
const EXTENSIONS: usize = 516;
const TYPE_URL: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// The way in which it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// `StreamSecrets`.
    ForAll,
    /// `DeltaSecrets`.
    ForChanges,
}

/// One connection of a proxy.
pub(super) struct Proxy {
    raw: Raw,
    name: String,
    /// What may be sent still: on the connection, and on each stream.
    window: i64,
    stream_window: i64,
    streams: BTreeMap<u32, Stream>,
}

struct Stream {
    asks: Asks,
    names: Vec<String>,
    window: i64,
}

/// A secret that came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) name: String,
    /// Of a certificate: its chain and its key, PEM.
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
    /// Of authorities: all that is said of whom to trust.
    pub(super) trust: Vec<u8>,
}

impl Proxy {
    pub(super) fn connect(socket: &Path, name: &str) -> io::Result<Self> {
        let raw = Raw::connect(socket)?;
        let name = name.to_owned();
        Ok(Self { raw, name, window: WINDOW, stream_window: WINDOW, streams: BTreeMap::new() })
    }

    /// Opens a stream for these names.
    pub(super) fn ask(&mut self, asks: Asks, names: &[&str]) -> io::Result<u32> {
        let method = if asks == Asks::ForAll { "StreamSecrets" } else { "DeltaSecrets" };
        let head = Head::bare(&format!("/envoy.service.secret.v3.SecretDiscoveryService/{method}"));
        let stream = self.raw.stream();
        self.raw.send(&head.frames(stream, 0))?;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.streams.insert(stream, Stream { asks, names: names.clone(), window: self.stream_window });
        self.say(stream, asks, names, "", "")?;
        Ok(stream)
    }

    /// The next answer on this stream, which is taken with a message as Envoy's.
    pub(super) fn next(&mut self, stream: u32) -> io::Result<Vec<Given>> {
        let bytes = loop {
            if let Some(answer) = self.raw.answers.get_mut(&stream) {
                if !answer.messages.is_empty() {
                    break answer.messages.remove(0);
                }
                if answer.ended {
                    return Err(io::Error::other(format!(
                        "the stream has ended: {:?} {}",
                        answer.code(),
                        answer.words()
                    )));
                }
            }
            self.pump()?;
        };
        let Stream { asks, names, .. } = self.streams.get(&stream).expect("a stream of ours");
        let (asks, names) = (*asks, names.clone());
        let secrets = match asks {
            Asks::ForAll => {
                let Answer { version, resources, nonce } = Answer::decode(&*bytes)?;
                self.say(stream, asks, names, &version, &nonce)?;
                resources
            }
            Asks::ForChanges => {
                let Changes { resources, nonce } = Changes::decode(&*bytes)?;
                self.say(stream, asks, Vec::new(), "", &nonce)?;
                resources.into_iter().filter_map(|resource| resource.secret).collect()
            }
        };
        secrets.into_iter().map(|any| Secret::decode(&*any.value).map(Given::from).map_err(io::Error::from)).collect()
    }

    fn say(&mut self, stream: u32, asks: Asks, names: Vec<String>, version: &str, nonce: &str) -> io::Result<()> {
        let node = Some(Node::of(&self.name));
        let (version, nonce, type_url) = (version.to_owned(), nonce.to_owned(), TYPE_URL.to_owned());
        let bytes = match asks {
            Asks::ForAll => Request { version, node, names, type_url, nonce }.encode_to_vec(),
            Asks::ForChanges => DeltaRequest { node, type_url, names, nonce }.encode_to_vec(),
        };
        self.send(stream, &message(&bytes))
    }

    /// Sends as much at a time as the windows let through.
    fn send(&mut self, stream: u32, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let open = self.window.min(self.streams[&stream].window);
            let Some(open) = usize::try_from(open).ok().filter(|open| *open > 0) else {
                self.pump()?;
                continue;
            };
            let (now, later) = bytes.split_at(bytes.len().min(open).min(FRAME_BYTES_MAX));
            self.raw.send(&frame(DATA, 0, stream, now))?;
            let sent = i64::try_from(now.len()).expect("a frame's length");
            self.window -= sent;
            self.streams.entry(stream).and_modify(|stream| stream.window -= sent);
            bytes = later;
        }
        Ok(())
    }

    fn pump(&mut self) -> io::Result<()> {
        let Frame { kind, stream, payload, .. } = self.raw.pump()?;
        let number = |bytes: &[u8]| i64::from(u32::from_be_bytes(bytes.try_into().expect("four bytes")));
        match kind {
            WINDOW_UPDATE if stream == 0 => self.window += number(&payload),
            WINDOW_UPDATE => {
                self.streams.entry(stream).and_modify(|stream| stream.window += number(&payload));
            }
            SETTINGS => {
                let own = payload.chunks(6).find(|setting| setting[..2] == INITIAL_WINDOW_SIZE.to_be_bytes());
                let size = own.map_or(self.stream_window, |setting| number(&setting[2..]));
                self.streams.values_mut().for_each(|stream| stream.window += size - self.stream_window);
                self.stream_window = size;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Node {
    /// What Envoy 1.40 says of itself, in as many bytes.
    fn of(name: &str) -> Self {
        let extension = |number: usize| Extension {
            name: format!("envoy.filters.http.an_extension_of_envoys_{number:03}"),
            category: "envoy.filters.http".to_owned(),
            type_urls: vec![format!("envoy.extensions.filters.http.v3.Extension{number:03}")],
        };
        Self {
            id: name.to_owned(),
            cluster: "crowd".to_owned(),
            agent: "envoy".to_owned(),
            build: Some(Build { version: Some(Version { major: 1, minor: 40, patch: 0 }) }),
            extensions: (0..EXTENSIONS).map(extension).collect(),
        }
    }
}

impl From<Secret> for Given {
    fn from(secret: Secret) -> Self {
        let Secret { name, certificate, trust } = secret;
        let Certificate { chain, key } = certificate.unwrap_or_default();
        let [chain, key] = [chain, key].map(|source| source.unwrap_or_default().inline);
        Self { name, chain, key, trust: trust.unwrap_or_default() }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    cluster: String,
    #[prost(string, tag = "6")]
    agent: String,
    #[prost(message, optional, tag = "8")]
    build: Option<Build>,
    #[prost(message, repeated, tag = "9")]
    extensions: Vec<Extension>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Build {
    #[prost(message, optional, tag = "1")]
    version: Option<Version>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Version {
    #[prost(uint32, tag = "1")]
    major: u32,
    #[prost(uint32, tag = "2")]
    minor: u32,
    #[prost(uint32, tag = "3")]
    patch: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Extension {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    category: String,
    #[prost(string, repeated, tag = "6")]
    type_urls: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(message, optional, tag = "2")]
    node: Option<Node>,
    #[prost(string, repeated, tag = "3")]
    names: Vec<String>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeltaRequest {
    #[prost(message, optional, tag = "1")]
    node: Option<Node>,
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(string, repeated, tag = "3")]
    names: Vec<String>,
    #[prost(string, tag = "6")]
    nonce: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<Any>,
    #[prost(string, tag = "5")]
    nonce: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Changes {
    #[prost(message, repeated, tag = "2")]
    resources: Vec<Resource>,
    #[prost(string, tag = "5")]
    nonce: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, optional, tag = "2")]
    secret: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Secret {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    certificate: Option<Certificate>,
    /// A message as it came.
    #[prost(bytes = "vec", optional, tag = "4")]
    trust: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Certificate {
    #[prost(message, optional, tag = "1")]
    chain: Option<Source>,
    #[prost(message, optional, tag = "2")]
    key: Option<Source>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Source {
    #[prost(bytes = "vec", tag = "2")]
    inline: Vec<u8>,
}

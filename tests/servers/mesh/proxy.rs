//! A proxy that is no Envoy and asks as one: on HTTP/2 of our own, with messages that are as large.

use std::{collections::BTreeMap, io, path::Path};

use prost::Message as _;

use super::common::{
    h2raw::{DATA, Frame, Raw, SETTINGS, WINDOW_UPDATE, frame, message},
    secrets::{
        Certificate, DELTA_SECRETS, DeltaRequest, DeltaResponse, Request, Response, SECRET, STREAM_SECRETS, Secret,
        envoy, open,
    },
};

/// The window of a connection, and of a stream before the server says another one (RFC 9113 §6.9.2).
const WINDOW: i64 = 65_535;
/// The setting that says another one.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The largest frame that every server takes.
const FRAME_BYTES_MAX: usize = 16_384;

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
        let path = if asks == Asks::ForAll { STREAM_SECRETS } else { DELTA_SECRETS };
        let stream = open(&mut self.raw, path)?.0;
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
                let response = Response::decode(&*bytes)?;
                self.say(stream, asks, names, &response.version, &response.nonce)?;
                response.secrets()
            }
            Asks::ForChanges => {
                let response = DeltaResponse::decode(&*bytes)?;
                self.say(stream, asks, Vec::new(), "", &response.nonce)?;
                response.secrets()
            }
        };
        Ok(secrets.into_iter().map(Given::from).collect())
    }

    fn say(&mut self, stream: u32, asks: Asks, names: Vec<String>, version: &str, nonce: &str) -> io::Result<()> {
        let (node, type_url) = (Some(envoy(&self.name)), SECRET.to_owned());
        let (version, nonce) = (version.to_owned(), nonce.to_owned());
        let bytes = match asks {
            Asks::ForAll => Request { version, node, names, type_url, nonce, error: None }.encode_to_vec(),
            Asks::ForChanges => DeltaRequest { node, type_url, more: names, fewer: Vec::new(), nonce }.encode_to_vec(),
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

impl From<Secret> for Given {
    fn from(secret: Secret) -> Self {
        let Secret { name, certificate, validation } = secret;
        let Certificate { chain, key } = certificate.unwrap_or_default();
        let [chain, key] = [chain, key].map(|source| source.unwrap_or_default().bytes);
        Self { name, chain, key, trust: validation.unwrap_or_default() }
    }
}

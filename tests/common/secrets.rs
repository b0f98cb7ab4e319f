//! A proxy that asks for secrets by SDS, message by message.

use std::{io, path::Path};

use prost::Message;

use super::h2raw::{Answer, DATA, END_STREAM, Head, Raw, frame, message};

pub const STREAM_SECRETS: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
pub const DELTA_SECRETS: &str = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets";
pub const FETCH_SECRETS: &str = "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets";
pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(string, tag = "1")]
    pub version: String,
    /// A node as it is sent.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub node: Option<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    pub names: Vec<String>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
    #[prost(message, optional, tag = "6")]
    pub error: Option<Error>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Error {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Response {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct DeltaRequest {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub node: Option<Vec<u8>>,
    #[prost(string, tag = "2")]
    pub type_url: String,
    #[prost(string, repeated, tag = "3")]
    pub more: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub fewer: Vec<String>,
    #[prost(string, tag = "6")]
    pub nonce: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct DeltaResponse {
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    #[prost(string, tag = "5")]
    pub nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub gone: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(message, optional, tag = "2")]
    pub secret: Option<Any>,
    #[prost(string, tag = "3")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Secret {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub certificate: Option<Certificate>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub validation: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Certificate {
    #[prost(message, optional, tag = "1")]
    pub chain: Option<Inline>,
    #[prost(message, optional, tag = "2")]
    pub key: Option<Inline>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Inline {
    #[prost(bytes = "vec", tag = "2")]
    pub bytes: Vec<u8>,
}

impl Request {
    /// For these secrets.
    pub fn of(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names, type_url: SECRET.to_owned(), ..Self::default() }
    }

    /// The answer of this nonce was taken.
    pub fn took(self, nonce: &str) -> Self {
        Self { nonce: nonce.to_owned(), ..self }
    }
}

impl Response {
    /// The secrets that are in it.
    pub fn secrets(&self) -> Vec<Secret> {
        self.resources.iter().map(Any::secret).collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.secrets().into_iter().map(|one| one.name).collect()
    }

    /// The certificate of this name, PEM.
    pub fn chain(&self, name: &str) -> Vec<u8> {
        let found = self.secrets().into_iter().find(|one| one.name == name);
        found.and_then(|one| one.certificate?.chain).unwrap_or_default().bytes
    }
}

impl DeltaResponse {
    /// The secrets that are in it.
    pub fn secrets(&self) -> Vec<Secret> {
        self.resources.iter().filter_map(|one| one.secret.as_ref()).map(Any::secret).collect()
    }
}

impl Any {
    fn secret(&self) -> Secret {
        Secret::decode(&*self.value).expect("a secret that decodes")
    }
}

/// What Envoy 1.40 says of itself: its version, and the names of 516 extensions, in 61,000 bytes.
pub fn envoy(id: &str) -> Vec<u8> {
    let text = |tag: u8, text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        let long = [tag << 3 | 2, length & 0x7f | 0x80, length >> 7];
        [&long[..], text.as_bytes()].concat()
    };
    let version = [0x42, 6, 0x0a, 4, 0x08, 1, 0x10, 40];
    let extensions = (0..516).map(|number| {
        let name = format!("{:x<110.110}", format!("envoy.extension.{number:03}."));
        text(9, &format!("\n\u{6e}{name}"))
    });
    [text(1, id), text(6, "envoy"), version.to_vec(), extensions.collect::<Vec<_>>().concat()].concat()
}

/// A stream of requests that stays open.
#[derive(Clone, Copy, Debug)]
pub struct Asking(pub u32);

/// Opens a stream, with no message. No header says that it is a workload.
pub fn open(raw: &mut Raw, path: &str) -> io::Result<Asking> {
    let stream = raw.stream();
    raw.send(&Head::bare(path).frames(stream, 0))?;
    Ok(Asking(stream))
}

impl Asking {
    pub fn say(self, raw: &mut Raw, request: &impl Message) -> io::Result<()> {
        self.send(raw, &message(&request.encode_to_vec()))
    }

    /// Bytes of a body, in frames of the usual size.
    pub fn send(self, raw: &mut Raw, body: &[u8]) -> io::Result<()> {
        let frames: Vec<_> = body.chunks(16_384).map(|part| frame(DATA, 0, self.0, part)).collect();
        raw.send(&frames.concat())
    }

    pub fn end(self, raw: &mut Raw) -> io::Result<()> {
        raw.send(&frame(DATA, END_STREAM, self.0, &[]))
    }

    /// The next answer, or how it ended.
    pub fn next<T: Message + Default>(self, raw: &mut Raw) -> io::Result<Result<T, Answer>> {
        let next = raw.next_message(self.0)?;
        Ok(next.map(|bytes| T::decode(&*bytes).expect("an answer that decodes")))
    }
}

/// Opens a stream on a connection of its own, and asks.
pub fn ask(socket: &Path, request: &Request) -> io::Result<(Raw, Asking)> {
    let mut raw = Raw::connect(socket)?;
    let asking = open(&mut raw, STREAM_SECRETS)?;
    asking.say(&mut raw, request)?;
    Ok((raw, asking))
}

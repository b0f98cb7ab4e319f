//! The messages that tests send and read themselves: the standard's, and the few of the admin API that writers need.
#![allow(dead_code, unreachable_pub, reason = "each test target uses its own part of this")]

use std::{collections::HashMap, io, path::Path};

use prost::Message as _;

use super::h2raw::{Answer, FETCH_SVID, Head, Raw, message};

#[derive(Clone, PartialEq, prost::Message)]
pub struct Svids {
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<Svid>,
    #[prost(map = "string, bytes", tag = "3")]
    pub federated: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Svid {
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub chain: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub hint: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Bundles {
    #[prost(map = "string, bytes", tag = "2")]
    pub bundles: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JwtOrder {
    #[prost(string, repeated, tag = "1")]
    pub audience: Vec<String>,
    #[prost(string, tag = "2")]
    pub spiffe_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JwtSvids {
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<JwtSvid>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JwtSvid {
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    #[prost(string, tag = "2")]
    pub svid: String,
    #[prost(string, tag = "3")]
    pub hint: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ToValidate {
    #[prost(string, tag = "1")]
    pub audience: String,
    #[prost(string, tag = "2")]
    pub svid: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Validated {
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub claims: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WitOrder {
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WitSvids {
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<WitSvid>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WitSvid {
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    #[prost(string, tag = "2")]
    pub svid: String,
    #[prost(string, tag = "3")]
    pub key: String,
    #[prost(string, tag = "4")]
    pub hint: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JwtBundles {
    #[prost(map = "string, bytes", tag = "1")]
    pub bundles: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WitBundles {
    #[prost(map = "string, string", tag = "1")]
    pub bundles: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Foreign {
    #[prost(string, tag = "1")]
    pub trust_domain: String,
    #[prost(bytes = "vec", tag = "2")]
    pub document: Vec<u8>,
    #[prost(uint64, optional, tag = "6")]
    pub sequence: Option<u64>,
    #[prost(uint64, tag = "7")]
    pub revision: u64,
}

/// What `Bundles/Set` answers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ForeignSet {
    #[prost(message, optional, tag = "1")]
    pub bundle: Option<Foreign>,
    #[prost(bool, tag = "2")]
    pub changed: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Revoked {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RevokedPage {
    #[prost(message, repeated, tag = "1")]
    pub revoked: Vec<Revoked>,
    #[prost(string, tag = "2")]
    pub next: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RevokedAsked {
    #[prost(uint32, tag = "2")]
    pub page_size: u32,
    #[prost(string, tag = "3")]
    pub page_token: String,
}

/// A `jti` or a thumbprint.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Named {
    #[prost(string, tag = "1")]
    pub name: String,
}

/// For `Bundles/Show` and `Bundles/Delete`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ForeignNamed {
    #[prost(string, tag = "1")]
    pub trust_domain: String,
    #[prost(bool, tag = "2")]
    pub force: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub spiffe_id: String,
    #[prost(string, repeated, tag = "3")]
    pub selectors: Vec<String>,
    #[prost(uint64, tag = "4")]
    pub x509_ttl_seconds: u64,
    #[prost(string, repeated, tag = "6")]
    pub dns_names: Vec<String>,
    #[prost(uint64, tag = "12")]
    pub revision: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Create {
    #[prost(message, optional, tag = "1")]
    pub entry: Option<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Update {
    #[prost(message, optional, tag = "1")]
    pub entry: Option<Entry>,
    #[prost(uint64, tag = "2")]
    pub expected_revision: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Apply {
    #[prost(message, repeated, tag = "1")]
    pub create: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Delete {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct List {
    #[prost(uint32, tag = "6")]
    pub page_size: u32,
    #[prost(string, tag = "7")]
    pub page_token: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Listed {
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
    #[prost(string, tag = "2")]
    pub next_page_token: String,
    #[prost(uint64, tag = "3")]
    pub total: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    #[prost(string, tag = "5")]
    pub state: String,
    #[prost(string, repeated, tag = "6")]
    pub problems: Vec<String>,
    #[prost(uint64, tag = "7")]
    pub entries: u64,
    #[prost(uint64, tag = "9")]
    pub connections: u64,
    #[prost(uint64, tag = "10")]
    pub streams: u64,
    #[prost(message, repeated, tag = "13")]
    pub counters: Vec<Counter>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Counter {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub labels: String,
    #[prost(uint64, tag = "3")]
    pub value: u64,
}

impl Status {
    /// The sum of a family's counters whose name has `name` in it and whose labels have `label`.
    pub fn sum(&self, name: &str, label: &str) -> u64 {
        let wanted = self.counters.iter().filter(|one| one.name.contains(name) && one.labels.contains(label));
        wanted.map(|one| one.value).sum()
    }
}

/// A stream of SVIDs that is open.
pub struct Watch {
    pub raw: Raw,
    pub stream: u32,
}

impl Watch {
    pub fn open(socket: &Path) -> io::Result<Self> {
        let mut raw = Raw::connect(socket)?;
        let stream = raw.call(&Head::new(FETCH_SVID), &message(&[]))?;
        Ok(Self { raw, stream })
    }

    /// The next answer, or how it ended.
    pub fn next(&mut self) -> io::Result<Result<Vec<Svid>, Answer>> {
        let next = self.raw.next_message(self.stream)?;
        Ok(next.map(|bytes| Svids::decode(&*bytes).expect("an answer that decodes").svids))
    }
}

/// One unary call of the Workload API on a connection of its own; its answer, or how it was refused.
pub fn ask<T: prost::Message + Default>(
    socket: &Path,
    method: &str,
    request: &impl prost::Message,
) -> io::Result<Result<T, Answer>> {
    let mut raw = Raw::connect(socket)?;
    let head = Head::new(&format!("/SpiffeWorkloadAPI/{method}"));
    let stream = raw.call(&head, &message(&request.encode_to_vec()))?;
    let mut answer = raw.finish(stream)?;
    if answer.code() == Some(0) && answer.messages.len() == 1 {
        return Ok(Ok(T::decode(&*answer.messages.remove(0)).expect("an answer that decodes")));
    }
    Ok(Err(answer))
}

/// One call for SVIDs on a connection of its own.
pub fn fetch(socket: &Path) -> io::Result<Result<Vec<Svid>, Answer>> {
    Watch::open(socket)?.next()
}

/// The admin API on a connection of its own.
pub struct Admin(Raw);

impl Admin {
    pub fn connect(home: &Path) -> io::Result<Self> {
        Raw::connect(&home.join("admin.sock")).map(Self)
    }

    /// A unary call; its answer, or how it was refused.
    pub fn call<T: prost::Message + Default>(
        &mut self,
        method: &str,
        request: &impl prost::Message,
    ) -> io::Result<Result<T, Answer>> {
        let head = Head::bare(&format!("/dayfly.v1.{method}"));
        let stream = self.0.call(&head, &message(&request.encode_to_vec()))?;
        let mut answer = self.0.finish(stream)?;
        if answer.code() == Some(0) && !answer.messages.is_empty() {
            return Ok(Ok(T::decode(&*answer.messages.remove(0)).expect("an answer that decodes")));
        }
        Ok(Err(answer))
    }

    /// What the daemon says of itself.
    pub fn status(&mut self) -> io::Result<Status> {
        self.call("Control/Status", &Nothing {})?.map_err(|answer| io::Error::other(answer.words()))
    }

    /// Every entry there is.
    pub fn entries(&mut self) -> io::Result<Vec<Entry>> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = List { page_size: 1_000, page_token };
            let listed: Listed =
                self.call("Entries/List", &request)?.map_err(|answer| io::Error::other(answer.words()))?;
            all.extend(listed.entries);
            if listed.next_page_token.is_empty() {
                return Ok(all);
            }
            page_token = listed.next_page_token;
        }
    }
}

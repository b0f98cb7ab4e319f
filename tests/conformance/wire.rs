//! Messages that only this suite reads, and calls that it makes in a few ways.

use std::collections::HashMap;

use prost::Message as _;

use super::{
    common::{
        h2raw::{Answer, Head, Raw, message},
        messages::Nothing,
    },
    subject::Subject,
};

/// Every method of the service.
pub const METHODS: [&str; 7] = [
    "FetchX509SVID",
    "FetchX509Bundles",
    "FetchJWTSVID",
    "FetchJWTBundles",
    "ValidateJWTSVID",
    "FetchWITSVID",
    "FetchWITBundles",
];

/// `X509SVIDResponse`, with what is not of the SVIDs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct X509Answer {
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<super::common::messages::Svid>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub crl: Vec<Vec<u8>>,
    #[prost(map = "string, bytes", tag = "3")]
    pub federated_bundles: HashMap<String, Vec<u8>>,
}

/// `ServerReflectionRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reflect {
    #[prost(string, tag = "4")]
    pub file_containing_symbol: String,
}

/// `ServerReflectionResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reflected {
    #[prost(message, optional, tag = "4")]
    pub files: Option<Files>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub files: Vec<Vec<u8>>,
}

/// The path of a method of the service.
pub fn path(method: &str) -> String {
    format!("/SpiffeWorkloadAPI/{method}")
}

/// A call with an empty message on a connection of its own: its first message, or how it ended. `None` where it had no
/// answer at all.
pub fn call(subject: &Subject, head: &Head) -> Option<Result<Vec<u8>, Answer>> {
    let mut raw = subject.connect();
    let stream = raw.call(head, &message(&Nothing {}.encode_to_vec())).ok()?;
    raw.next_message(stream).ok()
}

/// The code with which a call with this body ended; 0 where it has an answer.
pub fn code(raw: &mut Raw, method: &str, body: &[u8]) -> Option<u32> {
    let stream = raw.call(&Head::new(&path(method)), &message(body)).ok()?;
    match raw.next_message(stream).ok()? {
        Ok(_) => Some(0),
        Err(answer) => answer.code(),
    }
}

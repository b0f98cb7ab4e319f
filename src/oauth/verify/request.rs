//! A request as a door has it. Nothing in it is believed.

use crate::oauth::{Certificate, target::Target};

/// What a door was sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, as the client wrote it.
    pub method: &'a str,
    /// The URL: its scheme and authority are the door's own, not what the client says.
    pub target: &'a Target,
    /// The name of the tool that it must be for, where the door knows one. It narrows; of a tool without URLs it says that
    /// it is meant.
    pub tool: Option<&'a str>,
    /// The values of all `Authorization` headers.
    pub authorization: &'a [&'a [u8]],
    /// The values of all `DPoP` headers.
    pub proofs: &'a [&'a [u8]],
    /// The values of all `Workload-Identity-Token` headers.
    pub workload_tokens: &'a [&'a [u8]],
    /// The values of all `Workload-Proof-Token` headers.
    pub workload_proofs: &'a [&'a [u8]],
    /// The values of all `Txn-Token` headers. They are not read, but a workload proof token must be for them.
    pub transaction_tokens: &'a [&'a [u8]],
    /// The certificates by which whoever ended the client's TLS connection has verified it; he alone says them.
    pub certificates: &'a [Certificate<'a>],
}

impl<'a> Request<'a> {
    /// A request without any credential.
    pub fn new(method: &'a str, target: &'a Target) -> Self {
        let none = &[];
        Self {
            method,
            target,
            tool: None,
            authorization: none,
            proofs: none,
            workload_tokens: none,
            workload_proofs: none,
            transaction_tokens: none,
            certificates: &[],
        }
    }
}

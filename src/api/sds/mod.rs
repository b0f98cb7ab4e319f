//! Envoy's secret discovery (SDS v3): a proxy takes its certificates and whom to trust by name, and again after each
//! change.
//!
//! | name | what it is |
//! |---|---|
//! | `default` | the X.509-SVID of the proxy's default identity |
//! | a SPIFFE ID | the X.509-SVID of that identity of the proxy |
//! | `ROOTCA` | the authorities of our trust domain |
//! | the ID of a trust domain | its authorities: ours, or those of one that the proxy's entries federate with |
//! | `ALL` | all of these, each believed for its own names (Envoy's SPIFFE validator) |
//!
//! What is not there is waited for, each name for itself. What was given and is taken away ends the stream, which says
//! why; the next one waits. The proxy is attested as any workload is. It sends no security header, and needs none: what
//! a client can be tricked into sending is no stream of protobuf over HTTP/2.

mod inbound;
mod name;
mod node;
mod protocol;
mod secret;
mod stream;
mod subscription;
mod talk;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use self::{
    inbound::ReadHere,
    protocol::{Delta, StateOfTheWorld},
    stream::{fetch, open},
};
use super::sealed::Nothing;
use crate::{
    issuance::Issuer,
    pb::envoy::service::{
        discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse},
        secret::v3::secret_discovery_service_server::{SecretDiscoveryService, SecretDiscoveryServiceServer},
    },
};

/// The service by its full name.
pub(super) const SERVICE: &str = "envoy.service.secret.v3.SecretDiscoveryService";
/// The longest message that is taken, in bytes. Envoy sends 61,000 with the names of its extensions, each time.
const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// What a stream asks for that begins with this message, and what its proxy says of itself.
///
/// # Errors
/// How the stream would end.
#[cfg(any(fuzzing, test))]
pub(crate) fn begin(message: SdsRequest) -> Result<(Vec<String>, [String; 3]), Status> {
    fn of<P: protocol::Protocol>(request: P::Request) -> Result<(Vec<String>, [String; 3]), Status> {
        let mut talk = talk::Talk::<P>::new();
        talk.hear(P::read(request))?;
        let names = talk.asked().names().map(|(name, _)| name.to_owned()).collect();
        let proxy = talk.proxy().clone();
        Ok((names, [proxy.id, proxy.cluster, proxy.agent]))
    }
    match message {
        SdsRequest::Whole(request) => of::<StateOfTheWorld>(request),
        SdsRequest::Delta(request) => of::<Delta>(request),
    }
}

/// A message of either protocol.
#[cfg(any(fuzzing, test))]
pub(crate) enum SdsRequest {
    Whole(DiscoveryRequest),
    Delta(DeltaDiscoveryRequest),
}

/// The service for the proxies of one daemon.
pub(super) fn service(issuer: Arc<Issuer>) -> ReadHere<SecretDiscoveryServiceServer<impl SecretDiscoveryService>> {
    ReadHere(SecretDiscoveryServiceServer::new(Sds { issuer }).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

struct Sds {
    issuer: Arc<Issuer>,
}

#[tonic::async_trait]
impl SecretDiscoveryService for Sds {
    type StreamSecretsStream = Nothing<DiscoveryResponse>;
    type DeltaSecretsStream = Nothing<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        open::<StateOfTheWorld>(&self.issuer, request).await
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        open::<Delta>(&self.issuer, request).await
    }

    async fn fetch_secrets(&self, request: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        fetch(&self.issuer, request).await
    }
}

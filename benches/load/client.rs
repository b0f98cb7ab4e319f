//! The client side: tonic over a Unix socket, as a workload or as the operator.

use std::{io, path::Path};

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Request, Streaming,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use crate::pb::workload::{
    JwtsvidRequest, ValidateJwtsvidRequest, X509svidRequest, X509svidResponse,
    spiffe_workload_api_client::SpiffeWorkloadApiClient,
};

/// A workload's client, on a connection of its own.
pub(crate) type Workload = SpiffeWorkloadApiClient<Channel>;
/// An open stream of SVIDs.
pub(crate) type Svids = Streaming<X509svidResponse>;

/// A new connection to `socket`.
pub(crate) async fn connect(socket: &Path) -> Result<Channel> {
    let stream = UnixStream::connect(socket).await.with_context(|| format!("connect {}", socket.display()))?;
    over(stream).await
}

/// HTTP/2 over a connection that is there already.
pub(crate) async fn over(stream: UnixStream) -> Result<Channel> {
    let mut stream = Some(stream);
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(stream.map(TokioIo::new))
    });
    Ok(Endpoint::from_static("http://localhost").connect_with_connector(connector).await?)
}

/// Asks for SVIDs and waits for the first answer; the stream stays open as long as it is kept.
pub(crate) async fn fetch(client: &mut Workload) -> Result<Svids> {
    let mut svids = client.fetch_x509svid(marked(X509svidRequest {})).await?.into_inner();
    let first = svids.message().await?.context("the stream ended before its first answer")?;
    let svid = first.svids.first().context("an answer without an SVID")?;
    anyhow::ensure!(!svid.x509_svid_key.is_empty(), "an SVID without a key");
    Ok(svids)
}

/// A JWT-SVID for one audience.
pub(crate) async fn token(client: &mut Workload, audience: &str) -> Result<String> {
    let request = JwtsvidRequest { audience: vec![audience.to_owned()], spiffe_id: String::new() };
    let answer = client.fetch_jwtsvid(marked(request)).await?.into_inner();
    Ok(answer.svids.into_iter().next().context("an answer without a token")?.svid)
}

/// Has a JWT-SVID judged, which must be valid.
pub(crate) async fn judge(client: &mut Workload, audience: &str, svid: &str) -> Result<()> {
    let request = ValidateJwtsvidRequest { audience: audience.to_owned(), svid: svid.to_owned() };
    let answer = client.validate_jwtsvid(marked(request)).await?.into_inner();
    anyhow::ensure!(!answer.spiffe_id.is_empty(), "a judgement without a name");
    Ok(())
}

/// A request with the header that every caller sends.
pub(crate) fn marked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

/// Runs `work` to its end on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

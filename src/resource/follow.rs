//! The issuer's keys, as a daemon of this node publishes them on `http.sock`.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;

use crate::oauth::access::{JWKS_BYTES_MAX, JwksError};

use super::ResourceServer;

/// How often it is asked. A new key is published longer before its use.
const INTERVAL: Duration = Duration::from_secs(30);
/// The same while nothing was answered.
const RETRY: Duration = Duration::from_secs(1);
/// The longest wait for an answer.
const WAIT: Duration = Duration::from_secs(5);

/// Why there are no newer keys; those that were there stay.
#[derive(Debug, Error)]
pub enum FollowError {
    /// Nobody listens there, or not for this user.
    #[error("the daemon cannot be reached")]
    Connect(#[from] std::io::Error),
    /// What answers is no daemon, or it is stopping.
    #[error("the daemon gave no answer")]
    Http(#[from] hyper::Error),
    /// The answer has another status than 200.
    #[error("the daemon answered {0}")]
    Status(StatusCode),
    /// The answer was cut off, or is longer than any set of keys.
    #[error("the answer is not whole, or too long")]
    Body,
    /// Nothing came in time.
    #[error("the daemon did not answer in time")]
    Silent,
    /// What came is no set of keys.
    #[error(transparent)]
    Keys(#[from] JwksError),
}

/// Fetches the keys once.
///
/// # Errors
/// See [`FollowError`].
pub async fn fetch_keys(server: &ResourceServer, http_socket: &Path) -> Result<(), FollowError> {
    let jwks = tokio::time::timeout(WAIT, fetch(http_socket)).await.map_err(|_| FollowError::Silent)??;
    Ok(server.set_keys(&jwks)?)
}

/// Keeps the keys as the daemon has them, for as long as the server is used elsewhere; `told` hears of each failure.
pub async fn follow_keys(server: Arc<ResourceServer>, http_socket: &Path, mut told: impl FnMut(FollowError)) {
    while Arc::strong_count(&server) > 1 {
        let outcome = fetch_keys(&server, http_socket).await;
        let wait = if outcome.is_ok() { INTERVAL } else { RETRY };
        outcome.unwrap_or_else(&mut told);
        tokio::time::sleep(wait).await;
    }
}

async fn fetch(http_socket: &Path) -> Result<Bytes, FollowError> {
    let stream = UnixStream::connect(http_socket).await?;
    let (mut daemon, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when nobody asks over it any more.
    tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static("/oauth/jwks");
    request.headers_mut().insert(HOST, http::HeaderValue::from_static("dayfly"));
    let answer = daemon.send_request(request).await?;
    match answer.status() {
        StatusCode::OK => {}
        status => return Err(FollowError::Status(status)),
    }
    let body = Limited::new(answer.into_body(), JWKS_BYTES_MAX).collect().await;
    body.map(|body| body.to_bytes()).map_err(|_| FollowError::Body)
}

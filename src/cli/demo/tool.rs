//! The demo's tool: it has the daemon judge each request, as a proxy would, and keeps a careless log.

use std::{
    convert::Infallible,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixStream};

use crate::cli::{failure::Failure, print::Printer};

use super::role::Event;

const PROOF: HeaderName = HeaderName::from_static("dpop");
const AGENT: HeaderName = HeaderName::from_static("x-dayfly-agent");
/// What a refusal tells the client.
const TOLD: [HeaderName; 2] = [header::WWW_AUTHENTICATE, HeaderName::from_static("dpop-nonce")];

/// Where a tool's base URL is.
pub(super) fn base_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

struct Tool {
    authz: PathBuf,
    port: u16,
    log: Mutex<File>,
}

/// Serves until the process ends.
///
/// # Errors
/// When it cannot listen, or has no log.
pub(super) async fn serve(print: &Printer, authz: &Path, log: &Path) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::because("tickets cannot serve", &error);
    let log = OpenOptions::new().create(true).append(true).open(log).map_err(cannot)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(cannot)?;
    let port = listener.local_addr().map_err(cannot)?.port();
    let tool = Arc::new(Tool { authz: authz.to_owned(), port, log: Mutex::new(log) });
    print.json_line(&Event::Listening { port })?;
    loop {
        let (stream, _) = listener.accept().await.map_err(cannot)?;
        let tool = tool.clone();
        let requests = service_fn(move |request| {
            let tool = tool.clone();
            async move { Ok::<_, Infallible>(tool.answer(&request).await) }
        });
        tokio::spawn(server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), requests));
    }
}

impl Tool {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        // Closed without a verdict, whatever the reason is.
        let judged = match self.write_down(request) {
            Ok(()) => self.judged(request).await.ok(),
            Err(_) => None,
        };
        let (status, headers) = judged.unwrap_or((StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new()));
        let agent = headers.get(&AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let body = if status.is_success() { format!("ticket 7, read by {agent}\n") } else { String::new() };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        for name in TOLD {
            headers.get(&name).map(|value| response.headers_mut().insert(name, value.clone()));
        }
        response
    }

    /// What nobody should do, and many do: all of a request in a log.
    fn write_down(&self, request: &Request<Incoming>) -> io::Result<()> {
        let mut words = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            words.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
        self.log.lock().unwrap_or_else(PoisonError::into_inner).write_all(words.as_bytes())
    }

    async fn judged(
        &self,
        request: &Request<Incoming>,
    ) -> Result<(StatusCode, HeaderMap), Box<dyn std::error::Error + Send + Sync>> {
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut asked = Request::get("/verify")
            .header(header::HOST, "dayfly")
            .header("x-original-method", request.method().as_str())
            .header("x-original-url", format!("{}{path}", base_url(self.port)))
            .body(Empty::<Bytes>::new())?;
        for name in [header::AUTHORIZATION, PROOF] {
            for value in request.headers().get_all(&name) {
                asked.headers_mut().append(&name, HeaderValue::clone(value));
            }
        }
        let stream = UnixStream::connect(&self.authz).await?;
        let (mut daemon, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let answered = daemon.send_request(asked).await?;
        Ok((answered.status(), answered.headers().clone()))
    }
}

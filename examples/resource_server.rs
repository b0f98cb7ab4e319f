//! A service in Rust that verifies its requests itself: `GET /items/…` takes the scope `read`, nothing else passes.
//!
//! ```sh
//! dayfly tool add tickets --audience https://tickets.example.org --url http://127.0.0.1:8080 --scope read=read --route 'GET /items/*=read'
//! cargo run --example resource_server -- example.org /run/dayfly/http.sock 8080
//! dayfly http GET http://127.0.0.1:8080/items/7
//! ```
#![expect(clippy::print_stderr, reason = "a program for people")]

use std::{convert::Infallible, env, error::Error, net::Ipv4Addr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use dayfly::{
    oauth::{Scope, freshness::Settings, target::Base, target::Route, verify::Verified},
    resource::{GuardLayer, Protected, ResourceServer, fetch_keys, follow_keys},
    spiffe::TrustDomain,
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::{Layer as _, service_fn};

/// What is protected, for a service on this port of the loopback interface.
pub(crate) fn protected(trust_domain: &str, port: u16) -> Result<Protected, Box<dyn Error>> {
    Ok(Protected {
        trust_domain: TrustDomain::parse(trust_domain)?,
        issuer: format!("https://{trust_domain}/oauth"),
        name: "tickets".to_owned(),
        audience: "https://tickets.example.org".to_owned(),
        base_url: Base::parse(&format!("http://127.0.0.1:{port}"))?,
        routes: vec![(Route::parse("GET /items/*")?, Scope::parse("read")?)],
    })
}

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, server: Arc<ResourceServer>) -> Result<(), Box<dyn Error>> {
    let guarded = GuardLayer::new(server).layer(service_fn(answer));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(guarded.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// The service itself. Only what was verified comes here.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let agent = request.extensions().get::<Verified>().map(Verified::agent).unwrap_or_default();
    Ok(Response::new(format!("{}, for {agent}\n", request.uri().path()).into()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let mut next = |what| args.next().ok_or(format!("{what} is missing"));
    let (trust_domain, socket) = (next("the trust domain")?, PathBuf::from(next("the path of http.sock")?));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, next("the port")?.parse()?)).await?;
    let port = listener.local_addr()?.port();
    let server = Arc::new(ResourceServer::new(protected(&trust_domain, port)?, Settings::default())?);
    fetch_keys(&server, &socket).await?;
    let following = server.clone();
    tokio::spawn(async move { follow_keys(following, &socket, |error| eprintln!("keys: {error}")).await });
    serve(listener, server).await
}

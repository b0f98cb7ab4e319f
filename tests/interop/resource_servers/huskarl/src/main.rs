//! A resource server by huskarl: `huskarl-peer JWKS ISSUER AUDIENCE`. Says "listening PORT", and to whom it answers.

use std::{
    collections::HashSet,
    convert::Infallible,
    error::Error,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use http::{Request, Response, Uri};
use http_body_util::Full;
use huskarl_resource_server::{
    core::{self, jwt::JtiUniquenessChecker, platform::MaybeSendBoxFuture},
    error::InsufficientScope,
    validator::rfc9068::Rfc9068Validator,
};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The proofs that were used. huskarl keeps none of them itself.
#[derive(Debug, Default)]
struct Used(Mutex<HashSet<String>>);

impl JtiUniquenessChecker for Used {
    /// Whether it was seen before.
    fn check_and_mark_seen(&self, jti: &str) -> MaybeSendBoxFuture<'_, Result<bool, core::Error>> {
        let is_new = self.0.lock().unwrap().insert(jti.to_owned());
        Box::pin(async move { Ok(!is_new) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |what| args.next().ok_or(format!("{what} is missing"));
    let validator = Rfc9068Validator::builder()
        .jwks_uri(next("the URL of the keys")?.parse()?)
        .issuer(next("the issuer")?)
        .audience(next("the audience")?)
        .require_dpop(true)
        .dpop_jti_checker(Used::default())
        .jwks_source(huskarl_reqwest::ReqwestClient::builder().build().await?)
        .build()
        .await?;
    let validator = Arc::new(validator);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    println!("listening {port}");
    loop {
        let (stream, _) = listener.accept().await?;
        let validator = validator.clone();
        let service = service_fn(move |request| {
            let validator = validator.clone();
            async move { Ok::<_, Infallible>(answer(&validator, request, port).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(validator: &Rfc9068Validator, request: Request<Incoming>, port: u16) -> Response<Full<Bytes>> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("http://127.0.0.1:{port}{path}").parse().unwrap();
    let result = validator.validate_request(request.headers(), request.method(), &uri, None).await;
    let metadata = validator.validator_metadata(None);
    let (rejection, said) = match (result.rejection(&metadata, None), result.outcome) {
        (None, Ok(Some(token))) => {
            let (agent, scopes) = (token.claims.client_id, token.claims.scope.unwrap_or_default());
            let subject = token.sub.unwrap_or_default();
            let lacks = path.starts_with("/admin") && !scopes.split(' ').any(|scope| scope == "admin");
            match lacks {
                true => (Some(metadata.rejection(&InsufficientScope::new("admin"), None)), String::new()),
                false => (None, format!("{subject} {agent} {scopes}")),
            }
        }
        (rejection, outcome) => (rejection, format!("{outcome:?}")),
    };
    let answer = rejection.map_or_else(Response::builder, |rejection| rejection.apply(Response::builder()));
    answer.body(Full::new(said.into())).unwrap()
}

//! The verifier over HTTP/1.1, as forward authentication asks (nginx `auth_request`, Caddy, Traefik): the original method
//! and URL come in headers that the proxy writes, the client's headers as they are.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::Authz;
use crate::{
    api::pages::{Answer, Asked, Pages, closing, words},
    audit,
    oauth::{challenge::Challenge, target::Target, verify::Request},
};

/// The only page.
const VERIFY: &str = "/verify";
/// What the proxy says of the request.
const METHOD: HeaderName = HeaderName::from_static("x-original-method");
const URL: HeaderName = HeaderName::from_static("x-original-url");
/// What the upstream is told. Both are in every answer, so that the proxy overwrites what the client sent.
const AGENT: HeaderName = HeaderName::from_static("x-dayfly-agent");
const SCOPES: HeaderName = HeaderName::from_static("x-dayfly-scopes");

/// The pages of the verifier.
pub(super) struct Verify(pub(super) Arc<Authz>);

impl Pages for Verify {
    fn answer(&self, asked: Asked) -> BoxFuture<'_, Answer> {
        let answer = match asked.uri.path() {
            VERIFY => self.verify(&asked),
            _ => told(words(StatusCode::NOT_FOUND, "not found\n"), "", ""),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Verify {
    fn verify(&self, asked: &Asked) -> Answer {
        let bad = |words_: String| told(words(StatusCode::BAD_REQUEST, words_), "", "");
        let (method, url) = match (one(&asked.headers, &METHOD), one(&asked.headers, &URL)) {
            (Some(method), Some(url)) => (method, url),
            _ => return bad(format!("the proxy must send one {METHOD} and one {URL}\n")),
        };
        let target = match Target::parse(url) {
            Ok(target) => target,
            Err(error) => return bad(format!("{URL}: {error}\n")),
        };
        let all = |name: &HeaderName| asked.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        let named = |name| all(&HeaderName::from_static(name));
        let request = Request {
            authorization: &all(&header::AUTHORIZATION),
            proofs: &named("dpop"),
            workload_tokens: &named("workload-identity-token"),
            workload_proofs: &named("workload-proof-token"),
            transaction_tokens: &named("txn-token"),
            ..Request::new(method, &target)
        };
        let peer = asked.caller.peer();
        let asker = audit::Caller { pid: peer.pid(), uid: peer.uid(), gid: peer.gid(), exe: None };
        match self.0.verify(&asker, &request) {
            None => closing(told(words(StatusCode::SERVICE_UNAVAILABLE, "not now\n"), "", "")),
            Some(Ok(verified)) => told(words(StatusCode::OK, ""), verified.agent(), &verified.scopes().to_string()),
            Some(Err(refusal)) => challenged(refusal.challenge),
        }
    }
}

/// The value of a header that is there once, as text.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn told(mut answer: Answer, agent: &str, scopes: &str) -> Answer {
    for (name, value) in [(AGENT, agent), (SCOPES, scopes)] {
        let value = HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""));
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn challenged(challenge: Challenge) -> Answer {
    let status = StatusCode::from_u16(challenge.status).unwrap_or(StatusCode::FORBIDDEN);
    let mut answer = told(words(status, ""), "", "");
    let texts =
        [(header::WWW_AUTHENTICATE, challenge.authenticate), (HeaderName::from_static("dpop-nonce"), challenge.nonce)];
    for (name, value) in texts {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            answer.headers_mut().insert(name, value);
        }
    }
    if let Some(after) = challenge.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, after.as_secs().max(1).into());
    }
    answer
}

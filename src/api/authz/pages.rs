//! The verifier over HTTP/1.1, as forward authentication asks (nginx `auth_request`, Caddy, Traefik): the original method
//! and URL come in headers that the proxy writes, the client's headers as they are.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{
    Authz, asker,
    refused::Refused,
    request::{Malformed, Sent},
};
use crate::{
    api::pages::{Answer, Asked, KEPT_SECONDS, Pages, closing, document, only, words},
    oauth::target::Target,
};

/// The page that judges.
const VERIFY: &str = "/verify";
/// The page that says what a tool needs.
const METADATA: &str = "/metadata";
/// What the proxy says of the request.
const METHOD: HeaderName = HeaderName::from_static("x-original-method");
const URL: HeaderName = HeaderName::from_static("x-original-url");
/// What the upstream is told. Both are in every answer, so that the proxy overwrites what the client sent.
const AGENT: HeaderName = HeaderName::from_static("x-dayfly-agent");
const SCOPES: HeaderName = HeaderName::from_static("x-dayfly-scopes");

/// The pages of the verifier.
pub(super) struct Verify {
    pub(super) authz: Arc<Authz>,
    /// Where the proxy says the client's certificate.
    pub(super) certificate: Option<HeaderName>,
}

impl Pages for Verify {
    fn answer(&self, asked: Asked) -> BoxFuture<'_, Answer> {
        let answer = match asked.uri.path() {
            VERIFY => self.verify(&asked),
            METADATA => self.metadata(&asked),
            _ => self.refuse(StatusCode::NOT_FOUND, "not found"),
        };
        Box::pin(std::future::ready(answer))
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Answer {
        told(words(status, format!("{why}\n")), "", "")
    }
}

impl Verify {
    fn verify(&self, asked: &Asked) -> Answer {
        match self.authz.judge(&asker(&asked.caller), sent(&asked.headers, self.certificate.as_ref())) {
            Ok(Ok(verified)) => told(words(StatusCode::OK, ""), verified.agent(), &verified.scopes().to_string()),
            Ok(Err(refused)) => challenged(refused),
            Err(_) => closing(self.refuse(StatusCode::SERVICE_UNAVAILABLE, "not now")),
        }
    }

    /// A tool's metadata (RFC 9728 §3.2), for the URL that the proxy was asked for it at.
    fn metadata(&self, asked: &Asked) -> Answer {
        if !matches!(asked.method, Method::GET | Method::HEAD) {
            return only(self.refuse(StatusCode::METHOD_NOT_ALLOWED, "this page takes only GET"), "GET, HEAD");
        }
        let Some(url) = one(&asked.headers, &URL) else {
            return self.refuse(StatusCode::BAD_REQUEST, "the proxy must send one X-Original-URL");
        };
        match Target::parse(url).map(|url| self.authz.metadata(&url)) {
            Ok(Some(metadata)) => document(StatusCode::OK, metadata, KEPT_SECONDS),
            Ok(None) => self.refuse(StatusCode::NOT_FOUND, "no tool has its metadata at this URL"),
            Err(error) => self.refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }
}

/// What a proxy says of a request.
fn sent<'a>(headers: &'a HeaderMap, certificate: Option<&HeaderName>) -> Result<Sent<'a>, Malformed> {
    let (method, url) = one(headers, &METHOD).zip(one(headers, &URL)).ok_or(Malformed::Missing)?;
    let certificates = certificate.into_iter().flat_map(|name| headers.get_all(name)).map(HeaderValue::as_bytes);
    let all = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Ok(Sent::new(method, url, None, all).with_certificates(certificates))
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

fn challenged(refused: Refused) -> Answer {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::FORBIDDEN);
    let mut answer = told(words(status, refused.words), "", "");
    for (name, value) in refused.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    answer
}

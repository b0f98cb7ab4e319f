//! Pages over HTTP/1.1, for callers that speak no gRPC: each request is whole before it is looked at, and so is its
//! answer.

use std::{convert::Infallible, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use tokio::time::{Instant, timeout};

use super::{
    body::Place,
    connection::Terms,
    drive::{Drive, End},
    limits::ConnectionSlot,
    status, turns,
};
use crate::{
    attest::Caller,
    sys::{counters::Counters, stream::Stream},
};

/// A request's line and headers.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Its headers.
pub(crate) const HEADERS_MAX: usize = 100;
/// Its body.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// What is asked, whole.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Who asks.
    pub(crate) caller: Arc<Caller>,
}

/// What is answered.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What answers on a socket.
pub(crate) trait Pages: Send + Sync {
    /// Answers one request. A panic in it is told as 500.
    fn answer(&self, asked: Asked) -> BoxFuture<'_, Answer>;

    /// What is told of a request that is none, or not now, in the form that clients of these pages read. What hyper takes
    /// for no request at all never comes here: its own 400 and 431 have no headers, and caches store neither (RFC 9110
    /// §15.1).
    fn refuse(&self, status: StatusCode, why: &str) -> Answer {
        words(status, format!("{why}\n"))
    }
}

/// An answer of words.
pub(crate) fn words(status: StatusCode, words: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(words.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// An answer of JSON, which may be kept so long as `Cache-Control` says.
pub(crate) fn document(status: StatusCode, body: impl Into<Bytes>, kept: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// The page has only these methods.
pub(crate) fn only(mut answer: Answer, methods: &'static str) -> Answer {
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

/// So long clients may keep what changes rarely, in seconds.
pub(crate) const KEPT_SECONDS: &str = "max-age=3600";

/// Serves a connection to its end.
pub(super) async fn serve(stream: Stream, caller: Arc<Caller>, drive: Drive, pages: Arc<dyn Pages>) -> End {
    let Terms { preface, request: wait, .. } = drive.service.terms;
    let door =
        Arc::new(Page { pages, caller, wait, slot: drive.slot.clone(), counters: drive.service.counters.clone() });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(preface)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(true)
        .auto_date_header(false);
    let requests = service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });
    let connection = pin!(builder.serve_connection(stream, requests));
    drive.run(connection, |connection| connection.graceful_shutdown()).await
}

/// One connection's way to the pages.
struct Page {
    pages: Arc<dyn Pages>,
    caller: Arc<Caller>,
    /// Until a request has come whole.
    wait: Duration,
    slot: Arc<ConnectionSlot>,
    counters: Arc<Counters>,
}

impl Page {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let answer = match self.slot.stream(Instant::now().into_std()) {
            Ok(place) => {
                let _place = Place::new(place, self.counters.clone());
                self.answer_in_place(request).await
            }
            Err(over) => {
                self.counters.limit_met(over.code());
                let mut answer = self.pages.refuse(StatusCode::SERVICE_UNAVAILABLE, status::overloaded(over).message());
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                closing(answer)
            }
        };
        self.counters.page(answered(answer.status()));
        answer
    }

    async fn answer_in_place(&self, request: Request<Incoming>) -> Answer {
        let refused = |status, why| closing(self.pages.refuse(status, why));
        if request.headers().get_all(header::HOST).iter().count() != 1 {
            return refused(StatusCode::BAD_REQUEST, "a request has exactly one Host");
        }
        let (head, body) = request.into_parts();
        let body = match timeout(self.wait, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return refused(StatusCode::PAYLOAD_TOO_LARGE, "a request's body has at most 64 KiB");
            }
            Ok(Err(_)) => return refused(StatusCode::BAD_REQUEST, "the request's body cannot be read"),
            Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "the request did not come whole in time"),
        };
        let asked =
            Asked { method: head.method, uri: head.uri, headers: head.headers, body, caller: self.caller.clone() };
        let answering = AssertUnwindSafe(async { self.pages.answer(asked).await }).catch_unwind();
        match turns::take(self.slot.turns(), answering).await {
            Ok(answer) => answer,
            Err(_) => {
                self.counters.panicked();
                refused(StatusCode::INTERNAL_SERVER_ERROR, "something broke; try again")
            }
        }
    }
}

/// A status as it is counted.
fn answered(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        413 => "413",
        429 => "429",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}

/// The connection ends after it.
pub(super) fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

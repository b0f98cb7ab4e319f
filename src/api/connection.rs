//! One connection, from its first byte to its last: HTTP over a stream whose every byte has a known writer.

use std::{convert::Infallible, future::Future, mem, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status, service::Routes};
use tower::Service as _;

use super::{
    admin::AdminCaller,
    allowance::Allowance,
    body::{Guarded, Place},
    drive::{Drive, End},
    inbound::{Messages, Timely, is_grpc},
    limits::ConnectionSlot,
    pages::{self, Pages},
    sds,
    sealed::unseal,
    status, turns,
};
use crate::{
    attest::Caller,
    issuance::HolderKeys,
    sys::{
        counters::Counters,
        peer::Fault,
        stream::{Speech, Stream},
    },
};

/// What HTTP/2 may cost on one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) streams_max: u32,
    pub(crate) header_list_bytes_max: u32,
    /// Until the first frame after the preface; over HTTP/1.1, until each request's head.
    pub(crate) preface: Duration,
    /// Until a request has come whole.
    pub(crate) request: Duration,
    /// What its user may ask for in a second; a connection that asks for twice as much is a flood.
    pub(crate) requests_per_second: u32,
}

impl Terms {
    /// The same for proxies, which keep connections and close them by themselves; nginx after a minute, if nothing else is
    /// said. One that is closed under a request is a request that does not pass.
    pub(crate) fn for_proxies(self) -> Self {
        let least = Duration::from_secs(90);
        Self { preface: self.preface.max(least), ..self }
    }

    /// The same for admins, whose requests are few and may be large.
    pub(crate) fn for_admins(self) -> Self {
        let least = Duration::from_secs(10);
        Self { preface: self.preface.max(least), request: self.request.max(least), ..self }
    }
}

/// What a connection is served with.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) offers: Offers,
    pub(crate) terms: Terms,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stopping: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

/// What a socket offers.
#[derive(Clone)]
pub(crate) enum Offers {
    /// gRPC. Where it is not the admin socket, each request must carry `workload.spiffe.io: true`.
    Calls { routes: Routes, is_admin: bool },
    /// Pages over HTTP/1.1.
    Pages(Arc<dyn Pages>),
    /// Either, as the client begins. Proxies are told to call and cannot be told to send a header, so none is asked for.
    Both { routes: Routes, pages: Arc<dyn Pages> },
}

impl Offers {
    /// Whether it is for admins.
    pub(crate) fn is_for_admins(&self) -> bool {
        matches!(self, Self::Calls { is_admin: true, .. })
    }

    /// What is spoken there.
    pub(crate) fn speech(&self) -> Speech {
        match self {
            Self::Calls { .. } => Speech::Http2,
            Self::Pages(_) => Speech::Http1,
            Self::Both { .. } => Speech::Either,
        }
    }

    /// Whether its calls must carry the header of the Workload API.
    fn asks_for_header(&self) -> bool {
        matches!(self, Self::Calls { is_admin: false, .. })
    }
}

/// Who asks, as each request is told.
#[derive(Clone)]
enum Asker {
    Workload(Workload),
    Admin(AdminCaller),
}

/// A workload, as long as its connection lives.
#[derive(Clone)]
pub(crate) struct Workload {
    pub(crate) caller: Arc<Caller>,
    /// Of its WIT-SVIDs.
    pub(crate) keys: Arc<HolderKeys>,
    pub(crate) allowance: Allowance,
}

impl Workload {
    /// Who asks, put there by the connection.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        request.extensions().get::<Self>().cloned().ok_or_else(status::panicked)
    }

    fn new(caller: Arc<Caller>, allowance: Allowance) -> Self {
        Self { caller, keys: Arc::default(), allowance }
    }
}

/// What may wait to be sent on one stream.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Serves a connection to its end; an admin's, if it says so.
pub(crate) async fn serve(
    stream: Stream,
    caller: Arc<Caller>,
    admin: Option<AdminCaller>,
    slot: Arc<ConnectionSlot>,
    service: Service,
) -> End {
    let Ok(exit) = caller.exit() else { return End::Fault(Fault::Gone) };
    let drive = Drive { guard: stream.another(), exit, slot: slot.clone(), service: service.clone() };
    // In boxes, so that most connections are not as large as the few.
    let routes = match &service.offers {
        Offers::Calls { routes, .. } => routes.clone(),
        Offers::Pages(pages) => return Box::pin(pages::serve(stream, caller, drive, pages.clone())).await,
        Offers::Both { routes, pages } => match Box::pin(drive.hear()).await {
            Ok(Speech::Http2) => routes.clone(),
            Ok(_) => return Box::pin(pages::serve(stream, caller, drive, pages.clone())).await,
            Err(end) => return end,
        },
    };
    let mut builder = http2::Builder::new(Tracked(service.tracker.clone()));
    builder
        .max_concurrent_streams(service.terms.streams_max)
        .max_header_list_size(service.terms.header_list_bytes_max)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .auto_date_header(false);
    let workload = || Workload::new(caller, Allowance::new(slot.clone(), service.counters.clone()));
    let asker = admin.map_or_else(|| Asker::Workload(workload()), Asker::Admin);
    // In a box, which goes when the answer begins: hyper keeps room for the larger of both while a stream is open.
    let requests = service_fn(move |request| {
        Box::pin(answer(request, routes.clone(), asker.clone(), slot.clone(), service.clone()))
    });
    let connection = pin!(builder.serve_connection(stream, requests));
    drive.run(connection, |connection| connection.graceful_shutdown()).await
}

/// What is used of a request's headers from here on. The rest would cost its memory, which is many times what it cost
/// to send, for as long as the call lasts. grpc-timeout is the client's to keep: tonic would end a slow call with
/// Cancelled, which ends a watch for good.
fn keep_few(headers: &mut HeaderMap) {
    const KEPT: [&str; 3] = ["content-type", "grpc-encoding", "grpc-accept-encoding"];
    let mut all = mem::take(headers);
    for name in KEPT {
        if let Some(value) = all.remove(name) {
            headers.insert(name, value);
        }
    }
}

/// What the paths of calls begin with that have more than one message from the client, beside those of proxies.
const REFLECTION: &str = "/grpc.reflection.";

fn is_of_service(path: &str, service: &str) -> bool {
    path.strip_prefix('/').and_then(|path| path.strip_prefix(service)).is_some_and(|rest| rest.starts_with('/'))
}

/// Answers one request. A panic becomes Unavailable, since a reset stream would look like a cancelled one.
async fn answer(
    request: Request<Incoming>,
    mut routes: Routes,
    asker: Asker,
    slot: Arc<ConnectionSlot>,
    service: Service,
) -> Result<Response<Guarded>, Infallible> {
    let counters = &service.counters;
    let refused = |status: Status| {
        counters.request_refused(status.code());
        status.into_http().map(|body: tonic::body::Body| Guarded::new(body, counters.clone()))
    };
    // Before anything is looked at, so that nobody refuses more for a caller than it may ask for.
    let place = match slot.stream(Instant::now().into_std()) {
        Ok(place) => place,
        Err(over) => {
            counters.limit_met(over.code());
            return Ok(refused(status::overloaded(over)));
        }
    };
    if !is_grpc(request.headers()) {
        counters.request_refused(Code::Unknown);
        let mut response = Response::new(Guarded::new(tonic::body::Body::empty(), counters.clone()));
        *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Ok(response);
    }
    // Before attestation, before the body is read, and for every service: no method can get round it.
    let is_of_proxy = is_of_service(request.uri().path(), sds::SERVICE);
    if service.offers.asks_for_header() && !is_of_proxy && !has_security_header(request.headers()) {
        return Ok(refused(Status::invalid_argument(status::NO_HEADER)));
    }
    let place = Place::new(place, counters.clone());
    let method = method_name(request.uri().path());
    let (wait, slot_of_messages) = (service.terms.request, slot.clone());
    let path = request.uri().path();
    let asks_again = (is_of_proxy && !path.ends_with("/FetchSecrets")) || path.starts_with(REFLECTION);
    let mut request = request.map(|body| match asks_again {
        true => tonic::body::Body::new(Messages::new(body, wait, slot_of_messages)),
        false => tonic::body::Body::new(Timely::new(body, wait)),
    });
    match asker {
        Asker::Admin(caller) => drop(request.extensions_mut().insert(caller)),
        Asker::Workload(workload) => drop(request.extensions_mut().insert(workload)),
    }
    keep_few(request.headers_mut());
    Ok(match guard(turns::take(slot.turns(), routes.call(request))).await {
        Ok(response) => {
            counters
                .request(method, Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()));
            // What is sealed was counted when it was made.
            let (response, is_counted) = unseal(response);
            response.map(|body| Guarded::placed(body, place, is_counted))
        }
        Err(panicked) => {
            counters.panicked();
            refused(panicked)
        }
    })
}

/// A handler's answer, or what is told of it when it panics.
async fn guard<T>(call: impl Future<Output = Result<T, Infallible>>) -> Result<T, Status> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(never)) => match never {},
        Err(_) => Err(status::panicked()),
    }
}

/// The methods that are counted by name; a caller's other words are not.
fn method_name(path: &str) -> &'static str {
    const METHODS: [&str; 23] = [
        "FetchX509SVID",
        "FetchX509Bundles",
        "FetchJWTSVID",
        "FetchJWTBundles",
        "ValidateJWTSVID",
        "FetchWITSVID",
        "FetchWITBundles",
        "StreamSecrets",
        "DeltaSecrets",
        "FetchSecrets",
        "Create",
        "Update",
        "Delete",
        "Show",
        "List",
        "Apply",
        "Status",
        "Explain",
        "SetLogLevel",
        "Replace",
        "Check",
        "Watch",
        "Verify",
    ];
    let last = path.rsplit('/').next().unwrap_or_default();
    METHODS.into_iter().find(|method| *method == last).unwrap_or("other")
}

/// Exactly one `workload.spiffe.io: true`, to the letter (SPIFFE Workload Endpoint §4.1).
fn has_security_header(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all("workload.spiffe.io").iter();
    values.next().is_some_and(|value| value.as_bytes() == b"true") && values.next().is_none()
}

/// Runs hyper's streams where they are counted.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_handler_is_unavailable() {
        let told = guard(async { panic!("injected") }).await.map(|never: Infallible| never).unwrap_err();
        assert_eq!(told.code(), Code::Unavailable);
        let later = guard(async {
            tokio::task::yield_now().await;
            panic!("injected")
        });
        assert_eq!(later.await.map(|never: Infallible| never).unwrap_err().code(), Code::Unavailable);
        assert_eq!(guard(async { Ok(7) }).await.unwrap(), 7);
    }

    #[test]
    fn few_headers_are_kept() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/grpc".parse().unwrap());
        headers.insert("grpc-encoding", "gzip".parse().unwrap());
        headers.insert("grpc-timeout", "1S".parse().unwrap());
        for number in 0..400 {
            headers.append("x-many", number.into());
        }
        keep_few(&mut headers);
        assert_eq!(headers.len(), 2);
        assert!(headers.capacity() < 16, "{}", headers.capacity());
        assert_eq!(headers.get("grpc-encoding").unwrap(), "gzip");
    }

    #[test]
    fn the_header_is_one_exact_value() {
        let headers = |values: &[&str]| {
            let pairs = values
                .iter()
                .map(|value| (http::HeaderName::from_static("workload.spiffe.io"), value.parse().unwrap()));
            pairs.collect::<Vec<_>>().into_iter().fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
        };
        assert!(has_security_header(&headers(&["true"])));
        for values in [
            &[][..],
            &["True"],
            &["TRUE"],
            &["1"],
            &["yes"],
            &[""],
            &["false"],
            &["true", "true"],
            &["true", "false"],
            &["false", "true"],
            &["true,true"],
        ] {
            assert!(!has_security_header(&headers(values)), "{values:?}");
        }
    }
}

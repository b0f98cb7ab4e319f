//! The listener of probes and Prometheus: `/live`, `/ready` and `/metrics` over HTTP/1.1, read only.
//!
//! Whoever reaches it may read it; where it listens is the operator's to say, and by default it does not.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::{AbortHandle, yield_now},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::metrics::{self, Metrics};
use crate::{
    issuance::Stand,
    sys::{
        counters::Counters,
        listener::{Listener, registered},
    },
};

/// The most connections at once. For one more the oldest that has not sent a whole request makes room; where all have,
/// it is closed itself.
pub(crate) const CONNECTIONS_MAX: usize = 16;
/// How long a request's headers may take.
const HEADER_WAIT: Duration = Duration::from_secs(2);
/// How long a whole connection may last. There is one request on each.
const CONNECTION_WAIT: Duration = Duration::from_secs(20);
/// A request's line and headers; hyper allows no less than 8 KiB.
const HEADER_BYTES_MAX: usize = 8 * 1024;
/// How long to wait when there is no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Where it listens.
#[derive(Debug)]
pub(crate) enum Socket {
    /// On a loopback address, unless the operator wanted another.
    Tcp(TcpListener),
    /// On a path.
    Unix(Listener),
}

/// What it tells.
pub(crate) struct Ops {
    metrics: Metrics,
    stand: Stand,
    counters: Arc<Counters>,
}

impl Ops {
    /// A listener that tells these.
    pub(crate) fn new(metrics: Metrics, stand: Stand, counters: Arc<Counters>) -> Self {
        Self { metrics, stand, counters }
    }

    /// Accepts until the daemon rests, and answers until it stops.
    ///
    /// # Errors
    /// When the socket cannot be accepted from at all.
    pub(crate) async fn run(
        self,
        mut socket: Socket,
        resting: CancellationToken,
        stopping: CancellationToken,
        tracker: TaskTracker,
    ) -> io::Result<()> {
        let ops = Arc::new(self);
        let mut guests = Guests::default();
        loop {
            let accepted = tokio::select! {
                () = resting.cancelled() => return Ok(()),
                accepted = accept(&mut socket) => accepted,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) if is_passing(&error) => {
                    sleep(BACK_OFF).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let room = guests.make_room();
            if room != Room::Free {
                ops.counters.limit_met("ops_connections");
            }
            if room == Room::None {
                continue;
            }
            let (ops, stopping) = (ops.clone(), stopping.clone());
            let has_asked = Arc::new(AtomicBool::new(false));
            let asked = has_asked.clone();
            let task = tracker.spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    // How it went is the client's to know.
                    _ = timeout(CONNECTION_WAIT, ops.serve(stream, asked)) => {}
                }
            });
            guests.0.push_back(Guest { task: task.abort_handle(), has_asked });
            // What has come with the connection is read before others may take its place.
            yield_now().await;
        }
    }

    async fn serve(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        has_asked: Arc<AtomicBool>,
    ) -> Result<(), hyper::Error> {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_WAIT)
            .max_buf_size(HEADER_BYTES_MAX)
            .keep_alive(false);
        let service = service_fn(move |request: Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            let answer = self.answer(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(answer) }
        });
        builder.serve_connection(TokioIo::new(stream), service).await
    }

    /// Answers a request, whose body is not read.
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let page = match path {
            "/live" => Page::words(StatusCode::OK, "live\n"),
            "/ready" => match (self.stand)().is_ready {
                true => Page::words(StatusCode::OK, "ready\n"),
                false => Page::words(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            },
            "/metrics" => match self.metrics.text() {
                Ok(text) => Page { status: StatusCode::OK, kind: metrics::CONTENT_TYPE, text: text.into() },
                Err(_) => Page::words(StatusCode::INTERNAL_SERVER_ERROR, "no metrics\n"),
            },
            _ => Page::words(StatusCode::NOT_FOUND, "not found\n"),
        };
        match *method {
            Method::GET | Method::HEAD => page.response(),
            _ if page.status == StatusCode::NOT_FOUND => page.response(),
            _ => {
                let mut response = Page::words(StatusCode::METHOD_NOT_ALLOWED, "only GET\n").response();
                response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
                response
            }
        }
    }
}

/// The connections, oldest first.
#[derive(Default)]
struct Guests(VecDeque<Guest>);

struct Guest {
    task: AbortHandle,
    /// Whether its request has come whole.
    has_asked: Arc<AtomicBool>,
}

/// Whether there is room for one more.
#[derive(Clone, Copy, PartialEq)]
enum Room {
    Free,
    /// Another one was closed for it.
    Made,
    None,
}

impl Guests {
    fn make_room(&mut self) -> Room {
        self.0.retain(|guest| !guest.task.is_finished());
        if self.0.len() < CONNECTIONS_MAX {
            return Room::Free;
        }
        let idle = self.0.iter().position(|guest| !guest.has_asked.load(Ordering::Relaxed));
        match idle.and_then(|at| self.0.remove(at)) {
            Some(guest) => {
                guest.task.abort();
                Room::Made
            }
            None => Room::None,
        }
    }
}

struct Page {
    status: StatusCode,
    kind: &'static str,
    text: Bytes,
}

impl Page {
    fn words(status: StatusCode, words: &'static str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", text: Bytes::from_static(words.as_bytes()) }
    }

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(self.kind));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
        response
    }
}

/// One connection, over whichever of the two.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

async fn accept(socket: &mut Socket) -> io::Result<Box<dyn Duplex>> {
    match socket {
        Socket::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
        Socket::Unix(listener) => Ok(Box::new(registered(listener.accept().await?)?)),
    }
}

/// Whether the next accept(2) may go well: a connection that went away, or no descriptor just now.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ECONNABORTED | libc::EINTR)
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{
        net::SocketAddr,
        sync::atomic::{AtomicBool, Ordering},
        time::SystemTime,
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpStream, UnixStream},
    };

    use super::*;
    use crate::{issuance::Standing, sys::kernel::Kernel, sys::scratch::Scratch};

    struct Running {
        ready: Arc<AtomicBool>,
        counters: Arc<Counters>,
        stopping: CancellationToken,
        tracker: TaskTracker,
    }

    fn start(socket: Socket) -> Running {
        let ready = Arc::new(AtomicBool::new(true));
        let (counters, stopping, tracker) =
            (Arc::new(Counters::default()), CancellationToken::new(), TaskTracker::new());
        let is_ready = ready.clone();
        let stand: Stand =
            Arc::new(move || Standing { is_ready: is_ready.load(Ordering::Relaxed), ..Standing::default() });
        let metrics = Metrics::new(counters.clone(), stand.clone(), SystemTime::UNIX_EPOCH);
        let ops = Ops::new(metrics, stand, counters.clone());
        tracker.spawn(ops.run(socket, stopping.clone(), stopping.clone(), tracker.clone()));
        Running { ready, counters, stopping, tracker }
    }

    async fn start_tcp() -> (Running, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (start(Socket::Tcp(listener)), address)
    }

    async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
        stream.write_all(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn probes_and_metrics_are_answered_and_nothing_else_is() {
        let (running, address) = start_tcp().await;
        for (request, status, words) in [
            ("GET /live", "200 OK", "live"),
            ("GET /ready", "200 OK", "ready"),
            ("GET /metrics", "200 OK", "# EOF\n"),
            ("HEAD /live", "200 OK", "content-length: 5"),
            ("GET /", "404 Not Found", ""),
            ("GET /metrics/", "404 Not Found", ""),
            ("GET /../live", "404 Not Found", ""),
            ("POST /nothing", "404 Not Found", ""),
            ("POST /metrics", "405 Method Not Allowed", "allow: GET, HEAD"),
            ("DELETE /live", "405 Method Not Allowed", ""),
        ] {
            let answer = ask(TcpStream::connect(address).await.unwrap(), request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            assert!(answer.contains(words), "{request}: {answer}");
        }
        running.ready.store(false, Ordering::Relaxed);
        let answer = ask(TcpStream::connect(address).await.unwrap(), "GET /ready").await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        let answer = ask(TcpStream::connect(address).await.unwrap(), "GET /live").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "a daemon that is not ready lives");
    }

    #[tokio::test]
    async fn a_unix_socket_serves_the_same() {
        let folder = Scratch::new();
        let path = folder.path().join("ops.sock");
        let listener = Listener::bind(&path, 0o600, Kernel::probe(&[]).unwrap()).unwrap();
        let _running = start(Socket::Unix(listener));
        let answer = ask(UnixStream::connect(&path).await.unwrap(), "GET /live").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn headers_beyond_the_limit_are_refused() {
        let (_running, address) = start_tcp().await;
        let answer = ask(TcpStream::connect(address).await.unwrap(), &format!("GET /{}", "x".repeat(9_000))).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    fn limits_met(running: &Running) -> u64 {
        let mut met = 0;
        running.counters.each(|sample| met += if sample.name == "limits_met" { sample.value } else { 0 });
        met
    }

    /// What a local user may send to keep an orchestrator from its answer: 400 requests that do not end, again and again.
    #[tokio::test]
    async fn half_requests_make_room_for_whole_ones_and_end_in_time() {
        let (running, address) = start_tcp().await;
        let mut halves = Vec::new();
        for _ in 0..400 {
            let mut half = TcpStream::connect(address).await.unwrap();
            // One that made room already may say so here.
            half.write_all(b"GET /live HT").await.ok();
            halves.push(half);
            if halves.len() % 40 == 0 {
                let answer = ask(TcpStream::connect(address).await.unwrap(), "GET /live").await;
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "beside {}: {answer}", halves.len());
            }
        }
        assert!(limits_met(&running) >= 400 - u64::try_from(CONNECTIONS_MAX).unwrap());
        let begin = tokio::time::Instant::now();
        tokio::time::pause();
        for half in &mut halves {
            // A deadline that passes may be said (408) before the end.
            half.read_to_end(&mut Vec::new()).await.ok();
        }
        assert!(begin.elapsed() <= HEADER_WAIT + Duration::from_secs(1), "{:?}", begin.elapsed());
    }

    /// As many as may be, whose requests have come whole and whose answers do not go out.
    #[tokio::test]
    async fn whole_requests_are_not_closed_for_others() {
        let tasks: Vec<_> = (0..CONNECTIONS_MAX).map(|_| tokio::spawn(std::future::pending::<()>())).collect();
        let guest = |task: &tokio::task::JoinHandle<()>| Guest {
            task: task.abort_handle(),
            has_asked: Arc::new(AtomicBool::new(true)),
        };
        let mut guests = Guests(tasks.iter().map(guest).collect());
        assert!(guests.make_room() == Room::None);
        guests.0.get(3).unwrap().has_asked.store(false, Ordering::Relaxed);
        assert!(guests.make_room() == Room::Made && guests.0.len() == CONNECTIONS_MAX - 1);
        assert!(guests.make_room() == Room::Free);
        for (at, task) in tasks.into_iter().enumerate() {
            if at == 3 {
                assert!(task.await.unwrap_err().is_cancelled());
            } else {
                assert!(!task.is_finished(), "{at}");
            }
        }
    }

    #[tokio::test]
    async fn it_stops_when_it_is_told_to() {
        let (running, address) = start_tcp().await;
        let _open = TcpStream::connect(address).await.unwrap();
        running.stopping.cancel();
        running.tracker.close();
        timeout(Duration::from_secs(5), running.tracker.wait()).await.unwrap();
    }
}

//! The messages of proxies' streams, read past tonic, whose reader keeps room for as large a message as came once for as
//! long as its stream is open: Envoy's have 61 kB, each of them, and a proxy has a stream for each secret. Here the room
//! of a message goes with it.

use std::{
    convert::Infallible,
    marker::PhantomData,
    mem,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use http_body_util::BodyExt as _;
use prost::Message;
use tonic::{Code, Status, body::Body, server::NamedService};
use tower::Service;

/// The service, whose streams are read by [`Inbound`].
#[derive(Clone)]
pub(in crate::api) struct ReadHere<S>(pub(super) S);

/// The body of such a stream on its way past tonic, which sees an empty one.
#[derive(Clone)]
struct Past(Arc<Mutex<Option<Body>>>);

impl<S> Service<http::Request<Body>> for ReadHere<S>
where
    S: Service<http::Request<Body>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> S::Future {
        // `FetchSecrets` has one message, and is over with its answer.
        if !request.uri().path().ends_with("/FetchSecrets") {
            let body = mem::replace(request.body_mut(), Body::empty());
            request.extensions_mut().insert(Past(Arc::new(Mutex::new(Some(body)))));
        }
        self.0.call(request)
    }
}

impl<S: NamedService> NamedService for ReadHere<S> {
    const NAME: &'static str = S::NAME;
}

/// What comes on one stream.
pub(super) struct Inbound<T> {
    body: Body,
    /// Of the next message, with its head.
    partial: Vec<u8>,
    bytes_max: usize,
    message: PhantomData<fn() -> T>,
}

/// Before each message: a byte that says whether it is compressed, and four with its length.
const HEAD_BYTES: usize = 5;

impl<T: Message + Default> Inbound<T> {
    /// Of a request of [`ReadHere`]; no message may be longer than so many bytes.
    ///
    /// # Errors
    /// When it is none: a fault.
    pub(super) fn of<B>(request: &mut tonic::Request<B>, bytes_max: usize) -> Result<Self, Status> {
        let past = request.extensions_mut().remove::<Past>();
        let body = past.and_then(|past| past.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        let body = body.ok_or_else(|| Status::internal("the stream has no body"))?;
        Ok(Self { body, partial: Vec::new(), bytes_max, message: PhantomData })
    }

    /// The next message; `None` when there will be none. Nothing is lost where it is not awaited to its end.
    ///
    /// # Errors
    /// When what comes is none: with the codes of gRPC.
    pub(super) async fn message(&mut self) -> Result<Option<T>, Status> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.partial.extend_from_slice(&bytes);
                    }
                }
                // The proxy has given it up.
                Some(Err(status)) if status.code() == Code::Cancelled => return Ok(None),
                Some(Err(status)) => return Err(status),
                None if self.partial.is_empty() => return Ok(None),
                None => return Err(Status::internal("the stream has ended within a message")),
            }
        }
    }

    /// A message that has come whole.
    fn whole(&mut self) -> Result<Option<T>, Status> {
        let Some((&[compressed, length @ ..], rest)) = self.partial.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        if compressed != 0 {
            return Err(Status::internal("a message is compressed, and no encoding was named"));
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.bytes_max {
            let most = self.bytes_max;
            return Err(Status::out_of_range(format!("a message has {length} bytes, at most {most} are taken")));
        }
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        let message = T::decode(bytes).map_err(|error| Status::internal(error.to_string()))?;
        self.partial = self.partial.split_off(HEAD_BYTES + length);
        Ok(Some(message))
    }
}

//! Streams whose messages hold keys: what was sent is wiped, and a stream that waits keeps nothing of it.
//!
//! tonic's own body keeps the buffer of the last message for as long as its stream is open: a private key in memory
//! that nobody wipes, and two KiB for each of ten thousand streams. So a door hands over its messages beside an empty
//! stream, in the response's extensions, and [`unseal`] puts them in the body's place.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use http_body::{Body, Frame};
use prost::Message;
use tonic::{Response, Status};
use zeroize::Zeroizing;

use super::body::trailers;

/// What tonic sees of a sealed stream: nothing.
pub(crate) type Nothing<T> = stream::Empty<Result<T, Status>>;

type Frames = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// Frames on their way past tonic.
#[derive(Clone)]
struct Sealed(Arc<Mutex<Option<Frames>>>);

/// A message that may carry secrets as text of its own. Those that it only lends are wiped by whom they belong to.
pub(crate) trait Wiped: Message {
    /// Wipes them, once they are in a frame.
    fn wipe(&mut self) {}
}

/// A response with these messages.
pub(crate) fn seal<T: Wiped + 'static>(
    messages: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Response<Nothing<T>> {
    sealed(stream::empty(), messages)
}

/// The response of a call that has one answer.
pub(crate) fn seal_one<T: Wiped + Default + 'static>(message: T) -> Response<T> {
    sealed(T::default(), stream::once(std::future::ready(Ok(message))))
}

fn sealed<T: Wiped + 'static, S>(
    shown: S,
    messages: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Response<S> {
    let frames = messages.map(|message| {
        let mut message = message?;
        let frame = frame(&message);
        message.wipe();
        frame
    });
    let mut response = Response::new(shown);
    response.extensions_mut().insert(Sealed(Arc::new(Mutex::new(Some(Box::pin(frames))))));
    response
}

/// The response with its messages as its body, if it has sealed ones.
pub(crate) fn unseal(mut response: http::Response<tonic::body::Body>) -> http::Response<tonic::body::Body> {
    let sealed = response.extensions_mut().remove::<Sealed>();
    match sealed.and_then(|sealed| sealed.0.lock().unwrap_or_else(PoisonError::into_inner).take()) {
        Some(frames) => response.map(|_| tonic::body::Body::new(Answers(Some(frames)))),
        None => response,
    }
}

/// A message as gRPC sends it: not compressed, its length, itself. The bytes are wiped when the last of them has left.
fn frame(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let unfit = || Status::internal("a message does not fit its own length");
    let mut bytes = Zeroizing::new(Vec::with_capacity(size_of::<u8>() + size_of::<u32>() + length));
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).map_err(|_| unfit())?);
    message.encode(&mut *bytes).map_err(|_| unfit())?;
    Ok(Bytes::from_owner(bytes))
}

/// The body: frames, then how it ended.
struct Answers(Option<Frames>);

impl Body for Answers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(frames) = &mut self.0 else { return Poll::Ready(None) };
        let end = match frames.as_mut().poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
            Poll::Ready(Some(Err(status))) => status,
            Poll::Ready(None) => Status::ok(""),
        };
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&end)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use http_body_util::BodyExt as _;

    use super::*;
    use crate::pb::workload::X509svidResponse;

    fn message(crl: &[u8]) -> X509svidResponse {
        X509svidResponse { crl: vec![Bytes::copy_from_slice(crl)], ..X509svidResponse::default() }
    }

    /// As tonic hands it on.
    fn sent<T>(response: Response<Nothing<T>>) -> http::Response<tonic::body::Body> {
        let (_, _, extensions) = response.into_parts();
        let mut sent = http::Response::new(tonic::body::Body::empty());
        *sent.extensions_mut() = extensions;
        sent
    }

    #[tokio::test]
    async fn messages_pass_as_frames_and_the_end_as_trailers() {
        let end = Err(Status::unavailable("over"));
        let sealed = seal(stream::iter([Ok(message(b"one")), Ok(message(b"three")), end, Ok(message(b"never"))]));
        let body = unseal(sent(sealed)).into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap().get("grpc-status").unwrap(), "14");
        let bytes = body.to_bytes();
        assert_eq!(&bytes[..], b"\0\0\0\0\x05\x12\x03one\0\0\0\0\x07\x12\x05three");
    }

    #[tokio::test]
    async fn a_stream_that_ends_well_says_so() {
        let sealed = seal(stream::iter([Ok(message(b"one"))]));
        let body = unseal(sent(sealed)).into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap().get("grpc-status").unwrap(), "0");
    }

    #[test]
    fn another_response_is_left_as_it_is() {
        let response = unseal(http::Response::new(tonic::body::Body::empty()));
        assert!(response.body().is_end_stream());
    }
}

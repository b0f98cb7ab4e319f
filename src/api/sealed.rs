//! Streams whose messages hold keys: what was sent is wiped, and a stream that waits keeps nothing of it.
//!
//! tonic's own body keeps the buffer of the last message for as long as its stream is open: a private key in memory
//! that nobody wipes, and two KiB for each of ten thousand streams. So a door hands over its messages beside an empty
//! stream, in the response's extensions, and [`unseal`] puts them in the body's place. No message waits as such: it is
//! in its frame at once, for which room is taken before.

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

use super::{allowance::Allowance, body::trailers};

/// What tonic sees of a sealed stream: nothing.
pub(crate) type Nothing<T> = stream::Empty<Result<T, Status>>;

type Frames = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// Frames on their way past tonic.
#[derive(Clone)]
struct Sealed(Arc<Mutex<Option<Frames>>>);

/// A message that may carry secrets as text of its own. Those that it only lends are wiped by whom they belong to.
pub(crate) trait Wiped: Message {
    /// Wipes them.
    fn wipe(&mut self) {}
}

/// A response with these messages.
///
/// # Errors
/// When there is no room for the first one. One of the others then ends the stream with the same.
pub(crate) fn seal<T: Wiped + 'static>(
    first: T,
    later: impl Stream<Item = Result<T, Status>> + Send + 'static,
    allowance: Allowance,
) -> Result<Response<Nothing<T>>, Status> {
    seal_all(Some(first), later, allowance)
}

/// As [`seal`], of a stream that may have nothing to say yet.
///
/// # Errors
/// As [`seal`].
pub(crate) fn seal_all<T: Wiped + 'static>(
    first: Option<T>,
    later: impl Stream<Item = Result<T, Status>> + Send + 'static,
    allowance: Allowance,
) -> Result<Response<Nothing<T>>, Status> {
    let first = first.map(|message| frame(message, &allowance)).transpose()?;
    let later = later.map(move |message| frame(message?, &allowance));
    Ok(sealed(stream::empty(), stream::iter(first.map(Ok)).chain(later)))
}

/// The response of a call that has one answer.
///
/// # Errors
/// When there is no room for it.
pub(crate) fn seal_one<T: Wiped + Default + 'static>(message: T, allowance: &Allowance) -> Result<Response<T>, Status> {
    Ok(sealed(T::default(), stream::iter([Ok(frame(message, allowance)?)])))
}

fn sealed<S>(shown: S, frames: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Response<S> {
    let mut response = Response::new(shown);
    response.extensions_mut().insert(Sealed(Arc::new(Mutex::new(Some(Box::pin(frames))))));
    response
}

/// The response with its messages as its body, and whether it had sealed ones.
pub(crate) fn unseal(mut response: http::Response<tonic::body::Body>) -> (http::Response<tonic::body::Body>, bool) {
    let sealed = response.extensions_mut().remove::<Sealed>();
    match sealed.and_then(|sealed| sealed.0.lock().unwrap_or_else(PoisonError::into_inner).take()) {
        Some(frames) => (response.map(|_| tonic::body::Body::new(Answers(Some(frames)))), true),
        None => (response, false),
    }
}

/// A message as gRPC sends it: not compressed, its length, itself. The bytes are wiped when the last of them has left,
/// and those of the message at once.
fn frame<T: Wiped>(message: T, allowance: &Allowance) -> Result<Bytes, Status> {
    let message = Sent(message);
    let length = message.0.encoded_len();
    let unfit = || Status::internal("a message does not fit its own length");
    let whole = size_of::<u8>() + size_of::<u32>() + length;
    let taken = allowance.take(whole)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(whole));
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).map_err(|_| unfit())?);
    message.0.encode(&mut *bytes).map_err(|_| unfit())?;
    Ok(taken.by(bytes))
}

/// A message whose secrets are wiped, whatever becomes of it.
struct Sent<T: Wiped>(T);

impl<T: Wiped> Drop for Sent<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
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

    use std::{
        cell::Cell,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use http_body_util::BodyExt as _;

    use super::*;
    use crate::{api::allowance::allowance, pb::workload::X509svidResponse};

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

    fn body<T>(response: Response<Nothing<T>>) -> tonic::body::Body {
        unseal(sent(response)).0.into_body()
    }

    #[tokio::test]
    async fn messages_pass_as_frames_and_the_end_as_trailers() {
        let end = Err(Status::unavailable("over"));
        let later = stream::iter([Ok(message(b"three")), end, Ok(message(b"never"))]);
        let body = body(seal(message(b"one"), later, allowance(99)).unwrap()).collect().await.unwrap();
        assert_eq!(body.trailers().unwrap().get("grpc-status").unwrap(), "14");
        let bytes = body.to_bytes();
        assert_eq!(&bytes[..], b"\0\0\0\0\x05\x12\x03one\0\0\0\0\x07\x12\x05three");
    }

    #[tokio::test]
    async fn a_stream_that_ends_well_says_so() {
        let body = body(seal(message(b"one"), stream::empty(), allowance(99)).unwrap()).collect().await.unwrap();
        assert_eq!(body.trailers().unwrap().get("grpc-status").unwrap(), "0");
    }

    #[test]
    fn another_response_is_left_as_it_is() {
        let (response, is_sealed) = unseal(http::Response::new(tonic::body::Body::empty()));
        assert!(response.body().is_end_stream() && !is_sealed);
    }

    /// The bytes of a frame of [`message`] with three.
    const FRAME: usize = 10;

    #[tokio::test]
    async fn what_finds_no_room_ends_the_stream_and_what_has_left_makes_room() {
        let allowance = allowance(2 * FRAME + 1);
        let later = || stream::iter([Ok(message(b"two"))]);
        let (one, other) = ([(); 2].map(|()| seal(message(b"one"), later(), allowance.clone()).unwrap())).into();
        let refused = seal(message(b"one"), later(), allowance.clone()).err().unwrap();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
        assert_eq!(
            refused.message(),
            "over the limit answer_bytes_per_uid; read the answers that wait, or try again later"
        );
        assert_eq!(seal_one(message(b"one"), &allowance).err().unwrap().code(), tonic::Code::Unavailable);
        let (mut one, mut other) = (body(one), body(other));
        let first = one.frame().await.unwrap().unwrap().into_data().unwrap();
        let part = first.slice(..1);
        drop(first);
        let over = one.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(over.get("grpc-status").unwrap(), "14", "a part of the first has not left");
        assert!(one.frame().await.is_none());
        drop(part);
        assert!(other.frame().await.unwrap().unwrap().is_data());
        assert!(other.frame().await.unwrap().unwrap().is_data(), "two of them have left");
        drop(other);
        assert_eq!(allowance.held(), 0);
        assert!(seal_one(message(&[0; FRAME]), &allowance).is_ok(), "all room is there again");
    }

    #[tokio::test]
    async fn a_stream_that_is_not_read_makes_one_message() {
        let allowance = allowance(99);
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let later = stream::iter(0..5).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(message(b"two"))
        });
        let mut body = body(seal(message(b"one"), later, allowance.clone()).unwrap());
        assert_eq!((allowance.held(), made.load(Ordering::Relaxed)), (FRAME, 0));
        let first = body.frame().await;
        assert_eq!((allowance.held(), made.load(Ordering::Relaxed)), (FRAME, 0), "it is with its reader");
        drop((first, body));
        assert_eq!(allowance.held(), 0);
    }

    /// A message with a secret, which tells when that is wiped.
    #[derive(Clone, PartialEq, Message)]
    struct Told {
        #[prost(string, tag = "1")]
        secret: String,
    }

    thread_local! {
        static WIPED: Cell<usize> = const { Cell::new(0) };
    }

    impl Wiped for Told {
        fn wipe(&mut self) {
            WIPED.set(WIPED.get() + 1);
        }
    }

    #[test]
    fn what_is_dropped_unsent_is_wiped() {
        let told = || Told { secret: "secret".to_owned() };
        let allowance = allowance(15);
        let sealed = seal_one(told(), &allowance).unwrap();
        assert_eq!(WIPED.take(), 1, "in its frame, which wipes itself");
        assert!(seal_one(told(), &allowance).is_err());
        assert_eq!(WIPED.take(), 1, "also where there is no room");
        drop(sealed);
        assert_eq!(allowance.held(), 0);
        drop(Sent(told()));
        assert_eq!(WIPED.take(), 1);
    }
}

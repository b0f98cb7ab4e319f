//! What a request brings: the kind of its content, and a body that must come whole within a deadline.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;

use super::{limits::ConnectionSlot, status};

/// Whether it is gRPC in the one encoding that is spoken here.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"application/grpc"[..], b"application/grpc+proto"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// A request's body. A call is answered when its request has ended, and until then holds a place.
pub(super) struct Timely<B> {
    inner: B,
    wait: Duration,
    /// Made when it is first waited for: most requests come whole.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> Timely<B> {
    pub(super) fn new(inner: B, wait: Duration) -> Self {
        Self { inner, wait, deadline: None }
    }
}

impl<B> Body for Timely<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let wait = self.wait;
        ready!(self.deadline.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(cx));
        Poll::Ready(Some(Err(status::unfinished().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The messages of a stream that has no end: each must come whole within the deadline, the first one too, and counts as
/// a request. Between them a stream may be silent for as long as it likes.
pub(super) struct Messages<B> {
    inner: B,
    wait: Duration,
    slot: Arc<ConnectionSlot>,
    /// Of the present message's head: gRPC's flag and length.
    head: [u8; HEAD_BYTES],
    head_length: usize,
    /// What is missing of the present message.
    missing: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    has_begun: bool,
}

/// Before each message: a byte that says whether it is compressed, and four with its length.
const HEAD_BYTES: usize = 5;

impl<B> Messages<B> {
    pub(super) fn new(inner: B, wait: Duration, slot: Arc<ConnectionSlot>) -> Self {
        let (head, head_length, missing) = ([0; HEAD_BYTES], 0, 0);
        Self { inner, wait, slot, head, head_length, missing, deadline: None, has_begun: false }
    }

    /// Looks where messages begin and end.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        while !bytes.is_empty() {
            if self.missing == 0 && self.head_length == 0 {
                (self.has_begun, self.deadline) = (true, None);
                self.slot.message(Instant::now().into_std()).map_err(status::overloaded)?;
            }
            let in_head = HEAD_BYTES - self.head_length;
            if self.missing == 0 {
                let (head, rest) = bytes.split_at(in_head.min(bytes.len()));
                for (place, byte) in self.head.iter_mut().skip(self.head_length).zip(head) {
                    *place = *byte;
                }
                self.head_length += head.len();
                bytes = rest;
                if self.head_length == HEAD_BYTES {
                    let [_, length @ ..] = self.head;
                    self.missing = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                    self.head_length = 0;
                }
            } else {
                let taken = self.missing.min(bytes.len());
                self.missing -= taken;
                bytes = bytes.get(taken..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Whether something must come.
    fn is_owed(&self) -> bool {
        !self.has_begun || self.missing > 0 || self.head_length > 0
    }
}

impl<B> Body for Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            let frame = frame.map(|frame| {
                let frame = frame.map_err(Into::into)?;
                frame.data_ref().map_or(Ok(()), |bytes| self.pass(bytes))?;
                Ok(frame)
            });
            return Poll::Ready(frame);
        }
        if !self.is_owed() {
            self.deadline = None;
            return Poll::Pending;
        }
        let wait = self.wait;
        ready!(self.deadline.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(cx));
        Poll::Ready(Some(Err(status::unfinished().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let is_grpc = |value: &'static str| {
            is_grpc(&HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(value))]))
        };
        for value in
            ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8", "Application/gRPC"]
        {
            assert!(is_grpc(value), "{value:?}");
        }
        for value in
            ["", "text/plain", "application/grpc-web", "application/grpc+json", "application/grp", "application/json"]
        {
            assert!(!is_grpc(value), "{value:?}");
        }
        assert!(!super::is_grpc(&HeaderMap::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_whole_ends_unavailable() {
        use futures_util::{StreamExt as _, stream};
        let begun = || stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x")))]);
        let mut body = Timely::new(StreamBody::new(begun().chain(stream::pending())), Duration::from_secs(10));
        assert!(body.frame().await.unwrap().is_ok());
        let begin = tokio::time::Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(begin.elapsed().as_secs(), 10);
        assert_eq!(tonic::Status::from_error(error).code(), tonic::Code::Unavailable);
        let whole = Timely::new(StreamBody::new(begun()), Duration::ZERO);
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "x");
    }
}

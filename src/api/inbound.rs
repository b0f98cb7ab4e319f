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

    use std::convert::Infallible;

    use futures_util::{Stream, StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use tonic::Code;

    use super::*;
    use crate::api::limits::fixture;

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
        let begun = || stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x")))]);
        let mut body = Timely::new(StreamBody::new(begun().chain(stream::pending())), Duration::from_secs(10));
        assert!(body.frame().await.unwrap().is_ok());
        let begin = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(begin.elapsed().as_secs(), 10);
        assert_eq!(Status::from_error(error).code(), Code::Unavailable);
        let whole = Timely::new(StreamBody::new(begun()), Duration::ZERO);
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "x");
    }

    fn messages(
        wait: Duration,
        body: impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin,
    ) -> impl Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Unpin {
        let slot = fixture::gate(0).connect(7, Instant::now().into_std()).unwrap();
        Messages::new(StreamBody::new(body), wait, Arc::new(slot))
    }

    fn data(bytes: &[u8]) -> Result<Frame<Bytes>, Infallible> {
        Ok(Frame::data(Bytes::copy_from_slice(bytes)))
    }

    /// How long a stream is waited for that says this and no more; `None` for ever.
    async fn patience(said: &[&[u8]]) -> Option<u64> {
        let said: Vec<_> = said.iter().map(|bytes| data(bytes)).collect();
        let mut body = messages(Duration::from_secs(10), stream::iter(said).chain(stream::pending()));
        let begin = Instant::now();
        let end = async {
            loop {
                if let Some(Err(error)) = body.frame().await {
                    return Status::from_error(error).code();
                }
            }
        };
        let code = tokio::time::timeout(Duration::from_secs(3_600), end).await.ok()?;
        assert_eq!(code, Code::Unavailable);
        Some(begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn each_message_of_a_stream_must_come_whole_and_between_them_is_time() {
        assert_eq!(patience(&[]).await, Some(10), "not even one");
        for begun in [&[b"\0".as_slice()][..], &[b"\0\0\0\0\x02x"], &[b"\0\0\0", b"\0\x01x\0"], &[b"\0\0\0\0\0\0"]] {
            assert_eq!(patience(begun).await, Some(10), "{begun:?}");
        }
        for whole in [&[b"\0\0\0\0\0".as_slice()][..], &[b"\0\0\0\0\x02xy"], &[b"\0\0\0", b"\0\x01x\0\0\0\0\x01", b"y"]]
        {
            assert_eq!(patience(whole).await, None, "{whole:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn messages_count_as_requests() {
        let said = stream::iter((0..100_000).map(|_| data(b"\0\0\0\0\x01x")));
        let mut body = messages(Duration::from_secs(10), said);
        let mut taken = 0;
        let over = loop {
            match body.frame().await.unwrap() {
                Ok(_) => taken += 1,
                Err(error) => break Status::from_error(error),
            }
        };
        assert_eq!(
            (over.code(), over.message()),
            (Code::Unavailable, "over the limit requests_per_second; try again later")
        );
        assert_eq!(taken, fixture::REQUESTS_PER_SECOND);
    }
}

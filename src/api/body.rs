//! An answer's body: it holds the stream's place until it ends, a panic in it ends it with Unavailable, and so do more
//! bytes than its user may leave unread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use super::{allowance::Allowance, limits::StreamSlot, status};
use crate::sys::counters::Counters;

/// What a door answers with.
pub(crate) struct Guarded {
    inner: Option<tonic::body::Body>,
    counters: Arc<Counters>,
    place: Option<Place>,
    /// Whether room was taken for its bytes before they were made.
    is_counted: bool,
}

/// A stream's place, counted as long as it is taken.
pub(crate) struct Place {
    slot: StreamSlot,
    counters: Arc<Counters>,
}

impl Place {
    pub(crate) fn new(slot: StreamSlot, counters: Arc<Counters>) -> Self {
        counters.stream_opened();
        Self { slot, counters }
    }

    fn allowance(&self) -> Allowance {
        Allowance::new(self.slot.connection().clone(), self.counters.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.stream_closed();
    }
}

impl Guarded {
    /// A body of trailers alone.
    pub(crate) fn new(inner: tonic::body::Body, counters: Arc<Counters>) -> Self {
        Self { inner: Some(inner), counters, place: None, is_counted: true }
    }

    /// Keeps `place` taken until the body is done.
    pub(crate) fn placed(inner: tonic::body::Body, place: Place, is_counted: bool) -> Self {
        Self { inner: Some(inner), counters: place.counters.clone(), place: Some(place), is_counted }
    }

    /// Takes room for a frame for which nobody has.
    fn count(&self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Status> {
        let Some(place) = self.place.as_ref().filter(|_| !self.is_counted) else { return Ok(frame) };
        match frame.into_data() {
            Ok(data) => Ok(Frame::data(place.allowance().take(data.len())?.by(data))),
            Err(other) => Ok(other),
        }
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.inner = None;
        Frame::trailers(trailers(status))
    }
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        // The body is dropped after a panic, so nobody sees it half-way.
        match catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                let counted = self.count(frame).unwrap_or_else(|over| self.end(&over));
                Poll::Ready(Some(Ok(counted)))
            }
            Ok(polled) => polled,
            Err(_) => {
                self.counters.panicked();
                Poll::Ready(Some(Ok(self.end(&status::panicked()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// A status as it ends a stream.
pub(super) fn trailers(status: &Status) -> http::HeaderMap {
    let mut map = http::HeaderMap::new();
    // The texts are ours and fit a header.
    status.add_header(&mut map).ok();
    // As gRPC would have them: Envoy's log shows what comes, and tonic writes a space as %20.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
    if !status.message().is_empty() && status.message().bytes().all(is_plain) {
        http::HeaderValue::from_str(status.message()).map(|words| map.insert("grpc-message", words)).ok();
    }
    map
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_stream_is_unavailable() {
        let bad =
            futures_util::stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Status>>> { panic!("injected") });
        let body = tonic::body::Body::new(http_body_util::StreamBody::new(bad));
        let counters = Arc::new(Counters::default());
        let trailers = Guarded::new(body, counters).collect().await.unwrap().trailers().cloned().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "14");
    }
}

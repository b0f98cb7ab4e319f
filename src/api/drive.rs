//! What drives a connection to its end, whatever is spoken on it: one task, which polls the challenge, HTTP, the death of
//! the process, the deadline of the first frame, and what counts as a flood.

use std::{
    error::Error as _,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::{connection::Service, flood::Flood, limits::ConnectionSlot};
use crate::sys::{
    peer::{Exit, Fault},
    stream::{Speech, Stream},
};

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client left, or the daemon stopped.
    Closed,
    /// It had to make room for another one.
    Evicted,
    /// It was silent for too long before its first frame.
    Silent,
    /// It sent many frames and few requests, or far too many requests.
    Flood,
    /// It broke a rule of HTTP/2.
    Broken,
    /// Its process has exited, and another one holds it.
    Left,
    /// It is not its process's any more.
    Fault(Fault),
}

/// After [`Service::stopping`], how long open streams may take to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection that is to be driven.
pub(super) struct Drive {
    /// What HTTP runs over, once more.
    pub(super) guard: Stream,
    pub(super) exit: Exit,
    pub(super) slot: Arc<ConnectionSlot>,
    pub(super) service: Service,
}

impl Drive {
    /// Waits for the first bytes of a connection where they tell what is spoken on it.
    pub(super) async fn hear(&self) -> Result<Speech, End> {
        let Service { stopping, terms, .. } = &self.service;
        let heard = tokio::select! {
            speech = poll_fn(|cx| self.guard.poll_speech(cx)) => speech.ok_or(End::Closed),
            () = poll_fn(|cx| self.exit.poll(cx)) => Err(End::Fault(Fault::Gone)),
            () = tokio::time::sleep(terms.preface) => Err(End::Silent),
            () = stopping.cancelled() => Err(End::Closed),
            () = self.slot.closing().cancelled() => Err(End::Evicted),
        };
        heard.map_err(|end| finish(&self.guard, end))
    }

    /// Drives HTTP to its end, and the connection. `leave` asks HTTP to end what is begun and begin nothing more.
    pub(super) async fn run<C>(self, mut connection: Pin<&mut C>, leave: impl Fn(Pin<&mut C>)) -> End
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let Self { guard, exit, slot, service } = self;
        let (stopping, terms, speech) = (service.stopping.clone(), service.terms, guard.speech());
        // What was passed on belongs to HTTP alone, and is gone with it.
        drop(service);
        // HTTP/1.1 has a deadline of its own for each request's head.
        let mut preface = (speech == Speech::Http2).then(|| Box::pin(tokio::time::sleep(terms.preface)));
        let mut farewell: Option<Pin<Box<Sleep>>> = None;
        let mut stopped = pin!(stopping.cancelled_owned());
        let mut evicted = pin!(slot.closing().cancelled());
        let mut flood = Flood::new(terms.requests_per_second);
        let end = poll_fn(|cx| {
            guard.begin_turn();
            if guard.poll_challenge(cx).is_ready() {
                return Poll::Ready(End::Closed);
            }
            if exit.poll(cx).is_ready() {
                return Poll::Ready(End::Fault(Fault::Gone));
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended.map_or_else(|error| ending(&error), |()| End::Closed));
            }
            if guard.poll_challenge(cx).is_ready() {
                return Poll::Ready(End::Closed);
            }
            let tally = guard.take_tally();
            if flood.is_one(tally, Instant::now()) || slot.is_flood() {
                return Poll::Ready(End::Flood);
            }
            if tally.frames > 0 {
                preface = None;
            }
            if due(&mut preface, cx) {
                return Poll::Ready(End::Silent);
            }
            if farewell.is_none() && stopped.as_mut().poll(cx).is_ready() {
                leave(connection.as_mut());
                farewell = Some(Box::pin(tokio::time::sleep(FAREWELL)));
                cx.waker().wake_by_ref();
            }
            if due(&mut farewell, cx) {
                return Poll::Ready(End::Closed);
            }
            if evicted.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Evicted);
            }
            Poll::Pending
        })
        .await;
        if matches!(end, End::Flood) {
            slot.fine();
        }
        finish(&guard, end)
    }
}

/// Ends a connection, and says how it did.
fn finish(guard: &Stream, end: End) -> End {
    let is_left = guard.is_left_behind();
    match guard.close().map_or(end, End::Fault) {
        End::Fault(Fault::Gone) if is_left => End::Left,
        end => end,
    }
}

fn due(sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> bool {
    sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
}

/// Who broke HTTP/2 is told from who left by h2's reason.
fn ending(error: &hyper::Error) -> End {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>()).filter(|cause| cause.is_library());
    match cause.and_then(h2::Error::reason) {
        Some(h2::Reason::ENHANCE_YOUR_CALM) => End::Flood,
        Some(_) => End::Broken,
        None => End::Closed,
    }
}

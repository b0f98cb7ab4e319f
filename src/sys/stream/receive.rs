//! The receiving half: one message after the other, each with its sender judged before a byte of it is used.

use std::{
    io,
    os::fd::AsFd as _,
    task::{Context, Poll, ready},
};

use tokio::io::Interest;

use super::{Phase, State, Wire, lost, queued};
use crate::sys::{closer, peer::Fault, rights};

/// What is read from the socket at once.
pub(super) const READ_BYTES: usize = 16 * 1024;

impl Wire {
    /// Reads until EAGAIN, asking the socket itself: tokio may not have heard of the last bytes yet. Answers
    /// whether it came so far.
    pub(super) fn drain(&self, state: &mut State) -> bool {
        let mut scratch = [0; READ_BYTES];
        while state.fault.is_none() && !state.ended && state.has_room() {
            match self.receive(&mut scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                received => self.take(state, received, &scratch),
            }
        }
        false
    }

    /// Reads until EAGAIN (pending), or until the buffer is full, the client is done or at fault (ready).
    pub(super) fn poll_fill(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<()> {
        while state.fault.is_none() && !state.ended && state.has_room() {
            ready!(self.poll_receive(state, cx));
        }
        Poll::Ready(())
    }

    fn take(&self, state: &mut State, received: io::Result<Result<usize, Fault>>, scratch: &[u8]) {
        match received {
            Ok(Ok(0)) => {
                state.ended = true;
                state.waiters.clear();
            }
            Ok(Ok(count)) => {
                // Also while h2 is behind: a writer who stays ahead of it would have what it took kept for ever.
                if state.given >= READ_BYTES || state.given == state.kept.len() {
                    state.kept.drain(..state.given);
                    state.given = 0;
                }
                let is_answered = state.inbound.push(scratch.get(..count).unwrap_or_default(), &mut state.kept);
                if let (true, Phase::Asked { before }) = (is_answered, &state.phase) {
                    state.phase = Phase::Answered { before: *before };
                }
            }
            Ok(Err(fault)) => state.fault = Some(fault),
            Err(error) => state.fault = Some(lost(error)),
        }
    }

    /// Reads once. Pending is EAGAIN with nothing out of band.
    pub(super) fn poll_receive(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; READ_BYTES];
        loop {
            match self.socket.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    state.fault = Some(lost(error));
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
            match self.socket.try_io(Interest::READABLE, || self.receive(&mut scratch)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => {
                    self.take(state, received, &scratch);
                    return Poll::Ready(());
                }
            }
        }
    }

    /// One `recvmsg`, with its sender judged.
    fn receive(&self, scratch: &mut [u8]) -> io::Result<Result<usize, Fault>> {
        match self.receive_once(scratch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        // A byte out of band is skipped by recvmsg, so its writer is never seen: nothing to read, yet something is
        // queued. A busy client's next bytes may just have come between the two, hence the third look.
        if queued(&*self.socket)? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.receive_once(scratch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Err(Fault::OutOfBand)),
            other => other,
        }
    }

    fn receive_once(&self, scratch: &mut [u8]) -> io::Result<Result<usize, Fault>> {
        let message = rights::receive(self.socket.as_fd(), scratch)?;
        if !message.descriptors.is_empty() || !message.is_whole {
            for fd in message.descriptors {
                closer::close(fd);
            }
            return Ok(Err(Fault::Descriptors));
        }
        if message.bytes == 0 {
            return Ok(Ok(0));
        }
        Ok(match message.sender {
            Some(sender) => self.peer.check_sender(&sender).map(|()| message.bytes),
            None => Err(Fault::NoCredentials),
        })
    }
}

//! A connection whose every byte was written by the process that made it.
//!
//! [`Stream`] is what HTTP/2 reads and writes. In between, each message's sender is checked, `:authority` is made
//! legal, and a challenge is put when somebody asks for one through a [`Line`]: a PING that the running image
//! answers. The connection's own task polls [`Stream::poll_challenge`]; nothing here has a task or a timer.
#![expect(unsafe_code, reason = "an ioctl, and a socket that is taken out of its place")]

mod challenge;
mod receive;

use std::{
    io::{self, IoSlice},
    mem::ManuallyDrop,
    os::fd::{AsFd as _, AsRawFd},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::{net::UnixStream, sync::oneshot};

use self::challenge::Phase;
use super::{
    closer,
    frames::{Inbound, Outbound, Tally, Turn, is_http2},
    image::{Image, Lack, Lens, Spot},
    looks::Looks,
    peer::{Fault, Peer},
};

/// What is kept of a busy client's bytes while a challenge drains the socket: a full window of h2's and the frames
/// around it. Beyond that, the challenge waits until h2 has taken some.
pub(crate) const KEPT_BYTES_MAX: usize = 128 * 1024;
/// How many calls of one connection may wait for one challenge: its streams.
pub(crate) const WAITERS_MAX: usize = 1_024;
/// What a challenge is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// That the process that is named here holds the connection.
    Writer,
    /// That, and that its running image reads the connection.
    Image,
}

/// What a challenge showed.
pub(crate) type Answer = Result<Option<Image>, Lack>;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// With PINGs, which a running image answers.
    Http2,
    /// Without: who writes is seen, what runs is not.
    Http1,
    /// Whichever of the two comes: the first bytes tell ([`Stream::poll_speech`]).
    Either,
}

impl Speech {
    fn framing(self) -> (Inbound, Turn) {
        match self {
            Self::Http2 => (Inbound::new(), Turn::new()),
            Self::Http1 | Self::Either => (Inbound::unframed(), Turn::unframed()),
        }
    }
}

/// The two ends of one connection's proof: what HTTP runs over, and what calls ask through.
pub(crate) fn guard(socket: UnixStream, peer: Arc<Peer>, lens: Lens, looks: Looks, speech: Speech) -> (Stream, Line) {
    let (inbound, turn) = speech.framing();
    let wire = Arc::new(Wire {
        socket: ManuallyDrop::new(socket),
        peer,
        lens,
        looks,
        asked: AtomicWaker::new(),
        state: Mutex::new(State {
            speech,
            inbound,
            outbound: Outbound::default(),
            kept: Vec::new(),
            given: 0,
            turn,
            ended: false,
            fault: None,
            phase: Phase::Idle,
            waiters: Vec::new(),
            proved: Proved::default(),
        }),
    });
    (Stream(wire.clone()), Line(wire))
}

struct Wire {
    /// Taken out when all is over.
    socket: ManuallyDrop<UnixStream>,
    peer: Arc<Peer>,
    lens: Lens,
    looks: Looks,
    /// Wakes the connection's task when a challenge is asked for.
    asked: AtomicWaker,
    state: Mutex<State>,
}

struct State {
    /// Once it is told, it stays.
    speech: Speech,
    inbound: Inbound,
    outbound: Outbound,
    /// Read, checked, and not yet taken by h2, from `given` on.
    kept: Vec<u8>,
    given: usize,
    /// What h2 may still be given in this turn of the task.
    turn: Turn,
    /// The client has shut its side.
    ended: bool,
    /// Why the connection ends; nothing is read or written any more.
    fault: Option<Fault>,
    phase: Phase,
    waiters: Vec<(Question, oneshot::Sender<Answer>)>,
    proved: Proved,
}

/// What challenges have shown on a connection. It is known before anybody who waited hears of it: a busy client's next
/// call would else ask for what was just answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proved {
    /// That the process that is named here holds it.
    pub(crate) writer: bool,
    /// The image that answered last.
    pub(crate) image: Option<Spot>,
}

impl State {
    fn has_room(&self) -> bool {
        self.kept.len() - self.given < KEPT_BYTES_MAX
    }

    /// Begins to read what was kept so far as what it is.
    fn tell(&mut self, speech: Speech) {
        self.speech = speech;
        (self.inbound, self.turn) = speech.framing();
        let begin = std::mem::take(&mut self.kept);
        // Nothing was asked yet, so nothing in it is an answer.
        self.inbound.push(&begin, &mut self.kept);
    }
}

/// The connection as h2 sees it.
pub(crate) struct Stream(Arc<Wire>);

/// How the calls of a connection reach its proof.
#[derive(Clone)]
pub(crate) struct Line(Arc<Wire>);

impl Line {
    /// The process at the other end.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.0.peer
    }

    /// What challenges have shown so far.
    pub(crate) fn proved(&self) -> Proved {
        self.0.state().proved
    }

    /// Ends the connection: its caller is not what it was.
    pub(crate) fn condemn(&self, fault: Fault) {
        self.0.state().fault.get_or_insert(fault);
        self.0.asked.wake();
    }

    /// Puts a challenge and waits for its answer. The caller sets the deadline.
    ///
    /// `None` when the connection ends first, or more than [`WAITERS_MAX`] wait already. Where there is no PING, or
    /// nobody knows yet whether there is, no image is shown, and no writer.
    pub(crate) async fn challenge(&self, question: Question) -> Option<Answer> {
        let answer = {
            let mut state = self.0.state();
            if state.speech != Speech::Http2 {
                return (question == Question::Image).then_some(Err(Lack::Http1));
            }
            state.waiters.retain(|(_, waiter)| !waiter.is_closed());
            if state.fault.is_some() || state.ended || state.waiters.len() >= WAITERS_MAX {
                return None;
            }
            let (sender, answer) = oneshot::channel();
            state.waiters.push((question, sender));
            answer
        };
        self.0.asked.wake();
        answer.await.ok()
    }
}

impl Stream {
    /// Drives a challenge as far as it goes now. To be polled by the connection's own task, before and after h2.
    ///
    /// Ready when the connection has a fault and must be dropped.
    pub(crate) fn poll_challenge(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.asked.register(cx.waker());
        let mut state = self.0.state();
        self.0.advance(&mut state, cx);
        if state.fault.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What is spoken, which the first bytes tell where that was left open. Their sender is judged as that of all others;
    /// HTTP is given none of them before. Who says nothing more, or has not said enough, is left to HTTP/1.1. To be polled
    /// before anything is read; `None` when the connection has a fault.
    pub(crate) fn poll_speech(&self, cx: &mut Context<'_>) -> Poll<Option<Speech>> {
        self.0.asked.register(cx.waker());
        let mut state = self.0.state();
        loop {
            if state.fault.is_some() {
                return Poll::Ready(None);
            }
            if state.speech != Speech::Either {
                return Poll::Ready(Some(state.speech));
            }
            match is_http2(&state.kept) {
                Some(true) => state.tell(Speech::Http2),
                Some(false) => state.tell(Speech::Http1),
                None if state.ended => state.tell(Speech::Http1),
                None => ready!(self.0.poll_receive(&mut state, cx)),
            }
        }
    }

    /// What is spoken, as far as it is known.
    pub(crate) fn speech(&self) -> Speech {
        self.0.state().speech
    }

    /// Ends it: nothing is read or written any more, and nobody waits for a challenge. Answers why it had to end.
    pub(crate) fn close(&self) -> Option<Fault> {
        let mut state = self.0.state();
        state.ended = true;
        state.waiters.clear();
        // A look that has not begun is not made for a connection that is over.
        state.phase = Phase::Idle;
        state.fault.take()
    }

    /// Whether the process has exited while somebody else holds its connection. An exiting process closes its own
    /// descriptors before its pidfd tells.
    pub(crate) fn is_left_behind(&self) -> bool {
        let mut polled = [PollFd::new(self.0.socket.as_fd(), PollFlags::empty())];
        let asked = poll(&mut polled, PollTimeout::ZERO);
        let [socket] = polled;
        // What cannot be asked counts as held: better one record too many.
        let is_hung_up = asked.is_ok() && socket.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
        !self.0.peer.is_alive() && !is_hung_up
    }

    /// Begins a turn of the connection's task: h2 is given its part, then the others have theirs.
    pub(crate) fn begin_turn(&self) {
        self.0.state().turn.begin();
    }

    /// The frames that came since the last call.
    pub(crate) fn take_tally(&self) -> Tally {
        self.0.state().inbound.take_tally()
    }

    /// A second handle for the connection's task, while h2 has the first.
    pub(crate) fn another(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way; a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        send: impl Fn(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match send(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // SAFETY: nobody uses it after this: it is being dropped.
        let socket = unsafe { ManuallyDrop::take(&mut self.socket) };
        if let Ok(socket) = socket.into_std() {
            closer::hang_up(socket);
        }
    }
}

/// A connection that broke says so by itself; what the system said is for the log.
fn lost(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Fault::Gone,
        _ => Fault::Unreadable(error),
    }
}

/// Bytes queued for us on the socket (`SIOCINQ`).
pub(super) fn queued(socket: &impl AsRawFd) -> io::Result<libc::c_int> {
    let mut count = 0;
    // SAFETY: FIONREAD (SIOCINQ on sockets) writes one int, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if done == 0 { Ok(count) } else { Err(io::Error::last_os_error()) }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let wire = &*self.0;
        let mut state = wire.state();
        if state.turn.is_over() {
            // h2 reads as long as there is something to read, and a fast writer never lets it end.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // A frame that is being held gives nothing to take yet, so more than one read may be needed.
        while state.given == state.kept.len() && !state.ended {
            if let Some(fault) = &state.fault {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, fault.code())));
            }
            ready!(wire.poll_receive(&mut state, cx));
        }
        if state.fault.is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let State { kept, given, turn, .. } = &mut *state;
        let waiting = kept.get(*given..).unwrap_or_default();
        let waiting = waiting.get(..buf.remaining()).unwrap_or(waiting);
        let taken = turn.take(waiting);
        buf.put_slice(waiting.get(..taken).unwrap_or_default());
        *given += taken;
        if state.given == state.kept.len() {
            // Memory is kept only while there is something in it: most connections idle.
            state.kept = Vec::new();
            state.given = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = &*self.0;
        let mut state = wire.state();
        wire.advance(&mut state, cx);
        if state.fault.is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        // Our PING leaves next, and whole.
        if matches!(state.phase, Phase::Noting(_) | Phase::Asking { .. }) {
            return Poll::Pending;
        }
        // While somebody waits for a challenge, h2 is stopped at the next place where a PING may stand.
        let wanted = matches!(state.phase, Phase::Idle) && !state.waiters.is_empty();
        let allowed = if wanted { state.outbound.until_between_frames(bytes).max(1) } else { bytes.len() };
        let allowed = bytes.get(..allowed).unwrap_or(bytes);
        let sent = ready!(wire.poll_send(cx, |socket| socket.try_write(allowed)))?;
        state.outbound.advance(allowed.get(..sent).unwrap_or_default());
        Poll::Ready(Ok(sent))
    }

    /// An answer's head and its data in one call: two wake the client twice.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &*self.0;
        let mut state = wire.state();
        wire.advance(&mut state, cx);
        if state.fault.is_some() || !state.waiters.is_empty() || !matches!(state.phase, Phase::Idle) {
            drop(state);
            let first = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
            return self.poll_write(cx, first);
        }
        let sent = ready!(wire.poll_send(cx, |socket| socket.try_write_vectored(parts)))?;
        let mut left = sent;
        for part in parts {
            let taken = left.min(part.len());
            state.outbound.advance(part.get(..taken).unwrap_or_default());
            left -= taken;
        }
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(
            nix::sys::socket::shutdown(self.0.socket.as_raw_fd(), nix::sys::socket::Shutdown::Write)
                .map_err(Into::into),
        )
    }
}

#[cfg(test)]
mod tests;

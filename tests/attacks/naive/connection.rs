//! One connection of the naive server: HTTP/2 frames in, secrets out.

use std::{
    collections::VecDeque,
    io::{self, IoSliceMut, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sockopt::PeerCredentials},
};

use super::{
    Server, Switch,
    facts::{Look, look},
};
use crate::{
    kernel::queued,
    wire::{
        ACK, DATA, END_HEADERS, END_STREAM, HEADERS, IDENTITY, PING, PREFACE, SETTINGS, ack, frame, message, take_frame,
    },
};

/// How long a PING may stay unanswered.
const PATIENCE: Duration = Duration::from_secs(1);
/// Well above what a thief waits for when it asks whether anything more comes.
const PUSH_EVERY: Duration = Duration::from_millis(100);

struct Connection<'a> {
    socket: &'a UnixStream,
    server: &'a Arc<Server>,
    pid: i32,
    uid: u32,
    buffer: Vec<u8>,
    has_preface: bool,
    /// Streams with a whole request and no answer.
    waiting: VecDeque<u32>,
    /// What was noted before the PING that is out, and until when it may be answered.
    asked: Option<([u8; 8], Look, Instant)>,
    /// What the last answered PING showed.
    proved: Option<Look>,
    /// Writes of one frame at a time, since pushes come from other threads.
    writing: Arc<Mutex<UnixStream>>,
}

/// Serves a connection until it ends or breaks a rule that is switched on.
pub(super) fn serve(socket: &UnixStream, server: &Arc<Server>) {
    // Errors are the end of a connection, no more.
    let Ok(peer) = getsockopt(&socket.as_fd(), PeerCredentials) else { return };
    let Ok(writer) = socket.try_clone() else { return };
    let mut connection = Connection {
        socket,
        server,
        pid: peer.pid(),
        uid: peer.uid(),
        buffer: Vec::new(),
        has_preface: false,
        waiting: VecDeque::new(),
        asked: None,
        proved: None,
        writing: Arc::new(Mutex::new(writer)),
    };
    connection.run().ok();
    socket.shutdown(std::net::Shutdown::Both).ok();
}

impl Connection<'_> {
    fn run(&mut self) -> io::Result<()> {
        self.write(&frame(SETTINGS, 0, 0, &[]))?;
        loop {
            self.take_frames()?;
            self.advance()?;
            let wait = self.asked.as_ref().map(|(_, _, until)| until.saturating_duration_since(Instant::now()));
            if wait.is_some_and(|wait| wait.is_zero()) {
                self.asked = None;
                self.refuse_all()?;
            } else if !self.wait(wait)? {
                continue;
            } else if !self.receive(MsgFlags::empty())? {
                return Ok(());
            }
        }
    }

    /// Waits for bytes; outside the turn of a server with one thread, as its event loop would.
    fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        let limit = limit.map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        Ok(poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], limit)? > 0)
    }

    /// Reads once; false at the end.
    fn receive(&mut self, flags: MsgFlags) -> io::Result<bool> {
        let single = self.server.switches.has(Switch::OneThread);
        let _turn = single.then(|| self.server.turn.lock().unwrap_or_else(PoisonError::into_inner));
        let mut scratch = [0; 16 * 1024];
        let mut parts = [IoSliceMut::new(&mut scratch)];
        let mut control = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
        let received = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let count = received.bytes;
        if self.server.switches.has(Switch::Sender) && count > 0 {
            let sender = received.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(sender) => Some((sender.pid(), sender.uid())),
                _ => None,
            });
            if sender != Some((self.pid, self.uid)) {
                return Ok(false);
            }
        }
        self.buffer.extend(&scratch[..count]);
        Ok(count > 0)
    }

    fn take_frames(&mut self) -> io::Result<()> {
        if !self.has_preface && self.buffer.starts_with(PREFACE) {
            self.buffer.drain(..PREFACE.len());
            self.has_preface = true;
        }
        if !self.has_preface {
            return Ok(());
        }
        while let Some((kind, flags, stream, payload)) = take_frame(&mut self.buffer) {
            match (kind, flags & 1) {
                (SETTINGS, 0) => self.write(&frame(SETTINGS, ACK, 0, &[]))?,
                (PING, 0) => self.write(&ack(payload.try_into().unwrap_or_default()))?,
                (PING, ACK) => self.settle(&payload)?,
                (DATA, END_STREAM) => {
                    self.waiting.push_back(stream);
                    self.advance()?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn look(&self) -> Option<Look> {
        look(self.pid, self.uid, &self.server.entry, self.server.switches, &self.server.digests).ok()
    }

    /// Answers the first waiting request, or asks the running image.
    fn advance(&mut self) -> io::Result<()> {
        let switches = self.server.switches;
        while self.asked.is_none() && !self.waiting.is_empty() {
            let seen = loop {
                if switches.has(Switch::Empty) && switches.has(Switch::Ping) {
                    while queued(self.socket.as_fd()) > 0 && self.receive(MsgFlags::MSG_DONTWAIT)? {}
                }
                let seen = self.look().filter(|look| look.granted);
                if !switches.has(Switch::Empty) || queued(self.socket.as_fd()) == 0 {
                    break seen;
                }
            };
            let Some(seen) = seen else {
                self.refuse_first()?;
                continue;
            };
            let known =
                switches.has(Switch::Once) && self.proved.as_ref().is_some_and(|proved| seen.is_as(proved, switches));
            if known || !switches.has(Switch::Ping) {
                self.grant_first()?;
                continue;
            }
            let mut nonce = [0; 8];
            aws_lc_rs::rand::fill(&mut nonce).map_err(io::Error::other)?;
            self.asked = Some((nonce, seen, Instant::now() + PATIENCE));
            self.write(&frame(PING, 0, 0, &nonce))?;
        }
        Ok(())
    }

    /// An ACK has come.
    fn settle(&mut self, payload: &[u8]) -> io::Result<()> {
        let Some((_, before, _)) = self.asked.take_if(|(nonce, _, _)| payload == *nonce) else { return Ok(()) };
        if self.look().is_some_and(|now| now.is_as(&before, self.server.switches)) {
            self.proved = Some(before);
            self.grant_first()
        } else {
            self.refuse_first()
        }
    }

    fn grant_first(&mut self) -> io::Result<()> {
        let Some(stream) = self.waiting.pop_front() else { return Ok(()) };
        self.write(&[response_headers(stream, 0), message(stream, 0, &secret())].concat())?;
        let switches = self.server.switches;
        if switches.has(Switch::Push) {
            let (writing, server, pid, uid) = (self.writing.clone(), self.server.clone(), self.pid, self.uid);
            let first = self.look();
            std::thread::spawn(move || {
                loop {
                    std::thread::sleep(PUSH_EVERY);
                    let now = || look(pid, uid, &server.entry, switches, &server.digests).ok();
                    let same = || now().zip(first.as_ref()).is_some_and(|(now, first)| now.is_as(first, switches));
                    let end = switches.has(Switch::PushLooks) && !same();
                    let bytes = if end { frame(DATA, END_STREAM, stream, &[]) } else { message(stream, 0, &secret()) };
                    let written = writing.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes);
                    if end || written.is_err() {
                        return;
                    }
                }
            });
        }
        Ok(())
    }

    fn refuse_first(&mut self) -> io::Result<()> {
        let Some(stream) = self.waiting.pop_front() else { return Ok(()) };
        self.write(&response_headers(stream, END_STREAM))
    }

    fn refuse_all(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            self.refuse_first()?;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    }
}

/// `:status: 200`; the secret, or `grpc-status: 7`.
fn response_headers(stream: u32, end: u8) -> Vec<u8> {
    let mut block = vec![0x88];
    if end != 0 {
        block.extend(b"\x00\x0bgrpc-status\x017");
    }
    frame(HEADERS, END_HEADERS | end, stream, &block)
}

/// An `X509SVIDResponse` with the identity and something in place of a key.
fn secret() -> Vec<u8> {
    let field = |tag: u8, value: &[u8]| [&[tag, u8::try_from(value.len()).unwrap_or(0)], value].concat();
    let svid = [field(0x0a, IDENTITY.as_bytes()), field(0x12, b"leaf"), field(0x1a, b"a private key")].concat();
    field(0x0a, &svid)
}

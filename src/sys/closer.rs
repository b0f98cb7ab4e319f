//! Closing descriptors that strangers made.
//!
//! Closing a TCP socket with `SO_LINGER`, or a file on FUSE, may block for as long as its maker likes. Such
//! descriptors are closed on threads of their own, never on the thread that serves others. The same goes for a
//! connection on which messages lie unread: what they carry is closed with it.

use std::{
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt::Linger};

use super::{rights, stream::queued};

/// How many closings may block at the same time.
pub(crate) const CLOSERS_MAX: usize = 8;
/// How many descriptors may wait for one of them.
pub(crate) const QUEUE_MAX: usize = 4_096;
/// What is read from one descriptor, and from those that came with it, before it is closed.
const MESSAGES_MAX: usize = 1_024;
const DESCRIPTORS_MAX: usize = 4_096;
/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(2);

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static QUEUE: Mutex<Option<Queue>> = Mutex::new(None);

struct Queue {
    sender: SyncSender<OwnedFd>,
    receiver: std::sync::Arc<Mutex<Receiver<OwnedFd>>>,
}

/// Closes a connection. The other side learns of it at once; what it sent and nobody read is thrown away elsewhere.
pub(crate) fn hang_up(socket: UnixStream) {
    // From here on nothing more can be sent, so what is counted below is all there is.
    shutdown(socket.as_raw_fd(), Shutdown::Both).ok();
    if !queued(&socket).is_ok_and(|count| count == 0) {
        close(socket.into());
    }
}

/// Closes a descriptor that was given to us soon, elsewhere, with everything that lies unread in it. Answers whether
/// there was room for it; without room it stays open for good, which costs the daemon one descriptor and costs nobody
/// else any time.
pub(crate) fn close(fd: OwnedFd) -> bool {
    let Ok(mut queue) = QUEUE.lock() else { return leak(fd) };
    let queue = queue.get_or_insert_with(|| {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        Queue { sender, receiver: std::sync::Arc::new(Mutex::new(receiver)) }
    });
    let closed = match queue.sender.try_send(fd) {
        Ok(()) => true,
        Err(TrySendError::Full(fd) | TrySendError::Disconnected(fd)) => leak(fd),
    };
    if RUNNING.load(Ordering::Acquire) < CLOSERS_MAX {
        let receiver = queue.receiver.clone();
        RUNNING.fetch_add(1, Ordering::AcqRel);
        let spawned = thread::Builder::new().name("dayfly-closer".into()).stack_size(64 * 1024).spawn(move || {
            run(&receiver);
            RUNNING.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            RUNNING.fetch_sub(1, Ordering::AcqRel);
        }
    }
    closed
}

fn run(queue: &Mutex<Receiver<OwnedFd>>) {
    loop {
        // The lock is held while waiting, not while closing: one waits, the others close.
        let next = match queue.lock() {
            Ok(receiver) => receiver.recv_timeout(IDLE),
            Err(_) => return,
        };
        match next {
            Ok(fd) => dispose(fd),
            Err(_) => return,
        }
    }
}

/// Closes a descriptor and everything that lies unread in it, without waiting for anybody as far as that can be had.
fn dispose(fd: OwnedFd) {
    let (mut heap, mut messages, mut buffer) = (vec![fd], 0, [0; 4_096]);
    while let Some(fd) = heap.pop() {
        // Whoever made it may have asked that its close waits. What is no socket says so, and is closed all the same.
        setsockopt(&fd, Linger, &libc::linger { l_onoff: 0, l_linger: 0 }).ok();
        while messages < MESSAGES_MAX && heap.len() < DESCRIPTORS_MAX {
            let Ok(message) = rights::receive(fd.as_fd(), &mut buffer) else { break };
            if message.bytes == 0 && message.descriptors.is_empty() {
                break;
            }
            messages += 1;
            heap.extend(message.descriptors);
        }
    }
}

fn leak(fd: OwnedFd) -> bool {
    std::mem::forget(fd);
    false
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{
        io::{IoSlice, Read as _, Write as _},
        net::{TcpListener, TcpStream},
        time::Instant,
    };

    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    use super::*;

    /// A TCP socket whose close waits for half a minute, for a peer that never reads.
    fn lingering() -> (TcpStream, TcpStream) {
        let sink = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(sink.local_addr().unwrap()).unwrap();
        let other = sink.accept().unwrap().0;
        setsockopt(&socket, Linger, &libc::linger { l_onoff: 1, l_linger: 30 }).unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[0; 65_536]).is_ok() {}
        (socket, other)
    }

    fn send(through: &UnixStream, given: &impl std::os::fd::AsRawFd) {
        let fds = [given.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(through.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None).unwrap();
    }

    #[tokio::test]
    async fn an_unread_socket_that_lingers_holds_nobody_up() {
        let begin = Instant::now();
        let mut others = Vec::new();
        for nested in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (socket, other) = lingering();
            if nested {
                let (inner, outer) = UnixStream::pair().unwrap();
                send(&inner, &socket);
                send(&theirs, &outer);
            } else {
                send(&theirs, &socket);
            }
            drop(socket);
            others.push(other);
            hang_up(ours);
            assert_eq!(theirs.read(&mut [0; 1]).unwrap_or_default(), 0);
        }
        // The lingering sockets are closed as well: their peers are told.
        for mut other in others {
            other.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            while other.read(&mut [0; 65_536]).is_ok_and(|count| count > 0) {}
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }

    #[test]
    fn a_descriptor_is_closed_elsewhere() {
        let (mut kept, given) = UnixStream::pair().unwrap();
        assert!(close(given.into()));
        // Ends when the other side was closed; hangs otherwise.
        assert_eq!(kept.read(&mut [0; 1]).unwrap(), 0);
    }
}

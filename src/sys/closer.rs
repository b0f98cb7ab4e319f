//! Closing descriptors that strangers made.
//!
//! Closing a TCP socket with `SO_LINGER`, or a file on FUSE, may block for as long as its maker likes. Such
//! descriptors are closed on threads of their own, never on the thread that serves others. The same goes for a
//! connection on which messages lie unread, where they may carry descriptors: those are closed with it.
//!
//! Without a thread, or while all of them are kept waiting, descriptors are kept. None is forgotten; when a share of all
//! that the daemon may have is kept here, no connection is accepted until some are closed.

use std::{
    collections::VecDeque,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use nix::sys::{
    resource::{Resource, getrlimit},
    socket::{Shutdown, setsockopt, shutdown, sockopt::Linger},
};
use tokio::runtime::Handle;

use super::{kernel::refuses_descriptors, rights, stream::queued};

/// How many closings may block at the same time.
pub(crate) const CLOSERS_MAX: usize = 8;
/// When one of so many descriptors that the daemon may have is kept here, no more connections are accepted.
pub(crate) const KEPT_SHARE: u64 = 4;
/// What is read from one descriptor, and from those that came with it, before it is closed.
const MESSAGES_MAX: usize = 1_024;
const DESCRIPTORS_MAX: usize = 4_096;
/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(2);
/// How soon the system is asked again for a thread that it did not give.
const RETRY_EVERY: Duration = Duration::from_millis(100);
const STACK_BYTES: usize = 64 * 1024;

static CLOSERS: Closers = Closers::new(STACK_BYTES);

/// Closes a connection. The other side learns of it at once; what it sent and nobody read is thrown away elsewhere,
/// where that may take time.
pub(crate) fn hang_up(socket: UnixStream) {
    CLOSERS.hang_up(socket);
}

/// Closes a descriptor that was given to us soon, elsewhere, with everything that lies unread in it.
pub(crate) fn close(fd: OwnedFd) {
    CLOSERS.close(fd);
}

/// Whether so much is kept that connections must wait.
pub(crate) fn is_full() -> bool {
    let kept = CLOSERS.state().kept.len();
    kept > 0 && getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(soft, _)| is_over_share(kept, soft))
}

fn is_over_share(kept: usize, descriptors_max: u64) -> bool {
    u64::try_from(kept).is_ok_and(|kept| kept >= descriptors_max / KEPT_SHARE)
}

/// The threads that close, and what waits for them.
struct Closers {
    state: Mutex<State>,
    /// There is something to close.
    more: Condvar,
}

struct State {
    kept: VecDeque<OwnedFd>,
    running: usize,
    /// Of those, how many wait for something to close.
    idle: usize,
    /// A task asks for the thread that the system did not give.
    is_retried: bool,
    stack_bytes: usize,
}

impl Closers {
    const fn new(stack_bytes: usize) -> Self {
        let state = State { kept: VecDeque::new(), running: 0, idle: 0, is_retried: false, stack_bytes };
        Self { state: Mutex::new(state), more: Condvar::new() }
    }

    fn hang_up(&'static self, socket: UnixStream) {
        // Its close waits for nobody, however much lies in it, and tells the other side.
        if refuses_descriptors(&socket) {
            return;
        }
        // From here on nothing more can be sent, so what is counted below is all there is.
        shutdown(socket.as_raw_fd(), Shutdown::Both).ok();
        if !queued(&socket).is_ok_and(|count| count == 0) {
            self.close(socket.into());
        }
    }

    fn close(&'static self, fd: OwnedFd) {
        let mut state = self.state();
        state.kept.push_back(fd);
        self.more.notify_one();
        if state.is_retried || self.staff(&mut state) {
            return;
        }
        // Outside the runtime, the next that is closed asks again.
        if let Ok(runtime) = Handle::try_current() {
            state.is_retried = true;
            let retried = Retried(self);
            drop(state);
            runtime.spawn(retried.until_there_is_one());
        }
    }

    /// Sees that as many close as may, where more is kept than others will take at once; false when the system gave no
    /// thread for it.
    fn staff(&'static self, state: &mut State) -> bool {
        if state.kept.len() <= state.idle || state.running >= CLOSERS_MAX {
            return true;
        }
        let builder = thread::Builder::new().name("dayfly-closer".into()).stack_size(state.stack_bytes);
        let is_made = builder.spawn(|| self.run()).is_ok();
        state.running += usize::from(is_made);
        is_made
    }

    fn run(&self) {
        let mut state = self.state();
        loop {
            if let Some(fd) = state.kept.pop_front() {
                drop(state);
                dispose(fd);
                state = self.state();
                continue;
            }
            state.idle += 1;
            let waited = self.more.wait_timeout_while(state, IDLE, |state| state.kept.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
            if state.kept.is_empty() {
                state.running -= 1;
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for a thread again and again; dropped, the next that is closed does.
struct Retried(&'static Closers);

impl Retried {
    async fn until_there_is_one(self) {
        loop {
            tokio::time::sleep(RETRY_EVERY).await;
            let mut state = self.0.state();
            if self.0.staff(&mut state) {
                return;
            }
        }
    }
}

impl Drop for Retried {
    fn drop(&mut self) {
        self.0.state().is_retried = false;
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
    use crate::sys::{kernel::refuse_descriptors, listener::registered};

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
        close(given.into());
        // Ends when the other side was closed; hangs otherwise.
        assert_eq!(kept.read(&mut [0; 1]).unwrap(), 0);
    }

    /// To whom the system gives no thread: none has room for this stack.
    fn without_threads() -> &'static Closers {
        Box::leak(Box::new(Closers::new(1 << 50)))
    }

    /// A connection on which something lies unread.
    fn unread() -> (UnixStream, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"unread").unwrap();
        (ours, theirs)
    }

    #[test]
    fn what_nothing_could_be_sent_with_is_closed_at_once() {
        let closers = without_threads();
        let (ours, mut theirs) = unread();
        if refuse_descriptors(&ours).is_err() {
            return; // Before Linux 6.16.
        }
        closers.hang_up(ours);
        assert!(closers.state().kept.is_empty());
        assert_eq!(theirs.read(&mut [0; 1]).unwrap_or_default(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_thread_closes_is_kept_until_one_does() {
        const MANY: usize = 5_000;
        let closers = without_threads();
        let (ours, mut theirs) = unread();
        closers.hang_up(ours);
        let (mut other, given) = UnixStream::pair().unwrap();
        for _ in 1..MANY {
            // One and the same file, so that no limit of descriptors is met.
            match given.try_clone() {
                Ok(given) => closers.close(given.into()),
                Err(_) => break,
            }
        }
        let kept = closers.state().kept.len();
        assert!(kept > 100, "{kept}");
        assert!(closers.state().is_retried && closers.state().running == 0);
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0, "the other side has been told");
        tokio::time::sleep(10 * RETRY_EVERY).await;
        assert_eq!(closers.state().kept.len(), kept, "nothing is forgotten");
        drop(given);
        closers.state().stack_bytes = STACK_BYTES;
        tokio::time::sleep(2 * RETRY_EVERY).await;
        // Ends when the last of them was closed; hangs otherwise.
        assert_eq!(other.read(&mut [0; 1]).unwrap(), 0);
        assert!(closers.state().kept.is_empty());
        tokio::task::yield_now().await;
        assert!(!closers.state().is_retried);
    }

    #[test]
    fn connections_wait_while_a_share_of_all_descriptors_is_kept() {
        let cases = [(0, 1_024, false), (255, 1_024, false), (256, 1_024, true), (usize::MAX, 1 << 20, true)];
        for (kept, descriptors_max, is_full) in cases {
            assert_eq!(is_over_share(kept, descriptors_max), is_full, "{kept} of {descriptors_max}");
        }
    }

    #[tokio::test]
    async fn a_closer_that_idles_is_used_again() {
        let closers: &'static Closers = Box::leak(Box::new(Closers::new(STACK_BYTES)));
        for _ in 0..100 {
            let (mut kept, given) = UnixStream::pair().unwrap();
            closers.close(given.into());
            assert_eq!(kept.read(&mut [0; 1]).unwrap(), 0);
            while closers.state().idle == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(closers.state().running, 1);
    }

    #[test]
    fn a_connection_that_the_runtime_does_not_take_holds_nobody_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        let _over = handle.enter();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (socket, _other) = lingering();
        send(&theirs, &socket);
        drop(socket);
        let begin = Instant::now();
        registered(ours).unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
}

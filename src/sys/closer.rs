//! Closing descriptors that strangers made.
//!
//! Closing a TCP socket with `SO_LINGER`, or a file on FUSE, may block for as long as its maker likes. Such
//! descriptors are closed on threads of their own, never on the thread that serves others.

use std::{
    os::fd::OwnedFd,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// How many closings may block at the same time.
pub(crate) const CLOSERS_MAX: usize = 8;
/// How many descriptors may wait for one of them.
pub(crate) const QUEUE_MAX: usize = 4_096;
/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(2);

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static QUEUE: Mutex<Option<Queue>> = Mutex::new(None);

struct Queue {
    sender: SyncSender<OwnedFd>,
    receiver: std::sync::Arc<Mutex<Receiver<OwnedFd>>>,
}

/// Closes a descriptor soon, elsewhere. Answers whether there was room for it; without room it stays open for
/// good, which costs the daemon one descriptor and costs nobody else any time.
pub(crate) fn close(fd: OwnedFd) -> bool {
    let Ok(mut queue) = QUEUE.lock() else { return leak(fd) };
    let queue = queue.get_or_insert_with(|| {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        Queue { sender, receiver: std::sync::Arc::new(Mutex::new(receiver)) }
    });
    let closed = match queue.sender.try_send(fd) {
        Ok(()) => true,
        Err(refused) => leak(match refused {
            std::sync::mpsc::TrySendError::Full(fd) | std::sync::mpsc::TrySendError::Disconnected(fd) => fd,
        }),
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
            Ok(fd) => drop(fd),
            Err(_) => return,
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

    use std::{io::Read as _, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn a_descriptor_is_closed_elsewhere() {
        let (mut kept, given) = UnixStream::pair().unwrap();
        assert!(close(given.into()));
        // Ends when the other side was closed; hangs otherwise.
        assert_eq!(kept.read(&mut [0; 1]).unwrap(), 0);
    }
}

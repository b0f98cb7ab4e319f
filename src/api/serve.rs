//! Accepting connections: who is at the door, is there room, and then a task for each.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tokio_util::sync::CancellationToken;

use super::{
    admin::AdminCaller,
    connection::{self, Service},
    drive::End,
    limits::{ConnectionSlot, Gate, Over},
};
use crate::{
    attest::{Attestor, Caller},
    audit::{self, Record, Urgency},
    sys::{
        chain, closer,
        counters::Counters,
        kernel::{Feature, Kernel},
        listener::{Listener, registered},
        looks::Looks,
        peer::{Fault, Peer},
        process,
        stream::guard,
        threads,
    },
};

/// What all doors of a daemon share.
pub(crate) struct Doorkeeper {
    pub(crate) attestor: Arc<Attestor>,
    pub(crate) kernel: Kernel,
    pub(crate) log: audit::Log,
    pub(crate) memory: Memory,
}

/// A socket and what is served on it.
pub(crate) struct Door {
    pub(crate) listener: Listener,
    pub(crate) gate: Arc<Gate>,
    pub(crate) service: Service,
}

/// How long to wait when there is no descriptor left. Connections that end meanwhile make room.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The uid of whom the kernel does not name.
const NOBODY: u32 = u32::MAX;

/// After so many connections those who are connected have their turn.
const AT_ONCE: usize = 32;

impl Door {
    /// Accepts until the daemon rests, or until the socket breaks. Those who were accepted are served on.
    ///
    /// # Errors
    /// When the socket cannot be accepted from at all.
    pub(crate) async fn run(mut self, resting: CancellationToken, keeper: Arc<Doorkeeper>) -> io::Result<()> {
        for number in 1_usize.. {
            if number.is_multiple_of(AT_ONCE) {
                tokio::task::yield_now().await;
            }
            self.gate.settle().await;
            let accepted = tokio::select! {
                () = resting.cancelled() => return Ok(()),
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok(socket) => self.admit(socket, &keeper),
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
                    ) =>
                {
                    let counters = &self.service.counters;
                    counters.limit_met("descriptors");
                    if counters.is_worth_a_line(NOBODY) {
                        tracing::warn!(error = %error, "no descriptor left for a connection");
                    }
                    tokio::time::sleep(BACK_OFF).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Limits first, then who it is: neither reads a byte. Where to know it means to read `/proc`, others wait no
    /// longer for that than for anything else of this caller's.
    fn admit(&self, socket: UnixStream, keeper: &Arc<Doorkeeper>) {
        let counters = &self.service.counters;
        let noted = noted(&socket);
        let slot = match self.gate.connect(noted.uid, Instant::now()) {
            Ok(slot) => slot,
            Err(over) => {
                counters.limit_met(over.code());
                closer::hang_up(socket);
                return keeper.note_over(noted, over, counters);
            }
        };
        let (keeper, service, kernel) = (keeper.clone(), self.service.clone(), keeper.kernel);
        if kernel.has(Feature::PidfdInode) {
            let peer = Peer::of(&socket, kernel);
            return keeper.greet(socket, noted, peer, slot, service);
        }
        let waiting = Waiting(Some(socket));
        let tracker = service.tracker.clone();
        tracker.spawn(async move {
            let looking = slot.looks().make(noted.pid, move || {
                let peer = waiting.0.as_ref().map(|socket| Peer::of(socket, kernel));
                (waiting, peer)
            });
            // What is still being looked at then is hung up when the look ends.
            let met = tokio::time::timeout(service.terms.preface, looking).await;
            if let Ok(Some((mut waiting, Some(peer)))) = met
                && let Some(socket) = waiting.0.take()
            {
                keeper.greet(socket, noted, peer, slot, service);
            }
        });
    }
}

/// Somebody at the door, whom nobody knows yet.
struct Waiting(Option<UnixStream>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            closer::hang_up(socket);
        }
    }
}

impl Doorkeeper {
    /// Serves who is known, in a task of its own.
    fn greet(
        self: Arc<Self>,
        socket: UnixStream,
        noted: audit::Caller,
        peer: Result<Peer, Fault>,
        slot: ConnectionSlot,
        service: Service,
    ) {
        let (keeper, counters) = (self, service.counters.clone());
        let known = peer.and_then(|peer| {
            let admin = service.offers.is_for_admins().then(|| AdminCaller::of(&peer, &socket)).transpose()?;
            Ok((Arc::new(peer), admin))
        });
        let (peer, admin) = match known {
            Ok(known) => known,
            Err(fault) => {
                closer::hang_up(socket);
                return keeper.refuse(noted, &fault, &counters);
            }
        };
        let socket = match registered(socket) {
            Ok(socket) => socket,
            Err(error) => return keeper.refuse(noted, &Fault::Unreadable(error), &counters),
        };
        counters.connected();
        keeper.memory.opened();
        let (stream, line) = {
            let (lens, looks, speech) = (keeper.attestor.lens().clone(), slot.looks().clone(), service.offers.speech());
            guard(socket, peer.clone(), lens, looks, speech)
        };
        let looks = slot.looks().clone();
        let caller = Arc::new(Caller::new(line, looks.clone(), keeper.attestor.clone()));
        let (tracker, wait) = (service.tracker.clone(), service.terms.preface);
        tracker.spawn(async move {
            match connection::serve(stream, caller, admin, Arc::new(slot), service).await {
                // A process that exits is the ordinary end of a connection.
                End::Closed | End::Fault(Fault::Gone) => {}
                End::Fault(fault) => {
                    let fault = told_apart(fault, &peer, &looks, wait).await;
                    keeper.refuse(recorded(&peer), &fault, &counters);
                }
                End::Left => keeper.end(&peer, Fault::Gone.code(), &counters),
                End::Evicted => counters.connection_ended("evicted"),
                End::Silent => counters.connection_ended("silent"),
                End::Flood => keeper.end(&peer, "flood", &counters),
                End::Broken => keeper.end(&peer, "protocol", &counters),
            }
            counters.disconnected();
            keeper.memory.closed();
        });
    }

    fn refuse(&self, caller: audit::Caller, fault: &Fault, counters: &Counters) {
        counters.connection_refused(fault.code());
        if counters.is_worth_a_line(caller.uid) {
            tracing::warn!(pid = caller.pid, uid = caller.uid, reason = fault.code(), cause = %chain(fault), "connection closed");
        }
        self.record(caller, fault.code(), counters);
    }

    fn end(&self, peer: &Peer, reason: &'static str, counters: &Counters) {
        counters.connection_ended(reason);
        tracing::debug!(pid = peer.pid(), uid = peer.uid(), reason, "connection closed");
        self.record(recorded(peer), reason, counters);
    }

    fn note_over(&self, caller: audit::Caller, over: Over, counters: &Counters) {
        tracing::debug!(pid = caller.pid, uid = caller.uid, limit = over.code(), "connection over a limit");
        self.record(caller, over.code(), counters);
    }

    fn record(&self, caller: audit::Caller, reason: &'static str, counters: &Counters) {
        let uid = caller.uid;
        let record = Record::Refused { caller, what: "connection", reasons: vec![reason], detail: None, holder: None };
        if let Err(error) = self.log.append(&record, Urgency::Ordinary)
            && counters.is_worth_a_line(uid)
        {
            tracing::error!(error = %chain(&error), "audit log takes no record");
        }
    }
}

/// Whether a stranger who wrote is a child of the caller: people want to know, and nothing waits for it.
async fn told_apart(fault: Fault, peer: &Arc<Peer>, looks: &Looks, wait: Duration) -> Fault {
    let Fault::SenderDiffers { pid } = fault else { return fault };
    let own = peer.clone();
    let looking = looks.make(pid, move || own.tell_apart(Fault::SenderDiffers { pid }));
    tokio::time::timeout(wait, looking).await.ok().flatten().unwrap_or(Fault::SenderDiffers { pid })
}

fn recorded(peer: &Peer) -> audit::Caller {
    audit::Caller { pid: peer.pid(), uid: peer.uid(), gid: peer.gid(), exe: None }
}

/// What SO_PEERCRED alone says, for a caller that could not be pinned down.
fn noted(socket: &UnixStream) -> audit::Caller {
    let (pid, uid, gid) = getsockopt(socket, PeerCredentials)
        .map_or((0, NOBODY, NOBODY), |noted| (noted.pid(), noted.uid(), noted.gid()));
    audit::Caller { pid, uid, gid, exe: None }
}

/// Gives memory back to the system when many connections have left, which glibc does not do by itself.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    open: AtomicUsize,
    /// The most that were open since memory was given back last.
    peak: AtomicUsize,
    trimming: Arc<std::sync::atomic::AtomicBool>,
}

/// Fewer connections than this are not worth it.
const PEAK_MIN: usize = 64;
/// Memory is given back at most this often.
const TRIM_EVERY: Duration = Duration::from_secs(5);

impl Memory {
    fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(open, Ordering::Relaxed);
    }

    fn closed(&self) {
        let open = self.open.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        let peak = self.peak.load(Ordering::Relaxed);
        if peak < PEAK_MIN || open > peak / 2 || self.trimming.swap(true, Ordering::AcqRel) {
            return;
        }
        let trimming = self.trimming.clone();
        self.peak.store(open, Ordering::Relaxed);
        tokio::spawn(async move {
            // Those that are still leaving leave first.
            tokio::time::sleep(TRIM_EVERY).await;
            threads::aside(process::give_memory_back).await.ok();
            trimming.store(false, Ordering::Release);
        });
    }
}

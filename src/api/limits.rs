//! How much one user, and everybody together, may have open or ask for. Taken before attestation.
//!
//! What is over a limit is closed or answered Unavailable: clients try again then. No client that behaves meets one.

mod answers;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub(crate) use answers::BytesSlot;

use super::{bucket::Bucket, parties::Parties};
use crate::sys::looks::{AllLooks, Looks};

/// What one user may have. Containers without user namespaces all run as uid 0, which has a share of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    /// Of answers that have not left, in bytes.
    pub(crate) answer_bytes: usize,
}

/// All limits of the workload socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) user: Share,
    pub(crate) root: Share,
    pub(crate) all: Share,
    /// Connections that a user may open in a second.
    pub(crate) connects_per_second: u32,
    /// Requests that a user may begin in a second.
    pub(crate) requests_per_second: u32,
    /// Calls of one user that go on at the same time; the others wait for their turn.
    pub(crate) turns: usize,
}

impl Limits {
    fn share(&self, uid: u32) -> Share {
        if uid == 0 { self.root } else { self.user }
    }
}

/// Which limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    ConnectionsOfUser,
    ConnectionsOfAll,
    ConnectRate,
    StreamsOfUser,
    StreamsOfAll,
    RequestRate,
    AnswerBytesOfUser,
    AnswerBytesOfAll,
}

impl Over {
    /// A stable word for the counters and the log.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::ConnectionsOfUser => "connections_per_uid",
            Self::ConnectionsOfAll => "connections_total",
            Self::ConnectRate => "connects_per_second",
            Self::StreamsOfUser => "streams_per_uid",
            Self::StreamsOfAll => "streams_total",
            Self::RequestRate => "requests_per_second",
            Self::AnswerBytesOfUser => "answer_bytes_per_uid",
            Self::AnswerBytesOfAll => "answer_bytes_total",
        }
    }
}

/// Counts what is open. One for the workload sockets.
#[derive(Debug)]
pub(crate) struct Gate {
    looks: AllLooks,
    state: Mutex<State>,
    /// Told when one that made room has left.
    left: Notify,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    next: u64,
    /// By their numbers. One that must make room is taken off at once, with its streams.
    connections: HashMap<u64, Open>,
    /// Those that were taken off and have not left yet.
    leaving: usize,
    streams: usize,
    answer_bytes: usize,
    /// Of answers of those that were taken off, which are dropped with them.
    leaving_bytes: usize,
    users: HashMap<u32, User>,
    parties: Parties,
}

#[derive(Debug, Default)]
struct User {
    connections: usize,
    /// Those without a stream, in the order in which they came.
    idle: BTreeSet<u64>,
    streams: usize,
    answer_bytes: usize,
    connects: Bucket,
    requests: Bucket,
    /// Requests beyond those.
    refused: Bucket,
    /// Made with the first connection.
    turns: Option<Arc<Semaphore>>,
}

#[derive(Debug)]
struct Open {
    uid: u32,
    streams: usize,
    answer_bytes: usize,
    /// Of the last answer for which there was no room; 0 before that.
    refused_bytes: usize,
    close: CancellationToken,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    gate: Arc<Gate>,
    uid: u32,
    number: u64,
    turns: Arc<Semaphore>,
    looks: Looks,
    close: CancellationToken,
    is_flood: AtomicBool,
}

/// One stream's place; given back when dropped, and before that of its connection.
#[derive(Debug)]
pub(crate) struct StreamSlot(Arc<ConnectionSlot>);

impl Gate {
    pub(crate) fn new(limits: Limits, looks: AllLooks) -> Self {
        let state = State {
            limits,
            next: 0,
            connections: HashMap::new(),
            leaving: 0,
            streams: 0,
            answer_bytes: 0,
            leaving_bytes: 0,
            users: HashMap::new(),
            parties: Parties::new(limits.user, limits.root),
        };
        Self { looks, state: Mutex::new(state), left: Notify::new() }
    }

    /// Other limits from now on. Whoever has more than that keeps it. How many calls go on at the same time stays.
    pub(crate) fn change_limits(&self, limits: Limits) {
        let mut state = self.state();
        state.parties.change_shares(limits.user, limits.root);
        state.limits = Limits { turns: state.limits.turns, ..limits };
    }

    /// Open connections and streams.
    #[cfg(test)]
    pub(crate) fn open(&self) -> (usize, usize) {
        let state = self.state();
        (state.connections.len(), state.streams)
    }

    /// Bytes of answers that have not left, of connections that stay and of those that leave.
    #[cfg(test)]
    pub(crate) fn answer_bytes(&self) -> (usize, usize) {
        let state = self.state();
        (state.answer_bytes, state.leaving_bytes)
    }

    /// A place for a connection of this user. At its cap, the user's own oldest connection without a stream goes; when
    /// there is none for anybody, one of whoever has most.
    ///
    /// # Errors
    /// Which limit was met.
    pub(crate) fn connect(self: &Arc<Self>, uid: u32, now: Instant) -> Result<ConnectionSlot, Over> {
        let mut state = self.state();
        let (limits, share) = (state.limits, state.limits.share(uid));
        let number = state.next;
        state.next += 1;
        state.forget_idle_users(now);
        let user = state.users.entry(uid).or_default();
        if !user.connects.take(limits.connects_per_second, now) {
            return Err(Over::ConnectRate);
        }
        if user.connections >= share.connections {
            let oldest = user.idle.first().copied().ok_or(Over::ConnectionsOfUser)?;
            state.evict(oldest);
        } else if state.connections.len() >= limits.all.connections {
            let one = state.parties.connection_for_connection(uid).ok_or(Over::ConnectionsOfAll)?;
            state.evict(one);
        }
        let close = CancellationToken::new();
        let open = Open { uid, streams: 0, answer_bytes: 0, refused_bytes: 0, close: close.clone() };
        state.connections.insert(number, open);
        state.parties.connected(uid, number);
        let user = state.users.entry(uid).or_default();
        user.connections += 1;
        user.idle.insert(number);
        let turns = user.turns.get_or_insert_with(|| Arc::new(Semaphore::new(limits.turns))).clone();
        let looks = self.looks.of_user(uid);
        let is_flood = AtomicBool::new(false);
        Ok(ConnectionSlot { gate: self.clone(), uid, number, turns, looks, close, is_flood })
    }

    /// Waits, not for long, while too many of those that made room still have their descriptors.
    pub(crate) async fn settle(&self) {
        let settled = async {
            loop {
                // Before the look, so that nobody leaves unseen.
                let left = self.left.notified();
                if self.state().leaving < LEAVING_MAX {
                    return;
                }
                left.await;
            }
        };
        tokio::time::timeout(SETTLE_WAIT, settled).await.ok();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a connection off, with its streams, and tells it to end.
    fn evict(&mut self, number: u64) {
        if let Some(open) = self.remove(number) {
            open.close.cancel();
            self.leaving += 1;
            self.leaving_bytes += open.answer_bytes;
        }
    }

    fn remove(&mut self, number: u64) -> Option<Open> {
        let open = self.connections.remove(&number)?;
        self.parties.disconnected(open.uid, number, open.streams, open.answer_bytes);
        self.streams = self.streams.saturating_sub(open.streams);
        self.answer_bytes = self.answer_bytes.saturating_sub(open.answer_bytes);
        if let Some(user) = self.users.get_mut(&open.uid) {
            user.connections = user.connections.saturating_sub(1);
            user.idle.remove(&number);
            user.streams = user.streams.saturating_sub(open.streams);
            user.answer_bytes = user.answer_bytes.saturating_sub(open.answer_bytes);
        }
        Some(open)
    }

    /// Users with nothing open are forgotten, now and then, so that the map has a bound.
    fn forget_idle_users(&mut self, now: Instant) {
        if self.users.len() > USERS_KEPT && self.next.is_multiple_of(256) {
            self.users
                .retain(|_, user| user.connections > 0 || !user.connects.is_full(now) || !user.requests.is_full(now));
        }
    }
}

/// How many connections a user can have closed for floods in a second and still make new ones.
const FLOODS_PER_SECOND: u32 = 20;
/// From how many users on those who have nothing open are forgotten.
const USERS_KEPT: usize = 1_024;
/// How many that made room may still be open, beyond all limits, before the next one is let in.
pub(crate) const LEAVING_MAX: usize = 64;
/// And how long the next one waits for them.
const SETTLE_WAIT: Duration = Duration::from_millis(100);

impl ConnectionSlot {
    /// Ends when the connection must make room for a newer one.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.close
    }

    /// The turns of its user.
    pub(crate) fn turns(&self) -> Arc<Semaphore> {
        self.turns.clone()
    }

    /// The looks of its user's party.
    pub(crate) fn looks(&self) -> &Looks {
        &self.looks
    }

    /// Whether it goes on asking for far more than its user may.
    pub(crate) fn is_flood(&self) -> bool {
        self.is_flood.load(Ordering::Relaxed)
    }

    /// Its user pays for a flood with connects: whoever was cut off comes back slowly.
    pub(crate) fn fine(&self) {
        let mut state = self.gate.state();
        let most = state.limits.connects_per_second;
        if let Some(user) = state.users.get_mut(&self.uid) {
            user.connects.overdraw(most / FLOODS_PER_SECOND, most);
        }
    }

    /// One more message of a stream, which counts as a request.
    ///
    /// # Errors
    /// When its user asks for too much in a second.
    pub(crate) fn message(&self, now: Instant) -> Result<(), Over> {
        self.asks(&mut self.gate.state(), now)
    }

    fn asks(&self, state: &mut State, now: Instant) -> Result<(), Over> {
        let limits = state.limits;
        let user = state.users.entry(self.uid).or_default();
        if !user.requests.take(limits.requests_per_second, now) {
            // A refusal costs little; as many of them as there may be requests cost enough.
            let is_flood = !user.refused.take(limits.requests_per_second, now);
            self.is_flood.fetch_or(is_flood, Ordering::Relaxed);
            return Err(Over::RequestRate);
        }
        Ok(())
    }

    /// A place for one request. When there is none for anybody, a connection of whoever has most streams goes. There is
    /// none while an answer as large as the last one that was refused here would be refused again: nothing is signed for
    /// whoever could not be told.
    ///
    /// # Errors
    /// Which limit was met.
    pub(crate) fn stream(self: &Arc<Self>, now: Instant) -> Result<StreamSlot, Over> {
        let mut state = self.gate.state();
        self.asks(&mut state, now)?;
        let (limits, share) = (state.limits, state.limits.share(self.uid));
        let user = state.users.entry(self.uid).or_default();
        if user.streams >= share.streams {
            return Err(Over::StreamsOfUser);
        }
        state.look_for_refused(self)?;
        if state.streams >= limits.all.streams {
            let one = state.parties.connection_for_stream(self.uid).ok_or(Over::StreamsOfAll)?;
            state.evict(one);
        }
        let State { connections, users, parties, streams, .. } = &mut *state;
        // One that must make room begins nothing more.
        let open = connections.get_mut(&self.number).ok_or(Over::ConnectionsOfAll)?;
        open.streams += 1;
        *streams += 1;
        let user = users.entry(self.uid).or_default();
        user.streams += 1;
        user.idle.remove(&self.number);
        parties.stream_opened(self.uid, self.number);
        Ok(StreamSlot(self.clone()))
    }
}

impl StreamSlot {
    /// The place of its connection.
    pub(crate) fn connection(&self) -> &Arc<ConnectionSlot> {
        &self.0
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        if state.remove(self.number).is_none() {
            state.leaving = state.leaving.saturating_sub(1);
            self.gate.left.notify_waiters();
        }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let Self(slot) = self;
        let mut state = slot.gate.state();
        let State { connections, users, parties, streams, .. } = &mut *state;
        // Of one that made room, all streams were taken off with it.
        let Some(open) = connections.get_mut(&slot.number) else { return };
        open.streams = open.streams.saturating_sub(1);
        let is_last = open.streams == 0;
        *streams = streams.saturating_sub(1);
        parties.stream_closed(slot.uid, slot.number, is_last);
        if let Some(user) = users.get_mut(&slot.uid) {
            user.streams = user.streams.saturating_sub(1);
            if is_last {
                user.idle.insert(slot.number);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod tests;

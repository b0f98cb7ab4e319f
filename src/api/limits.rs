//! How much one user, and everybody together, may have open or ask for. Taken before attestation.
//!
//! What is over a limit is closed or answered Unavailable: clients try again then. No client that behaves meets one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::sys::looks::{AllLooks, Looks};

/// What one user may have. Containers without user namespaces all run as uid 0, which has a share of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
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

/// Which limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    ConnectionsOfUser,
    ConnectionsOfAll,
    ConnectRate,
    StreamsOfUser,
    StreamsOfAll,
    RequestRate,
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
        }
    }
}

/// Counts what is open. One for the workload sockets.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    looks: AllLooks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    connections: usize,
    streams: usize,
    users: HashMap<u32, User>,
}

#[derive(Debug, Default)]
struct User {
    /// In the order in which they came.
    connections: BTreeMap<u64, Open>,
    streams: usize,
    connects: Bucket,
    requests: Bucket,
    /// Requests beyond those.
    refused: Bucket,
    /// Made with the first connection.
    turns: Option<Arc<Semaphore>>,
    looks: Option<Looks>,
}

#[derive(Debug)]
struct Open {
    streams: Arc<AtomicU32>,
    close: CancellationToken,
}

/// A second's worth of something, refilled as time passes.
#[derive(Debug, Default)]
struct Bucket {
    spent: f64,
    at: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, per_second: u32, now: Instant) -> bool {
        let per_second = f64::from(per_second);
        let passed = self.at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        self.spent = if passed >= Duration::from_secs(1) {
            0.0
        } else {
            (self.spent - passed.as_secs_f64() * per_second).max(0.0)
        };
        self.at = Some(now);
        let fits = self.spent + 1.0 <= per_second;
        if fits {
            self.spent += 1.0;
        }
        fits
    }

    /// Takes what may not be there; what is owed comes back within half a second.
    fn overdraw(&mut self, amount: u32, per_second: u32) {
        self.spent = (self.spent + f64::from(amount)).min(f64::from(per_second) * 1.5);
    }

    fn is_full(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(1))
    }
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    gate: Arc<Gate>,
    uid: u32,
    number: u64,
    streams: Arc<AtomicU32>,
    turns: Arc<Semaphore>,
    looks: Looks,
    close: CancellationToken,
    is_flood: AtomicBool,
}

/// One stream's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct StreamSlot {
    gate: Arc<Gate>,
    uid: u32,
    streams: Arc<AtomicU32>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, looks: AllLooks::default(), state: Mutex::default() }
    }

    /// Open connections and streams.
    #[cfg(test)]
    pub(crate) fn open(&self) -> (usize, usize) {
        let state = self.state();
        (state.connections, state.streams)
    }

    /// A place for a connection of this user. At its cap, the user's own oldest connection without a stream goes.
    ///
    /// # Errors
    /// Which limit was met.
    pub(crate) fn connect(self: &Arc<Self>, uid: u32, now: Instant) -> Result<ConnectionSlot, Over> {
        let share = self.share(uid);
        let mut state = self.state();
        state.forget_idle_users(now);
        if state.connections >= self.limits.all.connections {
            return Err(Over::ConnectionsOfAll);
        }
        let number = state.next;
        let user = state.users.entry(uid).or_default();
        if !user.connects.take(self.limits.connects_per_second, now) {
            return Err(Over::ConnectRate);
        }
        if user.connections.len() >= share.connections {
            let idle = user.connections.iter().find(|(_, open)| open.streams.load(Ordering::Relaxed) == 0);
            let Some((oldest, _)) = idle else { return Err(Over::ConnectionsOfUser) };
            let oldest = *oldest;
            if let Some(open) = user.connections.remove(&oldest) {
                open.close.cancel();
            }
        } else {
            state.connections += 1;
        }
        let (streams, close) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
        let open = Open { streams: streams.clone(), close: close.clone() };
        state.next += 1;
        let user = state.users.entry(uid).or_default();
        user.connections.insert(number, open);
        let turns = user.turns.get_or_insert_with(|| Arc::new(Semaphore::new(self.limits.turns))).clone();
        let looks = user.looks.get_or_insert_with(|| self.looks.of_user()).clone();
        let is_flood = AtomicBool::new(false);
        Ok(ConnectionSlot { gate: self.clone(), uid, number, streams, turns, looks, close, is_flood })
    }

    fn share(&self, uid: u32) -> Share {
        if uid == 0 { self.limits.root } else { self.limits.user }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Users with nothing open are forgotten, now and then, so that the map has a bound.
    fn forget_idle_users(&mut self, now: Instant) {
        if self.users.len() > USERS_KEPT && self.next.is_multiple_of(256) {
            self.users.retain(|_, user| {
                !user.connections.is_empty()
                    || user.streams > 0
                    || user.looks.as_ref().is_some_and(|looks| !looks.are_idle())
                    || !user.connects.is_full(now)
                    || !user.requests.is_full(now)
            });
        }
    }
}

/// How many connections a user can have closed for floods in a second and still make new ones.
const FLOODS_PER_SECOND: u32 = 20;
/// From how many users on those who have nothing open are forgotten.
const USERS_KEPT: usize = 1_024;

impl ConnectionSlot {
    /// Ends when the connection must make room for a newer one.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.close
    }

    /// The turns of its user.
    pub(crate) fn turns(&self) -> Arc<Semaphore> {
        self.turns.clone()
    }

    /// The looks of its user.
    pub(crate) fn looks(&self) -> &Looks {
        &self.looks
    }

    /// Whether it goes on asking for far more than its user may.
    pub(crate) fn is_flood(&self) -> bool {
        self.is_flood.load(Ordering::Relaxed)
    }

    /// Its user pays for a flood with connects: whoever was cut off comes back slowly.
    pub(crate) fn fine(&self) {
        let most = self.gate.limits.connects_per_second;
        if let Some(user) = self.gate.state().users.get_mut(&self.uid) {
            user.connects.overdraw(most / FLOODS_PER_SECOND, most);
        }
    }

    /// A place for one request.
    ///
    /// # Errors
    /// Which limit was met.
    pub(crate) fn stream(&self, now: Instant) -> Result<StreamSlot, Over> {
        let (share, limits) = (self.gate.share(self.uid), self.gate.limits);
        let mut state = self.gate.state();
        let all = state.streams;
        let user = state.users.entry(self.uid).or_default();
        if !user.requests.take(limits.requests_per_second, now) {
            // A refusal costs little; as many of them as there may be requests cost enough.
            let is_flood = !user.refused.take(limits.requests_per_second, now);
            self.is_flood.fetch_or(is_flood, Ordering::Relaxed);
            return Err(Over::RequestRate);
        }
        if user.streams >= share.streams {
            return Err(Over::StreamsOfUser);
        }
        if all >= limits.all.streams {
            return Err(Over::StreamsOfAll);
        }
        user.streams += 1;
        state.streams += 1;
        self.streams.fetch_add(1, Ordering::Relaxed);
        Ok(StreamSlot { gate: self.gate.clone(), uid: self.uid, streams: self.streams.clone() })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        // One that made room was taken off when its successor came.
        let removed = state.users.get_mut(&self.uid).and_then(|user| user.connections.remove(&self.number));
        if removed.is_some() {
            state.connections = state.connections.saturating_sub(1);
        }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.gate.state();
        state.streams = state.streams.saturating_sub(1);
        if let Some(user) = state.users.get_mut(&self.uid) {
            user.streams = user.streams.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn gate(connections: usize, streams: usize, rate: u32) -> Arc<Gate> {
        let share = Share { connections, streams };
        let all = Share { connections: 6, streams: 6 };
        Arc::new(Gate::new(Limits {
            user: share,
            root: all,
            all,
            connects_per_second: rate,
            requests_per_second: rate,
            turns: 2,
        }))
    }

    #[test]
    fn a_users_oldest_idle_connection_makes_room() {
        let gate = gate(2, 9, 100);
        let now = Instant::now();
        let (busy, idle) = (gate.connect(7, now).unwrap(), gate.connect(7, now).unwrap());
        let _stream = busy.stream(now).unwrap();
        let third = gate.connect(7, now).unwrap();
        assert!(idle.closing().is_cancelled() && !busy.closing().is_cancelled());
        let _second = third.stream(now).unwrap();
        assert_eq!(gate.connect(7, now).unwrap_err(), Over::ConnectionsOfUser);
        assert!(gate.connect(8, now).is_ok(), "another user is not concerned");
        assert_eq!(gate.open().0, 2);
        drop((idle, third));
        assert_eq!(gate.open().0, 1);
    }

    #[test]
    fn everything_is_given_back() {
        let gate = gate(3, 3, 100);
        let now = Instant::now();
        for _ in 0..10 {
            let connection = gate.connect(7, now).unwrap();
            let streams: Vec<_> = (0..3).map(|_| connection.stream(now).unwrap()).collect();
            assert_eq!(connection.stream(now).unwrap_err(), Over::StreamsOfUser);
            drop(connection);
            drop(streams);
            assert_eq!(gate.open(), (0, 0));
        }
    }

    #[test]
    fn all_together_have_a_limit() {
        let gate = gate(6, 6, 100);
        let now = Instant::now();
        let open: Vec<_> = (0..6).map(|uid| gate.connect(uid, now).unwrap()).collect();
        assert_eq!(gate.connect(9, now).unwrap_err(), Over::ConnectionsOfAll);
        let streams: Vec<_> = open.iter().map(|connection| connection.stream(now).unwrap()).collect();
        assert_eq!(open.first().unwrap().stream(now).unwrap_err(), Over::StreamsOfAll);
        drop(streams);
    }

    #[test]
    fn a_flood_costs_connects() {
        let gate = gate(6, 6, 20);
        let begin = Instant::now();
        let slot = gate.connect(7, begin).unwrap();
        (0..19).for_each(|_| slot.fine());
        assert_eq!(gate.connect(7, begin).unwrap_err(), Over::ConnectRate);
        assert!(gate.connect(8, begin).is_ok(), "another user is not concerned");
        assert!(gate.connect(7, begin + Duration::from_millis(100)).is_ok());
    }

    #[test]
    fn refusals_without_end_are_a_flood() {
        let gate = gate(6, 6, 4);
        let now = Instant::now();
        let slot = gate.connect(7, now).unwrap();
        assert!((0..4).all(|_| slot.stream(now).is_ok()));
        assert!((0..4).all(|_| slot.stream(now).is_err_and(|over| over == Over::RequestRate) && !slot.is_flood()));
        assert!(slot.stream(now).is_err() && slot.is_flood());
    }

    #[test]
    fn a_rate_refills_with_time() {
        let gate = gate(6, 6, 4);
        let begin = Instant::now();
        let connect = |after| gate.connect(7, begin + Duration::from_millis(after)).map(drop);
        assert!((0..4).all(|_| connect(0).is_ok()));
        assert_eq!(connect(0), Err(Over::ConnectRate));
        assert_eq!(connect(260), Ok(()));
        assert_eq!(connect(260), Err(Over::ConnectRate));
        assert!((0..4).all(|_| connect(5_000).is_ok()));
    }
}

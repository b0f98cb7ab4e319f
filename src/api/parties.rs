//! Who makes room when everything is taken: whoever holds most of it, measured by its share.
//!
//! With a user namespace a person has 65,536 uids, and a share for each. So what is compared here is the *party*: a
//! uid, or a whole range of them. Whoever holds less than the greatest party finds room at that party's cost, so that
//! no party, however many uids it has, can keep another out. A directory service may have given the uids of one range
//! to many people: within a party, too, whoever holds most makes room for whoever holds less.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    ops::{AddAssign, SubAssign},
};

use super::limits::Share;
use crate::sys::party::party_of;

/// What each party holds.
#[derive(Debug)]
pub(super) struct Parties {
    user: Share,
    root: Share,
    each: HashMap<u32, Party>,
    order: Order,
}

/// Its uids, and what they hold together.
#[derive(Debug, Default)]
struct Party {
    members: HashMap<u32, Member>,
    held: Held,
    order: Order,
}

/// One uid's connections, numbered in the order in which they came.
#[derive(Debug, Default)]
struct Member {
    idle: BTreeSet<u64>,
    busy: BTreeSet<u64>,
    streams: usize,
    /// Those that hold bytes of answers, by how many; of equal ones the oldest last.
    holding: BTreeSet<(usize, Reverse<u64>)>,
    answer_bytes: usize,
}

impl Parties {
    pub(super) fn new(user: Share, root: Share) -> Self {
        Self { user, root, each: HashMap::new(), order: Order::default() }
    }

    /// Other shares from now on. What each holds is weighed anew.
    pub(super) fn change_shares(&mut self, user: Share, root: Share) {
        (self.user, self.root) = (user, root);
        self.order = Order::default();
        let none = Held::default();
        for (name, party) in &mut self.each {
            // A party is of one kind: that of uid 0 has no other in it.
            let share = if *name == 0 { root } else { user };
            party.order = Order::default();
            for (uid, member) in &party.members {
                party.order.moved(*uid, none.weights(share), member.held().weights(share));
            }
            self.order.moved(*name, none.weights(share), party.held.weights(share));
        }
    }

    pub(super) fn connected(&mut self, uid: u32, number: u64) {
        self.change(uid, |member| {
            member.idle.insert(number);
        });
    }

    /// With its streams, as many as are still open, and the bytes of its answers that have not left.
    pub(super) fn disconnected(&mut self, uid: u32, number: u64, streams: usize, answer_bytes: usize) {
        self.change(uid, |member| {
            member.idle.remove(&number);
            member.busy.remove(&number);
            member.streams = member.streams.saturating_sub(streams);
            member.holds(number, answer_bytes, 0);
        });
    }

    pub(super) fn stream_opened(&mut self, uid: u32, number: u64) {
        self.change(uid, |member| {
            member.streams += 1;
            if member.idle.remove(&number) {
                member.busy.insert(number);
            }
        });
    }

    pub(super) fn stream_closed(&mut self, uid: u32, number: u64, is_last: bool) {
        self.change(uid, |member| {
            member.streams = member.streams.saturating_sub(1);
            if is_last && member.busy.remove(&number) {
                member.idle.insert(number);
            }
        });
    }

    /// A connection that held so many bytes of answers holds so many now.
    pub(super) fn bytes_changed(&mut self, uid: u32, number: u64, before: usize, now: usize) {
        self.change(uid, |member| member.holds(number, before, now));
    }

    /// The connection that goes, so that this user can have one more: an idle one, of the party that has most of them,
    /// if it has much altogether; else any of the greatest party; else one of its own.
    pub(super) fn connection_for_connection(&self, uid: u32) -> Option<u64> {
        let newcomer = party_of(uid);
        let (held, share) = (self.held(newcomer).connections, self.share(newcomer).connections);
        let weigh = |party| weight(self.held(party).connections, self.share(party).connections);
        // Where all others are busy, whoever has a few connections does not pay with one that rests.
        let is_great = |party| self.order.connections.above(weigh(party).saturating_mul(2)).is_none();
        let idlest = self.order.idle.greatest().filter(|&party| party != newcomer);
        let idlest = idlest.filter(|&party| weigh(party) > weight(held, share) && is_great(party));
        let idle = idlest.and_then(|party| self.each.get(&party)?.idle());
        // One more than now, so that two parties never take the same place from each other in turn.
        let others = || self.each.get(&self.order.connections.above(weight(held + 1, share))?)?.any();
        let own_idle = || self.each.get(&newcomer)?.idle_for(uid);
        let own_busy = || self.each.get(&newcomer)?.busy_for(uid);
        idle.or_else(others).or_else(own_idle).or_else(own_busy)
    }

    /// The connection that goes with all its streams, so that this user can have one more stream.
    pub(super) fn connection_for_stream(&self, uid: u32) -> Option<u64> {
        let newcomer = party_of(uid);
        let (held, share) = (self.held(newcomer).streams, self.share(newcomer).streams);
        let others = || self.each.get(&self.order.streams.above(weight(held + 1, share))?)?.streaming();
        let own = || self.each.get(&newcomer)?.streaming_for(uid);
        others().or_else(own)
    }

    /// The connection that goes, so that this user can have so many bytes more of answers: the one that has most of them.
    pub(super) fn connection_for_bytes(&self, uid: u32, bytes: usize) -> Option<u64> {
        let newcomer = party_of(uid);
        let (held, share) = (self.held(newcomer).answer_bytes, self.share(newcomer).answer_bytes);
        let others = || self.each.get(&self.order.answer_bytes.above(weight(held + bytes, share))?)?.holding();
        let own = || self.each.get(&newcomer)?.holding_for(uid, bytes);
        others().or_else(own)
    }

    /// The connection of this user that has most bytes of answers, if they are more than so many.
    pub(super) fn own_connection_above(&self, uid: u32, bytes: usize) -> Option<u64> {
        let (most, Reverse(number)) = self.each.get(&party_of(uid))?.member(Some(uid))?.holding.last()?;
        (*most > bytes).then_some(*number)
    }

    /// Changes what a uid holds, and the places of it and its party among the others.
    fn change(&mut self, uid: u32, change: impl FnOnce(&mut Member)) {
        let (name, share) = (party_of(uid), self.share(uid));
        let party = self.each.entry(name).or_default();
        let before = party.held;
        party.change(uid, share, change);
        self.order.moved(name, before.weights(share), party.held.weights(share));
        if party.members.is_empty() {
            self.each.remove(&name);
        }
    }

    fn held(&self, party: u32) -> Held {
        self.each.get(&party).map(|party| party.held).unwrap_or_default()
    }

    fn share(&self, uid: u32) -> Share {
        if uid == 0 { self.root } else { self.user }
    }
}

impl Party {
    fn change(&mut self, uid: u32, share: Share, change: impl FnOnce(&mut Member)) {
        let member = self.members.entry(uid).or_default();
        let before = member.held();
        change(member);
        let now = member.held();
        if now.is_nothing() {
            self.members.remove(&uid);
        }
        self.held -= before;
        self.held += now;
        self.order.moved(uid, before.weights(share), now.weights(share));
    }

    fn member(&self, uid: Option<u32>) -> Option<&Member> {
        self.members.get(&uid?)
    }

    fn held_by(&self, uid: u32) -> Held {
        self.member(Some(uid)).map(Member::held).unwrap_or_default()
    }

    /// An idle connection, of whoever has most of them.
    fn idle(&self) -> Option<u64> {
        self.member(self.order.idle.greatest())?.idle.first().copied()
    }

    /// The same, at the cost of nobody who has less than this uid; else one of its own.
    fn idle_for(&self, uid: u32) -> Option<u64> {
        let idlest = self.order.idle.greatest();
        let greater = idlest.filter(|&one| self.held_by(one).connections > self.held_by(uid).connections);
        self.member(greater.or(Some(uid)))?.idle.first().copied()
    }

    /// Any connection of whoever has most.
    fn any(&self) -> Option<u64> {
        let member = self.member(self.order.connections.greatest())?;
        member.idle.first().or(member.busy.first()).copied()
    }

    /// One of whoever has more than this uid would have.
    fn busy_for(&self, uid: u32) -> Option<u64> {
        let greatest = self.order.connections.greatest()?;
        let is_greater = self.held_by(greatest).connections > self.held_by(uid).connections + 1;
        is_greater.then(|| self.any())?
    }

    /// A connection of whoever has most streams.
    fn streaming(&self) -> Option<u64> {
        self.member(self.order.streams.greatest())?.busy.first().copied()
    }

    /// The same, if it has more than this uid would have.
    fn streaming_for(&self, uid: u32) -> Option<u64> {
        let greatest = self.order.streams.greatest()?;
        let is_greater = self.held_by(greatest).streams > self.held_by(uid).streams + 1;
        is_greater.then(|| self.streaming())?
    }

    /// The connection that holds most bytes of answers, of whoever holds most of them.
    fn holding(&self) -> Option<u64> {
        let (_, Reverse(number)) = self.member(self.order.answer_bytes.greatest())?.holding.last()?;
        Some(*number)
    }

    /// The same, if it has more than this uid would have.
    fn holding_for(&self, uid: u32, bytes: usize) -> Option<u64> {
        let greatest = self.order.answer_bytes.greatest()?;
        let is_greater = self.held_by(greatest).answer_bytes > self.held_by(uid).answer_bytes + bytes;
        is_greater.then(|| self.holding())?
    }
}

impl Member {
    fn held(&self) -> Held {
        let connections = self.idle.len() + self.busy.len();
        Held { idle: self.idle.len(), connections, streams: self.streams, answer_bytes: self.answer_bytes }
    }

    fn holds(&mut self, number: u64, before: usize, now: usize) {
        self.holding.remove(&(before, Reverse(number)));
        if now > 0 {
            self.holding.insert((now, Reverse(number)));
        }
        self.answer_bytes = (self.answer_bytes + now).saturating_sub(before);
    }
}

/// How much of each a uid or a party holds.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    idle: usize,
    connections: usize,
    streams: usize,
    answer_bytes: usize,
}

impl Held {
    fn is_nothing(self) -> bool {
        self.connections == 0 && self.streams == 0 && self.answer_bytes == 0
    }

    fn weights(self, share: Share) -> Weights {
        Weights {
            idle: weight(self.idle, share.connections),
            connections: weight(self.connections, share.connections),
            streams: weight(self.streams, share.streams),
            answer_bytes: weight(self.answer_bytes, share.answer_bytes),
        }
    }
}

impl AddAssign for Held {
    fn add_assign(&mut self, more: Self) {
        self.idle += more.idle;
        self.connections += more.connections;
        self.streams += more.streams;
        self.answer_bytes += more.answer_bytes;
    }
}

impl SubAssign for Held {
    fn sub_assign(&mut self, less: Self) {
        self.idle = self.idle.saturating_sub(less.idle);
        self.connections = self.connections.saturating_sub(less.connections);
        self.streams = self.streams.saturating_sub(less.streams);
        self.answer_bytes = self.answer_bytes.saturating_sub(less.answer_bytes);
    }
}

#[derive(Clone, Copy)]
struct Weights {
    idle: u64,
    connections: u64,
    streams: u64,
    answer_bytes: u64,
}

/// Parties, or uids, in order of what they hold of each.
#[derive(Debug, Default)]
struct Order {
    idle: Ranking,
    connections: Ranking,
    streams: Ranking,
    answer_bytes: Ranking,
}

impl Order {
    fn moved(&mut self, name: u32, before: Weights, now: Weights) {
        self.idle.moved(name, before.idle, now.idle);
        self.connections.moved(name, before.connections, now.connections);
        self.streams.moved(name, before.streams, now.streams);
        self.answer_bytes.moved(name, before.answer_bytes, now.answer_bytes);
    }
}

/// In order of what they hold, of equal ones the lowest uid last; those that hold nothing are not in it.
#[derive(Debug, Default)]
struct Ranking(BTreeSet<(u64, Reverse<u32>)>);

impl Ranking {
    fn moved(&mut self, name: u32, before: u64, now: u64) {
        if before != now {
            self.0.remove(&(before, Reverse(name)));
            if now > 0 {
                self.0.insert((now, Reverse(name)));
            }
        }
    }

    fn greatest(&self) -> Option<u32> {
        self.0.last().map(|(_, Reverse(name))| *name)
    }

    /// The greatest, if it holds more than that.
    fn above(&self, least: u64) -> Option<u32> {
        self.0.last().filter(|(weight, _)| *weight > least).map(|(_, Reverse(name))| *name)
    }
}

/// How much of its share that is; a share has 2^32 parts, so that no count weighs nothing.
fn weight(count: usize, share: usize) -> u64 {
    let [count, share] = [count, share.max(1)].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
    count.saturating_mul(1 << 32) / share
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share { connections: 8, streams: 8, answer_bytes: 80 };
    /// Three of one range, as a directory service gives them to three people.
    const MANY: u32 = 100_001;
    const SOME: u32 = 100_002;
    const FEW: u32 = 100_003;

    /// Connections of these uids, numbered from 1, with a stream on each where they are busy.
    fn connected(uids: &[u32], is_busy: bool) -> Parties {
        let mut parties = Parties::new(SHARE, SHARE);
        for (uid, number) in uids.iter().zip(1..) {
            parties.connected(*uid, number);
            if is_busy {
                parties.stream_opened(*uid, number);
            }
        }
        parties
    }

    #[test]
    fn within_a_party_whoever_has_most_makes_room() {
        for is_busy in [false, true] {
            let parties = connected(&[SOME, MANY, MANY, MANY, SOME, 1_000], is_busy);
            assert_eq!(parties.connection_for_connection(FEW), Some(2), "busy: {is_busy}");
            assert_eq!(parties.connection_for_connection(1_000), Some(2), "and for others; busy: {is_busy}");
        }
        let parties = connected(&[SOME, MANY, MANY, MANY, SOME, 1_000], true);
        assert_eq!(parties.connection_for_stream(FEW), Some(2));
        assert_eq!(parties.connection_for_stream(1_000), Some(2));
    }

    #[test]
    fn who_has_few_keeps_them_while_the_greatest_are_busy() {
        let mut parties = connected(&[7, 7, 7, 7, 7], true);
        parties.connected(8, 6);
        parties.connected(8, 7);
        assert_eq!(parties.connection_for_connection(9), Some(1), "not one of few, though they rest");
        assert_eq!(parties.connection_for_connection(8), Some(1), "nor its own");
        parties.connected(8, 8);
        assert_eq!(parties.connection_for_connection(9), Some(6), "one of many that rest");
    }

    #[test]
    fn within_a_party_no_place_goes_to_and_fro() {
        let busy = connected(&[MANY, MANY, SOME], true);
        for uid in [MANY, SOME] {
            assert_eq!(busy.connection_for_connection(uid), None, "{uid}");
            assert_eq!(busy.connection_for_stream(uid), None, "{uid}");
        }
        let idle = connected(&[SOME, MANY, MANY], false);
        assert_eq!(idle.connection_for_connection(MANY), Some(2), "its own");
        let mut parties = connected(&[SOME, MANY, MANY], false);
        parties.stream_opened(MANY, 2);
        parties.stream_opened(MANY, 3);
        assert_eq!(parties.connection_for_connection(MANY), None, "not that of one who has less");
    }

    #[test]
    fn the_connection_with_most_bytes_of_whoever_has_most_makes_room() {
        let mut parties = connected(&[SOME, MANY, MANY, 1_000], true);
        for (uid, number, bytes) in [(SOME, 1, 20), (MANY, 2, 9), (MANY, 3, 21), (1_000, 4, 30)] {
            parties.bytes_changed(uid, number, 0, bytes);
        }
        assert_eq!(parties.connection_for_bytes(FEW, 5), Some(3), "within a party: of whoever has most, the greatest");
        assert_eq!(parties.connection_for_bytes(FEW, 30), None, "not of one who would have no more");
        assert_eq!(parties.connection_for_bytes(1_000, 10), Some(3), "and for others, at the cost of the party");
        assert_eq!(parties.connection_for_bytes(1_000, 20), None, "which has no more than that");
        parties.bytes_changed(MANY, 3, 21, 0);
        assert_eq!(parties.connection_for_bytes(FEW, 5), Some(1), "who held most has given it back");
        assert_eq!(parties.connection_for_bytes(1_000, 5), None, "never its own");
    }

    #[test]
    fn who_has_left_is_in_no_ranking() {
        let mut parties = connected(&[MANY, MANY, SOME], true);
        parties.stream_opened(MANY, 1);
        parties.stream_closed(MANY, 1, false);
        parties.bytes_changed(SOME, 3, 0, 7);
        for (uid, number, streams) in [(MANY, 1, 1), (MANY, 2, 1), (SOME, 3, 1)] {
            parties.disconnected(uid, number, streams, usize::from(uid == SOME) * 7);
        }
        assert!(parties.each.is_empty());
        let Order { idle, connections, streams, answer_bytes } = parties.order;
        for ranking in [idle, connections, streams, answer_bytes] {
            assert_eq!(ranking.greatest(), None);
        }
    }
}

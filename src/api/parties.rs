//! Who makes room when everything is taken: whoever holds most of it, measured by its share.
//!
//! With a user namespace a person has 65,536 uids, and a share for each. So what is compared here is the *party*: a
//! uid, or a whole range of them. Whoever holds less than the greatest party finds room at that party's cost, so that
//! no party, however many uids it has, can keep another out.

use std::collections::{BTreeSet, HashMap};

use super::limits::Share;
use crate::sys::party::party_of;

/// What each party holds.
#[derive(Debug)]
pub(super) struct Parties {
    user: Share,
    root: Share,
    each: HashMap<u32, Party>,
    by_idle: Ranking,
    by_connections: Ranking,
    by_streams: Ranking,
}

/// Connections are numbered in the order in which they came.
#[derive(Debug, Default)]
struct Party {
    idle: BTreeSet<u64>,
    busy: BTreeSet<u64>,
    streams: usize,
}

impl Parties {
    pub(super) fn new(user: Share, root: Share) -> Self {
        Self {
            user,
            root,
            each: HashMap::new(),
            by_idle: Ranking::default(),
            by_connections: Ranking::default(),
            by_streams: Ranking::default(),
        }
    }

    pub(super) fn connected(&mut self, uid: u32, number: u64) {
        self.change(uid, |party| {
            party.idle.insert(number);
        });
    }

    /// With its streams, as many as are still open.
    pub(super) fn disconnected(&mut self, uid: u32, number: u64, streams: usize) {
        self.change(uid, |party| {
            party.idle.remove(&number);
            party.busy.remove(&number);
            party.streams = party.streams.saturating_sub(streams);
        });
    }

    pub(super) fn stream_opened(&mut self, uid: u32, number: u64) {
        self.change(uid, |party| {
            party.streams += 1;
            if party.idle.remove(&number) {
                party.busy.insert(number);
            }
        });
    }

    pub(super) fn stream_closed(&mut self, uid: u32, number: u64, is_last: bool) {
        self.change(uid, |party| {
            party.streams = party.streams.saturating_sub(1);
            if is_last && party.busy.remove(&number) {
                party.idle.insert(number);
            }
        });
    }

    /// The connection that goes, so that this user can have one more: an idle one if there is any, of the party that
    /// has most of them; else any of the greatest party.
    pub(super) fn connection_for_connection(&self, uid: u32) -> Option<u64> {
        let newcomer = party_of(uid);
        let held = self.each.get(&newcomer).map_or(0, Party::connections);
        let weigh = |party, count| weight(count, self.share(party).connections);
        let idlest = self.by_idle.greatest().filter(|&party| {
            let connections = self.each.get(&party).map_or(0, Party::connections);
            party == newcomer || weigh(party, connections) > weigh(newcomer, held)
        });
        let idle = self.each.get(&idlest.unwrap_or(newcomer)).and_then(|party| party.idle.first());
        // One more than now, so that two parties never take the same place from each other in turn.
        let busy = || {
            let greatest = self.by_connections.above(weigh(newcomer, held + 1))?;
            self.each.get(&greatest)?.busy.first()
        };
        idle.or_else(busy).copied()
    }

    /// The connection that goes with all its streams, so that this user can have one more stream.
    pub(super) fn connection_for_stream(&self, uid: u32) -> Option<u64> {
        let newcomer = party_of(uid);
        let held = self.each.get(&newcomer).map_or(0, |party| party.streams);
        let greatest = self.by_streams.above(weight(held + 1, self.share(newcomer).streams))?;
        self.each.get(&greatest)?.busy.first().copied()
    }

    /// Changes a party, and its places among the others.
    fn change(&mut self, uid: u32, change: impl FnOnce(&mut Party)) {
        let (name, share) = (party_of(uid), self.share(uid));
        let party = self.each.entry(name).or_default();
        let before = party.weights(share);
        change(party);
        let now = party.weights(share);
        if party.connections() == 0 && party.streams == 0 {
            self.each.remove(&name);
        }
        for (place, ranking) in
            [&mut self.by_idle, &mut self.by_connections, &mut self.by_streams].into_iter().enumerate()
        {
            if let (Some(before), Some(now)) = (before.get(place), now.get(place)) {
                ranking.moved(name, *before, *now);
            }
        }
    }

    fn share(&self, uid: u32) -> Share {
        if uid == 0 { self.root } else { self.user }
    }
}

impl Party {
    fn connections(&self) -> usize {
        self.idle.len() + self.busy.len()
    }

    /// In the order of the rankings.
    fn weights(&self, share: Share) -> [u64; 3] {
        [
            weight(self.idle.len(), share.connections),
            weight(self.connections(), share.connections),
            weight(self.streams, share.streams),
        ]
    }
}

/// Parties in order of what they hold; those that hold nothing are not in it.
#[derive(Debug, Default)]
struct Ranking(BTreeSet<(u64, u32)>);

impl Ranking {
    fn moved(&mut self, party: u32, before: u64, now: u64) {
        if before != now {
            self.0.remove(&(before, party));
            if now > 0 {
                self.0.insert((now, party));
            }
        }
    }

    fn greatest(&self) -> Option<u32> {
        self.0.last().map(|(_, party)| *party)
    }

    /// The greatest, if it holds more than that.
    fn above(&self, least: u64) -> Option<u32> {
        self.0.last().filter(|(weight, _)| *weight > least).map(|(_, party)| *party)
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

    #[test]
    fn who_has_left_is_in_no_ranking() {
        let share = Share { connections: 3, streams: 3 };
        let mut parties = Parties::new(share, share);
        parties.connected(7, 1);
        parties.stream_opened(7, 1);
        parties.stream_opened(7, 1);
        parties.stream_closed(7, 1, false);
        parties.disconnected(7, 1, 1);
        assert!(parties.each.is_empty());
        for ranking in [parties.by_idle, parties.by_connections, parties.by_streams] {
            assert_eq!(ranking.greatest(), None);
        }
    }
}

//! Which authority does what, and what is to be done next. Pure: the time is an argument.
//!
//! An authority is prepared, then active, then retired, then removed. There are two kinds of chains of them. *Anchors*
//! are in the bundle from the moment they are prepared until the last leaf under them has expired, and are prepared
//! early, since every validator must have them before they sign. *Issuing* CAs below an anchor are in no bundle, so one
//! is prepared and made active at once. With one tier there are only anchors.
//!
//! An authority that was made while the clock was ahead is of no use once the clock is right, until its time comes: what
//! it signs is not valid yet. An issuing CA is replaced at once then. An anchor cannot be: everybody would have to learn
//! of another one.

use std::time::{Duration, SystemTime};

use super::{AuthorityId, certificate::BACKDATE};

/// Where an authority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// It signs nothing yet. An anchor is in the bundle already.
    Prepared,
    /// It signs.
    Active,
    /// It signs nothing any more. An anchor is in the bundle until what it signed has expired.
    Retired,
}

/// One authority, as far as the next step depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) id: AuthorityId,
    pub(crate) slot: Slot,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// How authorities of one kind succeed each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Succession {
    /// In the bundle: prepared at half of the life of the one before it, active at five sixths.
    Anchor,
    /// Not in the bundle: prepared and active at half of the life of the one before it.
    Issuing,
}

impl Held {
    /// Whether its time has not come: the clock was ahead when it was made, or is behind now.
    fn is_early(&self, now: SystemTime) -> bool {
        now < self.not_before
    }
}

/// What is to be done, one thing at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a new authority, prepared.
    Prepare,
    /// Let this one sign, and retire the one that did.
    Activate(AuthorityId),
    /// Nothing needs this one any more.
    Remove(AuthorityId),
    /// Nothing before this moment.
    Wait(SystemTime),
}

/// The next thing to be done with the authorities of one kind.
pub(crate) fn step(held: &[Held], succession: Succession, now: SystemTime) -> Action {
    let find = |slot| held.iter().find(|one| one.slot == slot);
    if let Some(expired) = held.iter().find(|one| one.slot != Slot::Active && one.not_after <= now) {
        return Action::Remove(expired.id.clone());
    }
    let is_unusable = |one: &Held| succession == Succession::Issuing && one.is_early(now);
    // It has signed nothing.
    if let Some(early) = held.iter().find(|one| one.slot == Slot::Prepared && is_unusable(one)) {
        return Action::Remove(early.id.clone());
    }
    let (active, prepared) = (find(Slot::Active).filter(|one| !is_unusable(one)), find(Slot::Prepared));
    let end_of_retired = held.iter().filter(|one| one.slot == Slot::Retired).map(|one| one.not_after).min();
    let next = match (active, prepared) {
        // At the very first start, after a time in which everything has expired, and when the clock was set back.
        (None, Some(prepared)) => return Action::Activate(prepared.id.clone()),
        (None, None) => return Action::Prepare,
        (Some(active), prepared) => {
            let half = at(active, 1, 2);
            match (prepared, succession) {
                (None, _) if now >= half => return Action::Prepare,
                (None, _) => half,
                (Some(prepared), Succession::Anchor) if now < published_enough(active, prepared) => {
                    published_enough(active, prepared)
                }
                (Some(prepared), _) => return Action::Activate(prepared.id.clone()),
            }
        }
    };
    Action::Wait(end_of_retired.map_or(next, |end| end.min(next)))
}

/// When everybody has had the time to learn of an anchor: at five sixths of the life of the one before it. If it was
/// prepared late, as the daemon did not run, some time later, while the old one lives.
fn published_enough(active: &Held, prepared: &Held) -> SystemTime {
    let since = prepared.not_before + BACKDATE;
    let sixth = at(active, 1, 6).duration_since(active.not_before).unwrap_or(Duration::ZERO);
    at(active, 5, 6).max(since + LEAD.min(sixth)).min(active.not_after)
}

/// How long an anchor is published before it signs, at least: three times as long as a relying party that polls every
/// five minutes takes to learn of it.
const LEAD: Duration = Duration::from_secs(15 * 60);

/// A share of an authority's life.
fn at(held: &Held, part: u32, of: u32) -> SystemTime {
    let life = held.not_after.duration_since(held.not_before).unwrap_or(Duration::ZERO);
    held.not_before + life / of * part
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    const HOUR: u64 = 3_600;

    fn time(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(hours * HOUR)
    }

    fn id(number: u64) -> AuthorityId {
        AuthorityId::parse(&format!("{number:032x}")).unwrap()
    }

    fn held(number: u64, slot: Slot, from: u64, until: u64) -> Held {
        Held { id: id(number), slot, not_before: time(from), not_after: time(until) }
    }

    #[test]
    fn each_situation_has_its_step() {
        use Action::{Activate, Prepare, Remove, Wait};
        use Slot::{Active, Prepared, Retired};
        use Succession::{Anchor, Issuing};
        let active = || held(1, Active, 0, 24);
        let table = [
            ("nothing yet", vec![], Anchor, 0, Prepare),
            ("the first one", vec![held(1, Prepared, 0, 24)], Anchor, 0, Activate(id(1))),
            ("young", vec![active()], Anchor, 1, Wait(time(12))),
            ("young, issuing", vec![active()], Issuing, 1, Wait(time(12))),
            ("half of its life", vec![active()], Anchor, 12, Prepare),
            ("half of its life, issuing", vec![active()], Issuing, 12, Prepare),
            ("its successor is published", vec![active(), held(2, Prepared, 12, 36)], Anchor, 13, Wait(time(20))),
            ("its successor signs at once", vec![active(), held(2, Prepared, 12, 36)], Issuing, 12, Activate(id(2))),
            ("five sixths of its life", vec![active(), held(2, Prepared, 12, 36)], Anchor, 20, Activate(id(2))),
            (
                "the old one is still trusted",
                vec![held(1, Retired, 0, 24), held(2, Active, 12, 36)],
                Anchor,
                21,
                Wait(time(24)),
            ),
            (
                "the old one has expired",
                vec![held(1, Retired, 0, 24), held(2, Active, 12, 36)],
                Anchor,
                24,
                Remove(id(1)),
            ),
            (
                "prepared late, and not everybody knows it",
                vec![active(), held(2, Prepared, 21, 45)],
                Anchor,
                21,
                Wait(time(21) + BACKDATE + LEAD),
            ),
            ("prepared late, and time is up", vec![active(), held(2, Prepared, 21, 45)], Anchor, 22, Activate(id(2))),
            ("asleep too long", vec![active()], Anchor, 100, Prepare),
            (
                "asleep too long, with one prepared",
                vec![active(), held(2, Prepared, 12, 136)],
                Anchor,
                100,
                Activate(id(2)),
            ),
            ("a prepared one has expired", vec![active(), held(2, Prepared, 12, 36)], Anchor, 100, Remove(id(2))),
        ];
        for (situation, held, succession, hour, action) in table {
            assert_eq!(step(&held, succession, time(hour)), action, "{situation}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_has_its_step() {
        use Action::{Activate, Prepare, Remove, Wait};
        use Slot::{Active, Prepared, Retired};
        use Succession::{Anchor, Issuing};
        let ahead = || held(1, Active, 100, 124);
        let table = [
            ("what signs is not valid yet", vec![ahead()], Issuing, 99, Prepare),
            ("its time has come", vec![ahead()], Issuing, 100, Wait(time(112))),
            ("there is another one", vec![ahead(), held(2, Prepared, 50, 74)], Issuing, 50, Activate(id(2))),
            ("nor is the next one", vec![ahead(), held(2, Prepared, 112, 136)], Issuing, 50, Remove(id(2))),
            ("only the next one is not", vec![held(1, Active, 0, 24), ahead_prepared()], Issuing, 12, Remove(id(2))),
            (
                "it was replaced, and its leaves are known still",
                vec![held(1, Retired, 100, 124), held(2, Active, 50, 74)],
                Issuing,
                51,
                Wait(time(62)),
            ),
            ("everybody would have to learn of another root", vec![ahead()], Anchor, 50, Wait(time(112))),
            (
                "nor is a root that everybody knows already taken away",
                vec![held(1, Active, 0, 24), ahead_prepared()],
                Anchor,
                12,
                Wait(time(24)),
            ),
        ];
        for (situation, held, succession, hour, action) in table {
            assert_eq!(step(&held, succession, time(hour)), action, "{situation}");
        }
    }

    fn ahead_prepared() -> Held {
        held(2, Slot::Prepared, 112, 136)
    }

    /// Plays years of rotation: there is always one that signs, it is always in the bundle long enough before, and
    /// nothing is removed while a leaf under it may live.
    #[test]
    fn years_of_rotation_never_leave_a_gap() {
        for succession in [Succession::Anchor, Succession::Issuing] {
            let (mut authorities, mut number) = (Vec::<Held>::new(), 0);
            let mut hour = 0;
            while hour < 24 * 365 {
                match step(&authorities, succession, time(hour)) {
                    Action::Prepare => {
                        number += 1;
                        authorities.push(held(number, Slot::Prepared, hour, hour + 24));
                    }
                    Action::Activate(next) => {
                        let since = authorities.iter().find(|one| one.id == next).unwrap().not_before;
                        let lead = time(hour).duration_since(since).unwrap();
                        let first = authorities.len() == 1;
                        assert!(first || succession == Succession::Issuing || lead >= Duration::from_secs(8 * HOUR));
                        for one in &mut authorities {
                            match one.slot {
                                Slot::Active => one.slot = Slot::Retired,
                                _ if one.id == next => one.slot = Slot::Active,
                                _ => {}
                            }
                        }
                    }
                    Action::Remove(gone) => {
                        assert!(authorities.iter().find(|one| one.id == gone).unwrap().not_after <= time(hour));
                        authorities.retain(|one| one.id != gone);
                    }
                    Action::Wait(until) => {
                        let active = authorities.iter().filter(|one| one.slot == Slot::Active).count();
                        assert_eq!(active, 1, "at hour {hour}");
                        assert!(until > time(hour), "it would spin at hour {hour}");
                        hour = until.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().div_ceil(HOUR);
                        if authorities.len() > 4 {
                            panic!("authorities pile up: {authorities:?}");
                        }
                    }
                }
            }
        }
    }
}

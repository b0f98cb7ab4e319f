//! Refusals are written one by one up to a number for each uid and minute, and a number of bytes for each party; beyond
//! these they are counted.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, SystemTime},
};

use super::{
    minute::{Allowances, Minute},
    record::Own,
};
use crate::sys::party::party_of;

/// How many uids have a count of their own in one minute. The others share one: with user namespaces a person has
/// 65,536 uids.
pub(super) const UIDS_MAX: usize = 1024;
/// How many times what one uid may have written a party may have: a person's subordinate uids, or people whose uids a
/// directory service takes from one range.
const PARTY_TIMES: u32 = 4;

/// How many holders of credentials have a count of their own in one minute. The others share one.
const HOLDERS_MAX: usize = 1024;
/// Which part of what one uid may have written one holder may have, whose credentials come through that uid.
const HOLDER_PART: u32 = 4;

/// How much a refusal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight<'a> {
    /// Anybody can cause it: these leave half of the number to the others.
    Slight,
    /// A caller's own.
    Ordinary,
    /// It came with a credential that is surely this one's, who is behind the uid. Holders have four times the number
    /// beside the others, and each a quarter of it: none of them hides what becomes of another's credential.
    Of(&'a str),
}

/// The refusals of one minute.
#[derive(Debug)]
pub(super) struct Refusals {
    /// How many of one uid are written in one minute.
    most: u32,
    minute: Minute,
    allowances: Allowances,
    /// `None` is everybody who came when the map was full.
    counts: HashMap<Option<u32>, Count>,
    /// How many of each party were written in this minute. Its uids are counted in `counts`, which bounds it.
    parties: HashMap<u32, u32>,
    /// How many of each holder were written in this minute, by the uid behind which he is.
    holders: HashMap<(u32, String), u32>,
    /// Whether anything is counted that was not told.
    has_any: bool,
}

#[derive(Debug)]
struct Count {
    written: u32,
    of_holders: u32,
    more: u64,
    reasons: BTreeMap<&'static str, u64>,
    since: SystemTime,
}

impl Refusals {
    /// So many of each uid, and with so many bytes for each party and minute in a log that has at most so many.
    pub(super) fn new(most: u32, per_minute: u64, total: u64) -> Self {
        let (minute, allowances) = (Minute::default(), Allowances::new(per_minute, total));
        let (counts, parties, holders) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { most, minute, allowances, counts, parties, holders, has_any: false }
    }

    /// Whether this refusal, with a record of so many bytes, is to be written. If not, it has been counted.
    pub(super) fn admit(
        &mut self,
        uid: u32,
        reasons: &[&'static str],
        (bytes, weight): (usize, Weight<'_>),
        now: SystemTime,
    ) -> bool {
        let payer = self.allowances.payer(uid);
        if self.is_among_few(uid, weight, now) && self.allowances.take(payer, bytes) {
            self.note_written(uid, weight, now);
            return true;
        }
        self.count_of(uid, now).add(reasons, now);
        self.has_any = true;
        false
    }

    fn is_among_few(&mut self, uid: u32, weight: Weight<'_>, now: SystemTime) -> bool {
        let most = self.most;
        let Count { written, of_holders, .. } = *self.count_of(uid, now);
        let of_party = self.parties.get(&party_of(uid)).copied().unwrap_or(0);
        let fits_party = of_party < most.saturating_mul(PARTY_TIMES);
        match weight {
            Weight::Slight => written < most.div_ceil(2) && fits_party,
            Weight::Ordinary => written < most && fits_party,
            Weight::Of(holder) => {
                let of_holder = self.holders.get(&self.holder(uid, holder)).copied().unwrap_or(0);
                of_holders < most.saturating_mul(PARTY_TIMES) && of_holder < most.div_ceil(HOLDER_PART)
            }
        }
    }

    fn note_written(&mut self, uid: u32, weight: Weight<'_>, now: SystemTime) {
        if let Weight::Of(holder) = weight {
            self.count_of(uid, now).of_holders += 1;
            *self.holders.entry(self.holder(uid, holder)).or_default() += 1;
        } else {
            self.count_of(uid, now).written += 1;
            *self.parties.entry(party_of(uid)).or_default() += 1;
        }
    }

    /// By what a holder is counted; those who came when the map was full are one.
    fn holder(&self, uid: u32, holder: &str) -> (u32, String) {
        let key = (uid, holder.to_owned());
        let is_known = self.holders.len() < HOLDERS_MAX || self.holders.contains_key(&key);
        if is_known { key } else { (0, String::new()) }
    }

    /// Counts a refusal that was to be written and could not be.
    pub(super) fn count(&mut self, uid: u32, reasons: &[&'static str], now: SystemTime) {
        self.count_of(uid, now).add(reasons, now);
        self.has_any = true;
    }

    /// Whether anything is counted that was not told.
    pub(super) fn has_any(&self) -> bool {
        self.has_any
    }

    /// What was counted, once its minute is over; or at once when everything ends. Whoever takes it and cannot write
    /// it gives it back.
    pub(super) fn take_due(&mut self, now: SystemTime, at_once: bool) -> Vec<Own> {
        let minutes = self.minute.pass(now);
        if minutes == 0 && !at_once {
            return Vec::new();
        }
        self.allowances.refill(minutes);
        self.has_any = false;
        self.parties.clear();
        self.holders.clear();
        let mut due: Vec<_> = self
            .counts
            .drain()
            .filter(|(_, count)| count.more > 0)
            .map(|(uid, Count { more, reasons, since, .. })| Own::RefusedMore { uid, count: more, reasons, since })
            .collect();
        due.sort_by_key(|own| match own {
            Own::RefusedMore { uid, .. } => (uid.is_none(), *uid),
            _ => (true, None),
        });
        due
    }

    /// Takes back what could not be written.
    pub(super) fn give_back(&mut self, own: Own) {
        if let Own::RefusedMore { uid, count: more, reasons, since } = own {
            let count = self.counts.entry(uid).or_insert_with(|| Count::new(since));
            self.has_any = true;
            count.more = count.more.saturating_add(more);
            count.since = count.since.min(since);
            for (reason, times) in reasons {
                *count.reasons.entry(reason).or_default() += times;
            }
        }
    }

    /// How long it is until what was counted is due.
    pub(super) fn due_in(&self, now: SystemTime) -> Option<Duration> {
        self.has_any.then(|| self.minute.left(now))
    }

    fn count_of(&mut self, uid: u32, now: SystemTime) -> &mut Count {
        let is_known = self.counts.len() < UIDS_MAX || self.counts.contains_key(&Some(uid));
        self.counts.entry(is_known.then_some(uid)).or_insert_with(|| Count::new(now))
    }
}

impl Count {
    fn new(since: SystemTime) -> Self {
        Self { written: 0, of_holders: 0, more: 0, reasons: BTreeMap::new(), since }
    }

    fn add(&mut self, reasons: &[&'static str], now: SystemTime) {
        if self.more == 0 {
            self.since = now;
        }
        self.more = self.more.saturating_add(1);
        for reason in reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// With bytes enough.
    fn refusals_of(most: u32) -> Refusals {
        Refusals::new(most, 1 << 30, 0)
    }

    fn total(due: &[Own]) -> u64 {
        due.iter().map(|own| if let Own::RefusedMore { count, .. } = own { *count } else { 0 }).sum()
    }

    #[test]
    fn those_beyond_the_number_are_counted_and_told_after_the_minute() {
        let mut refusals = refusals_of(2);
        refusals.take_due(at(60), false);
        let admitted: Vec<_> =
            (0..5).map(|second| refusals.admit(7, &["no_entry"], (100, Weight::Ordinary), at(60 + second))).collect();
        assert_eq!(admitted, [true, true, false, false, false]);
        assert!(
            refusals.admit(8, &["no_entry"], (100, Weight::Ordinary), at(65)),
            "another uid has a count of its own"
        );
        assert!(refusals.take_due(at(119), false).is_empty());
        assert_eq!(refusals.due_in(at(100)), Some(Duration::from_secs(20)));
        let due = refusals.take_due(at(120), false);
        let reasons = BTreeMap::from([("no_entry", 3)]);
        assert_eq!(due, [Own::RefusedMore { uid: Some(7), count: 3, reasons, since: at(62) }]);
        assert!(refusals.admit(7, &["no_entry"], (100, Weight::Ordinary), at(121)), "a new minute");
        assert_eq!(refusals.due_in(at(121)), None);
    }

    /// Who sends requests without anything does not hide what somebody else does with a token.
    #[test]
    fn slight_ones_leave_room_for_the_others() {
        let mut refusals = refusals_of(7);
        refusals.take_due(at(60), false);
        let mut written =
            |count: usize, weight| (0..count).filter(|_| refusals.admit(7, &["a"], (100, weight), at(61))).count();
        let (slight, own) = (Weight::Slight, Weight::Ordinary);
        assert_eq!((written(1_000, slight), written(2, own), written(9, slight), written(9, own)), (4, 2, 0, 1));
        assert_eq!(total(&refusals.take_due(at(120), false)), 996 + 9 + 8);
    }

    /// An agent that is refused again and again does not hide whose token was stolen.
    #[test]
    fn each_holder_has_a_share_of_his_own() {
        let mut refusals = refusals_of(8);
        refusals.take_due(at(60), false);
        let mut written =
            |count: usize, weight| (0..count).filter(|_| refusals.admit(7, &["a"], (100, weight), at(61))).count();
        assert_eq!((written(1_000, Weight::Slight), written(1_000, Weight::Of("loud"))), (4, 2));
        assert_eq!((written(1, Weight::Of("quiet")), written(9, Weight::Ordinary)), (1, 4));
        // All of them together have an end, too.
        let names: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        let more: usize = names.iter().map(|name| written(9, Weight::Of(name))).sum();
        assert_eq!(more, 8 * 4 - 3);
        refusals.take_due(at(120), false);
        assert!(refusals.admit(7, &["a"], (100, Weight::Of("loud")), at(121)), "a new minute");
    }

    #[test]
    fn holders_beyond_the_limit_share_one_count() {
        let mut refusals = refusals_of(1_000_000);
        refusals.take_due(at(60), false);
        for number in 0..HOLDERS_MAX * 2 {
            refusals.admit(7, &["a"], (1, Weight::Of(&number.to_string())), at(61));
        }
        assert_eq!(refusals.holders.len(), HOLDERS_MAX + 1);
        assert_eq!(refusals.holders.get(&(0, String::new())), Some(&1_024));
        refusals.take_due(at(120), false);
        assert!(refusals.holders.is_empty());
    }

    #[test]
    fn long_ones_are_fewer() {
        let mut refusals = Refusals::new(60, 1_000, 0);
        refusals.take_due(at(60), false);
        let written = (0..60).filter(|_| refusals.admit(7, &["no_entry"], (400, Weight::Ordinary), at(61))).count();
        assert_eq!((written, total(&refusals.take_due(at(120), false))), (2, 58));
        assert!(refusals.admit(7, &["no_entry"], (400, Weight::Ordinary), at(121)), "a new minute");
    }

    #[test]
    fn a_range_of_uids_has_four_times_what_one_has() {
        let mut refusals = refusals_of(3);
        refusals.take_due(at(60), false);
        let written = (100_000..101_000)
            .filter(|uid| refusals.admit(*uid, &["no_entry"], (100, Weight::Ordinary), at(61)))
            .count();
        assert_eq!(written, 12);
        assert!(
            refusals.admit(1_000, &["no_entry"], (100, Weight::Ordinary), at(62)),
            "another party is not concerned"
        );
        assert_eq!(total(&refusals.take_due(at(120), false)), 988);
        assert!(refusals.admit(100_000, &["no_entry"], (100, Weight::Ordinary), at(121)), "a new minute");
    }

    #[test]
    fn with_more_uids_than_the_limit_nothing_is_lost_and_the_records_are_bounded() {
        let mut refusals = refusals_of(1);
        refusals.take_due(at(60), false);
        let many = u32::try_from(UIDS_MAX).unwrap_or(u32::MAX) + 500;
        let written =
            (0..many).filter(|uid| refusals.admit(*uid, &["no_entry"], (100, Weight::Ordinary), at(61))).count();
        assert_eq!(written, UIDS_MAX + 1);
        let due = refusals.take_due(at(120), false);
        assert_eq!((due.len(), total(&due)), (1, 499));
    }

    #[test]
    fn what_could_not_be_written_is_told_later() {
        let mut refusals = refusals_of(0);
        refusals.take_due(at(60), false);
        refusals.admit(7, &["no_entry"], (100, Weight::Ordinary), at(61));
        for own in refusals.take_due(at(120), false) {
            refusals.give_back(own);
        }
        refusals.admit(7, &["no_entry"], (100, Weight::Ordinary), at(121));
        assert_eq!(total(&refusals.take_due(at(180), false)), 2);
    }

    #[test]
    fn a_clock_set_back_holds_nothing_up() {
        let mut refusals = refusals_of(0);
        refusals.take_due(at(600_000), false);
        refusals.admit(7, &["no_entry"], (100, Weight::Ordinary), at(600_001));
        assert!(refusals.due_in(at(1_000)) <= Some(Duration::from_secs(60)));
        assert_eq!(total(&refusals.take_due(at(1_000), false)), 1);
    }
}

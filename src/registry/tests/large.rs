//! Many entries: the snapshot finds what a plain scan finds, however it came about.

use std::{collections::BTreeMap, sync::Arc};

use super::{entry, have, id};
use crate::registry::{Change, Entry, EntryId, Image, ImageSet, Selector, Selectors, Snapshot};

/// Numbers that look random and are the same in each run (PCG).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let high = u32::try_from(self.0 >> 33).unwrap();
        high % end
    }

    fn selector(&mut self) -> String {
        match self.below(8) {
            0 | 1 => format!("unix:uid:{}", self.below(6)),
            2 => format!("unix:gid:{}", self.below(3)),
            3 => format!("unix:supplementary_gid:{}", self.below(20)),
            4 => format!("unix:path:/bin/{}", self.below(6)),
            5 => format!("unix:sha256:{:064x}", self.below(3)),
            6 => format!("dayfly:verity:sha256:{:064x}", self.below(3)),
            _ => format!("docker:label:{}", self.below(40)),
        }
    }

    fn selectors(&mut self, most: u32) -> Vec<String> {
        let mut all: Vec<_> = (0..=self.below(most)).map(|_| self.selector()).collect();
        all.sort();
        all.dedup();
        all
    }

    fn entry(&mut self, number: u32) -> Entry {
        let selectors = self.selectors(4);
        // The path makes each entry another one, so that none is a duplicate.
        entry(number, &format!("n{number}"), &selectors.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn caller(&mut self) -> Selectors {
        self.selectors(14).iter().map(|text| Selector::parse(text).unwrap()).collect()
    }
}

/// The registry as anybody would write it first.
#[derive(Default)]
struct Scan(BTreeMap<EntryId, Entry>);

impl Scan {
    fn sorted(&self) -> Vec<&Entry> {
        let mut all: Vec<_> = self.0.values().collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    fn matching(&self, have: &Selectors) -> Vec<&Entry> {
        self.sorted().into_iter().filter(|entry| entry.spec.selectors.iter().all(|s| have.contains(s))).collect()
    }

    fn images_wanted(&self, have: &Selectors, known: ImageSet) -> ImageSet {
        let waits = |selector: &Selector| selector.image().is_some_and(|image| !known.contains(image));
        let open = self.0.values().filter(|entry| entry.spec.selectors.iter().all(|s| waits(s) || have.contains(s)));
        open.flat_map(|entry| entry.spec.images().iter()).filter(|image| !known.contains(*image)).collect()
    }
}

/// Both say the same about everything.
fn compare(snapshot: &Snapshot, scan: &Scan, numbers: &mut Numbers) {
    assert_eq!(snapshot.len(), scan.0.len());
    assert!(snapshot.entries().map(Arc::as_ref).eq(scan.sorted()));
    let names = |name: &str| scan.0.values().any(|e| e.spec.selectors.iter().any(|s| s.unix(name).is_some()));
    let asked = snapshot.asked_of(1, 1);
    assert_eq!((asked.user, asked.group), (names("user"), names("group")));
    // The order in which kinds are asked for: each of these sets was known at some step.
    let known = [
        ImageSet::empty(),
        ImageSet::from_iter([Image::Path]),
        ImageSet::from_iter([Image::Path, Image::Verity]),
        ImageSet::all(),
    ];
    for _ in 0..20 {
        let caller = numbers.caller();
        let matching = snapshot.matching(&caller);
        assert!(matching.iter().map(Arc::as_ref).eq(scan.matching(&caller)), "{caller:?}");
        for known in known {
            let wanted = snapshot.images_wanted_beside(&caller, known);
            assert_eq!(wanted, scan.images_wanted(&caller, known), "{caller:?} {known:?}");
        }
        let near = snapshot.near(&caller, 5);
        let least = scan.0.values().map(|e| e.spec.selectors.iter().filter(|s| !caller.contains(s)).count());
        assert_eq!(near.first().map(|(_, missing)| missing.len()), least.filter(|missing| *missing > 0).min());
    }
}

#[test]
fn the_index_finds_what_a_scan_finds_after_any_changes() {
    for seed in 0..12 {
        let mut numbers = Numbers(seed);
        let mut scan = Scan::default();
        let mut snapshot = Snapshot::empty();
        for round in 0..60 {
            let mut changes = Vec::new();
            for _ in 0..=numbers.below(12) {
                let number = numbers.below(120);
                let entry = numbers.entry(number);
                let change = match (scan.0.contains_key(&id(number)), numbers.below(3)) {
                    (false, _) => Change::Create(entry.clone()),
                    (true, 0) => Change::Delete(id(number)),
                    (true, _) => Change::Update(entry.clone()),
                };
                match change {
                    Change::Delete(_) => drop(scan.0.remove(&id(number))),
                    _ => drop(scan.0.insert(id(number), entry)),
                }
                changes.push(change);
            }
            snapshot = snapshot.apply(round, &changes).unwrap();
            compare(&snapshot, &scan, &mut numbers);
        }
        compare(&Snapshot::build(1, snapshot.entries().cloned().collect::<Vec<_>>()), &scan, &mut numbers);
    }
}

#[test]
fn many_entries_are_kept_in_order_through_cuts_and_a_new_filing() {
    let mut numbers = Numbers(7);
    let mut scan = Scan::default();
    let mut snapshot = Snapshot::empty();
    // Scattered ages, so that pieces of the order are cut in their midst.
    for batch in 0..10 {
        let changes: Vec<_> =
            (0..700).map(|n| numbers.entry((n * 7919 + batch) % 7000 * 10 + batch)).map(Change::Create).collect();
        for change in &changes {
            if let Change::Create(entry) = change {
                scan.0.insert(entry.id.clone(), entry.clone());
            }
        }
        snapshot = snapshot.apply(u64::from(batch), &changes).unwrap();
    }
    compare(&snapshot, &scan, &mut numbers);
    // Pages of any size give all, once.
    for size in [1000, 999, 7000] {
        let mut paged: Vec<Arc<Entry>> = snapshot.entries().take(size).cloned().collect();
        while let Some(last) = paged.last().cloned() {
            let page: Vec<_> = snapshot.entries_after(last.created_at, &last.id).take(size).cloned().collect();
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert!(paged.iter().eq(snapshot.entries()), "pages of {size}");
    }
    // A page goes on where it ended, also when that entry is gone.
    let third = snapshot.entries().nth(2).unwrap().clone();
    let without = snapshot.apply(99, &[Change::Delete(third.id.clone())]).unwrap();
    assert_eq!(without.entries_after(third.created_at, &third.id).next(), snapshot.entries().nth(3));
    let all: Vec<_> = snapshot.entries().map(|entry| Change::Delete(entry.id.clone())).collect();
    let none = snapshot.apply(100, &all).unwrap();
    assert!(none.is_empty() && none.entries().next().is_none());
    assert_eq!(none.images_wanted(&Selectors::default()), ImageSet::empty());
}

#[test]
fn twenty_thousand_programs_of_one_uid_are_told_apart() {
    let programs: Vec<Entry> =
        (0..20_000).map(|n| entry(n, &format!("n{n}"), &["unix:uid:1", &format!("unix:path:/bin/{n}")])).collect();
    let snapshot = Snapshot::build(1, programs.into_iter().map(Arc::new));
    let found = snapshot.matching(&have(&["unix:uid:1", "unix:path:/bin/777", "unix:gid:1"]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, id(777));
    assert_eq!(snapshot.images_wanted(&have(&["unix:uid:1"])), ImageSet::from_iter([Image::Path]));
    assert_eq!(snapshot.images_wanted(&have(&["unix:uid:2"])), ImageSet::empty());
}

#[test]
fn equal_selectors_share_their_text() {
    let entries = (0..10).map(|n| Arc::new(entry(n, &format!("n{n}"), &["unix:uid:1"])));
    let built = Snapshot::build(1, entries);
    let later = built.apply(2, &[Change::Create(entry(10, "n10", &["unix:uid:1"]))]).unwrap();
    let texts: Vec<_> = later.entries().map(|entry| entry.spec.selectors[0].as_str().as_ptr()).collect();
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));
}

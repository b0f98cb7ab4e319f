//! What the entries that match a caller come to.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{entry, have, id};
use crate::{
    registry::{
        Entry, Granted, IDENTITIES_MAX, Snapshot, Why, Withheld, granted, granted::WITHHELD_MAX, template::Placeholder,
    },
    spiffe::{Id, IdError},
};

fn build(entries: impl IntoIterator<Item = Entry>) -> Snapshot {
    Snapshot::build(1, entries.into_iter().map(Arc::new))
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn hinted(number: u32, path: &str, selectors: &[&str], hint: &str) -> Entry {
    let mut entry = entry(number, path, selectors);
    entry.spec.hint = hint.into();
    entry
}

fn ending(mut entry: Entry, seconds: u64) -> Entry {
    entry.spec.expires_at = Some(at(seconds));
    entry
}

fn paths(granted: &Granted) -> Vec<&str> {
    granted.given.iter().map(|grant| grant.spiffe_id().path().trim_start_matches('/')).collect()
}

#[test]
fn repeated_hints_are_dropped_and_the_oldest_stays() {
    let snapshot = build([
        hinted(1, "a", &["unix:uid:1"], "internal"),
        hinted(2, "b", &["unix:gid:1"], ""),
        hinted(3, "c", &["unix:gid:2"], "internal"),
        hinted(4, "d", &["unix:gid:3"], ""),
        hinted(5, "e", &["unix:gid:4"], "external"),
        hinted(6, "f", &["unix:gid:4", "unix:uid:1"], "internal"),
    ]);
    let all = ["unix:uid:1", "unix:gid:1", "unix:gid:2", "unix:gid:3", "unix:gid:4"];
    let told = granted(&snapshot, &have(&all), at(0));
    assert_eq!(paths(&told), ["a", "b", "d", "e"]);
    let taken = |number| Withheld { entry: id(number), why: Why::HintTaken { by: id(1) } };
    assert_eq!((told.withheld, told.beyond), (vec![taken(3), taken(6)], 0));
    // Who has not the first is given the second.
    assert_eq!(paths(&granted(&snapshot, &have(&["unix:gid:2"]), at(0))), ["c"]);
    assert_eq!(granted(&snapshot, &have(&[]), at(0)), Granted::default());
}

#[test]
fn an_entry_that_has_ended_takes_its_hint_from_nobody() {
    let snapshot = build([
        ending(hinted(1, "old", &["unix:uid:1"], "internal"), 100),
        hinted(2, "new", &["unix:gid:1"], "internal"),
    ]);
    let caller = have(&["unix:uid:1", "unix:gid:1"]);
    assert_eq!(paths(&granted(&snapshot, &caller, at(99))), ["old"]);
    let later = granted(&snapshot, &caller, at(100));
    assert_eq!(paths(&later), ["new"]);
    assert_eq!(later.withheld, [Withheld { entry: id(1), why: Why::Expired { since: at(100) } }]);
}

#[test]
fn a_caller_has_no_more_identities_than_clients_take() {
    let snapshot = build((0..120).map(|number| entry(number, &format!("e{number:03}"), &["unix:uid:1"])));
    let told = granted(&snapshot, &have(&["unix:uid:1"]), at(0));
    assert_eq!((told.given.len(), told.beyond), (IDENTITIES_MAX, 20));
    assert_eq!((paths(&told)[0], paths(&told)[99]), ("e000", "e099"), "the oldest");
    // Those that give nothing do not count.
    let mixed = build((0..120).map(|number| {
        let entry = entry(number, &format!("e{number:03}"), &["unix:uid:1"]);
        if number < 10 { ending(entry, 5) } else { entry }
    }));
    let told = granted(&mixed, &have(&["unix:uid:1"]), at(5));
    assert_eq!((paths(&told)[0], paths(&told)[99], told.beyond, told.withheld.len()), ("e010", "e109", 10, 10));
}

#[test]
fn of_many_that_give_nothing_the_oldest_are_told_and_the_others_counted() {
    let ended = (0..103).map(|number| ending(entry(number, &format!("e{number}"), &["unix:uid:1"]), 5));
    let told = granted(&build(ended), &have(&["unix:uid:1"]), at(5));
    assert_eq!((told.withheld.len(), told.more_withheld), (WITHHELD_MAX, 3));
    assert_eq!(told.withheld[0].entry, id(0));
}

#[test]
fn reasons_have_stable_codes_and_sentences() {
    let rows = [
        (Why::Expired { since: at(5) }, "entry_expired", "has expired (at Unix time 5)"),
        (
            Why::HintTaken { by: id(2) },
            "hint_taken",
            "has the same hint as the older entry 07070707-0707-4707-8707-070700000002",
        ),
        (
            Why::NoValue { placeholder: Placeholder::User },
            "template_no_value",
            "needs {unix:user}, which the caller lacks",
        ),
        (
            Why::ManyValues { placeholder: Placeholder::Gid },
            "template_many_values",
            "needs one {unix:gid}, and the caller has several",
        ),
        (
            Why::NoId { reason: IdError::TooLong(3000) },
            "template_illegal_value",
            "comes to no SPIFFE ID: it has 3000 bytes, at most 2048 are allowed",
        ),
        (
            Why::IdTaken { id: Id::parse("spiffe://example.org/a").unwrap() },
            "template_id_taken",
            "comes to spiffe://example.org/a, which is another entry's",
        ),
    ];
    for (why, code, words) in rows {
        let withheld = Withheld { entry: id(1), why };
        assert_eq!(withheld.why.code(), code);
        assert_eq!(withheld.to_string(), format!("the entry {} {words}", id(1)));
    }
    let why = Why::IllegalValue { placeholder: Placeholder::User, reason: IdError::SegmentDots };
    assert_eq!(why.code(), "template_illegal_value");
    let words = Withheld { entry: id(1), why }.to_string();
    assert!(
        words.starts_with("the caller's {unix:user} cannot be put into the SPIFFE ID of the entry 0707"),
        "{words}"
    );
}

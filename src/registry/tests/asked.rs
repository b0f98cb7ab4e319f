//! What entries ask of groups and names, and of whom.

use std::sync::Arc;

use super::{entry, id};
use crate::registry::{Change, Entry, Mark, Selector, Snapshot};

fn build(entries: impl IntoIterator<Item = Entry>) -> Snapshot {
    Snapshot::build(1, entries.into_iter().map(Arc::new))
}

#[test]
fn names_are_asked_for_while_an_entry_has_one() {
    let none = build([entry(1, "a", &["unix:uid:1"])]);
    assert_eq!(none.asked_of(1, 1).mark(), Mark::default());
    let one = none.apply(2, &[Change::Create(entry(2, "b", &["unix:group:web", "unix:user:web"]))]).unwrap();
    assert!(one.asked_of(1, 1).user && one.asked_of(1, 1).group);
    assert_eq!(one.apply(3, &[Change::Delete(id(2))]).unwrap().asked_of(1, 1).mark(), Mark::default());
}

#[test]
fn supplementary_groups_are_asked_for_while_an_entry_has_one() {
    let none = build([entry(1, "a", &["unix:uid:1", "unix:gid:2", "unix:group:web"])]);
    assert!(!none.asked_of(1, 2).has_groups());
    for selector in ["unix:supplementary_gid:7", "unix:supplementary_group:web"] {
        let one = none.apply(2, &[Change::Create(entry(2, "b", &["unix:uid:1", selector]))]).unwrap();
        assert!(one.asked_of(1, 2).has_groups(), "{selector}");
        assert!(!one.asked_of(2, 2).has_groups(), "of nobody else");
        assert!(!one.apply(3, &[Change::Delete(id(2))]).unwrap().asked_of(1, 2).has_groups(), "{selector}");
    }
}

#[test]
fn a_caller_is_asked_what_entries_of_its_ids_and_of_anybody_name() {
    let snapshot = build([
        entry(1, "a", &["unix:uid:1", "unix:supplementary_gid:11", "unix:supplementary_group:one"]),
        entry(2, "b", &["unix:gid:2", "unix:supplementary_gid:12"]),
        entry(3, "c", &["docker:label:x", "unix:supplementary_gid:13", "unix:supplementary_group:all"]),
    ]);
    let gids = |uid, gid| (10..20).filter(|asked| snapshot.asked_of(uid, gid).has_gid(*asked)).collect::<Vec<_>>();
    assert_eq!(gids(1, 2), [11, 12, 13]);
    assert_eq!(gids(1, 9), [11, 13]);
    assert_eq!(gids(9, 9), [13]);
    assert_eq!(snapshot.asked_of(1, 2).names().collect::<Vec<_>>(), ["one", "all"]);
    let asked = snapshot.asked_of(9, 2);
    let named = |text: &str| asked.has_named(&Selector::parse(text).unwrap());
    assert!(named("unix:supplementary_group:all") && !named("unix:supplementary_group:one"));
}

#[test]
fn what_is_asked_stays_the_same_until_another_group_is_named() {
    let group = "unix:supplementary_gid:7";
    let first = build([entry(1, "a", &["unix:uid:1", group])]);
    let mark = first.asked_of(1, 1).mark();
    let more = [
        Change::Create(entry(2, "b", &["unix:uid:1", group])),
        Change::Create(entry(3, "c", &["unix:uid:2", "unix:supplementary_gid:8"])),
        Change::Create(entry(4, "d", &["unix:uid:1"])),
    ];
    let next = first.apply(2, &more).unwrap();
    assert_eq!(next.asked_of(1, 1).mark(), mark);
    // One of two that name the same group goes.
    let next = next.apply(3, &[Change::Delete(id(1))]).unwrap();
    assert_eq!(next.asked_of(1, 1).mark(), mark);
    for selector in ["unix:supplementary_gid:9", "unix:supplementary_group:web"] {
        for selectors in [&["unix:uid:1", selector][..], &[selector]] {
            let other = next.apply(4, &[Change::Create(entry(5, "e", selectors))]).unwrap();
            assert_ne!(other.asked_of(1, 1).mark(), mark, "{selectors:?}");
        }
    }
    let gone = next.apply(4, &[Change::Delete(id(2))]).unwrap();
    assert_eq!(gone.asked_of(1, 1).mark(), Mark::default());
}

#[test]
fn a_group_that_goes_and_another_that_comes_are_another_question() {
    let of = |gid: &str| entry(1, "a", &["unix:uid:1", gid]);
    let first = build([of("unix:supplementary_gid:7")]);
    let next = first.apply(2, &[Change::Update(of("unix:supplementary_gid:8"))]).unwrap();
    assert_ne!(first.asked_of(1, 1).mark(), next.asked_of(1, 1).mark());
}

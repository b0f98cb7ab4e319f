//! What a snapshot finds, and how one follows from another.

use std::{sync::Arc, time::Duration};

use super::{entry, have, id, paths};
use crate::registry::{Change, Entry, Error, Image, ImageSet, Selectors, Snapshot};

const SHA256: &str = "unix:sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const VERITY: &str = "dayfly:verity:sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn build(entries: impl IntoIterator<Item = Entry>) -> Snapshot {
    Snapshot::build(1, entries.into_iter().map(Arc::new))
}

fn set(images: &[Image]) -> ImageSet {
    images.iter().copied().collect()
}

fn hinted(number: u32, path: &str, selectors: &[&str], hint: &str) -> Entry {
    let mut entry = entry(number, path, selectors);
    entry.spec.hint = hint.into();
    entry
}

#[test]
fn an_entry_matches_when_all_its_selectors_are_there() {
    let snapshot = build([
        entry(1, "uid", &["unix:uid:1"]),
        entry(2, "both", &["unix:uid:1", "unix:gid:2"]),
        entry(3, "other", &["unix:uid:3"]),
        entry(4, "image", &["unix:path:/x"]),
        entry(5, "image-and-uid", &["unix:path:/x", "unix:uid:1"]),
    ]);
    let found =
        |selectors: &[&str]| snapshot.matching(&have(selectors)).iter().map(|e| e.id.clone()).collect::<Vec<_>>();
    assert_eq!(found(&[]), []);
    assert_eq!(found(&["unix:uid:2"]), []);
    assert_eq!(found(&["unix:gid:2"]), []);
    assert_eq!(found(&["unix:uid:1"]), [id(1)]);
    assert_eq!(found(&["unix:uid:1", "unix:gid:2", "unix:uid:9"]), [id(1), id(2)]);
    assert_eq!(found(&["unix:uid:1", "unix:path:/x"]), [id(1), id(4), id(5)]);
    assert_eq!(found(&["unix:path:/y", "unix:path:/x"]), [id(4)]);
}

#[test]
fn the_oldest_comes_first_and_stays_first() {
    let same_age = |number, created: u64| {
        let mut entry = entry(number, &format!("n{number}"), &["unix:uid:1"]);
        entry.created_at = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(created);
        entry
    };
    let first = build([same_age(3, 10), same_age(1, 20), same_age(2, 20)]);
    let order = |snapshot: &Snapshot| {
        let matching = snapshot.matching(&have(&["unix:uid:1"]));
        paths(&matching).join(" ")
    };
    assert_eq!(order(&first), "n3 n1 n2");
    let second = first.apply(2, &[Change::Create(same_age(0, 15)), Change::Create(same_age(9, 30))]).unwrap();
    assert_eq!(order(&second), "n3 n0 n1 n2 n9");
    // However it came about
    let again = Snapshot::build(2, second.entries().cloned().collect::<Vec<_>>().into_iter().rev());
    assert_eq!(order(&again), order(&second));
}

#[test]
fn images_are_wanted_where_an_entry_turns_on_them() {
    let snapshot = build([
        entry(1, "a", &["unix:uid:1", "unix:path:/a"]),
        entry(2, "b", &["unix:uid:2", "unix:gid:2", SHA256, "unix:path:/b"]),
        entry(3, "c", &["unix:uid:3"]),
        entry(4, "d", &["unix:uid:4", VERITY]),
    ]);
    let wanted = |selectors: &[&str]| snapshot.images_wanted(&have(selectors));
    assert_eq!(wanted(&[]), ImageSet::empty());
    assert_eq!(wanted(&["unix:uid:1"]), set(&[Image::Path]));
    assert_eq!(wanted(&["unix:uid:2"]), ImageSet::empty());
    assert_eq!(wanted(&["unix:uid:2", "unix:gid:2"]), set(&[Image::Path, Image::Sha256]));
    assert_eq!(wanted(&["unix:uid:3"]), ImageSet::empty());
    assert_eq!(wanted(&["unix:uid:4", "unix:uid:1"]), set(&[Image::Path, Image::Verity]));
    // The question is the same when some were read already.
    assert_eq!(wanted(&["unix:uid:1", "unix:path:/z"]), set(&[Image::Path]));
}

#[test]
fn entries_of_images_alone_are_wanted_of_everybody() {
    let path = build([entry(1, "a", &["unix:path:/a"])]);
    assert_eq!(path.images_wanted(&Selectors::default()), set(&[Image::Path]));
    let both = path.apply(2, &[Change::Create(entry(2, "b", &["unix:path:/b", SHA256]))]).unwrap();
    assert_eq!(both.images_wanted(&Selectors::default()), set(&[Image::Path, Image::Sha256]));
    let less = both.apply(3, &[Change::Delete(id(2))]).unwrap();
    assert_eq!(less.images_wanted(&have(&["unix:uid:1"])), set(&[Image::Path]));
    let none = less.apply(4, &[Change::Delete(id(1))]).unwrap();
    assert_eq!(none.images_wanted(&have(&["unix:uid:1"])), ImageSet::empty());
}

#[test]
fn a_hash_is_not_wanted_where_the_path_has_ruled_it_out() {
    let path = set(&[Image::Path]);
    let snapshot = build([
        entry(1, "a", &["unix:uid:1", "unix:path:/a", SHA256]),
        entry(2, "b", &["unix:path:/b", SHA256]),
        entry(3, "c", &["unix:uid:3", SHA256]),
    ]);
    let wanted = |selectors: &[&str]| snapshot.images_wanted_beside(&have(selectors), path);
    assert_eq!(wanted(&["unix:uid:1", "unix:path:/a"]), set(&[Image::Sha256]));
    assert_eq!(wanted(&["unix:uid:1", "unix:path:/z"]), ImageSet::empty());
    assert_eq!(wanted(&["unix:uid:1"]), ImageSet::empty());
    assert_eq!(wanted(&["unix:uid:9", "unix:path:/b"]), set(&[Image::Sha256]));
    assert_eq!(wanted(&["unix:uid:3"]), set(&[Image::Sha256]));
    assert_eq!(snapshot.images_wanted_beside(&have(&["unix:uid:3"]), ImageSet::all()), ImageSet::empty());
    // An entry of hashes alone waits for them of everybody, whatever the path is.
    let alone = build([entry(1, "a", &[SHA256])]);
    assert_eq!(alone.images_wanted_beside(&have(&["unix:path:/z"]), path), set(&[Image::Sha256]));
}

#[test]
fn changes_make_the_next_snapshot_and_leave_this_one() {
    let first = build([entry(1, "a", &["unix:uid:1"]), entry(2, "b", &["unix:uid:2"])]);
    let mut moved = entry(1, "moved", &["unix:uid:7"]);
    moved.revision = 2;
    let changes = [Change::Update(moved), Change::Delete(id(2)), Change::Create(entry(3, "c", &["unix:uid:2"]))];
    let second = first.apply(9, &changes).unwrap();
    assert_eq!((first.revision(), second.revision()), (1, 9));
    assert_eq!((first.len(), second.len()), (2, 2));
    let paths_of = |snapshot: &Snapshot, uid: &str| paths(&snapshot.matching(&have(&[uid]))).join(" ");
    assert_eq!([paths_of(&first, "unix:uid:1"), paths_of(&first, "unix:uid:2")], ["a", "b"]);
    assert_eq!([paths_of(&second, "unix:uid:1"), paths_of(&second, "unix:uid:2")], ["", "c"]);
    assert_eq!(paths_of(&second, "unix:uid:7"), "moved");
    assert_eq!(second.entry(&id(1)).unwrap().revision, 2);
    assert_eq!(second.entry(&id(2)), None);
    assert!(Arc::ptr_eq(
        first.entry(&id(1)).unwrap(),
        first.apply(2, &[Change::Delete(id(2))]).unwrap().entry(&id(1)).unwrap()
    ));
}

#[test]
fn changes_that_cannot_be_are_refused_whole() {
    let first = build([
        hinted(1, "a", &["unix:uid:1", "unix:gid:1"], "internal"),
        entry(2, "b", &["unix:uid:2"]),
        entry(5, "e", &["unix:path:/e"]),
    ]);
    let refused = |changes: &[Change]| first.apply(2, changes).unwrap_err();
    let good = || Change::Create(entry(9, "z", &["unix:uid:9"]));
    assert_eq!(refused(&[good(), Change::Delete(id(3))]), Error::UnknownEntry(id(3)));
    assert_eq!(refused(&[good(), Change::Update(entry(3, "c", &["unix:uid:3"]))]), Error::UnknownEntry(id(3)));
    assert_eq!(refused(&[Change::Create(entry(1, "c", &["unix:uid:3"]))]), Error::IdTaken(id(1)));
    // The order in which selectors are written makes no other entry.
    let duplicate = Change::Create(entry(3, "a", &["unix:gid:1", "unix:uid:1"]));
    assert_eq!(refused(&[duplicate]), Error::Duplicate { existing: id(1) });
    assert_eq!(refused(&[Change::Create(entry(3, "e", &["unix:path:/e"]))]), Error::Duplicate { existing: id(5) });
    assert_eq!(refused(&[Change::Update(entry(2, "e", &["unix:path:/e"]))]), Error::Duplicate { existing: id(5) });
    assert_eq!(
        refused(&[good(), Change::Create(entry(8, "z", &["unix:uid:9"]))]),
        Error::Duplicate { existing: id(9) }
    );
    let hint = Change::Create(hinted(3, "other", &["unix:uid:1", "unix:gid:1"], "internal"));
    assert_eq!(refused(&[hint]), Error::HintTaken { existing: id(1), hint: "internal".into() });
    assert_eq!((first.len(), first.revision()), (3, 1));
    // What is only similar, or gone by then, stands in nobody's way.
    let fine = [
        Change::Create(entry(3, "a", &["unix:uid:1"])),
        Change::Create(entry(4, "x", &["unix:uid:1", "unix:gid:1"])),
        Change::Create(hinted(6, "y", &["unix:uid:1"], "internal")),
        Change::Update(hinted(1, "a", &["unix:uid:1", "unix:gid:1"], "internal")),
        Change::Delete(id(2)),
        Change::Create(entry(2, "b", &["unix:uid:2"])),
    ];
    assert_eq!(first.apply(2, &fine).unwrap().len(), 6);
}

#[test]
fn those_that_lack_least_are_nearest() {
    let snapshot = build([
        entry(1, "whole", &["unix:uid:1"]),
        entry(2, "one-of-three", &["unix:uid:1", "unix:gid:1", "unix:gid:9"]),
        entry(3, "one-of-one", &["unix:uid:9"]),
        entry(4, "two", &["unix:uid:1", "unix:gid:8", "unix:gid:9"]),
        entry(5, "one-of-one-later", &["unix:uid:8"]),
    ]);
    let caller = have(&["unix:uid:1", "unix:gid:1"]);
    let near = snapshot.near(&caller, 10);
    let told: Vec<_> =
        near.iter().map(|(entry, missing)| (paths(std::slice::from_ref(entry))[0], missing.len())).collect();
    assert_eq!(told, [("one-of-three", 1), ("one-of-one", 1), ("one-of-one-later", 1), ("two", 2)]);
    assert_eq!(near[0].1[0].as_str(), "unix:gid:9");
    assert_eq!(snapshot.near(&caller, 2).len(), 2);
    assert_eq!(snapshot.near(&caller, 0).len(), 0);
}

#[test]
fn the_later_of_two_with_one_id_stands() {
    let snapshot =
        build([entry(1, "a", &["unix:uid:1"]), entry(2, "x", &["unix:uid:2"]), entry(1, "b", &["unix:uid:1"])]);
    assert_eq!(paths(&snapshot.matching(&have(&["unix:uid:1"]))), ["b"]);
    assert_eq!(snapshot.len(), 2);
    assert!(Snapshot::empty().is_empty());
}

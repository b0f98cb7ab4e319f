//! Where entries are filed, which decides how many a caller's question opens.

use std::sync::Arc;

use super::{entry, have};
use crate::registry::{
    Selector,
    filing::{Cabinet, Sieve},
};

fn cabinet(selectors: &[&[&str]]) -> Cabinet {
    let mut entries: Vec<_> = (0..).zip(selectors).map(|(n, selectors)| Arc::new(entry(n, "a", selectors))).collect();
    let mut cabinet = Cabinet::with_capacity(0);
    entries.iter_mut().for_each(|entry| cabinet.count(entry));
    entries.iter().for_each(|entry| cabinet.file(entry));
    cabinet
}

/// How many entries are filed under a selector.
fn filed(cabinet: &Cabinet, selector: &str) -> usize {
    cabinet.filed_under(&Selector::parse(selector).unwrap()).len()
}

#[test]
fn an_entry_is_filed_under_its_rarest_selector_that_is_not_of_the_image() {
    let cabinet = cabinet(&[
        &["unix:gid:1", "unix:uid:1", "unix:path:/a"],
        &["unix:gid:1", "unix:uid:2", "unix:supplementary_gid:3"],
        &["unix:gid:1", "unix:uid:3", "unix:supplementary_gid:3"],
        &["unix:gid:1", "unix:path:/b"],
        &["unix:path:/c", "unix:path:/d"],
    ]);
    let filed = |selector| filed(&cabinet, selector);
    assert_eq!([filed("unix:uid:1"), filed("unix:uid:2"), filed("unix:uid:3")], [1, 1, 1]);
    assert_eq!([filed("unix:gid:1"), filed("unix:supplementary_gid:3")], [1, 0]);
    assert_eq!([filed("unix:path:/a"), filed("unix:path:/b")], [0, 0]);
    assert_eq!(filed("unix:path:/c") + filed("unix:path:/d"), 1);
}

#[test]
fn nearly_all_others_of_a_large_folder_are_passed_over() {
    const ENTRIES: u32 = 4000;
    let texts: Vec<_> = (0..ENTRIES).map(|n| format!("unix:path:/bin/{n}")).collect();
    let selectors: Vec<Vec<&str>> = texts.iter().map(|path| vec!["unix:uid:1", "unix:gid:1", path]).collect();
    let with_paths = cabinet(&selectors.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let texts: Vec<_> = (0..ENTRIES).map(|n| format!("docker:label:{}", n / 2)).collect();
    let selectors: Vec<Vec<&str>> = texts.iter().map(|label| vec!["unix:uid:1", label, "unix:gid:1"]).collect();
    let with_labels = cabinet(&selectors.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let caller = have(&["unix:uid:1", "unix:gid:1", "unix:path:/bin/7", "docker:label:7", "unix:user:web"]);
    let sieve = Sieve::of(&caller);
    // With paths all are in one folder, as the path is no key; with labels each label has its folder.
    let opened = |cabinet: &Cabinet| {
        let candidates: Vec<_> = caller.iter().flat_map(|selector| cabinet.filed_under(selector)).collect();
        (candidates.len(), candidates.iter().filter(|filed| filed.passes(&sieve)).count())
    };
    let (candidates, passed) = opened(&with_paths);
    assert_eq!(candidates, 4000);
    assert!((1..40).contains(&passed), "{passed} of {candidates} opened");
    assert_eq!(opened(&with_labels), (2, 2));
    // What has no other selector always passes.
    let alone = cabinet(&[&["unix:uid:1"]]);
    assert!(alone.filed_under(&Selector::uid(1)).all(|filed| filed.passes(&sieve)));
}

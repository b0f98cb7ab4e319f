//! What has to change so that the registry is as the file says. Pure.

use std::collections::BTreeMap;

use crate::{
    cli::{entry::DEFAULT_PROFILE, moment},
    pb::admin::Entry,
};

/// The changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// In the order of the file: of a caller's entries the first made is its default identity.
    pub(super) create: Vec<Entry>,
    /// Before, and as it is to be.
    pub(super) update: Vec<(Entry, Entry)>,
    pub(super) delete: Vec<Entry>,
    pub(super) unchanged: usize,
}

/// What tells entries apart: the SPIFFE ID and the sorted selectors.
pub(super) type Key = (String, Vec<String>);

/// The key of an entry whose selectors are sorted.
pub(super) fn key(entry: &Entry) -> Key {
    (entry.spiffe_id.clone(), entry.selectors.clone())
}

impl Plan {
    /// `wanted` has no key twice, and is normal, as all that the daemon says is.
    pub(super) fn new(wanted: Vec<Entry>, present: Vec<Entry>, prune: bool) -> Self {
        let mut present: BTreeMap<Key, Entry> = present.into_iter().map(|entry| (key(&entry), entry)).collect();
        let mut plan = Self::default();
        for wanted in wanted {
            match present.remove(&key(&wanted)) {
                None => plan.create.push(wanted),
                Some(before) => {
                    let Entry { id, revision, created_at, .. } = before.clone();
                    let after = Entry { id, revision, created_at, ..wanted };
                    match before == after {
                        true => plan.unchanged += 1,
                        false => plan.update.push((before, after)),
                    }
                }
            }
        }
        match prune {
            true => plan.delete = present.into_values().collect(),
            false => plan.unchanged += present.len(),
        }
        plan.update.sort_by_key(|(_, after)| key(after));
        plan
    }

    pub(super) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.update.is_empty() && self.delete.is_empty()
    }
}

/// Writes an entry the way the daemon does, so that two can be compared: sorted where the order means nothing, foreign
/// trust domains by their names, and without what is the default.
pub(super) fn normalize(entry: &mut Entry) {
    entry.selectors.sort();
    for name in &mut entry.federates_with {
        if let Some(bare) = name.strip_prefix("spiffe://") {
            *name = bare.to_owned();
        }
    }
    entry.federates_with.sort();
    entry.sds_for.sort();
    if entry.certificate_profile == DEFAULT_PROFILE {
        entry.certificate_profile.clear();
    }
}

/// What differs between two entries of the same key: its name, before, after.
pub(super) fn differences(before: &Entry, after: &Entry) -> Vec<(&'static str, String, String)> {
    let list = |names: &[String]| if names.is_empty() { "none".into() } else { names.join(" ") };
    let text = |text: &str| if text.is_empty() { "none".into() } else { format!("`{text}`") };
    let end = |seconds| if seconds == 0 { "never".into() } else { moment::text(seconds) };
    let yes = |yes| String::from(if yes { "yes" } else { "no" });
    let told = |entry: &Entry| {
        [
            ("x509 ttl", moment::ttl_text(entry.x509_ttl_seconds)),
            ("jwt ttl", moment::ttl_text(entry.jwt_ttl_seconds)),
            ("wit ttl", moment::ttl_text(entry.wit_ttl_seconds)),
            ("dns names", list(&entry.dns_names)),
            ("certificate profile", text(&entry.certificate_profile)),
            ("common name", text(&entry.common_name)),
            ("hint", text(&entry.hint)),
            ("federates with", list(&entry.federates_with)),
            ("acts for", list(&entry.sds_for)),
            ("admin", yes(entry.admin)),
            ("downstream", yes(entry.downstream)),
            ("agent", text(&entry.agent)),
            ("expires", end(entry.expires_at)),
        ]
    };
    let pairs = told(before).into_iter().zip(told(after));
    pairs.filter(|((_, old), (_, new))| old != new).map(|((what, old), (_, new))| (what, old, new)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, uid: u32) -> Entry {
        Entry {
            spiffe_id: format!("spiffe://example.org/{name}"),
            selectors: vec![format!("unix:uid:{uid}")],
            ..Entry::default()
        }
    }

    fn present(name: &str, uid: u32) -> Entry {
        Entry { id: format!("id-of-{name}"), revision: 2, created_at: 5, ..entry(name, uid) }
    }

    #[test]
    fn the_same_file_twice_changes_nothing() {
        let plan = Plan::new(vec![entry("a", 1), entry("b", 2)], vec![present("b", 2), present("a", 1)], true);
        assert_eq!(plan, Plan { unchanged: 2, ..Plan::default() });
    }

    #[test]
    fn other_selectors_make_another_entry() {
        let plan = Plan::new(vec![entry("a", 9)], vec![present("a", 1)], true);
        assert_eq!(plan.create, [entry("a", 9)]);
        assert_eq!(plan.delete, [present("a", 1)]);
    }

    #[test]
    fn without_prune_what_is_not_in_the_file_stays() {
        let plan = Plan::new(vec![entry("a", 1)], vec![present("b", 2)], false);
        assert!(plan.delete.is_empty());
        assert_eq!((plan.create.len(), plan.unchanged), (1, 1));
    }

    #[test]
    fn a_change_keeps_the_entrys_id_and_is_told_word_by_word() {
        let wanted = Entry { x509_ttl_seconds: 60, hint: "h".into(), ..entry("a", 1) };
        let plan = Plan::new(vec![wanted], vec![present("a", 1)], false);
        let (before, after) = plan.update.first().cloned().unwrap_or_default();
        assert_eq!((after.id.as_str(), after.revision), ("id-of-a", 2));
        let told = differences(&before, &after);
        assert_eq!(told, [("x509 ttl", "default".into(), "1m".into()), ("hint", "none".into(), "`h`".into())]);
    }

    #[test]
    fn foreign_domains_are_compared_by_name() {
        let mut entry = Entry { federates_with: vec!["spiffe://b.org".into(), "a.org".into()], ..Entry::default() };
        entry.certificate_profile = "spiffe".into();
        normalize(&mut entry);
        assert_eq!(
            (entry.federates_with, entry.certificate_profile),
            (vec!["a.org".into(), "b.org".into()], "".into())
        );
    }
}

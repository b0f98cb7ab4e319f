//! What SPIRE says of its entries beside the entry itself: whose they are, and in which order they count. Pure.
//!
//! A SPIRE server lists the entries of all its nodes, and gives each agent those below the agent's own node. A daemon
//! of ours is one node. So entries with one parent go in; of those with several, what is below the named parents. What
//! no workload gets from an agent, none gets here. Nothing is left out without a word.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use crate::pb::admin::Entry;

use super::{Problem, Reading, Wanted, plan::normalize};

/// What a file of SPIRE's says beside an entry; empty in files of ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Origin {
    /// The SPIFFE ID of the node that the entry is for, or of an entry above it.
    pub(super) parent: Option<String>,
    /// A UUID, or what the operator chose.
    pub(super) id: String,
    /// Unix time in seconds.
    pub(super) created_at: u64,
    /// Its SVID goes into a secret store.
    pub(super) store_svid: bool,
    /// Each of its tokens is to have a name of its own.
    pub(super) wants_jti: bool,
}

/// Keeps what this node's agent would give to workloads, in the agent's order. `below` names the parents that are
/// this node; empty when nobody said.
pub(super) fn sift(reading: &mut Reading, below: &[String]) {
    let all = mem::take(&mut reading.wanted);
    let mut children: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Wanted { entry, origin, .. } in &all {
        if let Some(parent) = &origin.parent {
            children.entry(parent.clone()).or_default().push(entry.spiffe_id.clone());
        }
    }
    let mut kept = Vec::new();
    for wanted in all {
        match for_no_workload(&wanted) {
            Some(words) => leave_out(reading, &wanted, &words),
            None => kept.push(wanted),
        }
    }
    let tops = if below.is_empty() { tops(&kept) } else { below.iter().cloned().collect() };
    let line = kept.first().map_or(1, |wanted| wanted.line);
    if below.is_empty() && tops.len() > 1 {
        reading.problems.push(Problem { line, words: format!("{} ({})", SEVERAL_PARENTS, some_of(&tops)) });
    }
    for parent in tops.iter().filter(|parent| !below.is_empty() && !children.contains_key(*parent)) {
        reading.problems.push(Problem { line, words: format!("no entry is below {parent}") });
    }
    let reached = reach(tops, &children);
    for wanted in mem::take(&mut kept) {
        match &wanted.origin.parent {
            Some(parent) if !reached.contains(parent) => {
                let words = format!("it is for another node: its parent is {parent}");
                leave_out(reading, &wanted, &words);
            }
            _ => kept.push(wanted),
        }
    }
    reading.wanted = in_order(kept);
    drop_repeated(reading);
    lower_dns_names(reading);
}

/// Why an agent gives an entry to no workload at all.
fn for_no_workload(wanted: &Wanted) -> Option<String> {
    let Wanted { entry, origin, .. } = wanted;
    if origin.store_svid {
        return Some("it is for a secret store (store_svid)".into());
    }
    let parent = origin.parent.as_deref()?;
    // An alias of nodes: its selectors are those of nodes. Of workloads no attestor makes a `spiffe_id`.
    let is_alias =
        parent.strip_prefix("spiffe://").is_some_and(|id| id.split_once('/').is_some_and(|id| id.1 == SERVER));
    let of_a_node = entry.selectors.iter().any(|selector| selector.starts_with("spiffe_id:"));
    (is_alias || of_a_node).then(|| "it is for nodes, not for workloads".into())
}

/// The parents that are not workloads of the file themselves.
fn tops(kept: &[Wanted]) -> BTreeSet<String> {
    let ids: BTreeSet<&str> = kept.iter().map(|wanted| wanted.entry.spiffe_id.as_str()).collect();
    let parents = kept.iter().filter_map(|wanted| wanted.origin.parent.as_deref());
    parents.filter(|parent| !ids.contains(parent)).map(str::to_owned).collect()
}

/// These parents and, at any depth, the entries below them, which may be parents too.
fn reach(tops: BTreeSet<String>, children: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<String> = tops.into_iter().collect();
    while let Some(parent) = next.pop() {
        if !reached.contains(&parent) {
            next.extend(children.get(&parent).into_iter().flatten().cloned());
            reached.insert(parent);
        }
    }
    reached
}

/// The agent answers in the order of ids, so that the first is the default identity; of those with the same hint it
/// gives the oldest only. Here age rules both, so ids make the order, and who has an older one's hint comes after it.
fn in_order(mut wanted: Vec<Wanted>) -> Vec<Wanted> {
    wanted.sort_by(|a, b| a.origin.id.cmp(&b.origin.id));
    let mut placed: Vec<(usize, Wanted)> = wanted.into_iter().enumerate().collect();
    placed.sort_by_key(|(_, wanted)| wanted.origin.created_at);
    let mut last_of: BTreeMap<String, usize> = BTreeMap::new();
    for (place, Wanted { entry, .. }) in placed.iter_mut().filter(|(_, wanted)| !wanted.entry.hint.is_empty()) {
        let last = last_of.entry(entry.hint.clone()).or_default();
        *last = (*place).max(*last);
        *place = *last;
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, wanted)| wanted).collect()
}

/// Entries that two parents have alike are one. And of two with the same hint, who has the selectors of one has those
/// of the other, so nobody gets the younger; the daemon takes no such entry.
fn drop_repeated(reading: &mut Reading) {
    let mut seen: BTreeMap<Vec<String>, Vec<Entry>> = BTreeMap::new();
    for wanted in mem::take(&mut reading.wanted) {
        let mut entry = wanted.entry.clone();
        normalize(&mut entry);
        let alike = seen.entry(entry.selectors.clone()).or_default();
        let has_hint =
            |older: &&Entry| !entry.hint.is_empty() && older.hint == entry.hint && older.spiffe_id != entry.spiffe_id;
        let why = match alike.iter().find(has_hint) {
            _ if wanted.origin.parent.is_none() => None,
            Some(older) => Some(format!("{} is older, and has the same hint and selectors", older.spiffe_id)),
            None => alike.contains(&entry).then(|| "another parent has the same entry".into()),
        };
        match why {
            Some(why) => leave_out(reading, &wanted, &why),
            None => {
                alike.push(entry);
                reading.wanted.push(wanted);
            }
        }
    }
}

/// SPIRE takes capitals in DNS names, which mean nothing there.
fn lower_dns_names(reading: &mut Reading) {
    for Wanted { line, entry, origin, .. } in &mut reading.wanted {
        for name in entry.dns_names.iter_mut().filter(|_| origin.parent.is_some()) {
            let lower = name.to_ascii_lowercase();
            if lower != *name {
                let words = format!("{}: the DNS name {name} is kept as {lower}", entry.spiffe_id);
                reading.notes.push(Problem { line: *line, words });
                *name = lower;
            }
        }
    }
}

fn leave_out(reading: &mut Reading, wanted: &Wanted, why: &str) {
    let words = format!("left out: {}: {why}", wanted.entry.spiffe_id);
    reading.notes.push(Problem { line: wanted.line, words });
}

fn some_of(names: &BTreeSet<String>) -> String {
    let shown: Vec<_> = names.iter().take(SHOWN_MAX).map(String::as_str).collect();
    let more = names.len() - shown.len();
    shown.join(", ") + &if more == 0 { String::new() } else { format!(" and {more} more") }
}

/// The path of the SPIRE server's own SPIFFE ID, which is the parent of aliases.
const SERVER: &str = "spire/server";
const SEVERAL_PARENTS: &str = "the entries have several parents: say with --parent which of them are this node";
/// How many parents are named in an error.
const SHOWN_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of SPIRE's: its id, its own name, its parent's.
    fn wanted(id: &str, name: &str, parent: &str) -> Wanted {
        let of = |name: &str| format!("spiffe://example.org/{name}");
        let entry = Entry { spiffe_id: of(name), selectors: vec![format!("unix:user:{name}")], ..Entry::default() };
        let origin = Origin { parent: Some(of(parent)), id: id.into(), ..Origin::default() };
        Wanted { line: 1, entry, is_whole: true, origin }
    }

    /// The names that are kept, and the reading.
    fn sifted(wanted: Vec<Wanted>, below: &[&str]) -> (Vec<String>, Reading) {
        let mut reading = Reading { wanted, ..Reading::default() };
        let below: Vec<_> = below.iter().map(|name| format!("spiffe://example.org/{name}")).collect();
        sift(&mut reading, &below);
        let name = |wanted: &Wanted| wanted.entry.spiffe_id.replace("spiffe://example.org/", "");
        (reading.wanted.iter().map(name).collect(), reading)
    }

    fn words(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.words.as_str()).collect()
    }

    #[test]
    fn ours_are_kept_as_they_are() {
        let ours = |name| Wanted { origin: Origin::default(), ..wanted("", name, "") };
        let (kept, reading) = sifted(vec![ours("b"), ours("A"), ours("c")], &[]);
        assert_eq!(kept, ["b", "A", "c"]);
        assert_eq!((reading.problems, reading.notes), (vec![], vec![]));
    }

    #[test]
    fn what_is_for_stores_and_nodes_is_left_out_and_told() {
        let mut stored = wanted("1", "stored", "node");
        stored.origin.store_svid = true;
        let mut joined = wanted("2", "node", "spire/agent/join_token/x");
        joined.entry.selectors = vec!["spiffe_id:spiffe://example.org/spire/agent/join_token/x".into()];
        let (kept, reading) =
            sifted(vec![stored, joined, wanted("3", "alias", "spire/server"), wanted("4", "web", "node")], &[]);
        assert_eq!(kept, ["web"]);
        assert_eq!(reading.problems, []);
        assert_eq!(
            words(&reading.notes),
            [
                "left out: spiffe://example.org/stored: it is for a secret store (store_svid)",
                "left out: spiffe://example.org/node: it is for nodes, not for workloads",
                "left out: spiffe://example.org/alias: it is for nodes, not for workloads",
            ]
        );
    }

    #[test]
    fn of_several_parents_somebody_must_choose() {
        let all =
            || vec![wanted("1", "a", "n1"), wanted("2", "b", "n2"), wanted("3", "c", "b"), wanted("4", "a", "n3")];
        let (_, reading) = sifted(all(), &[]);
        assert_eq!(
            words(&reading.problems),
            [format!("{SEVERAL_PARENTS} (spiffe://example.org/n1, spiffe://example.org/n2, spiffe://example.org/n3)")]
        );
        let (kept, reading) = sifted(all(), &["n2"]);
        assert_eq!((kept, reading.problems), (vec!["b".into(), "c".into()], vec![]));
        assert_eq!(reading.notes.len(), 2);
        let (kept, reading) = sifted(all(), &["n1", "n2"]);
        assert_eq!(kept, ["a", "b", "c"]);
        assert_eq!(
            words(&reading.notes),
            ["left out: spiffe://example.org/a: it is for another node: its parent is spiffe://example.org/n3"]
        );
    }

    #[test]
    fn a_parent_without_entries_is_a_mistake() {
        let (_, reading) = sifted(vec![wanted("1", "a", "n1")], &["n1", "n4"]);
        assert_eq!(words(&reading.problems), ["no entry is below spiffe://example.org/n4"]);
    }

    #[test]
    fn entries_that_are_their_own_parents_are_below_no_node() {
        let (kept, _) = sifted(vec![wanted("1", "a", "b"), wanted("2", "b", "a"), wanted("3", "c", "n")], &[]);
        assert_eq!(kept, ["c"]);
        let (kept, reading) = sifted(vec![wanted("1", "a", "a")], &[]);
        assert!(kept.is_empty());
        assert_eq!(reading.notes.len(), 1);
    }

    #[test]
    fn ids_make_the_order_and_age_that_of_a_common_hint() {
        let hinted = |id, name, created_at| {
            let mut one = wanted(id, name, "n");
            one.entry.hint = "h".into();
            one.origin.created_at = created_at;
            one
        };
        let all = vec![
            hinted("4", "young", 30),
            wanted("3", "plain", "n"),
            hinted("1", "younger", 40),
            hinted("5", "old", 20),
            wanted("2", "first", "n"),
        ];
        let (kept, _) = sifted(all, &[]);
        assert_eq!(kept, ["first", "plain", "old", "young", "younger"]);
        // Of the same age, the id decides.
        let (kept, _) = sifted(vec![hinted("2", "b", 1), wanted("3", "a", "n"), hinted("1", "c", 1)], &[]);
        assert_eq!(kept, ["c", "b", "a"]);
    }

    #[test]
    fn the_younger_of_two_with_the_same_hint_and_selectors_is_left_out() {
        let hinted = |id, name| {
            let mut one = wanted(id, name, "n");
            one.entry.hint = "h".into();
            one.entry.selectors = vec!["unix:uid:1".into()];
            one
        };
        let (kept, reading) = sifted(vec![hinted("2", "a"), hinted("1", "b"), wanted("3", "c", "n")], &[]);
        assert_eq!(kept, ["b", "c"]);
        assert_eq!(reading.notes.len(), 1);
        // Without a hint each is an identity of its own.
        let plain =
            |id, name| Wanted { entry: Entry { hint: String::new(), ..hinted(id, name).entry }, ..hinted(id, name) };
        assert_eq!(sifted(vec![plain("1", "a"), plain("2", "b")], &[]).0, ["a", "b"]);
    }

    #[test]
    fn what_two_parents_have_alike_is_one_entry() {
        let mut other = wanted("3", "a", "n2");
        other.entry.x509_ttl_seconds = 60;
        let all = vec![wanted("1", "a", "n1"), wanted("2", "a", "n2"), other];
        let (kept, reading) = sifted(all, &["n1", "n2"]);
        // One that differs is left for the reader to refuse: it is not known which is meant.
        assert_eq!(kept, ["a", "a"]);
        assert_eq!(words(&reading.notes), ["left out: spiffe://example.org/a: another parent has the same entry"]);
    }

    #[test]
    fn capitals_of_dns_names_are_lowered_and_told() {
        let mut one = wanted("1", "a", "n");
        one.entry.dns_names = vec!["Web.example.org".into(), "b".into()];
        let (_, reading) = sifted(vec![one], &[]);
        let names: Vec<_> = reading.wanted.iter().flat_map(|wanted| wanted.entry.dns_names.clone()).collect();
        assert_eq!(names, ["web.example.org", "b"]);
        assert_eq!(
            words(&reading.notes),
            ["spiffe://example.org/a: the DNS name Web.example.org is kept as web.example.org"]
        );
    }
}

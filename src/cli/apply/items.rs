//! Agents, tools and grants of a file, and what has to change so that they are as it says. Pure.

use std::collections::BTreeMap;

use crate::{
    pb::admin::{ItemId, ItemKind, PutItem, item::Item as Inner},
    registry::ItemDraft,
};

use super::Problem;

/// One of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WantedItem {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) item: Inner,
    /// Whether every key could be read.
    pub(super) is_whole: bool,
}

/// What a file says of agents, tools and grants.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Items {
    pub(super) wanted: Vec<WantedItem>,
    /// The kinds that it speaks of, each once; of one there may be none in it.
    pub(super) kinds: Vec<ItemKind>,
}

/// The changes.
#[derive(Debug, Default)]
pub(super) struct ItemPlan {
    pub(super) create: Vec<Inner>,
    /// Before, and as it is to be.
    pub(super) update: Vec<(Inner, Inner)>,
    pub(super) delete: Vec<Inner>,
    pub(super) unchanged: usize,
}

/// Everything that is wrong with them, as far as can be told without the daemon.
pub(super) fn problems(items: &Items) -> Vec<Problem> {
    let (mut problems, mut seen) = (Vec::new(), BTreeMap::new());
    for WantedItem { line, item, .. } in items.wanted.iter().filter(|wanted| wanted.is_whole) {
        let told = |words: String| Problem { line: *line, words };
        match ItemDraft::from(item.clone()).check() {
            Ok(spec) => {
                if let Some(first) = seen.insert(spec.id(), *line) {
                    problems.push(told(format!("the {} is in line {first} already", spec.id())));
                }
            }
            Err(flaws) => problems.extend(flaws.iter().map(|flaw| told(flaw.to_string()))),
        }
    }
    problems
}

impl ItemPlan {
    /// `wanted` has nothing wrong in it. Of the kinds that the file speaks of, and of no others, `prune` removes what is
    /// not in it.
    pub(super) fn new(wanted: Items, present: Vec<Inner>, prune: bool) -> Self {
        let mut present: BTreeMap<_, _> = present.into_iter().map(|item| (key(&item), item)).collect();
        let mut plan = Self::default();
        for WantedItem { item, .. } in wanted.wanted {
            match present.remove(&key(&item)) {
                None => plan.create.push(item),
                Some(before) if normal(&before) == normal(&item) => plan.unchanged += 1,
                Some(before) => plan.update.push((before, item)),
            }
        }
        match prune {
            true => plan.delete = present.into_values().collect(),
            false => plan.unchanged += present.len(),
        }
        plan.update.sort_by_key(|(_, after)| key(after));
        plan.create.sort_by_key(key);
        plan
    }

    pub(super) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.update.is_empty() && self.delete.is_empty()
    }

    /// What the daemon is asked to put.
    pub(super) fn put(&self) -> Vec<PutItem> {
        let put = |item: &Inner, new, expected_revision| PutItem {
            item: Some(crate::pb::admin::Item { item: Some(item.clone()) }),
            new,
            expected_revision,
        };
        let create = self.create.iter().map(|item| put(item, true, 0));
        create.chain(self.update.iter().map(|(before, after)| put(after, false, revision(before)))).collect()
    }

    /// What the daemon is asked to remove.
    pub(super) fn remove(&self) -> Vec<ItemId> {
        let id = |item: &Inner| ItemId { kind: kind(item).into(), name: name(item) };
        self.delete.iter().map(id).collect()
    }
}

/// What differs between two of the same name: its name, before, after.
pub(super) fn differences(before: &Inner, after: &Inner) -> Vec<(&'static str, String, String)> {
    let none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let pairs = normal(before).fields().into_iter().zip(normal(after).fields());
    let differing = pairs.filter(|((_, before), (_, after))| before != after);
    differing.map(|((what, before), (_, after))| (what, none(before), none(after))).collect()
}

/// What a new one says beside its headline, by name; what it does not say is left out.
pub(super) fn told(item: &Inner) -> Vec<(&'static str, String)> {
    let headline: &[&str] = match item {
        Inner::Agent(_) => &["owner"],
        Inner::Tool(_) => &["audience"],
        Inner::Grant(_) => &["scopes"],
    };
    let fields = normal(item).fields().into_iter();
    fields.filter(|(what, value)| !headline.contains(what) && !["", "0", "false"].contains(&value.as_str())).collect()
}

/// One in a line: its kind and name, and what tells most.
pub(super) fn headline(item: &Inner) -> String {
    match item {
        Inner::Agent(agent) => format!("agent {}  {}", agent.name, agent.owner),
        Inner::Tool(tool) => format!("tool {}  {}", tool.name, tool.audience),
        Inner::Grant(grant) => format!("grant {}/{}  {}", grant.agent, grant.tool, grant.scopes.join(" ")),
    }
}

pub(super) fn kind(item: &Inner) -> ItemKind {
    match item {
        Inner::Agent(_) => ItemKind::Agent,
        Inner::Tool(_) => ItemKind::Tool,
        Inner::Grant(_) => ItemKind::Grant,
    }
}

pub(super) fn name(item: &Inner) -> String {
    match item {
        Inner::Agent(agent) => agent.name.clone(),
        Inner::Tool(tool) => tool.name.clone(),
        Inner::Grant(grant) => format!("{}/{}", grant.agent, grant.tool),
    }
}

fn key(item: &Inner) -> (i32, String) {
    (kind(item).into(), name(item))
}

fn revision(item: &Inner) -> u64 {
    match item {
        Inner::Agent(agent) => agent.revision,
        Inner::Tool(tool) => tool.revision,
        Inner::Grant(grant) => grant.revision,
    }
}

/// As the daemon writes it, so that two can be compared.
fn normal(item: &Inner) -> ItemDraft {
    let draft = ItemDraft::from(item.clone());
    draft.clone().check().map_or(draft, |spec| ItemDraft::from(&spec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::admin::{Agent, Grant, Tool, ToolScope};

    fn agent(name: &str, owner: &str) -> Inner {
        Inner::Agent(Agent { name: name.into(), owner: owner.into(), ..Agent::default() })
    }

    fn tool(urls: &[&str]) -> Inner {
        let scope = |name: &str| ToolScope { name: name.into(), band: "read".into() };
        Inner::Tool(Tool {
            name: "shop".into(),
            audience: "https://shop.example.org".into(),
            base_urls: urls.iter().map(|url| (*url).into()).collect(),
            scopes: vec![scope("b"), scope("a")],
            revision: 4,
            ..Tool::default()
        })
    }

    fn wanted(items: &[Inner]) -> Items {
        let wanted = items.iter().zip(1..).map(|(item, line)| WantedItem { line, item: item.clone(), is_whole: true });
        Items { wanted: wanted.collect(), kinds: Vec::new() }
    }

    #[test]
    fn what_says_the_same_is_no_change() {
        let (given, kept) = (tool(&["https://B.org/", "https://a.org"]), tool(&["https://a.org", "https://b.org"]));
        let plan = ItemPlan::new(wanted(&[given]), vec![kept], true);
        assert!(plan.is_empty());
        assert_eq!(plan.unchanged, 1);
    }

    #[test]
    fn a_change_is_told_and_sent_with_the_revision_that_was_seen() {
        let (before, after) = (tool(&["https://a.org"]), tool(&[]));
        let plan =
            ItemPlan::new(wanted(&[after.clone(), agent("new", "o")]), vec![before.clone(), agent("old", "o")], true);
        assert_eq!(differences(&before, &after), [("base_urls", "https://a.org".into(), "none".into())]);
        let told: Vec<_> = plan.put().into_iter().map(|put| (put.new, put.expected_revision)).collect();
        assert_eq!(told, [(true, 0), (false, 4)]);
        let id = ItemId { kind: ItemKind::Agent.into(), name: "old".into() };
        assert_eq!(plan.remove(), [id]);
        assert!(ItemPlan::new(wanted(&[]), vec![before], false).is_empty());
    }

    /// Who reads the plan sees what it would open.
    #[test]
    fn all_that_a_new_one_says_is_told() {
        let tool = match tool(&["https://a.org"]) {
            Inner::Tool(tool) => Inner::Tool(Tool { accepts: vec!["jwt-svid".into()], ..tool }),
            other => other,
        };
        let told = told(&tool);
        let value = |name| told.iter().find(|(what, _)| *what == name).map(|(_, value)| value.as_str());
        assert_eq!((value("accepts"), value("base_urls")), (Some("jwt-svid"), Some("https://a.org")));
        assert!(value("scopes").is_some_and(|scopes| scopes.contains("a")), "{told:?}");
        assert_eq!((value("audience"), value("routes"), value("encoded_slash")), (None, None, None));
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line() {
        let grant = Inner::Grant(Grant { agent: "a".into(), tool: "t".into(), ..Grant::default() });
        let problems = problems(&wanted(&[agent("A", ""), grant, agent("b", "o"), agent("b", "o")]));
        let told: Vec<_> = problems.iter().map(|problem| (problem.line, problem.words.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "the agent name `A` is not valid: it has `A`, only a-z 0-9 - are allowed"),
                (1, "the owner is missing"),
                (2, "the scope is missing"),
                (4, "the agent b is in line 3 already"),
            ]
        );
    }
}

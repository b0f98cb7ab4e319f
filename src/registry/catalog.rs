//! The catalog: all agents, tools and grants at one revision of the registry. Immutable and shared; a change makes the
//! next one, and copies little more than what it touches.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{
    agent::Agent,
    entry::Change,
    error::Error,
    grant::{Grant, GrantId},
    item::{Item, ItemId},
    label::Label,
    shards::Shards,
    tool::{Tool, ToolDraft},
};
use crate::oauth::target::Target;

/// All of them, filed by what they are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    holdings: Shards<Label, Arc<Holding>>,
    tools: Shards<Label, Arc<Tool>>,
    by_audience: Shards<Arc<str>, Label>,
    by_url: Shards<Arc<str>, Label>,
    counts: Counts,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) agents: usize,
    pub(crate) tools: usize,
    pub(crate) grants: usize,
}

/// An agent with what it is granted.
#[derive(Clone, Debug)]
struct Holding {
    agent: Arc<Agent>,
    /// By their tools.
    grants: Vec<Arc<Grant>>,
}

impl Catalog {
    /// The most agents.
    pub(crate) const AGENTS_MAX: usize = 100_000;
    /// The most tools.
    pub(crate) const TOOLS_MAX: usize = 10_000;
    /// The most grants of one agent.
    pub(crate) const GRANTS_PER_AGENT_MAX: usize = 256;

    /// Files everything. What does not fit the rest is left out and named: it was accepted once, so something that it
    /// needs was lost.
    pub(crate) fn build(items: impl IntoIterator<Item = Item>) -> (Self, Vec<(ItemId, Error)>) {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort_by_key(|item| match item {
            Item::Agent(_) => 0,
            Item::Tool(_) => 1,
            Item::Grant(_) => 2,
        });
        let (mut catalog, mut left_out) = (Self::default(), Vec::new());
        for item in &items {
            if let Err(error) = catalog.put(item) {
                left_out.push((item.id(), error));
            }
        }
        (catalog, left_out)
    }

    /// The next catalog: of these changes those that are its own, all or none, in whatever order they are.
    ///
    /// # Errors
    /// When something to remove is not there or still needed, when what something needs is not there, when an audience
    /// or a base URL is another tool's, or when there would be too many of something.
    pub(crate) fn apply(&self, changes: &[Change]) -> Result<Self, Error> {
        let removed =
            || changes.iter().filter_map(|change| if let Change::Remove(id) = change { Some(id) } else { None });
        let put = || changes.iter().filter_map(|change| if let Change::Put(item) = change { Some(item) } else { None });
        let mut next = self.clone();
        if removed().next().is_none() && put().next().is_none() {
            return Ok(next);
        }
        for id in removed() {
            if let ItemId::Grant(id) = id {
                next.remove_grant(id)?;
            }
        }
        // Audiences and URLs that change hands in one order are free before anybody takes them.
        let mut touched = BTreeSet::new();
        for id in removed() {
            match id {
                ItemId::Agent(name) => next.remove_agent(name)?,
                ItemId::Tool(name) => {
                    let tool = next.unfile(name).ok_or_else(|| Error::UnknownItem(id.clone()))?;
                    next.tools.remove(&tool.spec.name);
                    next.counts.tools -= 1;
                    touched.insert(name.clone());
                }
                ItemId::Grant(_) => {}
            }
        }
        for item in put() {
            if let Item::Tool(tool) = item
                && next.unfile(&tool.spec.name).is_some()
            {
                touched.insert(tool.spec.name.clone());
            }
        }
        let of_kind = |wanted: fn(&&Item) -> bool| put().filter(wanted);
        let agents = of_kind(|item| matches!(item, Item::Agent(_)));
        let tools = of_kind(|item| matches!(item, Item::Tool(_)));
        let grants = of_kind(|item| matches!(item, Item::Grant(_)));
        agents.chain(tools).chain(grants).try_for_each(|item| next.put(item))?;
        next.check_grants_of(&touched)?;
        Ok(next)
    }

    /// The agent of this name.
    pub(crate) fn agent(&self, name: &str) -> Option<&Arc<Agent>> {
        self.holding(name).map(|holding| &holding.agent)
    }

    /// The tool of this name.
    pub(crate) fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.at(name).map(|(_, tool)| tool)
    }

    /// The tool with exactly this audience.
    pub(crate) fn tool_of(&self, audience: &str) -> Option<&Arc<Tool>> {
        let (_, name) = self.by_audience.at(audience)?;
        self.tool(name.as_str())
    }

    /// The tool of a URL, and the path below its base URL: that of the longest base URL that ends where a segment does.
    pub(crate) fn tool_at<'t>(&self, target: &'t Target) -> Option<(&Arc<Tool>, &'t str)> {
        let (origin, path) = (target.origin().as_str(), target.path());
        let ends = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at).chain([path.len()]);
        let ends: Vec<_> = ends.take(ToolDraft::URL_SEGMENTS_MAX + 1).collect();
        let mut url = String::with_capacity(origin.len() + path.len().min(ToolDraft::URL_BYTES_MAX));
        ends.into_iter().rev().find_map(|end| {
            let (above, below) = path.split_at_checked(end)?;
            if origin.len() + above.len() > ToolDraft::URL_BYTES_MAX {
                return None;
            }
            url.clear();
            url.extend([origin, above]);
            let (_, name) = self.by_url.at(url.as_str())?;
            // The base URL itself is the root below it.
            Some((self.tool(name.as_str())?, if below.is_empty() { "/" } else { below }))
        })
    }

    /// What the agent may do with the tool.
    pub(crate) fn grant(&self, agent: &str, tool: &str) -> Option<&Arc<Grant>> {
        self.holding(agent)?.grant(tool)
    }

    /// All grants of an agent, by their tools.
    pub(crate) fn grants(&self, agent: &str) -> &[Arc<Grant>] {
        self.holding(agent).map_or(&[], |holding| &holding.grants)
    }

    /// What is there under this name.
    pub(crate) fn item(&self, id: &ItemId) -> Option<Item> {
        match id {
            ItemId::Agent(name) => self.agent(name.as_str()).map(|agent| Item::Agent(Agent::clone(agent))),
            ItemId::Tool(name) => self.tool(name.as_str()).map(|tool| Item::Tool(Tool::clone(tool))),
            ItemId::Grant(id) => {
                self.grant(id.agent.as_str(), id.tool.as_str()).map(|grant| Item::Grant(Grant::clone(grant)))
            }
        }
    }

    /// All agents, in no order.
    pub(crate) fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.holdings.iter().map(|(_, holding)| &holding.agent)
    }

    /// All tools, in no order.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.tools.iter().map(|(_, tool)| tool)
    }

    /// All grants, in no order.
    pub(crate) fn all_grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        self.holdings.iter().flat_map(|(_, holding)| &holding.grants)
    }

    /// The grants that hang on an agent or a tool. For a tool it walks over all agents.
    pub(crate) fn grants_on(&self, id: &ItemId) -> Vec<GrantId> {
        let mut found: Vec<_> = match id {
            ItemId::Agent(name) => self.grants(name.as_str()).iter().map(|grant| grant.spec.id.clone()).collect(),
            ItemId::Tool(name) => {
                let holdings = self.holdings.iter().map(|(_, holding)| holding);
                holdings.filter_map(|holding| holding.grant(name.as_str())).map(|grant| grant.spec.id.clone()).collect()
            }
            ItemId::Grant(_) => Vec::new(),
        };
        found.sort();
        found
    }

    /// How many there are of each kind.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    fn holding(&self, agent: &str) -> Option<&Arc<Holding>> {
        self.holdings.at(agent).map(|(_, holding)| holding)
    }

    fn holding_mut(&mut self, agent: &Label) -> Option<&mut Holding> {
        self.holdings.shard_mut(agent)?.get_mut(agent).map(Arc::make_mut)
    }

    fn put(&mut self, item: &Item) -> Result<(), Error> {
        match item {
            Item::Agent(agent) => self.put_agent(agent),
            Item::Tool(tool) => self.put_tool(tool),
            Item::Grant(grant) => self.put_grant(grant),
        }
    }

    fn put_agent(&mut self, agent: &Agent) -> Result<(), Error> {
        let (name, agent) = (agent.spec.name.clone(), Arc::new(agent.clone()));
        if let Some(holding) = self.holding_mut(&name) {
            holding.agent = agent;
            return Ok(());
        }
        check_room("agents", self.counts.agents, Self::AGENTS_MAX)?;
        self.counts.agents += 1;
        self.holdings.insert(name, Arc::new(Holding { agent, grants: Vec::new() }));
        Ok(())
    }

    /// What it had before of audience and URLs was taken out.
    fn put_tool(&mut self, tool: &Tool) -> Result<(), Error> {
        let spec = &tool.spec;
        let taken = |what, value: &str, existing: &Label| {
            Err(Error::PlaceTaken { what, value: value.to_owned(), existing: existing.clone() })
        };
        if let Some((_, existing)) = self.by_audience.at(&spec.audience) {
            return taken("audience", &spec.audience, existing);
        }
        for url in &spec.base_urls {
            let url = url.to_string();
            if let Some((_, existing)) = self.by_url.at(url.as_str()) {
                return taken("base URL", &url, existing);
            }
        }
        if self.tools.at(&spec.name).is_none() {
            check_room("tools", self.counts.tools, Self::TOOLS_MAX)?;
            self.counts.tools += 1;
        }
        self.by_audience.insert(spec.audience.clone(), spec.name.clone());
        for url in &spec.base_urls {
            self.by_url.insert(url.to_string().into(), spec.name.clone());
        }
        self.tools.insert(spec.name.clone(), Arc::new(tool.clone()));
        Ok(())
    }

    fn put_grant(&mut self, grant: &Grant) -> Result<(), Error> {
        let GrantId { agent, tool } = &grant.spec.id;
        let unknown = |id| Error::UnknownItem(id);
        let known = self.tool(tool.as_str()).ok_or_else(|| unknown(ItemId::Tool(tool.clone())))?;
        check_scopes(grant, known)?;
        // Names and scopes are in memory once, however many grants have them.
        let mut grant = grant.clone();
        for scope in &mut grant.spec.scopes {
            if let Some((shared, _)) = known.spec.scopes.iter().find(|(own, _)| own == scope) {
                *scope = shared.clone();
            }
        }
        grant.spec.id.tool = known.spec.name.clone();
        let agent = agent.clone();
        let holding = self.holding_mut(&agent).ok_or_else(|| unknown(ItemId::Agent(agent)))?;
        grant.spec.id.agent = holding.agent.spec.name.clone();
        match holding.place(grant.spec.id.tool.as_str()) {
            Ok(at) => {
                if let Some(place) = holding.grants.get_mut(at) {
                    *place = Arc::new(grant);
                }
            }
            Err(at) => {
                check_room("grants of one agent", holding.grants.len(), Self::GRANTS_PER_AGENT_MAX)?;
                holding.grants.insert(at, Arc::new(grant));
                self.counts.grants += 1;
            }
        }
        Ok(())
    }

    fn remove_grant(&mut self, id: &GrantId) -> Result<(), Error> {
        let unknown = || Error::UnknownItem(ItemId::Grant(id.clone()));
        let holding = self.holding_mut(&id.agent).ok_or_else(unknown)?;
        let at = holding.place(id.tool.as_str()).map_err(|_| unknown())?;
        holding.grants.remove(at);
        self.counts.grants -= 1;
        Ok(())
    }

    fn remove_agent(&mut self, name: &Label) -> Result<(), Error> {
        let item = ItemId::Agent(name.clone());
        let Some(holding) = self.holding(name.as_str()) else { return Err(Error::UnknownItem(item)) };
        if !holding.grants.is_empty() {
            let by = holding.grants.iter().map(|grant| format!("the grant {}", grant.spec.id)).collect();
            return Err(Error::InUse { item, by });
        }
        self.holdings.remove(name);
        self.counts.agents -= 1;
        Ok(())
    }

    /// Takes a tool's audience and URLs out, if there is one of this name.
    fn unfile(&mut self, name: &Label) -> Option<Arc<Tool>> {
        let tool = Arc::clone(self.tool(name.as_str())?);
        self.by_audience.remove(&tool.spec.audience);
        tool.spec.base_urls.iter().for_each(|url| self.by_url.remove(url.to_string().as_str()));
        Some(tool)
    }

    /// Whether all grants on these tools still hold. It walks over all agents.
    fn check_grants_of(&self, tools: &BTreeSet<Label>) -> Result<(), Error> {
        for name in tools {
            let holdings = self.holdings.iter().map(|(_, holding)| holding);
            let mut grants = holdings.filter_map(|holding| holding.grant(name.as_str()));
            match self.tool(name.as_str()) {
                Some(tool) => grants.try_for_each(|grant| check_scopes(grant, tool))?,
                None => {
                    let by: Needed = grants.map(|grant| format!("the grant {}", grant.spec.id)).collect();
                    if !by.is_empty() {
                        return Err(Error::InUse { item: ItemId::Tool(name.clone()), by });
                    }
                }
            }
        }
        Ok(())
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            holdings: Shards::with_capacity(0),
            tools: Shards::with_capacity(0),
            by_audience: Shards::with_capacity(0),
            by_url: Shards::with_capacity(0),
            counts: Counts::default(),
        }
    }
}

impl Holding {
    fn place(&self, tool: &str) -> Result<usize, usize> {
        self.grants.binary_search_by(|grant| grant.spec.id.tool.as_str().cmp(tool))
    }

    fn grant(&self, tool: &str) -> Option<&Arc<Grant>> {
        self.grants.get(self.place(tool).ok()?)
    }
}

fn check_room(what: &'static str, present: usize, max: usize) -> Result<(), Error> {
    if present < max { Ok(()) } else { Err(Error::TooMany { what, max }) }
}

fn check_scopes(grant: &Grant, tool: &Tool) -> Result<(), Error> {
    match grant.spec.scopes.iter().find(|scope| tool.spec.band(scope.as_str()).is_none()) {
        Some(scope) => Err(Error::UnknownScope { grant: grant.spec.id.clone(), scope: scope.to_string() }),
        None => Ok(()),
    }
}

/// Those who need something, in words: the first of them, and how many more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    first: Vec<String>,
    more: usize,
}

impl Needed {
    /// How many are named.
    pub(crate) const NAMED_MAX: usize = 20;

    fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// With others behind them.
    pub(super) fn and(mut self, others: impl IntoIterator<Item = String>) -> Self {
        for other in others {
            match self.first.len() < Self::NAMED_MAX {
                true => self.first.push(other),
                false => self.more += 1,
            }
        }
        self
    }
}

impl FromIterator<String> for Needed {
    fn from_iter<I: IntoIterator<Item = String>>(all: I) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort();
        Self::default().and(all)
    }
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join(", "))?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

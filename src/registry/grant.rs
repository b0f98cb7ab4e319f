//! Grants: what an agent may do with a tool.

use std::{
    fmt,
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{
    draft::{Problems, shown},
    flaw::{Flaw, Flaws},
    label::Label,
    scope::{self, Band, Scope},
};

/// An agent's right to a tool. There is one for each pair of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// What it says.
    pub(crate) spec: GrantSpec,
    /// When it was given; whole microseconds, the epoch where that was before it was noted.
    pub(crate) created_at: SystemTime,
    /// Counts its changes, from 1.
    pub(crate) revision: u64,
}

/// What an operator says in a grant. Made by [`GrantDraft::check`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantSpec {
    /// Which pair.
    pub(crate) id: GrantId,
    /// Sorted, none twice, never empty.
    pub(crate) scopes: Vec<Scope>,
    /// Sorted, none twice. None means that no data set may be named.
    pub(crate) datasets: Vec<String>,
    /// In the place of the band's usual lifetime, up to its most; whole seconds.
    pub(crate) ttl_max: Option<Duration>,
    /// Tokens a minute; `None` is as many as policy lets everybody have.
    pub(crate) rate_per_minute: Option<NonZeroU32>,
}

/// The name of a grant: `AGENT/TOOL`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GrantId {
    /// Whose right.
    pub(crate) agent: Label,
    /// To what.
    pub(crate) tool: Label,
}

/// A grant as people and programs write it: nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantDraft {
    /// The agent's name.
    pub(crate) agent: String,
    /// The tool's name.
    pub(crate) tool: String,
    /// Of the tool's, at least one.
    pub(crate) scopes: Vec<String>,
    /// Printable ASCII without spaces.
    pub(crate) datasets: Vec<String>,
    /// Seconds; 0 is the band's usual lifetime.
    pub(crate) ttl_max_seconds: u64,
    /// Tokens a minute; 0 is no limit of the grant's own.
    pub(crate) rate_per_minute: u64,
}

impl GrantDraft {
    /// The most scopes in one grant.
    pub(crate) const SCOPES_MAX: usize = 64;
    /// The most bytes of all scopes together, with spaces between: they stand in a token, which has an end.
    pub(crate) const SCOPE_BYTES_MAX: usize = 512;
    /// The most data sets in one grant.
    pub(crate) const DATASETS_MAX: usize = 64;
    /// The longest name of a data set, in bytes.
    pub(crate) const DATASET_BYTES_MAX: usize = 128;
    /// The longest lifetime that any band allows, in seconds.
    pub(crate) const TTL_SECONDS_MAX: u64 = 3_600;
    /// The highest rate.
    pub(crate) const RATE_MAX: u64 = 1_000_000;

    /// Checks everything that can be checked without the agent and the tool.
    ///
    /// # Errors
    /// Every problem there is, in the order of the fields.
    pub(crate) fn check(self) -> Result<GrantSpec, Problems<Flaw>> {
        let mut flaws = Flaws::default();
        let (agent, tool) = (flaws.label("agent", &self.agent), flaws.label("tool", &self.tool));
        let scopes = check_scopes(&self.scopes, &mut flaws);
        let datasets = check_datasets(self.datasets, &mut flaws);
        let ttl_max = flaws.seconds("ttl max in seconds", self.ttl_max_seconds, Self::TTL_SECONDS_MAX);
        if self.rate_per_minute > Self::RATE_MAX {
            let (value, max) = (self.rate_per_minute, Self::RATE_MAX);
            flaws.add(Flaw::Range { field: "rate per minute", value, min: 1, max, nought: "none of its own" });
        }
        let rate_per_minute = u32::try_from(self.rate_per_minute).ok().and_then(NonZeroU32::new);
        let id = agent.zip(tool).map(|(agent, tool)| GrantId { agent, tool });
        flaws.end(id.map(|id| GrantSpec { id, scopes, datasets, ttl_max, rate_per_minute }))
    }
}

fn check_scopes(texts: &[String], flaws: &mut Flaws) -> Vec<Scope> {
    if texts.is_empty() {
        flaws.add(Flaw::Missing("scope"));
    }
    if !flaws.few("scopes", texts.len(), GrantDraft::SCOPES_MAX) {
        return Vec::new();
    }
    let scopes = texts.iter().filter_map(|text| flaws.read("scope", text, scope::read(text))).collect();
    let scopes = flaws.sorted("scope", scopes);
    let bytes = scopes.iter().map(|scope| scope.as_str().len() + 1).sum::<usize>().saturating_sub(1);
    flaws.few("bytes of scopes", bytes, GrantDraft::SCOPE_BYTES_MAX);
    scopes
}

fn check_datasets(names: Vec<String>, flaws: &mut Flaws) -> Vec<String> {
    if !flaws.few("data sets", names.len(), GrantDraft::DATASETS_MAX) {
        return Vec::new();
    }
    for name in &names {
        match name.as_str() {
            "" => flaws.add(Flaw::Missing("name of a data set")),
            name if name.contains(' ') => {
                let reason = "it has a space".into();
                flaws.add(Flaw::Value { field: "data set", value: shown(name), reason });
            }
            name => flaws.text("data set", name, GrantDraft::DATASET_BYTES_MAX, true),
        }
    }
    flaws.sorted("data set", names)
}

/// The way back: what was checked once passes again.
impl From<&GrantSpec> for GrantDraft {
    fn from(spec: &GrantSpec) -> Self {
        Self {
            agent: spec.id.agent.to_string(),
            tool: spec.id.tool.to_string(),
            scopes: spec.scopes.iter().map(Scope::to_string).collect(),
            datasets: spec.datasets.clone(),
            ttl_max_seconds: spec.ttl_max.map_or(0, |ttl| ttl.as_secs()),
            rate_per_minute: spec.rate_per_minute.map_or(0, |rate| rate.get().into()),
        }
    }
}

impl GrantSpec {
    /// Whether it has this scope.
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.binary_search_by(|own| own.as_str().cmp(scope)).is_ok()
    }

    /// The longest that a token lives which has a scope of this band alone.
    pub(crate) fn lifetime_max(&self, band: Band) -> Duration {
        let lifetime = band.lifetime();
        self.ttl_max.map_or(lifetime.usual, |ttl| ttl.min(lifetime.most))
    }
}

impl GrantId {
    /// Reads `AGENT/TOOL`.
    ///
    /// # Errors
    /// Words behind "is not valid:".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (agent, tool) = text.split_once('/').ok_or("a grant is named AGENT/TOOL")?;
        Ok(Self { agent: Label::parse(agent)?, tool: Label::parse(tool)? })
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.agent, self.tool)
    }
}

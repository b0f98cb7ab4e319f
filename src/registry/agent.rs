//! Agents: the AI agents that an organisation knows of, each with somebody who answers for it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{
    draft::{Draft, Problems},
    flaw::{Flaw, Flaws},
    label::Label,
};

/// A registered agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// What it is.
    pub(crate) spec: AgentSpec,
    /// Whether it may have anything now.
    pub(crate) state: State,
    /// The uid of the admin who registered it.
    pub(crate) created_by: u32,
    /// When it was registered; whole microseconds.
    pub(crate) created_at: SystemTime,
    /// What was issued to it in earlier seconds is revoked; a whole second, the epoch where nothing is.
    pub(crate) revoked_before: SystemTime,
    /// Counts its changes, from 1.
    pub(crate) revision: u64,
}

/// What an operator says of an agent. Made by [`AgentDraft::check`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentSpec {
    /// Unique, and for good: another one of this name would be taken for it in records.
    pub(crate) name: Label,
    /// A person or group; printable ASCII, never empty.
    pub(crate) owner: String,
    /// What it is for; may be empty.
    pub(crate) purpose: String,
    /// As `production`. A daemon that has one gives access to agents of the same alone.
    pub(crate) environment: Option<Label>,
    /// The most confidential data that it works with, as `internal`.
    pub(crate) data_class: Option<Label>,
    /// When somebody has to look at it again; whole seconds. Nothing ends by it.
    pub(crate) review_by: Option<SystemTime>,
}

impl AgentSpec {
    /// Whether it is of this environment: every agent is, where none is said.
    pub(crate) fn is_of(&self, environment: Option<&Label>) -> bool {
        environment.is_none() || self.environment.as_ref() == environment
    }

    /// Whether the time has come at which somebody has to look at it again. Nothing ends by it.
    pub(crate) fn is_review_overdue(&self, now: SystemTime) -> bool {
        self.review_by.is_some_and(|by| by <= now)
    }
}

/// Whether an agent may have anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// It may have what it is granted.
    #[default]
    Active,
    /// It has nothing until it is resumed.
    Suspended,
    /// It has nothing any more, and its name stays taken.
    Retired,
}

/// An agent as people and programs write it: nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentDraft {
    /// A [`Label`].
    pub(crate) name: String,
    /// Must be there.
    pub(crate) owner: String,
    /// Any text in one line, or none.
    pub(crate) purpose: String,
    /// A [`Label`], or none.
    pub(crate) environment: String,
    /// A [`Label`], or none.
    pub(crate) data_class: String,
    /// Unix time in seconds; 0 is never.
    pub(crate) review_by: u64,
}

impl AgentDraft {
    /// The longest owner, in bytes.
    pub(crate) const OWNER_BYTES_MAX: usize = 200;
    /// The longest purpose, in bytes.
    pub(crate) const PURPOSE_BYTES_MAX: usize = 500;

    /// Checks everything.
    ///
    /// # Errors
    /// Every problem there is, in the order of the fields.
    pub(crate) fn check(self) -> Result<AgentSpec, Problems<Flaw>> {
        let mut flaws = Flaws::default();
        let name = flaws.label("agent name", &self.name);
        match self.owner.is_empty() {
            true => flaws.add(Flaw::Missing("owner")),
            false => flaws.text("owner", &self.owner, Self::OWNER_BYTES_MAX, true),
        }
        flaws.text("purpose", &self.purpose, Self::PURPOSE_BYTES_MAX, false);
        let environment = flaws.label_or_none("environment", &self.environment);
        let data_class = flaws.label_or_none("data class", &self.data_class);
        if self.review_by > Draft::EXPIRES_AT_MAX {
            let max = Draft::EXPIRES_AT_MAX;
            flaws.add(Flaw::Range { field: "review-by time", value: self.review_by, min: 1, max, nought: "never" });
        }
        let review_by = Some(self.review_by).filter(|seconds| (1..=Draft::EXPIRES_AT_MAX).contains(seconds));
        let review_by = review_by.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let (owner, purpose) = (self.owner, self.purpose);
        flaws.end(name.map(|name| AgentSpec { name, owner, purpose, environment, data_class, review_by }))
    }
}

/// The way back: what was checked once passes again.
impl From<&AgentSpec> for AgentDraft {
    fn from(spec: &AgentSpec) -> Self {
        let text = |label: &Option<Label>| label.as_ref().map(Label::to_string).unwrap_or_default();
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            name: spec.name.to_string(),
            owner: spec.owner.clone(),
            purpose: spec.purpose.clone(),
            environment: text(&spec.environment),
            data_class: text(&spec.data_class),
            review_by: spec.review_by.map_or(0, seconds),
        }
    }
}

impl State {
    /// All there are.
    pub(crate) const ALL: [Self; 3] = [Self::Active, Self::Suspended, Self::Retired];

    /// One word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Retired => "retired",
        }
    }

    /// The state of this word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

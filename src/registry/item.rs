//! What the catalog has: agents, tools and grants, where it is all one which.

use std::fmt;

use super::{
    agent::{Agent, AgentDraft, AgentSpec},
    draft::Problems,
    flaw::Flaw,
    grant::{Grant, GrantDraft, GrantId, GrantSpec},
    label::Label,
    tool::{Tool, ToolDraft, ToolSpec},
};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Agent(Agent),
    Tool(Tool),
    Grant(Grant),
}

/// Its name. Shown as `agent crew`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ItemId {
    Agent(Label),
    Tool(Label),
    Grant(GrantId),
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ItemSpec {
    Agent(AgentSpec),
    Tool(ToolSpec),
    Grant(GrantSpec),
}

/// What somebody writes in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ItemDraft {
    Agent(AgentDraft),
    Tool(ToolDraft),
    Grant(GrantDraft),
}

impl Item {
    pub(crate) fn id(&self) -> ItemId {
        match self {
            Self::Agent(agent) => ItemId::Agent(agent.spec.name.clone()),
            Self::Tool(tool) => ItemId::Tool(tool.spec.name.clone()),
            Self::Grant(grant) => ItemId::Grant(grant.spec.id.clone()),
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        match self {
            Self::Agent(agent) => agent.revision,
            Self::Tool(tool) => tool.revision,
            Self::Grant(grant) => grant.revision,
        }
    }

    /// What was written in it.
    pub(crate) fn draft(&self) -> ItemDraft {
        match self {
            Self::Agent(agent) => ItemDraft::Agent(AgentDraft::from(&agent.spec)),
            Self::Tool(tool) => ItemDraft::Tool(ToolDraft::from(&tool.spec)),
            Self::Grant(grant) => ItemDraft::Grant(GrantDraft::from(&grant.spec)),
        }
    }
}

impl ItemDraft {
    /// Checks everything that can be checked without others.
    ///
    /// # Errors
    /// Every problem there is.
    pub(crate) fn check(self) -> Result<ItemSpec, Problems<Flaw>> {
        match self {
            Self::Agent(draft) => draft.check().map(ItemSpec::Agent),
            Self::Tool(draft) => draft.check().map(ItemSpec::Tool),
            Self::Grant(draft) => draft.check().map(ItemSpec::Grant),
        }
    }

    /// Its fields without those of its name, in words: for those who tell what has changed.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let pairs = |pairs: &[(String, String)]| {
            let pairs: Vec<_> = pairs.iter().map(|(one, other)| format!("{one}={other}")).collect();
            pairs.join(", ")
        };
        match self {
            Self::Agent(draft) => vec![
                ("owner", draft.owner.clone()),
                ("purpose", draft.purpose.clone()),
                ("environment", draft.environment.clone()),
                ("data_class", draft.data_class.clone()),
                ("review_by", draft.review_by.to_string()),
            ],
            Self::Tool(draft) => vec![
                ("audience", draft.audience.clone()),
                ("base_urls", draft.base_urls.join(" ")),
                ("scopes", pairs(&draft.scopes)),
                ("routes", pairs(&draft.routes)),
                ("encoded_slash", draft.encoded_slash.to_string()),
                ("accepts", draft.accepts.join(" ")),
            ],
            Self::Grant(draft) => vec![
                ("scopes", draft.scopes.join(" ")),
                ("datasets", draft.datasets.join(" ")),
                ("ttl_max_seconds", draft.ttl_max_seconds.to_string()),
                ("rate_per_minute", draft.rate_per_minute.to_string()),
            ],
        }
    }
}

/// The way back: what was checked once passes again.
impl From<&ItemSpec> for ItemDraft {
    fn from(spec: &ItemSpec) -> Self {
        match spec {
            ItemSpec::Agent(spec) => Self::Agent(AgentDraft::from(spec)),
            ItemSpec::Tool(spec) => Self::Tool(ToolDraft::from(spec)),
            ItemSpec::Grant(spec) => Self::Grant(GrantDraft::from(spec)),
        }
    }
}

impl ItemSpec {
    pub(crate) fn id(&self) -> ItemId {
        match self {
            Self::Agent(agent) => ItemId::Agent(agent.name.clone()),
            Self::Tool(tool) => ItemId::Tool(tool.name.clone()),
            Self::Grant(grant) => ItemId::Grant(grant.id.clone()),
        }
    }
}

impl ItemId {
    /// `agent`, `tool` or `grant`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Tool(_) => "tool",
            Self::Grant(_) => "grant",
        }
    }

    /// Its name among those of its kind.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Agent(name) | Self::Tool(name) => name.to_string(),
            Self::Grant(id) => id.to_string(),
        }
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

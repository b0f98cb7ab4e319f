//! Why an agent gets no access token. Codes are for programs and stay as they are; sentences are for operators.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::{
    oauth::verify::Revocation,
    registry::{EntryId, GrantId, Label},
    spiffe::TrustDomain,
};

/// Why an access token is not issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No entry that the caller matches belongs to an agent.
    NoAgent,
    /// Not one of the caller's agents has the name that it goes by.
    NotItsAgent,
    /// The entry's own end has come.
    EntryExpired {
        /// Which entry.
        entry: EntryId,
        /// Since when.
        since: SystemTime,
    },
    /// The caller's SPIFFE ID is in another trust domain than the daemon.
    ForeignTrustDomain {
        /// The trust domain it names.
        named: TrustDomain,
    },
    /// The agent has nothing until it is resumed.
    AgentSuspended(Label),
    /// The agent has nothing any more.
    AgentRetired(Label),
    /// The agent is of another environment than the daemon, or of none.
    Environment {
        /// Which agent.
        agent: Label,
        /// What was said of it.
        its: Option<Label>,
    },
    /// No tool has the audience that was asked for.
    UnknownTool,
    /// Nothing there is granted to the agent.
    NoGrant {
        /// To whom.
        agent: Label,
        /// Where.
        tool: Label,
    },
    /// The grant has none of the scopes that were asked for.
    ScopeNotGranted {
        /// Which grant.
        grant: GrantId,
    },
    /// The grant's rate leaves no token now.
    RateReached {
        /// Which grant.
        grant: GrantId,
        /// When it leaves one.
        again_in: Duration,
    },
    /// The token that is exchanged ends before there could be another.
    SubjectExpired {
        /// What it leaves.
        left: Duration,
    },
    /// The token that is exchanged was taken back, or what it rests on.
    SubjectRevoked(Revocation),
    /// The token that is exchanged says who may act, and this caller is not.
    SubjectMayAct,
    /// The token that is exchanged is one of ours, but another agent's.
    SubjectOtherAgent,
    /// The token that is exchanged is one of ours, but for another tool.
    SubjectOtherAudience,
    /// The token that is exchanged has none of the scopes that are asked for and granted.
    SubjectScope,
    /// The rules leave less than a whole second of life.
    NoLifetime {
        /// What they leave.
        left: Duration,
    },
}

impl Reason {
    /// A stable word for audit records, metrics and programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoAgent => "no_agent",
            Self::NotItsAgent => "not_its_agent",
            Self::EntryExpired { .. } => "entry_expired",
            Self::ForeignTrustDomain { .. } => "foreign_trust_domain",
            Self::AgentSuspended(_) => "agent_suspended",
            Self::AgentRetired(_) => "agent_retired",
            Self::Environment { .. } => "environment",
            Self::UnknownTool => "unknown_tool",
            Self::NoGrant { .. } => "no_grant",
            Self::ScopeNotGranted { .. } => "scope_not_granted",
            Self::RateReached { .. } => "rate_reached",
            Self::SubjectExpired { .. } => "subject_expired",
            Self::SubjectRevoked(_) => "subject_revoked",
            Self::SubjectMayAct => "subject_may_act",
            Self::SubjectOtherAgent => "subject_other_agent",
            Self::SubjectOtherAudience => "subject_other_audience",
            Self::SubjectScope => "subject_scope",
            Self::NoLifetime { .. } => "no_lifetime",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgent => write!(f, "no entry that the caller matches belongs to an agent"),
            Self::NotItsAgent => write!(f, "the caller goes by a name that none of its agents has"),
            Self::EntryExpired { entry, since } => {
                let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                write!(f, "the entry {entry} has expired (at Unix time {since})")
            }
            Self::ForeignTrustDomain { named } => {
                write!(f, "the caller's SPIFFE ID names the trust domain {named}, which is not this daemon's")
            }
            Self::AgentSuspended(agent) => write!(f, "the agent {agent} is suspended"),
            Self::AgentRetired(agent) => write!(f, "the agent {agent} is retired"),
            Self::Environment { agent, its: Some(its) } => {
                write!(f, "the agent {agent} is of the environment {its}, which is not this daemon's")
            }
            Self::Environment { agent, its: None } => {
                write!(f, "the agent {agent} is of no environment, and this daemon has one")
            }
            Self::UnknownTool => write!(f, "no tool has the audience that was asked for"),
            Self::NoGrant { agent, tool } => write!(f, "the agent {agent} has no grant for the tool {tool}"),
            Self::ScopeNotGranted { grant } => {
                write!(f, "the grant {grant} has none of the scopes that were asked for")
            }
            Self::RateReached { grant, again_in } => {
                write!(f, "the rate of the grant {grant} leaves no token for {} ms", again_in.as_millis())
            }
            Self::SubjectExpired { left } => {
                write!(f, "the token that is exchanged ends in {} ms", left.as_millis())
            }
            Self::SubjectRevoked(what) => write!(f, "the token that is exchanged was revoked: {what:?}"),
            Self::SubjectMayAct => write!(f, "the token that is exchanged names another who may act"),
            Self::SubjectOtherAgent => write!(f, "the token that is exchanged is another agent's"),
            Self::SubjectOtherAudience => write!(f, "the token that is exchanged is for another tool"),
            Self::SubjectScope => {
                write!(f, "the token that is exchanged has none of the scopes that are asked for and granted")
            }
            Self::NoLifetime { left } => write!(f, "the rules leave {} ms of life", left.as_millis()),
        }
    }
}

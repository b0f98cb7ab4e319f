//! Why an agent gets no access token: what it is told, and what is recorded.

use std::time::Duration;

use super::{AccessAsked, Error, Issuer, WHAT};
use crate::{
    attest::{Attested, Caller},
    oauth::freshness,
    policy::{self, access::Reason},
    registry::Granted,
};

/// How much of an audience that no tool has is recorded, in characters.
const AUDIENCE_SHOWN: usize = 128;

/// Why an agent gets no access token: one variant for each answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ungranted {
    /// The caller is no agent, or not the one it says.
    #[error("the caller is no agent of this name")]
    NoAgent,
    /// The agent has nothing until somebody resumes it, if ever.
    #[error("the agent is suspended or retired")]
    Inactive,
    /// It is of another environment than the daemon, or of none: which they are is nobody's business.
    #[error("the agent is not registered for where it runs: ask whoever registered it")]
    Elsewhere,
    /// There is no such tool, or nothing there for this agent: which of the two is nobody's business.
    #[error("the resource is not one that this agent may use")]
    Target,
    /// Of what is asked for nothing is granted.
    #[error("none of the scopes that are asked for is granted")]
    Scope,
    /// The token that it presents for another is not good, or not its own to present.
    #[error("the subject token is refused")]
    Subject,
    /// With these scopes the token would be longer than one may be.
    #[error("the token would have {bytes} bytes, which are too many")]
    TooLong { bytes: usize },
    /// The same, where the names that it takes over from the token that is exchanged may be what makes it so.
    #[error("with the sub, iss and act of the subject token the new one would have {bytes} bytes, which are too many")]
    SubjectTooLong { bytes: usize },
    /// The key of the proof was revoked.
    #[error("the proof's key was revoked: make a new key")]
    Key,
    /// What a token would say is of a time before which nothing is good.
    #[error("no token that is issued now would be good")]
    NotYet {
        /// When one is.
        again_in: Duration,
    },
    /// The grant's rate leaves none now.
    #[error("the grant's rate is reached")]
    Rate {
        /// When it leaves one.
        again_in: Duration,
    },
    /// The proof was used before, or cannot be remembered.
    #[error("the proof is refused")]
    Proof(#[source] freshness::Refused),
    /// The caller is gone, or the daemon cannot answer.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Ungranted {
    /// The answer that goes with the most telling of these reasons: who asks, by what token, for what, what there, how
    /// often.
    fn of(reasons: &[Reason]) -> Self {
        let answers = reasons.iter().map(|reason| match reason {
            Reason::NoAgent
            | Reason::NotItsAgent
            | Reason::EntryExpired { .. }
            | Reason::ForeignTrustDomain { .. }
            | Reason::NoLifetime { .. } => (0, Self::NoAgent),
            Reason::AgentSuspended(_) | Reason::AgentRetired(_) => (1, Self::Inactive),
            Reason::Environment { .. } => (1, Self::Elsewhere),
            Reason::SubjectExpired { .. }
            | Reason::SubjectRevoked(_)
            | Reason::SubjectMayAct
            | Reason::SubjectOtherAgent => (2, Self::Subject),
            Reason::UnknownTool | Reason::NoGrant { .. } | Reason::SubjectOtherAudience => (3, Self::Target),
            Reason::ScopeNotGranted { .. } | Reason::SubjectScope => (4, Self::Scope),
            Reason::RateReached { again_in, .. } => (5, Self::Rate { again_in: *again_in }),
        });
        answers.min_by_key(|(rank, _)| *rank).map_or(Self::NoAgent, |(_, answer)| answer)
    }
}

impl Issuer {
    /// A proof of possession came that is not taken. Nothing was looked at beside it.
    pub(crate) fn proof_refused(&self, caller: &Caller, code: &'static str) {
        self.counters().refused(code);
        self.record_refusal(caller, None, WHAT, &[code], None).ok();
    }

    /// A token came to be exchanged that is not taken, whoever presents it.
    pub(crate) fn subject_refused(&self, caller: &Caller, code: &'static str) {
        self.proof_refused(caller, code);
    }

    /// Records why there is none, and says which answer that is.
    pub(super) fn refuse_access(
        &self,
        caller: &Caller,
        attested: &Attested,
        asked: &AccessAsked,
        granted: &Granted,
        reasons: Vec<Reason>,
    ) -> Ungranted {
        if granted.given.is_empty() {
            // As for every other kind of credential.
            let reasons = policy::Reason::of_nothing(granted.withheld.clone());
            self.refuse(caller, attested, WHAT, reasons);
            return Ungranted::NoAgent;
        }
        let mut detail: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        if reasons.contains(&Reason::UnknownTool) {
            let shown: String = asked.audience.escape_debug().take(AUDIENCE_SHOWN).collect();
            detail.push(format!("the audience is `{shown}`"));
        }
        self.refused(caller, attested, WHAT, reasons.iter().map(Reason::code), Some(detail.join("; ")));
        Ungranted::of(&reasons)
    }
}

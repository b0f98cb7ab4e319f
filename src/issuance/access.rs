//! Access tokens for one call: for an agent whose key was proved, for one tool, and kept by nobody.
//!
//! A caller is an agent by an entry that it matches. What it may do is judged by what stands in the registry in one
//! moment, and asked for again before the token leaves.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Error, Issuer, ROUNDS_MAX, credential::Credentials, rates::Taken};
use crate::{
    attest::{self, Attested, Caller},
    audit::{AccessIssued, Delegation},
    authority::{self, AccessToken, AuthorityId},
    oauth::{
        SCOPES_MAX, Thumbprint,
        access::{Claims, Subject},
        exchange::Parent,
        freshness,
        verify::Revocation,
    },
    policy::{
        self,
        access::{Exchanged, Judgement, Permit, Rate, Reason, Request, judge},
    },
    registry::{Agent, Given, Grant, Granted, Label, RevokedId, Scope, Snapshot, Tool},
    spiffe::Id,
};

/// How much of an audience that no tool has is recorded, in characters.
const AUDIENCE_SHOWN: usize = 128;
/// An agent, and each tool that it may use with the grant that says so.
pub(crate) type Described = (Arc<Agent>, Vec<(Arc<Tool>, Arc<Grant>)>);

/// The longest reason of a caller's, in bytes.
const REASON_BYTES_MAX: usize = 200;

/// Their kind, in records and counters.
const WHAT: &str = "access-token";

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessAsked {
    /// The name of one of its agents; without one, that of its oldest entry.
    client_id: Option<String>,
    /// Of the tool.
    audience: String,
    /// None is all that is granted.
    scopes: Vec<Scope>,
    ttl: Option<Duration>,
    /// From which token it is to be made, if from any.
    parent: Option<Parent>,
    /// For what it is wanted, as the caller says.
    reason: Option<String>,
}

/// What is wrong with the form of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// A token is for one tool.
    #[error("exactly one resource or audience must be named, not {0}")]
    Targets(usize),
    /// Not as RFC 6749 §3.3 has it, or too much.
    #[error("the scope is not valid: {0}")]
    Scope(String),
    /// Words that no record should have.
    #[error("the reason has control characters, or more than {REASON_BYTES_MAX} bytes")]
    Reason,
}

/// Why an agent gets no access token: one variant for each answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ungranted {
    /// The caller is no agent, or not the one it says.
    #[error("the caller is no agent of this name")]
    NoAgent,
    /// The agent has nothing until somebody resumes it, if ever.
    #[error("the agent is suspended or retired")]
    Inactive,
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

impl AccessAsked {
    /// Checks what a caller asks for: each `resource` and `audience` of the request, its `scope` as it stands there, and
    /// the seconds that the token is to live, 0 for as many as it may. An empty text says nothing (RFC 6749 §3.2).
    ///
    /// # Errors
    /// When there is not exactly one target, or the scope is none.
    pub(crate) fn new<'a>(
        client_id: &str,
        targets: impl IntoIterator<Item = &'a str>,
        scope: &str,
        ttl_seconds: u64,
    ) -> Result<Self, Malformed> {
        let targets: Vec<_> = targets.into_iter().filter(|target| !target.is_empty()).collect();
        let [audience] = targets.as_slice() else { return Err(Malformed::Targets(targets.len())) };
        let words = if scope.is_empty() { 0 } else { scope.split(' ').count() };
        if words > SCOPES_MAX {
            return Err(Malformed::Scope(format!("it has {words} scopes, at most {SCOPES_MAX} are allowed")));
        }
        let scopes = scope.split(' ').take(words).map(Scope::parse).collect::<Result<_, _>>();
        Ok(Self {
            client_id: (!client_id.is_empty()).then(|| client_id.to_owned()),
            audience: (*audience).to_owned(),
            scopes: scopes.map_err(|error| Malformed::Scope(error.to_string()))?,
            ttl: (ttl_seconds > 0).then(|| Duration::from_secs(ttl_seconds)),
            parent: None,
            reason: None,
        })
    }

    /// The same, in exchange for this token (RFC 8693).
    pub(crate) fn for_token(self, parent: Parent) -> Self {
        Self { parent: Some(parent), ..self }
    }

    /// The same, with what it is wanted for, in words for the records; an empty text says nothing.
    ///
    /// # Errors
    /// [`Malformed::Reason`] for words that records do not take.
    pub(crate) fn for_reason(self, reason: &str) -> Result<Self, Malformed> {
        if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
            return Err(Malformed::Reason);
        }
        Ok(Self { reason: (!reason.is_empty()).then(|| reason.to_owned()), ..self })
    }
}

/// What the registry says of an agent and what it asks for, in one moment.
#[derive(PartialEq)]
struct Facts<'s> {
    agent: Option<&'s Arc<Agent>>,
    tool: Option<&'s Arc<Tool>>,
    grant: Option<&'s Arc<Grant>>,
    /// Of the token that is exchanged, where that is one of ours.
    revocation: Option<Revocation>,
}

impl<'s> Facts<'s> {
    fn of(snapshot: &'s Snapshot, agent: &str, asked: &AccessAsked) -> Self {
        let catalog = snapshot.catalog();
        let tool = catalog.tool_of(&asked.audience);
        let grant = tool.and_then(|tool| catalog.grant(agent, tool.spec.name.as_str()));
        let own = asked.parent.as_ref().and_then(Parent::own);
        Self {
            agent: catalog.agent(agent),
            tool,
            grant,
            revocation: own.and_then(|claims| snapshot.revocation(claims)),
        }
    }

    /// From which second on tokens that rest on them count.
    fn tokens_from(&self) -> SystemTime {
        let Self { agent, tool, grant, revocation: _ } = self;
        let times = [
            agent.map(|agent| agent.tokens_from()),
            tool.map(|tool| tool.tokens_from()),
            grant.map(|grant| grant.tokens_from()),
        ];
        times.into_iter().flatten().max().unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// A judgement, with the token of the grant's rate that goes with a permit.
struct Judged<'s> {
    entry: &'s Given,
    agent: &'s Label,
    judgement: Judgement,
    taken: Option<Taken<'s>>,
}

impl Issuer {
    /// An access token for a caller, bound to the key of this thumbprint, which it has proved to hold. What it asks for is
    /// granted when `accept` is asked, once, and nothing is signed if that refuses.
    ///
    /// # Errors
    /// When the caller is no agent, may not have what it asks for, is gone, or the daemon cannot answer.
    pub(crate) async fn access(
        &self,
        caller: &Caller,
        asked: &AccessAsked,
        holder: Thumbprint,
        accept: impl FnOnce() -> Result<(), freshness::Refused>,
    ) -> Result<AccessToken, Ungranted> {
        let mut accept = Some(accept);
        for _ in 0..ROUNDS_MAX {
            let snapshot = self.registry().borrow().clone();
            let attested = self.attest(caller, &snapshot).await?;
            if !self.gives_still(&attested, &snapshot) {
                continue;
            }
            if self.is_resting() {
                return Err(Error::Stopping.into());
            }
            if snapshot.revocations().has(&RevokedId::Key(holder)) {
                self.refused(caller, &attested, WHAT, ["key_revoked"], None);
                return Err(Ungranted::Key);
            }
            let granted = self.granted(&attested, &snapshot);
            let judged = self.judge_access(&granted.given, &snapshot, asked);
            let (permit, entry, agent, taken) = match judged {
                Ok(Judged { entry, agent, judgement: Judgement::Permit(permit), taken }) => {
                    (permit, entry, agent, taken)
                }
                Ok(Judged { judgement: Judgement::Refuse(reasons), .. }) | Err(reasons) => {
                    if !self.holds(caller, &attested).await? {
                        continue;
                    }
                    return Err(self.refuse_access(caller, &attested, asked, &granted, reasons));
                }
            };
            let from = Facts::of(&snapshot, agent.as_str(), asked).tokens_from().max(snapshot.tokens_from(entry));
            self.wait_for_good_tokens(caller, &attested, from).await?;
            if let Some(accept) = accept.take() {
                accept().map_err(|refused| {
                    self.refused(caller, &attested, WHAT, [refused.code()], None);
                    Ungranted::Proof(refused)
                })?;
            }
            let token = self.sign_access(caller, &attested, entry, permit, asked, holder)?;
            // Last of all: it is still the process that was attested, and nothing was taken from it meanwhile.
            if self.holds(caller, &attested).await?
                && self.gives_still(&attested, &snapshot)
                && self.grants_still(agent, &snapshot, asked)
                && !self.present_registry().revocations().has(&RevokedId::Key(holder))
            {
                taken.into_iter().for_each(Taken::issued);
                let of_templates: Vec<_> = granted.withheld.iter().filter(|each| each.why.is_of_template()).collect();
                self.withheld(caller, &attested, WHAT, &of_templates);
                self.alive().add(&token, self.clock().now());
                return Ok(token);
            }
        }
        Err(Error::Attest(attest::Error::Unsteady).into())
    }

    /// A proof of possession came that is not taken. Nothing was looked at beside it.
    pub(crate) fn proof_refused(&self, caller: &Caller, code: &'static str) {
        self.counters().refused(code);
        self.record_refusal(caller, None, WHAT, &[code], None).ok();
    }

    /// A token came to be exchanged that is not taken, whoever presents it.
    pub(crate) fn subject_refused(&self, caller: &Caller, code: &'static str) {
        self.proof_refused(caller, code);
    }

    /// The agents that a caller is, in the order of its entries, each with the tools that it may use.
    ///
    /// # Errors
    /// When it is gone, or cannot be looked at.
    pub(crate) async fn described(&self, caller: &Caller) -> Result<Vec<Described>, Error> {
        let snapshot = self.registry().borrow().clone();
        let attested = self.attest(caller, &snapshot).await?;
        let granted = self.granted(&attested, &snapshot);
        if !self.holds(caller, &attested).await? {
            return Err(Error::Attest(attest::Error::Unsteady));
        }
        let catalog = snapshot.catalog();
        let mut names: Vec<&Label> = Vec::new();
        for name in granted.given.iter().filter_map(|entry| entry.spec.agent.as_ref()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let rights = |name: &Label| {
            let grants = catalog.grants(name.as_str()).iter();
            grants
                .filter_map(|grant| Some((catalog.tool(grant.spec.id.tool.as_str())?.clone(), grant.clone())))
                .collect()
        };
        let agents = names.into_iter().filter_map(|name| Some((catalog.agent(name.as_str())?.clone(), rights(name))));
        Ok(agents.collect())
    }

    fn judge_access<'s>(
        &'s self,
        given: &'s [Given],
        snapshot: &'s Snapshot,
        asked: &AccessAsked,
    ) -> Result<Judged<'s>, Vec<Reason>> {
        let (entry, agent) = find(given, asked)?;
        let Facts { agent: Some(known), tool, grant, revocation } = Facts::of(snapshot, agent.as_str(), asked) else {
            return Err(vec![Reason::NoAgent]);
        };
        let now = self.clock().now();
        let taken = grant.map(|grant| self.rates().take(&grant.spec.id, grant.spec.rate_per_minute, now)).transpose();
        let rate = taken.as_ref().err().map_or(Rate::Left, |again_in| Rate::Reached { again_in: *again_in });
        let request = Request {
            entry,
            agent: known,
            tool: tool.map(Arc::as_ref),
            grant: grant.map(Arc::as_ref),
            scopes: &asked.scopes,
            ttl: asked.ttl,
            rate,
            parent: asked.parent.as_ref().map(|token| Exchanged { token, revocation }),
        };
        let judgement = judge(&request, self.trust_domain(), now);
        Ok(Judged { entry, agent, judgement, taken: taken.ok().flatten() })
    }

    /// Whether the registry as it is now says the same of the agent and what it asked for.
    pub(super) fn grants_still(&self, agent: &Label, then: &Arc<Snapshot>, asked: &AccessAsked) -> bool {
        let now = self.registry().borrow().clone();
        let facts = |snapshot| Facts::of(snapshot, agent.as_str(), asked);
        Arc::ptr_eq(&now, then) || facts(&now) == facts(then)
    }

    /// Waits for the second from which on the agent's tokens for the tool count: after everything of the agent was
    /// revoked, after its entry became another, and after something was made again in the second in which another one of
    /// its name went.
    async fn wait_for_good_tokens(
        &self,
        caller: &Caller,
        attested: &Attested,
        from: SystemTime,
    ) -> Result<(), Ungranted> {
        self.wait_until(from).await;
        match from.duration_since(self.clock().now()).unwrap_or_default() {
            Duration::ZERO => Ok(()),
            again_in => {
                self.refused(caller, attested, WHAT, ["not_yet"], Some(format!("in {} s", again_in.as_secs())));
                Err(Ungranted::NotYet { again_in })
            }
        }
    }

    /// Has it signed and recorded.
    fn sign_access(
        &self,
        caller: &Caller,
        attested: &Attested,
        entry: &Given,
        permit: Permit,
        asked: &AccessAsked,
        holder: Thumbprint,
    ) -> Result<AccessToken, Ungranted> {
        let (issuer, now) = (self.access_issuer(), self.clock().now());
        let signed = self.signed(caller, entry, false, |keyring| {
            let issuer = issuer.ok_or(authority::Error::NoTokenKey)?;
            let token = keyring.sign_access(permit, issuer, holder, now)?;
            Ok(AccessToken { reason: asked.reason.clone(), ..token })
        });
        let signed = signed.map_err(|error| match error {
            Error::Sign(authority::Error::TooLong { bytes }) => {
                self.refused(caller, attested, WHAT, ["token_too_long"], Some(format!("it would have {bytes} bytes")));
                if asked.parent.is_some() { Ungranted::SubjectTooLong { bytes } } else { Ungranted::TooLong { bytes } }
            }
            error => error.into(),
        })?;
        let recorded = self.record(caller, attested, WHAT, vec![signed]);
        let token = recorded.given.into_iter().next().map(|(_, token)| token);
        token.ok_or_else(|| recorded.failure.unwrap_or(Error::Stopping).into())
    }

    /// Records why there is none, and says which answer that is.
    fn refuse_access(
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

/// The entry by which a caller is the agent that it says, or its oldest.
fn find<'s>(given: &'s [Given], asked: &AccessAsked) -> Result<(&'s Given, &'s Label), Vec<Reason>> {
    let mut of_agents = given.iter().filter_map(|entry| Some((entry, entry.spec.agent.as_ref()?))).peekable();
    if of_agents.peek().is_none() {
        return Err(vec![Reason::NoAgent]);
    }
    // A token of ours is exchanged by whom it was given to, if the caller is that.
    let own = asked.parent.as_ref().and_then(Parent::own);
    let is_holder = |entry: &Given, agent: &Label, own: &Claims| {
        agent.as_str() == own.client && entry.spiffe_id() == own.subject.agent()
    };
    let found = match (&asked.client_id, own) {
        (Some(name), None) => of_agents.find(|(_, agent)| agent.as_str() == name),
        (None, None) => of_agents.next(),
        (name, Some(own)) => {
            let all = of_agents.filter(|(_, agent)| name.as_ref().is_none_or(|name| agent.as_str() == name));
            let all: Vec<_> = all.collect();
            let holder = all.iter().find(|(entry, agent)| is_holder(entry, agent, own));
            holder.or(all.first()).copied()
        }
    };
    found.ok_or_else(|| vec![Reason::NotItsAgent])
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

/// Who acts for a user, where there is one.
fn delegation(subject: &Subject) -> Option<Delegation> {
    match subject {
        Subject::Agent(_) => None,
        Subject::User { name, issuer, agent, earlier } => Some(Delegation {
            subject: name.clone(),
            subject_issuer: issuer.clone(),
            actors: std::iter::once(agent.to_string()).chain(earlier.iter().map(|actor| actor.name.clone())).collect(),
        }),
    }
}

impl Credentials for AccessToken {
    fn id(&self) -> &Id {
        &self.token.id
    }

    fn serial(&self) -> &str {
        &self.token.serial
    }

    fn not_before(&self) -> SystemTime {
        self.token.not_before
    }

    fn not_after(&self) -> SystemTime {
        self.token.not_after
    }

    fn authority(&self) -> &AuthorityId {
        &self.token.authority
    }

    fn access(&self) -> Option<AccessIssued> {
        Some(AccessIssued {
            agent: self.agent.to_string(),
            tool: self.tool.to_string(),
            scopes: self.scopes.iter().map(Scope::to_string).collect(),
            jkt: self.holder.to_string(),
            lifetime_seconds: self.lifetime().as_secs(),
            delegation: delegation(&self.subject),
            parent_jti: self.parent.clone(),
            reason: self.reason.clone(),
        })
    }
}

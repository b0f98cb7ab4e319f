//! Access tokens for one call: for an agent whose key was proved, for one tool, and kept by nobody.
//!
//! A caller is an agent by an entry that it matches. What it may do is judged by what stands in the registry in one
//! moment, and asked for again before the token leaves.

mod asked;
mod described;
mod facts;
mod recorded;
mod refused;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Error, Issuer, ROUNDS_MAX, rates::Taken};
use crate::{
    attest::{self, Attested, Caller},
    authority::{self, AccessToken},
    oauth::{Thumbprint, freshness},
    policy::access::{Exchanged, Judgement, Permit, Rate, Reason, Request, judge},
    registry::{Given, Label, RevokedId, Snapshot},
};

use facts::{Facts, find};

pub(crate) use asked::{AccessAsked, Malformed};
pub(crate) use refused::Ungranted;

/// Their kind, in records and counters.
const WHAT: &str = "access-token";

/// A judgement, with the token of the grant's rate that goes with a permit.
struct Judged<'s> {
    entry: &'s Given,
    agent: &'s Label,
    judgement: Judgement,
    taken: Option<Taken<'s>>,
}

impl Issuer {
    /// An access token for a caller, bound to the key of this thumbprint, which it has proved to hold. What it asks for is
    /// granted when `accept` is asked, once, and nothing is signed if that refuses. When all else is found to be as it was,
    /// `stands` is asked whether what is exchanged is still believed; nothing leaves, and none is counted, if it refuses.
    ///
    /// # Errors
    /// When the caller is no agent, may not have what it asks for, is gone, or the daemon cannot answer.
    pub(crate) async fn access(
        &self,
        caller: &Caller,
        asked: &AccessAsked,
        holder: Thumbprint,
        accept: impl FnOnce() -> Result<(), freshness::Refused>,
        stands: impl Fn() -> Result<(), Ungranted>,
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
                stands()?;
                taken.into_iter().for_each(Taken::issued);
                let of_templates: Vec<_> = granted.withheld.iter().filter(|each| each.why.is_of_template()).collect();
                self.withheld(caller, &attested, WHAT, &of_templates);
                self.alive().add(&token, self.clock().now());
                return Ok(token);
            }
        }
        Err(Error::Attest(attest::Error::Unsteady).into())
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
            environment: self.environment(),
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
}

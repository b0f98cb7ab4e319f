//! The judgement itself.

use std::time::{Duration, SystemTime};

use crate::{registry::Given, spiffe::TrustDomain};

use super::{credential::Credential, permit::Permit, reason::Reason};

/// What holds for every request to this daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The trust domain it signs for.
    pub(crate) trust_domain: TrustDomain,
    /// How long X.509-SVIDs live.
    pub(crate) x509: Lifetimes,
    /// How long JWT-SVIDs live.
    pub(crate) jwt: Lifetimes,
    /// How long WIT-SVIDs live.
    pub(crate) wit: Lifetimes,
}

#[cfg(test)]
impl Rules {
    /// Everything lives so long, and no longer.
    pub(crate) fn in_test(trust_domain: TrustDomain, life: Duration) -> Self {
        let lifetimes = Lifetimes { default: life, max: life };
        Self { trust_domain, x509: lifetimes, jwt: lifetimes, wit: lifetimes }
    }
}

/// How long credentials of one kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    /// When the entry does not say.
    pub(crate) default: Duration,
    /// At most, whatever the entry says.
    pub(crate) max: Duration,
}

/// What is asked for: the identity of an entry that the caller's selectors match, as a credential of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The entry, and what it gives to this caller.
    pub(crate) entry: &'a Given,
    /// The kind of credential.
    pub(crate) credential: Credential,
}

/// Yes or no. A no is an answer, not an error.
#[derive(Debug)]
#[must_use = "a judgement that nobody looks at lets everything pass"]
pub(crate) enum Judgement {
    /// It may be issued, once.
    Permit(Permit),
    /// It may not; all reasons, at least one.
    Refuse(Vec<Reason>),
}

/// Judges a request. What is not permitted by all rules is refused, with every reason there is.
pub(crate) fn judge(request: &Request<'_>, rules: &Rules, now: SystemTime) -> Judgement {
    let entry = request.entry;
    let mut reasons = Vec::new();
    if !entry.spiffe_id().is_in(&rules.trust_domain) {
        let named = entry.spiffe_id().trust_domain();
        reasons.push(Reason::ForeignTrustDomain { entry: entry.id.clone(), named });
    }
    match entry.spec.expires_at {
        Some(since) if entry.is_expired(now) => {
            reasons.push(Reason::EntryExpired { entry: entry.id.clone(), since });
        }
        _ => {}
    }
    if !reasons.is_empty() {
        return Judgement::Refuse(reasons);
    }
    let left = lifetime(request, rules, now);
    let ttl = Duration::from_secs(left.as_secs());
    match ttl.is_zero() {
        true => Judgement::Refuse(vec![Reason::NoLifetime { entry: entry.id.clone(), left }]),
        false => Judgement::Permit(Permit::new(request, ttl)),
    }
}

/// The entry's own lifetime or the default, under the cap, and never beyond the entry's end.
fn lifetime(request: &Request<'_>, rules: &Rules, now: SystemTime) -> Duration {
    let spec = &request.entry.spec;
    let (own, rule) = match request.credential {
        Credential::X509 => (spec.x509_ttl, rules.x509),
        Credential::Jwt => (spec.jwt_ttl, rules.jwt),
        Credential::Wit => (spec.wit_ttl, rules.wit),
    };
    let ttl = own.unwrap_or(rule.default).min(rule.max);
    match spec.expires_at.map(|end| end.duration_since(now).unwrap_or_default()) {
        Some(left) => ttl.min(left),
        None => ttl,
    }
}

//! The judgement itself.

use std::time::{Duration, SystemTime};

use crate::{
    registry::{Entry, Grant},
    spiffe::TrustDomain,
};

use super::{permit::Permit, reason::Reason};

/// What holds for every request to this daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The trust domain it signs for.
    pub(crate) trust_domain: TrustDomain,
    /// How long an X.509-SVID lives when its entry does not say.
    pub(crate) x509_ttl_default: Duration,
    /// How long an X.509-SVID lives at most, whatever its entry says.
    pub(crate) x509_ttl_max: Duration,
}

/// What is asked for: the identity of an entry that the caller's selectors match, as an X.509-SVID.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The entry, and what it gives to this caller.
    pub(crate) entry: &'a Grant,
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
    let left = lifetime(entry, rules, now);
    let ttl = Duration::from_secs(left.as_secs());
    match ttl.is_zero() {
        true => Judgement::Refuse(vec![Reason::NoLifetime { entry: entry.id.clone(), left }]),
        false => Judgement::Permit(Permit::new(entry, ttl)),
    }
}

/// The entry's own lifetime or the default, under the cap, and never beyond the entry's end.
fn lifetime(entry: &Entry, rules: &Rules, now: SystemTime) -> Duration {
    let ttl = entry.spec.x509_ttl.unwrap_or(rules.x509_ttl_default).min(rules.x509_ttl_max);
    match entry.spec.expires_at.map(|end| end.duration_since(now).unwrap_or_default()) {
        Some(left) => ttl.min(left),
        None => ttl,
    }
}

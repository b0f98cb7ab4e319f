//! The one thing that a signature costs.

use std::time::{Duration, SystemTime};

use super::{Credential, Request};
use crate::spiffe::Id;

/// Leave to issue one credential of one kind. Only this room makes one; it cannot be copied, and whoever signs takes
/// it by value.
#[derive(Debug)]
#[must_use = "a permit is spent by signing"]
pub(crate) struct Permit {
    credential: Credential,
    id: Id,
    common_name: Option<String>,
    dns_names: Vec<String>,
    ttl: Duration,
    expires_at: Option<SystemTime>,
}

impl Permit {
    // INVARIANT: called by `judge` alone, after every rule.
    pub(super) fn new(request: &Request<'_>, ttl: Duration) -> Self {
        let entry = request.entry;
        Self {
            credential: request.credential,
            id: entry.spiffe_id().clone(),
            common_name: entry.spec.common_name().map(str::to_owned),
            dns_names: entry.spec.dns_names.clone(),
            ttl,
            expires_at: entry.spec.expires_at,
        }
    }

    /// What may be issued.
    pub(crate) fn credential(&self) -> Credential {
        self.credential
    }

    /// Whose SVID it is.
    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    /// The one name in its subject, if it has any.
    pub(crate) fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The DNS names it may carry, and no others.
    pub(crate) fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// How long it may live from now on; whole seconds, at least one. What [`Permit::expires_at`] leaves
    /// is in it already.
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The moment after which it must not live, however late it is signed.
    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}

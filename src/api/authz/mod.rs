//! Where proxies and services have requests verified: whether the access token of a request is good for it (RFC 9068,
//! RFC 9449 §7). One verifier for every door; what it knows of tools and agents is of one moment.

mod pages;
mod view;

use std::sync::Arc;

use zeroize::Zeroizing;

use self::view::View;
use super::pages::Pages;
use crate::{
    audit::{self, Record, Urgency},
    authority::TokenKeys,
    issuance::Issuer,
    oauth::{
        freshness::Settings,
        verify::{Refusal, Request, Verified, Verifier},
    },
    sys::{Clock, chain, counters::Counters},
};

/// The verifier of one daemon.
pub(crate) struct Authz {
    verifier: Verifier,
    issuer: Arc<Issuer>,
    /// The `iss` of tokens.
    name: String,
    log: audit::Log,
    clock: Clock,
    counters: Arc<Counters>,
}

impl Authz {
    /// A verifier that has seen no proof yet. `name` is the `iss` of tokens; the secret is 256 random bits of this
    /// process.
    pub(crate) fn new(
        issuer: Arc<Issuer>,
        name: String,
        secret: &Zeroizing<[u8; 32]>,
        settings: Settings,
        (log, clock, counters): (audit::Log, Clock, Arc<Counters>),
    ) -> Self {
        Self { verifier: Verifier::new(secret, settings, clock.now()), issuer, name, log, clock, counters }
    }

    /// The verifier as pages, for proxies that ask by HTTP.
    pub(crate) fn pages(self: Arc<Self>) -> Arc<dyn Pages> {
        Arc::new(pages::Verify(self))
    }

    /// Judges a request that a proxy was sent. A refusal is counted and recorded. `None` while there are no keys, and when
    /// another process takes this one's place: it knows what is used and taken away from then on.
    fn verify(&self, asker: &audit::Caller, request: &Request<'_>) -> Option<Result<Verified, Refusal>> {
        if self.issuer.is_resting() {
            return None;
        }
        let keyring = self.issuer.present_keyring();
        let snapshot = self.issuer.present_registry();
        let (wit, jwt) = (keyring.wit().map(TokenKeys::bundle), keyring.jwt().map(TokenKeys::bundle));
        let view = View::new(&self.name, keyring.access()?.bundle(), &snapshot).with_svids(wit, jwt);
        let judged = self.verifier.verify(request, &view, self.clock.now());
        self.counters.verified(judged.as_ref().err().map(|refusal| refusal.reason.code()));
        if let Err(refusal) = &judged {
            self.record(asker, refusal, request);
        }
        Some(judged)
    }

    fn record(&self, asker: &audit::Caller, refusal: &Refusal, request: &Request<'_>) {
        /// Of a URL, in bytes; it is ASCII.
        const SHOWN: usize = 256;
        let target = request.target.to_string();
        let target = target.get(..SHOWN).unwrap_or(&target);
        let kind = refusal.kind.map(|kind| format!("{kind} ")).unwrap_or_default();
        let detail = Some(format!("{kind}{} {target}", request.method.get(..16).unwrap_or(request.method)));
        let (caller, reasons) = (asker.clone(), vec![refusal.reason.code()]);
        let record = Record::Refused { caller, what: "request", reasons, detail };
        // Nothing passes without one; that there is none is for the operator.
        if let Err(error) = self.log.append(&record, Urgency::Ordinary)
            && self.counters.is_worth_a_line(asker.uid)
        {
            tracing::error!(error = %chain(&error), "audit log takes no record");
        }
    }
}

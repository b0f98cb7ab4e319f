//! Where proxies and services have requests verified: whether the access token of a request is good for it (RFC 9068,
//! RFC 9449 §7). One verifier for every door; what it knows of tools and agents is of one moment.

mod calls;
mod envoy;
mod pages;
mod refused;
mod request;
mod view;

#[cfg(any(fuzzing, test))]
pub(crate) use self::envoy::sent as sent_by_envoy;

use std::sync::Arc;

use http::HeaderName;
use serde_json::json;
use tokio::sync::watch;
use tonic::{Status, service::Routes};
use tonic_health::server::HealthReporter;
use zeroize::Zeroizing;

use self::{
    refused::Refused,
    request::{Malformed, Sent},
    view::View,
};
use super::{pages::Pages, standard::add_standard, status};
use crate::{
    attest::Caller,
    audit::{self, Record, Urgency},
    authority::TokenKeys,
    issuance::Issuer,
    oauth::{
        dpop::ALGORITHMS,
        freshness::Settings,
        issuer::{IssuerName, Issuers},
        metadata,
        target::Target,
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
    /// Others, whose tokens tools may take.
    issuers: watch::Receiver<Arc<Issuers>>,
    log: audit::Log,
    clock: Clock,
    counters: Arc<Counters>,
}

impl Authz {
    /// A verifier that has seen no proof yet. `name` is the `iss` of tokens, `issuers` are
    /// others that are pinned; the secret is 256 random bits of this
    /// process.
    pub(crate) fn new(
        issuer: Arc<Issuer>,
        name: String,
        issuers: watch::Receiver<Arc<Issuers>>,
        secret: &Zeroizing<[u8; 32]>,
        settings: Settings,
        (log, clock, counters): (audit::Log, Clock, Arc<Counters>),
    ) -> Self {
        Self { verifier: Verifier::new(secret, settings, clock.now()), issuer, name, issuers, log, clock, counters }
    }

    /// The verifier as pages, for proxies that ask by HTTP, and that say the client's certificate in this header, if any.
    pub(crate) fn pages(self: Arc<Self>, certificate: Option<HeaderName>) -> Arc<dyn Pages> {
        Arc::new(pages::Verify { authz: self, certificate })
    }

    /// The verifier as calls, for Envoy and for services, with health and reflection. None of them asks for the security
    /// header.
    pub(crate) fn routes(self: &Arc<Self>, message_bytes_max: usize, health: &HealthReporter) -> Routes {
        const NAMES: [&str; 2] = ["envoy.service.auth.v3.Authorization", "dayfly.v1.Authz"];
        let mut routes = Routes::builder();
        routes.add_service(envoy::service(self.clone(), message_bytes_max));
        routes.add_service(calls::service(self.clone(), message_bytes_max));
        add_standard(&mut routes, &NAMES, health, |request: tonic::Request<()>| Ok(request));
        routes.routes().prepare()
    }

    /// Judges what a door was sent; what is no request is refused too.
    ///
    /// # Errors
    /// Unavailable, when [`Authz::verify`] cannot tell.
    fn judge(
        &self,
        asker: &audit::Caller,
        sent: Result<Sent<'_>, Malformed>,
    ) -> Result<Result<Verified, Refused>, Status> {
        let (sent, target) = match sent.and_then(|sent| sent.target().map(|target| (sent, target))) {
            Ok(whole) => whole,
            Err(malformed) => {
                self.counters.verified(Some("request_malformed"));
                return Ok(Err(malformed.into()));
            }
        };
        let judged = self.verify(asker, &sent.request(&target)).ok_or_else(status::not_now)?;
        Ok(judged.map_err(|refusal| refusal.challenge.into()))
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
        let issuers = self.issuers.borrow().clone();
        let view = View::new(&self.name, keyring.access()?.bundle(), &issuers, &snapshot).with_svids(wit, jwt);
        let view = view.in_environment(self.issuer.environment());
        let judged = self.verifier.verify(request, &view, self.clock.now());
        self.counters.verified(judged.as_ref().err().map(|refusal| refusal.reason.code()));
        if let Err(refusal) = &judged {
            self.record(asker, refusal, request);
        }
        Some(judged)
    }

    /// What the tool needs whose metadata is at this URL (RFC 9728 §2), as JSON.
    fn metadata(&self, url: &Target) -> Option<String> {
        let snapshot = self.issuer.present_registry();
        let catalog = snapshot.catalog();
        let tool = metadata::audiences(url)?.iter().find_map(|audience| catalog.tool_of(audience).cloned())?;
        let issuers = self.issuers.borrow().clone();
        let others = tool.spec.accepts.issuers.iter().map(IssuerName::as_str);
        let others = others.filter(|name| issuers.get(name).is_some());
        let servers = std::iter::once(self.name.as_str()).chain(others);
        let mtls = tool.spec.accepts.mtls;
        let said = json!({
            "resource": &*tool.spec.audience,
            "authorization_servers": servers.collect::<Vec<_>>(),
            "scopes_supported": tool.spec.scopes.iter().map(|(scope, _)| scope.as_str()).collect::<Vec<_>>(),
            // Tokens are bound to keys: a bearer has no way, unless his certificate is looked at.
            "bearer_methods_supported": if mtls { &["header"][..] } else { &[] },
            "dpop_bound_access_tokens_required": !mtls,
            "tls_client_certificate_bound_access_tokens": mtls,
            "dpop_signing_alg_values_supported": ALGORITHMS.split(' ').collect::<Vec<_>>(),
        });
        Some(said.to_string())
    }

    fn record(&self, asker: &audit::Caller, refusal: &Refusal, request: &Request<'_>) {
        /// Of a URL, in bytes; it is ASCII.
        const SHOWN: usize = 256;
        let target = request.target.to_string();
        let shown = |text: &str| text.get(..SHOWN).unwrap_or(text).to_owned();
        let kind = refusal.kind.map(|kind| format!("{kind} ")).unwrap_or_default();
        let issuer = refusal.issuer.as_ref().map(|name| format!("{} ", shown(name.as_str()))).unwrap_or_default();
        let target = shown(&target);
        let details =
            refusal.details().iter().map(|(name, value)| format!(" {name}={}", shown(value))).collect::<String>();
        let method = request.method.get(..16).unwrap_or(request.method);
        let detail = Some(format!("{kind}{issuer}{method} {target}{details}"));
        let holder = refusal.bearer.as_ref().map(|bearer| bearer.client.clone());
        let (caller, reasons) = (asker.clone(), vec![refusal.reason.code()]);
        let record = Record::Refused { caller, what: "request", reasons, detail, holder };
        // Behind one proxy are all of its clients: who has no token does not hide who has stolen one, nor one agent another.
        let urgency = if refusal.bearer.is_some() { Urgency::Ordinary } else { Urgency::Slight };
        // Nothing passes without one; that there is none is for the operator.
        if let Err(error) = self.log.append(&record, urgency)
            && self.counters.is_worth_a_line(asker.uid)
        {
            tracing::error!(error = %chain(&error), "audit log takes no record");
        }
    }
}

/// Who asks, for the records: a proxy, not its client.
fn asker(caller: &Caller) -> audit::Caller {
    let peer = caller.peer();
    audit::Caller { pid: peer.pid(), uid: peer.uid(), gid: peer.gid(), exe: None }
}

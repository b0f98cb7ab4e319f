//! Foreign bundles on the wire: `dayfly.v1.Bundles`.

use std::collections::BTreeMap;

use bytes::Bytes;
use tonic::{Request, Response, Status, async_trait};

use super::{caller, wire::unix_seconds};
use crate::{
    api::status,
    issuance::foreign::{Bundle, Office},
    pb::admin::{self as pb, bundles_server},
    registry::Snapshot,
    spiffe::TrustDomain,
    sys::threads::aside,
};

/// The service.
pub(super) struct Bundles {
    office: Office,
}

impl Bundles {
    pub(super) fn new(office: Office) -> Self {
        Self { office }
    }

    /// How many entries federate with each trust domain. It walks over all entries: done aside.
    async fn entries(&self) -> Result<BTreeMap<TrustDomain, u64>, Status> {
        let snapshot = self.office.registry().borrow().clone();
        aside(move || count(&snapshot)).await.map_err(|_| status::panicked())
    }
}

#[async_trait]
impl bundles_server::Bundles for Bundles {
    async fn set(&self, request: Request<pb::SetBundleRequest>) -> Result<Response<pb::SetBundleResponse>, Status> {
        let author = caller(&request)?.into();
        let pb::SetBundleRequest { trust_domain, document } = request.into_inner();
        let outcome = self.office.set(author, &trust_domain, document).await?;
        let bundle = Some(encode(&outcome.bundle, number(outcome.entries)));
        let (changed, warnings) = (outcome.is_changed, outcome.warnings);
        Ok(Response::new(pb::SetBundleResponse { bundle, changed, warnings }))
    }

    async fn list(
        &self,
        request: Request<pb::ListBundlesRequest>,
    ) -> Result<Response<pb::ListBundlesResponse>, Status> {
        let present = self.office.foreign().borrow().clone();
        let total = number(present.len());
        if request.get_ref().count_only {
            return Ok(Response::new(pb::ListBundlesResponse { bundles: Vec::new(), total }));
        }
        let entries = self.entries().await?;
        let of = |bundle: &Bundle| entries.get(bundle.document().trust_domain()).copied().unwrap_or_default();
        let bundles = present.iter().map(|bundle| encode(bundle, of(bundle))).collect();
        Ok(Response::new(pb::ListBundlesResponse { bundles, total }))
    }

    async fn show(&self, request: Request<pb::ShowBundleRequest>) -> Result<Response<pb::Bundle>, Status> {
        let bundle = self.office.show(&request.get_ref().trust_domain)?;
        let entries = self.entries().await?.get(bundle.document().trust_domain()).copied().unwrap_or_default();
        Ok(Response::new(pb::Bundle { document: bundle.json().clone(), ..encode(&bundle, entries) }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteBundleRequest>,
    ) -> Result<Response<pb::DeleteBundleResponse>, Status> {
        let author = caller(&request)?.into();
        let pb::DeleteBundleRequest { trust_domain, force } = request.into_inner();
        let outcome = self.office.delete(author, &trust_domain, force).await?;
        Ok(Response::new(pb::DeleteBundleResponse { entries: number(outcome.entries) }))
    }
}

fn count(registry: &Snapshot) -> BTreeMap<TrustDomain, u64> {
    let mut counts = BTreeMap::new();
    for name in registry.entries().flat_map(|entry| &entry.spec.federates_with) {
        match counts.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(counts.insert(name.clone(), 1)),
        }
    }
    counts
}

fn encode(bundle: &Bundle, entries: u64) -> pb::Bundle {
    let document = bundle.document();
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    pb::Bundle {
        trust_domain: document.trust_domain().to_string(),
        document: Bytes::new(),
        x509_authorities: small(document.x509().authorities().len()),
        jwt_keys: small(document.jwt().len()),
        wit_keys: small(document.wit().len()),
        sequence: document.sequence(),
        revision: bundle.revision(),
        changed_at: unix_seconds(bundle.changed_at()),
        entries,
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

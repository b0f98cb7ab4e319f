//! The SPIFFE Workload API: X.509-SVIDs and bundles.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::server::HealthReporter;

use super::{
    sealed::{Nothing, seal},
    standard::add_standard,
    status,
};
use crate::{
    attest::Caller,
    authority::Svid,
    issuance::{
        Bundles, Issuer, Update,
        foreign::{Kind, View},
    },
    pb::workload::{
        self as pb,
        spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer},
    },
};

/// `SpiffeWorkloadAPI` for the callers of one daemon.
struct Workload {
    issuer: Arc<Issuer>,
}

/// What the workload socket serves: the Workload API, health and reflection. All of it asks for the security header.
pub(crate) fn workload_routes(issuer: Arc<Issuer>, message_bytes_max: usize, health: &HealthReporter) -> Routes {
    let workload = SpiffeWorkloadApiServer::new(Workload { issuer }).max_decoding_message_size(message_bytes_max);
    let mut routes = Routes::builder();
    routes.add_service(workload);
    // The connection has asked for the header already.
    add_standard(&mut routes, &["SpiffeWorkloadAPI"], health, |request: Request<()>| Ok(request));
    routes.routes().prepare()
}

/// The caller of a request, put there by the connection.
fn caller<T>(request: &Request<T>) -> Result<Arc<Caller>, Status> {
    request.extensions().get::<Arc<Caller>>().cloned().ok_or_else(status::panicked)
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Workload {
    type FetchX509SVIDStream = Nothing<pb::X509svidResponse>;
    type FetchX509BundlesStream = Nothing<pb::X509BundlesResponse>;
    type FetchJWTBundlesStream = Nothing<pb::JwtBundlesResponse>;
    type FetchWITSVIDStream = Nothing<pb::WitsvidResponse>;
    type FetchWITBundlesStream = Nothing<pb::WitBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<pb::X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let mut feed = self.issuer.x509(caller(&request)?);
        // The first answer is awaited here, so that a refusal is the result of the call and not an item of it.
        let first = encode(feed.next().await?);
        let later = stream::unfold(Some(feed), |feed| async {
            let mut feed = feed?;
            match feed.next().await {
                Ok(update) => Some((Ok(encode(update)), Some(feed))),
                Err(error) => Some((Err(error.into()), None)),
            }
        });
        Ok(seal(with_first(first, later)))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<pb::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let mut feed = self.issuer.bundles(Kind::X509, caller(&request)?);
        let encode = |bundles| pb::X509BundlesResponse { crl: Vec::new(), bundles: map(bundles) };
        let first = encode(feed.next().await?);
        let later = stream::unfold(Some(feed), move |feed| async move {
            let mut feed = feed?;
            match feed.next().await {
                Ok(bundle) => Some((Ok(encode(bundle)), Some(feed))),
                Err(error) => Some((Err(error.into()), None)),
            }
        });
        Ok(seal(with_first(first, later)))
    }

    async fn fetch_jwtsvid(&self, _: Request<pb::JwtsvidRequest>) -> Result<Response<pb::JwtsvidResponse>, Status> {
        Err(status::not_offered())
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<pb::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        Err(status::not_offered())
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<pb::ValidateJwtsvidRequest>,
    ) -> Result<Response<pb::ValidateJwtsvidResponse>, Status> {
        Err(status::not_offered())
    }

    async fn fetch_witsvid(
        &self,
        _: Request<pb::WitsvidRequest>,
    ) -> Result<Response<Self::FetchWITSVIDStream>, Status> {
        Err(status::not_offered())
    }

    async fn fetch_wit_bundles(
        &self,
        _: Request<pb::WitBundlesRequest>,
    ) -> Result<Response<Self::FetchWITBundlesStream>, Status> {
        Err(status::not_offered())
    }
}

/// All bundles by the IDs of their trust domains.
fn map(bundles: Bundles) -> HashMap<String, Bytes> {
    let Bundles { own: (own, value), federated } = bundles;
    by_id(federated).chain([(own.id(), value)]).collect()
}

fn by_id(view: View) -> impl Iterator<Item = (String, Bytes)> {
    view.into_iter().map(|(name, value)| (name.id(), value))
}

fn with_first<T>(first: T, later: impl Stream<Item = Result<T, Status>>) -> impl Stream<Item = Result<T, Status>> {
    use futures_util::StreamExt as _;
    stream::once(std::future::ready(Ok(first))).chain(later)
}

/// Lends the key to the encoder, which copies it once, into the frame that leaves.
struct Key(Arc<Svid>);

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.0.key.expose()
    }
}

fn encode(update: Update) -> pb::X509svidResponse {
    let svids = update.identities.iter().map(|one| pb::X509svid {
        spiffe_id: one.svid.id.to_string(),
        x509_svid: one.svid.chain.clone(),
        x509_svid_key: Bytes::from_owner(Key(one.svid.clone())),
        bundle: update.bundle.clone(),
        hint: one.hint.clone(),
    });
    let svids = svids.collect();
    pb::X509svidResponse { svids, crl: Vec::new(), federated_bundles: by_id(update.federated).collect() }
}

//! The SPIFFE Workload API: SVIDs of all three kinds, their bundles, and the judgement of others' JWT-SVIDs.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream};
use prost::Message;
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::server::HealthReporter;
use zeroize::Zeroize as _;

use super::{
    allowance::Allowance,
    claims,
    connection::Workload,
    sds,
    sealed::{Nothing, Wiped, seal, seal_one},
    standard::add_standard,
    status,
    token::{Endpoint, token_service},
};
use crate::{
    authority::Svid,
    issuance::{
        Audiences, BundleFeed, Bundles, Feed, Issuer, Kind, Labelled, Question, Update, Wanted, WitSvid, foreign::View,
    },
    pb::workload::{
        self as pb,
        spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer},
    },
    policy::Credential,
    sys::Secret,
};

/// `SpiffeWorkloadAPI` for the callers of one daemon.
struct Api {
    issuer: Arc<Issuer>,
    /// Whether WIT-SVIDs are offered.
    offers_wit: bool,
}

/// What the workload socket serves: the Workload API, access tokens, Envoy's secret discovery, health and reflection. All
/// of it but Envoy's asks for the security header.
pub(crate) fn workload_routes(
    issuer: Arc<Issuer>,
    tokens: Arc<Endpoint>,
    offers_wit: bool,
    message_bytes_max: usize,
    health: &HealthReporter,
) -> Routes {
    let sds = sds::service(issuer.clone());
    let api = SpiffeWorkloadApiServer::new(Api { issuer, offers_wit }).max_decoding_message_size(message_bytes_max);
    let mut routes = Routes::builder();
    routes.add_service(api);
    routes.add_service(token_service(tokens, message_bytes_max));
    routes.add_service(sds);
    // The connection has asked for the header already.
    add_standard(
        &mut routes,
        &["SpiffeWorkloadAPI", "dayfly.v1.Token", sds::SERVICE],
        health,
        |request: Request<()>| Ok(request),
    );
    routes.routes().prepare()
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Api {
    type FetchX509SVIDStream = Nothing<pb::X509svidResponse>;
    type FetchX509BundlesStream = Nothing<pb::X509BundlesResponse>;
    type FetchJWTBundlesStream = Nothing<pb::JwtBundlesResponse>;
    type FetchWITSVIDStream = Nothing<pb::WitsvidResponse>;
    type FetchWITBundlesStream = Nothing<pb::WitBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<pb::X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let Workload { caller, allowance, .. } = Workload::of(&request)?;
        let mut feed = self.issuer.x509(caller);
        // The first answer is awaited here, so that a refusal is the result of the call and not an item of it.
        let first = x509_svids(feed.next().await?);
        seal(first, messages(feed, x509_svids), allowance)
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<pb::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let Workload { caller, allowance, .. } = Workload::of(&request)?;
        let feed = self.issuer.bundles(Credential::X509, caller);
        bundles(feed, |bundles| pb::X509BundlesResponse { crl: Vec::new(), bundles }, allowance).await
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<pb::JwtsvidRequest>,
    ) -> Result<Response<pb::JwtsvidResponse>, Status> {
        let Workload { caller, allowance, .. } = Workload::of(&request)?;
        let pb::JwtsvidRequest { audience, spiffe_id } = request.into_inner();
        let (audiences, wanted) = (Audiences::new(audience)?, Wanted::parse(&spiffe_id)?);
        let tokens = self.issuer.jwt(&caller, &audiences, &wanted).await?;
        seal_one(pb::JwtsvidResponse { svids: tokens.iter().map(jwt_svid).collect() }, &allowance)
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<pb::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let Workload { caller, allowance, .. } = Workload::of(&request)?;
        let feed = self.issuer.bundles(Credential::Jwt, caller);
        bundles(feed, |bundles| pb::JwtBundlesResponse { bundles }, allowance).await
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<pb::ValidateJwtsvidRequest>,
    ) -> Result<Response<pb::ValidateJwtsvidResponse>, Status> {
        let Workload { caller, allowance, .. } = Workload::of(&request)?;
        let pb::ValidateJwtsvidRequest { audience, svid } = request.into_inner();
        let question = Question::new(audience, svid)?;
        let validated = self.issuer.judge_jwt(&caller, &question).await?.map_err(|error| status::not_valid(&error))?;
        let (spiffe_id, claims) = (validated.id.to_string(), Some(claims::shown(&validated.claims)));
        seal_one(pb::ValidateJwtsvidResponse { spiffe_id, claims }, &allowance)
    }

    async fn fetch_witsvid(
        &self,
        request: Request<pb::WitsvidRequest>,
    ) -> Result<Response<Self::FetchWITSVIDStream>, Status> {
        if !self.offers_wit {
            return Err(status::not_offered());
        }
        let Workload { caller, keys, allowance } = Workload::of(&request)?;
        let wanted = Wanted::parse(&request.into_inner().spiffe_id)?;
        let mut feed = self.issuer.wit(caller, wanted, keys);
        let first = wit_svids(&feed.next().await?);
        seal(first, messages(feed, |update| wit_svids(&update)), allowance)
    }

    async fn fetch_wit_bundles(
        &self,
        request: Request<pb::WitBundlesRequest>,
    ) -> Result<Response<Self::FetchWITBundlesStream>, Status> {
        if !self.offers_wit {
            return Err(status::not_offered());
        }
        let Workload { caller, allowance, .. } = Workload::of(&request)?;
        let feed = self.issuer.bundles(Credential::Wit, caller);
        let encode =
            |bundles: HashMap<_, _>| pb::WitBundlesResponse { bundles: bundles.into_iter().map(texts).collect() };
        bundles(feed, encode, allowance).await
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

/// The messages of a stream of bundles. As everywhere, a refusal is the result of the call.
async fn bundles<T: Message + Wiped + 'static>(
    mut feed: BundleFeed,
    encode: fn(HashMap<String, Bytes>) -> T,
    allowance: Allowance,
) -> Result<Response<Nothing<T>>, Status> {
    let first = encode(map(feed.next().await?));
    let later = stream::unfold(Some(feed), move |feed| async move {
        let mut feed = feed?;
        match feed.next().await {
            Ok(bundles) => Some((Ok(encode(map(bundles))), Some(feed))),
            Err(error) => Some((Err(error.into()), None)),
        }
    });
    seal(first, later, allowance)
}

/// The messages after the first: one for each change, until the feed ends.
fn messages<K: Kind, T>(
    feed: Feed<K>,
    encode: impl Fn(Update<K::Signed>) -> T + Clone + Send,
) -> impl Stream<Item = Result<T, Status>> {
    stream::unfold(Some(feed), move |feed| {
        let encode = encode.clone();
        async move {
            let mut feed = feed?;
            match feed.next().await {
                Ok(update) => Some((Ok(encode(update)), Some(feed))),
                Err(error) => Some((Err(error.into()), None)),
            }
        }
    })
}

/// Lends the key to the encoder, which copies it once, into the frame that leaves.
struct Key(Arc<Svid>);

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.0.key.expose()
    }
}

fn x509_svids(update: Update<Svid>) -> pb::X509svidResponse {
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

fn jwt_svid(one: &Labelled) -> pb::Jwtsvid {
    pb::Jwtsvid { spiffe_id: one.token.id.to_string(), svid: text(&one.token.text), hint: one.hint.clone() }
}

fn wit_svids(update: &Update<WitSvid>) -> pb::WitsvidResponse {
    let svids = update.identities.iter().map(|one| pb::Witsvid {
        spiffe_id: one.svid.token.id.to_string(),
        wit_svid: text(&one.svid.token.text),
        wit_svid_key: one.svid.key.expose().to_owned(),
        hint: one.hint.clone(),
    });
    pb::WitsvidResponse { svids: svids.collect() }
}

/// A JWK Set is text.
fn texts((id, document): (String, Bytes)) -> (String, String) {
    (id, String::from_utf8_lossy(&document).into_owned())
}

/// A token's text, which is ASCII.
fn text(token: &Secret) -> String {
    String::from_utf8_lossy(token.expose()).into_owned()
}

impl Wiped for pb::X509svidResponse {}
impl Wiped for pb::X509BundlesResponse {}
impl Wiped for pb::JwtBundlesResponse {}
impl Wiped for pb::WitBundlesResponse {}
impl Wiped for pb::ValidateJwtsvidResponse {}

impl Wiped for pb::JwtsvidResponse {
    fn wipe(&mut self) {
        self.svids.iter_mut().for_each(|one| one.svid.zeroize());
    }
}

impl Wiped for pb::WitsvidResponse {
    fn wipe(&mut self) {
        self.svids.iter_mut().for_each(|one| one.wit_svid_key.zeroize());
    }
}

//! What is protected, by which keys, and the judgement of one request.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::rand;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header::AUTHORIZATION};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    oauth::{
        Scope,
        access::{self, Claims, JwksError, Keys},
        challenge::Challenge,
        freshness::Settings,
        target::{self, Base, Route, Target},
        verify::{AgentState, Registry, Request, Resource, Revocation, Verified, Verifier},
    },
    spiffe::{TrustDomain, jose::SignError},
    sys::Clock,
};

const PROOF: HeaderName = HeaderName::from_static("dpop");

/// What a service protects.
#[derive(Clone, Debug)]
pub struct Protected {
    /// The trust domain of the daemon that issues tokens.
    pub trust_domain: TrustDomain,
    /// The `iss` of tokens: `https://TRUST-DOMAIN/oauth`, if the daemon's configuration says no other.
    pub issuer: String,
    /// The service's name, for records.
    pub name: String,
    /// The `aud` of tokens for it.
    pub audience: String,
    /// Where it is, as its clients see it. A request's own `Host` is not believed.
    pub base_url: Base,
    /// Which requests there are, and the scope that each needs. What fits none is refused.
    pub routes: Vec<(Route, Scope)>,
}

/// A verifier of the requests of one service, with the proofs that it has seen.
///
/// It knows no keys until it is given some; until then nobody passes.
pub struct ResourceServer {
    protected: Protected,
    verifier: Verifier,
    keys: RwLock<Option<Arc<Keys>>>,
    /// Counts the sets of keys.
    epoch: AtomicU64,
    clock: Clock,
}

/// Why keys were not taken; those that were there stay.
pub type SetKeysError = JwksError;

/// Why a request does not pass.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// What to answer.
    #[error("the request is refused: {code}")]
    Challenged {
        /// A stable code, for records alone.
        code: &'static str,
        /// For the client.
        challenge: Challenge,
    },
    /// There are no keys yet: 503.
    #[error("no keys of the issuer are known yet")]
    NoKeys,
    /// The URL is none that has one meaning: 400.
    #[error("the request's URL is malformed")]
    Url(#[from] target::Error),
}

impl Refused {
    /// What to answer, and no more.
    pub fn challenge(self) -> Challenge {
        match self {
            Self::Challenged { challenge, .. } => challenge,
            Self::NoKeys => Challenge::status(503),
            Self::Url(_) => Challenge::status(400),
        }
    }
}

impl ResourceServer {
    /// A verifier that has seen nothing yet: for one window of proofs it asks for nonces.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(protected: Protected, settings: Settings) -> Result<Self, SignError> {
        Self::with_clock(protected, settings, Clock::system())
    }

    pub(super) fn with_clock(protected: Protected, settings: Settings, clock: Clock) -> Result<Self, SignError> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(&mut *secret).map_err(|_| SignError::NoSignature)?;
        let verifier = Verifier::new(&secret, settings, clock.now());
        Ok(Self { protected, verifier, keys: RwLock::default(), epoch: AtomicU64::new(0), clock })
    }

    /// Takes the issuer's keys, a JWK Set (RFC 7517), in the place of those before.
    ///
    /// # Errors
    /// When it is not the set of an issuer of access tokens.
    pub fn set_keys(&self, jwks: &[u8]) -> Result<(), SetKeysError> {
        let keys = Arc::new(access::read_keys(self.protected.trust_domain.clone(), jwks)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        self.epoch.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Judges a request by its method, its URL or path, and its headers.
    ///
    /// # Errors
    /// Why it may not pass.
    pub fn verify(&self, method: &Method, url: &Uri, headers: &HeaderMap) -> Result<Verified, Refused> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Refused::NoKeys)?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let target = Target::parse(&format!("{}{path}", self.protected.base_url.origin()))?;
        let all = |name: &HeaderName| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        let (authorization, proofs) = (all(&AUTHORIZATION), all(&PROOF));
        let method = method.as_str();
        let request = Request { method, target: &target, tool: None, authorization: &authorization, proofs: &proofs };
        let known = Known { protected: &self.protected, keys: &keys, epoch: self.epoch.load(Ordering::Acquire) };
        self.verifier
            .verify(&request, &known, self.clock.now())
            .map_err(|refusal| Refused::Challenged { code: refusal.reason.code(), challenge: refusal.challenge })
    }
}

impl std::fmt::Debug for ResourceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResourceServer").field("protected", &self.protected).finish_non_exhaustive()
    }
}

/// What there is to know in one moment.
struct Known<'a> {
    protected: &'a Protected,
    keys: &'a Keys,
    epoch: u64,
}

impl Registry for Known<'_> {
    fn issuer(&self) -> &str {
        &self.protected.issuer
    }

    fn keys(&self) -> &Keys {
        self.keys
    }

    fn resource(&self, target: &Target, method: &str, _: Option<&str>) -> Option<Resource<'_>> {
        let path = self.protected.base_url.relative(target)?;
        let routes = self.protected.routes.iter().map(|(route, scope)| (route, scope));
        Some(Resource {
            tool: &self.protected.name,
            audience: &self.protected.audience,
            scope: target::find(routes, method, path).map(Scope::as_str),
            takes_encoded_slash: false,
            tells_metadata: false,
        })
    }

    fn agent(&self, _: &str) -> AgentState {
        AgentState::Active
    }

    fn revocation(&self, _: &Claims) -> Option<Revocation> {
        None
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

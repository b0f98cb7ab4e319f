//! The verification of a request at a resource (RFC 9449 §4.3 and §7, RFC 9068 §4): one function for every door.
//!
//! What costs little comes first: the URL's tool and route, the form of header, proof and token, and everything in which
//! the three differ. Then the token's signature, who it is for and whether that still holds, the proof's signature, the
//! scope. A proof is remembered last, so that nobody burns another's.

mod cache;
mod credentials;
mod reason;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use zeroize::Zeroizing;

use super::{
    Scopes, Thumbprint, TokenHash,
    access::{self, Claims, Keys, Subject, TokenId},
    challenge::Challenge,
    dpop::{Expected, Unproved},
    freshness::{Freshness, Settings},
    metadata,
    target::Target,
};

use cache::{Cache, Verdict};

pub use cache::VERDICTS_MAX;
pub use reason::Reason;

/// What a door was sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, as the client wrote it.
    pub method: &'a str,
    /// The URL: its scheme and authority are the door's own, not what the client says.
    pub target: &'a Target,
    /// The name of the tool that it must be for, where the door knows one. It narrows; of a tool without URLs it says that
    /// it is meant.
    pub tool: Option<&'a str>,
    /// The values of all `Authorization` headers.
    pub authorization: &'a [&'a [u8]],
    /// The values of all `DPoP` headers.
    pub proofs: &'a [&'a [u8]],
}

/// What is known of tools, agents and revocations at one moment.
pub trait Registry {
    /// The `iss` of access tokens.
    fn issuer(&self) -> &str;

    /// The keys that verify them.
    fn keys(&self) -> &Keys;

    /// The tool that a URL belongs to, and the scope that its route needs. With a name it is that tool or none; one
    /// without URLs takes any.
    fn resource(&self, target: &Target, method: &str, named: Option<&str>) -> Option<Resource<'_>>;

    /// What has become of an agent.
    fn agent(&self, name: &str) -> AgentState;

    /// Whether a token was taken back, or what it rests on is gone.
    fn revocation(&self, claims: &Claims) -> Option<Revocation>;

    /// A number that changes whenever something was revoked. No verdict on a token outlives it.
    fn epoch(&self) -> u64;
}

/// The tool of a request.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// Its name.
    pub tool: &'a str,
    /// Its audience.
    pub audience: &'a str,
    /// The scope that the request's route needs; without one there is no route.
    pub scope: Option<&'a str>,
    /// Whether its URLs may have a slash within a segment.
    pub takes_encoded_slash: bool,
    /// Whether its metadata can be had where [`metadata::url`] says, so that challenges name it.
    pub tells_metadata: bool,
}

/// What has become of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// It may act.
    Active,
    /// Not now.
    Suspended,
    /// Never again.
    Retired,
    /// There is none of this name.
    Unknown,
}

/// What of a token was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It itself, by its `jti`.
    Token,
    /// The key that it is bound to.
    Key,
    /// Everything that its agent was given until then.
    Agent,
    /// Its agent's right to the tool.
    Grant,
    /// The entry by which its caller was the agent.
    Entry,
    /// The session that it belongs to.
    Session,
}

/// A request that may pass. Only [`Verifier::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    claims: Arc<Claims>,
    tool: String,
    scope: String,
}

impl Verified {
    /// The agent's name.
    pub fn agent(&self) -> &str {
        &self.claims.client
    }

    /// For whom it acts.
    pub fn subject(&self) -> &Subject {
        &self.claims.subject
    }

    /// All scopes of its token.
    pub fn scopes(&self) -> &Scopes {
        &self.claims.scopes
    }

    /// The one that this request needed.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The name of the tool.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The key that was proved.
    pub fn key(&self) -> Thumbprint {
        self.claims.key
    }

    /// The token's `jti`.
    pub fn token_id(&self) -> TokenId {
        self.claims.token_id
    }

    /// Everything that the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

/// A request that may not pass: why, for the records, and what to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the records alone.
    pub reason: Reason,
    /// For the client.
    pub challenge: Challenge,
}

/// The verifier of one door, with the proofs that it has seen and the tokens that it knows.
pub struct Verifier {
    freshness: Freshness,
    cache: Mutex<Cache>,
}

impl Verifier {
    /// For a process that has seen nothing yet. The secret is 256 random bits of this process.
    pub fn new(secret: &Zeroizing<[u8; 32]>, settings: Settings, started: SystemTime) -> Self {
        Self { freshness: Freshness::new("resource", secret, settings, started), cache: Mutex::default() }
    }

    /// The proofs that it has seen.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Judges a request. All that is known is of one moment, `now`.
    ///
    /// # Errors
    /// The first reason against it, with the answer.
    pub fn verify(
        &self,
        request: &Request<'_>,
        registry: &impl Registry,
        now: SystemTime,
    ) -> Result<Verified, Refusal> {
        let resource = registry.resource(request.target, request.method, request.tool);
        self.judge(request, resource, registry, now).map_err(|reason| {
            let metadata = resource.filter(|resource| resource.tells_metadata);
            let metadata = metadata.and_then(|resource| metadata::url(resource.audience, request.target));
            let challenge = reason.challenge(|| self.freshness.nonce(now)).with_metadata(metadata);
            Refusal { reason, challenge }
        })
    }

    fn judge(
        &self,
        request: &Request<'_>,
        resource: Option<Resource<'_>>,
        registry: &impl Registry,
        now: SystemTime,
    ) -> Result<Verified, Reason> {
        let Request { method, target, authorization, proofs, .. } = *request;
        let resource = resource.ok_or(Reason::NoTool)?;
        if target.has_encoded_slash() && !resource.takes_encoded_slash {
            return Err(Reason::EncodedSlash);
        }
        let scope = resource.scope.ok_or(Reason::NoRoute)?;
        let token = credentials::token(authorization)?;
        let proof = Unproved::parse(credentials::proof(proofs)?)?;
        let hash = TokenHash::of(token);
        let known = self.known(hash, registry);
        let unverified = match &known {
            Some(_) => None,
            None => Some(access::Unverified::parse(token)?),
        };
        // Not believed yet, but good enough to be refused for.
        if let Some(claims) = known.as_deref().or(unverified.as_ref().map(access::Unverified::unverified_claims)) {
            claims.check(resource.audience, now)?;
            if claims.key != proof.thumbprint() {
                return Err(Reason::KeyMismatch);
            }
        }
        let window = self.freshness.window();
        let checked = self.freshness.check(&proof, &Expected { method, target, token: Some(hash), window, now })?;
        let claims = match (known, unverified) {
            (Some(claims), _) => claims,
            (None, Some(unverified)) => self.learn(hash, unverified, registry)?,
            (None, None) => return Err(Reason::NoCredentials),
        };
        match registry.agent(&claims.client) {
            AgentState::Active => {}
            state => return Err(Reason::Agent(state)),
        }
        if let Some(revocation) = registry.revocation(&claims) {
            return Err(Reason::Revoked(revocation));
        }
        let proof = proof.prove()?;
        if !claims.scopes.contains(scope) {
            return Err(Reason::Scope(scope.to_owned()));
        }
        self.freshness.spend(&proof, checked, now)?;
        Ok(Verified { claims, tool: resource.tool.to_owned(), scope: scope.to_owned() })
    }

    /// What a token says whose signature was checked before, by a key that still counts.
    fn known(&self, hash: TokenHash, registry: &impl Registry) -> Option<Arc<Claims>> {
        let verdict = self.cache.lock().unwrap_or_else(PoisonError::into_inner).find(hash, registry.epoch())?;
        let is_good =
            registry.keys().key(&verdict.key_id) == Some(&verdict.key) && verdict.claims.issuer == registry.issuer();
        is_good.then(|| verdict.claims.clone())
    }

    fn learn(
        &self,
        hash: TokenHash,
        token: access::Unverified<'_>,
        registry: &impl Registry,
    ) -> Result<Arc<Claims>, Reason> {
        let (key_id, keys, epoch) = (token.key_id().to_owned(), registry.keys(), registry.epoch());
        let claims = Arc::new(token.verify(registry.issuer(), keys)?);
        if let Some(key) = keys.key(&key_id).cloned() {
            let verdict = Arc::new(Verdict { key_id, key, claims: claims.clone() });
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).keep(hash, verdict, epoch);
        }
        Ok(claims)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("freshness", &self.freshness).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

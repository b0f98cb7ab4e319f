//! The verification of a request at a resource (RFC 9449 §4.3 and §7, RFC 9068 §4): one function for every door.
//!
//! What costs little comes first: the URL's tool and route, the form of header, proof and token, and everything in which
//! the three differ. Then the token's signature, who it is for and whether that still holds, the proof's signature, the
//! scope. A proof is remembered last, so that nobody burns another's.
//!
//! A tool may take other credentials than access tokens of our own ([`Accepts`]); each is checked whole, none in the place
//! of another, and a request has one.

mod accepts;
mod cache;
mod credential;
mod credentials;
mod foreign;
mod reason;
mod svid;

use std::{
    cell::Cell,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use zeroize::Zeroizing;

use super::{
    Certificate, Scopes, Thumbprint, TokenHash,
    access::{self, Claims, Keys, Subject, TokenId},
    challenge::Challenge,
    dpop::{self, Expected, Unproved},
    freshness::{Checked, Freshness, Settings},
    issuer::{Issuer, IssuerName},
    metadata,
    target::Target,
};
use crate::spiffe::{Id, jwt, wit};

use cache::{Cache, Verdict};
use credentials::Credentials;

pub use accepts::{Accepts, Kind};
pub use cache::VERDICTS_MAX;
pub use credential::Credential;
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
    /// The values of all `Workload-Identity-Token` headers.
    pub workload_tokens: &'a [&'a [u8]],
    /// The values of all `Workload-Proof-Token` headers.
    pub workload_proofs: &'a [&'a [u8]],
    /// The values of all `Txn-Token` headers. They are not read, but a workload proof token must be for them.
    pub transaction_tokens: &'a [&'a [u8]],
    /// The certificates by which whoever ended the client's TLS connection has verified it; he alone says them.
    pub certificates: &'a [Certificate<'a>],
}

impl<'a> Request<'a> {
    /// A request without any credential.
    pub fn new(method: &'a str, target: &'a Target) -> Self {
        let none = &[];
        Self {
            method,
            target,
            tool: None,
            authorization: none,
            proofs: none,
            workload_tokens: none,
            workload_proofs: none,
            transaction_tokens: none,
            certificates: &[],
        }
    }
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

    /// Whether a credential was taken back, or what it rests on is gone.
    fn revocation(&self, credential: &Credential) -> Option<Revocation>;

    /// A number that changes whenever something was revoked. No verdict on a token outlives it.
    fn epoch(&self) -> u64;

    /// The agent that who shows this SPIFFE ID is now. Asked, as what follows, only where a tool takes other credentials
    /// than access tokens of our own.
    fn agent_of(&self, id: &Id, now: SystemTime) -> Option<&str> {
        let _ = (id, now);
        None
    }

    /// What an agent is granted with a tool, for a credential that was issued so long ago: what is risky is not granted for
    /// as long as the credential may live.
    fn granted(&self, agent: &str, tool: &str, age: Duration) -> Option<Scopes> {
        let _ = (agent, tool, age);
        None
    }

    /// The keys that verify WIT-SVIDs of our own trust domain.
    fn wit_keys(&self) -> Option<&wit::Bundle> {
        None
    }

    /// The keys that verify its JWT-SVIDs.
    fn jwt_keys(&self) -> Option<&jwt::Bundle> {
        None
    }

    /// The issuer of this name, if an operator has pinned it for tools. Another one whenever its keys were read again.
    fn foreign_issuer(&self, name: &IssuerName) -> Option<&Arc<Issuer>> {
        let _ = name;
        None
    }
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
    /// Which credentials it takes; by default access tokens of our own with DPoP proofs.
    pub accepts: Accepts<'a>,
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
    credential: Credential,
    tool: String,
    scope: String,
}

impl Verified {
    /// Which kind of credential it came with.
    pub fn kind(&self) -> Kind {
        self.credential.kind()
    }

    /// The agent's name.
    pub fn agent(&self) -> &str {
        self.credential.agent()
    }

    /// For whom it acts.
    pub fn subject(&self) -> &Subject {
        self.credential.subject()
    }

    /// All scopes of its credential.
    pub fn scopes(&self) -> &Scopes {
        self.credential.scopes()
    }

    /// The one that this request needed.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The name of the tool.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The key that was proved, if one was.
    pub fn key(&self) -> Option<Thumbprint> {
        self.credential.key()
    }

    /// Who issued its token: we ourselves, or another; of an SVID none.
    pub fn issuer(&self) -> Option<&str> {
        self.credential.issuer()
    }

    /// The `jti` of an access token of our own, or of a WIT-SVID.
    pub fn token_id(&self) -> Option<TokenId> {
        self.credential.token_id()
    }

    /// Everything that is known of the credential.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }
}

/// A request that may not pass: why, for the records, and what to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind of credential it came with, as far as it went.
    pub kind: Option<Kind>,
    /// The issuer that it names, of those that the tool takes.
    pub issuer: Option<IssuerName>,
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
        let accepts = resource.map(|resource| resource.accepts).unwrap_or_default();
        let named = Cell::new(None);
        self.judge(request, resource, registry, (now, &named)).map_err(|(kind, reason)| {
            let metadata = resource.filter(|resource| resource.tells_metadata);
            let metadata = metadata.and_then(|resource| metadata::url(resource.audience, request.target));
            let challenge = reason.challenge(kind, accepts, || self.freshness.nonce(now)).with_metadata(metadata);
            Refusal { kind, issuer: named.get().cloned(), reason, challenge }
        })
    }

    fn judge<'a>(
        &self,
        request: &'a Request<'a>,
        resource: Option<Resource<'a>>,
        registry: &'a impl Registry,
        (now, named): (SystemTime, &'a Cell<Option<&'a IssuerName>>),
    ) -> Result<Verified, (Option<Kind>, Reason)> {
        let begin = || {
            let resource = resource.ok_or(Reason::NoTool)?;
            if request.target.has_encoded_slash() && !resource.takes_encoded_slash {
                return Err(Reason::EncodedSlash);
            }
            let scope = resource.scope.ok_or(Reason::NoRoute)?;
            Ok((resource, scope, credentials::read(request, resource.accepts)?))
        };
        let (resource, scope, credentials) = begin().map_err(|reason| (None, reason))?;
        let ask = Ask { request, resource, scope, registry, now, named };
        self.judge_one(&ask, credentials).map_err(|reason| (Some(credentials.kind()), reason))
    }

    /// Judges the one credential.
    fn judge_one(&self, ask: &Ask<'_, impl Registry>, credentials: Credentials<'_>) -> Result<Verified, Reason> {
        let Ask { resource, scope, registry, now, .. } = *ask;
        let (credential, proof) = match credentials {
            Credentials::Dpop { token, proof } => self.access(ask, token, proof)?,
            Credentials::Foreign { token, proof } => self.foreign(ask, token, Some(proof))?,
            Credentials::Certificate { token } => self.foreign(ask, token, None)?,
            Credentials::JwtSvid { token } => (svid::jwt(ask, token)?, Proof::None),
            Credentials::Workload { token, proof, transaction } => self.wit(ask, token, proof, transaction)?,
        };
        match registry.agent(credential.agent()) {
            AgentState::Active => {}
            state => return Err(Reason::Agent(state)),
        }
        if let Some(revocation) = registry.revocation(&credential) {
            return Err(Reason::Revoked(revocation));
        }
        let proof = proof.prove()?;
        if !credential.scopes().contains(scope) {
            return Err(Reason::Scope(scope.to_owned()));
        }
        proof.spend(&self.freshness, now)?;
        Ok(Verified { credential, tool: resource.tool.to_owned(), scope: scope.to_owned() })
    }

    /// An access token of our own with its proof, of which the signature is still to be checked.
    fn access<'p>(
        &self,
        ask: &Ask<'_, impl Registry>,
        token: &str,
        proof: &'p str,
    ) -> Result<(Credential, Proof<'p>), Reason> {
        let proof = Unproved::parse(proof)?;
        let hash = TokenHash::of(token);
        let known = self.known(hash, ask.registry);
        let unverified = match &known {
            Some(_) => None,
            None => Some(access::Unverified::parse(token)?),
        };
        // Not believed yet, but good enough to be refused for.
        if let Some(claims) = known.as_deref().or(unverified.as_ref().map(access::Unverified::unverified_claims)) {
            claims.check(ask.resource.audience, ask.now)?;
            if claims.key != proof.thumbprint() {
                return Err(Reason::KeyMismatch);
            }
        }
        let checked = self.freshness.check(&proof, &ask.expected(hash, self.freshness.window()))?;
        let claims = match (known, unverified) {
            (Some(claims), _) => claims,
            (None, Some(unverified)) => self.learn(hash, unverified, ask.registry)?,
            (None, None) => return Err(Reason::NoCredentials),
        };
        Ok((Credential::access(claims), Proof::Dpop(proof, checked)))
    }

    /// What a token says whose signature was checked before, by a key that still counts.
    fn known(&self, hash: TokenHash, registry: &impl Registry) -> Option<Arc<Claims>> {
        let verdict = self.verdict(hash, registry)?;
        let Verdict::Own { key_id, key, claims } = &*verdict else { return None };
        let is_good = registry.keys().key(key_id) == Some(key) && claims.issuer == registry.issuer();
        is_good.then(|| claims.clone())
    }

    fn verdict(&self, hash: TokenHash, registry: &impl Registry) -> Option<Arc<Verdict>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).find(hash, registry.epoch())
    }

    /// The epoch is the one in which it was begun.
    fn keep(&self, hash: TokenHash, verdict: Verdict, epoch: u64) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).keep(hash, Arc::new(verdict), epoch);
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
            self.keep(hash, Verdict::Own { key_id, key, claims: claims.clone() }, epoch);
        }
        Ok(claims)
    }
}

/// What is asked, with everything that is known of it.
struct Ask<'a, R> {
    request: &'a Request<'a>,
    resource: Resource<'a>,
    /// The one that the route needs.
    scope: &'a str,
    registry: &'a R,
    now: SystemTime,
    /// The issuer that a token names, once it is known to be one that the tool takes.
    named: &'a Cell<Option<&'a IssuerName>>,
}

impl<R> Ask<'_, R> {
    /// What a DPoP proof beside this token must be for.
    fn expected(&self, token: TokenHash, window: dpop::Window) -> Expected<'_> {
        let Request { method, target, .. } = *self.request;
        Expected { method, target, token: Some(token), window, now: self.now }
    }
}

/// The proof beside a credential, which is for one request.
#[expect(clippy::large_enum_variant, reason = "it is moved once, within one call")]
enum Proof<'a> {
    /// There is none.
    None,
    /// Of which the signature is still to be checked.
    Dpop(Unproved<'a>, Checked),
    /// Of which it is right.
    Workload { key: Thumbprint, token_id: Zeroizing<String>, end: SystemTime, checked: Checked },
}

/// The same, its signature checked.
enum Proved {
    None,
    Dpop(dpop::Proof, Checked),
    Workload { key: Thumbprint, token_id: Zeroizing<String>, end: SystemTime, checked: Checked },
}

impl Proof<'_> {
    fn prove(self) -> Result<Proved, Reason> {
        Ok(match self {
            Self::None => Proved::None,
            Self::Dpop(proof, checked) => Proved::Dpop(proof.prove()?, checked),
            Self::Workload { key, token_id, end, checked } => Proved::Workload { key, token_id, end, checked },
        })
    }
}

impl Proved {
    /// It is good for this request, and for no other.
    fn spend(&self, freshness: &Freshness, now: SystemTime) -> Result<(), Reason> {
        match self {
            Self::None => Ok(()),
            Self::Dpop(proof, checked) => Ok(freshness.spend(proof, *checked, now)?),
            Self::Workload { key, token_id, end, checked } => {
                freshness.spend_until((key, token_id), *end, *checked, now).map_err(Reason::WorkloadProofUse)
            }
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("freshness", &self.freshness).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

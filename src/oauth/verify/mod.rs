//! The verification of a request at a resource: one function for every door.
//!
//! # What is checked, in which order
//! What costs little comes first, and what is remembered last, so that nobody burns another's proof. The first thing that is
//! not so is the [`Reason`] of the refusal.
//!
//! 1. `mod.rs`: the URL is one tool's, and the tool has a route for method and path.
//! 2. `presented.rs`: the headers hold one credential, of a kind that the tool takes ([`Accepts`]), and what proves it.
//! 3. The file of its kind: all that differs, as the table says. It comes to a [`Credential`] and a proof.
//! 4. `mod.rs`: the agent is active, and nothing that the credential rests on was revoked.
//! 5. `proof.rs`: the signature of a DPoP proof.
//! 6. `mod.rs`: the credential has the scope that the route needs, and is young enough for it.
//! 7. `proof.rs`: the proof was not used before. It is remembered.
//!
//! | what came | [`Kind`] | file | step 3, in its order |
//! | --- | --- | --- | --- |
//! | access token of our own, DPoP proof | `Dpop` | `own.rs` | form of both · token's audience and times · the proof's key is the token's · proof's method, URL, `ath`, time, nonce · token's signature |
//! | access token of another issuer, DPoP proof | `ForeignDpop` | `foreign.rs` | form of both · issuer is one that the tool takes · token's audience and times · the proof's key is the token's · proof's method, URL, `ath`, time, nonce · token's signature by its issuer's pinned keys · client is an agent by an entry, which is granted something |
//! | access token of another issuer, client certificate | `ForeignMtls` | `foreign.rs` | form · issuer is one that the tool takes · token's audience and times · the one certificate is the token's · token's signature by its issuer's pinned keys · client is an agent by an entry, which is granted something; it has no steps 5 and 7 |
//! | WIT-SVID, workload proof token | `Wit` | `svid.rs` | form of the proof · proof's URL, `wth`, times · form, times and signature of the WIT-SVID · proof's signature by the key in it · its name is an agent's by an entry, which is granted something; it has no step 5 |
//! | JWT-SVID | `JwtSvid` | `svid.rs` | form, audience, times and signature · it is for this tool alone, and bound to nothing · its name is an agent's by an entry, which is granted something; it has no steps 5 and 7 |
//!
//! Where another Dayfly is an issuer, its tokens begin as ours do: ours have one of our keys, or our name.
//!
//! Whose a credential is goes into the record of its refusal once its signature was right, now or earlier; a stolen token's is
//! looked at for that alone.
//!
//! A token whose signature was right once is known by its hash (`cache.rs`) until something is revoked, its key goes or its
//! issuer is read again. All the rest is checked each time.
//!
//! # Where the words come from
//! `oauth::access` reads tokens of our own and `oauth::foreign` those of other issuers, whose names and keys are in
//! `oauth::issuer`; `oauth::dpop` and `oauth::wpt` read proofs, `oauth::Certificate` a client's certificate. RFC 9068 §4 and RFC
//! 9449 §4.3 and §7 are behind the first row, RFC 8705 §3 behind the third.

mod accepts;
mod cache;
mod credential;
mod foreign;
mod outcome;
mod own;
mod presented;
mod proof;
mod reason;
mod registry;
mod request;
mod svid;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use zeroize::Zeroizing;

use super::{
    Scopes, TokenHash, dpop,
    freshness::{Freshness, Settings},
    issuer::IssuerName,
    metadata,
};

use cache::{Cache, Verdict};
use presented::Presented;
use proof::Proof;

pub use accepts::{Accepts, Kind};
pub use credential::Credential;
pub use outcome::{Bearer, Refusal, Verified};
pub use reason::Reason;
pub use registry::{AgentState, Registry, Resource, Revocation};
pub use request::Request;

/// The verifier of one door, with the proofs that it has seen and the tokens that it knows.
pub struct Verifier {
    freshness: Freshness,
    cache: Mutex<Cache>,
}

impl Verifier {
    /// For a process that has seen nothing yet, and that began at `started`: what may be older must carry a nonce. The secret
    /// is 256 random bits of this process, from which nonces are made.
    pub fn new(secret: &Zeroizing<[u8; 32]>, settings: Settings, started: SystemTime) -> Self {
        Self { freshness: Freshness::new("resource", secret, settings, started), cache: Mutex::default() }
    }

    /// The proofs that it has seen.
    #[cfg(test)]
    pub(crate) fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Judges a request, in the order that this module's documentation has. All that is known is of one moment, `now`, by our
    /// own clock.
    ///
    /// # Errors
    /// The first reason against it, for the records, with the answer to the client (RFC 9449 §7.1, RFC 6750 §3).
    pub fn verify(
        &self,
        request: &Request<'_>,
        registry: &impl Registry,
        now: SystemTime,
    ) -> Result<Verified, Refusal> {
        let resource = registry.resource(request.target, request.method, request.tool);
        let accepts = resource.map(|resource| resource.accepts).unwrap_or_default();
        let found = Found::default();
        self.judge(request, resource, registry, (now, &found)).map_err(|(kind, reason)| {
            let metadata = resource.filter(|resource| resource.tells_metadata);
            let metadata = metadata.and_then(|resource| metadata::url(resource.audience, request.target));
            let challenge = reason.challenge(kind, accepts, || self.freshness.nonce(now)).with_metadata(metadata);
            let bearer = found.bearer.take().or_else(|| self.bearer(request, registry)).map(Box::new);
            Refusal { kind, issuer: found.issuer.get().cloned(), bearer, reason, challenge }
        })
    }

    /// Whose the token of a request is, if it is known: what is beside it may be wrong, or missing.
    fn bearer(&self, request: &Request<'_>, registry: &impl Registry) -> Option<Bearer> {
        let [authorization] = request.authorization else { return None };
        let (_, token) = str::from_utf8(authorization).ok()?.split_once(' ')?;
        let hash = TokenHash::of(token.trim_start_matches(' '));
        let own = || self.known(hash, registry).map(|claims| Bearer::from(&*claims));
        own().or_else(|| self.known_foreign(hash, registry).map(|claims| Bearer::from(&*claims)))
    }

    fn judge<'a>(
        &self,
        request: &'a Request<'a>,
        resource: Option<Resource<'a>>,
        registry: &'a impl Registry,
        (now, found): (SystemTime, &'a Found<'a>),
    ) -> Result<Verified, (Option<Kind>, Reason)> {
        let begin = || {
            let resource = resource.ok_or(Reason::NoTool)?;
            if request.target.has_encoded_slash() && !resource.takes_encoded_slash {
                return Err(Reason::EncodedSlash);
            }
            let scope = resource.scope.ok_or(Reason::NoRoute)?;
            Ok((resource, scope, presented::read(request, resource.accepts, registry)?))
        };
        let (resource, scope, presented) = begin().map_err(|reason| (None, reason))?;
        let case = Case { request, resource, scope, registry, now, found };
        self.judge_one(&case, presented).map_err(|reason| (Some(presented.kind()), reason))
    }

    /// Judges the one credential.
    fn judge_one(&self, case: &Case<'_, impl Registry>, presented: Presented<'_>) -> Result<Verified, Reason> {
        let Case { resource, scope, registry, now, .. } = *case;
        let (credential, proof) = match presented {
            Presented::OwnToken { token, proof } => self.own_token(case, token, proof)?,
            Presented::ForeignToken { token, proof } => self.foreign_token(case, token, proof)?,
            Presented::WitSvid { token, proof, transaction } => self.wit_svid(case, token, proof, transaction)?,
            Presented::JwtSvid { token } => (svid::jwt_svid(case, token)?, Proof::None),
        };
        match registry.agent(credential.agent()) {
            AgentState::Active => {}
            state => return Err(Reason::Agent(state)),
        }
        if let Some(revocation) = registry.revocation(&credential) {
            return Err(Reason::Revoked(revocation));
        }
        let proof = proof.prove()?;
        match credential.scopes().contains(scope) {
            true => {}
            // What a new one is good for.
            false if credential.is_too_old() => return Err(Reason::TooOld),
            false => return Err(Reason::Scope(scope.to_owned())),
        }
        proof.spend(&self.freshness, now)?;
        Ok(Verified { credential, tool: resource.tool.to_owned(), scope: scope.to_owned() })
    }

    /// What was found of a token in this epoch, if its signature was checked before.
    fn verdict(&self, hash: TokenHash, registry: &impl Registry) -> Option<Arc<Verdict>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).find(hash, registry.epoch())
    }

    /// Keeps what was found of a token of so many bytes. The epoch is the one in which it was begun.
    fn keep(&self, hash: TokenHash, verdict: Verdict, bytes: usize, epoch: u64) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).keep(hash, Arc::new(verdict), bytes, epoch);
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("freshness", &self.freshness).finish_non_exhaustive()
    }
}

/// What is to be judged, with everything that is known of it.
struct Case<'a, R> {
    request: &'a Request<'a>,
    resource: Resource<'a>,
    /// The one that the route needs.
    scope: &'a str,
    registry: &'a R,
    now: SystemTime,
    /// What a record says, should it be refused.
    found: &'a Found<'a>,
}

/// What an agent is granted, for a credential of some age.
struct Granted {
    scopes: Scopes,
    /// Whether for a younger one the scope that the route needs were among them.
    is_too_old: bool,
}

/// Whose a credential is, as far as it went.
#[derive(Default)]
struct Found<'a> {
    /// The issuer that a token names, once it is known to be one that the tool takes.
    issuer: Cell<Option<&'a IssuerName>>,
    /// Who has it, once its signature was right.
    bearer: Cell<Option<Bearer>>,
}

impl<R> Case<'_, R> {
    /// The signature of a credential was right.
    fn found(&self, bearer: impl Into<Bearer>) {
        self.found.bearer.set(Some(bearer.into()));
    }

    /// What an agent is granted with the tool, for a credential that was issued then.
    fn granted(&self, agent: &str, issued_at: SystemTime) -> Result<Granted, Reason>
    where
        R: Registry,
    {
        let granted = |age| self.registry.granted(agent, self.resource.tool, age).ok_or(Reason::NotGranted);
        let scopes = granted(self.now.duration_since(issued_at).unwrap_or_default())?;
        let is_too_old = !scopes.contains(self.scope) && granted(Duration::ZERO)?.contains(self.scope);
        Ok(Granted { scopes, is_too_old })
    }

    /// What a DPoP proof beside this token must be for.
    fn proof_for(&self, token: TokenHash, window: dpop::Window) -> dpop::Expected<'_> {
        let Request { method, target, .. } = *self.request;
        dpop::Expected { method, target, token: Some(token), window, now: self.now }
    }
}

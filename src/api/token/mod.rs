//! Where agents get access tokens: one endpoint with two doors, over HTTP/1.1 and by gRPC.
//!
//! The caller is authenticated by attestation, so there is no client secret. What a token is bound to is the key of the
//! proof that comes with the request (RFC 9449 §5).

mod answer;
mod calls;
mod form;
mod pages;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::SystemTime};

use tokio::sync::watch;
use zeroize::Zeroizing;

use self::answer::{Code, Refusal};
use super::pages::Pages;
use crate::{
    attest::Caller,
    authority::AccessToken,
    issuance::{AccessAsked, Error, Issuer, Ungranted},
    oauth::{
        Thumbprint,
        dpop::{self, Unproved},
        exchange::{Believed, Expected, Parent, TokenType},
        freshness::{Freshness, Refused, Settings},
        issuer::Issuers,
        target::{self, Target},
    },
    sys::Clock,
};

pub(crate) use calls::token_service;

/// The endpoint of one daemon.
pub(crate) struct Endpoint {
    issuer: Arc<Issuer>,
    /// The `iss` of tokens.
    name: String,
    /// The URL that proofs are for, as metadata has it.
    url: String,
    target: Target,
    freshness: Freshness,
    /// Whose users an agent may act for.
    user_issuers: watch::Receiver<Arc<Issuers>>,
    clock: Clock,
}

/// A token that a client wants to exchange.
struct Presented<'a> {
    token: &'a str,
    kind: TokenType,
}

/// What stands behind the issuer's name in the URLs of metadata.
const TOKEN: &str = "/token";
const KEYS: &str = "/jwks";

impl Endpoint {
    /// An endpoint that has seen no proof yet. `name` is the `iss` of tokens, an https URL without query; the secret is
    /// 256 random bits of this process.
    ///
    /// # Errors
    /// When `name` is no such URL.
    pub(crate) fn new(
        issuer: Arc<Issuer>,
        name: String,
        secret: &Zeroizing<[u8; 32]>,
        settings: Settings,
        user_issuers: watch::Receiver<Arc<Issuers>>,
        clock: Clock,
    ) -> Result<Self, target::Error> {
        let url = format!("{name}{TOKEN}");
        let (target, freshness) = (Target::parse_htu(&url)?, Freshness::new("token", secret, settings, clock.now()));
        Ok(Self { issuer, name, url, target, freshness, user_issuers, clock })
    }

    /// The URL that proofs are for.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The endpoint as pages.
    pub(crate) fn pages(self: Arc<Self>) -> Arc<dyn Pages> {
        Arc::new(pages::Token::new(self))
    }

    /// Issues a token that is bound to the key of the one proof; in exchange for another one, if one is presented.
    async fn issue(
        &self,
        caller: &Caller,
        proofs: &[&[u8]],
        asked: AccessAsked,
        presented: Option<Presented<'_>>,
    ) -> Result<AccessToken, Refusal> {
        let now = self.clock.now();
        let expected =
            dpop::Expected { method: "POST", target: &self.target, token: None, window: self.freshness.window(), now };
        let refused = |refused: Refused| {
            self.issuer.proof_refused(caller, refused.code());
            Refusal::of_proof(&refused, || self.freshness.nonce(now))
        };
        let [proof] = proofs else {
            self.issuer.proof_refused(caller, if proofs.is_empty() { "proof_missing" } else { "proof_several" });
            return Err(Refusal::new(Code::InvalidProof, "exactly one DPoP header is needed, with a new proof"));
        };
        // What is no text is no proof either.
        let proof =
            Unproved::parse(str::from_utf8(proof).unwrap_or_default()).map_err(|error| refused(error.into()))?;
        let checked = self.freshness.check(&proof, &expected).map_err(refused)?;
        let proof = proof.prove().map_err(|error| refused(error.into()))?;
        let issuers = self.user_issuers.borrow().clone();
        let asked = match &presented {
            None => asked,
            Some(presented) => asked.for_token(self.parent(caller, presented, proof.thumbprint(), now)?),
        };
        // To attest a caller may take a while.
        let spend = || self.freshness.spend(&proof, checked, self.clock.now());
        // Nothing leaves for a token whose issuer is not believed any more.
        let stands = || match &presented {
            Some(presented) if !Arc::ptr_eq(&issuers, &self.user_issuers.borrow()) => {
                self.parent(caller, presented, proof.thumbprint(), self.clock.now()).map(drop)
            }
            _ => Ok(()),
        };
        Ok(self.issuer.access(caller, &asked, proof.thumbprint(), spend, stands).await?)
    }

    /// What a token says that is presented by the holder of this key.
    fn parent(
        &self,
        caller: &Caller,
        presented: &Presented<'_>,
        holder: Thumbprint,
        now: SystemTime,
    ) -> Result<Parent, Ungranted> {
        let (keyring, issuers) = (self.issuer.present_keyring(), self.user_issuers.borrow().clone());
        let keys = keyring.access().ok_or(Ungranted::Failed(Error::Stopping))?.bundle();
        let believed = Believed { keys, issuers: &issuers };
        let expected = Expected { issuer: &self.name, trust_domain: keys.trust_domain(), holder, now };
        Parent::read(presented.token, presented.kind, &believed, &expected).map_err(|error| {
            self.issuer.subject_refused(caller, error.code());
            Ungranted::Subject
        })
    }

    /// What a proof must carry now; `None` where none is asked for.
    fn nonce(&self) -> Option<String> {
        let now = self.clock.now();
        self.freshness.wants_nonce(now).then(|| self.freshness.nonce(now))
    }
}

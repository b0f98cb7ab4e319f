//! Access tokens of our own, each bound to a key that a DPoP proof proves (RFC 9068 §4, RFC 9449 §4.3 and §7).

use std::sync::Arc;

use crate::oauth::{
    TokenHash,
    access::{self, Claims},
    dpop::Unproved,
};

use super::{Case, Credential, Proof, Reason, Registry, Verifier, cache::Verdict};

impl Verifier {
    /// A token with its proof, of which the signature is still to be checked.
    pub(super) fn own_token<'p>(
        &self,
        case: &Case<'_, impl Registry>,
        token: &str,
        proof: &'p str,
    ) -> Result<(Credential, Proof<'p>), Reason> {
        let proof = Unproved::parse(proof)?;
        let hash = TokenHash::of(token);
        let known = self.known(hash, case.registry);
        let unverified = match &known {
            Some(claims) => {
                case.found(&**claims);
                None
            }
            None => Some(access::Unverified::parse(token)?),
        };
        // Not believed yet, but good enough to be refused for.
        if let Some(claims) = known.as_deref().or(unverified.as_ref().map(access::Unverified::unverified_claims)) {
            claims.check(case.resource.audience, case.now)?;
            if claims.key != proof.thumbprint() {
                // Whose it is that was stolen.
                unverified.map(|read| self.learn((hash, token.len()), read, case)).transpose().ok();
                return Err(Reason::KeyMismatch);
            }
        }
        let checked = self.freshness.check(&proof, &case.proof_for(hash, self.freshness.window()))?;
        let claims = match (known, unverified) {
            (Some(claims), _) => claims,
            (None, Some(unverified)) => self.learn((hash, token.len()), unverified, case)?,
            (None, None) => return Err(Reason::NoCredentials),
        };
        Ok((Credential::access(claims), Proof::Dpop(proof, checked)))
    }

    /// What a token says whose signature was checked before, by a key that still counts.
    pub(super) fn known(&self, hash: TokenHash, registry: &impl Registry) -> Option<Arc<Claims>> {
        let verdict = self.verdict(hash, registry)?;
        let Verdict::Own { key_id, key, claims } = &*verdict else { return None };
        let is_good = registry.keys().key(key_id) == Some(key) && claims.issuer == registry.issuer();
        is_good.then(|| claims.clone())
    }

    /// Checks a signature, and keeps what was found.
    fn learn(
        &self,
        (hash, bytes): (TokenHash, usize),
        token: access::Unverified<'_>,
        case: &Case<'_, impl Registry>,
    ) -> Result<Arc<Claims>, Reason> {
        let registry = case.registry;
        let (key_id, keys, epoch) = (token.key_id().to_owned(), registry.keys(), registry.epoch());
        let claims = Arc::new(token.verify(registry.issuer(), keys)?);
        case.found(&*claims);
        if let Some(key) = keys.key(&key_id).cloned() {
            self.keep(hash, Verdict::Own { key_id, key, claims: claims.clone() }, bytes, epoch);
        }
        Ok(claims)
    }
}

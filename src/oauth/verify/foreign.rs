//! Access tokens of other issuers at a door: only where the tool takes that issuer, by the keys that an operator has
//! pinned for it, with a proof of the key that they are bound to; and for an agent that an entry names.
//!
//! Its issuer says who asked for it and for what. What that may do here is the registry's to say: of the token's scopes
//! those count that the agent is granted.

use std::sync::Arc;

use crate::oauth::{
    TokenHash,
    dpop::Unproved,
    foreign::{Claims, Error, Unverified},
    issuer::Issuer,
};

use super::{Ask, Credential, Kind, Proof, Reason, Registry, Verdict, Verifier, credential::Other};

impl Verifier {
    /// A token with its proof, of which the signature is still to be checked.
    pub(super) fn foreign<'p>(
        &self,
        ask: &Ask<'_, impl Registry>,
        token: &str,
        proof: &'p str,
    ) -> Result<(Credential, Proof<'p>), Reason> {
        let proof = Unproved::parse(proof)?;
        let hash = TokenHash::of(token);
        let believed = match self.known_foreign(ask, hash) {
            Some(claims) => Believed::Known(claims),
            None => Believed::Not(Box::new(Unverified::parse(token)?)),
        };
        // Not believed yet, perhaps, but good enough to be refused for.
        let claims = match &believed {
            Believed::Known(claims) => claims,
            Believed::Not(token) => token.unverified_claims(),
        };
        let issuer = issuer(ask, claims)?;
        claims.check(ask.resource.audience, ask.now)?;
        if claims.key != proof.thumbprint() {
            return Err(Reason::KeyMismatch);
        }
        let checked = self.freshness.check(&proof, &ask.expected(hash, self.freshness.window()))?;
        let claims = match believed {
            Believed::Known(claims) => claims,
            Believed::Not(token) => {
                let epoch = ask.registry.epoch();
                let claims = Arc::new(token.verify(issuer)?);
                self.keep(hash, Verdict::Foreign { issuer: issuer.clone(), claims: claims.clone() }, epoch);
                claims
            }
        };
        Ok((credential(ask, &claims)?, Proof::Dpop(proof, checked)))
    }

    /// What a token says whose signature was checked before, by the keys that its issuer still has.
    fn known_foreign(&self, ask: &Ask<'_, impl Registry>, hash: TokenHash) -> Option<Arc<Claims>> {
        let verdict = self.verdict(hash, ask.registry)?;
        let Verdict::Foreign { issuer, claims } = &*verdict else { return None };
        let present = ask.registry.foreign_issuer(issuer.name())?;
        Arc::ptr_eq(present, issuer).then(|| claims.clone())
    }
}

enum Believed<'a> {
    Known(Arc<Claims>),
    Not(Box<Unverified<'a>>),
}

/// The issuer that a token names, if the tool takes it and its keys are known.
fn issuer<'a>(ask: &Ask<'a, impl Registry>, claims: &Claims) -> Result<&'a Arc<Issuer>, Error> {
    let name = ask.resource.accepts.issuers.iter().find(|name| name.as_str() == claims.issuer);
    let name = name.ok_or(Error::Issuer)?;
    ask.named.set(Some(name));
    ask.registry.foreign_issuer(name).ok_or(Error::Issuer)
}

/// Whose it is, with that of its scopes which the agent is granted.
fn credential(ask: &Ask<'_, impl Registry>, claims: &Claims) -> Result<Credential, Reason> {
    let Ask { resource, registry, now, .. } = *ask;
    let agent = registry.agent_of(&claims.client, now).ok_or(Reason::NoAgent)?;
    let age = now.duration_since(claims.issued_at).unwrap_or_default();
    let granted = registry.granted(agent, resource.tool, age).ok_or(Reason::NotGranted)?;
    Ok(Credential::other(Other {
        kind: Kind::ForeignDpop,
        issuer: Some(claims.issuer.clone()),
        agent: agent.to_owned(),
        subject: claims.subject.clone(),
        audience: resource.audience.to_owned(),
        scopes: claims.scopes.common(&granted),
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
        key: Some(claims.key),
        token_id: None,
    }))
}

//! Access tokens of other issuers at a door: only where the tool takes that issuer, by the keys that an operator has
//! pinned for it, with a proof of the key that they are bound to, or the certificate; and for an agent that an entry names.
//!
//! Its issuer says who asked for it and for what. What that may do here is the registry's to say: of the token's scopes
//! those count that the agent is granted.

use std::sync::Arc;

use crate::oauth::{
    CertificateHash, TokenHash,
    dpop::Unproved,
    foreign::{Binding, Claims, Error, Unverified},
    issuer::Issuer,
};

use super::{Case, Credential, Kind, Proof, Reason, Registry, Verifier, cache::Verdict, credential::Other};

impl Verifier {
    /// A token with its proof, of which the signature is still to be checked; or with none, for the client's certificate.
    pub(super) fn foreign_token<'p>(
        &self,
        case: &Case<'_, impl Registry>,
        token: &str,
        proof: Option<&'p str>,
    ) -> Result<(Credential, Proof<'p>), Reason> {
        let proof = proof.map(Unproved::parse).transpose()?;
        let hash = TokenHash::of(token);
        let believed = match self.known_foreign(hash, case.registry) {
            Some(claims) => {
                case.found(&*claims);
                Believed::Known(claims)
            }
            None => Believed::Not(Box::new(Unverified::parse(token)?)),
        };
        // Not believed yet, perhaps, but good enough to be refused for.
        let claims = match &believed {
            Believed::Known(claims) => claims,
            Believed::Not(token) => token.unverified_claims(),
        };
        let issuer = issuer(case, claims)?;
        claims.check(case.resource.audience, case.now)?;
        if let Err(reason) = bound(case, claims.binding, proof.as_ref()) {
            // Whose it is that was stolen.
            self.believe((hash, token.len()), believed, issuer, case).ok();
            return Err(reason);
        }
        let proof = match proof {
            None => Proof::None,
            Some(proof) => {
                let checked = self.freshness.check(&proof, &case.proof_for(hash, self.freshness.window()))?;
                Proof::Dpop(proof, checked)
            }
        };
        let claims = self.believe((hash, token.len()), believed, issuer, case)?;
        Ok((credential(case, &claims)?, proof))
    }

    /// Checks a signature, where that was not done before, and keeps what was found.
    fn believe(
        &self,
        (hash, bytes): (TokenHash, usize),
        believed: Believed<'_>,
        issuer: &Arc<Issuer>,
        case: &Case<'_, impl Registry>,
    ) -> Result<Arc<Claims>, Error> {
        let token = match believed {
            Believed::Known(claims) => return Ok(claims),
            Believed::Not(token) => token,
        };
        let epoch = case.registry.epoch();
        let claims = Arc::new(token.verify(issuer)?);
        case.found(&*claims);
        self.keep(hash, Verdict::Foreign { issuer: issuer.clone(), claims: claims.clone() }, bytes, epoch);
        Ok(claims)
    }

    /// What a token says whose signature was checked before, by the keys that its issuer still has.
    pub(super) fn known_foreign(&self, hash: TokenHash, registry: &impl Registry) -> Option<Arc<Claims>> {
        let verdict = self.verdict(hash, registry)?;
        let Verdict::Foreign { issuer, claims } = &*verdict else { return None };
        let present = registry.foreign_issuer(issuer.name())?;
        Arc::ptr_eq(present, issuer).then(|| claims.clone())
    }
}

enum Believed<'a> {
    Known(Arc<Claims>),
    Not(Box<Unverified<'a>>),
}

/// The issuer that a token names, if the tool takes it and its keys are known.
fn issuer<'a>(case: &Case<'a, impl Registry>, claims: &Claims) -> Result<&'a Arc<Issuer>, Error> {
    let name = case.resource.accepts.issuers.iter().find(|name| name.as_str() == claims.issuer);
    let name = name.ok_or(Error::Issuer)?;
    case.found.issuer.set(Some(name));
    let absent = || if case.registry.is_keyless(name) { Error::NoKeys } else { Error::Issuer };
    case.registry.foreign_issuer(name).ok_or_else(absent)
}

/// Whether what the client has shown is what a token is bound to.
fn bound(case: &Case<'_, impl Registry>, binding: Binding, proof: Option<&Unproved<'_>>) -> Result<(), Reason> {
    match (proof, binding) {
        (Some(proof), Binding::Key(key)) if key == proof.thumbprint() => Ok(()),
        (Some(_), Binding::Key(_)) => Err(Reason::KeyMismatch),
        (None, Binding::Certificate(hash)) if hash == certificate(case)? => Ok(()),
        (None, Binding::Certificate(_)) => Err(Reason::CertificateMismatch),
        // What is bound in one way is not shown in the other (RFC 9449 §7.2).
        (None, Binding::Key(_)) => Err(Reason::Bearer),
        (Some(_), Binding::Certificate(_)) => Err(Error::Confirmation.into()),
    }
}

/// The one that the client has shown.
fn certificate(case: &Case<'_, impl Registry>) -> Result<CertificateHash, Reason> {
    match case.request.certificates {
        [one] => Ok(one.hash()?),
        _ => Err(Reason::NoCertificate),
    }
}

/// Whose it is, with that of its scopes which the agent is granted.
fn credential(case: &Case<'_, impl Registry>, claims: &Claims) -> Result<Credential, Reason> {
    let Case { resource, registry, now, .. } = *case;
    let agent = registry.agent_of(&claims.client, now).ok_or(Reason::NoAgent)?;
    let granted = case.granted(agent, claims.issued_at)?;
    let says_it = claims.scopes.contains(case.scope);
    let (kind, key) = match claims.binding {
        Binding::Key(key) => (Kind::ForeignDpop, Some(key)),
        Binding::Certificate(_) => (Kind::ForeignMtls, None),
    };
    Ok(Credential::other(Other {
        kind,
        issuer: Some(claims.issuer.clone()),
        agent: agent.to_owned(),
        subject: claims.subject.clone(),
        audience: resource.audience.to_owned(),
        scopes: claims.scopes.common(&granted.scopes),
        is_too_old: says_it && granted.is_too_old,
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
        key,
        token_id: None,
    }))
}

//! SVIDs as credentials at a door: WIT-SVIDs with a proof for the request at hand, and JWT-SVIDs, which are good for
//! whoever has them. Both are of our own trust domain alone, by its own clock, and for an agent that an entry names.

use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::{
    oauth::{
        Thumbprint, TokenHash,
        access::{AHEAD_MAX, Subject, TokenId},
        wpt::{Expected, Unproved},
    },
    spiffe::{
        Id,
        json::{Object, Value},
        jwt, wit,
    },
};

use super::{Bearer, Case, Credential, Granted, Kind, Proof, Reason, Registry, Verifier, credential::Other};

impl Verifier {
    /// A WIT-SVID whose holder has proved its key for this request.
    pub(super) fn wit_svid<'p>(
        &self,
        case: &Case<'_, impl Registry>,
        token: &str,
        proof: &'p str,
        transaction: Option<&str>,
    ) -> Result<(Credential, Proof<'p>), Reason> {
        let proof = Unproved::parse(proof)?;
        proof.check(&Expected {
            target: case.request.target,
            workload_token: TokenHash::of(token),
            transaction_token: transaction.map(TokenHash::of),
            lifetime_max: self.freshness.lifetime_max(),
            now: case.now,
        })?;
        let end = proof.expires_at();
        let checked = self.freshness.check_end(end, case.now).map_err(Reason::WorkloadProofUse)?;
        let holder = wit::verify(token, case.now, Duration::ZERO, |_| case.registry.wit_keys())?;
        let key = Thumbprint::of(holder.key());
        let possession = proof.proof(&holder)?;
        let wit::Validated { id, expires_at, claims } = holder.prove(possession)?;
        let credential = credential(case, Kind::Wit, id, &claims, (expires_at, Some(key)))?;
        let token_id = Zeroizing::new(proof.token_id().to_owned());
        Ok((credential, Proof::Workload { key, token_id, end, checked }))
    }
}

/// A JWT-SVID for the tool, and for nobody else: another one that has it could use it here.
pub(super) fn jwt_svid(case: &Case<'_, impl Registry>, token: &str) -> Result<Credential, Reason> {
    let expected = jwt::Expected { audience: case.resource.audience, now: case.now, leeway: Duration::ZERO };
    let keys = |_: &_| case.registry.jwt_keys().map(jwt::Issuer::from);
    let jwt::Validated { id, expires_at, claims } = jwt::validate(token, &expected, keys)?;
    if claims.member("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.len() > 1) {
        return Err(Reason::SvidClaim("aud"));
    }
    // It is bound to something, and would be taken without it.
    if claims.has("cnf") {
        return Err(Reason::SvidClaim("cnf"));
    }
    credential(case, Kind::JwtSvid, id, &claims, (expires_at, None))
}

/// Whose it is, with all that its agent is granted.
fn credential(
    case: &Case<'_, impl Registry>,
    kind: Kind,
    id: Id,
    claims: &Object,
    (expires_at, key): (SystemTime, Option<Thumbprint>),
) -> Result<Credential, Reason> {
    let Case { resource, registry, now, .. } = *case;
    let token_id = claims.member("jti").and_then(Value::as_str).and_then(TokenId::parse);
    case.found(Bearer { client: id.to_string(), key, token_id });
    // Ours always say it, and what was taken back is told by it.
    let issued_at = claims.member("iat").and_then(Value::as_u64).map(Duration::from_secs);
    let issued_at = issued_at.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    let issued_at = issued_at.filter(|time| *time <= now + AHEAD_MAX).ok_or(Reason::SvidClaim("iat"))?;
    let agent = registry.agent_of(&id, now).ok_or(Reason::NoAgent)?;
    let Granted { scopes, is_too_old } = case.granted(agent, issued_at)?;
    Ok(Credential::other(Other {
        kind,
        issuer: None,
        agent: agent.to_owned(),
        subject: Subject::Agent(id),
        audience: resource.audience.to_owned(),
        scopes,
        is_too_old,
        issued_at,
        expires_at,
        key,
        token_id,
    }))
}

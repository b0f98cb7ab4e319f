//! What stands in the headers of a request: one credential, and its proof where it needs one.

use crate::{
    oauth::{access, foreign},
    spiffe::{
        jose::{TOKEN_BYTES_MAX, decode},
        json::{self, Value},
    },
};

use super::{Accepts, Kind, Reason, Registry, Request};

/// The one credential of a request. Nothing in it is believed.
#[derive(Clone, Copy)]
pub(super) enum Presented<'a> {
    /// `Authorization: DPoP` and `DPoP`, with a token of our own.
    OwnToken { token: &'a str, proof: &'a str },
    /// The same with a token of another issuer; or `Authorization: Bearer` with one, which is for the client's certificate.
    ForeignToken { token: &'a str, proof: Option<&'a str> },
    /// `Authorization: Bearer` with any other token.
    JwtSvid { token: &'a str },
    /// `Workload-Identity-Token` and `Workload-Proof-Token`, and perhaps `Txn-Token`.
    WitSvid { token: &'a str, proof: &'a str, transaction: Option<&'a str> },
}

impl Presented<'_> {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::OwnToken { .. } => Kind::Dpop,
            Self::ForeignToken { proof: Some(_), .. } => Kind::ForeignDpop,
            Self::ForeignToken { proof: None, .. } => Kind::ForeignMtls,
            Self::JwtSvid { .. } => Kind::JwtSvid,
            Self::WitSvid { .. } => Kind::Wit,
        }
    }
}

/// What a request came with, if it is one thing and the tool takes its kind.
pub(super) fn read<'a>(
    request: &Request<'a>,
    accepts: Accepts<'_>,
    registry: &impl Registry,
) -> Result<Presented<'a>, Reason> {
    let Request { authorization, proofs, workload_tokens, workload_proofs, .. } = *request;
    if !workload_tokens.is_empty() || !workload_proofs.is_empty() {
        return match authorization.is_empty() && proofs.is_empty() {
            false => Err(Reason::SeveralCredentials),
            true if !accepts.wit => Err(Reason::NotTaken(Kind::Wit)),
            true => workload(request),
        };
    }
    match token(authorization, accepts)? {
        (Scheme::Dpop, token) => {
            let proof = proof(proofs)?;
            // Where no other issuer is taken, every other one is a bad one of ours.
            match accepts.issuers.is_empty() || is_own(token, registry) {
                true => Ok(Presented::OwnToken { token, proof }),
                false => Ok(Presented::ForeignToken { token, proof: Some(proof) }),
            }
        }
        // Whoever has a proof meant something else.
        (Scheme::Bearer, _) if !proofs.is_empty() => Err(Reason::SeveralCredentials),
        (Scheme::Bearer, token) => Ok(bearer(token, accepts)),
    }
}

enum Scheme {
    Dpop,
    Bearer,
}

/// The token of the one `Authorization` header: of the scheme `DPoP` (RFC 9449 §7.1), or of `Bearer` where the tool takes
/// any. One of our own is bound to a key, wherever it comes.
fn token<'a>(authorization: &[&'a [u8]], accepts: Accepts<'_>) -> Result<(Scheme, &'a str), Reason> {
    let value = match authorization {
        [] => return Err(Reason::NoCredentials),
        [one] => str::from_utf8(one).map_err(|_| Reason::Credentials)?,
        _ => return Err(Reason::SeveralCredentials),
    };
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let token = rest.trim_start_matches(' ');
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("DPoP") => Scheme::Dpop,
        _ if !scheme.eq_ignore_ascii_case("Bearer") => return Err(Reason::NoCredentials),
        _ if !accepts.takes_bearer() || token.starts_with(access::CONSTANT_PREFIX) => return Err(Reason::Bearer),
        _ => Scheme::Bearer,
    };
    match token.bytes().all(is_token_byte) {
        true if !token.is_empty() => Ok((scheme, token)),
        // Two headers that somebody has made one.
        _ if token.contains(',') => Err(Reason::SeveralCredentials),
        _ => Err(Reason::Credentials),
    }
}

/// Whether a token is one of our own, or a bad one: it begins as ours do, and has one of our keys or our name. Those of another
/// daemon begin so too.
fn is_own(token: &str, registry: &impl Registry) -> bool {
    if !token.starts_with(access::CONSTANT_PREFIX) {
        return false;
    }
    let text = |at, name| Some(part(token, at)?.as_object()?.member(name)?.as_str()?.to_owned());
    text(0, "kid").is_none_or(|id| registry.keys().key(&id).is_some())
        || text(1, "iss").is_none_or(|name| name == registry.issuer())
}

/// The header of a token, or its claims.
fn part(token: &str, at: usize) -> Option<Value> {
    let bytes = decode(token.split('.').nth(at).filter(|part| part.len() <= TOKEN_BYTES_MAX)?)?;
    json::parse(&bytes, TOKEN_BYTES_MAX).ok()
}

/// An access token says so in its header. Where the tool takes only one of the two kinds, it is a good or a bad one of that.
fn bearer<'a>(token: &'a str, accepts: Accepts<'_>) -> Presented<'a> {
    let is_access = match (accepts.takes_certificates(), accepts.jwt_svid) {
        (true, true) => is_access_token(token),
        (takes_certificates, _) => takes_certificates,
    };
    if is_access { Presented::ForeignToken { token, proof: None } } else { Presented::JwtSvid { token } }
}

fn is_access_token(token: &str) -> bool {
    let header = part(token, 0);
    let kind = header.as_ref().and_then(Value::as_object).and_then(|header| header.member("typ"));
    kind.and_then(Value::as_str).is_some_and(|kind| foreign::TYPES.contains(&kind))
}

/// The value of the one `DPoP` header.
fn proof<'a>(proofs: &[&'a [u8]]) -> Result<&'a str, Reason> {
    match proofs {
        [] => Err(Reason::NoProof),
        [one] => str::from_utf8(one).map_err(|_| Reason::ProofNotAscii),
        _ => Err(Reason::SeveralProofs),
    }
}

/// One of each, and of transaction tokens one at most.
fn workload<'a>(request: &Request<'a>) -> Result<Presented<'a>, Reason> {
    let one = |values: &[&'a [u8]]| match values {
        [one] => str::from_utf8(one).map(Some).map_err(|_| Reason::WorkloadHeaders),
        [] => Ok(None),
        _ => Err(Reason::WorkloadHeaders),
    };
    let token = one(request.workload_tokens)?.ok_or(Reason::WorkloadHeaders)?;
    let proof = one(request.workload_proofs)?.ok_or(Reason::WorkloadHeaders)?;
    Ok(Presented::WitSvid { token, proof, transaction: one(request.transaction_tokens)? })
}

/// token68 (RFC 9110 §11.2)
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

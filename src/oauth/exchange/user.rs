//! The token of a user: an access token or an ID token of an issuer that an operator has pinned.

use std::time::{Duration, SystemTime};

use crate::{
    oauth::{
        Scopes, Thumbprint,
        access::{self, ACTORS_MAX, Actor, actors, is_in, is_text},
        issuer::{Issuer, Unverified},
    },
    spiffe::{
        json::{Object, Value},
        numeric_date,
    },
};

use super::{Error, Expected, TokenType};

/// How far `nbf` and `iat` may be ahead of our clock: the issuer has another one. `exp` has no leeway, as nothing that is
/// made from the token outlives it.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// What a user's token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// `sub`
    pub(crate) name: String,
    /// `iss`
    pub(crate) issuer: String,
    /// `act` and those below it, the latest first; with the agent's there are at most [`ACTORS_MAX`].
    pub(crate) actors: Vec<Actor>,
    /// `may_act.sub`
    pub(crate) may_act: Option<String>,
    /// `scope`
    pub(crate) scopes: Option<Scopes>,
    /// `exp`
    pub(crate) expires_at: SystemTime,
    /// `jti`
    pub(crate) token_id: Option<String>,
}

pub(super) fn read(
    token: Unverified<'_>,
    kind: TokenType,
    issuer: &Issuer,
    expected: &Expected<'_>,
) -> Result<User, Error> {
    // What has a `typ` of its own is for something else: a logout, an event, an assertion (RFC 8725 §3.11).
    match (token.kind(), kind) {
        (None | Some("JWT"), _) | (Some("at+jwt"), TokenType::AccessToken | TokenType::Jwt) => {}
        _ => return Err(Error::Type),
    }
    // All that costs little before the signature.
    let user = claims(token.unverified_claims(), issuer, expected)?;
    token.verify(issuer)?;
    Ok(user)
}

fn claims(claims: &Object, issuer: &Issuer, expected: &Expected<'_>) -> Result<User, Error> {
    // Security event and logout tokens (RFC 8417 §2.2), which older issuers send without a `typ`.
    if claims.has("events") {
        return Err(Error::Type);
    }
    if !is_audience(claims, expected.issuer) {
        return Err(Error::Audience);
    }
    let expires_at = time(claims, "exp")?.ok_or(Error::Claim("exp"))?;
    if expected.now >= expires_at {
        return Err(Error::Expired);
    }
    let latest = expected.now + LEEWAY;
    if [time(claims, "nbf")?, time(claims, "iat")?].into_iter().flatten().any(|time| time > latest) {
        return Err(Error::NotYet);
    }
    if claims.member("cnf").is_some_and(|cnf| !is_bound_to(cnf, expected.holder)) {
        return Err(Error::Key);
    }
    let name = text(claims, "sub")?.ok_or(Error::Claim("sub"))?;
    if is_in(&name, expected.trust_domain) {
        return Err(Error::Name);
    }
    let scopes = scopes(claims)?;
    let actors = claims.member("act").map_or_else(|| Some(Vec::new()), actors).ok_or(Error::Actors)?;
    let is_actor = |actor: &Actor| {
        let is_ours = is_in(&actor.name, expected.trust_domain);
        is_text(&actor.name) && !is_ours && actor.issuer.as_deref().is_none_or(is_text)
    };
    if actors.len() >= ACTORS_MAX || !actors.iter().all(is_actor) {
        return Err(Error::Actors);
    }
    let issuer = issuer.name().as_str().to_owned();
    let (may_act, token_id) = (may_act(claims)?, text(claims, "jti")?);
    Ok(User { name, issuer, actors, may_act, scopes, expires_at, token_id })
}

/// What may be done with it: `scope` (RFC 9068 §2.2.3), or `scp`, as some issuers call it, a text or a list. Where it has
/// both, what both say.
fn scopes(claims: &Object) -> Result<Option<Scopes>, Error> {
    let read = |name| {
        let text = match claims.member(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(all)) if name == "scp" => {
                let all: Option<Vec<_>> = all.iter().map(Value::as_str).collect();
                all.ok_or(Error::Claim(name))?.join(" ")
            }
            Some(_) => return Err(Error::Claim(name)),
        };
        Scopes::parse(&text).map(Some).map_err(|_| Error::Claim(name))
    };
    Ok(match (read("scope")?, read("scp")?) {
        (Some(scope), Some(scp)) => Some(scope.common(&scp)),
        (scope, scp) => scope.or(scp),
    })
}

/// Whether it is for us alone: a token for others too is theirs to use, not ours.
fn is_audience(claims: &Object, issuer: &str) -> bool {
    match claims.member("aud") {
        Some(Value::String(audience)) => audience == issuer,
        Some(Value::Array(audiences)) => matches!(audiences.as_slice(), [Value::String(only)] if only == issuer),
        _ => false,
    }
}

/// Whether the one member of `cnf` is this key. Another way of binding cannot be checked, so it is none.
fn is_bound_to(cnf: &Value, holder: Thumbprint) -> bool {
    let jkt = cnf.as_object().filter(|cnf| cnf.len() == 1).and_then(|cnf| cnf.member("jkt"));
    jkt.and_then(Value::as_str).is_some_and(|jkt| Thumbprint::parse(jkt) == Ok(holder))
}

/// Who alone may act. What else it may say of him is not known here, and could be what tells two apart.
fn may_act(claims: &Object) -> Result<Option<String>, Error> {
    let Some(may_act) = claims.member("may_act") else { return Ok(None) };
    let only = may_act.as_object().filter(|may_act| may_act.len() == 1).and_then(|may_act| may_act.member("sub"));
    match only.and_then(Value::as_str).filter(|name| is_text(name)) {
        Some(name) => Ok(Some(name.to_owned())),
        None => Err(Error::Claim("may_act")),
    }
}

fn text(claims: &Object, name: &'static str) -> Result<Option<String>, Error> {
    access::text(claims, name).map_err(Error::Claim)
}

fn time(claims: &Object, name: &'static str) -> Result<Option<SystemTime>, Error> {
    numeric_date(claims, name).map_err(|_| Error::Claim(name))
}

//! Access tokens of other issuers (RFC 9068), which an operator has pinned: whose they are, for whom, until when, and to
//! what they are bound. Read whole before a key is touched, believed only after.
//!
//! A token that is bound to nothing is none: whoever has it could use it.

use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::{
    CertificateHash, Scope, Scopes, Thumbprint,
    access::{self, Subject, is_in},
    issuer::{self, Issuer, TokenError},
    scope::SCOPES_MAX,
};
use crate::spiffe::{
    Id, jose,
    json::{Object, Value},
    numeric_date,
};

/// The types of access tokens (RFC 9068 §2.1), in these spellings.
pub const TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];
/// How far `nbf` and `iat` may be ahead of our clock: the issuer has another one. `exp` has no leeway: a token that ends
/// a little early is asked for again, one that ends late is good longer than its issuer wanted.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// The longest life of a token, as of one of our own. Nobody tells us what its issuer has taken back meanwhile: the
/// token's end is the first moment at which that counts here.
pub const LIFETIME_MAX: Duration = access::LIFETIME_MAX;
/// The most audiences of a token.
pub const AUDIENCES_MAX: usize = 32;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`
    pub issuer: String,
    /// `client_id`, or `azp`: who asked for it, by his SPIFFE ID.
    pub client: Id,
    /// `sub`, as the issuer says it; the client itself, where it is the same or absent.
    pub subject: Subject,
    /// `aud`
    pub audiences: Vec<String>,
    /// `iat`
    pub issued_at: SystemTime,
    /// `nbf`
    pub not_before: Option<SystemTime>,
    /// `exp`: from then on it is not good any more.
    pub expires_at: SystemTime,
    /// `scope` or `scp`, without what no tool of ours can have as one; perhaps none.
    pub scopes: Scopes,
    /// `cnf`: whose holder may use it.
    pub binding: Binding,
}

/// What a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// `jkt`: a key, which a DPoP proof proves (RFC 9449 §6).
    Key(Thumbprint),
    /// `x5t#S256`: the certificate of a TLS client, which whoever ends the connection has verified (RFC 8705 §3).
    Certificate(CertificateHash),
}

/// Why a token is refused: the first rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// It is no token of an issuer that is pinned, or the signature is not right.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// `typ` is none of [`TYPES`].
    #[error("its `typ` is not `at+jwt`")]
    Type,
    /// A claim is missing or malformed; says which.
    #[error("its `{0}` is missing or malformed")]
    Claim(&'static str),
    /// `cnf` has not exactly one way of binding that is known, or another one than those of [`Binding`].
    #[error("its `cnf` does not bind it to exactly one key or certificate")]
    Confirmation,
    /// `iss` is nobody whose tokens the tool takes, or who is not pinned.
    #[error("it is of an issuer that the tool does not take, or that is not pinned")]
    Issuer,
    /// The tool takes its issuer, which is pinned, but whose keys are not here: their file could not be read.
    #[error("the keys of its issuer are not here")]
    NoKeys,
    /// It is for others.
    #[error("it is for another audience")]
    Audience,
    /// It has ended.
    #[error("it has expired")]
    Expired,
    /// It is of a time to come.
    #[error("its `iat` or `nbf` is ahead of the clock")]
    Ahead,
    /// It would live longer than any may.
    #[error("it lives longer than an access token may")]
    TooLongLived,
}

impl Error {
    /// A stable name for records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(TokenError::Token(jose::Error::Signature)) => "foreign_signature",
            Self::Token(TokenError::UnknownKey) => "foreign_key",
            Self::Token(_) => "foreign_malformed",
            Self::Type => "foreign_type",
            Self::Claim(_) => "foreign_claim",
            Self::Confirmation => "foreign_binding",
            Self::Issuer => "foreign_issuer",
            Self::NoKeys => "foreign_no_keys",
            Self::Audience => "foreign_audience",
            Self::Expired => "foreign_expired",
            Self::Ahead => "foreign_ahead",
            Self::TooLongLived => "foreign_lifetime",
        }
    }
}

/// A token of which nothing is believed yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    token: issuer::Unverified<'a>,
    claims: Claims,
}

impl<'a> Unverified<'a> {
    /// Reads a token of at most [`issuer::TOKEN_BYTES_MAX`].
    ///
    /// # Errors
    /// When it breaks a rule that can be judged without key, clock and audience.
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        let is_of_a_daemon = token.starts_with(access::CONSTANT_PREFIX);
        let token = issuer::Unverified::parse(token)?;
        if !token.kind().is_some_and(|kind| TYPES.contains(&kind)) {
            return Err(Error::Type);
        }
        let claims = read(token.unverified_claims(), is_of_a_daemon)?;
        Ok(Self { token, claims })
    }

    /// What it claims, for finding out cheaply that it cannot be good, and whose keys may be tried.
    pub fn unverified_claims(&self) -> &Claims {
        &self.claims
    }

    /// What it says, if it is of this issuer and signed with one of its keys. Whether it is good at a time and for an
    /// audience is [`Claims::check`]'s question.
    ///
    /// # Errors
    /// [`Error::Issuer`], or that of key or signature.
    pub fn verify(self, issuer: &Issuer) -> Result<Claims, Error> {
        if self.claims.issuer != issuer.name().as_str() {
            return Err(Error::Issuer);
        }
        self.token.verify(issuer)?;
        Ok(self.claims)
    }
}

impl Claims {
    /// Whether it is good at this time, for this audience among others: it is bound, so that none of these can use it
    /// in the place of its holder.
    ///
    /// # Errors
    /// [`Error::Audience`], [`Error::Expired`], [`Error::Ahead`].
    pub fn check(&self, audience: &str, now: SystemTime) -> Result<(), Error> {
        if !self.audiences.iter().any(|own| own == audience) {
            return Err(Error::Audience);
        }
        if now >= self.expires_at {
            return Err(Error::Expired);
        }
        match self.not_before.is_some_and(|begin| begin > now + LEEWAY) || self.issued_at > now + LEEWAY {
            true => Err(Error::Ahead),
            false => Ok(()),
        }
    }
}

fn read(claims: &Object, is_of_a_daemon: bool) -> Result<Claims, Error> {
    let time = |name: &'static str| numeric_date(claims, name).map_err(|_| Error::Claim(name));
    let issued_at = time("iat")?.ok_or(Error::Claim("iat"))?;
    let expires_at = time("exp")?.ok_or(Error::Claim("exp"))?;
    match expires_at.duration_since(issued_at) {
        Ok(Duration::ZERO) | Err(_) => return Err(Error::Claim("exp")),
        Ok(lifetime) if lifetime > LIFETIME_MAX => return Err(Error::TooLongLived),
        Ok(_) => {}
    }
    // It says that somebody else uses it than its client.
    if claims.has("act") {
        return Err(Error::Claim("act"));
    }
    let issuer = text(claims, "iss")?.ok_or(Error::Claim("iss"))?;
    let client = client(claims, is_of_a_daemon)?;
    Ok(Claims {
        subject: subject(claims, &issuer, &client)?,
        issuer,
        client,
        audiences: audiences(claims).ok_or(Error::Claim("aud"))?,
        issued_at,
        not_before: time("nbf")?,
        expires_at,
        scopes: scopes(claims).ok_or(Error::Claim("scope"))?,
        binding: confirmation(claims).ok_or(Error::Confirmation)?,
    })
}

/// `client_id` (RFC 9068 §2.2), or `azp`, as issuers had it before; where both are, they are the same. Another daemon has the
/// agent's name there, and its SPIFFE ID as `sub`.
fn client(claims: &Object, is_of_a_daemon: bool) -> Result<Id, Error> {
    let (client, party) = (text(claims, "client_id")?, text(claims, "azp")?);
    if client.as_ref().zip(party.as_ref()).is_some_and(|(client, party)| client != party) {
        return Err(Error::Claim("azp"));
    }
    let client = client.or(party).ok_or(Error::Claim("client_id"))?;
    match Id::parse(&client) {
        Ok(id) => Ok(id),
        Err(_) if !is_of_a_daemon => Err(Error::Claim("client_id")),
        Err(_) => {
            let subject = text(claims, "sub")?.ok_or(Error::Claim("sub"))?;
            Id::parse(&subject).map_err(|_| Error::Claim("sub"))
        }
    }
}

/// Nobody else than the client goes by a name of its trust domain.
fn subject(claims: &Object, issuer: &str, client: &Id) -> Result<Subject, Error> {
    match text(claims, "sub")? {
        None => Ok(Subject::Agent(client.clone())),
        Some(name) if name == client.as_str() => Ok(Subject::Agent(client.clone())),
        Some(name) if is_in(&name, &client.trust_domain()) => Err(Error::Claim("sub")),
        Some(name) => Ok(Subject::User { name, issuer: issuer.to_owned(), agent: client.clone(), earlier: Vec::new() }),
    }
}

fn audiences(claims: &Object) -> Option<Vec<String>> {
    match claims.member("aud")? {
        Value::String(audience) => Some(vec![audience.clone()]),
        Value::Array(all) if (1..=AUDIENCES_MAX).contains(&all.len()) => {
            all.iter().map(|audience| audience.as_str().map(ToOwned::to_owned)).collect()
        }
        _ => None,
    }
}

/// Where there is also a `scp`, as some issuers call it, what both say. What is no scope here is nobody's grant, and left
/// out.
fn scopes(claims: &Object) -> Option<Scopes> {
    let read = |name: &str| {
        let all: Vec<_> = match claims.member(name) {
            None => return Some(None),
            Some(Value::String(text)) => text.split(' ').collect(),
            Some(Value::Array(all)) if name == "scp" => all.iter().map(Value::as_str).collect::<Option<_>>()?,
            Some(_) => return None,
        };
        let scopes = || all.iter().filter_map(|scope| Scope::parse(scope).ok()).collect();
        (all.len() <= SCOPES_MAX).then(scopes).map(Some)
    };
    Some(match (read("scope")?, read("scp")?) {
        (Some(scope), Some(scp)) => Scopes::common(&scope, &scp),
        (scope, scp) => scope.or(scp).unwrap_or_default(),
    })
}

/// The one member of `cnf` that is a way of binding. What else stands there says how it came about (Keycloak's
/// `kc-jkt-type`).
fn confirmation(claims: &Object) -> Option<Binding> {
    /// RFC 7800 §3, RFC 8705 §3.1, RFC 9449 §6.1.
    const KNOWN: [&str; 6] = ["jwk", "jwe", "kid", "jku", "x5t#S256", "jkt"];
    let cnf = claims.member("cnf")?.as_object()?;
    if KNOWN.iter().filter(|name| cnf.has(name)).count() != 1 {
        return None;
    }
    let text = |name| cnf.member(name).map(Value::as_str);
    match (text("jkt"), text("x5t#S256")) {
        (Some(jkt), _) => Thumbprint::parse(jkt?).ok().map(Binding::Key),
        (None, Some(hash)) => CertificateHash::parse(hash?).map(Binding::Certificate),
        (None, None) => None,
    }
}

fn text(claims: &Object, name: &'static str) -> Result<Option<String>, Error> {
    access::text(claims, name).map_err(Error::Claim)
}

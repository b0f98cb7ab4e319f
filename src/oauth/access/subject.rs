//! For whom a token is used: an agent for itself, or for a user (RFC 8693 §4.1).

use crate::spiffe::{
    Id, TrustDomain,
    json::{Members, Object, Value},
};

use super::{Error, TEXT_BYTES_MAX};

/// The most actors of one token, the agent among them.
pub const ACTORS_MAX: usize = 4;

/// Whose rights a token carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The agent's own, by its SPIFFE ID.
    Agent(Id),
    /// A user's, for whom the agent acts.
    User {
        /// `sub`, as the user's own issuer says it.
        name: String,
        /// `sub_iss`: that issuer.
        issuer: String,
        /// `act.sub`: the agent.
        agent: Id,
        /// The actors below it, the latest first.
        earlier: Vec<Actor>,
    },
}

/// Somebody who acted before: for people and records, never for decisions (RFC 8693 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `sub`
    pub name: String,
    /// `iss`, where it has one.
    pub issuer: Option<String>,
}

impl Subject {
    /// Who acts.
    pub fn agent(&self) -> &Id {
        match self {
            Self::Agent(id) | Self::User { agent: id, .. } => id,
        }
    }

    /// `sub`
    pub fn name(&self) -> &str {
        match self {
            Self::Agent(id) => id.as_str(),
            Self::User { name, .. } => name,
        }
    }

    /// The name of the first claim that cannot be written.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let Self::User { name, issuer, agent, earlier } = self else { return None };
        if !is_text(name) || is_in(name, &agent.trust_domain()) {
            return Some("sub");
        }
        if !is_text(issuer) {
            return Some("sub_iss");
        }
        let is_actor = |actor: &Actor| is_text(&actor.name) && actor.issuer.as_deref().is_none_or(is_text);
        let fits = earlier.len() < ACTORS_MAX && earlier.iter().all(is_actor);
        (!fits).then_some("act")
    }

    /// Adds `sub`.
    pub(super) fn write_name(&self, json: Members) -> Members {
        json.string("sub", self.name())
    }

    /// Adds `sub_iss` and `act` where there are such.
    pub(super) fn write_rest(&self, json: Members) -> Members {
        let Self::User { issuer, agent, earlier, .. } = self else { return json };
        let nested = earlier.iter().rev().fold(None, |below: Option<String>, actor| {
            let json = Members::new().string("sub", &actor.name);
            let json = actor.issuer.iter().fold(json, |json, issuer| json.string("iss", issuer));
            Some(below.iter().fold(json, |json, below| json.raw("act", below)).finish())
        });
        let act = Members::new().string("sub", agent.as_str());
        let act = nested.iter().fold(act, |act, below| act.raw("act", below)).finish();
        json.string("sub_iss", issuer).raw("act", &act)
    }

    pub(super) fn read(claims: &Object) -> Result<Self, Error> {
        let name = claims.member("sub").and_then(Value::as_str).ok_or(Error::Claim("sub"))?;
        let subject = match (claims.member("sub_iss"), claims.member("act")) {
            (None, None) => Self::Agent(Id::parse(name).map_err(|_| Error::Claim("sub"))?),
            (Some(issuer), Some(act)) => {
                let issuer = issuer.as_str().ok_or(Error::Claim("sub_iss"))?.to_owned();
                let (agent, earlier) = agent_first(act).ok_or(Error::Claim("act"))?;
                Self::User { name: name.to_owned(), issuer, agent, earlier }
            }
            (None, Some(_)) => return Err(Error::Claim("sub_iss")),
            (Some(_), None) => return Err(Error::Claim("act")),
        };
        match subject.fault() {
            None => Ok(subject),
            Some(claim) => Err(Error::Claim(claim)),
        }
    }
}

/// Whether a user goes by a name of this trust domain, in any spelling of a URL that some reader takes for one: whoever
/// looks at `sub` alone would take him for a workload of ours.
pub(in crate::oauth) fn is_in(name: &str, trust_domain: &TrustDomain) -> bool {
    let name = unescaped(name.trim()).to_lowercase().replace('\\', "/");
    let Some(rest) = name.trim_start().strip_prefix("spiffe:") else { return false };
    let authority = rest.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    host.trim().trim_end_matches('.') == trust_domain.to_string()
}

/// A text with its percent-escapes resolved, as often as they are there.
fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    // Each round makes it shorter, or is the last.
    loop {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((first, behind)) = rest.split_first() {
            let escape = behind.split_at_checked(2).filter(|_| *first == b'%').and_then(|(digits, behind)| {
                Some((u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?, behind))
            });
            let (byte, behind) = escape.unwrap_or((*first, behind));
            bytes.push(byte);
            rest = behind;
        }
        let next = String::from_utf8_lossy(&bytes).into_owned();
        if next == text {
            return text;
        }
        text = next;
    }
}

/// Who acts, and who acted before, the latest first.
pub(in crate::oauth) fn actors(act: &Value) -> Option<Vec<Actor>> {
    let (mut actors, mut next) = (Vec::new(), Some(act));
    while let Some(actor) = next {
        let actor = actor.as_object()?;
        let issuer = match actor.member("iss") {
            None => None,
            Some(issuer) => Some(issuer.as_str()?.to_owned()),
        };
        actors.push(Actor { name: actor.member("sub")?.as_str()?.to_owned(), issuer });
        next = actor.member("act");
    }
    Some(actors)
}

/// The agent, and who acted before it.
fn agent_first(act: &Value) -> Option<(Id, Vec<Actor>)> {
    let mut actors = actors(act)?.into_iter();
    let agent = Id::parse(&actors.next()?.name).ok()?;
    Some((agent, actors.collect()))
}

/// A claim that is a text that a record can show, where it is there; otherwise its name.
pub(in crate::oauth) fn text(claims: &Object, name: &'static str) -> Result<Option<String>, &'static str> {
    match claims.member(name) {
        None => Ok(None),
        Some(Value::String(text)) if is_text(text) => Ok(Some(text.clone())),
        Some(_) => Err(name),
    }
}

/// A name that a record can show: not empty, no control character, of at most [`TEXT_BYTES_MAX`].
pub(in crate::oauth) fn is_text(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

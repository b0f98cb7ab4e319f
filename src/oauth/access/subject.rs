//! For whom a token is used: an agent for itself, or for a user (RFC 8693 §4.1).

use crate::spiffe::{
    Id,
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
        if !is_text(name) || is_agent(name, agent) {
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
                let (agent, earlier) = actors(act).ok_or(Error::Claim("act"))?;
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

/// Whether a user goes by a name of this agent's trust domain, in any spelling: whoever looks at `sub` alone would take
/// him for a workload of ours.
fn is_agent(name: &str, agent: &Id) -> bool {
    let domain = agent.trust_domain().id();
    name.to_ascii_lowercase().strip_prefix(&domain).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The agent, and who acted before it.
fn actors(act: &Value) -> Option<(Id, Vec<Actor>)> {
    let act = act.as_object()?;
    let agent = Id::parse(act.member("sub")?.as_str()?).ok()?;
    let (mut earlier, mut below) = (Vec::new(), act.member("act"));
    while let Some(actor) = below {
        let actor = actor.as_object()?;
        let issuer = match actor.member("iss") {
            None => None,
            Some(issuer) => Some(issuer.as_str()?.to_owned()),
        };
        earlier.push(Actor { name: actor.member("sub")?.as_str()?.to_owned(), issuer });
        below = actor.member("act");
    }
    Some((agent, earlier))
}

/// A name that a record can show: not empty, no control character, of at most [`TEXT_BYTES_MAX`].
pub(super) fn is_text(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

//! `dayfly token inspect`: what stands in a token, for people who look for a fault. The signature is neither checked nor
//! shown: what is printed is worth nothing to a thief.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::{
    cli::{context::Context, exit::Exit, failure::Failure, moment, validate},
    oauth::access,
    spiffe::{jose, json::Object},
    sys::Clock,
};

/// `token inspect`
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The token's file, or - for stdin
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    token: PathBuf,
}

/// What people look for first, and what they call it.
const ROWS: [(&str, &str); 11] = [
    ("iss", "issuer"),
    ("sub", "subject"),
    ("sub_iss", "subject's issuer"),
    ("act", "acting"),
    ("aud", "audience"),
    ("client_id", "agent"),
    ("scope", "scope"),
    ("cnf", "bound to"),
    ("iat", "issued"),
    ("exp", "until"),
    ("jti", "id"),
];

impl Inspect {
    /// Runs the verb.
    ///
    /// # Errors
    /// When there is no token, or it is none.
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let token = validate::token(&self.token)?;
        let read = jose::Compact::parse(&token, jose::TOKEN_BYTES_MAX, |header| Ok(header.clone()));
        let jose::Compact { header, claims, .. } = read.map_err(|error: jose::Error| {
            Failure::new(Exit::Invalid, format!("it is no token: {error}"))
                .hint("a token has three parts in base64url, with dots between them")
        })?;
        let (header, claims) = (members(&header), members(&claims));
        let is_ours = access::Unverified::parse(&token).is_ok();
        if context.print.is_json() {
            let ours = Json::Bool(is_ours);
            return context.print.json(&json!({ "header": header, "claims": claims, "access_token": ours }));
        }
        let kind = match is_ours {
            true => "access token of a Dayfly daemon".to_owned(),
            false => header.get("typ").map_or_else(|| "token without a type".to_owned(), words),
        };
        let key = header.get("kid").map(|key| ("key", words(key)));
        let now = Clock::system().now();
        let told = ROWS.iter().filter_map(|(name, called)| {
            let value = claims.get(*name)?;
            let time = value.as_u64().filter(|_| ["iat", "exp"].contains(name));
            Some((*called, time.map_or_else(|| words(value), |time| moment::text_and_distance(time, now))))
        });
        let rest: Map<_, _> =
            claims.iter().filter(|(name, _)| ROWS.iter().all(|(told, _)| told != name)).map(own).collect();
        let rest = (!rest.is_empty()).then(|| ("besides", Json::Object(rest).to_string()));
        let signature = ("signature", "not checked, and not shown".to_owned());
        context.print.pairs([("kind", kind)].into_iter().chain(key).chain(told).chain(rest).chain([signature]))
    }
}

fn members(object: &Object) -> Map<String, Json> {
    match validate::claims(object) {
        Json::Object(members) => members,
        _ => Map::new(),
    }
}

fn own((name, value): (&String, &Json)) -> (String, Json) {
    (name.clone(), value.clone())
}

/// A text as it is; anything else as JSON.
fn words(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

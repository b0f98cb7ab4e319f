//! `dayfly validate jwt`: the Workload API's word, or one's own by a bundle in a file.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use prost_types::{Struct, Value, value::Kind as Claim};
use serde_json::{Map, Value as Json};
use tonic::Code;

use crate::{
    cli::{
        bundles::{Kind, Known},
        context::Context,
        exit::Exit,
        failure::Failure,
        link,
    },
    pb::workload::{ValidateJwtsvidRequest, ValidateJwtsvidResponse},
    spiffe::jwt::{self, Expected, Issuer, Validated},
    sys::Clock,
};

use super::{
    LEEWAY,
    code::Reason,
    input,
    source::Source,
    verdict::{self, Facts},
};

/// `validate jwt`
#[derive(Debug, Args)]
pub(crate) struct ValidateJwt {
    /// The token's file, or - for stdin
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    token: PathBuf,
    /// The name that you, who are to believe it, go by
    #[arg(long, value_name = "AUDIENCE")]
    audience: String,
    #[command(flatten)]
    source: Source,
}

/// Runs the verb.
///
/// # Errors
/// When it is not valid, or could not be judged.
pub(super) async fn run(context: &Context, validate: ValidateJwt) -> Result<(), Failure> {
    let ValidateJwt { token, audience, source } = validate;
    if audience.is_empty() {
        return Err(Failure::new(Exit::Usage, "the audience is empty"));
    }
    let (token, print) = (input::token(&token)?, &context.print);
    if source.is_file() {
        let known = source.known(context, Kind::Jwt).await?;
        let now = Clock::system().now();
        return match judge(&token, &audience, &known, now) {
            Ok(validated) => verdict::valid(print, own(&validated, now)),
            Err(error) => verdict::invalid(print, &error.into()),
        };
    }
    let socket = context.workload_socket(source.socket.as_deref())?;
    match link::first(ask(&socket, &token, &audience)).await? {
        Ok(response) => verdict::valid(print, endpoints(response)?),
        // The endpoint says no to everybody in the same words; why is found out here, where it can be.
        Err(words) => {
            let known = source.known(context, Kind::Jwt).await;
            let judged = known.map(|known| judge(&token, &audience, &known, Clock::system().now()));
            let reason = match judged {
                Ok(Err(error)) => error.into(),
                Ok(Ok(_)) | Err(_) => Reason::new("refused", format!("the endpoint says: {words}")),
            };
            verdict::invalid(print, &reason)
        }
    }
}

/// The endpoint's answer; its word against the token is none of its failures.
async fn ask(socket: &Path, token: &str, audience: &str) -> Result<Result<ValidateJwtsvidResponse, String>, Failure> {
    let mut client = link::workload(socket).await?;
    let request = ValidateJwtsvidRequest { audience: audience.to_owned(), svid: token.to_owned() };
    match client.validate_jwtsvid(request).await {
        Ok(response) => Ok(Ok(response.into_inner())),
        Err(status) if status.code() == Code::InvalidArgument => Ok(Err(status.message().to_owned())),
        Err(status) => Err(link::workload_refusal(&status)),
    }
}

fn judge(token: &str, audience: &str, known: &Known, now: SystemTime) -> Result<Validated, jwt::Error> {
    let expected = Expected { audience, now, leeway: LEEWAY };
    jwt::validate(token, &expected, |domain| known.jwt.as_ref().and_then(|all| all.get(domain)).map(Issuer::from))
}

fn own(validated: &Validated, now: SystemTime) -> Facts {
    let claims = verdict::claims(&validated.claims);
    facts(validated.id.as_str(), Some(validated.expires_at), claims, now)
}

/// What the endpoint answered, if it is an answer.
fn endpoints(response: ValidateJwtsvidResponse) -> Result<Facts, Failure> {
    let claims = response.claims.map(|claims| from_struct(claims, 0)).unwrap_or_default();
    let named = claims.get("sub").and_then(Json::as_str) == Some(&response.spiffe_id);
    if response.spiffe_id.is_empty() || !named {
        return Err(Failure::new(
            Exit::Failed,
            "the endpoint's answer is not right: it does not say whose token it is",
        ));
    }
    let expires_at = claims.get("exp").and_then(Json::as_u64).map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    Ok(facts(&response.spiffe_id, expires_at, Json::Object(claims), Clock::system().now()))
}

fn facts(id: &str, expires_at: Option<SystemTime>, claims: Json, now: SystemTime) -> Facts {
    let audiences = match claims.get("aud") {
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).collect::<Vec<_>>().join("\n"),
        Some(Json::String(one)) => one.clone(),
        _ => String::new(),
    };
    let mut rows = vec![("spiffe id", id.to_owned()), ("audiences", audiences)];
    rows.extend(expires_at.map(|end| verdict::until(end, now)));
    let json = Map::from_iter([("spiffe_id".to_owned(), id.into()), ("claims".to_owned(), claims)]);
    Facts { rows, json }
}

fn from_struct(claims: Struct, depth: usize) -> Map<String, Json> {
    claims.fields.into_iter().map(|(name, value)| (name, from_value(value, depth + 1))).collect()
}

fn from_value(value: Value, depth: usize) -> Json {
    match value.kind {
        // prost ends the reading of deeper ones before; this is for the day on which it does not.
        _ if depth > DEPTH_MAX => Json::Null,
        None | Some(Claim::NullValue(_)) => Json::Null,
        Some(Claim::BoolValue(value)) => value.into(),
        Some(Claim::StringValue(text)) => text.into(),
        Some(Claim::NumberValue(number)) => whole_number(number).map_or_else(|| number.into(), Json::from),
        Some(Claim::ListValue(list)) => list.values.into_iter().map(|value| from_value(value, depth + 1)).collect(),
        Some(Claim::StructValue(claims)) => Json::Object(from_struct(claims, depth)),
    }
}

/// `google.protobuf.Struct` knows doubles only; a time is to look like one.
fn whole_number(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and within 2^53")]
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn response(sub: &str) -> ValidateJwtsvidResponse {
        let value = |kind| Value { kind: Some(kind) };
        let list = prost_types::ListValue { values: vec![value(Claim::StringValue("a".into()))] };
        let claims = [
            ("sub", Claim::StringValue(sub.into())),
            ("aud", Claim::ListValue(list)),
            ("exp", Claim::NumberValue(1_795_287_135.0)),
            ("share", Claim::NumberValue(0.5)),
        ];
        let fields = claims.into_iter().map(|(name, kind)| (name.to_owned(), value(kind))).collect();
        ValidateJwtsvidResponse { spiffe_id: "spiffe://example.org/web".into(), claims: Some(Struct { fields }) }
    }

    #[test]
    fn an_answer_is_shown_with_times_that_look_like_times() {
        let facts = endpoints(response("spiffe://example.org/web")).unwrap();
        let claims = facts.json.get("claims").unwrap();
        assert_eq!(
            claims.to_string(),
            r#"{"aud":["a"],"exp":1795287135,"share":0.5,"sub":"spiffe://example.org/web"}"#
        );
    }

    #[test]
    fn what_is_nested_too_deep_is_cut() {
        let mut value = Value { kind: Some(Claim::StringValue("deep".into())) };
        for _ in 0..DEPTH_MAX {
            value = Value { kind: Some(Claim::ListValue(prost_types::ListValue { values: vec![value] })) };
        }
        assert!(from_value(value.clone(), 0).to_string().contains("deep"));
        assert!(from_value(value, 1).to_string().contains("null"));
    }

    #[test]
    fn an_answer_that_does_not_say_whose_it_is_is_none() {
        for other in ["", "spiffe://example.org/other"] {
            assert_eq!(endpoints(response(other)).err().unwrap().exit(), Exit::Failed);
        }
        assert!(endpoints(ValidateJwtsvidResponse::default()).is_err());
    }
}

//! What came of it, for people and for programs.

use std::time::SystemTime;

use serde_json::{Map, Value as Json, json};

use crate::{
    cli::{exit::Exit, failure::Failure, moment, print::Printer},
    spiffe::json::{Number, Object, Value},
};

use super::code::Reason;

/// What can be said of something that is valid: names for people, with their values, and the same as JSON.
pub(super) struct Facts {
    pub(super) rows: Vec<(&'static str, String)>,
    pub(super) json: Map<String, Json>,
}

/// Tells that it is valid.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn valid(print: &Printer, facts: Facts) -> Result<(), Failure> {
    if print.is_json() {
        let mut document = Map::from_iter([("valid".to_owned(), Json::Bool(true))]);
        document.extend(facts.json);
        return print.json(&document);
    }
    print.pairs([("valid", "yes".to_owned())].into_iter().chain(facts.rows))
}

/// Tells why it is not.
///
/// # Errors
/// Always: that is the answer.
pub(super) fn invalid(print: &Printer, reason: &Reason) -> Result<(), Failure> {
    let Reason { code, words } = reason;
    if print.is_json() {
        print.json(&json!({ "valid": false, "code": code, "reason": words }))?;
    }
    Err(Failure::new(Exit::Invalid, format!("not valid: {words} ({code})")))
}

/// When something ends, as a row.
pub(super) fn until(time: SystemTime, now: SystemTime) -> (&'static str, String) {
    ("until", moment::text_and_distance(moment::unix(time), now))
}

/// A token's claims.
pub(crate) fn claims(object: &Object) -> Json {
    Json::Object(object.iter().map(|(name, value)| (name.to_owned(), claim(value))).collect())
}

fn claim(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(Number::Unsigned(number)) => (*number).into(),
        Value::Number(Number::Negative(number)) => (*number).into(),
        Value::Number(Number::Inexact(number)) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(all) => all.iter().map(claim).collect(),
        Value::Object(object) => claims(object),
    }
}

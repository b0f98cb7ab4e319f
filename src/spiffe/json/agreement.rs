//! For tests and fuzzing: whether another reader, serde's, has read the same.

use super::{Number, Value};

/// Whether serde's reader takes this text too, and sees the same in it.
pub(crate) fn is_shared(ours: &Value, text: &[u8]) -> bool {
    match serde_json::from_slice(text) {
        Ok(theirs) => is_same(ours, &theirs),
        // It stops a little short of the greatest double.
        Err(error) => error.to_string().starts_with("number out of range"),
    }
}

fn is_same(ours: &Value, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Bool(ours), serde_json::Value::Bool(theirs)) => ours == theirs,
        (Value::Number(Number::Unsigned(ours)), theirs) if *ours != 0 => theirs.as_u64() == Some(*ours),
        (Value::Number(Number::Negative(ours)), theirs) => theirs.as_i64() == Some(*ours),
        (Value::Number(ours), theirs) => theirs.as_f64().is_some_and(|theirs| is_near(ours.to_f64(), theirs)),
        (Value::String(ours), theirs) => theirs.as_str() == Some(ours),
        (Value::Array(ours), serde_json::Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| is_same(ours, theirs))
        }
        (Value::Object(ours), serde_json::Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(name, ours)| theirs.get(name).is_some_and(|theirs| is_same(ours, theirs)))
        }
        _ => false,
    }
}

/// It rounds the last bits another way.
fn is_near(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= ours.abs() * 1e-14 + 1e-300
}

//! A token's claims as `google.protobuf.Struct`.
//!
//! Its numbers are doubles: an integer beyond 2^53 arrives as the nearest one. The token itself has the exact number.

use prost_types::{ListValue, Struct, Value as Shown, value::Kind};

use crate::spiffe::json::{Object, Value};

/// All claims. `aud` is a list, also where the token has one text.
pub(super) fn shown(claims: &Object) -> Struct {
    let fields = claims.iter().map(|(name, value)| {
        let value = match (name, value) {
            ("aud", Value::String(_)) => list([value]),
            _ => shown_value(value),
        };
        (name.to_owned(), value)
    });
    Struct { fields: fields.collect() }
}

/// As deep as tokens are read (`json::DEPTH_MAX`).
fn shown_value(value: &Value) -> Shown {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.to_f64()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => return list(values),
        Value::Object(object) => {
            let fields = object.iter().map(|(name, value)| (name.to_owned(), shown_value(value)));
            Kind::StructValue(Struct { fields: fields.collect() })
        }
    };
    Shown { kind: Some(kind) }
}

fn list<'a>(values: impl IntoIterator<Item = &'a Value>) -> Shown {
    let values = values.into_iter().map(shown_value).collect();
    Shown { kind: Some(Kind::ListValue(ListValue { values })) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::spiffe::json;

    fn of(text: &str) -> Struct {
        shown(json::parse(text.as_bytes(), text.len()).unwrap().as_object().unwrap())
    }

    fn kind_of(shown: &Struct, name: &str) -> Kind {
        shown.fields.get(name).and_then(|value| value.kind.clone()).unwrap()
    }

    fn number(shown: &Struct, name: &str) -> Option<u64> {
        match kind_of(shown, name) {
            Kind::NumberValue(number) => Some(number.to_bits()),
            _ => None,
        }
    }

    fn texts(list: &ListValue) -> Vec<Kind> {
        list.values.iter().filter_map(|value| value.kind.clone()).collect()
    }

    #[test]
    fn every_kind_of_value_has_its_kind() {
        let shown = of(r#"{"a":null,"b":true,"c":"t","d":[1,[2]],"e":{"f":-1.5},"exp":1800000000}"#);
        assert_eq!(kind_of(&shown, "a"), Kind::NullValue(0));
        assert_eq!(kind_of(&shown, "b"), Kind::BoolValue(true));
        assert_eq!(kind_of(&shown, "c"), Kind::StringValue("t".into()));
        assert_eq!(number(&shown, "exp"), Some(1_800_000_000_f64.to_bits()));
        let Kind::StructValue(inner) = kind_of(&shown, "e") else { panic!("no object") };
        assert_eq!(number(&inner, "f"), Some((-1.5_f64).to_bits()));
        let Kind::ListValue(outer) = kind_of(&shown, "d") else { panic!("no list") };
        let [Kind::NumberValue(_), Kind::ListValue(inner)] = &texts(&outer)[..] else { panic!("{outer:?}") };
        assert_eq!(texts(inner), [Kind::NumberValue(2.0)]);
    }

    #[test]
    fn an_audience_is_a_list_and_a_large_integer_the_nearest_double() {
        for text in [r#"{"aud":"x"}"#, r#"{"aud":["x"]}"#] {
            let Kind::ListValue(list) = kind_of(&of(text), "aud") else { panic!("no list") };
            assert_eq!(texts(&list), [Kind::StringValue("x".into())]);
        }
        assert_eq!(number(&of(r#"{"n":9007199254740993}"#), "n"), Some(9_007_199_254_740_992_f64.to_bits()));
    }
}

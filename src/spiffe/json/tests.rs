//! What the reader takes, what it refuses and why, and that another reader sees the same.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::{
    DEPTH_MAX, Error as E, Members, Number as N, VALUES_MAX, Value, agreement::is_shared, array, parse,
    parse_with_repeats,
};

const MOST: usize = 1 << 20;

fn read(text: &str) -> Result<Value, E> {
    parse(text.as_bytes(), MOST)
}

#[test]
fn what_is_taken_is_read_by_others_alike() {
    let texts = [
        "null",
        "true",
        "false",
        " \t\r\n0 \n",
        "-0",
        "1",
        "-1",
        "9007199254740993",
        "18446744073709551615",
        "-9223372036854775808",
        "18446744073709551616",
        "-9223372036854775809",
        "0.5",
        "-1.25e-3",
        "1E+2",
        "1e3",
        "1.7976931348623157e308",
        r#""""#,
        r#""a\"\\\/\b\f\n\r\t""#,
        r#""\u0041\u00e9\u20AC\ud83d\ude00""#,
        "\"é€😀\u{7f}\u{2028}\"",
        "[]",
        "[1,[2,[3]],{}]",
        r#"{"a":1,"A":2,"":{"b":[null]}}"#,
        r#" { "a" : [ 1 , 2 ] , "b" : { } } "#,
    ];
    for text in texts {
        assert!(is_shared(&read(text).unwrap(), text.as_bytes()), "{text}");
    }
    // The comparison can fail.
    for (ours, theirs) in [("1", "2"), ("[]", "[1]"), ("{}", r#"{"a":1}"#), ("0.5", "0.6"), ("1", "[")] {
        assert!(!is_shared(&read(ours).unwrap(), theirs.as_bytes()), "{ours} {theirs}");
    }
}

#[test]
fn what_is_no_json_is_refused_as_what_it_is() {
    let cases: &[(&str, E)] = &[
        ("", E::Cut),
        ("  ", E::Cut),
        ("[1", E::Cut),
        ("{\"a\"", E::Cut),
        ("\"a", E::Cut),
        ("\"\\", E::Cut),
        ("\"\\u12", E::Cut),
        ("-", E::Cut),
        ("1.", E::Cut),
        ("1e", E::Cut),
        ("tru", E::Syntax(0)),
        ("True", E::Syntax(0)),
        ("NaN", E::Syntax(0)),
        ("Infinity", E::Syntax(0)),
        ("'a'", E::Syntax(0)),
        ("// a\n1", E::Syntax(0)),
        ("+1", E::Syntax(0)),
        (".5", E::Syntax(0)),
        ("-a", E::Syntax(1)),
        ("01", E::Trailing),
        ("0x1", E::Trailing),
        ("-01", E::Trailing),
        ("1.e3", E::Syntax(2)),
        ("[1,]", E::Syntax(3)),
        ("[,1]", E::Syntax(1)),
        ("[1 2]", E::Syntax(3)),
        ("{\"a\":1,}", E::Syntax(7)),
        ("{a:1}", E::Syntax(1)),
        ("{\"a\" 1}", E::Syntax(5)),
        ("{1:1}", E::Syntax(1)),
        ("\"\t\"", E::Syntax(1)),
        ("\"a\nb\"", E::Syntax(2)),
        ("\"\\x\"", E::Syntax(2)),
        ("\"\\u12g4\"", E::Syntax(5)),
        ("\"\\ud800\"", E::Syntax(7)),
        ("\"\\ud800\\u0041\"", E::Syntax(3)),
        ("\"\\udc00\"", E::Syntax(3)),
        ("1 1", E::Trailing),
        ("{}{}", E::Trailing),
        ("{}\0", E::Trailing),
        ("\u{feff}{}", E::ByteOrderMark),
        ("\u{a0}1", E::Syntax(0)),
        ("1e400", E::Number),
        ("-1e400", E::Number),
        ("{\"a\":1,\"a\":1}", E::Repeated),
        ("[{\"b\":{\"a\":1,\"\\u0061\":2}}]", E::Repeated),
    ];
    for (text, reason) in cases {
        assert_eq!(read(text), Err(*reason), "{text:?}");
    }
    assert_eq!(parse(b"\"\xff\"", MOST), Err(E::NotUtf8));
    assert_eq!(parse(b"\xff\xfe{\0}\0", MOST), Err(E::NotUtf8));
    assert_eq!(parse(b"{\0}\0", MOST), Err(E::Syntax(1)));
    // CESU-8: a surrogate pair as six bytes
    assert_eq!(parse(b"\"\xed\xa0\xbd\xed\xb8\x80\"", MOST), Err(E::NotUtf8));
}

#[test]
fn numbers_are_told_apart_by_their_tokens() {
    let cases = [
        ("0", N::Unsigned(0)),
        ("-0", N::Unsigned(0)),
        ("9007199254740993", N::Unsigned(9_007_199_254_740_993)),
        ("18446744073709551615", N::Unsigned(u64::MAX)),
        ("18446744073709551616", N::Inexact(18_446_744_073_709_551_616.0)),
        ("-1", N::Negative(-1)),
        ("-9223372036854775808", N::Negative(i64::MIN)),
        ("-9223372036854775809", N::Inexact(-9_223_372_036_854_775_808.0)),
        ("1.0", N::Inexact(1.0)),
        ("1e3", N::Inexact(1000.0)),
        ("1700000000.5", N::Inexact(1_700_000_000.5)),
    ];
    for (text, number) in cases {
        assert_eq!(read(text), Ok(Value::Number(number)), "{text}");
    }
    assert_eq!(read("1e3").unwrap().as_u64(), None);
    assert_eq!(read("1000").unwrap().as_u64(), Some(1000));
}

#[test]
fn each_limit_is_met_exactly() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(read(&nested(DEPTH_MAX + 1)), Err(E::TooDeep));
    assert_eq!(read(&nested(10_000)), Err(E::TooDeep));
    assert_eq!(read(&"[".repeat(10_000)), Err(E::TooDeep));
    assert_eq!(read(&r#"{"a":"#.repeat(10_000)), Err(E::TooDeep));

    let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert!(read(&many(VALUES_MAX - 1)).is_ok());
    assert_eq!(read(&many(VALUES_MAX)), Err(E::TooMany));

    assert!(parse(b"[1]", 3).is_ok());
    assert_eq!(parse(b"[1] ", 3), Err(E::TooLong { bytes: 4, most: 3 }));
}

#[test]
fn a_doubled_name_is_noted_where_parts_may_be_left_out() {
    let value = parse_with_repeats(br#"{"a":[{"b":1,"b":2}],"c":1}"#, MOST).unwrap();
    let object = value.as_object().unwrap();
    assert_eq!(object.own_repeated(), None);
    assert_eq!(value.repeated(), Some("b"));
    assert_eq!(object.member("a").unwrap().repeated(), Some("b"));
    assert_eq!(object.member("c").unwrap().repeated(), None);
    let twice = parse_with_repeats(br#"{"a":1,"b":0,"a":2}"#, MOST).unwrap();
    assert_eq!(twice.as_object().unwrap().own_repeated(), Some("a"));
}

#[test]
fn members_are_found_by_their_exact_names() {
    let value = read(r#"{"keys":[],"\u006bid":null}"#).unwrap();
    let object = value.as_object().unwrap();
    assert!(object.has("kid") && object.has("keys"));
    assert!(!object.has("Keys") && !object.has("key"));
    assert_eq!((object.len(), object.is_empty()), (2, false));
    assert_eq!(object.member("keys").unwrap().as_array(), Some([].as_slice()));
    assert_eq!(object.member("kid").unwrap().as_str(), None);
}

#[test]
fn what_is_written_is_read_again() {
    let hard = "\0\u{1}\u{1f}\"\\/\n\u{7f}\u{2028}é😀";
    let text = Members::new().string(hard, hard).integer("n", u64::MAX).raw("a", &array(["1".to_owned()])).finish();
    let value = read(&text).unwrap();
    let object = value.as_object().unwrap();
    assert_eq!(object.member(hard).unwrap().as_str(), Some(hard));
    assert_eq!(object.member("n").unwrap().as_u64(), Some(u64::MAX));
    assert!(is_shared(&value, text.as_bytes()));
    assert_eq!(Members::new().finish(), "{}");
    assert_eq!(array([]), "[]");
}

//! Rows about a document as a whole.

use std::time::Duration;

use super::kit::{Good, anchor, of, read, token_key};
use crate::spiffe::{
    document::{
        DOCUMENT_BYTES_MAX, ENTRIES_MAX, Error as E, REFRESH_DEFAULT, REFRESH_MAX, REFRESH_MIN, Reason, Warning,
    },
    json::Error as J,
    x509::{self, AUTHORITIES_MAX, tests::kit::root},
};

/// A bundle map of one trust domain.
fn map(name: &str, keys: &str, members: &str) -> Vec<u8> {
    format!(r#"{{"trust_domains":{{"{name}":{{"keys":{keys}{members}}}}}}}"#).into_bytes()
}

#[test]
fn the_adversarial_table_of_documents_refused() {
    let good = Good::new().entries.join(",");
    let all = format!(r#"{{"keys":[{good}],"spiffe_sequence":1}}"#);
    assert!(read(&all).is_ok());
    let repeated = E::Json(J::Repeated);
    let utf16: Vec<u8> = all.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bom_utf16 = [&[0xff, 0xfe][..], &utf16].concat();
    let cases: Vec<(&str, Vec<u8>, E)> = vec![
        ("ADV-B-02 {}", b"{}".to_vec(), E::NoKeys),
        ("ADV-B-03 null", br#"{"keys":null}"#.to_vec(), E::NoKeys),
        ("ADV-B-03 object", br#"{"keys":{}}"#.to_vec(), E::NoKeys),
        ("ADV-B-03 text", br#"{"keys":"x"}"#.to_vec(), E::NoKeys),
        ("ADV-B-04 array", b"[]".to_vec(), E::NotObject),
        ("ADV-B-04 null", b"null".to_vec(), E::NotObject),
        ("ADV-B-04 text", br#""x""#.to_vec(), E::NotObject),
        ("ADV-B-04 nothing", Vec::new(), E::Json(J::Cut)),
        ("ADV-B-04 HTML", b"<!DOCTYPE html><html></html>".to_vec(), E::Json(J::Syntax(0))),
        ("ADV-B-04 PEM", b"-----BEGIN CERTIFICATE-----".to_vec(), E::Json(J::Syntax(1))),
        ("ADV-B-30 keys twice", br#"{"keys":[],"keys":[]}"#.to_vec(), repeated.clone()),
        (
            "ADV-B-31 sequence twice",
            br#"{"keys":[],"spiffe_sequence":1,"spiffe_sequence":1}"#.to_vec(),
            repeated.clone(),
        ),
        ("twice in an unknown member", br#"{"keys":[],"x":{"y":1,"y":1}}"#.to_vec(), repeated),
        ("ADV-B-32 Keys", all.replacen("keys", "Keys", 1).into_bytes(), E::NoKeys),
        (
            "ADV-B-40 long",
            vec![b' '; DOCUMENT_BYTES_MAX + 1],
            E::Json(J::TooLong { bytes: 4_194_305, most: 4_194_304 }),
        ),
        (
            "ADV-B-40 many",
            format!(r#"{{"keys":[{}]}}"#, vec!["{}"; 100_000].join(",")).into_bytes(),
            E::Json(J::TooMany),
        ),
        ("ADV-B-41 UTF-16", utf16, E::Json(J::Syntax(1))),
        ("ADV-B-41 UTF-16 with its mark", bom_utf16, E::Json(J::NotUtf8)),
        ("ADV-B-41 not UTF-8", b"{\"keys\":[],\"x\":\"\xff\"}".to_vec(), E::Json(J::NotUtf8)),
        ("ADV-B-41 BOM", format!("\u{feff}{all}").into_bytes(), E::Json(J::ByteOrderMark)),
        ("ADV-B-42 trailing", format!("{all}x").into_bytes(), E::Json(J::Trailing)),
        ("ADV-B-42 two documents", format!("{all}{all}").into_bytes(), E::Json(J::Trailing)),
        // Of bundle maps none is read, whatever is wrong with it or right.
        ("ADV-B-44 without names", br#"{"version":1}"#.to_vec(), E::NoKeys),
        (
            "ADV-B-45 a name twice",
            br#"{"trust_domains":{"example.org":{"keys":[]},"example.org":{"keys":[]}}}"#.to_vec(),
            E::Json(J::Repeated),
        ),
        ("ADV-B-46 an ID", map("spiffe://example.org", "[]", ""), E::Map),
        ("ADV-B-46 upper case", map("Example.org", "[]", ""), E::Map),
        ("ADV-B-47 a hint of a second", map("example.org", "[]", r#","spiffe_refresh_hint":1"#), E::Map),
        ("ADV-B-48 a broken bundle", map("example.org", "null", ""), E::Map),
        ("a good map", map("example.org", &format!("[{good}]"), ""), E::Map),
        ("an empty map", br#"{"trust_domains":{}}"#.to_vec(), E::Map),
        ("ADV-B-39 too deep", format!(r#"{{"keys":[],"x":{}}}"#, "[".repeat(20)).into_bytes(), E::Json(J::TooDeep)),
    ];
    for (name, document, reason) in cases {
        assert_eq!(read(document), Err(reason), "{name}");
    }
}

#[test]
fn an_empty_document_is_good_and_revokes_everything() {
    let outcome = read(r#"{"keys":[]}"#).unwrap();
    assert!(outcome.document.is_empty() && outcome.left_out.is_empty() && outcome.warnings.is_empty(), "ADV-B-01");
    let unknown = of(&[token_key("sig", "a"), token_key("cwt-svid", "b"), "{}".into()]);
    assert!(unknown.document.is_empty(), "ADV-B-05");
    assert!(unknown.left_out.iter().all(|one| one.reason == Reason::Use), "ADV-B-05");
    assert_eq!(unknown.left_out.len(), 3);
    for entry in Good::new().entries {
        assert!(!of(&[entry]).document.is_empty());
    }
}

#[test]
fn unknown_members_are_passed_over() {
    let good = Good::new().entries.join(",");
    let deep = format!("{}1{}", "[".repeat(15), "]".repeat(15));
    let document = format!(r#"{{"x":{deep},"keys":[{good}],"refresh_hint":5,"Spiffe_Sequence":9}}"#);
    let outcome = read(document).unwrap();
    assert!(outcome.left_out.is_empty() && outcome.warnings.is_empty(), "ADV-B-39");
    assert_eq!((outcome.document.sequence(), outcome.document.refresh_hint()), (None, None), "AMB-10");
}

#[test]
fn a_sequence_is_an_exact_integer_or_missing() {
    let sequence = |token: &str| {
        let outcome = read(format!(r#"{{"keys":[],"spiffe_sequence":{token}}}"#)).unwrap();
        (outcome.document.sequence(), outcome.warnings)
    };
    for (token, number) in
        [("0", 0), ("9007199254740993", 9_007_199_254_740_993), ("18446744073709551615", 18_446_744_073_709_551_615)]
    {
        assert_eq!(sequence(token), (Some(number), vec![]), "ADV-B-36 {token}");
    }
    for token in ["18446744073709551616", "-1", "1.5", r#""5""#, "null", "1e3", "1.0", "[1]"] {
        assert_eq!(sequence(token), (None, vec![Warning::Sequence]), "ADV-B-37 {token}");
    }
}

#[test]
fn a_refresh_hint_is_kept_within_bounds() {
    let hint = |token: &str| {
        let outcome = read(format!(r#"{{"keys":[],"spiffe_refresh_hint":{token}}}"#)).unwrap();
        (outcome.document.refresh_after(), outcome.warnings.len())
    };
    let cases = [
        ("0", REFRESH_MIN, 0),
        ("10", REFRESH_MIN, 0),
        ("59", REFRESH_MIN, 0),
        ("61", Duration::from_secs(61), 0),
        ("86400", REFRESH_MAX, 0),
        ("1000000000000", REFRESH_MAX, 0),
        ("18446744073709551615", REFRESH_MAX, 0),
        ("-1", REFRESH_DEFAULT, 1),
        ("1.5", REFRESH_DEFAULT, 1),
        (r#""300""#, REFRESH_DEFAULT, 1),
        ("1e99", REFRESH_DEFAULT, 1),
        ("null", REFRESH_DEFAULT, 1),
    ];
    for (token, wait, warnings) in cases {
        assert_eq!(hint(token), (wait, warnings), "ADV-B-38 {token}");
    }
    assert_eq!(read(r#"{"keys":[]}"#).unwrap().document.refresh_after(), Duration::from_secs(300), "TDB-09");
}

#[test]
fn each_limit_is_met_exactly() {
    let many = |count: usize| format!(r#"{{"keys":[{}]}}"#, vec!["{}"; count].join(","));
    assert_eq!(read(many(ENTRIES_MAX)).unwrap().left_out.len(), ENTRIES_MAX);
    assert_eq!(read(many(ENTRIES_MAX + 1)), Err(E::TooManyEntries(1001)));

    let document = r#"{"keys":[]}"#;
    let longest = format!("{document}{}", " ".repeat(DOCUMENT_BYTES_MAX - document.len()));
    assert!(read(longest).is_ok());

    let mut anchors: Vec<_> = (0..AUTHORITIES_MAX).map(|_| anchor(&root("root", "example.org"))).collect();
    assert_eq!(of(&anchors).document.x509().authorities().len(), AUTHORITIES_MAX);
    anchors.push(anchor(&root("root", "example.org")));
    let refused = read(format!(r#"{{"keys":[{}]}}"#, anchors.join(",")));
    assert_eq!(refused, Err(E::Authorities(x509::Error::TooMany { most: AUTHORITIES_MAX })));
}

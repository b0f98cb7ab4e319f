//! Entries in JSON: SPIRE's two shapes, and what our own `entry list --output json` says.
//!
//! SPIRE's `entry create -data` writes IDs as text and selectors as `{type, value}`; its `entry show -output json` takes
//! IDs apart and writes long numbers as text. One reader takes all of it. A member that nobody knows is refused:
//! it might have been a condition.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;

use crate::pb::admin::Entry;

use super::{Lines, Problem, Reading, Wanted, spire::Origin};

/// Reads the whole file; what is wrong with one entry does not hide what is wrong with the next.
pub(super) fn read(text: &str) -> Reading {
    let mut reading = Reading::default();
    if text.trim_start().starts_with('[') {
        // Serde would take a list's members for those of the object.
        let words = "a JSON object with `entries` is expected, not a list".to_owned();
        reading.problems.push(Problem { line: 1, words });
        return reading;
    }
    let document: Document<'_> = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => {
            reading.problems.push(Problem { line: error.line().max(1), words: words(&error) });
            return reading;
        }
    };
    let lines = Lines::of(text);
    for (raw, number) in document.entries.into_iter().zip(1..) {
        // The raw text is a part of the file, so its place tells the line.
        let offset = (raw.get().as_ptr().addr()).saturating_sub(text.as_ptr().addr());
        let line = lines.at(offset);
        match serde_json::from_str::<Record>(raw.get()) {
            Err(error) => {
                let line = line + error.line().saturating_sub(1);
                reading.problems.push(Problem { line, words: format!("entry {number}: {}", words(&error)) });
            }
            Ok(record) => {
                let (entry, origin) = record.split();
                reading.wanted.push(Wanted { line, entry, is_whole: true, origin });
            }
        }
    }
    reading
}

/// What is wrong, without the place that serde adds: it counts from the entry's first line.
fn words(error: &serde_json::Error) -> String {
    let words = error.to_string();
    words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words).to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object with `entries`")]
struct Document<'t> {
    #[serde(borrow)]
    entries: Vec<&'t RawValue>,
    #[serde(default, rename = "next_page_token")]
    _next_page_token: String,
    #[serde(default, rename = "total")]
    _total: u64,
}

/// One entry. Names that differ between the shapes are aliases; what begins with an underscore is read and not used:
/// revisions are given anew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an entry")]
struct Record {
    spiffe_id: IdText,
    #[serde(deserialize_with = "selectors")]
    selectors: Vec<String>,
    #[serde(default, alias = "x509_svid_ttl", alias = "ttl", deserialize_with = "seconds")]
    x509_ttl_seconds: u64,
    #[serde(default, alias = "jwt_svid_ttl", deserialize_with = "seconds")]
    jwt_ttl_seconds: u64,
    /// Ours alone: SPIRE makes no WIT-SVIDs.
    #[serde(default, deserialize_with = "seconds")]
    wit_ttl_seconds: u64,
    #[serde(default)]
    dns_names: Vec<String>,
    #[serde(default)]
    certificate_profile: String,
    #[serde(default)]
    common_name: String,
    #[serde(default)]
    hint: String,
    #[serde(default)]
    federates_with: Vec<String>,
    #[serde(default)]
    sds_for: Vec<String>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    downstream: bool,
    #[serde(default, alias = "entryExpiry", alias = "entry_expiry", deserialize_with = "seconds")]
    expires_at: u64,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    store_svid: bool,
    #[serde(default)]
    additional_attributes: Option<Attributes>,
    #[serde(default)]
    parent_id: Option<IdText>,
    #[serde(default, alias = "entry_id")]
    id: String,
    #[serde(default, rename = "revision", alias = "revision_number", deserialize_with = "seconds")]
    _revision: u64,
    #[serde(default, alias = "createdAt", deserialize_with = "seconds")]
    created_at: u64,
}

/// How SPIRE's agent handles the SVIDs of an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attributes {
    /// Nothing is made before it is asked for here, so there is nothing to keep.
    #[serde(default, rename = "disable_x509_svid_prefetch")]
    _disable_x509_svid_prefetch: bool,
    #[serde(default)]
    jwt_svid_include_jti: bool,
}

impl Record {
    fn split(self) -> (Entry, Origin) {
        let entry = Entry {
            spiffe_id: self.spiffe_id.0,
            selectors: self.selectors,
            x509_ttl_seconds: self.x509_ttl_seconds,
            jwt_ttl_seconds: self.jwt_ttl_seconds,
            wit_ttl_seconds: self.wit_ttl_seconds,
            dns_names: self.dns_names,
            certificate_profile: self.certificate_profile,
            common_name: self.common_name,
            hint: self.hint,
            federates_with: self.federates_with,
            sds_for: self.sds_for,
            admin: self.admin,
            downstream: self.downstream,
            expires_at: self.expires_at,
            agent: self.agent,
            ..Entry::default()
        };
        let wants_jti = self.additional_attributes.is_some_and(|attributes| attributes.jwt_svid_include_jti);
        let origin = Origin { store_svid: self.store_svid, wants_jti, ..Origin::default() };
        // Our own list has no parents, and is in its order already.
        let origin = match self.parent_id {
            Some(IdText(parent)) => Origin { parent: Some(parent), id: self.id, created_at: self.created_at, ..origin },
            None => origin,
        };
        (entry, origin)
    }
}

/// An ID as one text, or taken apart.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a SPIFFE ID, or its `trust_domain` and `path`")]
enum IdShape {
    Text(String),
    Parts(IdParts),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdParts {
    trust_domain: String,
    #[serde(default)]
    path: String,
}

/// `spiffe://example.org/web`, whichever way it was written; not judged.
#[derive(Deserialize)]
#[serde(from = "IdShape")]
struct IdText(String);

impl From<IdShape> for IdText {
    fn from(shape: IdShape) -> Self {
        match shape {
            IdShape::Text(text) => Self(text),
            IdShape::Parts(IdParts { trust_domain, path }) => Self(format!("spiffe://{trust_domain}{path}")),
        }
    }
}

/// A selector as one text, or taken apart.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a selector, or its `type` and `value`")]
enum SelectorShape {
    Text(String),
    Parts(SelectorParts),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectorParts {
    r#type: String,
    value: String,
}

/// `unix:uid:1000`, whichever way it was written; not judged.
fn selectors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let shapes = Vec::<SelectorShape>::deserialize(deserializer)?;
    let text = |shape| match shape {
        SelectorShape::Text(text) => text,
        SelectorShape::Parts(SelectorParts { r#type, value }) => format!("{}:{value}", r#type),
    };
    Ok(shapes.into_iter().map(text).collect())
}

/// A number, or (as protobuf's JSON has it for 64 bits) its digits as a text. SPIRE writes no negative ones.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number, not below 0")]
enum NumberShape {
    Number(u64),
    Digits(String),
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match NumberShape::deserialize(deserializer)? {
        NumberShape::Number(number) => Ok(number),
        NumberShape::Digits(digits) => {
            digits.parse().map_err(|_| D::Error::custom("expected a whole number, not below 0"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spires_entry_show_says_is_read() {
        let reading = read(
            r#"{"entries":[{"id":"6e0c","spiffe_id":{"trust_domain":"example.org","path":"/web"},
"parent_id":{"trust_domain":"example.org","path":"/node1"},"selectors":[{"type":"unix","value":"uid:0"}],
"x509_svid_ttl":600,"federates_with":["other.org"],"hint":"web","admin":false,"created_at":"1700000000","downstream":true,
"expires_at":"1782907200","dns_names":["web.example.org"],"revision_number":"3","store_svid":false,"jwt_svid_ttl":300,
"additional_attributes":{"disable_x509_svid_prefetch":true,"jwt_svid_include_jti":true}}],
"next_page_token":""}"#,
        );
        let entry = Entry {
            spiffe_id: "spiffe://example.org/web".into(),
            selectors: vec!["unix:uid:0".into()],
            x509_ttl_seconds: 600,
            jwt_ttl_seconds: 300,
            dns_names: vec!["web.example.org".into()],
            hint: "web".into(),
            federates_with: vec!["other.org".into()],
            downstream: true,
            expires_at: 1_782_907_200,
            ..Entry::default()
        };
        let origin = Origin {
            parent: Some("spiffe://example.org/node1".into()),
            id: "6e0c".into(),
            created_at: 1_700_000_000,
            store_svid: false,
            wants_jti: true,
        };
        assert_eq!(reading.problems, []);
        assert_eq!(reading.wanted, [Wanted { line: 1, entry, is_whole: true, origin }]);
    }

    #[test]
    fn what_spires_entry_create_takes_is_read() {
        let reading = read(
            r#"{"entries": [
    {
        "selectors": [{"type": "unix", "value": "uid:1000"}, {"type": "unix", "value": "gid:1000"}],
        "spiffe_id": "spiffe://example.org/blog", "parent_id": "spiffe://example.org/agent",
        "x509_svid_ttl": 200, "entryExpiry": 1782907200, "federates_with": ["spiffe://other.org"]
    }
]}"#,
        );
        assert_eq!(reading.problems, []);
        let wanted = reading.wanted.first().cloned().map(|wanted| (wanted.line, wanted.entry)).unwrap_or_default();
        assert_eq!(wanted.0, 2);
        assert_eq!(wanted.1.selectors, ["unix:uid:1000", "unix:gid:1000"]);
        assert_eq!((wanted.1.x509_ttl_seconds, wanted.1.expires_at), (200, 1_782_907_200));
    }

    #[test]
    fn our_own_list_is_read_again() {
        let entry = Entry {
            spiffe_id: "spiffe://e.org/a".into(),
            selectors: vec!["unix:uid:1".into()],
            wit_ttl_seconds: 90,
            certificate_profile: "database".into(),
            common_name: "orders".into(),
            agent: "crew".into(),
            revision: 4,
            ..Entry::default()
        };
        let text = serde_json::json!({ "entries": crate::cli::shown::views(std::slice::from_ref(&entry)), "next_page_token": "", "total": 1 });
        let reading = read(&text.to_string());
        assert_eq!(reading.problems, []);
        assert_eq!(
            reading.wanted,
            [Wanted { line: 1, entry: Entry { revision: 0, ..entry }, is_whole: true, origin: Origin::default() }]
        );
    }

    #[test]
    fn the_problems_of_all_entries_are_told_with_their_lines() {
        let reading = read(
            "{\"entries\":[\n{\"spiffe_id\":5,\"selectors\":[]},\n{\"spiffe_id\":\"a\",\n\"selector\":[]},\n{\"selectors\":[],\n\n\"x509_svid_ttl\":-1}\n]}",
        );
        let told: Vec<_> = reading.problems.iter().map(|problem| (problem.line, problem.words.as_str())).collect();
        assert_eq!(told.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4, 7], "{told:?}");
        let words: String = told.into_iter().map(|(_, words)| words).collect();
        assert!(words.contains("expected a SPIFFE ID"), "{words}");
        assert!(words.contains("unknown field `selector`"), "{words}");
        assert!(words.contains("expected a whole number"), "{words}");
    }

    #[test]
    fn a_broken_document_is_told_with_its_line() {
        for (text, line) in [("{\"entries\":[\n{]}", 2), ("{\"entry\":[]}", 1), ("{}", 1), ("{\"entries\":[]} x", 1)] {
            let reading = read(text);
            assert_eq!(reading.problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [line], "{text}");
        }
    }
}

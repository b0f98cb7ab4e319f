//! `ValidateJWTSVID`: the rows of ADV-JWT through the door, with tokens that are signed as a thief of the key, or a careless
//! issuer, would sign them.

mod bad;

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::{Struct, value::Kind};
use serde_json::{Value, json};

use super::{
    common::{
        h2raw::{Answer, INVALID_ARGUMENT},
        messages::{ToValidate, Validated, WitOrder, WitSvids},
    },
    forge::{Workshop, now},
    rows::Rows,
    subject::Subject,
};

fn judge(subject: &Subject, audience: &str, svid: &str) -> Result<Validated, Answer> {
    let request = ToValidate { audience: audience.to_owned(), svid: svid.to_owned() };
    subject.ask("ValidateJWTSVID", &request)
}

/// An agent, and a key of whose tokens it must judge.
struct Court<'a> {
    subject: &'a Subject,
    workshop: Workshop,
}

impl<'a> Court<'a> {
    fn all(subject: &'a Subject) -> Vec<Self> {
        Workshop::all(subject).into_iter().map(|workshop| Self { subject, workshop }).collect()
    }

    fn sub(&self) -> String {
        format!("spiffe://{}/a", self.workshop.domain())
    }

    /// A good header with these members changed, or left out where they are null.
    fn header(&self, changes: &Value) -> String {
        changed(json!({"alg": "ES256", "kid": self.workshop.key().id, "typ": "JWT"}), changes)
    }

    /// Good claims, changed likewise.
    fn claims(&self, changes: &Value) -> String {
        changed(json!({"sub": self.sub(), "aud": ["aud1"], "exp": now() + 300}), changes)
    }

    fn token(&self, header: &str, claims: impl AsRef<[u8]>) -> String {
        self.workshop.key().token(header, claims)
    }

    fn with_header(&self, changes: &Value) -> String {
        self.token(&self.header(changes), self.claims(&json!({})))
    }

    fn with_claims(&self, changes: &Value) -> String {
        self.token(&self.header(&json!({})), self.claims(changes))
    }

    /// The code for this token; 0 when it is believed.
    fn code(&self, svid: &str) -> Option<u32> {
        judge(self.subject, "aud1", svid).map_or_else(|answer| answer.code(), |_| Some(0))
    }

    fn must(&self, rows: &mut Rows, wanted: u32, tokens: Vec<(&str, String)>) {
        for (row, token) in tokens {
            let code = self.code(&token);
            rows.must(row, code == Some(wanted), (code, "instead of", wanted));
        }
    }
}

fn changed(mut good: Value, changes: &Value) -> String {
    let members = good.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            // A member that is null is one that says so.
            Value::Null => members.remove(name),
            Value::String(text) if text == "null" => members.insert(name.clone(), Value::Null),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    good.to_string()
}

/// WAPI-80, WAPI-83, ADV-RPC-14, ADV-RPC-15.
#[test]
fn without_token_or_audience_nothing_is_judged() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("without_token_or_audience_nothing_is_judged", &subject);
    let good = super::tokens::one(&subject, &["a", "b"]);
    for (row, audience, svid) in [
        ("ADV-RPC-14 no audience", "", good.as_str()),
        ("ADV-RPC-14 no token", "a", ""),
        ("ADV-RPC-14 neither", "", ""),
        ("ADV-RPC-15 another audience", "c", &good),
        ("ADV-RPC-15 a part of one", "", &good),
        ("ADV-RPC-15 in another case", "A", &good),
    ] {
        let code = judge(&subject, audience, svid).map_or_else(|answer| answer.code(), |_| Some(0));
        rows.equal(row, code, Some(INVALID_ARGUMENT));
    }
    for audience in ["a", "b"] {
        let id = judge(&subject, audience, &good).map(|answer| answer.spiffe_id);
        rows.equal("WAPI-83 a good one", id.ok().as_deref(), Some("spiffe://example.org/one"));
    }
    rows.settle();
}

/// WAPI-81, WAPI-83, JWT-04, JWT-05, JWT-11, JWT-15, JWT-17, JWT-20, JWT-30.
#[test]
fn every_good_token_is_believed() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("every_good_token_is_believed", &subject);
    for court in Court::all(&subject) {
        let good = court.with_claims(&json!({}));
        court.must(
            &mut rows,
            0,
            vec![
                ("ADV-JWT-01", good.clone()),
                ("ADV-JWT-11", court.with_header(&json!({"kid": null}))),
                ("ADV-JWT-20 JOSE", court.with_header(&json!({"typ": "JOSE"}))),
                ("ADV-JWT-20 no typ", court.with_header(&json!({"typ": null}))),
                ("ADV-JWT-36", court.with_claims(&json!({"aud": "aud1"}))),
                ("ADV-JWT-37", court.with_claims(&json!({"aud": ["x", "aud1"]}))),
                (
                    "ADV-JWT-44",
                    court.token(&court.header(&json!({})), court.claims(&json!({"exp": 4_000_000_000.5_f64}))),
                ),
                ("ADV-JWT-47", court.with_claims(&json!({"iat": now() + 600}))),
                ("JWT-17 nbf now", court.with_claims(&json!({"nbf": now() - 1}))),
                ("JWT-24 other claims", court.with_claims(&json!({"role": {"deep": [1, null, true]}, "jti": "1"}))),
            ],
        );
        for _ in 0..50 {
            rows.equal("ADV-JWT-67 again and again", court.code(&good), Some(0));
        }
        if let Some(forge) = court.workshop.forge() {
            court.must(
                &mut rows,
                0,
                vec![
                    ("ADV-JWT-10 RS256", forge.rsa("RS256", &court.claims(&json!({})))),
                    ("ADV-JWT-10 PS256", forge.rsa("PS256", &court.claims(&json!({})))),
                    ("JWT-02 ES384", forge.p384.token(r#"{"alg":"ES384","kid":"k384"}"#, court.claims(&json!({})))),
                ],
            );
        }
    }
    rows.settle();
}

/// WAPI-84, WAPI-85, WAPI-86.
#[test]
fn what_is_believed_is_answered_with_its_claims() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("what_is_believed_is_answered_with_its_claims", &subject);
    for court in Court::all(&subject) {
        let exp = now() + 300;
        for aud in [json!("aud1"), json!(["aud1"])] {
            let token = court.with_claims(&json!({"aud": aud, "exp": exp, "x": "y"}));
            let answer = judge(court.subject, "aud1", &token).unwrap();
            rows.equal("WAPI-84 spiffe_id is sub", &answer.spiffe_id, &court.sub());
            let claims: BTreeMap<_, _> = Struct::decode(&*answer.claims).unwrap().fields.into_iter().collect();
            let kind = |name: &str| claims.get(name).and_then(|value| value.kind.clone());
            rows.equal("WAPI-84 sub", kind("sub"), Some(Kind::StringValue(court.sub())));
            #[expect(clippy::cast_precision_loss, reason = "a time")]
            let wanted = exp as f64;
            rows.equal("WAPI-86 exp is exact", kind("exp"), Some(Kind::NumberValue(wanted)));
            let is_list = matches!(kind("aud"), Some(Kind::ListValue(list)) if list.values.len() == 1);
            rows.must("WAPI-85 aud is a list", is_list, kind("aud"));
        }
    }
    rows.settle();
}

/// WIT-21, ADV-JWT-66: a WIT-SVID is no bearer token.
#[test]
fn a_wit_is_not_believed_here() {
    let Some(subject) = Subject::configured("[wit]\nenabled = true\n", &[("one", "")]) else { return };
    let wit: WitSvids = subject.first("FetchWITSVID", &WitOrder { spiffe_id: String::new() }).unwrap();
    let answer = judge(&subject, "aud1", &wit.svids[0].svid).unwrap_err();
    assert_eq!(answer.code(), Some(INVALID_ARGUMENT));
}

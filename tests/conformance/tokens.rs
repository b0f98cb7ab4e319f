//! `FetchJWTSVID`: who gets which tokens, and what a token says.

use std::{collections::BTreeSet, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{DecodingKey, Validation, decode, jwk::JwkSet};
use serde_json::Value;

use super::{
    common::{
        h2raw::{Answer, INVALID_ARGUMENT, PERMISSION_DENIED},
        messages::{JwtOrder, JwtSvid, JwtSvids},
    },
    forge,
    rows::Rows,
    subject::Subject,
};

pub fn order(audience: &[&str], spiffe_id: &str) -> JwtOrder {
    JwtOrder { audience: audience.iter().map(ToString::to_string).collect(), spiffe_id: spiffe_id.to_owned() }
}

/// Tokens for these audiences.
pub fn fetch(subject: &Subject, audience: &[&str], spiffe_id: &str) -> Result<Vec<JwtSvid>, Answer> {
    subject.ask::<JwtSvids>("FetchJWTSVID", &order(audience, spiffe_id)).map(|answer| answer.svids)
}

/// The default identity's token.
pub fn one(subject: &Subject, audience: &[&str]) -> String {
    fetch(subject, audience, "").unwrap().remove(0).svid
}

fn part(token: &str, at: usize) -> String {
    let part = token.split('.').nth(at).unwrap();
    String::from_utf8(BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

pub fn header(token: &str) -> Value {
    serde_json::from_str(&part(token, 0)).unwrap()
}

pub fn payload(token: &str) -> Value {
    serde_json::from_str(&part(token, 1)).unwrap()
}

/// WAPI-60, WAPI-65, WAPI-66, JWT-08, WAPI-111.
#[test]
fn a_token_for_each_identity_or_for_the_one_asked_for() {
    let subject = Subject::with(&[("one", ""), ("two", "other")]);
    let mut rows = Rows::of("a_token_for_each_identity_or_for_the_one_asked_for", &subject);
    let both = fetch(&subject, &["a"], "").unwrap();
    let mut ids: Vec<_> = both.iter().map(|one| (one.spiffe_id.clone(), one.hint.clone())).collect();
    ids.sort();
    let [one, two] = ["spiffe://example.org/one", "spiffe://example.org/two"];
    rows.equal("WAPI-60 all", ids, vec![(one.to_owned(), String::new()), (two.to_owned(), "other".to_owned())]);
    for token in &both {
        rows.equal("WAPI-66 sub is spiffe_id", &payload(&token.svid)["sub"], &Value::from(token.spiffe_id.clone()));
        rows.equal("WAPI-66 compact", token.svid.split('.').count(), 3);
    }
    for id in [one, two] {
        let found = fetch(&subject, &["a"], id).unwrap();
        rows.equal("WAPI-65 one", found.iter().map(|one| one.spiffe_id.as_str()).collect(), vec![id]);
    }
    rows.settle();
}

/// WAPI-61, WAPI-62, JWT-10, CLI-20, ADV-RPC-09, ADV-RPC-10, ADV-RPC-13.
#[test]
fn a_token_is_for_the_audiences_asked_for_and_no_others() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("a_token_is_for_the_audiences_asked_for_and_no_others", &subject);
    let audiences = |asked: &[&str]| match &payload(&one(&subject, asked))["aud"] {
        Value::Array(all) => all.iter().map(|one| one.as_str().unwrap().to_owned()).collect::<Vec<_>>(),
        other => vec![other.as_str().unwrap().to_owned()],
    };
    for asked in [&["a", "b"][..], &["a"], &["b", "a"], &["spiffe://example.org/x", "é \" \\"]] {
        let (found, wanted) = (audiences(asked), asked.iter().map(ToString::to_string).collect::<Vec<_>>());
        rows.equal(
            "WAPI-62 all of them, and no others",
            found.iter().collect(),
            wanted.iter().collect::<BTreeSet<_>>(),
        );
        rows.equal("JWT-10 in that order", found, wanted);
    }
    rows.equal("ADV-RPC-10 twice is once", audiences(&["a", "b", "a"]), vec!["a".to_owned(), "b".to_owned()]);
    let (many, long) = (vec!["a"; 33], "x".repeat(60_000));
    for (row, asked) in [
        ("WAPI-61 none", &[][..]),
        ("WAPI-61 an empty one", &[""]),
        ("WAPI-61 an empty one beside another", &["a", ""]),
        ("ADV-RPC-10 33 audiences", &many),
        ("ADV-RPC-10 one of 60 KB", &[long.as_str()]),
    ] {
        let code = fetch(&subject, asked, "").map_or_else(|answer| answer.code(), |_| Some(0));
        rows.equal(row, code, Some(INVALID_ARGUMENT));
    }
    if subject.ours().is_some() {
        // More than the door lets in at all.
        let code = fetch(&subject, &[&"x".repeat(1 << 20)], "").map_or_else(|answer| answer.code(), |_| Some(0));
        rows.must("ADV-RPC-10 one of 1 MiB", code.is_some_and(|code| code != 0), code);
    }
    rows.settle();
}

/// WAPI-63, ADV-RPC-12.
#[test]
fn who_is_not_entitled_does_not_learn_what_there_is() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("who_is_not_entitled_does_not_learn_what_there_is", &subject);
    if let Some(daemon) = subject.ours() {
        daemon.entry("spiffe://example.org/theirs", &["unix:uid:4294967294"], &[]);
    }
    for id in ["spiffe://example.org/theirs", "spiffe://example.org/nobodys", "spiffe://other.test/one"] {
        let answer = fetch(&subject, &["a"], id).expect_err(id);
        let seen = (answer.code(), answer.words());
        rows.equal("ADV-RPC-12 the same for each", seen, (Some(PERMISSION_DENIED), "no identity issued".to_owned()));
    }
    rows.settle();
}

/// JWT-01, JWT-02, JWT-03, JWT-05, JWT-06, JWT-13, JWT-14, JWT-18, JWT-22, CLI-19.
#[test]
fn a_token_says_what_it_must_and_what_every_client_can_read() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("a_token_says_what_it_must_and_what_every_client_can_read", &subject);
    let before = forge::now();
    let token = one(&subject, &["a", "b"]);
    let header = header(&token);
    let names: Vec<_> = header.as_object().unwrap().keys().map(String::as_str).collect();
    rows.equal("JWT-06 alg, kid, typ", names, vec!["alg", "kid", "typ"]);
    let algorithm = header["alg"].as_str().unwrap_or_default().to_owned();
    let nine = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"];
    rows.must("JWT-02 one of nine", nine.contains(&algorithm.as_str()), &algorithm);
    rows.must("JWT-03 kid", header["kid"].as_str().is_some_and(|id| !id.is_empty()), &header);
    rows.equal("JWT-05 typ", header["typ"].as_str(), Some("JWT"));
    let claims = payload(&token);
    for name in ["exp", "iat"] {
        let raw = part(&token, 1);
        let number = raw.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest.split([',', '}']).next().unwrap());
        let is_whole = number.is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        rows.must(format!("JWT-14 {name} in digits"), is_whole, raw);
    }
    let [exp, iat] = ["exp", "iat"].map(|name| claims[name].as_i64().unwrap_or_default());
    rows.must("JWT-18 iat is not ahead", iat <= forge::now() && iat >= before - 600, iat);
    rows.must("JWT-16 at least half of its life is left", exp - forge::now() >= (exp - iat) / 2, (exp, iat));
    let signature = BASE64URL_NOPAD.decode(token.rsplit('.').next().unwrap().as_bytes()).unwrap();
    rows.must("JWT-22 r and s at full width", algorithm != "ES256" || signature.len() == 64, signature.len());
    rows.settle();
}

/// WAPI-67, JWT-20, JWT-22, JWT-27, JWT-29: the key that signed is in the bundle, and another library verifies with it.
#[test]
fn a_tokens_key_is_in_the_bundle_and_verifies_it() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("a_tokens_key_is_in_the_bundle_and_verifies_it", &subject);
    let keys = super::bundles::own_jwt_keys(&subject);
    let token = one(&subject, &["a", "b"]);
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let set: JwkSet = serde_json::from_slice(&keys).unwrap();
    let key = set.find(header.kid.as_deref().unwrap());
    rows.must("WAPI-67 kid is in the bundle", key.is_some(), &header.kid);
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&["b"]);
    validation.leeway = 0;
    let read = key.map(|key| decode::<Value>(&token, &DecodingKey::from_jwk(key).unwrap(), &validation));
    let subject_of = read.and_then(Result::ok).map(|read| read.claims["sub"].clone());
    rows.equal("JWT-22 another library verifies", subject_of, Some("spiffe://example.org/one".into()));
    rows.settle();
}

/// JWT-16: a token of a cache would be refused by clients without leeway when it is nearly over.
#[test]
fn no_token_is_handed_out_near_its_end() {
    let Some(subject) = Subject::configured("", &[]) else { return };
    let daemon = subject.ours().unwrap();
    daemon.entry("spiffe://example.org/short", &[&super::common::own_uid()], &["--jwt-ttl", "4s"]);
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(6) {
        let claims = payload(&one(&subject, &["a"]));
        let [exp, iat] = ["exp", "iat"].map(|name| claims[name].as_i64().unwrap());
        assert!(exp - forge::now() >= (exp - iat) / 2, "{claims}");
    }
}

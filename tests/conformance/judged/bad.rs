//! What must be refused, through the door: headers and keys, claims, forms and signatures.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::{Court, judge};
use crate::{
    common::h2raw::INVALID_ARGUMENT,
    forge::{Ec, SHORT_TOKEN, encode, now},
    rows::Rows,
    subject::Subject,
};

/// WAPI-81, JWT-01, JWT-02, JWT-05, JWT-07, JWT-21, JWT-22, JWT-24, JWT-25.
#[test]
fn bad_headers_and_keys_are_refused() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("bad_headers_and_keys_are_refused", &subject);
    for court in Court::all(&subject) {
        let (claims, key) = (court.claims(&json!({})), court.workshop.key());
        let header = |changes: Value| court.with_header(&changes);
        let unsigned = |header: &str| format!("{}.{}.", encode(header), encode(&claims));
        let mac = |secret: &[u8]| {
            let signed = format!("{}.{}", encode(court.header(&json!({"alg": "HS256"}))), encode(&claims));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
            format!("{signed}.{}", encode(tag))
        };
        let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", key.public_der()));
        let attacker = Ec::p256("attacker");
        let own_domain = Ec::p256(&key.id);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
        court.must(
            &mut rows,
            INVALID_ARGUMENT,
            vec![
                ("ADV-JWT-02", unsigned(&court.header(&json!({"alg": "none"})))),
                ("ADV-JWT-03 None", unsigned(&court.header(&json!({"alg": "None"})))),
                ("ADV-JWT-03 NONE", unsigned(&court.header(&json!({"alg": "NONE"})))),
                ("ADV-JWT-04 PEM", mac(pem.as_bytes())),
                ("ADV-JWT-04 DER", mac(&key.public_der())),
                ("ADV-JWT-05", mac(b"")),
                ("ADV-JWT-06 EdDSA", header(json!({"alg": "EdDSA"}))),
                ("ADV-JWT-06 ES256K", header(json!({"alg": "ES256K"}))),
                ("ADV-JWT-06 RS1", header(json!({"alg": "RS1"}))),
                ("ADV-JWT-07 missing", header(json!({"alg": null}))),
                ("ADV-JWT-07 null", header(json!({"alg": "null"}))),
                ("ADV-JWT-07 number", header(json!({"alg": 256}))),
                ("ADV-JWT-07 list", header(json!({"alg": ["ES256"]}))),
                ("ADV-JWT-08", header(json!({"alg": "ES384"}))),
                ("ADV-JWT-09", header(json!({"alg": "RS256"}))),
                ("ADV-JWT-12", header(json!({"kid": "k9"}))),
                ("ADV-JWT-13 empty", header(json!({"kid": ""}))),
                ("ADV-JWT-13 number", header(json!({"kid": 5}))),
                ("ADV-JWT-13 a path", header(json!({"kid": "../../k1"}))),
                ("ADV-JWT-17 another key of that name", own_domain.token(&court.header(&json!({})), &claims)),
                ("ADV-JWT-21 jwt", header(json!({"typ": "jwt"}))),
                ("ADV-JWT-21 at+jwt", header(json!({"typ": "at+jwt"}))),
                ("ADV-JWT-21 wit+jwt", header(json!({"typ": "wit+jwt"}))),
                ("ADV-JWT-21 empty", header(json!({"typ": ""}))),
                ("ADV-JWT-21 number", header(json!({"typ": 5}))),
                ("ADV-JWT-22 exp", header(json!({"crit": ["exp"]}))),
                ("ADV-JWT-22 empty", header(json!({"crit": []}))),
                ("ADV-JWT-22 b64", header(json!({"crit": ["b64"], "b64": false}))),
                ("ADV-JWT-23", attacker.token(&court.header(&json!({"kid": "attacker", "jwk": jwk})), &claims)),
                ("ADV-JWT-24 jku", header(json!({"jku": "https://canary.test/k"}))),
                ("ADV-JWT-24 x5u", header(json!({"x5u": "https://canary.test/k"}))),
                ("ADV-JWT-25", header(json!({"x5c": ["MIIB"]}))),
                ("ADV-JWT-26", header(json!({"foo": 1}))),
                ("ADV-JWT-27", court.token(&court.header(&json!({})).replacen('{', r#"{"alg":"ES256","#, 1), &claims)),
                ("ADV-JWT-63 cty", header(json!({"cty": "JWT"}))),
            ],
        );
        if let Some(forge) = court.workshop.forge() {
            let as_kid = |kid: &str| format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
            let own = court.claims(&json!({"sub": "spiffe://example.org/one"}));
            court.must(
                &mut rows,
                INVALID_ARGUMENT,
                vec![
                    ("ADV-JWT-08 a P-384 key", forge.p384.token(&as_kid("k384"), &claims)),
                    ("ADV-JWT-14", forge.k1.token(&as_kid("k1"), &own)),
                    ("ADV-JWT-16", forge.w1.token(&as_kid("w1"), &claims)),
                    ("ADV-JWT-52", SHORT_TOKEN.to_owned()),
                    ("ADV-B-22 the first of two", forge.twins[0].token(&as_kid("twice"), &claims)),
                    ("ADV-B-22 the second of two", forge.twins[1].token(&as_kid("twice"), &claims)),
                ],
            );
        }
    }
    rows.settle();
}

/// WAPI-81, WAPI-83, JWT-08, JWT-11, JWT-13, JWT-15, JWT-17, JWT-24, JWT-25.
#[test]
fn bad_claims_are_refused() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("bad_claims_are_refused", &subject);
    for court in Court::all(&subject) {
        let claim = |name: &str, value: Value| court.with_claims(&json!({name: value}));
        let twice = |member: &str| {
            court.token(&court.header(&json!({})), court.claims(&json!({})).replacen('{', &format!("{{{member},"), 1))
        };
        // As many as fit into a token.
        let many: Vec<_> = ["a"; 2_000].into_iter().chain(["aud1"]).collect();
        let raw = |payload: &[u8]| court.token(&court.header(&json!({})), payload);
        court.must(
            &mut rows,
            INVALID_ARGUMENT,
            vec![
                ("ADV-JWT-18", claim("sub", json!("spiffe://nowhere.test/a"))),
                ("ADV-JWT-28 another first", twice(r#""sub":"spiffe://example.org/b""#)),
                ("ADV-JWT-28 the same first", twice(&format!(r#""sub":"{}""#, court.sub()))),
                ("ADV-JWT-29 aud", twice(r#""aud":["aud1"]"#)),
                ("ADV-JWT-29 exp", twice(r#""exp":4000000000"#)),
                ("ADV-JWT-30", twice(r#""x":1,"x":2"#)),
                ("ADV-JWT-31 missing", claim("sub", Value::Null)),
                ("ADV-JWT-31 null", claim("sub", json!("null"))),
                ("ADV-JWT-31 list", claim("sub", json!([court.sub()]))),
                ("ADV-JWT-31 number", claim("sub", json!(5))),
                ("ADV-JWT-32", claim("sub", json!(format!("spiffe://{}", court.workshop.domain())))),
                ("ADV-JWT-33 a trailing slash", claim("sub", json!(format!("{}/", court.sub())))),
                ("ADV-JWT-33 upper case", claim("sub", json!(court.sub().to_uppercase()))),
                ("ADV-JWT-33 escaped", claim("sub", json!(court.sub().replace("/a", "/%61")))),
                ("ADV-JWT-34", claim("aud", Value::Null)),
                ("ADV-JWT-35 []", claim("aud", json!([]))),
                ("ADV-JWT-35 empty", claim("aud", json!(""))),
                ("ADV-JWT-35 null", claim("aud", json!("null"))),
                ("ADV-JWT-35 number", claim("aud", json!(5))),
                ("ADV-JWT-35 list of a number", claim("aud", json!([5]))),
                ("ADV-JWT-35 object", claim("aud", json!({"aud1": 1}))),
                ("ADV-JWT-38 upper case", claim("aud", json!("AUD1"))),
                ("ADV-JWT-38 a blank", claim("aud", json!("aud1 "))),
                ("ADV-JWT-38 a slash", claim("aud", json!("aud1/"))),
                ("ADV-JWT-38 a longer one", claim("aud", json!("xaud1"))),
                ("ADV-JWT-38 a shorter one", claim("aud", json!("aud"))),
                ("ADV-JWT-39", claim("aud", json!(many))),
                ("ADV-JWT-40 missing", claim("exp", Value::Null)),
                ("ADV-JWT-40 null", claim("exp", json!("null"))),
                ("ADV-JWT-40 text", claim("exp", json!("4000000000"))),
                ("ADV-JWT-40 true", claim("exp", json!(true))),
                ("ADV-JWT-41", claim("exp", json!(now() - 120))),
                ("ADV-JWT-45 1e300", court.token(&court.header(&json!({})), court.claims(&json!({"exp": 1e300_f64})))),
                ("ADV-JWT-45 2^63", claim("exp", json!(9_223_372_036_854_775_808_u64))),
                ("ADV-JWT-45 -1", claim("exp", json!(-1))),
                ("ADV-JWT-45 0", claim("exp", json!(0))),
                ("ADV-JWT-46", claim("nbf", json!(now() + 600))),
                ("ADV-JWT-59 a list", raw(b"[]")),
                ("ADV-JWT-59 null", raw(b"null")),
                ("ADV-JWT-59 more behind", raw(format!("{}x", court.claims(&json!({}))).as_bytes())),
                ("ADV-JWT-59 BOM", raw(format!("\u{feff}{}", court.claims(&json!({}))).as_bytes())),
                (
                    "ADV-JWT-60",
                    raw(&[court.claims(&json!({})).trim_end_matches('}').as_bytes(), b",\"x\":\"\xff\"}"].concat()),
                ),
                ("ADV-JWT-61", raw("[".repeat(10_000).as_bytes())),
            ],
        );
    }
    rows.settle();
}

/// WAPI-81, JWT-01, JWT-22, JWT-25, SID-22.
#[test]
fn bad_forms_and_signatures_are_refused() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("bad_forms_and_signatures_are_refused", &subject);
    for court in Court::all(&subject) {
        let good = court.with_claims(&json!({}));
        let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
        let raw = data_encoding::BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        let mut flipped = raw.clone();
        flipped[5] ^= 1;
        let signed = |signature: &[u8]| format!("{header}.{payload}.{}", encode(signature));
        let other = encode(court.claims(&json!({"sub": court.sub().replace("/a", "/b")})));
        let flattened = json!({"payload": payload, "protected": header, "signature": signature}).to_string();
        let general =
            json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]}).to_string();
        let unprotected =
            json!({"payload": payload, "header": {"kid": court.workshop.key().id}, "signature": signature}).to_string();
        let (front, back) = payload.split_at(4);
        // The last character of 64 bytes has four bits that mean nothing.
        let stray = |text: &str| {
            let alphabet: Vec<_> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).collect();
            let (mut text, last) = (text.to_owned(), text.chars().last());
            text.pop();
            text.extend(alphabet.windows(2).find(|pair| Some(pair[0]) == last).map(|pair| pair[1]));
            text
        };
        court.must(
            &mut rows,
            INVALID_ARGUMENT,
            vec![
                ("ADV-JWT-48 a bit", signed(&flipped)),
                ("ADV-JWT-48 shorter", signed(&raw[..63])),
                ("ADV-JWT-48 longer", signed(&[&raw[..], &[0]].concat())),
                ("ADV-JWT-48 empty", signed(b"")),
                ("ADV-JWT-49", signed(&der(&raw))),
                ("ADV-JWT-50", signed(&[0; 64])),
                ("ADV-JWT-51", format!("{header}.{other}.{signature}")),
                ("ADV-JWT-53 flattened", flattened),
                ("ADV-JWT-53 general", general),
                ("ADV-JWT-54", unprotected),
                ("ADV-JWT-55 two parts", format!("{header}.{payload}")),
                ("ADV-JWT-55 four parts", format!("{good}.{signature}")),
                ("ADV-JWT-55 five parts", format!("{good}.a.b")),
                ("ADV-JWT-55 a dot in front", format!(".{good}")),
                ("ADV-JWT-55 a dot behind", format!("{good}.")),
                ("ADV-JWT-56", format!("{header}..{signature}")),
                ("ADV-JWT-57 padding", court.workshop.key().seal(&format!("{header}=.{payload}"))),
                ("ADV-JWT-57 newline within", court.workshop.key().seal(&format!("{header}.{front}\n{back}"))),
                ("ADV-JWT-57 newline within, signed without", format!("{header}.{front}\n{back}.{signature}")),
                ("ADV-JWT-57 blank within", format!("{header}.{front} {back}.{signature}")),
                ("ADV-JWT-57 newline behind", format!("{good}\n")),
                ("ADV-JWT-57 newline in front", format!("\n{good}")),
                ("ADV-JWT-58", format!("{header}.{payload}.{}", stray(signature))),
                ("ADV-JWT-63 JWE", format!("{}.a.b.c.d", encode(r#"{"alg":"dir","enc":"A128GCM"}"#))),
            ],
        );
        // More than a message may hold, or than a token may: refused either way, and at once.
        let huge = judge(court.subject, "aud1", &"a".repeat(10 << 20));
        rows.must("ADV-JWT-62", huge.as_ref().is_err_and(|answer| answer.code() != Some(0)), &huge);
        rows.equal("ADV-JWT-01 and then a good one", court.code(&good), Some(0));
    }
    rows.settle();
}

/// An ECDSA signature in DER.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        let bytes = if bytes[0] & 0x80 == 0 { bytes.to_vec() } else { [&[0], bytes].concat() };
        [&[2, u8::try_from(bytes.len()).unwrap()][..], &bytes].concat()
    };
    let both = [integer(&raw[..32]), integer(&raw[32..])].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()][..], &both].concat()
}

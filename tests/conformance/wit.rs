//! `FetchWITSVID`: behind its switch, and then a token bound to a key that comes beside it.

use std::{collections::BTreeSet, time::Duration};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{DecodingKey, Validation, decode, jwk::Jwk};
use prost::Message as _;
use serde_json::Value;

use super::{
    common::{
        h2raw::{Head, INVALID_ARGUMENT, PERMISSION_DENIED, UNIMPLEMENTED, message},
        messages::{Nothing, WitOrder, WitSvids},
        own_uid,
    },
    rows::Rows,
    subject::{Stream, Subject},
    tokens::{header, payload},
    wire::path,
};

const ON: &str = "[wit]\nenabled = true\n";

fn order(spiffe_id: &str) -> WitOrder {
    WitOrder { spiffe_id: spiffe_id.to_owned() }
}

/// STAB-01, WAPI-02, WAPI-93, ADV-RPC-32: also for a caller without identity, so that clients stop asking.
#[test]
fn without_its_switch_both_methods_are_unimplemented() {
    for identities in [&[("one", "")][..], &[]] {
        let subject = Subject::with(identities);
        let mut rows = Rows::of("without_its_switch_both_methods_are_unimplemented", &subject);
        for method in ["FetchWITSVID", "FetchWITBundles"] {
            let code = subject.first::<Nothing>(method, &Nothing {}).map_or_else(|answer| answer.code(), |_| Some(0));
            rows.equal(format!("WAPI-93 {method}"), code, Some(UNIMPLEMENTED));
        }
        rows.settle();
    }
}

/// WIT-01, WIT-02, WIT-03, WIT-04, WIT-05, WIT-07, WIT-08, WIT-09, WIT-10, WIT-11, WIT-16, WIT-18, WIT-25, WAPI-91, WAPI-92.
#[test]
fn a_wit_says_what_it_must_and_its_key_comes_beside_it() {
    let Some(subject) = Subject::configured(ON, &[("one", "")]) else { return };
    let mut rows = Rows::of("a_wit_says_what_it_must_and_its_key_comes_beside_it", &subject);
    let answer: WitSvids = subject.first("FetchWITSVID", &order("")).unwrap();
    let one = &answer.svids[0];
    rows.equal("WIT-01 compact", one.svid.split('.').count(), 3);
    let (header, claims) = (header(&one.svid), payload(&one.svid));
    let names: Vec<_> = header.as_object().unwrap().keys().map(String::as_str).collect();
    rows.equal("WIT-05 alg, kid, typ", names, vec!["alg", "kid", "typ"]);
    rows.equal("WIT-03 typ", header["typ"].as_str(), Some("wit+jwt"));
    rows.equal("WIT-04 alg", header["alg"].as_str(), Some("ES256"));
    rows.must("WIT-02 kid", header["kid"].as_str().is_some_and(|id| !id.is_empty()), &header);
    rows.equal("WIT-07 sub", claims["sub"].as_str(), Some("spiffe://example.org/one"));
    rows.equal("WAPI-91 spiffe_id", one.spiffe_id.as_str(), "spiffe://example.org/one");
    rows.must("WIT-18 no aud", claims.get("aud").is_none(), &claims);
    let (exp, now) = (claims["exp"].as_i64().unwrap_or_default(), super::forge::now());
    rows.must("WIT-11 exp", exp > now, &claims);
    rows.must("WIT-16 iat is not ahead", claims["iat"].as_i64().is_none_or(|iat| iat <= now), &claims);
    let bound = &claims["cnf"]["jwk"];
    rows.equal("WIT-09 cnf.jwk.alg", bound["alg"].as_str(), Some("ES256"));
    rows.equal("WIT-10 of that curve", bound["crv"].as_str(), Some("P-256"));
    rows.must("WIT-08 public", ["d", "k"].iter().all(|name| bound.get(name).is_none()), bound);
    let key: Value = serde_json::from_str(&one.key).unwrap();
    let bytes = |key: &Value, name: &str| BASE64URL_NOPAD.decode(key[name].as_str().unwrap_or_default().as_bytes());
    let [x, y, d] = ["x", "y", "d"].map(|name| bytes(&key, name).unwrap());
    rows.equal("WAPI-92 at full width", [x.len(), y.len(), d.len()], [32; 3]);
    let point = [&[4][..], &x, &y].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &d, &point);
    let public = pair.map(|pair| pair.public_key().as_ref().to_vec()).unwrap_or_default();
    let held = [&[4][..], &bytes(bound, "x").unwrap(), &bytes(bound, "y").unwrap()].concat();
    rows.equal("WIT-25 the private half", public, held);
    rows.settle();
}

/// WIT-02, WIT-04, SID-22: another library verifies it by the key that `kid` names, and not by the one for JWT-SVIDs.
#[test]
fn a_wit_is_signed_by_a_key_of_its_own() {
    let Some(subject) = Subject::configured(ON, &[("one", "")]) else { return };
    let answer: WitSvids = subject.first("FetchWITSVID", &order("")).unwrap();
    let wit = &answer.svids[0].svid;
    let daemon = subject.ours().unwrap();
    let jwt = super::tokens::one(&subject, &["a"]);
    let [of_wit, of_jwt] = [wit, &jwt].map(|token| super::forge::own_key(daemon, token));
    assert_ne!(of_wit.public_der(), of_jwt.public_der(), "XCA-15");
    assert_ne!(of_wit.id, of_jwt.id, "WIT-22");
    let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.validate_aud = false;
    let with = |jwk: Value| {
        let key: Jwk = serde_json::from_value(jwk).unwrap();
        decode::<Value>(wit, &DecodingKey::from_jwk(&key).unwrap(), &validation).is_ok()
    };
    assert!(with(of_wit.jwk("wit-svid")));
    assert!(!with(of_jwt.jwk("wit-svid")), "WIT-23");
}

/// WAPI-90, WAPI-95, WAPI-60, WIT-24: all identities or the one asked for, for the whole life of the stream.
#[test]
fn a_stream_for_one_identity_stays_with_it() {
    let Some(subject) = Subject::configured(ON, &[("one", ""), ("two", "other")]) else { return };
    let ids = |answer: &WitSvids| answer.svids.iter().map(|one| one.spiffe_id.clone()).collect::<Vec<_>>();
    let all: WitSvids = subject.first("FetchWITSVID", &order("")).unwrap();
    assert_eq!(ids(&all), ["spiffe://example.org/one", "spiffe://example.org/two"], "WAPI-90, the oldest first");
    assert_eq!(all.svids.iter().map(|one| one.hint.as_str()).collect::<Vec<_>>(), ["", "other"], "WAPI-95");
    assert_ne!(all.svids[0].key, all.svids[1].key, "WIT-24");
    let mut stream = Stream::open(&subject, "FetchWITSVID", &order("spiffe://example.org/two"));
    assert_eq!(ids(&stream.next().unwrap()), ["spiffe://example.org/two"], "WAPI-90");
    // What happens to others of the same caller is not its concern.
    subject.add("three", "");
    subject.remove("one");
    let more = stream.within::<WitSvids>(Duration::from_millis(500));
    assert!(more.is_none(), "WAPI-90: {more:?}");
    subject.remove("two");
    let end = stream.next::<WitSvids>().unwrap_err();
    assert_eq!(end.code(), Some(PERMISSION_DENIED), "WAPI-13");
    let code = |id: &str| subject.first::<WitSvids>("FetchWITSVID", &order(id)).unwrap_err().code();
    assert_eq!(code("spiffe://example.org/two"), Some(PERMISSION_DENIED), "WAPI-90");
    assert_eq!(code("spiffe://example.org/two/"), Some(INVALID_ARGUMENT), "WAPI-64");
}

/// WAPI-13 of a stream that had an identity, WAPI-10.
#[test]
fn a_wit_stream_ends_with_its_last_identity() {
    let Some(subject) = Subject::configured(ON, &[]) else { return };
    let id = subject.ours().unwrap().entry("spiffe://example.org/one", &[&own_uid()], &[]);
    let mut raw = subject.connect();
    let stream = raw.call(&Head::new(&path("FetchWITSVID")), &message(&[])).unwrap();
    raw.next_message(stream).unwrap().unwrap();
    subject.ours().unwrap().cli(&["entry", "remove", &id]);
    let end = raw.next_message(stream).unwrap().unwrap_err();
    assert_eq!((end.code(), end.words().as_str()), (Some(PERMISSION_DENIED), "no identity issued"));
}

/// WIT-12: 128 random bits, in each token others.
#[test]
fn no_jti_comes_twice() {
    let Some(subject) = Subject::configured(ON, &[("one", "")]) else { return };
    let mut raw = subject.connect();
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let stream = raw.call(&Head::new(&path("FetchWITSVID")), &message(&[])).unwrap();
        let answer = WitSvids::decode(&*raw.next_message(stream).unwrap().unwrap()).unwrap();
        let id = payload(&answer.svids[0].svid)["jti"].as_str().unwrap().to_owned();
        // In hex or base64url.
        assert!(id.len() >= 22, "{id}");
        assert!(seen.insert(id), "one came twice");
        raw.reset(stream).unwrap();
    }
}

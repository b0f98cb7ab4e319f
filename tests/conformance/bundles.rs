//! `FetchX509Bundles` and `FetchJWTBundles`: whose keys, of which kind, under which name.

use serde_json::Value;

use super::{
    common::messages::{Bundles, JwtBundles, Nothing},
    rows::Rows,
    subject::Subject,
    wire::X509Answer,
    x509,
};

/// What `FetchJWTBundles` has for our own trust domain.
pub fn own_jwt_keys(subject: &Subject) -> Vec<u8> {
    let answer: JwtBundles = subject.first("FetchJWTBundles", &Nothing {}).unwrap();
    answer.bundles.get("spiffe://example.org").cloned().expect("our own")
}

/// Whether a key of a bundle map is a trust domain's ID.
fn is_trust_domain_id(key: &str) -> bool {
    let name = key.strip_prefix("spiffe://").unwrap_or_default();
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=255).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// WAPI-50, WAPI-51, WAPI-53, WAPI-22, SID-19, CLI-10, CLI-13, CLI-17, TDB-18, XBND-08.
#[test]
fn x509_bundles_are_der_under_the_ids_of_their_trust_domains() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("x509_bundles_are_der_under_the_ids_of_their_trust_domains", &subject);
    let answer: Bundles = subject.first("FetchX509Bundles", &Nothing {}).unwrap();
    let own = answer.bundles.get("spiffe://example.org");
    rows.must("WAPI-50 our own", own.is_some_and(|own| !own.is_empty()), answer.bundles.keys());
    for (key, bundle) in &answer.bundles {
        rows.must("SID-19 keys are IDs", is_trust_domain_id(key), key);
        rows.must("CLI-10 nothing but certificates", x509::try_split(bundle).is_some(), key);
        // other.test has keys for tokens alone.
        rows.must("WAPI-53 no domain without X.509", !bundle.is_empty(), key);
    }
    let svids: X509Answer = subject.first("FetchX509SVID", &Nothing {}).unwrap();
    rows.equal("WAPI-36 the same as beside the SVID", Some(&svids.svids[0].bundle), own);
    rows.must("WAPI-22 our own is no foreign one", !svids.federated_bundles.contains_key("spiffe://example.org"), ());
    rows.must("WAPI-22 keys", svids.federated_bundles.keys().all(|key| is_trust_domain_id(key)), ());
    rows.settle();
}

/// WAPI-70, WAPI-71, WAPI-72, WAPI-75, JWT-27, JWT-29, TDB-16, SID-19, ADV-B-23 at the publisher.
#[test]
fn jwt_bundles_hold_keys_of_jwts_and_nothing_else() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("jwt_bundles_hold_keys_of_jwts_and_nothing_else", &subject);
    let answer: JwtBundles = subject.first("FetchJWTBundles", &Nothing {}).unwrap();
    rows.must("WAPI-70 our own", answer.bundles.contains_key("spiffe://example.org"), answer.bundles.keys());
    for (name, document) in &answer.bundles {
        rows.must("SID-19 keys are IDs", is_trust_domain_id(name), name);
        let document: Value = serde_json::from_slice(document).unwrap();
        let keys = document["keys"].as_array().cloned().unwrap_or_default();
        rows.must("WAPI-75 keys is a list", document["keys"].is_array(), &document);
        let mut ids: Vec<_> = keys.iter().map(|key| key["kid"].as_str().unwrap_or_default().to_owned()).collect();
        rows.must("WAPI-72 each has a kid", ids.iter().all(|id| !id.is_empty()), &ids);
        rows.must("WAPI-71 no WIT key", !ids.contains(&"w1".to_owned()), &ids);
        ids.sort();
        let count = ids.len();
        ids.dedup();
        rows.equal("ADV-B-22 no kid twice", ids.len(), count);
        for key in &keys {
            let is_of_jwts = key.get("use").is_none_or(|usage| usage == "jwt-svid");
            rows.must("WAPI-71 for JWT-SVIDs", is_of_jwts && key.get("x5c").is_none(), key);
            rows.must("TDB-16 public", ["d", "k", "p", "q"].iter().all(|name| key.get(name).is_none()), key);
            let width = match key["crv"].as_str() {
                Some("P-256") => 43,
                Some("P-384") => 64,
                Some("P-521") => 88,
                _ => continue,
            };
            let is_full = ["x", "y"].iter().all(|name| key[name].as_str().is_some_and(|text| text.len() == width));
            rows.must("JWT-29 full width", is_full, key);
        }
    }
    rows.settle();
}

/// TDB-05, TDB-06: what nobody counts has no number, rather than one that goes back; and the same keys are the same text.
#[test]
fn a_document_of_ours_has_no_sequence_and_changes_with_its_keys_alone() {
    let Some(subject) = Subject::configured("", &[("one", "")]) else { return };
    let daemon = subject.ours().unwrap();
    let fetch = || daemon.cli(&["fetch", "bundle", "--format", "spiffe", "--trust-domain", "example.org"]);
    let first = fetch();
    let document: Value = serde_json::from_str(&first).unwrap();
    let members: Vec<_> = document.as_object().unwrap().keys().collect();
    assert_eq!(members, ["keys"]);
    subject.add("two", "");
    subject.remove("one");
    assert_eq!(fetch(), first);
}

//! Documents of ours: by their bytes, and read again.

use std::{collections::BTreeSet, time::Duration};

use data_encoding::BASE64;

use super::kit::{Good, certified, jwk, of, own, read, with};
use crate::spiffe::{
    TrustDomain,
    document::{Document, ENTRIES_MAX, Error as E, REFRESH_MIN},
    jose::{Algorithm, Jwk},
    jwt, wit,
    x509::{
        self,
        tests::kit::{Blueprint, Key, bundle, root},
    },
};

fn jwt_keys(keys: &[(&str, &Jwk)]) -> jwt::Bundle {
    jwt::Bundle::new(own(), keys.iter().map(|(id, key)| ((*id).to_owned(), (*key).clone()))).unwrap()
}

fn wit_keys(keys: &[(&str, &Jwk)]) -> wit::Bundle {
    wit::Bundle::new(own(), keys.iter().map(|(id, key)| ((*id).to_owned(), (*key).clone()))).unwrap()
}

fn x509(authorities: Vec<bytes::Bytes>) -> x509::Bundle {
    x509::Bundle::new(own(), authorities).unwrap()
}

#[test]
fn a_document_has_exactly_these_members_in_this_order() {
    let root = root("root", "example.org");
    let (one, two) = (jwk(), jwk());
    let hint = Some(Duration::from_millis(300_900));
    let keys = [("k2", &two), ("k1", &one)];
    let document =
        Document::new(x509(vec![root.der.clone()]), jwt_keys(&keys), wit_keys(&[("w", &one)]), Some(u64::MAX), hint)
            .unwrap();
    let entry = |key: &Jwk, usage: &str, id: &str| {
        key.to_json().replacen(r#""kty":"EC","#, &format!(r#""kty":"EC","use":"{usage}","kid":"{id}","#), 1)
    };
    let anchor = certified(&root.der).replacen(r#""kty":"EC","#, r#""kty":"EC","use":"x509-svid","#, 1);
    let anchor = with(&anchor, &format!(r#""x5c":["{}"]"#, BASE64.encode(&root.der)));
    let wanted = format!(
        r#"{{"keys":[{anchor},{},{},{}],"spiffe_sequence":18446744073709551615,"spiffe_refresh_hint":300}}"#,
        entry(&one, "jwt-svid", "k1"),
        entry(&two, "jwt-svid", "k2"),
        entry(&one, "wit-svid", "w"),
    );
    assert_eq!(document.to_json(), wanted);
    let again = read(&wanted).unwrap();
    assert_eq!((again.left_out, again.warnings), (vec![], vec![]));
    assert_eq!(again.document, document);
    // WAPI-71, WAPI-73, WAPI-94: each kind alone, and JWT keys as any JWT library takes them.
    let alone = format!(r#"{{"keys":[{},{}]}}"#, entry(&one, "jwt-svid", "k1"), entry(&two, "jwt-svid", "k2"));
    assert_eq!(document.jwt().to_json(), alone.replace(r#""use":"jwt-svid","#, ""));
    assert_eq!(document.wit().to_json(), format!(r#"{{"keys":[{}]}}"#, entry(&one, "wit-svid", "w")));
    let empty = Document::new(x509(vec![]), jwt_keys(&[]), wit_keys(&[]), None, None).unwrap();
    assert_eq!(empty.to_json(), r#"{"keys":[]}"#);
}

#[test]
fn what_was_read_is_written_without_what_was_not_used() {
    let good = Good::new();
    let noisy = with(&good.entries[1], r#""alg":"ES256","key_ops":["verify"],"x":{}"#).replace(r#","x":{}"#, "");
    let outcome = of(&[good.entries[0].clone(), noisy, good.entries[2].clone(), "{}".into()]);
    // TDB-15: no `alg`, no `key_ops`; it still binds the key here.
    let json: serde_json::Value = serde_json::from_str(&outcome.document.to_json()).unwrap();
    let names: BTreeSet<&String> =
        json["keys"].as_array().unwrap().iter().flat_map(|key| key.as_object().unwrap().keys()).collect();
    assert_eq!(
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["crv", "kid", "kty", "use", "x", "x5c", "y"]
    );
    assert_eq!(outcome.document.jwt().key("k1").unwrap().algorithm(), Some(Algorithm::Es256));
    assert_eq!(outcome.left_out.len(), 1);
}

#[test]
fn what_contradicts_itself_is_not_made() {
    let key = jwk();
    let (none, wits) = (jwt_keys(&[]), wit_keys(&[]));
    let shared = Document::new(x509(vec![]), jwt_keys(&[("a", &key)]), wit_keys(&[("a", &jwk())]), None, None);
    assert_eq!(shared, Err(E::KeyIdTwice), "WIT-22");
    let foreign = bundle("other.test", &[]);
    assert_eq!(Document::new(foreign, none.clone(), wits.clone(), None, None), Err(E::TrustDomains));
    let foreign = wit::Bundle::new(TrustDomain::parse("other.test").unwrap(), []).unwrap();
    assert_eq!(Document::new(x509(vec![]), none.clone(), foreign, None, None), Err(E::TrustDomains));
    let ed25519 = Key::ed25519();
    let ed25519 = Blueprint::authority("ed", "example.org", &ed25519).for_key(ed25519, None);
    let document = Document::new(x509(vec![ed25519.der]), none.clone(), wits.clone(), None, None);
    assert_eq!(document, Err(E::AuthorityKey));
    let names: Vec<_> = (0..ENTRIES_MAX).map(|number| number.to_string()).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), &key)).collect();
    assert!(Document::new(x509(vec![]), jwt_keys(&many), wits, None, None).is_ok());
    let over = Document::new(x509(vec![]), jwt_keys(&many), wit_keys(&[("w", &key)]), None, None);
    assert_eq!(over, Err(E::TooManyEntries(ENTRIES_MAX + 1)));
    let hint = Document::new(x509(vec![]), none, wit_keys(&[]), None, Some(Duration::ZERO)).unwrap();
    assert_eq!(hint.refresh_hint(), Some(REFRESH_MIN), "TDB-08");
}

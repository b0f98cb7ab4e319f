//! The bundle of another trust domain: who has it, and how it is taken back.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{
    common::{
        eventually,
        h2raw::INVALID_ARGUMENT,
        messages::{Bundles, JwtBundles, Nothing, ToValidate, Validated, WitBundles, WitOrder, WitSvids},
        own_uid,
    },
    forge::{Forge, now},
    rows::Rows,
    subject::{Stream, Subject},
    wire::X509Answer,
};

const OWN: &str = "spiffe://example.org";
const OTHER: &str = "spiffe://other.test";
const WIT: &str = "[wit]\nenabled = true\n";

/// A good token of `other.test`.
fn token() -> String {
    let claims = serde_json::json!({"sub": "spiffe://other.test/a", "aud": ["aud1"], "exp": now() + 3_000});
    Forge::get().k1.token(r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#, claims.to_string())
}

/// The code for a token; 0 when it is believed.
fn judged(subject: &Subject, svid: &str) -> Option<u32> {
    let request = ToValidate { audience: "aud1".into(), svid: svid.to_owned() };
    subject.ask::<Validated>("ValidateJWTSVID", &request).map_or_else(|answer| answer.code(), |_| Some(0))
}

/// The kids of a JWK Set.
fn kids(set: &[u8]) -> BTreeSet<String> {
    let set: Value = serde_json::from_slice(set).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn named<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

/// A certificate of an authority, as an entry of a document.
fn authority() -> (Vec<u8>, Value) {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let pair = rcgen::KeyPair::generate().unwrap();
    let der = params.self_signed(&pair).unwrap().der().to_vec();
    let point = &super::x509::split(&der)[0].public_key().subject_public_key.data.to_vec();
    let [x, y] = [&point[1..33], &point[33..]].map(super::forge::encode);
    let x5c = data_encoding::BASE64.encode(&der);
    (der, serde_json::json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "x509-svid", "x5c": [x5c]}))
}

/// WAPI-22, WAPI-23, WAPI-50, WAPI-70, WAPI-82, ADV-JWT-19: what is known is not yet what a caller is to believe.
#[test]
fn a_foreign_bundle_is_for_those_whose_entry_federates() {
    let Some(subject) = Subject::configured(WIT, &[]) else { return };
    let daemon = subject.ours().unwrap();
    daemon.entry("spiffe://example.org/alone", &[&own_uid()], &[]);
    let maps = || -> [BTreeSet<String>; 3] {
        let x509: Bundles = subject.first("FetchX509Bundles", &Nothing {}).unwrap();
        let jwt: JwtBundles = subject.first("FetchJWTBundles", &Nothing {}).unwrap();
        let wit: WitBundles = subject.first("FetchWITBundles", &Nothing {}).unwrap();
        [x509.bundles.into_keys().collect(), jwt.bundles.into_keys().collect(), wit.bundles.into_keys().collect()]
    };
    assert_eq!(maps(), [named([OWN]), named([OWN]), named([OWN])]);
    assert_eq!(judged(&subject, &token()), Some(INVALID_ARGUMENT), "WAPI-82");
    subject.add("together", "");
    // other.test has no authority for certificates.
    assert_eq!(maps(), [named([OWN]), named([OWN, OTHER]), named([OWN, OTHER])]);
    assert_eq!(judged(&subject, &token()), Some(0), "WAPI-82");
    subject.remove("together");
    assert_eq!(maps(), [named([OWN]), named([OWN]), named([OWN])], "WAPI-08");
    assert_eq!(judged(&subject, &token()), Some(INVALID_ARGUMENT), "WAPI-82");
}

/// TDB-11, TDB-12, TDB-21, WAPI-08, WAPI-75, CLI-17, ADV-JWT-64, ADV-JWT-65: keys that are taken back are good for nothing at
/// once, on open streams too, and come back.
#[test]
fn an_emptied_bundle_takes_everything_back() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("an_emptied_bundle_takes_everything_back", &subject);
    let token = token();
    let mut stream = Stream::open(&subject, "FetchJWTBundles", &Nothing {});
    let mut next = || stream.next::<JwtBundles>().unwrap().bundles;
    rows.must("WAPI-70 it is there", next().contains_key(OTHER), ());
    rows.equal("ADV-JWT-01", judged(&subject, &token), Some(0));
    for (row, document) in [
        ("ADV-JWT-65 no key", r#"{"keys":[]}"#.to_owned()),
        ("TDB-12 no key for tokens", r#"{"keys":[{"kty":"EC","use":"sig","kid":"k1"}]}"#.to_owned()),
    ] {
        // What an agent does not take at all, it must not act on either.
        if subject.ours().is_none() && row.starts_with("TDB") {
            continue;
        }
        subject.set_bundle(&document);
        eventually(row, || judged(&subject, &token) == Some(INVALID_ARGUMENT));
        rows.must("WAPI-75 a foreign domain without keys is left out", !next().contains_key(OTHER), row);
        subject.set_bundle(&Forge::get().document());
        eventually("the keys are back", || judged(&subject, &token) == Some(0));
        rows.must("TDB-21 and again", next().contains_key(OTHER), row);
    }
    rows.settle();
}

/// WAPI-20, CLI-14, CLI-21, WAPI-72, TDB-13, ADV-RPC-30, ADV-B-22: what clients cannot read is left out, and the rest is there.
#[test]
fn one_bad_key_spoils_nothing() {
    let Some(subject) = Subject::configured("", &[("one", "")]) else { return };
    let (der, good) = authority();
    let (_, mut other) = authority();
    other["x5c"] = serde_json::json!(["AAAA"]);
    let mut document: Value = serde_json::from_str(&Forge::get().document()).unwrap();
    document["keys"].as_array_mut().unwrap().extend([
        good,
        other,
        serde_json::json!({"kty": "AKP", "use": "jwt-svid", "kid": "pq", "pub": "AA"}),
        serde_json::json!({"kty": "EC", "crv": "secp256k1", "use": "jwt-svid", "kid": "k", "x": "AA", "y": "AA"}),
    ]);
    subject.set_bundle(&document.to_string());
    let x509: Bundles = subject.first("FetchX509Bundles", &Nothing {}).unwrap();
    assert_eq!(x509.bundles[OTHER], der);
    let svids: X509Answer = subject.first("FetchX509SVID", &Nothing {}).unwrap();
    assert_eq!(svids.federated_bundles.into_iter().collect::<Vec<_>>(), [(OTHER.to_owned(), der)], "WAPI-22");
    let jwt: JwtBundles = subject.first("FetchJWTBundles", &Nothing {}).unwrap();
    // Of two keys of one name neither, and no RSA of 1,024 bits.
    assert_eq!(kids(&jwt.bundles[OTHER]), named(["k1", "k384", "rsa"]));
    assert_eq!(judged(&subject, &token()), Some(0));
}

/// WAPI-94, WAPI-96, WIT-22, WAPI-93: both methods answer at once, each by itself, and the key that signs is in the bundle.
#[test]
fn wit_bundles_have_the_key_that_signs_and_nothing_else() {
    let Some(subject) = Subject::configured(WIT, &[("one", "")]) else { return };
    let mut bundles = Stream::open(&subject, "FetchWITBundles", &Nothing {});
    let wits = Stream::open(&subject, "FetchWITSVID", &WitOrder::default());
    let maps: WitBundles = bundles.next().unwrap();
    let mut wits = wits;
    let wit = wits.next::<WitSvids>().unwrap().svids.remove(0).svid;
    assert_eq!(maps.bundles.keys().cloned().collect::<BTreeSet<_>>(), named([OWN, OTHER]));
    assert_eq!(kids(maps.bundles[OTHER].as_bytes()), named(["w1"]), "no JWT key");
    for set in maps.bundles.values() {
        let set: Value = serde_json::from_str(set).unwrap();
        assert!(set["keys"].as_array().unwrap().iter().all(|key| key["use"] == "wit-svid"), "{set}");
    }
    let of_wit = kids(maps.bundles[OWN].as_bytes());
    assert!(of_wit.contains(super::tokens::header(&wit)["kid"].as_str().unwrap()));
    let jwt: JwtBundles = subject.first("FetchJWTBundles", &Nothing {}).unwrap();
    assert!(of_wit.is_disjoint(&kids(&jwt.bundles[OWN])), "WIT-22");
    assert!(bundles.within::<WitBundles>(Duration::from_millis(200)).is_none(), "none without a change");
}

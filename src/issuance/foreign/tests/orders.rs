//! Orders over a real store and a real log.

use std::{sync::Arc, time::SystemTime};

use tokio_util::sync::CancellationToken;

use crate::{
    issuance::{
        desk::{
            self,
            fixture::{ADMIN, Fixture, draft},
        },
        foreign::{
            DOMAINS_MAX, Error, Outcome, TOTAL_BYTES_MAX,
            fixture::{anchor, domain, json, kept, own_keys, pem, token_entry, x509_entry},
            open,
        },
    },
    policy::Credential,
    registry::{Draft, IDENTITIES_MAX},
    store::BundleRow,
    sys::Clock,
};

const EMPTY: &str = r#"{"keys":[]}"#;

async fn set(house: &Fixture, name: &str, document: &str) -> Result<Outcome, Error> {
    house.office.set(ADMIN, name, document.to_owned().into()).await
}

#[tokio::test]
async fn a_bundle_is_seen_recorded_and_kept() {
    let house = Fixture::new();
    let one = anchor("other.test");
    let document = json(&[x509_entry(&one), token_entry("jwt-svid", "j")]);
    let first = set(&house, "other.test", &document).await.unwrap();
    assert!(first.is_changed && first.warnings.is_empty());
    let seen = house.office.foreign().borrow().clone();
    assert_eq!(seen.of(&domain("other.test")), Some(&first.bundle));
    assert_eq!(house.counted("foreign_bundles"), 1);
    let record = &house.records("admin")[0];
    assert_eq!((&record["verb"], &record["object"]), (&"bundle_set".into(), &"other.test".into()));
    assert_eq!((&record["result"], &record["caller"]["uid"]), (&"ok".into(), &501.into()));
    assert!(record["changes"][0].as_str().unwrap().starts_with("added jwt key j "), "{record}");
    assert!(record["changes"][1].as_str().unwrap().starts_with("added x509 authority "), "{record}");

    let house = house.restart().await;
    assert_eq!(house.office.show("other.test").unwrap(), first.bundle);
    // What says the same is no change.
    let same = set(&house, "spiffe://other.test", &format!("  {document}")).await.unwrap();
    assert!(!same.is_changed && same.bundle.revision() == 1);
    assert_eq!(house.records("admin").len(), 1);
    let second = set(&house, "other.test", &pem(&[one])).await.unwrap();
    assert_eq!((second.is_changed, second.bundle.revision()), (true, 2));
    assert_eq!(second.warnings, ["its JWT and WIT keys are gone (1): PEM has X.509 authorities only"]);
    assert_eq!(house.records("admin")[1]["changes"].as_array().unwrap().len(), 1, "what stays is not told");
    house.office.delete(ADMIN, "other.test", false).await.unwrap();
    assert_eq!(house.records("admin")[2]["verb"], "bundle_delete");
    let house = house.restart().await;
    assert_eq!(house.office.foreign().borrow().len(), 0);
}

#[tokio::test]
async fn a_refused_document_leaves_what_was_there() {
    let house = Fixture::new();
    let first = set(&house, "other.test", &pem(&[anchor("other.test")])).await.unwrap();
    for document in ["{}", "", r#"{"keys":[],"keys":[]}"#] {
        assert!(matches!(set(&house, "other.test", document).await, Err(Error::Refused { .. })));
    }
    for name in ["example.org", "spiffe://example.org"] {
        assert!(matches!(set(&house, name, EMPTY).await, Err(Error::Own(_))));
        assert!(matches!(house.office.show(name), Err(Error::Own(_))));
    }
    for name in ["", "Other.test", "spiffe://other.test/", "other.test/a"] {
        assert!(matches!(set(&house, name, EMPTY).await, Err(Error::Name { .. })), "{name}");
    }
    assert!(matches!(house.office.delete(ADMIN, "none.test", true).await, Err(Error::Unknown(_))));
    assert_eq!(house.office.show("other.test").unwrap(), first.bundle);
    assert_eq!(house.records("admin").len(), 1);
}

#[tokio::test]
async fn what_entries_federate_with_goes_only_by_force() {
    let house = Fixture::new();
    set(&house, "other.test", &pem(&[anchor("other.test")])).await.unwrap();
    let federating = |name| Draft { federates_with: vec!["other.test".into()], ..draft(name, 1) };
    for (name, words) in [("a", "1 entry federates with other.test"), ("b", "2 entries federate with other.test")] {
        house.desk.create(ADMIN, federating(name)).await.unwrap();
        let error = house.office.delete(ADMIN, "other.test", false).await.unwrap_err();
        assert_eq!(error.to_string(), words);
    }
    let gone = house.office.delete(ADMIN, "other.test", true).await.unwrap();
    assert_eq!((gone.entries, house.office.foreign().borrow().len()), (2, 0));
}

#[tokio::test]
async fn a_key_of_two_domains_and_a_sequence_that_does_not_grow_are_told() {
    let house = Fixture::new();
    let (one, token) = (anchor("a.test"), token_entry("jwt-svid", "j"));
    set(&house, "a.test", &json(&[x509_entry(&one), token.clone()])).await.unwrap();
    let shared = ["it has a key that the bundle of a.test has, too"];
    assert_eq!(set(&house, "b.test", &pem(&[one])).await.unwrap().warnings, shared);
    assert_eq!(set(&house, "c.test", &json(&[token])).await.unwrap().warnings, shared);
    // TDB-18: each stays in its own bundle.
    let seen = house.office.foreign().borrow().clone();
    let value = |name: &str| seen.of(&domain(name)).unwrap().value(Credential::X509).cloned();
    assert_eq!(value("a.test"), value("b.test"));
    let numbered =
        |number: u64| format!(r#"{{"keys":[{}],"spiffe_sequence":{number}}}"#, x509_entry(&anchor("d.test")));
    let rows = [
        (9_007_199_254_740_993, vec![]),
        (9_007_199_254_740_993, vec!["its sequence 9007199254740993 is the same, and its keys are not"]),
        (7, vec!["its sequence 7 is older than 9007199254740993, which was there"]),
    ];
    for (number, words) in rows {
        assert_eq!(set(&house, "d.test", &numbered(number)).await.unwrap().warnings, words);
    }
}

#[tokio::test]
async fn our_own_anchor_in_a_foreign_bundle_is_told() {
    let (house, keys) = (Fixture::new(), own_keys());
    let own = keys.borrow().bundle().der().to_vec();
    let (log, counters) = (house.log.clone(), house.counters.clone());
    let opened = open(vec![], house.desk.registry(), keys, house.store.clone(), log, Clock::system(), counters);
    tokio::spawn(opened.registrar.run(CancellationToken::new()));
    let outcome = opened.office.set(ADMIN, "other.test", pem(&[own]).into()).await.unwrap();
    assert_eq!(outcome.warnings, ["it has a key that the bundle of example.org has, too"]);
}

#[tokio::test]
async fn there_are_never_more_domains_than_the_most() {
    let house = Fixture::new();
    for number in 0..DOMAINS_MAX {
        set(&house, &format!("d{number}.test"), EMPTY).await.unwrap();
    }
    let over = set(&house, "over.test", EMPTY).await;
    assert!(matches!(over, Err(Error::TooManyDomains(200))), "{over:?}");
    set(&house, "d0.test", &pem(&[anchor("d0.test")])).await.unwrap();
    house.office.delete(ADMIN, "d1.test", false).await.unwrap();
    set(&house, "over.test", EMPTY).await.unwrap();
}

#[tokio::test]
async fn all_documents_together_have_so_many_bytes_at_most() {
    let house = Fixture::new();
    let token = token_entry("jwt-svid", "KID");
    let large = |name: &str| {
        let keys = (0..1_000).map(|number| token.replace("KID", &format!("{name}{number:0>300}")));
        json(&keys.collect::<Vec<_>>())
    };
    let mut bytes = 0;
    for name in ["a.test", "b.test", "c.test"] {
        bytes += set(&house, name, &large(name)).await.unwrap().bundle.json().len();
    }
    assert!(bytes < TOTAL_BYTES_MAX && bytes * 4 / 3 > TOTAL_BYTES_MAX);
    let over = set(&house, "d.test", &large("d.test")).await;
    assert!(matches!(over, Err(Error::TooManyBytes(over)) if over > TOTAL_BYTES_MAX), "{over:?}");
    assert_eq!(house.office.foreign().borrow().bytes(), bytes);
}

#[test]
fn the_largest_message_stays_under_what_clients_take() {
    const MESSAGE_BYTES_MAX: usize = 4 << 20;
    // The ID in its field and in the leaf, 64 DNS names, a hint, two certificates, a key, and our own bundle.
    let identity = 2 * 2_048 + 64 * 257 + 1_024 + 2 * 1_024 + 256 + 2_048;
    // A certificate is in a document in base64, with its key beside it: DER is less than three quarters of it.
    assert!(IDENTITIES_MAX * identity + TOTAL_BYTES_MAX / 4 * 3 < MESSAGE_BYTES_MAX);
    let all = kept(&[("a.test", &json(&[x509_entry(&anchor("a.test"))]))]);
    let bundle = all.iter().next().unwrap();
    assert!(bundle.value(Credential::X509).unwrap().len() < bundle.json().len() / 4 * 3);
    // rust-spiffe takes 200 bundles, and one is ours.
    const { assert!(DOMAINS_MAX < 200) };
}

#[tokio::test]
async fn a_document_that_is_none_is_left_out_at_the_start() {
    let house = Fixture::new();
    let row = |name: &str, document: &str| BundleRow {
        trust_domain: domain(name),
        document: document.as_bytes().to_vec(),
        revision: 1,
        changed_at: SystemTime::UNIX_EPOCH,
    };
    let rows = vec![row("a.test", "{}"), row("b.test", EMPTY), row("example.org", EMPTY)];
    let (log, counters) = (house.log.clone(), house.counters.clone());
    let opened = open(rows, house.desk.registry(), own_keys(), house.store.clone(), log, Clock::system(), counters);
    let seen = opened.office.foreign().borrow().clone();
    assert_eq!((opened.left_out, seen.len()), (2, 1));
    assert!(seen.of(&domain("b.test")).is_some());
}

#[tokio::test]
async fn what_could_not_be_written_is_not_so_and_the_log_says_it() {
    let house = Fixture::new();
    set(&house, "other.test", &pem(&[anchor("other.test")])).await.unwrap();
    let before = house.office.show("other.test").unwrap();
    house.store.close();
    let outcomes = [set(&house, "other.test", EMPTY).await, house.office.delete(ADMIN, "other.test", true).await];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::Change(desk::Error::Store(_)))), "{outcome:?}");
    }
    assert!(Arc::ptr_eq(&house.office.show("other.test").unwrap(), &before));
    let results: Vec<_> = house.records("admin").iter().map(|record| record["result"].clone()).collect();
    assert_eq!(results, ["ok", "ok", "not_made", "ok", "not_made"]);
}

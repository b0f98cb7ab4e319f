//! The keys that sign access tokens: beside the others, never one of them, and named so that scanners know their tokens.

use super::*;
use crate::spiffe::jose::{Algorithm as JoseAlgorithm, Jwk, Signer as _};

fn json(document: &[u8]) -> serde_json::Value {
    serde_json::from_slice(document).unwrap()
}

/// What every token begins with, as base64url has it.
const BEGINNING: &str = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6ImRmbHkt";

#[tokio::test(start_paused = true)]
async fn a_key_for_access_tokens_is_branded_and_in_no_bundle() {
    for algorithm in [Algorithm::P256, Algorithm::P384] {
        let (dir, clock) = (Scratch::new(), Clock::following_tokio());
        let settings = Settings { algorithm, ..settings(Layout::Rooted) };
        let (owner, _store) = try_open(dir.path(), settings, &clock).await.unwrap();
        let ring = owner.keyring().borrow().clone();
        let keys = ring.access().unwrap();
        let kid = keys.active.key_id();
        let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}"}}"#);
        assert!(data_encoding::BASE64URL_NOPAD.encode(header.as_bytes()).starts_with(BEGINNING), "{header}");
        assert_eq!(keys.active.algorithm(), crate::spiffe::jose::SigningAlgorithm::Es256);
        let set = json(&ring.access_keys());
        let written = set.pointer("/keys/0").unwrap();
        assert_eq!(set.pointer("/keys").unwrap().as_array().unwrap().len(), 1);
        let names: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        let said = ["alg", "crv", "kid", "kty", "use"].map(|name| written.get(name).unwrap().as_str().unwrap());
        assert_eq!(said, ["ES256", "P-256", kid, "EC", "sig"]);
        // Whoever reads it as a JWK has the key that signs.
        let read = Jwk::parse(written.to_string().as_bytes()).unwrap();
        let signature = keys.active.sign(b"message").unwrap();
        read.verify(JoseAlgorithm::Es256, b"message", &signature).unwrap();
        for bundle in [ring.jwt_bundle(), ring.wit_bundle()] {
            let text = String::from_utf8(bundle.to_vec()).unwrap();
            let x = written.get("x").unwrap().as_str().unwrap();
            assert!(!text.contains(x) && !text.contains("dfly"), "{text}");
        }
    }
}

/// A state of a release that had no such keys.
#[tokio::test(start_paused = true)]
async fn a_state_without_such_a_key_gets_one_and_keeps_the_others() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, store) = open(dir.path(), &clock).await;
    let first = owner.keyring().borrow().clone();
    let rows = store.load().await.unwrap().authorities;
    let is_access = |row: &&AuthorityRow| row.kind == AuthorityKind::Access;
    for row in rows.iter().filter(is_access) {
        store.remove_authority(row.id.clone()).await.unwrap();
        fs::remove_file(dir.path().join("keys").join(format!("{}.key", row.id))).unwrap();
    }
    drop((owner, store));
    tokio::time::advance(HOUR).await;
    let (owner, store) = open(dir.path(), &clock).await;
    let second = owner.keyring().borrow().clone();
    assert_eq!((second.jwt_bundle(), second.wit_bundle()), (first.jwt_bundle(), first.wit_bundle()));
    assert_eq!((second.issuer(), second.bundle()), (first.issuer(), first.bundle()));
    assert_ne!(second.access_keys(), first.access_keys());
    assert!(second.access().unwrap().signer().1 > clock.now() + 23 * HOUR);
    let kept: Vec<_> = store.load().await.unwrap().authorities;
    assert!(rows.iter().filter(|row| !is_access(row)).all(|row| kept.contains(row)));
    assert_eq!(kept.iter().filter(is_access).count(), 1);
    assert_whole(dir.path(), &store).await;
}

/// Ten days of keys that live one.
#[tokio::test(start_paused = true)]
async fn their_rotation_is_noticed_by_nobody_who_reads_the_set_now_and_then() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, store) = open(dir.path(), &clock).await;
    let keyring = owner.keyring();
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    let mut history: Vec<(SystemTime, Arc<Keyring>)> = Vec::new();
    for _ in 0..10 * 24 * 4 {
        tokio::time::sleep(HOUR / 4).await;
        history.push((clock.now(), keyring.borrow().clone()));
    }
    let mut signers = Vec::new();
    for (at, (signed, ring)) in history.iter().enumerate() {
        let keys = ring.access().unwrap();
        let (kid, end) = (keys.active.key_id(), keys.signer().1);
        // An hour's worth of tokens that were signed now.
        let until = end.min(*signed + HOUR);
        let knows = |ring: &Keyring| ring.access().unwrap().bundle().key(kid).is_some();
        assert!(
            history.iter().take(at).rev().take(1).all(|(_, before)| knows(before)),
            "it signed before it was known"
        );
        let while_alive = history.iter().skip(at).take_while(|(then, _)| *then < until);
        assert!(while_alive.into_iter().all(|(_, later)| knows(later)), "what it signed is not believed any more");
        let kids: Vec<_> = keys.bundle().keys().map(|(kid, _)| kid.to_owned()).collect();
        assert!(kids.len() <= 3 && kids.iter().all(|kid| kid.starts_with("dfly-")), "{kids:?}");
        signers.push(kid.to_owned());
    }
    signers.dedup();
    assert!((9..=22).contains(&signers.len()), "{} keys", signers.len());
    assert_eq!(signers.iter().collect::<std::collections::HashSet<_>>().len(), signers.len());
    stop.cancel();
    task.await.unwrap();
    assert_whole(dir.path(), &store).await;
}

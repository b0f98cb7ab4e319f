//! The keys that sign tokens succeed each other, and nobody who polls the bundle notices.

use super::*;
use crate::spiffe::{jose::PrivateJwk, jwt, wit};

fn jwt_of(keyring: &Keyring, now: SystemTime) -> Result<Token, Error> {
    keyring.sign_jwt(permit_for(Credential::Jwt, now), &["audience".to_owned()], None, now)
}

fn wit_of(keyring: &Keyring, key: &PrivateJwk, now: SystemTime) -> Result<Token, Error> {
    keyring.sign_wit(permit_for(Credential::Wit, now), key, now)
}

fn text(token: &Token) -> &str {
    std::str::from_utf8(token.text.expose()).unwrap()
}

/// Whether a stranger with these bundles believes both tokens at that time.
fn are_believed([jwt, wit]: [&Token; 2], keyring: &Keyring, at: SystemTime) -> bool {
    let expected = jwt::Expected { audience: "audience", now: at, leeway: Duration::ZERO };
    let jwt = jwt::validate(text(jwt), &expected, |_| keyring.jwt().map(|keys| keys.bundle().into()));
    let wit = wit::verify(text(wit), at, Duration::ZERO, |_| keyring.wit().map(TokenKeys::bundle));
    jwt.is_ok_and(|it| it.id.as_str() == "spiffe://example.org/a") && wit.is_ok()
}

/// Ten days of keys that live one.
#[tokio::test(start_paused = true)]
async fn rotation_of_token_keys_is_noticed_by_nobody() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, store) = open(dir.path(), &clock).await;
    let keyring = owner.keyring();
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    let holder = holder_key().unwrap();
    let mut history = Vec::new();
    for _ in 0..10 * 24 * 4 {
        tokio::time::sleep(HOUR / 4).await;
        let (now, ring) = (clock.now(), keyring.borrow().clone());
        let tokens = [jwt_of(&ring, now).unwrap(), wit_of(&ring, &holder, now).unwrap()];
        assert!(tokens.iter().all(|token| token.not_after > now && token.not_after <= now + HOUR));
        history.push((now, ring, tokens));
    }
    let mut signers = Vec::new();
    for (at, (signed, ring, [jwt, wit])) in history.iter().enumerate() {
        assert!(are_believed([jwt, wit], ring, *signed));
        if let Some((_, before, _)) = at.checked_sub(1).and_then(|at| history.get(at)) {
            assert!(are_believed([jwt, wit], before, *signed), "it signed before everybody knew it");
        }
        let last = history.iter().skip(at).take_while(|(then, ..)| *then < jwt.not_after.min(wit.not_after)).last();
        let (then, later, _) = last.unwrap();
        assert!(are_believed([jwt, wit], later, *then), "what it signed is not believed any more");
        let kids = |bundle: &jwt::Bundle| bundle.keys().map(|(kid, _)| kid.to_owned()).collect::<Vec<_>>();
        let ours = kids(ring.jwt().unwrap().bundle());
        assert!(ours.len() <= 3, "{ours:?}");
        assert!(ours.iter().all(|kid| ring.wit().unwrap().bundle().key(kid).is_none()), "one `kid` for two uses");
        signers.push(jwt.authority.clone());
    }
    signers.dedup();
    assert!((18..=22).contains(&signers.len()), "{} keys", signers.len());
    stop.cancel();
    task.await.unwrap();
    assert_whole(dir.path(), &store).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_keys_and_the_bytes_of_their_bundle() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, store) = open(dir.path(), &clock).await;
    let (first, now) = (owner.keyring().borrow().clone(), clock.now());
    let tokens = [jwt_of(&first, now).unwrap(), wit_of(&first, &holder_key().unwrap(), now).unwrap()];
    drop((owner, store));
    let (owner, _store) = open(dir.path(), &clock).await;
    let second = owner.keyring().borrow().clone();
    assert!(second.is_as(&first));
    assert_eq!((second.jwt_bundle(), second.wit_bundle()), (first.jwt_bundle(), first.wit_bundle()));
    assert!(are_believed(tokens.each_ref(), &second, now));
}

#[tokio::test(start_paused = true)]
async fn a_bundle_has_what_the_standard_names_and_nothing_else() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, _store) = open(dir.path(), &clock).await;
    let ring = owner.keyring().borrow().clone();
    // WAPI-73: JWT libraries skip a key whose `use` is not `sig`.
    for (document, usage) in [(ring.jwt_bundle(), None), (ring.wit_bundle(), Some("wit-svid"))] {
        let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
        let key = document.pointer("/keys/0").unwrap().as_object().unwrap();
        let names: Vec<_> = key.keys().map(String::as_str).collect();
        let others: Vec<_> = names.into_iter().filter(|name| *name != "use").collect();
        assert_eq!(others, ["crv", "kid", "kty", "x", "y"]);
        assert_eq!(key.get("use").and_then(serde_json::Value::as_str), usage);
    }
}

/// Where WIT-SVIDs are not offered there is no key; one of a time in which they were goes at its end.
#[tokio::test(start_paused = true)]
async fn without_its_switch_there_is_no_key_for_wit() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, store) = open(dir.path(), &clock).await;
    drop((owner, store));
    let count = key_files(dir.path()).len();
    let settings = Settings { signs_wit: false, ..settings(Layout::Rooted) };
    let (owner, store) = try_open(dir.path(), settings, &clock).await.unwrap();
    let ring = owner.keyring().borrow().clone();
    assert!(ring.wit().is_none() && ring.jwt().is_some());
    assert_eq!(ring.wit_bundle(), r#"{"keys":[]}"#);
    assert!(matches!(wit_of(&ring, &holder_key().unwrap(), clock.now()), Err(Error::NoTokenKey)));
    let stop = CancellationToken::new();
    let task = tokio::spawn(owner.run(stop.clone()));
    tokio::time::sleep(25 * HOUR).await;
    let kinds: Vec<_> = store.load().await.unwrap().authorities.iter().map(|row| row.kind).collect();
    assert!(!kinds.contains(&AuthorityKind::Wit), "{kinds:?}");
    assert!(count >= 4);
    stop.cancel();
    task.await.unwrap();
    assert_whole(dir.path(), &store).await;
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_good_for_its_own_kind_alone() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, _store) = open(dir.path(), &clock).await;
    let (ring, now) = (owner.keyring().borrow().clone(), clock.now());
    let holder = holder_key().unwrap();
    let of = |credential| permit_for(credential, now);
    let audiences = ["a".to_owned()];
    for wrong in [
        ring.sign_x509(of(Credential::Jwt), now).map(drop),
        ring.sign_jwt(of(Credential::X509), &audiences, None, now).map(drop),
        ring.sign_jwt(of(Credential::Wit), &audiences, None, now).map(drop),
        ring.sign_wit(of(Credential::Jwt), &holder, now).map(drop),
    ] {
        assert!(matches!(wrong, Err(Error::WrongPermit)), "{wrong:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_does_not_outlive_its_key_and_is_not_signed_outside_its_life() {
    let (dir, clock) = (Scratch::new(), Clock::following_tokio());
    let (owner, _store) = open(dir.path(), &clock).await;
    let (ring, begin) = (owner.keyring().borrow().clone(), clock.now());
    let late = begin + 24 * HOUR - HOUR / 2;
    assert_eq!(jwt_of(&ring, late).unwrap().not_after, begin + 24 * HOUR);
    assert!(matches!(jwt_of(&ring, begin + 24 * HOUR), Err(Error::Expiring)));
    assert!(matches!(jwt_of(&ring, begin - HOUR), Err(Error::Early)));
    let serials: std::collections::HashSet<_> = (0..100).map(|_| jwt_of(&ring, begin).unwrap().serial).collect();
    assert_eq!(serials.len(), 100);
}

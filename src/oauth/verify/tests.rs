//! What passes a door, and everything that does not, with its answer.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{sync::Barrier, thread};

use super::{
    cache::{VERDICT_BYTES_MAX, VERDICTS_MAX},
    *,
};
use crate::{
    oauth::{
        access::{Error as T, TokenId},
        dpop::Error as P,
        freshness::Refused as F,
        replay::Refused as R,
        target::Target,
        tests::{
            kit::{Holder, ath, claims, now, seconds},
            world::{AUDIENCE, PROOF, TOKEN, URL, World, keys, refused, signing_key},
        },
    },
    spiffe::jose::{Algorithm, Error as J, tests::kit::NOW},
};

#[test]
fn a_good_request_passes_and_says_whose_it_is() {
    let mut world = World::new();
    for holder in [Holder::new(), Holder::ed25519()] {
        world.holder = holder;
        let token = world.token();
        // The second time the token is known.
        for _ in 0..2 {
            let verified = world.get(&token, &world.proof(&token, &[])).unwrap();
            assert_eq!((verified.agent(), verified.tool(), verified.scope()), ("crew", "items", "read"));
            assert_eq!(verified.scopes().to_string(), "read");
            assert_eq!(verified.subject().name(), "spiffe://example.org/crew");
            assert_eq!(
                (verified.key(), verified.token_id()),
                (Some(world.holder.thumbprint()), Some(TokenId([7; 16])))
            );
            assert_eq!((verified.kind(), verified.credential().audience()), (Kind::Dpop, AUDIENCE));
        }
    }
    let token = world.token();
    let ask = |scheme: &str| {
        world.ask("GET", URL, &[&format!("{scheme}{token}")], &[&world.proof(&token, &[])], now()).map(drop)
    };
    assert_eq!((ask("dpop "), ask("DPOP  ")), (Ok(()), Ok(())));
    let query = format!("{URL}?page=2");
    let outcome = world.ask("GET", &query, &[&format!("DPoP {token}")], &[&world.proof(&token, &[])], now());
    assert!(outcome.is_ok(), "the query is not covered");
}

#[test]
fn headers_that_are_not_one_token_and_one_proof_are_refused() {
    let world = World::new();
    let token = world.token();
    let proof = || world.proof(&token, &[]);
    let ask = |authorization: &[&str], proofs: &[&str]| world.ask("GET", URL, authorization, proofs, now());
    let (dpop, bearer) = (format!("DPoP {token}"), format!("Bearer {token}"));
    let none = (401, "");
    let request = (400, "invalid_request");
    let cases = [
        ("nothing", ask(&[], &[]), Reason::NoCredentials, none),
        ("a proof alone", ask(&[], &[&proof()]), Reason::NoCredentials, none),
        ("Basic", ask(&["Basic YTpi"], &[&proof()]), Reason::NoCredentials, none),
        ("a scheme that begins alike", ask(&[&format!("DPoPs {token}")], &[&proof()]), Reason::NoCredentials, none),
        ("the bare token", ask(&[&token], &[&proof()]), Reason::NoCredentials, none),
        ("Bearer", ask(&[&bearer], &[]), Reason::Bearer, TOKEN),
        ("bearer with a proof", ask(&[&bearer.to_lowercase()], &[&proof()]), Reason::Bearer, TOKEN),
        ("Bearer and DPoP", ask(&[&bearer, &dpop], &[&proof()]), Reason::SeveralCredentials, request),
        ("DPoP twice", ask(&[&dpop, &dpop], &[&proof()]), Reason::SeveralCredentials, request),
        ("two in one", ask(&[&format!("{dpop}, {bearer}")], &[&proof()]), Reason::SeveralCredentials, request),
        ("no token", ask(&["DPoP"], &[&proof()]), Reason::Credentials, request),
        ("no token behind the blank", ask(&["DPoP "], &[&proof()]), Reason::Credentials, request),
        ("a tab", ask(&[&format!("DPoP\t{token}")], &[&proof()]), Reason::NoCredentials, none),
        ("a blank behind", ask(&[&format!("{dpop} ")], &[&proof()]), Reason::Credentials, request),
        ("quotes", ask(&[&format!("DPoP \"{token}\"")], &[&proof()]), Reason::Credentials, request),
        ("not ASCII", ask(&["DPoP é"], &[&proof()]), Reason::Credentials, request),
        ("no proof", ask(&[&dpop], &[]), Reason::NoProof, PROOF),
        ("two proofs", ask(&[&dpop], &[&proof(), &proof()]), Reason::SeveralProofs, PROOF),
        ("the same twice", ask(&[&dpop], &[&proof(), ""]), Reason::SeveralProofs, PROOF),
        ("with a comma", ask(&[&dpop], &[&format!("{},{}", proof(), proof())]), P::Several.into(), PROOF),
        ("an empty proof", ask(&[&dpop], &[""]), P::Token(J::Parts).into(), PROOF),
    ];
    for (name, outcome, reason, wanted) in cases {
        refused(name, outcome, &reason, wanted);
    }
    let target = Target::parse(URL).unwrap();
    for (authorization, proof, reason, wanted) in [
        (b"DPoP \xff".as_slice(), proof().into_bytes(), Reason::Credentials, request),
        (dpop.as_bytes(), vec![0xff], Reason::ProofNotAscii, PROOF),
    ] {
        let (authorization, proofs) = ([authorization], [proof.as_slice()]);
        let request = Request { authorization: &authorization, proofs: &proofs, ..Request::new("GET", &target) };
        refused("not UTF-8", world.verifier.verify(&request, &world.known, now()), &reason, wanted);
    }
}

#[test]
fn a_url_that_is_no_tools_is_refused_before_anything_is_read() {
    let mut world = World::new();
    let ask = |world: &World, method: &str, url: &str| world.ask(method, url, &["DPoP ?"], &[], now());
    let nothing = (403, "");
    refused("another host", ask(&world, "GET", "https://api.example.net/items"), &Reason::NoTool, nothing);
    refused("another port", ask(&world, "GET", "https://api.example.org:8443/items"), &Reason::NoTool, nothing);
    refused("another scheme", ask(&world, "GET", "http://api.example.org/items"), &Reason::NoTool, nothing);
    refused("another path", ask(&world, "GET", "https://api.example.org/other"), &Reason::NoRoute, nothing);
    refused("another method", ask(&world, "DELETE", URL), &Reason::NoRoute, nothing);
    refused("HEAD is listed by itself", ask(&world, "HEAD", URL), &Reason::NoRoute, nothing);
    refused("in lower case", ask(&world, "get", URL), &Reason::NoRoute, nothing);
    let slash = "https://api.example.org/projects/a%2fb/files/c";
    refused("a slash in a segment", ask(&world, "GET", slash), &Reason::EncodedSlash, (400, ""));
    world.known.takes_encoded_slash = true;
    let token = world.token();
    let proof = world.proof(&token, &[("htu", &format!(r#""{slash}""#))]);
    assert!(world.ask("GET", slash, &[&format!("DPoP {token}")], &[&proof], now()).is_ok());
}

#[test]
fn a_stolen_token_is_worth_nothing() {
    let world = World::new();
    let token = world.token();
    let thief = Holder::new();
    let captured = world.proof(&token, &[]);
    assert!(world.get(&token, &captured).is_ok());
    let other = world.token_of(AUDIENCE, "crew", seconds(200));
    let dpop = format!("DPoP {token}");
    let post = world.ask("POST", URL, &[&dpop], &[&captured], now());
    let elsewhere = world.ask("GET", &format!("{URL}/1"), &[&dpop], &[&captured], now());
    let late = world.ask("GET", URL, &[&dpop], &[&captured], now() + seconds(61));
    let cases = [
        ("as Bearer", world.ask("GET", URL, &[&format!("Bearer {token}")], &[], now()), Reason::Bearer, TOKEN),
        ("without a proof", world.ask("GET", URL, &[&dpop], &[], now()), Reason::NoProof, PROOF),
        ("with another key", world.get(&token, &world.proof_by(&thief, &token, &[])), Reason::KeyMismatch, TOKEN),
        (
            "with the holder's key, signed by another",
            {
                let header = world.holder.header(&[]);
                let body = claims(&[("ath", &ath(&token)), ("jti", r#""stolen-key""#)]);
                world.get(&token, &thief.signed(header, body))
            },
            P::Token(J::Signature).into(),
            PROOF,
        ),
        ("with a captured proof", world.get(&token, &captured), F::Replay(R::Replayed).into(), PROOF),
        ("for another method", post, P::OtherMethod.into(), PROOF),
        ("for another URL", elsewhere, P::OtherTarget.into(), PROOF),
        ("later", late, P::Stale.into(), PROOF),
        ("with a proof for another token", world.get(&other, &captured), P::OtherToken.into(), PROOF),
        (
            "with a proof without a token",
            { world.get(&token, &world.proof(&token, &[("ath", "")])) },
            P::NoTokenHash.into(),
            PROOF,
        ),
    ];
    let mut codes = Vec::new();
    for (name, outcome, reason, wanted) in cases {
        refused(name, outcome, &reason, wanted);
        codes.push(reason.code());
    }
    let all = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), all, "each has a reason of its own");
}

#[test]
fn a_token_that_is_not_good_here_is_refused() {
    let world = World::new();
    let mut foreign = World::new();
    foreign.holder = Holder::new();
    let get = |token: &str| world.get(token, &world.proof(token, &[]));
    let token = world.token();
    let (signed, _) = token.rsplit_once('.').unwrap();
    // Our header, our key's name, another's signature.
    let forged = foreign.key.sealed(Algorithm::Es256, signed.to_owned());
    let elsewhere = world.token_of("https://other.example.org", "crew", seconds(300));
    let short = world.token_of(AUDIENCE, "crew", seconds(10));
    let late = |token: &str, later: u64| {
        let iat = (NOW + later).to_string();
        world.ask(
            "GET",
            URL,
            &[&format!("DPoP {token}")],
            &[&world.proof(token, &[("iat", &iat)])],
            now() + seconds(later),
        )
    };
    let of_foreign = {
        let token = foreign.token();
        world.get(&token, &foreign.proof(&token, &[]))
    };
    let proof_as_token = world.proof(&token, &[]);
    let cases = [
        ("an opaque one", get("abc"), T::Token(J::Parts).into()),
        ("too long", get(&format!("{token}{}", "A".repeat(2_048))), T::TooLong(token.len() + 2_048).into()),
        ("a proof as a token", get(&proof_as_token), T::Token(J::Header("jwk")).into()),
        ("forged", get(&forged), T::Token(J::Signature).into()),
        ("of another issuer's key", of_foreign, T::UnknownKey.into()),
        ("for another audience", get(&elsewhere), T::Audience.into()),
        ("expired", late(&short, 10), T::Expired.into()),
        ("of no agent", get(&world.token_of(AUDIENCE, "ghost", seconds(300))), Reason::Agent(AgentState::Unknown)),
    ];
    for (name, outcome, reason) in cases {
        refused(name, outcome, &reason, TOKEN);
    }
    assert!(late(&short, 9).is_ok(), "to its last second");
    refused("known, and expired", late(&short, 10), &T::Expired.into(), TOKEN);
    // A clock that is six seconds back, and right again.
    let early = World::new();
    let token = early.token();
    let proof = early.proof(&token, &[]);
    let ask = |at| early.ask("GET", URL, &[&format!("DPoP {token}")], &[&proof], at);
    refused("of a time to come", ask(now() - seconds(6)), &T::Ahead.into(), TOKEN);
    assert!(ask(now()).is_ok());
}

#[test]
fn what_was_taken_back_is_refused_at_once_known_or_not() {
    let mut world = World::new();
    let token = world.token();
    let known = world.token_of(AUDIENCE, "crew", seconds(200));
    assert!(world.get(&known, &world.proof(&known, &[])).is_ok());
    for state in [AgentState::Suspended, AgentState::Retired, AgentState::Unknown] {
        world.known.agent = state;
        for token in [&token, &known] {
            refused("agent", world.get(token, &world.proof(token, &[])), &Reason::Agent(state), TOKEN);
        }
    }
    world.known.agent = AgentState::Active;
    for revocation in [Revocation::Token, Revocation::Key, Revocation::Agent, Revocation::Grant, Revocation::Session] {
        world.known.revocation = Some(revocation);
        for token in [&token, &known] {
            refused("revoked", world.get(token, &world.proof(token, &[])), &Reason::Revoked(revocation), TOKEN);
        }
    }
    world.known.revocation = None;
    for token in [&token, &known] {
        assert!(world.get(token, &world.proof(token, &[])).is_ok());
    }
    // The key is gone, and nobody has told the epoch.
    let old = std::mem::replace(&mut world.known.keys, keys(&signing_key()));
    refused("no key", world.get(&known, &world.proof(&known, &[])), &T::UnknownKey.into(), TOKEN);
    world.known.keys = old;
    assert!(world.get(&known, &world.proof(&known, &[])).is_ok());
}

#[test]
fn a_scope_that_is_missing_is_named() {
    let world = World::new();
    let token = world.token();
    let proof = world.proof(&token, &[("htm", r#""POST""#)]);
    let dpop = format!("DPoP {token}");
    let write = "write".to_owned();
    let outcome = world.ask("POST", URL, &[&dpop], &[&proof], now());
    let challenge = outcome.as_ref().unwrap_err().challenge.authenticate.clone().unwrap();
    assert!(challenge.contains(r#"scope="write""#), "{challenge}");
    refused("scope", outcome, &Reason::Scope(write.clone()), (403, "insufficient_scope"));
    // It was not accepted, so it was not used.
    refused(
        "scope",
        world.ask("POST", URL, &[&dpop], &[&proof], now()),
        &Reason::Scope(write),
        (403, "insufficient_scope"),
    );
}

#[test]
fn after_a_start_a_captured_proof_is_asked_for_a_nonce() {
    let world = World::with(Settings::default(), now());
    let token = world.token();
    let captured = world.proof(&token, &[]);
    let outcome = world.get(&token, &captured);
    let nonce = outcome.as_ref().unwrap_err().challenge.nonce.clone().unwrap();
    refused("before the start", outcome, &F::NonceMissing.into(), (401, "use_dpop_nonce"));
    let with = |nonce: &str| world.proof(&token, &[("nonce", &format!(r#""{nonce}""#))]);
    refused("a wrong one", world.get(&token, &with("abc")), &F::NonceStale.into(), (401, "use_dpop_nonce"));
    let again = with(&nonce);
    assert!(world.get(&token, &again).is_ok());
    refused("again", world.get(&token, &again), &F::Replay(R::Replayed).into(), PROOF);
}

#[test]
fn a_bad_copy_that_comes_first_burns_nothing() {
    let world = World::new();
    let token = world.token();
    let good = world.proof(&token, &[]);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let copy = Holder::new().sealed(signed.to_owned());
    refused("copy", world.get(&token, &copy), &P::Token(J::Signature).into(), PROOF);
    let elsewhere = world.ask("GET", &format!("{URL}/1"), &[&format!("DPoP {token}")], &[&good], now());
    refused("elsewhere", elsewhere, &P::OtherTarget.into(), PROOF);
    assert!(world.get(&token, &good).is_ok());
}

#[test]
fn a_full_store_is_said_to_be_full() {
    let settings = Settings { entries_max: 3, entries_per_key_max: 2, ..Settings::default() };
    let mut world = World::with(settings, now() - seconds(3_600));
    let get = |world: &World| {
        let token = world.token();
        world.get(&token, &world.proof(&token, &[]))
    };
    assert!(get(&world).is_ok() && get(&world).is_ok());
    refused("quota", get(&world), &F::Replay(R::Quota).into(), (429, ""));
    world.holder = Holder::new();
    assert!(get(&world).is_ok());
    refused("full", get(&world), &F::Replay(R::Full).into(), (503, ""));
}

#[test]
fn of_one_proof_sent_many_times_at_once_one_passes() {
    let world = World::new();
    let token = world.token();
    let (proof, barrier) = (world.proof(&token, &[]), Barrier::new(8));
    let passed: usize = thread::scope(|scope| {
        let one = || {
            barrier.wait();
            usize::from(world.get(&token, &proof).is_ok())
        };
        let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(passed, 1);
}

#[test]
fn known_tokens_are_bounded_and_gone_with_their_epoch() {
    let world = World::new();
    let token = world.token();
    let claims = Arc::new(world.get(&token, &world.proof(&token, &[])).unwrap().credential().claims().unwrap().clone());
    let verdict = || Arc::new(Verdict::Own { key_id: "k".into(), key: world.key.jwk(), claims: claims.clone() });
    let mut cache = Cache::default();
    let hash = |number: usize| TokenHash::of(&number.to_string());
    for number in 0..3 * VERDICTS_MAX {
        cache.keep(hash(number), verdict(), 700, 1);
        assert!(cache.len() <= VERDICTS_MAX);
        // What is asked for stays.
        assert!(cache.find(hash(0), 1).is_some(), "{number}");
    }
    assert!(cache.find(hash(1), 1).is_none());
    assert!(cache.find(hash(0), 2).is_none());
    assert_eq!(cache.len(), 0);
    // Of long tokens there are fewer.
    for number in 0..VERDICTS_MAX {
        cache.keep(hash(number), verdict(), 8 * 1024, 2);
        assert!(cache.len() * 8 * 1024 <= VERDICT_BYTES_MAX);
    }
    assert!(cache.len() * 8 * 1024 > VERDICT_BYTES_MAX / 3);
}

#[test]
fn words_for_the_client_say_the_class_alone() {
    let world = World::new();
    let token = world.token();
    let expired = world.ask(
        "GET",
        URL,
        &[&format!("DPoP {token}")],
        &[&world.proof(&token, &[("iat", &(NOW + 300).to_string())])],
        now() + seconds(300),
    );
    let stolen = world.get(&token, &world.proof_by(&Holder::new(), &token, &[]));
    let (expired, stolen) = (expired.unwrap_err(), stolen.unwrap_err());
    assert_ne!(expired.reason, stolen.reason);
    assert_eq!(expired.challenge, stolen.challenge);
    let none = world.ask("GET", URL, &[], &[], now()).unwrap_err();
    let metadata = r#"resource_metadata="https://api.example.org/.well-known/oauth-protected-resource""#;
    let expected = format!(r#"DPoP algs="ES256 Ed25519 EdDSA", {metadata}"#);
    assert_eq!(none.challenge.authenticate, Some(expected));
    let two = world.ask("GET", URL, &["DPoP a", "Bearer b"], &[], now()).unwrap_err().challenge.authenticate.unwrap();
    assert_eq!(two.matches(r#"error="invalid_request""#).count(), 2);
    assert!(two.contains("Bearer "));
}

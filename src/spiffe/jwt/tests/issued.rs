//! What we make: by its bytes, and by our own judge.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use super::world::{World, now};
use crate::spiffe::{
    ID_BYTES_MAX, Id,
    jose::{
        SignError, TOKEN_BYTES_MAX,
        tests::kit::{Fake, NOW, parts},
    },
    jwt::{AUDIENCES_BYTES_MAX, AUDIENCES_MAX, Draft, DraftError, issue},
};

fn id() -> Id {
    Id::parse("spiffe://example.org/a").unwrap()
}

fn texts(audiences: &[&str]) -> Vec<String> {
    audiences.iter().map(|audience| (*audience).to_owned()).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_token_has_exactly_these_members_in_this_order() {
    let world = World::new();
    let audiences = texts(&["b", "aud1", "b", "a\"", "aud1"]);
    // A clock between two seconds: `iat` is not ahead of it, `exp` not behind what was allowed.
    let at = now() + Duration::from_millis(999);
    let draft = Draft { id: &id(), audiences: &audiences, issuer: None, expires_at: at + seconds(300) };
    let token = issue(&draft, &world.k1, at).unwrap();
    let parts = parts(&token);
    assert_eq!(parts[0], br#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#);
    let wanted =
        format!(r#"{{"sub":"spiffe://example.org/a","aud":["b","aud1","a\""],"exp":{},"iat":{NOW}}}"#, NOW + 300);
    assert_eq!(String::from_utf8(parts[1].clone()).unwrap(), wanted);
    let validated = world.judge(&token).unwrap();
    assert_eq!(validated.id, id());
    assert_eq!(validated.expires_at, now() + seconds(300));
}

#[test]
fn a_bad_draft_is_not_signed() {
    let fake = Fake { id: "k1", answer: Some(vec![1; 64]), asked: Mutex::new(0) };
    let many = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    let in_time = now() + seconds(300);
    let year_10000 = SystemTime::UNIX_EPOCH + seconds(253_402_300_800);
    let before_1970 = SystemTime::UNIX_EPOCH - seconds(1);
    let cases = [
        (texts(&[]), in_time, now(), DraftError::AudienceEmpty),
        (texts(&["a", ""]), in_time, now(), DraftError::AudienceEmpty),
        (many(AUDIENCES_MAX + 1), in_time, now(), DraftError::TooManyAudiences(33)),
        (texts(&["a"]), now(), now(), DraftError::Time),
        (texts(&["a"]), now() + Duration::from_millis(999), now(), DraftError::Time),
        (texts(&["a"]), now() - seconds(1), now(), DraftError::Time),
        (texts(&["a"]), year_10000, now(), DraftError::Time),
        (texts(&["a"]), in_time, before_1970, DraftError::Time),
    ];
    for (audiences, expires_at, at, reason) in cases {
        let draft = Draft { id: &id(), audiences: &audiences, issuer: None, expires_at };
        assert_eq!(issue(&draft, &fake, at), Err(reason), "{audiences:?}");
    }
    assert_eq!(*fake.asked.lock().unwrap(), 0);
    let most = many(AUDIENCES_MAX);
    assert!(issue(&Draft { id: &id(), audiences: &most, issuer: None, expires_at: in_time }, &fake, now()).is_ok());
    // Repeated ones do not count.
    let twice = [many(AUDIENCES_MAX), many(AUDIENCES_MAX)].concat();
    assert!(issue(&Draft { id: &id(), audiences: &twice, issuer: None, expires_at: in_time }, &fake, now()).is_ok());
    let asked = *fake.asked.lock().unwrap();
    // Brackets and quotes are JSON's, and a quote within is written as two.
    for text in ["a".repeat(AUDIENCES_BYTES_MAX - 3), format!("\"{}", "a".repeat(AUDIENCES_BYTES_MAX - 5))] {
        let long = texts(&[&text]);
        let outcome = issue(&Draft { id: &id(), audiences: &long, issuer: None, expires_at: in_time }, &fake, now());
        assert_eq!(outcome, Err(DraftError::AudiencesTooLong(AUDIENCES_BYTES_MAX + 1)));
    }
    assert_eq!(*fake.asked.lock().unwrap(), asked);
    let issuer = "i".repeat(TOKEN_BYTES_MAX);
    let long = Draft { id: &id(), audiences: &most, issuer: Some(&issuer), expires_at: in_time };
    assert!(matches!(issue(&long, &fake, now()), Err(DraftError::Sign(SignError::TooLong(_)))));
}

#[test]
fn the_longest_of_everything_fits_a_token() {
    let world = World::new();
    let id = Id::parse(&format!("spiffe://example.org/{}", "a".repeat(ID_BYTES_MAX - 21))).unwrap();
    assert_eq!(id.as_str().len(), ID_BYTES_MAX);
    let (audiences, issuer) = (texts(&[&"a".repeat(AUDIENCES_BYTES_MAX - 4)]), "i".repeat(ID_BYTES_MAX));
    let draft = Draft { id: &id, audiences: &audiences, issuer: Some(&issuer), expires_at: now() + seconds(300) };
    let token = issue(&draft, &world.k1, now()).unwrap();
    // What a P-384 signature and the longest name of a key take more.
    assert!(token.len() + 43 + 86 < TOKEN_BYTES_MAX, "{}", token.len());
}

#[test]
fn what_the_signer_lacks_is_said() {
    let audiences = texts(&["a"]);
    let draft = Draft { id: &id(), audiences: &audiences, issuer: None, expires_at: now() + seconds(300) };
    for (id, answer, reason) in [
        ("", Some(vec![1; 64]), SignError::KeyId),
        ("k1", None, SignError::NoSignature),
        ("k1", Some(vec![0x30; 70]), SignError::Width(70)),
    ] {
        let fake = Fake { id, answer, asked: Mutex::new(0) };
        assert_eq!(issue(&draft, &fake, now()), Err(DraftError::Sign(reason)));
    }
}

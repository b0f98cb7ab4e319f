//! JWT-SVIDs and WIT-SVIDs at the door.

use prost::Message as _;

use super::{
    common::{
        Daemon,
        h2raw::{Answer, Head, INVALID_ARGUMENT, PERMISSION_DENIED, Raw, UNIMPLEMENTED, message},
        messages::{JwtOrder, JwtSvid, JwtSvids, ToValidate, Validated, WitOrder, WitSvid, WitSvids, ask},
        own_uid,
    },
    registered,
};

fn order(audience: &[&str], spiffe_id: &str) -> JwtOrder {
    JwtOrder { audience: audience.iter().map(ToString::to_string).collect(), spiffe_id: spiffe_id.to_owned() }
}

fn jwts(daemon: &Daemon, order: &JwtOrder) -> Result<Vec<JwtSvid>, Answer> {
    ask::<JwtSvids>(&daemon.socket(), "FetchJWTSVID", order).unwrap().map(|answer| answer.svids)
}

fn validate(daemon: &Daemon, audience: &str, svid: &str) -> Result<Validated, Answer> {
    let request = ToValidate { audience: audience.to_owned(), svid: svid.to_owned() };
    ask(&daemon.socket(), "ValidateJWTSVID", &request).unwrap()
}

fn payload(token: &str) -> serde_json::Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

fn is_invalid(answer: &Answer) -> bool {
    answer.code() == Some(INVALID_ARGUMENT) && answer.is_trailers_only()
}

#[test]
fn a_token_for_each_identity_or_for_the_one_asked_for() {
    let daemon = registered("");
    daemon.entry("spiffe://example.org/second", &[&own_uid()], &["--hint", "other"]);
    let both = jwts(&daemon, &order(&["a", "b", "a"], "")).unwrap();
    let ids: Vec<_> = both.iter().map(|one| (one.spiffe_id.as_str(), one.hint.as_str())).collect();
    assert_eq!(ids, [("spiffe://example.org/me", ""), ("spiffe://example.org/second", "other")]);
    for one in &both {
        let claims = payload(&one.svid);
        assert_eq!((&claims["sub"], &claims["aud"]), (&one.spiffe_id.as_str().into(), &serde_json::json!(["a", "b"])));
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
        assert!(
            validate(&daemon, "a", &one.svid).is_ok_and(|it| it.spiffe_id == one.spiffe_id && !it.claims.is_empty())
        );
    }
    let one = jwts(&daemon, &order(&["a"], "spiffe://example.org/second")).unwrap();
    assert_eq!(one.iter().map(|one| one.spiffe_id.as_str()).collect::<Vec<_>>(), ["spiffe://example.org/second"]);
    assert_ne!(one[0].svid, both[1].svid);
    let issued = daemon.audit().iter().filter(|record| record["credential"] == "jwt-svid").count();
    assert_eq!(issued, 3, "each has its record");
    assert!(!daemon.log().contains(&one[0].svid));
}

#[test]
fn who_is_not_entitled_does_not_learn_whether_an_identity_exists() {
    let daemon = registered("");
    daemon.entry("spiffe://example.org/theirs", &["unix:uid:4294967294"], &[]);
    for id in ["spiffe://example.org/theirs", "spiffe://example.org/nobodys", "spiffe://other.test/me"] {
        let answer = jwts(&daemon, &order(&["a"], id)).unwrap_err();
        assert_eq!((answer.code(), answer.words().as_str()), (Some(PERMISSION_DENIED), "no identity issued"), "{id}");
        assert!(answer.is_trailers_only());
    }
}

#[test]
fn what_makes_no_sense_is_an_invalid_argument() {
    let daemon = registered("");
    let (many, long) = (vec!["a"; 33], "x".repeat(2_049));
    let much: Vec<_> = (0..4).map(|number| format!("{number}{}", "x".repeat(1_799))).collect();
    let much: Vec<_> = much.iter().map(String::as_str).collect();
    let audiences: [&[&str]; 6] = [&[], &[""], &["a", ""], &many, &[&long], &much];
    for audience in audiences {
        let answer = jwts(&daemon, &order(audience, "")).unwrap_err();
        assert!(is_invalid(&answer), "{} audiences: {answer:?}", audience.len());
    }
    assert_eq!(daemon.status().sum("sign_failures", ""), 0);
    assert!(jwts(&daemon, &order(&many[..32], "")).is_ok());
    assert!(jwts(&daemon, &order(&much[1..], "")).is_ok());
    assert!(jwts(&daemon, &order(&[long.get(1..).unwrap()], "")).is_ok());
    for id in ["spiffe://example.org/me/", "SPIFFE://example.org/me", "example.org/me", "spiffe://example.org"] {
        assert!(is_invalid(&jwts(&daemon, &order(&["a"], id)).unwrap_err()), "{id}");
    }
    let token = jwts(&daemon, &order(&["a"], "")).unwrap().remove(0).svid;
    for (audience, svid) in [("", token.as_str()), ("a", ""), ("", ""), ("b", &token), ("a", &format!("{token}\n"))] {
        assert!(is_invalid(&validate(&daemon, audience, svid).unwrap_err()), "{audience:?}");
    }
    assert_eq!(daemon.status().sum("tokens_judged", "invalid"), 2);
}

#[test]
fn a_stranger_gets_and_judges_nothing_unless_that_is_wanted() {
    let strict = Daemon::start("");
    assert_eq!(jwts(&strict, &order(&["a"], "")).unwrap_err().code(), Some(PERMISSION_DENIED));
    assert_eq!(validate(&strict, "a", "x").unwrap_err().code(), Some(PERMISSION_DENIED));
    let open = Daemon::start("allow_unauthenticated_verifiers = true\n");
    assert_eq!(jwts(&open, &order(&["a"], "")).unwrap_err().code(), Some(PERMISSION_DENIED));
    assert!(is_invalid(&validate(&open, "a", "x").unwrap_err()));
}

/// The first message of a new stream on this connection.
fn wit(raw: &mut Raw, spiffe_id: &str) -> Result<Vec<WitSvid>, Answer> {
    let request = WitOrder { spiffe_id: spiffe_id.to_owned() };
    let stream = raw.call(&Head::new("/SpiffeWorkloadAPI/FetchWITSVID"), &message(&request.encode_to_vec())).unwrap();
    raw.next_message(stream).unwrap().map(|bytes| WitSvids::decode(&*bytes).unwrap().svids)
}

#[test]
fn a_wit_has_its_holders_key_which_one_connection_keeps() {
    let daemon = registered("[wit]\nenabled = true\n");
    let [mut one, mut other] = [0; 2].map(|_| Raw::connect(&daemon.socket()).unwrap());
    let (first, again, elsewhere) =
        (wit(&mut one, "").unwrap(), wit(&mut one, "").unwrap(), wit(&mut other, "").unwrap());
    let claims = payload(&first[0].svid);
    assert_eq!(claims["sub"], "spiffe://example.org/me");
    assert!(claims.get("aud").is_none());
    let mut key: serde_json::Value = serde_json::from_str(&first[0].key).unwrap();
    assert!(key["d"].is_string());
    key.as_object_mut().unwrap().remove("d");
    assert_eq!(claims["cnf"]["jwk"], key, "the public half, with its algorithm");
    assert_eq!(first[0].key, again[0].key);
    assert_ne!(first[0].key, elsewhere[0].key);
    assert!(is_invalid(&validate(&daemon, "a", &first[0].svid).unwrap_err()), "it is no bearer token");
    assert!(is_invalid(&wit(&mut one, "nonsense").unwrap_err()));
    assert_eq!(wit(&mut one, "spiffe://example.org/x").unwrap_err().code(), Some(PERMISSION_DENIED));
    let d = serde_json::from_str::<serde_json::Value>(&first[0].key).unwrap()["d"].as_str().unwrap().to_owned();
    assert!(!daemon.log().contains(&d) && !daemon.audit().iter().any(|record| record.to_string().contains(&d)));
    assert_eq!(wit(&mut Raw::connect(&registered("").socket()).unwrap(), "").unwrap_err().code(), Some(UNIMPLEMENTED));
}

#[test]
fn a_wit_is_renewed_with_the_same_key() {
    let daemon = registered("[wit]\nenabled = true\nttl = \"4s\"\n");
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let stream = raw.call(&Head::new("/SpiffeWorkloadAPI/FetchWITSVID"), &message(&[])).unwrap();
    let mut next = || WitSvids::decode(&*raw.next_message(stream).unwrap().unwrap()).unwrap().svids.remove(0);
    let (first, second) = (next(), next());
    assert_ne!(first.svid, second.svid);
    assert_eq!(first.key, second.key);
}

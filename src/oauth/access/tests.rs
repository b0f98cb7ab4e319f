//! What is made, by its bytes and by a foreign reader; and every way in which a token can be wrong.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::Mutex;

use super::{Error as E, *};
use crate::{
    oauth::tests::kit::{Holder, now, seconds, token_claims},
    spiffe::{
        Id, TrustDomain,
        jose::{
            Algorithm, Error as T, SignError, encode,
            tests::kit::{Fake, Key, NOW, parts},
        },
        json::Error as J,
    },
};

const ISSUER: &str = "https://example.org/oauth";
const AUDIENCE: &str = "https://api.example.org";

/// Who issues, and the keys that everybody believes.
struct World {
    key: Key,
    keys: Keys,
}

impl World {
    fn new() -> Self {
        let mut key = Key::new("", Algorithm::Es256);
        key.id = key_id(&key.jwk());
        let keys = keys(&[&key]);
        Self { key, keys }
    }

    fn judge(&self, token: &str) -> Result<Claims, E> {
        let claims = Unverified::parse(token)?.verify(ISSUER, &self.keys)?;
        claims.check(AUDIENCE, now()).map(|()| claims)
    }

    fn header(&self) -> String {
        issue::header(&self.key.id)
    }

    fn headed(&self, header: &str) -> Result<Claims, E> {
        self.judge(&self.key.token(header, good(&[])))
    }

    fn claims(&self, changes: &[(&str, &str)]) -> Result<Claims, E> {
        self.judge(&self.key.token(self.header(), good(changes)))
    }
}

fn keys(keys: &[&Key]) -> Keys {
    let keys = keys.iter().map(|key| (key.id.clone(), key.jwk()));
    Keys::new(TrustDomain::parse("example.org").unwrap(), keys).unwrap()
}

fn id() -> Id {
    Id::parse("spiffe://example.org/crew").unwrap()
}

fn good(changes: &[(&str, &str)]) -> String {
    token_claims(&Parts::new().key, changes)
}

fn user() -> Subject {
    let earlier = vec![
        Actor { name: "first \"a\"".to_owned(), issuer: Some("https://login.test".to_owned()) },
        Actor { name: "spiffe://other.test/b".to_owned(), issuer: None },
    ];
    Subject::User { name: "alice".to_owned(), issuer: "https://login.test".to_owned(), agent: id(), earlier }
}

struct Parts {
    subject: Subject,
    scopes: Scopes,
    key: Thumbprint,
}

impl Parts {
    fn new() -> Self {
        let key = Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap();
        Self { subject: Subject::Agent(id()), scopes: Scopes::parse("write read").unwrap(), key }
    }

    fn draft(&self) -> Draft<'_> {
        Draft {
            issuer: ISSUER,
            subject: &self.subject,
            audience: AUDIENCE,
            client: "crew",
            scopes: &self.scopes,
            key: self.key,
            session: None,
            token_id: TokenId([7; 16]),
            expires_at: now() + seconds(300),
        }
    }
}

#[test]
fn a_token_has_exactly_these_members_in_this_order() {
    let (world, of) = (World::new(), Parts::new());
    let at = now() + Duration::from_millis(999);
    let token = issue(&of.draft(), &world.key, at).unwrap();
    let bytes = parts(&token);
    let text = |at: usize| String::from_utf8(bytes[at].clone()).unwrap();
    assert_eq!(text(0), format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, world.key.id));
    let wanted = format!(
        r#"{{"iss":"{ISSUER}","sub":"spiffe://example.org/crew","aud":"{AUDIENCE}","client_id":"crew","iat":{NOW},"exp":{},"jti":"BwcHBwcHBwcHBwcHBwcHBw","scope":"read write","cnf":{{"jkt":"{}"}}}}"#,
        NOW + 300,
        of.key
    );
    assert_eq!(text(1), wanted);
    let read = world.judge(&token).unwrap();
    assert_eq!((read.token_id, read.scopes.to_string()), (TokenId([7; 16]), "read write".to_owned()));
    assert_eq!((read.issued_at, read.expires_at), (now(), now() + seconds(300)));
    assert_eq!((read.subject.agent(), read.client.as_str(), read.key), (&id(), "crew", of.key));
}

#[test]
fn a_delegation_is_written_and_read_as_it_was() {
    let (world, mut of) = (World::new(), Parts::new());
    of.subject = user();
    let draft = Draft { session: Some("s1"), ..of.draft() };
    let token = issue(&draft, &world.key, now()).unwrap();
    let payload = String::from_utf8(parts(&token)[1].clone()).unwrap();
    let end = r#""sid":"s1","sub_iss":"https://login.test","act":{"sub":"spiffe://example.org/crew","act":{"sub":"first \"a\"","iss":"https://login.test","act":{"sub":"spiffe://other.test/b"}}}}"#;
    assert!(payload.ends_with(end) && payload.contains(r#""sub":"alice""#), "{payload}");
    let read = world.judge(&token).unwrap();
    assert_eq!((&read.subject, read.session.as_deref()), (&of.subject, Some("s1")));
    assert_eq!((read.subject.name(), read.subject.agent()), ("alice", &id()));
}

#[test]
fn another_library_reads_our_tokens() {
    use jsonwebtoken::{DecodingKey, Validation, decode, jwk};
    let (world, of) = (World::new(), Parts::new());
    let token = issue(&of.draft(), &world.key, now()).unwrap();
    let jwks: jwk::JwkSet = serde_json::from_str(&world.keys.to_json()).unwrap();
    assert_eq!(jwks.keys[0].common.public_key_use, Some(jwk::PublicKeyUse::Signature));
    let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
    // Their clock is the machine's.
    validation.validate_exp = false;
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    let key = DecodingKey::from_jwk(jwks.find(&world.key.id).unwrap()).unwrap();
    let read = decode::<serde_json::Value>(&token, &key, &validation).unwrap();
    assert_eq!(read.claims["cnf"]["jkt"], of.key.to_string());
    assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
    validation.set_audience(&["https://other.example.org"]);
    assert!(decode::<serde_json::Value>(&token, &key, &validation).is_err());
}

#[test]
fn a_bad_draft_is_not_signed() {
    let of = Parts::new();
    let good = of.draft();
    let fake = Fake { id: "dfly-k", answer: Some(vec![1; 64]), asked: Mutex::new(0) };
    let (none, long) = (Scopes::default(), "x".repeat(TEXT_BYTES_MAX + 1));
    let users: Vec<(Subject, &str)> = vec![
        (Subject::User { name: String::new(), issuer: "i".into(), agent: id(), earlier: vec![] }, "sub"),
        (Subject::User { name: id().to_string(), issuer: "i".into(), agent: id(), earlier: vec![] }, "sub"),
        (
            Subject::User { name: "SPIFFE://Example.org/b".into(), issuer: "i".into(), agent: id(), earlier: vec![] },
            "sub",
        ),
        (
            Subject::User { name: "spiffe://example.org".into(), issuer: "i".into(), agent: id(), earlier: vec![] },
            "sub",
        ),
        (Subject::User { name: "a".into(), issuer: "a\n".into(), agent: id(), earlier: vec![] }, "sub_iss"),
        (
            Subject::User {
                name: "a".into(),
                issuer: "i".into(),
                agent: id(),
                earlier: vec![Actor { name: "b".into(), issuer: None }; ACTORS_MAX],
            },
            "act",
        ),
        (
            Subject::User {
                name: "a".into(),
                issuer: "i".into(),
                agent: id(),
                earlier: vec![Actor { name: "b".into(), issuer: Some(String::new()) }],
            },
            "act",
        ),
    ];
    let mut cases = vec![
        (Draft { issuer: "", ..good }, DraftError::Text("iss")),
        (Draft { audience: "", ..good }, DraftError::Text("aud")),
        (Draft { audience: "a\u{7f}", ..good }, DraftError::Text("aud")),
        (Draft { client: &long, ..good }, DraftError::Text("client_id")),
        (Draft { session: Some(""), ..good }, DraftError::Text("sid")),
        (Draft { scopes: &none, ..good }, DraftError::Text("scope")),
        (Draft { expires_at: now(), ..good }, DraftError::Time),
        (Draft { expires_at: now() - seconds(1), ..good }, DraftError::Time),
        (Draft { expires_at: now() + LIFETIME_MAX + seconds(1), ..good }, DraftError::TooLongLived),
    ];
    cases.extend(users.iter().map(|(subject, claim)| (Draft { subject, ..good }, DraftError::Text(claim))));
    for (draft, reason) in cases {
        assert_eq!(issue(&draft, &fake, now()), Err(reason), "{draft:?}");
    }
    for id in ["", "k1", "dfly", "dfly-", "dfly-a.b", "dfly-\"", "Dfly-a", &format!("dfly-{}", "k".repeat(60))] {
        let fake = Fake { id: id.to_owned().leak(), answer: Some(vec![1; 64]), asked: Mutex::new(0) };
        assert_eq!(issue(&good, &fake, now()), Err(DraftError::Key), "{id}");
    }
    assert_eq!(issue(&good, &Key::new("dfly-k", Algorithm::Es384), now()), Err(DraftError::Key));
    assert_eq!(*fake.asked.lock().unwrap(), 0);
    assert!(issue(&Draft { expires_at: now() + LIFETIME_MAX, ..good }, &fake, now()).is_ok());
    for (answer, reason) in [(None, SignError::NoSignature), (Some(vec![0x30; 70]), SignError::Width(70))] {
        let fake = Fake { id: "dfly-k", answer, asked: Mutex::new(0) };
        assert_eq!(issue(&good, &fake, now()), Err(DraftError::Sign(reason)));
    }
}

#[test]
fn a_token_has_a_longest_length_and_is_read_at_it() {
    let (world, of) = (World::new(), Parts::new());
    let with = |bytes: usize| {
        let third = |more: usize| "a".repeat((bytes + more) / 3);
        let (audience, issuer, session) = (third(0), third(1), third(2));
        let draft = Draft { audience: &audience, issuer: &issuer, session: Some(&session), ..of.draft() };
        issue(&draft, &world.key, now())
    };
    let longest = (600..1_500).take_while(|bytes| with(*bytes).is_ok()).last().unwrap();
    let token = with(longest).unwrap();
    assert!(token.len() <= TOKEN_BYTES_MAX && token.len() + 2 > TOKEN_BYTES_MAX, "{}", token.len());
    assert!(Unverified::parse(&token).is_ok());
    let length = match with(longest + 1) {
        Err(DraftError::TooLong(length)) => length,
        other => panic!("{other:?}"),
    };
    assert!((TOKEN_BYTES_MAX + 1..=TOKEN_BYTES_MAX + 2).contains(&length));
    let refused = Unverified::parse(&format!("{token}{}", "A".repeat(3))).map(drop);
    assert_eq!(refused, Err(E::TooLong(token.len() + 3)));
}

#[test]
fn the_adversarial_table_of_headers() {
    let world = World::new();
    let kid = &world.key.id;
    let jwk = world.key.jwk().to_json();
    let also = |more: &str| world.headed(&world.header().replace('}', &format!(",{more}}}")));
    let alg = |alg: &str| world.headed(&format!(r#"{{"typ":"at+jwt","alg":{alg},"kid":"{kid}"}}"#));
    let typ = |typ: &str| world.headed(&format!(r#"{{"typ":{typ},"alg":"ES256","kid":"{kid}"}}"#));
    let of_kid = |kid: &str| world.headed(&format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":{kid}}}"#));
    let refused = [
        ("alg none", alg(r#""none""#), T::Algorithm.into()),
        ("alg noNe", alg(r#""noNe""#), T::Algorithm.into()),
        ("alg HS256", alg(r#""HS256""#), T::Algorithm.into()),
        ("alg EdDSA", alg(r#""EdDSA""#), T::Algorithm.into()),
        ("alg ES384", alg(r#""ES384""#), E::Header),
        ("alg RS256", alg(r#""RS256""#), E::Header),
        ("typ JWT", typ(r#""JWT""#), E::Type),
        ("typ AT+JWT", typ(r#""AT+JWT""#), E::Type),
        ("typ of a media type", typ(r#""application/at+jwt""#), E::Type),
        ("typ of a proof", typ(r#""dpop+jwt""#), E::Type),
        ("typ of a WIT", typ(r#""wit+jwt""#), E::Type),
        ("typ of a SET", typ(r#""secevent+jwt""#), E::Type),
        ("no typ", world.headed(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#)), E::Type),
        ("no kid", world.headed(r#"{"typ":"at+jwt","alg":"ES256"}"#), E::Header),
        ("kid a path", of_kid(r#""../../etc/passwd""#), E::Header),
        ("kid a URL", of_kid(r#""https://evil.test/k""#), E::Header),
        ("kid SQL", of_kid(r#""dfly-' OR 1=1 --""#), E::Header),
        ("kid too long", of_kid(&format!(r#""dfly-{}""#, "k".repeat(60))), E::Header),
        ("kid escaped", of_kid(&format!(r#""\u0064{}""#, kid.strip_prefix('d').unwrap())), E::Header),
        ("kid unknown", of_kid(r#""dfly-unknown""#), E::UnknownKey),
        ("another order", world.headed(&format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"}}"#)), E::Header),
        ("a blank", world.headed(&world.header().replace(',', ", ")), E::Header),
        ("foo", also(r#""foo":1"#), E::Header),
        ("jwk", also(&format!(r#""jwk":{jwk}"#)), T::Header("jwk").into()),
        ("jku", also(r#""jku":"https://evil.test""#), T::Header("jku").into()),
        ("x5u", also(r#""x5u":"https://evil.test""#), T::Header("x5u").into()),
        ("x5c", also(r#""x5c":["MIIB"]"#), T::Header("x5c").into()),
        ("crit", also(r#""crit":["exp"]"#), T::Header("crit").into()),
        ("b64", also(r#""b64":false"#), T::Header("b64").into()),
        ("zip", also(r#""zip":"DEF""#), T::Header("zip").into()),
        ("enc", also(r#""enc":"A128GCM""#), T::Header("enc").into()),
        ("alg twice", also(r#""alg":"ES256""#), T::Json { part: "header", source: J::Repeated }.into()),
    ];
    for (name, outcome, reason) in refused {
        assert_eq!(outcome, Err(reason), "{name}");
    }
}

#[test]
fn the_adversarial_table_of_claims() {
    let world = World::new();
    let of = |claims: &[(&str, &str)]| world.claims(claims);
    let act = |act: &str| of(&[("sub", r#""alice""#), ("sub_iss", r#""https://login.test""#), ("act", act)]);
    let nested = |depth: usize| {
        let open = r#"{"sub":"spiffe://example.org/crew","act":"#.repeat(depth - 1);
        format!(r#"{open}{{"sub":"spiffe://example.org/crew"}}{}"#, "}".repeat(depth - 1))
    };
    let long = format!(r#""{}""#, "a".repeat(TEXT_BYTES_MAX + 1));
    assert!(of(&[]).is_ok() && of(&[("x", "1")]).is_ok() && of(&[("sid", r#""s""#)]).is_ok());
    assert!(of(&[("iat", "1800000005"), ("exp", "1800003605")]).is_ok());
    assert!(act(&nested(1)).is_ok() && act(&nested(ACTORS_MAX)).is_ok());
    let foreign = of(&[("sub", r#""spiffe://example.organic/a""#), ("sub_iss", r#""i""#), ("act", &nested(1))]);
    assert!(foreign.is_ok(), "a workload of another trust domain may be a user here");
    let refused = [
        ("no iss", of(&[("iss", "")]), E::Claim("iss")),
        ("iss of the JWT-SVIDs", of(&[("iss", r#""https://example.org""#)]), E::Issuer),
        ("iss with a slash", of(&[("iss", r#""https://example.org/oauth/""#)]), E::Issuer),
        ("no sub", of(&[("sub", "")]), E::Claim("sub")),
        ("sub no SPIFFE ID", of(&[("sub", r#""alice""#)]), E::Claim("sub")),
        ("sub a trust domain", of(&[("sub", r#""spiffe://example.org""#)]), E::Claim("sub")),
        ("no aud", of(&[("aud", "")]), E::Claim("aud")),
        ("aud a list", of(&[("aud", r#"["https://api.example.org"]"#)]), E::Claim("aud")),
        ("aud of another", of(&[("aud", r#""https://api.example.net""#)]), E::Audience),
        ("aud in another case", of(&[("aud", r#""https://API.example.org""#)]), E::Audience),
        ("aud too long", of(&[("aud", &long)]), E::Claim("aud")),
        ("no client_id", of(&[("client_id", "")]), E::Claim("client_id")),
        ("client_id empty", of(&[("client_id", r#""""#)]), E::Claim("client_id")),
        ("client_id with a line break", of(&[("client_id", r#""a\nb""#)]), E::Claim("client_id")),
        ("no iat", of(&[("iat", "")]), E::Claim("iat")),
        ("iat 1.8e9", of(&[("iat", "1.8e9")]), E::Claim("iat")),
        ("iat ahead", of(&[("iat", "1800000006")]), E::Ahead),
        ("no exp", of(&[("exp", "")]), E::Claim("exp")),
        ("exp now", of(&[("iat", "1799999999"), ("exp", "1800000000")]), E::Expired),
        ("exp with a fraction", of(&[("exp", "1800000300.5")]), E::Claim("exp")),
        ("exp a text", of(&[("exp", r#""1800000300""#)]), E::Claim("exp")),
        ("exp huge", of(&[("exp", "99999999999999999999")]), E::Claim("exp")),
        ("exp not after iat", of(&[("exp", "1800000000")]), E::Claim("exp")),
        ("exp an hour and a second on", of(&[("exp", "1800003601")]), E::TooLongLived),
        ("nbf", of(&[("nbf", "0")]), E::Claim("nbf")),
        ("no jti", of(&[("jti", "")]), E::Claim("jti")),
        ("jti of 15 bytes", of(&[("jti", r#""AAAAAAAAAAAAAAAAAAAA""#)]), E::Claim("jti")),
        ("jti with stray bits", of(&[("jti", r#""AAAAAAAAAAAAAAAAAAAAAB""#)]), E::Claim("jti")),
        ("no scope", of(&[("scope", "")]), E::Claim("scope")),
        ("scope empty", of(&[("scope", r#""""#)]), E::Claim("scope")),
        ("scope a list", of(&[("scope", r#"["read"]"#)]), E::Claim("scope")),
        ("scope with two blanks", of(&[("scope", r#""a  b""#)]), E::Claim("scope")),
        ("no cnf", of(&[("cnf", "")]), E::Confirmation),
        ("cnf empty", of(&[("cnf", "{}")]), E::Confirmation),
        ("cnf a text", of(&[("cnf", r#""a""#)]), E::Confirmation),
        (
            "cnf of a certificate",
            { of(&[("cnf", r#"{"x5t#S256":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#)]) },
            E::Confirmation,
        ),
        (
            "cnf with two members",
            {
                let two = r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I","x5t#S256":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#;
                of(&[("cnf", two)])
            },
            E::Confirmation,
        ),
        (
            "jkt padded",
            { of(&[("cnf", r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I="}"#)]) },
            E::Confirmation,
        ),
        (
            "jkt twice",
            {
                of(&[(
                    "cnf",
                    r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I","jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#,
                )])
            },
            T::Json { part: "payload", source: J::Repeated }.into(),
        ),
        ("sid a number", of(&[("sid", "1")]), E::Claim("sid")),
        ("sub_iss alone", of(&[("sub_iss", r#""i""#)]), E::Claim("act")),
        ("act alone", of(&[("act", &nested(1))]), E::Claim("sub_iss")),
        ("act no object", act("1"), E::Claim("act")),
        ("act of no SPIFFE ID", act(r#"{"sub":"bob"}"#), E::Claim("act")),
        ("act too deep", act(&nested(ACTORS_MAX + 1)), E::Claim("act")),
        (
            "act with an iss that is no text",
            { act(r#"{"sub":"spiffe://example.org/crew","act":{"sub":"b","iss":1}}"#) },
            E::Claim("act"),
        ),
        ("a user with an agent's name", { of(&[("sub_iss", r#""i""#), ("act", &nested(1))]) }, E::Claim("sub")),
        ("a list", world.judge(&world.key.token(world.header(), "[]")), T::NotObject("payload").into()),
    ];
    for (name, outcome, reason) in refused {
        assert_eq!(outcome, Err(reason), "{name}");
    }
}

#[test]
fn only_a_key_of_the_set_signs() {
    let world = World::new();
    let token = world.key.token(world.header(), good(&[]));
    let other = World::new();
    assert_eq!(world.judge(&other.key.token(world.header(), good(&[]))), Err(T::Signature.into()));
    assert_eq!(world.judge(&other.key.token(other.header(), good(&[]))), Err(E::UnknownKey));
    assert_eq!(other.judge(&token), Err(E::UnknownKey));
    assert_eq!(World { keys: keys(&[]), ..world }.judge(&token), Err(E::UnknownKey));
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(other.judge(&format!("{signed}.")), Err(E::UnknownKey));
    let world = World::new();
    let token = world.key.token(world.header(), good(&[]));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(world.judge(&format!("{signed}.")), Err(T::Signature.into()));
    for (name, value) in [
        ("padding", format!("{token}=")),
        ("line break", format!("{token}\n")),
        ("blank", format!("{token} ")),
        ("other alphabet", format!("{signed}.+{signature}")),
    ] {
        assert_eq!(world.judge(&value), Err(T::Base64("signature").into()), "{name}");
    }
}

/// RFC 9449 Figure 8: its header and claims are not those of RFC 9068.
#[test]
fn the_token_of_rfc_9449_is_none_of_rfc_9068() {
    let header = r#"{"alg":"ES256","kid":"BeALkb"}"#;
    let claims = r#"{"sub":"someone@example.com","iss":"https://server.example.com","nbf":1562262611,"exp":1562266216,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#;
    let world = World::new();
    assert_eq!(world.judge(&world.key.token(header, claims)), Err(E::Type));
    assert_eq!(world.judge(&world.key.token(world.header(), claims)), Err(E::Claim("iat")));
}

#[test]
fn a_scanner_finds_every_token_and_only_ours() {
    let find = regex::Regex::new(&pattern()).unwrap();
    let shortest = Subject::Agent(Id::parse("spiffe://a/b").unwrap());
    let mut prefixes = std::collections::BTreeSet::new();
    for length in [0, 1, 2, 3, 10, 42] {
        let of = Parts::new();
        let world = World::new();
        let mut key = world.key;
        key.id.truncate(KEY_ID_BRAND.len() + 1 + length);
        for subject in [&shortest, &of.subject, &user()] {
            let token = issue(&Draft { subject, ..of.draft() }, &key, now()).unwrap();
            assert_eq!(find.find(&token).map(|found| found.as_str()), Some(token.as_str()));
            let log = format!(r#"GET /x "Authorization: DPoP {token}" 200, token=dfly_{token};"#);
            assert_eq!(find.find_iter(&log).map(|found| found.as_str()).collect::<Vec<_>>(), [token.as_str(); 2]);
            assert!(token.starts_with(CONSTANT_PREFIX));
            prefixes.insert(token.split_at(CONSTANT_PREFIX.len()).0.to_owned());
            assert!(!find.is_match(&token.replace("ImRmbHkt", "ImRmbHku")), "of another brand");
            let (cut, _) = token.rsplit_once('.').unwrap();
            assert!(!find.is_match(cut), "without the signature it is no credential");
        }
    }
    assert_eq!(prefixes.len(), 1);
    assert!(CONSTANT_PREFIX.len() >= 52 && (KEY_ID_BRAND.len() - 2).is_multiple_of(3));
    assert_eq!(encode(br#"{"typ":"at+jwt","alg":"ES256","kid":"dfly-"#), CONSTANT_PREFIX);
    // Tokens of others.
    let proof = Holder::new().proof("{}");
    assert!(!find.is_match(&proof));
    assert!(!find.is_match(&World::new().key.token(r#"{"typ":"at+jwt","alg":"ES256","kid":"k1"}"#, good(&[]))));
}

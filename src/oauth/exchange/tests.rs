//! Subject tokens: the good ones with what is made of them, and every way in which one can be wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    oauth::{
        access::{ACTORS_MAX, Actor, key_id},
        issuer::{Issuer, IssuerName, TokenError},
        tests::kit::{Holder, now, seconds, token_claims},
    },
    spiffe::jose::{
        self, Algorithm,
        tests::kit::{Key, object},
    },
};

const US: &str = "https://example.org/oauth";
const LOGIN: &str = "https://login.test/realms/one";
const HEADER: &str = r#"{"alg":"ES256","kid":"login-1","typ":"JWT"}"#;

/// We, an issuer that is pinned, and who asks.
struct World {
    own: Key,
    login: Key,
    keys: Keys,
    issuers: Issuers,
    holder: Thumbprint,
    trust_domain: TrustDomain,
}

impl World {
    fn new() -> Self {
        let (mut own, login) = (Key::new("", Algorithm::Es256), Key::new("login-1", Algorithm::Es256));
        own.id = key_id(&own.jwk());
        let trust_domain = TrustDomain::parse("example.org").unwrap();
        let keys = Keys::new(trust_domain.clone(), [(own.id.clone(), own.jwk())]).unwrap();
        let set = format!(r#"{{"keys":[{}]}}"#, login.jwk().to_json().replacen('{', r#"{"kid":"login-1","#, 1));
        let issuer = Issuer::read(IssuerName::parse(LOGIN).unwrap(), set.as_bytes()).unwrap().0;
        let (issuers, holder) = (Issuers::new([issuer]).unwrap(), Holder::new().thumbprint());
        Self { own, login, keys, issuers, holder, trust_domain }
    }

    fn judge_as(&self, token: &str, kind: TokenType) -> Result<Parent, Error> {
        let believed = Believed { keys: &self.keys, issuers: &self.issuers };
        let (issuer, trust_domain) = (US, &self.trust_domain);
        Parent::read(token, kind, &believed, &Expected { issuer, trust_domain, holder: self.holder, now: now() })
    }

    fn judge(&self, token: &str) -> Result<Parent, Error> {
        self.judge_as(token, TokenType::AccessToken)
    }

    /// What becomes of a user's token with these changes.
    fn user(&self, changes: &[(&str, &str)]) -> Result<Parent, Error> {
        self.judge(&self.login.token(HEADER, user(changes)))
    }

    fn own_token(&self, changes: &[(&str, &str)]) -> String {
        let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, self.own.id);
        self.own.token(header, token_claims(&self.holder, changes))
    }
}

/// Good claims of a user, with changes; an empty value leaves a claim out.
fn user(changes: &[(&str, &str)]) -> String {
    let good = [
        ("iss", r#""https://login.test/realms/one""#),
        ("sub", r#""ada""#),
        ("aud", r#""https://example.org/oauth""#),
        ("exp", "1800000300"),
    ];
    object(&[&good, changes].concat())
}

fn agent() -> Id {
    Id::parse("spiffe://example.org/crew").unwrap()
}

/// `act` with so many actors.
fn chain(depth: usize) -> String {
    let open = r#"{"sub":"a","act":"#.repeat(depth.saturating_sub(1));
    format!(r#"{open}{{"sub":"first","iss":"https://a.test"}}{}"#, "}".repeat(depth.saturating_sub(1)))
}

#[test]
fn a_users_token_becomes_a_delegation_to_the_agent() {
    let world = World::new();
    let jkt = format!(r#"{{"jkt":"{}"}}"#, world.holder);
    let parent = world
        .user(&[
            ("scope", r#""read write""#),
            ("jti", r#""j1""#),
            ("sid", r#""s1""#),
            ("iat", "1799999990.5"),
            ("nbf", "1799999990"),
            ("cnf", &jkt),
            ("may_act", r#"{"sub":"spiffe://example.org/crew"}"#),
            ("act", &chain(2)),
            ("aud", r#"["https://example.org/oauth"]"#),
        ])
        .unwrap();
    let earlier = vec![
        Actor { name: "a".into(), issuer: None },
        Actor { name: "first".into(), issuer: Some("https://a.test".into()) },
    ];
    assert_eq!(
        parent.subject(&agent()),
        Subject::User { name: "ada".into(), issuer: LOGIN.into(), agent: agent(), earlier }
    );
    assert_eq!(parent.scopes().unwrap().to_string(), "read write");
    assert_eq!((parent.token_id().as_deref(), parent.may_act()), (Some("j1"), Some("spiffe://example.org/crew")));
    assert_eq!((parent.expires_at(), parent.session(), parent.own()), (now() + seconds(300), None, None));
    let plain = world.user(&[]).unwrap();
    assert_eq!((plain.scopes(), plain.token_id(), plain.may_act()), (None, None, None));
}

#[test]
fn what_a_user_may_is_said_as_issuers_say_it() {
    let world = World::new();
    let said = |claims: &[(&str, &str)]| world.user(claims).unwrap().scopes().map(ToString::to_string);
    for (claims, expected) in [
        (&[("scp", r#""read write""#)][..], "read write"),
        (&[("scp", r#"["read","write"]"#)], "read write"),
        (&[("scp", r#"["read"]"#), ("scope", r#""read write""#)], "read"),
        (&[("scp", r#""write""#), ("scope", r#""read""#)], ""),
    ] {
        assert_eq!(said(claims).as_deref(), Some(expected), "{claims:?}");
    }
}

#[test]
fn a_token_is_of_the_kind_that_its_presenter_says() {
    let world = World::new();
    let typed = |kind: &str| world.login.token(format!(r#"{{"alg":"ES256","kid":"login-1"{kind}}}"#), user(&[]));
    for (kind, as_id_token) in [("", true), (r#","typ":"JWT""#, true), (r#","typ":"at+jwt""#, false)] {
        for presented in TokenType::ALL {
            let is_taken = as_id_token || presented != TokenType::IdToken;
            assert_eq!(world.judge_as(&typed(kind), presented).is_ok(), is_taken, "{kind} {presented:?}");
        }
    }
    for kind in ["logout+jwt", "secevent+jwt", "dpop+jwt", "oauth-id-jag+jwt", "wit+jwt", "jwt", "application/at+jwt"] {
        let token = typed(&format!(r#","typ":"{kind}""#));
        assert_eq!(world.judge(&token), Err(Error::Type), "{kind}");
    }
    // A logout token of an issuer that gives it no `typ`.
    assert_eq!(
        world.user(&[("events", r#"{"http://schemas.openid.net/event/backchannel-logout":{}}"#)]),
        Err(Error::Type)
    );
    assert_eq!(TokenType::named("urn:ietf:params:oauth:token-type:saml2"), None);
    for kind in TokenType::ALL {
        assert_eq!(TokenType::named(kind.name()), Some(kind));
    }
}

#[test]
fn each_way_in_which_a_users_token_is_wrong_is_refused_by_its_code() {
    let world = World::new();
    let other = format!(r#"{{"jkt":"{}"}}"#, Holder::new().thumbprint());
    let two = format!(r#"{{"jkt":"{}","x5t#S256":"AA"}}"#, world.holder);
    let long = format!(r#""{}""#, "a".repeat(513));
    let deep = chain(ACTORS_MAX);
    type Row<'a> = (&'a [(&'a str, &'a str)], Error, &'a str);
    let rows: &[Row<'_>] = &[
        (&[("iss", "")], Error::Claim("iss"), "subject_claim"),
        (&[("iss", "1")], Error::Claim("iss"), "subject_claim"),
        (&[("iss", r#""https://login.test/realms/two""#)], Error::Issuer, "subject_issuer"),
        (&[("iss", r#""https://login.test/realms/one/""#)], Error::Issuer, "subject_issuer"),
        (&[("iss", r#""HTTPS://login.test/realms/one""#)], Error::Issuer, "subject_issuer"),
        (&[("aud", "")], Error::Audience, "subject_audience"),
        (&[("aud", r#""https://example.org""#)], Error::Audience, "subject_audience"),
        (&[("aud", r#""https://example.org/oauth/token""#)], Error::Audience, "subject_audience"),
        (&[("aud", r#"["https://example.org/oauth","https://b.test"]"#)], Error::Audience, "subject_audience"),
        (
            &[("aud", r#"["https://example.org/oauth","https://example.org/oauth"]"#)],
            Error::Audience,
            "subject_audience",
        ),
        (&[("aud", "[]")], Error::Audience, "subject_audience"),
        (&[("exp", "")], Error::Claim("exp"), "subject_claim"),
        (&[("exp", r#""1800000300""#)], Error::Claim("exp"), "subject_claim"),
        (&[("exp", "1e20")], Error::Claim("exp"), "subject_claim"),
        (&[("exp", "-1")], Error::Claim("exp"), "subject_claim"),
        (&[("exp", "1800000000")], Error::Expired, "subject_expired"),
        (&[("exp", "1799999999.999")], Error::Expired, "subject_expired"),
        (&[("nbf", "1800000031")], Error::NotYet, "subject_not_yet"),
        (&[("iat", "1800000031")], Error::NotYet, "subject_not_yet"),
        (&[("iat", "null")], Error::Claim("iat"), "subject_claim"),
        (&[("cnf", &other)], Error::Key, "subject_binding"),
        (&[("cnf", &two)], Error::Key, "subject_binding"),
        (&[("cnf", r#"{"x5t#S256":"AA"}"#)], Error::Key, "subject_binding"),
        (&[("cnf", r#"{"jwk":{}}"#)], Error::Key, "subject_binding"),
        (&[("cnf", "{}")], Error::Key, "subject_binding"),
        (&[("cnf", "null")], Error::Key, "subject_binding"),
        (&[("sub", "")], Error::Claim("sub"), "subject_claim"),
        (&[("sub", "7")], Error::Claim("sub"), "subject_claim"),
        (&[("sub", r#""""#)], Error::Claim("sub"), "subject_claim"),
        (&[("sub", r#""a\nb""#)], Error::Claim("sub"), "subject_claim"),
        (&[("sub", &long)], Error::Claim("sub"), "subject_claim"),
        (&[("jti", "7")], Error::Claim("jti"), "subject_claim"),
        (&[("scope", "[]")], Error::Claim("scope"), "subject_claim"),
        (&[("scope", r#""""#)], Error::Claim("scope"), "subject_claim"),
        (&[("scope", r#""a  b""#)], Error::Claim("scope"), "subject_claim"),
        (&[("scope", r#"["read"]"#)], Error::Claim("scope"), "subject_claim"),
        (&[("scp", "[]")], Error::Claim("scp"), "subject_claim"),
        (&[("scp", "[1]")], Error::Claim("scp"), "subject_claim"),
        (&[("scp", r#""""#)], Error::Claim("scp"), "subject_claim"),
        (&[("scp", "{}")], Error::Claim("scp"), "subject_claim"),
        (&[("may_act", r#""spiffe://example.org/crew""#)], Error::Claim("may_act"), "subject_claim"),
        (&[("may_act", "{}")], Error::Claim("may_act"), "subject_claim"),
        (&[("may_act", r#"{"client_id":"crew"}"#)], Error::Claim("may_act"), "subject_claim"),
        (&[("may_act", r#"{"sub":"a","iss":"b"}"#)], Error::Claim("may_act"), "subject_claim"),
        (&[("act", &deep)], Error::Actors, "subject_actors"),
        (&[("act", r#""a""#)], Error::Actors, "subject_actors"),
        (&[("act", "{}")], Error::Actors, "subject_actors"),
        (&[("act", r#"{"sub":""}"#)], Error::Actors, "subject_actors"),
        (&[("act", r#"{"sub":"a","iss":1}"#)], Error::Actors, "subject_actors"),
        (&[("act", r#"{"sub":"a","act":null}"#)], Error::Actors, "subject_actors"),
        (&[("act", r#"{"sub":"spiffe://example.org/admin"}"#)], Error::Actors, "subject_actors"),
        (&[("act", r#"{"sub":"a","act":{"sub":"SPIFFE://example.org:443/x"}}"#)], Error::Actors, "subject_actors"),
    ];
    for (changes, error, code) in rows {
        assert_eq!(world.user(changes).as_ref(), Err(error), "{changes:?}");
        assert_eq!(error.code(), *code);
    }
    // The last that is good.
    for good in
        [("exp", "1800000000.001"), ("nbf", "1800000030"), ("iat", "1800000030"), ("act", &*chain(ACTORS_MAX - 1))]
    {
        assert!(world.user(&[good]).is_ok(), "{good:?}");
    }
}

#[test]
fn a_user_has_no_name_of_ours_in_any_spelling() {
    let world = World::new();
    for name in [
        "spiffe://example.org",
        "spiffe://example.org/crew",
        "SPIFFE://Example.Org/crew",
        "spiffe:/example.org/crew",
        "spiffe:example.org/crew",
        "spiffe:///example.org/crew",
        r"spiffe:\\\\example.org\\crew",
        " spiffe://example.org/crew",
        "spiffe://example.org:443/crew",
        "spiffe://ada@example.org/crew",
        "spiffe://example.org./crew",
        "spiffe://example%2Eorg/crew",
        "spiffe://example%252eorg/crew",
        "spiffe%3A%2F%2Fexample.org/crew",
        "%73piffe://example.org",
        "spiffe://example.org?crew",
        "spiffe://example.org#crew",
    ] {
        assert_eq!(world.user(&[("sub", &format!(r#""{name}""#))]), Err(Error::Name), "{name}");
    }
    for name in
        ["spiffe://other.test/crew", "spiffe://example.organic/a", "a@example.org", "https://example.org/crew", "100%"]
    {
        assert!(world.user(&[("sub", &format!(r#""{name}""#))]).is_ok(), "{name}");
    }
}

#[test]
fn a_users_token_counts_only_with_a_signature_of_its_issuer() {
    let world = World::new();
    let (stranger, claims) = (Key::new("login-1", Algorithm::Es256), user(&[]));
    let signature = Error::Token(TokenError::Token(jose::Error::Signature));
    assert_eq!(world.judge(&stranger.token(HEADER, &claims)), Err(signature.clone()));
    assert_eq!((signature.code(), Error::Token(TokenError::UnknownKey).code()), ("subject_signature", "subject_key"));
    // Our own key signs nothing for others, and theirs nothing for us.
    assert_eq!(world.judge(&world.own.token(HEADER, &claims)), Err(signature));
    let other = world.login.token(HEADER.replace("login-1", "login-2"), &claims);
    assert_eq!(world.judge(&other), Err(Error::Token(TokenError::UnknownKey)));
    let forged = user(&[("iss", r#""https://example.org/oauth""#)]);
    assert_eq!(world.judge(&world.login.token(HEADER, &forged)).unwrap_err().code(), "subject_malformed");
    for alg in ["none", "HS256"] {
        let token = world.login.token(format!(r#"{{"alg":"{alg}"}}"#), &claims);
        assert_eq!(world.judge(&token), Err(Error::Token(TokenError::Algorithm)), "{alg}");
        let bare = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(world.judge(&bare), Err(Error::Token(TokenError::Algorithm)), "{alg}");
    }
    let doubled = claims.replacen('{', r#"{"sub":"eve","#, 1);
    assert_eq!(world.judge(&world.login.token(HEADER, doubled)).unwrap_err().code(), "subject_malformed");
    for no_token in ["", ".", "..", "a.b.c", "a b", "é"] {
        assert_eq!(world.judge(no_token).unwrap_err().code(), "subject_malformed", "{no_token}");
    }
    let padded = user(&[("groups", &format!(r#""{}""#, "g".repeat(8 * 1024)))]);
    assert_eq!(world.judge(&world.login.token(HEADER, padded)).unwrap_err().code(), "subject_malformed");
    let with = |issuers: &Issuers| {
        let expected = Expected { issuer: US, trust_domain: &world.trust_domain, holder: world.holder, now: now() };
        let believed = Believed { keys: &world.keys, issuers };
        Parent::read(&world.login.token(HEADER, &claims), TokenType::Jwt, &believed, &expected)
    };
    assert_eq!(with(&Issuers::default()), Err(Error::Issuer), "nobody is pinned");
    let login = IssuerName::parse(LOGIN).unwrap();
    let keyless = Issuers::default().with_keyless([&login]);
    assert_eq!(with(&keyless).unwrap_err().code(), "subject_no_keys");
    assert!(keyless.names().eq([&login]));
}

#[test]
fn a_token_of_ours_stays_what_it_is() {
    let world = World::new();
    let parent = world.judge(&world.own_token(&[("sid", r#""s1""#)])).unwrap();
    assert_eq!(parent.subject(&Id::parse("spiffe://example.org/other").unwrap()), Subject::Agent(agent()));
    assert_eq!((parent.own().unwrap().client.as_str(), parent.session()), ("crew", Some("s1")));
    assert_eq!((parent.scopes().unwrap().to_string(), parent.expires_at()), ("read".to_owned(), now() + seconds(300)));
    assert_eq!((parent.token_id().as_deref(), parent.may_act()), (Some("AAAAAAAAAAAAAAAAAAAAAA"), None));
    // A delegation keeps its user and its actors: nobody was added.
    let act = r#"{"sub":"spiffe://example.org/crew","act":{"sub":"first"}}"#;
    let delegated = [("sub", r#""ada""#), ("sub_iss", r#""https://login.test""#), ("act", act)];
    let parent = world.judge(&world.own_token(&delegated)).unwrap();
    let earlier = vec![Actor { name: "first".into(), issuer: None }];
    assert_eq!(
        parent.subject(&agent()),
        Subject::User { name: "ada".into(), issuer: "https://login.test".into(), agent: agent(), earlier }
    );
}

#[test]
fn a_token_of_ours_that_is_not_good_is_refused() {
    let world = World::new();
    let good = world.own_token(&[]);
    assert!(world.judge_as(&good, TokenType::Jwt).is_ok());
    assert_eq!(world.judge_as(&good, TokenType::IdToken), Err(Error::Type));
    let stolen = World { holder: Holder::new().thumbprint(), ..World::new() };
    let stolen = World { keys: world.keys.clone(), ..stolen };
    assert_eq!(stolen.judge(&good), Err(Error::Key), "by somebody else's proof");
    let ended = world.own_token(&[("iat", "1799999000"), ("exp", "1800000000")]);
    let ahead = world.own_token(&[("iat", "1800000006"), ("exp", "1800000300")]);
    let (cut, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{cut}.{}", jose::encode(&[1; 64]));
    let unknown = World::new();
    let unknown = World { keys: unknown.keys, holder: world.holder, ..World::new() };
    for (judged, code) in [
        (world.judge(&ended), "subject_expired"),
        (world.judge(&ahead), "subject_not_yet"),
        (world.judge(&forged), "subject_signature"),
        (unknown.judge(&good), "subject_key"),
        (world.judge(&world.own_token(&[("cnf", "")])), "subject_malformed"),
        (world.judge(&world.own_token(&[("cnf", r#"{"x5t#S256":"AA"}"#)])), "subject_malformed"),
    ] {
        assert_eq!(judged.unwrap_err().code(), code);
    }
}

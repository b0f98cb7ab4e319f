//! Access tokens of another issuer at a door: with a proof of their key, where the tool takes that issuer; each thing that
//! is wrong has its own reason.

use std::time::SystemTime;

use super::{
    kit::{Holder, now, seconds},
    world::{AUDIENCE, PROOF, TOKEN, URL, World, answer, refused, signing_key},
};
use crate::{
    oauth::{
        Certificate, CertificateError, Scopes,
        access::{self, Draft, Subject, TokenId, issue},
        certificate::tests as certificate,
        foreign::{AUDIENCES_MAX, Error as E, LEEWAY, LIFETIME_MAX},
        freshness::Refused as F,
        issuer::{Issuer, IssuerName, Issuers, TOKEN_BYTES_MAX, TokenError},
        replay::Refused as R,
        target::Target,
        verify::{Accepts, AgentState, Bearer, Kind, Reason, Refusal, Request, Revocation, Verified},
    },
    spiffe::{
        Id,
        jose::{
            Algorithm, Error as J,
            tests::kit::{Key, NOW, object},
        },
    },
};

const NAME: &str = "https://login.test/realms/one";
const HEADER: &str = r#"{"alg":"ES256","typ":"at+jwt","kid":"f1"}"#;

/// A door that takes this issuer's tokens, and a client of it that is the agent `crew`.
struct Foreign {
    world: World,
    key: Key,
}

fn name(name: &str) -> IssuerName {
    IssuerName::parse(name).unwrap()
}

fn issuers(key: &Key) -> Issuers {
    let jwk = key.jwk().to_json();
    let jwks = format!(r#"{{"keys":[{{"kid":"{}",{}]}}"#, key.id, jwk.trim_start_matches('{'));
    Issuers::new([Issuer::read(name(NAME), jwks.as_bytes()).unwrap().0]).unwrap()
}

impl Foreign {
    fn new() -> Self {
        let (mut world, key) = (World::new(), Key::new("f1", Algorithm::Es256));
        world.known.taken = vec![name("https://other.test"), name(NAME)];
        world.known.issuers = issuers(&key);
        Self { world, key }
    }

    /// Good claims, with changes; an empty value leaves a claim out.
    fn claims(&self, changes: &[(&str, &str)]) -> String {
        let (iss, aud) = (format!(r#""{NAME}""#), format!(r#"["account","{AUDIENCE}"]"#));
        let cnf = format!(r#"{{"jkt":"{}","kc-jkt-type":"DPoP"}}"#, self.world.holder.thumbprint());
        let good = [
            ("iss", iss.as_str()),
            ("sub", r#""6d3bd7a6-0f5e-4b0e-a2c5-7f1e6a3d0c11""#),
            ("aud", &aud),
            ("client_id", r#""spiffe://example.org/crew""#),
            ("azp", r#""spiffe://example.org/crew""#),
            ("iat", "1800000000"),
            ("exp", "1800000300"),
            ("jti", r#""trrtcc:2d8bd7b4""#),
            ("scope", r#""profile read delete""#),
            ("cnf", &cnf),
        ];
        object(&[&good, changes].concat())
    }

    fn token(&self, changes: &[(&str, &str)]) -> String {
        self.key.token(HEADER, self.claims(changes))
    }

    /// `GET /items` with this token and a proof by its key.
    fn get(&self, token: &str) -> Result<Verified, Refusal> {
        self.at(token, now())
    }

    fn at(&self, token: &str, at: SystemTime) -> Result<Verified, Refusal> {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
        let proof = self.world.proof(token, &[("iat", &since)]);
        self.world.ask("GET", URL, &[&format!("DPoP {token}")], &[&proof], at)
    }

    fn refuse(&self, what: &str, token: &str, reason: E) {
        refused(what, self.get(token), &reason.into(), TOKEN);
    }
}

#[test]
fn a_token_passes_with_those_of_its_scopes_that_the_agent_is_granted() {
    let mut foreign = Foreign::new();
    foreign.world.known.granted = Some(Scopes::parse("read write").unwrap());
    let token = foreign.token(&[]);
    // The second time its signature is known.
    for _ in 0..2 {
        let verified = foreign.get(&token).unwrap();
        assert_eq!((verified.kind(), verified.agent(), verified.tool()), (Kind::ForeignDpop, "crew", "items"));
        assert_eq!((verified.scope(), verified.scopes().to_string().as_str()), ("read", "read"));
        assert_eq!((verified.issuer(), verified.key()), (Some(NAME), Some(foreign.world.holder.thumbprint())));
        assert_eq!((verified.subject().name(), verified.token_id()), ("6d3bd7a6-0f5e-4b0e-a2c5-7f1e6a3d0c11", None));
        assert_eq!(verified.subject().agent().as_str(), "spiffe://example.org/crew");
        assert_eq!(verified.credential().expires_at(), now() + seconds(300));
    }
    let own = Subject::Agent(Id::parse("spiffe://example.org/crew").unwrap());
    for changes in [&[("sub", "")][..], &[("sub", r#""spiffe://example.org/crew""#)]] {
        assert_eq!(*foreign.get(&foreign.token(changes)).unwrap().subject(), own, "{changes:?}");
    }
    let (aud, long) = (format!(r#""{AUDIENCE}""#), format!(r#""read {}""#, "a".repeat(65)));
    for changes in [
        ("aud", aud.as_str()),
        ("client_id", ""),
        ("azp", ""),
        ("scope", r#""read""#),
        // Somebody else's scope, which nobody is granted here.
        ("scope", &long),
        ("scope", r#""  read read""#),
        ("scp", r#"["read"]"#),
        ("nbf", "1800000030"),
        ("more", "{}"),
    ] {
        assert!(foreign.get(&foreign.token(&[changes])).is_ok(), "{changes:?}");
    }
    let typ = foreign.key.token(r#"{"alg":"ES256","typ":"application/at+jwt","kid":"f1"}"#, foreign.claims(&[]));
    assert!(foreign.get(&typ).is_ok());
    // Who has one key names none.
    assert!(foreign.get(&foreign.key.token(r#"{"alg":"ES256","typ":"at+jwt"}"#, foreign.claims(&[]))).is_ok());
}

#[test]
fn a_token_that_is_not_good_here_and_now_is_refused() {
    let foreign = Foreign::new();
    let with = |changes: &[(&str, &str)]| foreign.token(changes);
    let by = |header: &str| foreign.key.token(header, foreign.claims(&[]));
    let jkt = foreign.world.holder.thumbprint();
    let two = format!(r#"{{"jkt":"{jkt}","x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}"#);
    let many = format!("[{}\"{AUDIENCE}\"]", r#""a","#.repeat(AUDIENCES_MAX));
    let scopes = format!("\"read{}\"", " a".repeat(128));
    let long = with(&[("more", &format!("\"{}\"", "A".repeat(TOKEN_BYTES_MAX)))]);
    let malformed = |error: J| E::Token(TokenError::Token(error));
    let late = format!("{}", NOW + LEEWAY.as_secs() + 1);
    let end = format!("{}", NOW + LIFETIME_MAX.as_secs() + 1);
    let cases = [
        ("no token", "a.b".to_owned(), malformed(J::Parts)),
        ("too long", long.clone(), malformed(J::TooLong { bytes: long.len(), most: TOKEN_BYTES_MAX })),
        ("an ID token", by(r#"{"alg":"ES256","typ":"JWT","kid":"f1"}"#), E::Type),
        ("no type", by(r#"{"alg":"ES256","kid":"f1"}"#), E::Type),
        ("the type in capitals", by(r#"{"alg":"ES256","typ":"AT+JWT","kid":"f1"}"#), E::Type),
        ("no algorithm", by(r#"{"alg":"none","typ":"at+jwt","kid":"f1"}"#), E::Token(TokenError::Algorithm)),
        ("a MAC", by(r#"{"alg":"HS256","typ":"at+jwt","kid":"f1"}"#), E::Token(TokenError::Algorithm)),
        ("a key of its own", by(r#"{"alg":"ES256","typ":"at+jwt","jwk":{}}"#), malformed(J::Header("jwk"))),
        ("an unknown key", by(r#"{"alg":"ES256","typ":"at+jwt","kid":"f2"}"#), E::Token(TokenError::UnknownKey)),
        (
            "another signer",
            Key::new("f1", Algorithm::Es256).token(HEADER, foreign.claims(&[])),
            malformed(J::Signature),
        ),
        ("no issuer", with(&[("iss", "")]), E::Claim("iss")),
        ("a slash more", with(&[("iss", r#""https://login.test/realms/one/""#)]), E::Issuer),
        ("one that the tool takes and nobody has pinned", with(&[("iss", r#""https://other.test""#)]), E::Issuer),
        ("our own name", with(&[("iss", r#""https://example.org/oauth""#)]), E::Issuer),
        ("no audience", with(&[("aud", "")]), E::Claim("aud")),
        ("audiences that are none", with(&[("aud", "[1]")]), E::Claim("aud")),
        ("too many audiences", with(&[("aud", &many)]), E::Claim("aud")),
        ("an empty list", with(&[("aud", "[]")]), E::Claim("aud")),
        ("another audience", with(&[("aud", r#""https://api.example.org/""#)]), E::Audience),
        ("no client", with(&[("client_id", ""), ("azp", "")]), E::Claim("client_id")),
        ("two clients", with(&[("azp", r#""spiffe://example.org/ghost""#)]), E::Claim("azp")),
        ("a client without SPIFFE ID", with(&[("azp", ""), ("client_id", r#""crew""#)]), E::Claim("client_id")),
        ("another workload as subject", with(&[("sub", r#""SPIFFE://example.org/x""#)]), E::Claim("sub")),
        ("an actor", with(&[("act", r#"{"sub":"spiffe://example.org/x"}"#)]), E::Claim("act")),
        ("no begin", with(&[("iat", "")]), E::Claim("iat")),
        ("no end", with(&[("exp", "")]), E::Claim("exp")),
        ("an end that is none", with(&[("exp", r#""1800000300""#)]), E::Claim("exp")),
        ("an end before the begin", with(&[("iat", "1800000300")]), E::Claim("exp")),
        ("of a time to come", with(&[("iat", &late), ("exp", "1800000300")]), E::Ahead),
        ("not yet good", with(&[("nbf", &late)]), E::Ahead),
        ("ended", with(&[("iat", "1799999900"), ("exp", "1800000000")]), E::Expired),
        ("too long a life", with(&[("exp", &end)]), E::TooLongLived),
        ("too many scopes", with(&[("scope", &scopes)]), E::Claim("scope")),
        ("a scope that is none", with(&[("scp", "[1]")]), E::Claim("scope")),
        ("scopes as a list", with(&[("scope", r#"["read"]"#)]), E::Claim("scope")),
        ("no binding", with(&[("cnf", "")]), E::Confirmation),
        ("nothing that binds", with(&[("cnf", r#"{"kc-jkt-type":"DPoP"}"#)]), E::Confirmation),
        ("two bindings", with(&[("cnf", &two)]), E::Confirmation),
        ("a binding to something else", with(&[("cnf", r#"{"kid":"a"}"#)]), E::Confirmation),
        (
            "a certificate, by a proof",
            with(&[("cnf", r#"{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}"#)]),
            E::Confirmation,
        ),
        ("a certificate that is none", with(&[("cnf", r#"{"x5t#S256":"A4Dt"}"#)]), E::Confirmation),
        ("a thumbprint that is none", with(&[("cnf", r#"{"jkt":"a"}"#)]), E::Confirmation),
    ];
    for (what, token, reason) in cases {
        foreign.refuse(what, &token, reason);
    }
    // Whose it is stands in the record only when the tool takes that issuer.
    let issuer = |changes: &[(&str, &str)]| foreign.get(&with(changes)).unwrap_err().issuer;
    assert_eq!(issuer(&[("aud", r#""a""#)]), Some(name(NAME)));
    assert_eq!(issuer(&[("iss", r#""https://other.test""#)]), Some(name("https://other.test")));
    assert_eq!(issuer(&[("iss", r#""https://evil.test""#)]), None);
    assert!(foreign.get(&with(&[])).is_ok(), "it is the cases");
}

#[test]
fn a_known_token_is_good_as_long_as_its_end_and_its_issuers_keys_are() {
    let mut foreign = Foreign::new();
    let token = foreign.token(&[]);
    assert!(foreign.get(&token).is_ok());
    let present = foreign.world.known.issuers.clone();
    foreign.world.known.issuers = issuers(&Key::new("f1", Algorithm::Es256));
    refused("other keys", foreign.get(&token), &E::Token(TokenError::Token(J::Signature)).into(), TOKEN);
    foreign.world.known.issuers = Issuers::default();
    refused("not pinned any more", foreign.get(&token), &E::Issuer.into(), TOKEN);
    foreign.world.known.issuers = present;
    assert!(foreign.get(&token).is_ok());
    foreign.world.known.taken = vec![name("https://other.test")];
    refused("not taken any more", foreign.get(&token), &E::Issuer.into(), TOKEN);
    foreign.world.known.taken = vec![name(NAME)];
    assert!(foreign.at(&token, now() + seconds(299)).is_ok());
    refused("at its end", foreign.at(&token, now() + seconds(300)), &E::Expired.into(), TOKEN);
}

#[test]
fn a_stolen_token_is_worth_nothing() {
    let foreign = Foreign::new();
    let token = foreign.token(&[]);
    let ask =
        |scheme: &str, proofs: &[&str]| foreign.world.ask("GET", URL, &[&format!("{scheme} {token}")], proofs, now());
    let bearer = || ask("DPoP", &[]).unwrap_err().bearer;
    assert_eq!(bearer(), None, "nothing is known of it yet");
    assert!(foreign.get(&token).is_ok());
    let client = "spiffe://example.org/crew".to_owned();
    let known = Bearer { client, key: Some(foreign.world.holder.thumbprint()), token_id: None };
    assert_eq!(bearer().as_deref(), Some(&known), "it is known from then on");
    refused("no proof", ask("DPoP", &[]), &Reason::NoProof, PROOF);
    let thief = foreign.world.proof_by(&Holder::new(), &token, &[]);
    refused("the thief's key", ask("DPoP", &[&thief]), &Reason::KeyMismatch, TOKEN);
    let proof = foreign.world.proof(&token, &[]);
    refused("two proofs", ask("DPoP", &[&proof, &thief]), &Reason::SeveralProofs, PROOF);
    refused("as a bearer", ask("Bearer", &[&proof]), &Reason::Bearer, TOKEN);
    let of_another = foreign.world.proof(&foreign.token(&[("more", "1")]), &[]);
    assert_eq!(answer(&ask("DPoP", &[&of_another]).unwrap_err()), PROOF);
    let post = foreign.world.proof(&token, &[("htm", r#""POST""#)]);
    assert_eq!(answer(&ask("DPoP", &[&post]).unwrap_err()), PROOF);
    assert!(ask("DPoP", &[&proof]).is_ok(), "nothing of that has burnt it");
    refused("again", ask("DPoP", &[&proof]), &Reason::Proof(F::Replay(R::Replayed)), PROOF);
}

#[test]
fn a_token_that_is_bound_to_a_certificate_is_good_for_its_holder() {
    let mut foreign = Foreign::new();
    let (pem, other) = (certificate::pem(), certificate::pem().replace("MIIB", "MIIC"));
    let cnf = format!(r#"{{"x5t#S256":"{}"}}"#, certificate::RFC_8705_HASH);
    let token = foreign.token(&[("cnf", &cnf)]);
    let ask = |foreign: &Foreign, token: &str, certificates: &[&str]| {
        let certificates: Vec<_> = certificates.iter().map(|pem| Certificate::Pem(pem.as_bytes())).collect();
        let (authorization, target) = (format!("Bearer {token}"), Target::parse(URL).unwrap());
        let authorization = [authorization.as_bytes()];
        let request =
            Request { authorization: &authorization, certificates: &certificates, ..Request::new("GET", &target) };
        foreign.world.verifier.verify(&request, &foreign.world.known, now())
    };
    refused("the tool does not say it", ask(&foreign, &token, &[&pem]), &Reason::Bearer, TOKEN);
    foreign.world.known.accepts = Accepts { mtls: true, ..Accepts::default() };
    for jwt_svid in [false, true] {
        foreign.world.known.accepts.jwt_svid = jwt_svid;
        for _ in 0..2 {
            let verified = ask(&foreign, &token, &[&pem]).unwrap();
            assert_eq!((verified.kind(), verified.agent(), verified.key()), (Kind::ForeignMtls, "crew", None));
        }
        let missing = Reason::NoCertificate;
        refused("no certificate", ask(&foreign, &token, &[]), &missing, TOKEN);
        refused("two certificates", ask(&foreign, &token, &[&pem, &pem]), &missing, TOKEN);
        refused("another", ask(&foreign, &token, &[&other]), &Reason::CertificateMismatch, TOKEN);
        refused("no PEM", ask(&foreign, &token, &["a"]), &CertificateError::Pem.into(), TOKEN);
        refused("bound to a key", ask(&foreign, &foreign.token(&[]), &[&pem]), &Reason::Bearer, TOKEN);
        let unbound = foreign.token(&[("cnf", "")]);
        refused("not bound", ask(&foreign, &unbound, &[&pem]), &E::Confirmation.into(), TOKEN);
        let elsewhere = foreign.token(&[("cnf", &cnf), ("aud", r#""a""#)]);
        refused("another audience", ask(&foreign, &elsewhere, &[&pem]), &E::Audience.into(), TOKEN);
        let write = foreign.token(&[("cnf", &cnf), ("scope", "")]);
        let scope = Reason::Scope("read".to_owned());
        refused("no scope", ask(&foreign, &write, &[&pem]), &scope, (403, "insufficient_scope"));
        let challenge = ask(&foreign, &write, &[&pem]).unwrap_err().challenge.authenticate.unwrap();
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        refused("as DPoP", foreign.get(&token), &E::Confirmation.into(), TOKEN);
        assert!(foreign.get(&foreign.token(&[])).is_ok(), "a proof is as good as before");
        let own = foreign.world.token();
        refused("our own", ask(&foreign, &own, &[&pem]), &Reason::Bearer, TOKEN);
    }
    foreign.world.known.agent = AgentState::Suspended;
    refused("suspended", ask(&foreign, &token, &[&pem]), &Reason::Agent(AgentState::Suspended), TOKEN);
    // Without the issuer there is nothing that it could be bound by.
    foreign.world.known.agent = AgentState::Active;
    foreign.world.known.accepts.jwt_svid = false;
    foreign.world.known.taken.clear();
    refused("no issuer", ask(&foreign, &token, &[&pem]), &Reason::Bearer, TOKEN);
}

#[test]
fn what_our_registry_says_of_its_client_counts() {
    let mut foreign = Foreign::new();
    let token = foreign.token(&[]);
    let (of, none) = ("client_id", ("azp", ""));
    let nobody = foreign.token(&[none, (of, r#""spiffe://example.org/nobody""#)]);
    refused("nobody's ID", foreign.get(&nobody), &Reason::NoAgent, TOKEN);
    let elsewhere = foreign.token(&[none, (of, r#""spiffe://other.test/crew""#)]);
    refused("another domain's", foreign.get(&elsewhere), &Reason::NoAgent, TOKEN);
    let ghost = foreign.token(&[none, (of, r#""spiffe://example.org/ghost""#)]);
    refused("no agent", foreign.get(&ghost), &Reason::Agent(AgentState::Unknown), TOKEN);
    let scope = Reason::Scope("read".to_owned());
    let forbidden = (403, "insufficient_scope");
    refused("another scope", foreign.get(&foreign.token(&[("scope", r#""write""#)])), &scope, forbidden);
    refused("no scope", foreign.get(&foreign.token(&[("scope", "")])), &scope, forbidden);
    refused("less in the one", foreign.get(&foreign.token(&[("scp", r#""write""#)])), &scope, forbidden);
    assert!(foreign.get(&foreign.token(&[("scope", ""), ("scp", r#""read""#)])).is_ok());
    foreign.world.known.granted_for = seconds(100);
    let older = foreign.token(&[("iat", "1799999900")]);
    refused("granted to younger ones", foreign.get(&older), &Reason::TooOld, TOKEN);
    let without = foreign.token(&[("iat", "1799999900"), ("scope", r#""write""#)]);
    refused("old, and without the scope", foreign.get(&without), &scope, forbidden);
    assert!(foreign.get(&foreign.token(&[("iat", "1799999901")])).is_ok());
    foreign.world.known.granted = Some(Scopes::parse("write").unwrap());
    refused("not granted that", foreign.get(&token), &scope, forbidden);
    foreign.world.known.granted = None;
    refused("granted nothing", foreign.get(&token), &Reason::NotGranted, (403, ""));
    foreign.world.known.granted = Some(Scopes::parse("read").unwrap());
    foreign.world.known.revocation = Some(Revocation::Key);
    refused("revoked", foreign.get(&token), &Reason::Revoked(Revocation::Key), TOKEN);
    foreign.world.known.revocation = None;
    foreign.world.known.agent = AgentState::Suspended;
    refused("suspended", foreign.get(&token), &Reason::Agent(AgentState::Suspended), TOKEN);
    foreign.world.known.agent = AgentState::Active;
    assert!(foreign.get(&token).is_ok());
}

/// Its tokens begin as ours do, and their `client_id` is an agent's name there.
#[test]
fn another_daemon_may_be_the_issuer() {
    let mut foreign = Foreign::new();
    let mut key = signing_key();
    foreign.world.known.issuers = issuers(&key);
    let subject = Subject::Agent(Id::parse("spiffe://example.org/crew").unwrap());
    let user = Subject::User {
        name: "ada".into(),
        issuer: "https://users.test".into(),
        agent: Id::parse("spiffe://example.org/crew").unwrap(),
        earlier: Vec::new(),
    };
    let scopes = Scopes::parse("read write").unwrap();
    let draft = Draft {
        issuer: NAME,
        subject: &subject,
        audience: AUDIENCE,
        client: "its-name-there",
        scopes: &scopes,
        key: foreign.world.holder.thumbprint(),
        session: None,
        token_id: TokenId([9; 16]),
        expires_at: now() + seconds(300),
    };
    let token = issue(&draft, &key, now()).unwrap();
    assert!(token.starts_with(access::CONSTANT_PREFIX));
    for _ in 0..2 {
        let verified = foreign.get(&token).unwrap();
        assert_eq!((verified.kind(), verified.agent(), verified.issuer()), (Kind::ForeignDpop, "crew", Some(NAME)));
        assert_eq!((verified.subject(), verified.scopes().to_string().as_str()), (&subject, "read"));
    }
    let own = foreign.world.token();
    assert_eq!(foreign.get(&own).unwrap().kind(), Kind::Dpop);
    foreign.refuse("for a user", &issue(&Draft { subject: &user, ..draft }, &key, now()).unwrap(), E::Claim("act"));
    let other = Draft { issuer: "https://evil.test", ..draft };
    foreign.refuse("of another one", &issue(&other, &key, now()).unwrap(), E::Issuer);
    let id = std::mem::replace(&mut key.id, "dfly-unknown".into());
    foreign.refuse("a key that it has not", &issue(&draft, &key, now()).unwrap(), E::Token(TokenError::UnknownKey));
    key.id = id;
    let mut forged = signing_key();
    forged.id.clone_from(&key.id);
    foreign.refuse("another key", &issue(&draft, &forged, now()).unwrap(), E::Token(TokenError::Token(J::Signature)));
    foreign.world.known.taken.clear();
    let refusal = foreign.get(&token).unwrap_err();
    assert_eq!(
        (refusal.kind, refusal.reason.code()),
        (Some(Kind::Dpop), "token_issuer"),
        "a tool that takes no issuer"
    );
}

#[test]
fn neither_kind_of_token_goes_the_way_of_the_other() {
    let mut foreign = Foreign::new();
    let own = foreign.world.token();
    assert!(own.starts_with(access::CONSTANT_PREFIX));
    assert_eq!(foreign.world.get(&own, &foreign.world.proof(&own, &[])).unwrap().kind(), Kind::Dpop);
    // The pinned issuer signs what begins as our own do.
    let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, foreign.world.key.id);
    let forged = foreign.key.token(&header, foreign.claims(&[("aud", &format!(r#""{AUDIENCE}""#))]));
    assert!(forged.starts_with(access::CONSTANT_PREFIX));
    let refusal = foreign.get(&forged).unwrap_err();
    assert_eq!((refusal.kind, refusal.issuer), (Some(Kind::Dpop), None));
    assert!(matches!(refusal.reason, Reason::Token(_)), "{:?}", refusal.reason);
    // In our name, by a key that nobody has.
    let header = header.replace(&foreign.world.key.id, "dfly-other");
    let forged = foreign.key.token(&header, foreign.claims(&[("iss", r#""https://example.org/oauth""#)]));
    assert_eq!(foreign.get(&forged).unwrap_err().kind, Some(Kind::Dpop));
    // Our own key under another header, in the name of the other issuer.
    let ours = foreign.world.key.token(HEADER, foreign.claims(&[]));
    foreign.refuse("our key", &ours, E::Token(TokenError::Token(J::Signature)));
    let token = foreign.token(&[]);
    assert!(foreign.get(&token).is_ok());
    foreign.world.known.taken.clear();
    let refusal = foreign.get(&token).unwrap_err();
    assert_eq!(refusal.kind, Some(Kind::Dpop), "a tool that takes no issuer");
    assert!(matches!(refusal.reason, Reason::Token(_)), "{:?}", refusal.reason);
}

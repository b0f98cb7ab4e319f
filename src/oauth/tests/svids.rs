//! SVIDs at a door: WIT-SVIDs with their proofs, and JWT-SVIDs; each thing that is wrong has its own reason.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, SystemTime},
};

use super::{
    kit::{now, seconds},
    world::{AUDIENCE, TOKEN, URL, World, refused},
};
use crate::{
    oauth::{
        Scopes, Thumbprint, TokenHash,
        access::{Subject, TokenId},
        freshness::{Refused as F, Settings},
        issuer::IssuerName,
        replay::Refused as R,
        target::{Error as TargetError, Target},
        verify::{Accepts, AgentState, Kind, Reason, Refusal, Request, Revocation, Verified},
        wpt::{self, Error as P},
    },
    spiffe::{
        ClaimError, Id, TrustDomain,
        jose::{
            Algorithm, Error as J, KeyError, Signer,
            tests::kit::{Key, NOW, object},
        },
        jwt, wit,
    },
};

const BAD: (u16, &str) = (400, "");
const FORBIDDEN: (u16, &str) = (403, "");
const REQUEST: (u16, &str) = (400, "invalid_request");

/// A door that takes both kinds, and a workload of the agent `crew`.
struct Svids {
    world: World,
    wit_key: Key,
    jwt_key: Key,
    workload: Key,
}

fn domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn id(path: &str) -> Id {
    Id::parse(&format!("spiffe://example.org/{path}")).unwrap()
}

impl Svids {
    fn new() -> Self {
        Self::of(World::new())
    }

    fn of(mut world: World) -> Self {
        let [wit_key, jwt_key, workload] = ["w1", "j1", "x"].map(|id| Key::new(id, Algorithm::Es256));
        world.known.accepts = Accepts { wit: true, jwt_svid: true, ..Accepts::default() };
        world.known.wit_keys = Some(wit::Bundle::new(domain(), [("w1".to_owned(), wit_key.jwk())]).unwrap());
        world.known.jwt_keys = Some(jwt::Bundle::new(domain(), [("j1".to_owned(), jwt_key.jwk())]).unwrap());
        Self { world, wit_key, jwt_key, workload }
    }

    fn wit(&self) -> String {
        self.wit_of(&id("crew"), &self.wit_key, seconds(300))
    }

    fn wit_of(&self, id: &Id, signer: &dyn Signer, life: Duration) -> String {
        let key = self.workload.jwk().for_algorithm(Algorithm::Es256).unwrap();
        let draft = wit::Draft { id, key: &key, token_id: [3; 16], expires_at: now() + life };
        wit::issue(&draft, signer, now()).unwrap()
    }

    /// A WIT-SVID of exactly these claims.
    fn wit_with(&self, changes: &[(&str, &str)]) -> String {
        let algorithm = Signer::algorithm(&self.workload).into();
        let key = self.workload.jwk().for_algorithm(algorithm).unwrap().to_json();
        let cnf = format!(r#"{{"jwk":{key}}}"#);
        let good =
            [("sub", r#""spiffe://example.org/crew""#), ("exp", "1800000300"), ("iat", "1800000000"), ("cnf", &cnf)];
        self.wit_key.token(r#"{"alg":"ES256","kid":"w1","typ":"wit+jwt"}"#, object(&[&good, changes].concat()))
    }

    fn claims(&self, wit: &str, changes: &[(&str, &str)]) -> String {
        let (jti, wth) = (self.world.next_id(), format!(r#""{}""#, TokenHash::of(wit)));
        let aud = format!(r#""{URL}""#);
        let good = [("aud", aud.as_str()), ("exp", "1800000030"), ("jti", jti.as_str()), ("wth", wth.as_str())];
        object(&[&good, changes].concat())
    }

    /// A proof for `GET /items` with this WIT-SVID, with changes.
    fn proof(&self, wit: &str, changes: &[(&str, &str)]) -> String {
        self.workload.token(r#"{"alg":"ES256","typ":"wpt+jwt"}"#, self.claims(wit, changes))
    }

    fn get(&self, wit: &str, proof: &str) -> Result<Verified, Refusal> {
        self.ask(&[wit], &[proof], &[], now())
    }

    fn ask(&self, wits: &[&str], proofs: &[&str], transactions: &[&str], at: SystemTime) -> Result<Verified, Refusal> {
        fn bytes<'t>(texts: &[&'t str]) -> Vec<&'t [u8]> {
            texts.iter().map(|text| text.as_bytes()).collect()
        }
        let target = Target::parse(URL).unwrap();
        let request = Request {
            workload_tokens: &bytes(wits),
            workload_proofs: &bytes(proofs),
            transaction_tokens: &bytes(transactions),
            ..Request::new("GET", &target)
        };
        self.world.verifier.verify(&request, &self.world.known, at)
    }

    fn jwt(&self, audiences: &[&str]) -> String {
        self.jwt_of(&id("crew"), &self.jwt_key, audiences, seconds(300))
    }

    fn jwt_of(&self, id: &Id, signer: &dyn Signer, audiences: &[&str], life: Duration) -> String {
        let audiences: Vec<_> = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        let draft = jwt::Draft { id, audiences: &audiences, issuer: None, expires_at: now() + life };
        jwt::issue(&draft, signer, now()).unwrap()
    }

    fn jwt_with(&self, changes: &[(&str, &str)]) -> String {
        let aud = format!(r#""{AUDIENCE}""#);
        let good =
            [("sub", r#""spiffe://example.org/crew""#), ("aud", &aud), ("exp", "1800000300"), ("iat", "1800000000")];
        self.jwt_key.token(r#"{"alg":"ES256","kid":"j1","typ":"JWT"}"#, object(&[&good, changes].concat()))
    }

    fn bearer(&self, token: &str) -> Result<Verified, Refusal> {
        self.world.ask("GET", URL, &[&format!("Bearer {token}")], &[], now())
    }
}

#[test]
fn a_wit_svid_with_its_proof_passes_with_what_its_agent_is_granted() {
    let mut svids = Svids::new();
    svids.world.known.granted = Some(Scopes::parse("delete read").unwrap());
    let wit = svids.wit();
    for _ in 0..2 {
        let verified = svids.get(&wit, &svids.proof(&wit, &[])).unwrap();
        assert_eq!((verified.kind(), verified.agent(), verified.tool()), (Kind::Wit, "crew", "items"));
        assert_eq!((verified.scope(), verified.scopes().to_string().as_str()), ("read", "delete read"));
        assert_eq!(*verified.subject(), Subject::Agent(id("crew")));
        assert_eq!(verified.key(), Some(Thumbprint::of(&svids.workload.jwk())));
        assert_eq!(verified.token_id(), Some(TokenId([3; 16])));
        let credential = verified.credential();
        assert_eq!((credential.audience(), credential.claims()), (AUDIENCE, None));
        assert_eq!((credential.issued_at(), credential.expires_at()), (now(), now() + seconds(300)));
    }
    // The same URL in another spelling, in a list of one, and a claim that nobody knows.
    for changes in [
        [("aud", r#""HTTPS://API.example.org:443/%69tems""#)],
        [("aud", r#"["https://api.example.org/items"]"#)],
        [("more", "1")],
        [("oth", "{}")],
        [("nbf", "1800000000")],
    ] {
        assert!(svids.get(&wit, &svids.proof(&wit, &changes)).is_ok(), "{changes:?}");
    }
    // A transaction token that the proof is for.
    let tth = format!(r#""{}""#, TokenHash::of("txn"));
    assert!(svids.ask(&[&wit], &[&svids.proof(&wit, &[("tth", &tth)])], &["txn"], now()).is_ok());
    // A key of another curve.
    svids.workload = Key::new("x", Algorithm::Es384);
    let wit = svids.wit_with(&[]);
    let proof = svids.workload.token(r#"{"alg":"ES384","typ":"wpt+jwt"}"#, svids.claims(&wit, &[]));
    assert!(svids.get(&wit, &proof).is_ok());
}

#[test]
fn a_proof_token_that_is_not_for_this_request_is_refused() {
    let svids = Svids::new();
    let wit = svids.wit();
    let by = |header: &str| svids.workload.token(header, svids.claims(&wit, &[]));
    let with = |changes: &[(&str, &str)]| svids.proof(&wit, changes);
    let other = format!(r#""{}""#, TokenHash::of("other"));
    let oth = format!(r#"{{"x-custom-token":{other}}}"#);
    let stranger = Key::new("x", Algorithm::Es256);
    let long = with(&[("more", &format!("\"{}\"", "A".repeat(wpt::PROOF_BYTES_MAX)))]);
    let cases = [
        ("no token", "?".to_owned(), P::Token(J::Parts).into()),
        ("two in one", format!("{},{}", with(&[]), with(&[])), P::Token(J::Parts).into()),
        ("too long", long.clone(), P::Token(J::TooLong { bytes: long.len(), most: wpt::PROOF_BYTES_MAX }).into()),
        ("not signed", with(&[]).rsplit_once('.').unwrap().0.to_owned() + ".", P::Token(J::Parts).into()),
        ("a DPoP proof", by(r#"{"alg":"ES256","typ":"dpop+jwt"}"#), P::Type.into()),
        ("another type", by(r#"{"alg":"ES256","typ":"WPT+jwt"}"#), P::Type.into()),
        ("no type", by(r#"{"alg":"ES256"}"#), P::Type.into()),
        ("no algorithm", by(r#"{"alg":"none","typ":"wpt+jwt"}"#), P::Algorithm.into()),
        ("a MAC", by(r#"{"alg":"HS256","typ":"wpt+jwt"}"#), P::Algorithm.into()),
        ("EdDSA, which no WIT-SVID has", by(r#"{"alg":"EdDSA","typ":"wpt+jwt"}"#), P::Algorithm.into()),
        ("another algorithm than the key's", by(r#"{"alg":"ES384","typ":"wpt+jwt"}"#), P::OtherAlgorithm.into()),
        ("a key of its own", by(r#"{"alg":"ES256","typ":"wpt+jwt","jwk":{}}"#), P::Token(J::Header("jwk")).into()),
        ("crit", by(r#"{"alg":"ES256","typ":"wpt+jwt","crit":["a"]}"#), P::Token(J::Header("crit")).into()),
        ("no audience", with(&[("aud", "")]), P::Claim("aud").into()),
        ("two audiences", with(&[("aud", r#"["https://api.example.org/items","a"]"#)]), P::Claim("aud").into()),
        ("another URL", with(&[("aud", r#""https://api.example.org/items/1""#)]), P::OtherTarget.into()),
        ("another host", with(&[("aud", r#""https://api.example.net/items""#)]), P::OtherTarget.into()),
        ("a query", with(&[("aud", r#""https://api.example.org/items?a""#)]), P::Target(TargetError::Query).into()),
        ("a name", with(&[("aud", r#""items""#)]), P::Target(TargetError::Scheme).into()),
        ("no end", with(&[("exp", "")]), P::Claim("exp").into()),
        ("an end as text", with(&[("exp", r#""1800000030""#)]), P::Claim("exp").into()),
        ("its end is now", with(&[("exp", "1800000000")]), P::Expired.into()),
        ("good for too long", with(&[("exp", "1800000066")]), P::TooLongLived.into()),
        ("not yet", with(&[("nbf", "1800000001")]), P::NotYetValid.into()),
        ("no id", with(&[("jti", "")]), P::Claim("jti").into()),
        ("a short id", with(&[("jti", r#""1234567""#)]), P::Claim("jti").into()),
        ("no hash", with(&[("wth", "")]), P::Claim("wth").into()),
        ("a hash of other length", with(&[("wth", r#""AAAA""#)]), P::Claim("wth").into()),
        ("for another WIT-SVID", with(&[("wth", &other)]), P::OtherWorkloadToken.into()),
        ("for an access token", with(&[("ath", &other)]), P::AccessToken.into()),
        ("for a transaction token", with(&[("tth", &other)]), P::OtherTransactionToken.into()),
        ("for tokens that nobody knows", with(&[("oth", &oth)]), P::OtherTokens.into()),
        ("others that are none", with(&[("oth", "[]")]), P::Claim("oth").into()),
        (
            "by another key",
            stranger.token(r#"{"alg":"ES256","typ":"wpt+jwt"}"#, svids.claims(&wit, &[])),
            Reason::Wit(wit::Error::Proof),
        ),
    ];
    for (name, proof, reason) in cases {
        refused(name, svids.get(&wit, &proof), &reason, BAD);
    }
    assert!(svids.get(&wit, &with(&[("exp", "1800000065")])).is_ok(), "as long as it may");
    let tth = format!(r#""{}""#, TokenHash::of("txn"));
    let txn = |proof: &str, transactions: &[&str]| svids.ask(&[&wit], &[proof], transactions, now());
    refused("a transaction without its hash", txn(&with(&[]), &["txn"]), &P::NoTransactionHash.into(), BAD);
    let another = txn(&with(&[("tth", &tth)]), &["txn2"]);
    refused("another transaction", another, &P::OtherTransactionToken.into(), BAD);
    let two = txn(&with(&[("tth", &tth)]), &["txn", "txn"]);
    refused("two transactions", two, &Reason::WorkloadHeaders, BAD);
}

#[test]
fn a_wit_svid_that_is_not_good_here_is_refused() {
    let svids = Svids::new();
    let get = |wit: &str| svids.get(wit, &svids.proof(wit, &[]));
    let key = svids.workload.jwk();
    let stranger = Key::new("w1", Algorithm::Es256);
    let foreign = Id::parse("spiffe://other.org/crew").unwrap();
    let jwk = |more: &str| format!(r#"{{"jwk":{}}}"#, key.to_json().replace('}', &format!("{more}}}")));
    let w = Reason::Wit;
    let cases = [
        ("a JWT-SVID", get(&svids.jwt(&[AUDIENCE])), w(wit::Error::Type), BAD),
        ("an access token", get(&svids.world.token()), w(wit::Error::Type), BAD),
        (
            "by another's key",
            get(&svids.wit_of(&id("crew"), &stranger, seconds(9))),
            w(wit::Error::Token(J::Signature)),
            BAD,
        ),
        (
            "by the key of JWT-SVIDs",
            get(&svids.wit_of(&id("crew"), &svids.jwt_key, seconds(9))),
            w(wit::Error::UnknownKey),
            BAD,
        ),
        (
            "of no key",
            get(&svids.wit_of(&id("crew"), &Key::new("w2", Algorithm::Es256), seconds(9))),
            w(wit::Error::UnknownKey),
            BAD,
        ),
        (
            "of another trust domain",
            get(&svids.wit_of(&foreign, &svids.wit_key, seconds(9))),
            w(wit::Error::NoBundle(foreign.trust_domain())),
            BAD,
        ),
        ("with an audience", get(&svids.wit_with(&[("aud", "[]")])), w(wit::Error::Audience), BAD),
        ("without a key", get(&svids.wit_with(&[("cnf", "{}")])), w(wit::Error::NoConfirmation), BAD),
        ("with a key's name", get(&svids.wit_with(&[("cnf", r#"{"jkt":"a"}"#)])), w(wit::Error::NoConfirmation), BAD),
        (
            "its key names no algorithm",
            get(&svids.wit_with(&[("cnf", &jwk(""))])),
            w(wit::Error::ConfirmationAlgorithm),
            BAD,
        ),
        (
            "its key is private",
            get(&svids.wit_with(&[("cnf", &jwk(r#","alg":"ES256","d":"AA""#))])),
            w(wit::Error::ConfirmationKey(KeyError::Private("d"))),
            BAD,
        ),
        ("without iat", get(&svids.wit_with(&[("iat", "")])), Reason::SvidClaim("iat"), BAD),
        ("of a time to come", get(&svids.wit_with(&[("iat", "1800000006")])), Reason::SvidClaim("iat"), BAD),
        (
            "of a time without end",
            get(&svids.wit_with(&[("iat", "18446744073709551615")])),
            Reason::SvidClaim("iat"),
            BAD,
        ),
        ("of nobody", get(&svids.wit_of(&id("nobody"), &svids.wit_key, seconds(9))), Reason::NoAgent, FORBIDDEN),
        (
            "of an agent that is gone",
            get(&svids.wit_of(&id("ghost"), &svids.wit_key, seconds(9))),
            Reason::Agent(AgentState::Unknown),
            FORBIDDEN,
        ),
    ];
    for (name, outcome, reason, wanted) in cases {
        refused(name, outcome, &reason, wanted);
    }
    let short = svids.wit_of(&id("crew"), &svids.wit_key, seconds(10));
    let late = |later: u64| {
        let exp = (NOW + later + 20).to_string();
        svids.ask(&[&short], &[&svids.proof(&short, &[("exp", &exp)])], &[], now() + seconds(later))
    };
    assert!(late(9).is_ok());
    refused("expired", late(10), &w(wit::Error::Claim(ClaimError::Expired)), BAD);
}

#[test]
fn what_was_taken_from_an_agent_is_refused_with_its_svids_too() {
    let mut svids = Svids::new();
    let (wit, jwt) = (svids.wit(), svids.jwt(&[AUDIENCE]));
    for state in [AgentState::Suspended, AgentState::Retired] {
        svids.world.known.agent = state;
        refused("WIT", svids.get(&wit, &svids.proof(&wit, &[])), &Reason::Agent(state), FORBIDDEN);
        refused("JWT", svids.bearer(&jwt), &Reason::Agent(state), TOKEN);
    }
    svids.world.known.agent = AgentState::Active;
    for revocation in [Revocation::Key, Revocation::Agent, Revocation::Grant] {
        svids.world.known.revocation = Some(revocation);
        refused("WIT", svids.get(&wit, &svids.proof(&wit, &[])), &Reason::Revoked(revocation), FORBIDDEN);
        refused("JWT", svids.bearer(&jwt), &Reason::Revoked(revocation), TOKEN);
    }
    svids.world.known.revocation = None;
    svids.world.known.granted = Some(Scopes::parse("write").unwrap());
    let scope = Reason::Scope("read".into());
    refused("WIT", svids.get(&wit, &svids.proof(&wit, &[])), &scope, FORBIDDEN);
    refused("JWT", svids.bearer(&jwt), &scope, (403, "insufficient_scope"));
    svids.world.known.granted = None;
    refused("WIT", svids.get(&wit, &svids.proof(&wit, &[])), &Reason::NotGranted, FORBIDDEN);
    refused("JWT", svids.bearer(&jwt), &Reason::NotGranted, FORBIDDEN);
}

#[test]
fn a_proof_token_is_good_once() {
    let svids = Svids::new();
    let wit = svids.wit();
    let (good, again) = (svids.proof(&wit, &[]), Reason::WorkloadProofUse(F::Replay(R::Replayed)));
    // What is refused burns nothing, whoever sent it.
    let (signed, _) = good.rsplit_once('.').unwrap();
    let copy = Key::new("x", Algorithm::Es256).sealed(Algorithm::Es256, signed.to_owned());
    refused("a bad copy", svids.get(&wit, &copy), &Reason::Wit(wit::Error::Proof), BAD);
    assert!(svids.get(&wit, &good).is_ok());
    refused("again", svids.get(&wit, &good), &again, BAD);
    // With another WIT-SVID of the same key.
    let other = svids.wit_of(&id("crew"), &svids.wit_key, seconds(200));
    refused("another WIT-SVID", svids.get(&other, &good), &P::OtherWorkloadToken.into(), BAD);
    let (proof, barrier) = (svids.proof(&wit, &[]), Barrier::new(8));
    let passed: usize = thread::scope(|scope| {
        let one = || {
            barrier.wait();
            usize::from(svids.get(&wit, &proof).is_ok())
        };
        let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(passed, 1);
    refused("at its end", svids.ask(&[&wit], &[&good], &[], now() + seconds(29)), &again, BAD);
    refused("later", svids.ask(&[&wit], &[&good], &[], now() + seconds(30)), &P::Expired.into(), BAD);
}

#[test]
fn after_a_start_a_proof_token_that_may_have_been_used_is_not_taken() {
    let svids = Svids::of(World::with(Settings::default(), now()));
    let wit = svids.wit();
    let ask = |exp: u64, later: u64| {
        let exp = (NOW + exp).to_string();
        svids.ask(&[&wit], &[&svids.proof(&wit, &[("exp", &exp)])], &[], now() + seconds(later))
    };
    let unknown = Reason::WorkloadProofUse(F::Unknown);
    // What was accepted before the start ended 65 seconds after it at the latest.
    refused("at once", ask(30, 0), &unknown, (503, ""));
    refused("as long as it may be", ask(65, 0), &unknown, (503, ""));
    assert!(ask(66, 1).is_ok(), "the process before would not have taken it");
    refused("after half of it", ask(65, 40), &unknown, (503, ""));
    assert!(ask(70, 40).is_ok());
    assert!(ask(96, 66).is_ok());
    // A clock that is set back makes everything unknown again.
    refused("set back", ask(96, 36), &unknown, (503, ""));
    refused("for long", ask(131, 66), &unknown, (503, ""));
    assert!(ask(132, 67).is_ok());
}

#[test]
fn a_store_that_is_full_takes_no_proof_tokens_either() {
    let settings = Settings { entries_max: 3, entries_per_key_max: 2, ..Settings::default() };
    let mut svids = Svids::of(World::with(settings, now() - seconds(3_600)));
    let get = |svids: &Svids| {
        let wit = svids.wit();
        svids.get(&wit, &svids.proof(&wit, &[]))
    };
    assert!(get(&svids).is_ok() && get(&svids).is_ok());
    refused("quota", get(&svids), &Reason::WorkloadProofUse(F::Replay(R::Quota)), (429, ""));
    svids.workload = Key::new("x", Algorithm::Es256);
    assert!(get(&svids).is_ok());
    refused("full", get(&svids), &Reason::WorkloadProofUse(F::Replay(R::Full)), (503, ""));
}

#[test]
fn a_jwt_svid_for_the_tool_alone_passes() {
    let mut svids = Svids::new();
    for takes_certificates in [false, true] {
        svids.world.known.accepts.mtls = takes_certificates;
        svids.world.known.taken = vec![IssuerName::parse("https://idp.test").unwrap()];
        jwt_svids_pass(&svids);
    }
}

fn jwt_svids_pass(svids: &Svids) {
    for token in [svids.jwt(&[AUDIENCE]), svids.jwt_with(&[])] {
        // It is a bearer's: it may come again.
        for scheme in ["Bearer", "bearer", "BEARER "] {
            let verified = svids.world.ask("GET", URL, &[&format!("{scheme} {token}")], &[], now()).unwrap();
            assert_eq!((verified.kind(), verified.agent(), verified.scope()), (Kind::JwtSvid, "crew", "read"));
            assert_eq!((verified.key(), verified.token_id()), (None, None));
            assert_eq!(verified.scopes().to_string(), "read");
        }
    }
}

#[test]
fn a_jwt_svid_that_is_not_good_here_is_refused() {
    let svids = Svids::new();
    let j = Reason::JwtSvid;
    let of = |id: &Id, signer: &Key| svids.bearer(&svids.jwt_of(id, signer, &[AUDIENCE], seconds(9)));
    let (crew, foreign) = (id("crew"), Id::parse("spiffe://other.org/crew").unwrap());
    let stranger = Key::new("j1", Algorithm::Es256);
    let with = |changes: &[(&str, &str)]| svids.bearer(&svids.jwt_with(changes));
    let typed = svids.jwt_key.token(r#"{"alg":"ES256","kid":"j1","typ":"at+jwt"}"#, "{}");
    let cases = [
        ("opaque", svids.bearer("abc"), j(jwt::Error::Token(J::Parts)), TOKEN),
        ("a WIT-SVID", svids.bearer(&svids.wit()), j(jwt::Error::Type), TOKEN),
        ("an access token", svids.bearer(&typed), j(jwt::Error::Type), TOKEN),
        ("an access token of ours", svids.bearer(&svids.world.token()), Reason::Bearer, TOKEN),
        ("for another", svids.bearer(&svids.jwt(&["https://other.example.org"])), j(jwt::Error::Audience), TOKEN),
        (
            "for others too",
            svids.bearer(&svids.jwt(&[AUDIENCE, "https://other.example.org"])),
            Reason::SvidClaim("aud"),
            TOKEN,
        ),
        ("without an audience", with(&[("aud", "")]), j(jwt::Error::AudienceMalformed), TOKEN),
        ("bound to a key", with(&[("cnf", "{}")]), Reason::SvidClaim("cnf"), TOKEN),
        ("without iat", with(&[("iat", "")]), Reason::SvidClaim("iat"), TOKEN),
        ("expired", with(&[("exp", "1800000000")]), j(jwt::Error::Claim(ClaimError::Expired)), TOKEN),
        ("not yet", with(&[("nbf", "1800000001")]), j(jwt::Error::Claim(ClaimError::NotYetValid)), TOKEN),
        ("by another's key", of(&crew, &stranger), j(jwt::Error::Token(J::Signature)), TOKEN),
        ("by the key of WIT-SVIDs", of(&crew, &svids.wit_key), j(jwt::Error::UnknownKey), TOKEN),
        ("of another domain", of(&foreign, &svids.jwt_key), j(jwt::Error::NoBundle(foreign.trust_domain())), TOKEN),
        ("of nobody", of(&id("nobody"), &svids.jwt_key), Reason::NoAgent, TOKEN),
    ];
    for (name, outcome, reason, wanted) in cases {
        refused(name, outcome, &reason, wanted);
    }
}

#[test]
fn a_tool_takes_nothing_that_it_does_not_say() {
    let mut svids = Svids::new();
    let (wit, jwt) = (svids.wit(), svids.jwt(&[AUDIENCE]));
    svids.world.known.accepts = Accepts { jwt_svid: true, ..Accepts::default() };
    let outcome = svids.get(&wit, &svids.proof(&wit, &[]));
    let challenge = outcome.as_ref().unwrap_err().challenge.authenticate.clone().unwrap();
    assert!(challenge.starts_with("Bearer, DPoP algs="), "{challenge}");
    refused("WIT", outcome, &Reason::NotTaken(Kind::Wit), (401, ""));
    assert!(svids.bearer(&jwt).is_ok());
    svids.world.known.accepts = Accepts { wit: true, ..Accepts::default() };
    refused("JWT", svids.bearer(&jwt), &Reason::Bearer, TOKEN);
    assert!(svids.get(&wit, &svids.proof(&wit, &[])).is_ok());
    // Without keys nobody is believed.
    svids.world.known.wit_keys = None;
    let none = Reason::Wit(wit::Error::NoBundle(domain()));
    refused("no keys", svids.get(&wit, &svids.proof(&wit, &[])), &none, BAD);
}

#[test]
fn a_request_has_one_credential() {
    let svids = Svids::new();
    let (wit, jwt, token) = (svids.wit(), svids.jwt(&[AUDIENCE]), svids.world.token());
    let (proof, dpop) = (svids.proof(&wit, &[]), svids.world.proof(&token, &[]));
    let bearer = format!("Bearer {jwt}");
    let access = format!("DPoP {token}");
    let target = Target::parse(URL).unwrap();
    let ask = |authorization: &[&str], proofs: &[&str], wits: &[&str], wpts: &[&str]| {
        let all = [authorization, proofs, wits, wpts]
            .map(|texts| texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
        let [authorization, proofs, wits, wpts] = &all;
        let request = Request {
            authorization,
            proofs,
            workload_tokens: wits,
            workload_proofs: wpts,
            ..Request::new("GET", &target)
        };
        svids.world.verifier.verify(&request, &svids.world.known, now())
    };
    let several = Reason::SeveralCredentials;
    refused("DPoP and WIT", ask(&[&access], &[&dpop], &[&wit], &[&proof]), &several, REQUEST);
    refused("DPoP and a WIT without a proof", ask(&[&access], &[&dpop], &[&wit], &[]), &several, REQUEST);
    refused("DPoP and a proof of a WIT", ask(&[&access], &[&dpop], &[], &[&proof]), &several, REQUEST);
    refused("Bearer and WIT", ask(&[&bearer], &[], &[&wit], &[&proof]), &several, REQUEST);
    refused("WIT and a DPoP proof", ask(&[], &[&dpop], &[&wit], &[&proof]), &several, REQUEST);
    refused("Bearer and a DPoP proof", ask(&[&bearer], &[&dpop], &[], &[]), &several, REQUEST);
    refused("Bearer and DPoP", ask(&[&bearer, &access], &[&dpop], &[], &[]), &several, REQUEST);
    let headers = Reason::WorkloadHeaders;
    refused("a WIT alone", ask(&[], &[], &[&wit], &[]), &headers, BAD);
    refused("its proof alone", ask(&[], &[], &[], &[&proof]), &headers, BAD);
    refused("two WITs", ask(&[], &[], &[&wit, &wit], &[&proof]), &headers, BAD);
    refused("two proofs", ask(&[], &[], &[&wit], &[&proof, &proof]), &headers, BAD);
    refused("the WIT as Authorization", svids.bearer(&wit), &Reason::JwtSvid(jwt::Error::Type), TOKEN);
    // Each alone is good, and nothing of it was burnt.
    assert!(ask(&[], &[], &[&wit], &[&proof]).is_ok());
    assert!(ask(&[&access], &[&dpop], &[], &[]).is_ok());
    assert!(ask(&[&bearer], &[], &[], &[]).is_ok());
}

/// The example of draft-ietf-wimse-wpt, of April 2025.
const DRAFT_WIT: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6Ikp1bmUgNSIsInR5cCI6IndpdCtqd3QifQ.eyJjbmYiOnsiandrIjp7ImFsZyI6IkVkRFNBIiwiY3J2IjoiRWQyNTUxOSIsImt0eSI6Ik9LUCIsIngiOiIxQ1hYdmZsTl9MVlZzSXNZWHNVdkIwM0ptbEdXZUNIcVFWdW91Q0Y5MmJnIn19LCJleHAiOjE3NDU1MTI1MTAsImlhdCI6MTc0NTUwODkxMCwianRpIjoieC1fMUNUTDJjY2EzQ1NFNGN3Yl9sIiwic3ViIjoid2ltc2U6Ly9leGFtcGxlLmNvbS9zcGVjaWZpYy13b3JrbG9hZCJ9.6KraSQUxWdl9dxFQ3Fj6dPY0Vi88OkwFwZpAIOhLeq6AbXAnLLQgOp8U9UDGcBuYF3KiNv6oKQD1ZWAzrMZOJw";
const DRAFT_WPT: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IndwdCtqd3QifQ.eyJhdGgiOiJDTDR3amZwUm1OZi1iZFlJYllMblY5ZDVyTUFSR3dLWUUxMHdVd3pDMGpJIiwiYXVkIjoiaHR0cHM6Ly93b3JrbG9hZC5leGFtcGxlLmNvbS9wYXRoIiwiZXhwIjoxNzQ1NTEwMDE2LCJqdGkiOiJfX2J3YzRFU0MzYWNjMkxUQzEtX3giLCJ3dGgiOiJBYVlVZkMzNEQxZGkyRnhRTHBpSUpKN1NnOFZaNm84T0Nkd1NmOUlUb0xnIn0.PI7d9AcYhLoEgPgbJvcM132lkBKnM1NXU-5hZUzVTIyj2dRJaTLFs6e5NYv5gg6AqcV7NvkYCwfgMgWasWQzCA";

/// Its keys are Ed25519 and its subject is no SPIFFE ID, which no WIT-SVID may have: that is what it is refused for. Its
/// hashes are ours; with another key and subject, its claims are good.
#[test]
fn the_drafts_example_has_our_hashes_and_is_no_wit_svid() {
    assert_eq!(TokenHash::of(DRAFT_WIT).to_string(), "AaYUfC34D1di2FxQLpiIJJ7Sg8VZ6o8OCdwSf9IToLg");
    let access = "CL4wjfpRmNf-bdYIbYLnV9d5rMARGwKYE10wUwzC0jI";
    assert_eq!(TokenHash::of("16_mAd0GiwaZokU26_0902100").to_string(), access);
    assert_eq!(wpt::Unproved::parse(DRAFT_WPT).unwrap_err(), P::Algorithm);
    let at = SystemTime::UNIX_EPOCH + seconds(1_745_510_000);
    let judged = wit::verify(DRAFT_WIT, at, Duration::ZERO, |_| None);
    assert!(matches!(judged, Err(wit::Error::Claim(ClaimError::Id(_)))), "{judged:?}");
    let named = wit::named_key(DRAFT_WIT).unwrap_err();
    assert!(matches!(named, wit::Error::ConfirmationKey(_)), "{named:?}");
    let claims = DRAFT_WPT.split('.').nth(1).and_then(crate::spiffe::jose::decode).unwrap();
    let claims = String::from_utf8(claims).unwrap();
    let key = Key::new("x", Algorithm::Es256);
    let signed = |claims: &str| key.token(r#"{"alg":"ES256","typ":"wpt+jwt"}"#, claims);
    // Beside an access token: a request has one credential here.
    assert_eq!(wpt::Unproved::parse(&signed(&claims)).unwrap_err(), P::AccessToken);
    let alone = signed(&claims.replace(&format!(r#""ath":"{access}","#), ""));
    let target = Target::parse("https://workload.example.com/path").unwrap();
    let expected = wpt::Expected {
        target: &target,
        workload_token: TokenHash::of(DRAFT_WIT),
        transaction_token: None,
        lifetime_max: seconds(60),
        now: at,
    };
    assert_eq!(wpt::Unproved::parse(&alone).unwrap().check(&expected), Ok(()));
}

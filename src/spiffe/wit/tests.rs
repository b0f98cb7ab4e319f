//! WIT-SVIDs, good and bad. Rows bear the numbers of the adversarial table that the project keeps of the standard.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use super::{Bundle, Draft, DraftError, Error as E, Proof, Unproved, Validated, issue, named_key, verify};
use crate::spiffe::{
    ClaimError as C, Id, TrustDomain,
    jose::{
        Algorithm, Error as T, KeyError as K, PrivateJwk, SignError, SigningAlgorithm,
        tests::kit::{Fake, Key, NOW, object, parts, rsa},
    },
    json::{Error as J, Value},
    jwt,
};

const HEADER: &str = r#"{"alg":"ES256","kid":"w1","typ":"wit+jwt"}"#;
const REQUEST: &[u8] = b"\"@method\": GET\n\"@path\": /a";

struct World {
    w1: Key,
    k1: Key,
    workload: Key,
    own: Bundle,
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn bundle(keys: &[&Key]) -> Bundle {
    let keys = keys.iter().map(|key| (key.id.clone(), key.jwk()));
    Bundle::new(TrustDomain::parse("example.org").unwrap(), keys).unwrap()
}

impl World {
    fn new() -> Self {
        let [w1, k1, workload] = ["w1", "k1", "x"].map(|id| Key::new(id, Algorithm::Es256));
        Self { own: bundle(&[&w1]), w1, k1, workload }
    }

    fn cnf(&self) -> String {
        cnf(&self.workload.jwk().for_algorithm(Algorithm::Es256).unwrap().to_json())
    }

    fn claims(&self, changes: &[(&str, &str)]) -> String {
        let cnf = self.cnf();
        let good = [("sub", r#""spiffe://example.org/a""#), ("exp", "1800000300"), ("cnf", &cnf)];
        object(&[&good, changes].concat())
    }

    fn judge(&self, token: &str) -> Result<Unproved, E> {
        verify(token, now(), Duration::from_secs(30), |trust_domain| {
            (trust_domain.as_str() == "example.org").then_some(&self.own)
        })
    }

    /// What comes of a good header with these changes of good claims, given a good proof.
    fn changed(&self, changes: &[(&str, &str)]) -> Result<Validated, E> {
        self.proved(&self.w1.token(HEADER, self.claims(changes)))
    }

    fn header(&self, header: &str) -> Result<Validated, E> {
        self.proved(&self.w1.token(header, self.claims(&[])))
    }

    fn proved(&self, token: &str) -> Result<Validated, E> {
        let signature = self.workload.signature(Algorithm::Es256, REQUEST);
        self.judge(token)?.prove(Proof { message: REQUEST, signature: &signature })
    }
}

fn cnf(jwk: &str) -> String {
    format!(r#"{{"jwk":{jwk}}}"#)
}

#[test]
fn the_adversarial_table_of_good_tokens() {
    let world = World::new();
    let also = |members: &str| world.header(&HEADER.replace('}', &format!(",{members}}}")));
    let accepted = [
        ("ADV-WIT-01 baseline", world.changed(&[])),
        ("ADV-WIT-17 iat ahead", world.changed(&[("iat", "1800000600"), ("nbf", "1799999999")])),
        ("ADV-WIT-18 unknown header, text", also(r#""x":"1""#)),
        ("ADV-WIT-18 unknown header, number", also(r#""x":1"#)),
        ("ADV-WIT-18 unknown header, object", also(r#""x":{"y":[1]}"#)),
        ("ADV-WIT-20 unknown claims", world.changed(&[("x", r#"{"sub":"spiffe://example.org/b"}"#)])),
        ("ADV-WIT-22 iss, and a key of the bundle", world.changed(&[("iss", r#""https://attacker.test""#)])),
        ("WIT-14 exp 5 s ago, leeway 30 s", world.changed(&[("exp", "1799999995")])),
        ("ADV-WIT-24 jti", world.changed(&[("jti", r#""1""#)])),
        ("ADV-WIT-24 the same jti", world.changed(&[("jti", r#""1""#)])),
    ];
    for (name, outcome) in accepted {
        let validated = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(validated.id.as_str(), "spiffe://example.org/a", "{name}");
        assert!(validated.claims.has("cnf"), "{name}");
    }
}

#[test]
fn the_adversarial_table_of_bad_tokens() {
    let world = World::new();
    let typ = |typ: &str| world.header(&HEADER.replace(r#""wit+jwt""#, typ));
    let kid = |kid: &str| world.header(&HEADER.replace(r#""w1""#, kid));
    let alg = |alg: &str| world.header(&HEADER.replace(r#""ES256""#, alg));
    let claim = |name: &str, value: &str| world.changed(&[(name, value)]);
    let bare = world.workload.jwk().to_json();
    let jwk = |members: &str| claim("cnf", &cnf(&bare.replace('}', &format!(",{members}}}"))));
    let p384 = Key::new("x", Algorithm::Es384).jwk().to_json().replace('}', r#","alg":"ES256"}"#);
    let off = bare.replace(r#""y":""#, r#""y":"A"#);
    let twice = format!(r#"{{"cnf":{0},"cnf":{0}}}"#, world.cnf());
    let refused: Vec<(&str, Result<_, E>, E)> = vec![
        ("ADV-WIT-03 typ missing", world.header(r#"{"alg":"ES256","kid":"w1"}"#), E::Type),
        ("ADV-WIT-03 JWT", typ(r#""JWT""#), E::Type),
        ("ADV-WIT-03 WIT+JWT", typ(r#""WIT+JWT""#), E::Type),
        ("ADV-WIT-03 application/", typ(r#""application/wit+jwt""#), E::Type),
        ("ADV-WIT-04 kid missing", world.header(r#"{"alg":"ES256","typ":"wit+jwt"}"#), E::NoKeyId),
        ("ADV-WIT-04 kid empty", kid(r#""""#), T::KeyId.into()),
        ("ADV-WIT-04 kid in another case", kid(r#""W1""#), E::UnknownKey),
        (
            "ADV-WIT-05 the JWT key",
            world.proved(&world.k1.token(HEADER.replace("w1", "k1"), world.claims(&[]))),
            E::UnknownKey,
        ),
        ("ADV-WIT-05 the JWT key as w1", world.proved(&world.k1.token(HEADER, world.claims(&[]))), T::Signature.into()),
        ("ADV-WIT-06 EdDSA", alg(r#""EdDSA""#), T::Algorithm.into()),
        ("ADV-WIT-06 none", alg(r#""none""#), T::Algorithm.into()),
        ("ADV-WIT-06 HS256", alg(r#""HS256""#), T::Algorithm.into()),
        ("ADV-WIT-07 cnf missing", claim("cnf", ""), E::NoConfirmation),
        ("ADV-WIT-07 cnf text", claim("cnf", r#""x""#), E::NoConfirmation),
        ("ADV-WIT-07 cnf {}", claim("cnf", "{}"), E::NoConfirmation),
        ("ADV-WIT-07 only jkt", claim("cnf", r#"{"jkt":"x"}"#), E::NoConfirmation),
        ("ADV-WIT-07 only kid", claim("cnf", r#"{"kid":"x"}"#), E::NoConfirmation),
        ("ADV-WIT-08 private", jwk(r#""alg":"ES256","d":"AA""#), E::ConfirmationKey(K::Private("d"))),
        ("ADV-WIT-09 symmetric", claim("cnf", &cnf(r#"{"kty":"oct","k":"AA"}"#)), E::ConfirmationKey(K::Symmetric)),
        ("ADV-WIT-10 alg missing", claim("cnf", &cnf(&bare)), E::ConfirmationAlgorithm),
        ("ADV-WIT-10 alg EdDSA", jwk(r#""alg":"EdDSA""#), E::ConfirmationKey(K::Algorithm)),
        ("ADV-WIT-10 alg number", jwk(r#""alg":256"#), E::ConfirmationKey(K::Algorithm)),
        ("WIT-10 alg RS256 of EC", jwk(r#""alg":"RS256""#), E::ConfirmationKey(K::Algorithm)),
        ("ADV-WIT-11 P-384 as ES256", claim("cnf", &cnf(&p384)), E::ConfirmationKey(K::Algorithm)),
        (
            "ADV-WIT-12 off the curve",
            claim("cnf", &cnf(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#, "A".repeat(43)))),
            E::ConfirmationKey(K::Point),
        ),
        ("ADV-WIT-12 width", claim("cnf", &cnf(&bare.replace("P-256", "P-384"))), E::ConfirmationKey(K::Width)),
        ("ADV-WIT-12 one character more", claim("cnf", &cnf(&off)), E::ConfirmationKey(K::Width)),
        ("ADV-WIT-13 aud", claim("aud", r#""x""#), E::Audience),
        ("ADV-WIT-14 aud []", claim("aud", "[]"), E::Audience),
        ("ADV-WIT-14 aud null", claim("aud", "null"), E::Audience),
        ("ADV-WIT-15 exp missing", claim("exp", ""), C::ExpiryMissing.into()),
        ("ADV-WIT-15 exp 3 min ago", claim("exp", "1799999820"), C::Expired.into()),
        ("ADV-WIT-16 nbf in 10 min", claim("nbf", "1800000600"), C::NotYetValid.into()),
        ("ADV-WIT-19 crit", world.header(&HEADER.replace('}', r#","crit":["x"],"x":1}"#)), T::Header("crit").into()),
        ("ADV-WIT-21 wimse", claim("sub", r#""wimse://example.org/a""#), C::Id(crate::spiffe::IdError::Scheme).into()),
        ("WIT-07 sub missing", claim("sub", ""), C::Subject.into()),
        (
            "ADV-WIT-22 the key of an iss",
            world.proved(
                &Key::new("w1", Algorithm::Es256).token(HEADER, world.claims(&[("iss", r#""https://attacker.test""#)])),
            ),
            T::Signature.into(),
        ),
        (
            "unknown trust domain",
            claim("sub", r#""spiffe://other.test/a""#),
            E::NoBundle(TrustDomain::parse("other.test").unwrap()),
        ),
        (
            "ADV-WIT-25 two cnf",
            world.proved(&world.w1.token(HEADER, twice)),
            T::Json { part: "payload", source: J::Repeated }.into(),
        ),
        (
            "ADV-WIT-25 two members in cnf.jwk",
            jwk(r#""alg":"ES256","crv":"P-256""#),
            T::Json { part: "payload", source: J::Repeated }.into(),
        ),
    ];
    for (name, outcome, reason) in refused {
        assert_eq!(outcome, Err(reason), "{name}");
    }
    let mut world = world;
    let good = world.w1.token(HEADER, world.claims(&[]));
    // A lookup that mixes its bundles up is not believed.
    let mixed = Bundle::new(TrustDomain::parse("other.test").unwrap(), [("w1".to_owned(), world.w1.jwk())]).unwrap();
    let refused = verify(&good, now(), Duration::ZERO, |_| Some(&mixed));
    assert!(matches!(refused, Err(E::NoBundle(name)) if name.as_str() == "example.org"), "another domain's bundle");
    world.own = bundle(&[]);
    let empty = E::EmptyBundle(TrustDomain::parse("example.org").unwrap());
    assert_eq!(world.proved(&good), Err(empty), "WIT-23 unsupported");
}

/// ADV-WIT-02. That there is no identity without a proof at all is in the types: `Unproved` has a key, and no id.
#[test]
fn a_proof_is_by_this_key_and_for_this_request() {
    let world = World::new();
    let token = world.w1.token(HEADER, world.claims(&[]));
    let prove = |key: &Key, message: &[u8]| {
        let signature = key.signature(Algorithm::Es256, message);
        world.judge(&token).unwrap().prove(Proof { message: REQUEST, signature: &signature })
    };
    assert!(prove(&world.workload, REQUEST).is_ok());
    assert_eq!(prove(&world.w1, REQUEST), Err(E::Proof), "ADV-WIT-02 by the issuer's key");
    assert_eq!(prove(&Key::new("x", Algorithm::Es256), REQUEST), Err(E::Proof), "ADV-WIT-02 by another key");
    assert_eq!(prove(&world.workload, b"\"@path\": /b"), Err(E::Proof), "ADV-WIT-02 for another request");
    let unproved = world.judge(&token).unwrap();
    assert!(unproved.key().is_same_key(&world.workload.jwk()));
    assert_eq!(format!("{unproved:?}"), "Unproved(..)");
    assert_eq!(unproved.prove(Proof { message: REQUEST, signature: b"" }), Err(E::Proof), "ADV-WIT-02 none");
}

/// WIT-09: the algorithm of a proof is the one that the key names, not any that the key could do.
#[test]
fn the_key_fixes_the_algorithm_of_its_proof() {
    let world = World::new();
    let jwk = rsa().jwk().for_algorithm(Algorithm::Ps256).unwrap().to_json();
    let token = world.w1.token(HEADER, world.claims(&[("cnf", &cnf(&jwk))]));
    let prove = |algorithm| {
        let signature = rsa().signature(algorithm, REQUEST);
        world.judge(&token).unwrap().prove(Proof { message: REQUEST, signature: &signature }).map(|_| ())
    };
    assert_eq!(prove(Algorithm::Ps256), Ok(()));
    assert_eq!(prove(Algorithm::Rs256), Err(E::Proof));
    assert_eq!(prove(Algorithm::Ps384), Err(E::Proof));
}

#[test]
fn nine_algorithms_sign_these_tokens_too() {
    let mut world = World::new();
    for algorithm in Algorithm::ALL {
        let made = Key::new("w1", algorithm);
        let key = if made.jwk().admits(Algorithm::Rs256) { rsa() } else { &made };
        world.own = bundle(&[key]);
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{}","typ":"wit+jwt"}}"#, key.id);
        assert!(world.proved(&key.token_by(algorithm, header, world.claims(&[]))).is_ok(), "WIT-04 {algorithm}");
    }
}

/// WIT-11: header `alg`, `typ`, `kid`, claims `sub`, `exp`, `cnf` with `cnf.jwk.alg` are enough, and none is too many.
#[test]
fn a_token_has_exactly_these_members_in_this_order() {
    let world = World::new();
    let private = PrivateJwk::from_pkcs8(SigningAlgorithm::Es256, &world.workload.pkcs8()).unwrap();
    let id = Id::parse("spiffe://example.org/a").unwrap();
    let at = now() + Duration::from_millis(700);
    let draft =
        Draft { id: &id, key: private.public(), token_id: [0xff; 16], expires_at: now() + Duration::from_secs(300) };
    let token = issue(&draft, &world.w1, at).unwrap();
    let parts = parts(&token);
    assert_eq!(parts[0], HEADER.as_bytes());
    let wanted = format!(
        r#"{{"sub":"spiffe://example.org/a","exp":1800000300,"iat":{NOW},"jti":"_____________________w","cnf":{}}}"#,
        world.cnf()
    );
    assert_eq!(String::from_utf8(parts[1].clone()).unwrap(), wanted);
    assert_eq!(world.proved(&token).unwrap().id, id);
    // It is no JWT-SVID.
    let keys = jwt::Bundle::new(id.trust_domain(), [("w1".to_owned(), world.w1.jwk())]).unwrap();
    let expected = jwt::Expected { audience: "aud1", now: now(), leeway: Duration::ZERO };
    assert_eq!(jwt::validate(&token, &expected, |_| Some((&keys).into())), Err(jwt::Error::Type), "WIT-21");
}

#[test]
fn a_bad_draft_is_not_signed() {
    let world = World::new();
    let id = Id::parse("spiffe://example.org/a").unwrap();
    let fake = Fake { id: "w1", answer: None, asked: Mutex::new(0) };
    let named = world.workload.jwk().for_algorithm(Algorithm::Es256).unwrap();
    let (key, expires_at) = (world.workload.jwk(), now() + Duration::from_secs(300));
    let draft = Draft { id: &id, key: &key, token_id: [1; 16], expires_at };
    assert_eq!(issue(&draft, &fake, now()), Err(DraftError::Algorithm));
    let draft = Draft { id: &id, key: &named, token_id: [1; 16], expires_at: now() };
    assert_eq!(issue(&draft, &fake, now()), Err(DraftError::Time));
    assert_eq!(*fake.asked.lock().unwrap(), 0);
    let draft = Draft { id: &id, key: &named, token_id: [1; 16], expires_at };
    assert_eq!(issue(&draft, &fake, now()), Err(DraftError::Sign(SignError::NoSignature)));
    // WIT-12: what tells tokens apart is what the caller has drawn.
    let ids = [[1; 16], [2; 16]].map(|token_id| {
        let token = issue(&Draft { token_id, ..draft }, &world.w1, now()).unwrap();
        let claims = world.proved(&token).unwrap().claims;
        claims.member("jti").and_then(Value::as_str).unwrap().to_owned()
    });
    assert_eq!(BTreeSet::from(ids).len(), 2);
}

#[test]
fn a_holder_finds_the_key_that_his_token_names() {
    let world = World::new();
    let token = world.w1.token(HEADER, world.claims(&[]));
    assert!(named_key(&token).unwrap().is_same_key(&world.workload.jwk()));
    let without = world.w1.token(HEADER, world.claims(&[("cnf", "{}")]));
    assert_eq!(named_key(&without), Err(E::NoConfirmation));
    assert!(matches!(named_key("a.b"), Err(E::Token(_))));
}

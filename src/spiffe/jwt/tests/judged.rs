//! Every row of ADV-JWT.

use std::time::Duration;

use super::world::{HEADER, World, bundle, claims, signed};
use crate::spiffe::{
    ClaimError as C, IdError, TrustDomain,
    jose::{
        Algorithm, Error as T, KeyError, TOKEN_BYTES_MAX, encode,
        tests::kit::{Key, parts, rsa},
    },
    json::Error as J,
    jwt::{AUDIENCES_MAX, Bundle, Error as E, KEY_TRIALS_MAX, UnknownHeaders},
    tests::REFUSED,
};

fn broken(part: &'static str, source: J) -> E {
    T::Json { part, source }.into()
}

fn with_header(members: &str) -> String {
    HEADER.replace('}', &format!(",{members}}}"))
}

#[test]
fn the_adversarial_table_of_good_tokens() {
    let world = World::new();
    let accepted = [
        ("ADV-JWT-01 baseline", world.claims(&[])),
        ("ADV-JWT-11 no kid", world.header(r#"{"alg":"ES256","typ":"JWT"}"#)),
        ("ADV-JWT-20 typ JOSE", world.header(r#"{"alg":"ES256","kid":"k1","typ":"JOSE"}"#)),
        ("ADV-JWT-20 no typ", world.header(r#"{"alg":"ES256","kid":"k1"}"#)),
        ("ADV-JWT-36 aud is a text", world.claims(&[("aud", r#""aud1""#)])),
        ("ADV-JWT-37 aud among others", world.claims(&[("aud", r#"["x","aud1"]"#)])),
        ("ADV-JWT-44 exp with a fraction", world.claims(&[("exp", "1800000000.5")])),
        ("exp with an exponent", world.claims(&[("exp", "1.8000003e9")])),
        ("exp in the last second of 9999", world.claims(&[("exp", "253402300799")])),
        ("ADV-JWT-47 iat ahead", world.claims(&[("iat", "1800000600")])),
        ("nbf now", world.claims(&[("nbf", "1800000000")])),
        ("unknown claims", world.claims(&[("https://example.org/x", r#"{"a":[1,null]}"#)])),
    ];
    for (name, outcome) in accepted {
        let validated = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(validated.id.as_str(), "spiffe://example.org/a", "{name}");
        assert!(validated.claims.has("aud"), "{name}");
    }
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"r1"}}"#);
        let token = rsa().token_by(Algorithm::named(algorithm).unwrap(), header, claims(&[]));
        assert!(world.judge(&token).is_ok(), "ADV-JWT-10 {algorithm} by the RSA key");
    }
    let foreign = world.o1.token(r#"{"alg":"ES256","kid":"o1"}"#, claims(&[("sub", r#""spiffe://other.test/b""#)]));
    assert_eq!(world.judge(&foreign).unwrap().id.trust_domain_name(), "other.test");
    let token = world.k1.token(HEADER, claims(&[]));
    for _ in 0..1000 {
        assert!(world.judge(&token).is_ok(), "ADV-JWT-67 the same token again");
    }
}

#[test]
fn the_adversarial_table_of_algorithms_and_headers() {
    let world = World::new();
    let alg = |alg: &str| world.header(&format!(r#"{{"alg":{alg},"kid":"k1","typ":"JWT"}}"#));
    let typ = |typ: &str| world.header(&format!(r#"{{"alg":"ES256","kid":"k1","typ":{typ}}}"#));
    let kid = |kid: &str| world.header(&format!(r#"{{"alg":"ES256","kid":{kid}}}"#));
    let also = |members: &str| world.header(&with_header(members));
    let own_jwk = Key::new("x", Algorithm::Es256).jwk().to_json();
    let refused: Vec<(&str, Result<_, E>, E)> = vec![
        (
            "ADV-JWT-02 none",
            world.judge(&format!("{}.", signed(r#"{"alg":"none"}"#, &claims(&[])))),
            T::Algorithm.into(),
        ),
        ("ADV-JWT-02 none, signed", alg(r#""none""#), T::Algorithm.into()),
        ("ADV-JWT-03 None", alg(r#""None""#), T::Algorithm.into()),
        ("ADV-JWT-03 nOnE", alg(r#""nOnE""#), T::Algorithm.into()),
        ("ADV-JWT-03 NONE", alg(r#""NONE""#), T::Algorithm.into()),
        ("ADV-JWT-06 EdDSA", alg(r#""EdDSA""#), T::Algorithm.into()),
        ("ADV-JWT-06 ES256K", alg(r#""ES256K""#), T::Algorithm.into()),
        ("ADV-JWT-06 RS1", alg(r#""RS1""#), T::Algorithm.into()),
        ("alg in lower case", alg(r#""es256""#), T::Algorithm.into()),
        ("ADV-JWT-07 alg missing", world.header(r#"{"kid":"k1"}"#), T::Algorithm.into()),
        ("ADV-JWT-07 alg null", alg("null"), T::Algorithm.into()),
        ("ADV-JWT-07 alg number", alg("256"), T::Algorithm.into()),
        ("ADV-JWT-07 alg array", alg(r#"["ES256"]"#), T::Algorithm.into()),
        ("ADV-JWT-08 ES384 with a P-256 key", alg(r#""ES384""#), T::KeyMismatch.into()),
        ("ADV-JWT-09 RS256 with an EC key", alg(r#""RS256""#), T::KeyMismatch.into()),
        ("ADV-JWT-12 kid unknown", kid(r#""k9""#), E::UnknownKey),
        ("ADV-JWT-13 kid empty", kid(r#""""#), T::KeyId.into()),
        ("ADV-JWT-13 kid a number", kid("1"), T::KeyId.into()),
        ("ADV-JWT-13 kid null", kid("null"), T::KeyId.into()),
        ("ADV-JWT-13 kid a path", kid(r#""../../k1""#), E::UnknownKey),
        ("ADV-JWT-13 kid in another case", kid(r#""K1""#), E::UnknownKey),
        ("ADV-JWT-21 jwt", typ(r#""jwt""#), E::Type),
        ("ADV-JWT-21 at+jwt", typ(r#""at+jwt""#), E::Type),
        ("ADV-JWT-21 wit+jwt", typ(r#""wit+jwt""#), E::Type),
        ("ADV-JWT-21 empty", typ(r#""""#), E::Type),
        ("ADV-JWT-21 number", typ("5"), T::Type.into()),
        ("ADV-JWT-22 crit exp", also(r#""crit":["exp"]"#), T::Header("crit").into()),
        ("ADV-JWT-22 crit empty", also(r#""crit":[]"#), T::Header("crit").into()),
        ("ADV-JWT-22 crit b64", also(r#""crit":["b64"],"b64":false"#), T::Header("crit").into()),
        ("ADV-JWT-22 b64 alone", also(r#""b64":false"#), T::Header("b64").into()),
        ("zip", also(r#""zip":"DEF""#), T::Header("zip").into()),
        ("ADV-JWT-24 jku", also(r#""jku":"https://canary.test/k""#), T::Header("jku").into()),
        ("ADV-JWT-24 x5u", also(r#""x5u":"https://canary.test/k""#), T::Header("x5u").into()),
        ("ADV-JWT-25 x5c", also(r#""x5c":["MIIB"]"#), T::Header("x5c").into()),
        ("ADV-JWT-23 jwk", also(&format!(r#""jwk":{own_jwk}"#)), T::Header("jwk").into()),
        ("ADV-JWT-26 foo", also(r#""foo":1"#), E::UnknownHeader),
        ("ADV-JWT-27 alg twice", also(r#""alg":"ES256""#), broken("header", J::Repeated)),
        ("ADV-JWT-63 nested", also(r#""cty":"JWT""#), E::UnknownHeader),
        ("ADV-JWT-63 JWE's enc", also(r#""enc":"A128GCM""#), T::Header("enc").into()),
    ];
    for (name, outcome, reason) in refused {
        assert_eq!(outcome, Err(reason), "{name}");
    }
    let long = kid(&format!(r#""{}""#, "k".repeat(1 << 20)));
    assert!(matches!(long, Err(E::Token(T::TooLong { .. }))), "ADV-JWT-13 kid of 1 MiB: {long:?}");
}

/// ADV-JWT-04 and 05: a MAC whose secret everybody knows. No algorithm of that kind can be named.
#[test]
fn a_mac_by_a_public_key_is_no_signature() {
    use aws_lc_rs::hmac;
    let world = World::new();
    let der = world.k1.public_der();
    let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", der.clone()));
    let secrets: [(&str, &[u8]); 3] =
        [("ADV-JWT-04 by the PEM", pem.as_bytes()), ("ADV-JWT-04 by the DER", &der), ("ADV-JWT-05 by nothing", b"")];
    for (name, secret) in secrets {
        let signed = signed(r#"{"alg":"HS256","kid":"k1","typ":"JWT"}"#, &claims(&[]));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        let token = format!("{signed}.{}", encode(tag.as_ref()));
        assert_eq!(world.judge(&token), Err(T::Algorithm.into()), "{name}");
        // The same bytes under an honest name are no signature either.
        let token = token.replacen(&encode(br#"{"alg":"HS256","#), &encode(br#"{"alg":"ES256","#), 1);
        assert_eq!(world.judge(&token), Err(T::Signature.into()), "{name}, renamed");
    }
}

#[test]
fn the_adversarial_table_of_keys_and_trust_domains() {
    let mut world = World::new();
    let in_other = [("sub", r#""spiffe://other.test/b""#)];
    let header = |kid: &str| format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
    let no_bundle = |name: &str| E::NoBundle(TrustDomain::parse(name).unwrap());
    let root = Key::new("k1", Algorithm::Es256);
    let refused: Vec<(&str, String, E)> = vec![
        ("ADV-JWT-14 kid of another domain's key", world.o1.token(header("o1"), claims(&[])), E::UnknownKey),
        ("ADV-JWT-15 signed by another domain", world.o1.token(header("k1"), claims(&[])), T::Signature.into()),
        ("ADV-JWT-16 the WIT key", world.w1.token(header("w1"), claims(&[])), E::UnknownKey),
        ("ADV-JWT-16 the WIT key without kid", world.w1.token(r#"{"alg":"ES256"}"#, claims(&[])), T::Signature.into()),
        ("ADV-JWT-17 the root's key", root.token(header("k1"), claims(&[])), T::Signature.into()),
        ("own key, other's subject", world.k1.token(header("k1"), claims(&in_other)), E::UnknownKey),
        (
            "ADV-JWT-18 unknown domain",
            world.k1.token(header("k1"), claims(&[("sub", r#""spiffe://nowhere.test/a""#)])),
            no_bundle("nowhere.test"),
        ),
    ];
    for (name, token, reason) in refused {
        assert_eq!(world.judge(&token), Err(reason), "{name}");
    }
    let foreign = world.o1.token(header("o1"), claims(&in_other));
    assert!(world.judge(&foreign).is_ok());
    world.federated = false;
    assert_eq!(world.judge(&foreign), Err(no_bundle("other.test")), "ADV-JWT-19 not federated");
    world.federated = true;
    // A lookup that mixes its bundles up is not believed either.
    world.other = bundle("third.test", &[&world.o1]);
    assert_eq!(world.judge(&foreign), Err(no_bundle("other.test")), "another domain's bundle");
    world.other = bundle("other.test", &[]);
    let empty = E::EmptyBundle(TrustDomain::parse("other.test").unwrap());
    assert_eq!(world.judge(&foreign), Err(empty), "ADV-JWT-65 everything revoked");
    let own = world.k1.token(HEADER, claims(&[]));
    world.own = bundle("example.org", &[&world.o1]);
    assert_eq!(world.judge(&own), Err(E::UnknownKey), "ADV-JWT-64 key removed");
    // ADV-JWT-52: a short key does not come into any bundle.
    let short = format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, encode(&[0xff; 128]));
    assert_eq!(crate::spiffe::jose::Jwk::parse(short.as_bytes()), Err(KeyError::RsaSize), "ADV-JWT-52");
}

#[test]
fn the_adversarial_table_of_claims() {
    let world = World::new();
    let claim = |name: &str, value: &str| world.claims(&[(name, value)]);
    let twice = |members: &str| world.payload(claims(&[]).replacen('}', &format!(",{members}}}"), 1));
    let refused: Vec<(&str, Result<_, E>, E)> = vec![
        (
            "ADV-JWT-28 sub twice, good first",
            twice(r#""sub":"spiffe://example.org/b""#),
            broken("payload", J::Repeated),
        ),
        (
            "ADV-JWT-28 sub twice, good last",
            world.payload(claims(&[]).replacen('{', r#"{"sub":"spiffe://example.org/b","#, 1)),
            broken("payload", J::Repeated),
        ),
        ("ADV-JWT-29 aud twice", twice(r#""aud":["aud1"]"#), broken("payload", J::Repeated)),
        ("ADV-JWT-29 exp twice", twice(r#""exp":1800000300"#), broken("payload", J::Repeated)),
        ("ADV-JWT-30 private claim twice", twice(r#""x":{"y":1,"y":2}"#), broken("payload", J::Repeated)),
        ("ADV-JWT-31 sub missing", claim("sub", ""), C::Subject.into()),
        ("ADV-JWT-31 sub null", claim("sub", "null"), C::Subject.into()),
        ("ADV-JWT-31 sub array", claim("sub", r#"["spiffe://example.org/a"]"#), C::Subject.into()),
        ("ADV-JWT-31 sub number", claim("sub", "1"), C::Subject.into()),
        ("ADV-JWT-32 sub without path", claim("sub", r#""spiffe://example.org""#), C::Id(IdError::PathMissing).into()),
        ("ADV-JWT-34 aud missing", claim("aud", ""), E::AudienceMalformed),
        ("ADV-JWT-35 aud []", claim("aud", "[]"), E::AudienceMalformed),
        ("ADV-JWT-35 aud empty text", claim("aud", r#""""#), E::AudienceMalformed),
        ("ADV-JWT-35 aud null", claim("aud", "null"), E::AudienceMalformed),
        ("ADV-JWT-35 aud 5", claim("aud", "5"), E::AudienceMalformed),
        ("ADV-JWT-35 aud [5]", claim("aud", "[5]"), E::AudienceMalformed),
        ("ADV-JWT-35 aud good and 5", claim("aud", r#"["aud1",5]"#), E::AudienceMalformed),
        ("ADV-JWT-35 aud object", claim("aud", r#"{"aud1":1}"#), E::AudienceMalformed),
        ("JWT-11 aud [[x]]", claim("aud", r#"[["aud1"]]"#), E::AudienceMalformed),
        ("ADV-JWT-38 AUD1", claim("aud", r#""AUD1""#), E::Audience),
        ("ADV-JWT-38 blank behind", claim("aud", r#""aud1 ""#), E::Audience),
        ("ADV-JWT-38 slash behind", claim("aud", r#""aud1/""#), E::Audience),
        ("ADV-JWT-38 longer in front", claim("aud", r#""xaud1""#), E::Audience),
        ("ADV-JWT-38 shorter", claim("aud", r#"["aud"]"#), E::Audience),
        ("ADV-JWT-40 exp missing", claim("exp", ""), C::ExpiryMissing.into()),
        ("ADV-JWT-40 exp null", claim("exp", "null"), C::Time("exp").into()),
        ("ADV-JWT-40 exp text", claim("exp", r#""1800000300""#), C::Time("exp").into()),
        ("ADV-JWT-40 exp true", claim("exp", "true"), C::Time("exp").into()),
        ("ADV-JWT-41 exp a second ago", claim("exp", "1799999999"), C::Expired.into()),
        ("ADV-JWT-42 exp now", claim("exp", "1800000000"), C::Expired.into()),
        ("ADV-JWT-45 exp 1e300", claim("exp", "1e300"), C::Time("exp").into()),
        ("ADV-JWT-45 exp 2^63", claim("exp", "9223372036854775808"), C::Time("exp").into()),
        ("ADV-JWT-45 exp 2^64", claim("exp", "18446744073709551616"), C::Time("exp").into()),
        ("ADV-JWT-45 exp -1", claim("exp", "-1"), C::Time("exp").into()),
        ("ADV-JWT-45 exp -0.5", claim("exp", "-0.5"), C::Time("exp").into()),
        ("ADV-JWT-45 exp 0", claim("exp", "0"), C::Expired.into()),
        ("exp not finite", claim("exp", "1e999"), broken("payload", J::Number)),
        ("exp in the year 10000", claim("exp", "253402300800"), C::Time("exp").into()),
        ("ADV-JWT-46 nbf ahead", claim("nbf", "1800000600"), C::NotYetValid.into()),
        ("nbf text", claim("nbf", r#""1""#), C::Time("nbf").into()),
        ("ADV-JWT-59 payload array", world.payload("[]"), T::NotObject("payload").into()),
        ("ADV-JWT-59 payload text", world.payload(r#""a""#), T::NotObject("payload").into()),
        ("ADV-JWT-59 payload null", world.payload("null"), T::NotObject("payload").into()),
        ("ADV-JWT-59 payload trailing", world.payload(claims(&[]) + "x"), broken("payload", J::Trailing)),
        (
            "ADV-JWT-59 payload BOM",
            world.payload("\u{feff}".to_owned() + &claims(&[])),
            broken("payload", J::ByteOrderMark),
        ),
        ("ADV-JWT-59 header array", world.header("[]"), T::NotObject("header").into()),
        ("ADV-JWT-59 header text", world.header(r#""a""#), T::NotObject("header").into()),
        ("ADV-JWT-59 header null", world.header("null"), T::NotObject("header").into()),
        ("ADV-JWT-59 header trailing", world.header(&format!("{HEADER}}}")), broken("header", J::Trailing)),
        ("ADV-JWT-59 header BOM", world.header(&format!("\u{feff}{HEADER}")), broken("header", J::ByteOrderMark)),
        ("ADV-JWT-60 not UTF-8", world.payload(b"{\"a\":\"\xff\"}"), broken("payload", J::NotUtf8)),
        ("ADV-JWT-61 deep", world.payload("[".repeat(10_000)), broken("payload", J::TooDeep)),
    ];
    for (name, outcome, reason) in refused {
        assert_eq!(outcome, Err(reason), "{name}");
    }
    for (row, id, reason) in REFUSED {
        let sub = serde_json::to_string(id).unwrap();
        assert_eq!(claim("sub", &sub), Err(C::Id(*reason).into()), "ADV-JWT-33 ADV-ID-{row:02} {id:?}");
    }
}

#[test]
fn audiences_are_counted_before_they_are_compared() {
    let world = World::new();
    let many = |count: usize| {
        let list = vec![r#""aud1""#; count].join(",");
        world.claims(&[("aud", &format!("[{list}]"))])
    };
    assert!(many(AUDIENCES_MAX).is_ok());
    assert_eq!(many(AUDIENCES_MAX + 1), Err(E::TooManyAudiences(33)));
    // ADV-JWT-39: ten thousand do not fit into a token at all, unless they are empty.
    assert!(matches!(many(10_000), Err(E::Token(T::TooLong { .. }))));
    let ones = world.claims(&[("aud", &format!("[{}]", vec!["1"; 5000].join(",")))]);
    assert_eq!(ones, Err(E::TooManyAudiences(5000)), "ADV-JWT-39");
    // JWT-32: 32 audiences in a token of 15 KiB
    let long: Vec<_> = (1..=AUDIENCES_MAX).map(|number| format!(r#""{}aud{number}""#, "x".repeat(340))).collect();
    let token = world
        .k1
        .token(HEADER, claims(&[("aud", &format!(r#"[{}]"#, long.join(",").replacen(&"x".repeat(340), "", 1)))]));
    assert!(token.len() > 14 * 1024 && token.len() < TOKEN_BYTES_MAX, "{}", token.len());
    assert!(world.judge(&token).is_ok());
}

#[test]
fn leeway_moves_both_ends_and_has_a_limit() {
    let mut world = World::new();
    world.leeway = Duration::from_secs(30);
    let exp = |world: &World, exp: &str| world.claims(&[("exp", exp)]).map(|_| ());
    assert_eq!(exp(&world, "1799999970"), Err(C::Expired.into()), "ADV-JWT-43 now - leeway");
    assert_eq!(exp(&world, "1799999971"), Ok(()), "ADV-JWT-43 a second later");
    assert_eq!(exp(&world, "1799999970.001"), Ok(()));
    let nbf = |nbf: &str| world.claims(&[("nbf", nbf)]).map(|_| ());
    assert_eq!(nbf("1800000030"), Ok(()));
    assert_eq!(nbf("1800000031"), Err(C::NotYetValid.into()));
    world.leeway = Duration::MAX;
    assert_eq!(exp(&world, "1799999941"), Ok(()));
    assert_eq!(exp(&world, "1799999940"), Err(C::Expired.into()), "a minute at most");
}

#[test]
fn the_adversarial_table_of_forms() {
    let world = World::new();
    let good = world.k1.token(HEADER, claims(&[]));
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let sealed = |signed: String| world.k1.sealed(Algorithm::Es256, signed);
    let general =
        format!(r#"{{"payload":"{payload}","signatures":[{{"protected":"{header}","signature":"{signature}"}}]}}"#);
    let flattened = format!(r#"{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#);
    let unprotected = flattened.replacen('{', r#"{"header":{"kid":"k1"},"#, 1);
    // A payload whose length asks for padding, and that has both characters of the other alphabet.
    let blanks = |count: usize| encode((claims(&[("x", r#""~~~???""#)]) + &" ".repeat(count)).as_bytes());
    let odd = (0..3).map(blanks).find(|text| !text.len().is_multiple_of(4)).unwrap();
    let padded = format!("{odd}{}", "=".repeat(4 - odd.len() % 4));
    let standard = odd.replace('-', "+").replace('_', "/");
    assert!(world.judge(&sealed(format!("{header}.{odd}"))).is_ok());
    assert_ne!(standard, odd);
    let other_payload = encode(claims(&[("sub", r#""spiffe://example.org/b""#)]).as_bytes());
    let raw = parts(&good).remove(2);
    let (front, back) = payload.split_at(8);
    let base64 = |part| E::from(T::Base64(part));
    let refused: Vec<(&str, String, E)> = vec![
        ("ADV-JWT-51 payload changed", format!("{header}.{other_payload}.{signature}"), T::Signature.into()),
        ("ADV-JWT-48 signature empty", format!("{header}.{payload}."), T::Signature.into()),
        ("ADV-JWT-48 signature truncated", format!("{header}.{payload}.{}", encode(&raw[..63])), T::Signature.into()),
        (
            "ADV-JWT-48 signature extended",
            format!("{header}.{payload}.{}", encode(&[&raw[..], &[0]].concat())),
            T::Signature.into(),
        ),
        ("ADV-JWT-53 general", general, T::Parts.into()),
        ("ADV-JWT-53 flattened", flattened, T::Parts.into()),
        ("ADV-JWT-54 unprotected header", unprotected, T::Parts.into()),
        ("ADV-JWT-55 empty", String::new(), T::Parts.into()),
        ("ADV-JWT-55 one part", header.to_owned(), T::Parts.into()),
        ("ADV-JWT-55 two parts", format!("{header}.{payload}"), T::Parts.into()),
        ("ADV-JWT-55 four parts", format!("{good}.{signature}"), T::Parts.into()),
        ("ADV-JWT-55 five parts", format!("{good}.a.b"), T::Parts.into()),
        ("ADV-JWT-55 leading dot", format!(".{good}"), T::Parts.into()),
        ("ADV-JWT-55 trailing dot", format!("{good}."), T::Parts.into()),
        ("ADV-JWT-55 dots only", "..".into(), broken("header", J::Cut)),
        ("ADV-JWT-56 detached", sealed(format!("{header}.")), broken("payload", J::Cut)),
        ("ADV-JWT-57 padding", sealed(format!("{header}.{padded}")), base64("payload")),
        ("ADV-JWT-57 standard alphabet", sealed(format!("{header}.{standard}")), base64("payload")),
        ("ADV-JWT-57 newline within", sealed(format!("{header}.{front}\n{back}")), base64("payload")),
        ("ADV-JWT-57 blank within", sealed(format!("{header} .{payload}")), base64("header")),
        ("ADV-JWT-57 newline behind", format!("{good}\n"), base64("signature")),
        ("ADV-JWT-57 newline in front", format!("\n{good}"), base64("header")),
        ("ADV-JWT-57 not ASCII", format!("é{good}"), base64("header")),
        (
            "ADV-JWT-63 a token as payload",
            sealed(format!("{header}.{}", encode(good.as_bytes()))),
            broken("payload", J::Syntax(0)),
        ),
        (
            "ADV-JWT-62 ten mebibytes",
            "a".repeat(10 << 20),
            T::TooLong { bytes: 10 << 20, most: TOKEN_BYTES_MAX }.into(),
        ),
    ];
    for (name, token, reason) in refused {
        assert_eq!(world.judge(&token), Err(reason), "{name}");
    }
    // ADV-JWT-58: the last character of the signature has four bits that mean nothing.
    let last = good.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    let stray = format!("{}{next}", good.strip_suffix(last).unwrap());
    assert_eq!(world.judge(&stray), Err(base64("signature")), "ADV-JWT-58");
    // ADV-JWT-66
    let wit = world.w1.token(r#"{"alg":"ES256","kid":"w1","typ":"wit+jwt"}"#, claims(&[("aud", "")]));
    assert_eq!(world.judge(&wit), Err(E::Type), "ADV-JWT-66 a WIT-SVID");
}

#[test]
fn a_token_without_kid_is_tried_with_few_keys() {
    let mut world = World::new();
    let keys: Vec<_> = (0..=KEY_TRIALS_MAX).map(|number| Key::new(&format!("t{number}"), Algorithm::Es256)).collect();
    let last = keys.last().unwrap();
    let token = last.token(r#"{"alg":"ES256"}"#, claims(&[]));
    let of = |keys: &[Key]| bundle("example.org", &keys.iter().chain([rsa()]).collect::<Vec<_>>());
    world.own = of(&keys[1..]);
    assert!(world.judge(&token).is_ok());
    world.own = of(&keys);
    assert_eq!(world.judge(&token), Err(E::TooManyKeys(KEY_TRIALS_MAX + 1)));
    world.own = of(&keys[..KEY_TRIALS_MAX]);
    assert_eq!(world.judge(&token), Err(T::Signature.into()));
    world.own = bundle("example.org", &[rsa()]);
    assert_eq!(world.judge(&token), Err(E::NoFittingKey));
}

#[test]
fn unknown_headers_are_passed_over_only_where_that_was_said() {
    let mut world = World::new();
    let foreign = [("sub", r#""spiffe://other.test/b""#)];
    let token = |extra: &str| world.o1.token(format!(r#"{{"alg":"ES256","kid":"o1",{extra}}}"#), claims(&foreign));
    let (foo, crit, jwk) = (token(r#""foo":{"a":1}"#), token(r#""crit":[]"#), token(r#""jwk":{}"#));
    assert_eq!(world.judge(&foo), Err(E::UnknownHeader));
    world.foreign_headers = UnknownHeaders::Ignored;
    assert!(world.judge(&foo).is_ok());
    assert_eq!(world.judge(&crit), Err(T::Header("crit").into()));
    assert_eq!(world.judge(&jwk), Err(T::Header("jwk").into()));
    assert_eq!(world.header(&with_header(r#""foo":1"#)), Err(E::UnknownHeader), "the own domain stays strict");
}

#[test]
fn a_bundle_of_an_unknown_kind_of_token_is_another_type() {
    // TDB-22: `wit::Bundle` in place of this would not compile; only the names of the uses are left to compare.
    use crate::spiffe::{jose::Usage, jwt, wit};
    assert_eq!((jwt::Profile::USE, wit::Profile::USE), ("jwt-svid", "wit-svid"));
    let empty: Bundle = bundle("example.org", &[]);
    assert_eq!(empty.to_json(), r#"{"keys":[]}"#, "WAPI-75");
}

//! The threats to tokens and proofs, one by one, each with what the door makes of it.
//!
//! The names are those of `tests/tokens.txt`, which says where each threat has its tests, those that are not here too; what
//! is said there of several attacks are several lines here.

use super::{
    kit::{Holder, ath, claims, now, seconds, token_claims},
    world::{AUDIENCE, URL, World},
};
use crate::{
    oauth::{
        TokenHash,
        access::{TOKEN_BYTES_MAX, pattern},
        dpop::{PROOF_BYTES_MAX, Unproved},
        freshness::Settings,
        target::Target,
        verify::{Refusal, Request, Revocation, Verified},
    },
    spiffe::jose::{
        Algorithm, decode, encode,
        tests::kit::{Key, NOW},
    },
};

/// Row, attack, what came of it, and the code of the reason; an empty one where it must pass.
type Row = (&'static str, &'static str, Result<Verified, Refusal>, &'static str);

#[test]
fn every_row_about_a_proof_has_its_outcome() {
    let world = World::new();
    let token = world.token();
    let jwk = world.holder.jwk();
    let header = |changes: &[(&str, &str)]| {
        let next = world.next_id();
        let body = claims(&[("jti", &next), ("ath", &ath(&token))]);
        world.get(&token, &world.holder.signed(world.holder.header(changes), body))
    };
    let key = |jwk: &str| header(&[("jwk", jwk)]);
    let claim = |changes: &[(&str, &str)]| world.get(&token, &world.proof(&token, changes));
    let url = |url: &str| claim(&[("htu", &format!(r#""{url}""#))]);
    let raw = |proof: &str| world.get(&token, proof);
    let good = || world.proof(&token, &[]);
    let with_header = |text: &str| world.get(&token, &world.holder.signed(text, claims(&[("ath", &ath(&token))])));
    let with_body = |body: &[u8]| world.get(&token, &world.holder.signed(world.holder.header(&[]), body));
    let mac = {
        use aws_lc_rs::hmac;
        let body = claims(&[("ath", &ath(&token))]);
        let signed =
            format!("{}.{}", encode(world.holder.header(&[("alg", r#""HS256""#)]).as_bytes()), encode(body.as_bytes()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, jwk.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", encode(tag.as_ref()))
    };
    let unsigned = {
        let signed = format!(
            "{}.{}",
            encode(world.holder.header(&[("alg", r#""none""#)]).as_bytes()),
            encode(claims(&[("ath", &ath(&token))]).as_bytes())
        );
        format!("{signed}.")
    };
    let der = {
        let good = good();
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (r, s) = {
            let both = decode(signature).unwrap();
            (both[..32].to_vec(), both[32..].to_vec())
        };
        let der = [&[0x30, 68, 2, 32], r.as_slice(), &[2, 32], &s].concat();
        format!("{signed}.{}", encode(&der))
    };
    let p384 = Key::new("", Algorithm::Es384).jwk().to_json();
    let off_curve = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5aw"}"#;
    let small = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, encode(&[0; 32]));
    let deep = format!(r#"{}1{}"#, r#"{"a":"#.repeat(32), "}".repeat(32));
    let long = format!(r#""{}""#, "x".repeat(PROOF_BYTES_MAX));
    let thief = Holder::new();
    let rows: Vec<Row> = vec![
        ("alg none / noNe / HS256 with public key", "none", raw(&unsigned), "proof_algorithm"),
        ("alg none / noNe / HS256 with public key", "noNe", header(&[("alg", r#""noNe""#)]), "proof_algorithm"),
        ("alg none / noNe / HS256 with public key", "a MAC by the key", raw(&mac), "proof_algorithm"),
        ("alg vs jwk mismatch", "P-384", key(&p384), "proof_key"),
        ("alg vs jwk mismatch", "Ed25519", key(&Holder::ed25519().jwk()), "proof_malformed"),
        ("alg vs jwk mismatch", "EdDSA of an EC key", header(&[("alg", r#""EdDSA""#)]), "proof_malformed"),
        ("jwk carries d, p, k…", "d", key(&jwk.replace('}', r#","d":"AA"}"#)), "proof_key"),
        ("jwk carries d, p, k…", "p", key(&jwk.replace('}', r#","p":"AA"}"#)), "proof_key"),
        ("jwk carries d, p, k…", "k", key(&jwk.replace('}', r#","k":"AA"}"#)), "proof_key"),
        (
            "embedded-key substitution",
            "a key of the thief's",
            { raw(&world.proof_by(&thief, &token, &[])) },
            "key_mismatch",
        ),
        ("embedded-key substitution", "jku", header(&[("jku", r#""https://evil.test""#)]), "proof_malformed"),
        ("embedded-key substitution", "x5u", header(&[("x5u", r#""https://evil.test""#)]), "proof_malformed"),
        ("embedded-key substitution", "x5c", header(&[("x5c", r#"["AA=="]"#)]), "proof_malformed"),
        ("JWT swapping", "a token as proof", raw(&token), "proof_type"),
        ("JWT swapping", "a WIT's typ", header(&[("typ", r#""wit+jwt""#)]), "proof_type"),
        ("JWT swapping", "a SET's typ", header(&[("typ", r#""secevent+jwt""#)]), "proof_type"),
        ("JWT swapping", "a WPT's typ", header(&[("typ", r#""wpt+jwt""#)]), "proof_type"),
        (
            "stripped DPoP header / two headers / comma-joined",
            "stripped",
            { world.ask("GET", URL, &[&format!("DPoP {token}")], &[], now()) },
            "proof_missing",
        ),
        (
            "stripped DPoP header / two headers / comma-joined",
            "two",
            { world.ask("GET", URL, &[&format!("DPoP {token}")], &[&good(), &good()], now()) },
            "proof_several",
        ),
        (
            "stripped DPoP header / two headers / comma-joined",
            "comma",
            { raw(&format!("{}, {}", good(), good())) },
            "proof_several",
        ),
        (
            "DPoP → Bearer downgrade",
            "Bearer with a proof",
            { world.ask("GET", URL, &[&format!("Bearer {token}")], &[&good()], now()) },
            "bearer",
        ),
        ("pre-generated proofs", "of the future", claim(&[("iat", &(NOW + 6).to_string())]), "proof_ahead"),
        ("pre-generated proofs", "for a token to come", claim(&[("ath", &ath("other"))]), "proof_token"),
        ("pre-generated proofs", "for no token", claim(&[("ath", "")]), "proof_token_missing"),
        ("htu through proxies", "the name inside", url("http://10.0.0.7:8080/items"), "proof_url"),
        ("htu through proxies", "a spoofed host", url("https://evil.test/items"), "proof_url"),
        ("`@`, dot-segments, `%2F`, …", "@", url("https://api.example.org@evil.test/items"), "proof_url_malformed"),
        ("`@`, dot-segments, `%2F`, …", "..", url("https://api.example.org/a/../items"), "proof_url_malformed"),
        ("`@`, dot-segments, `%2F`, …", "%2e", url("https://api.example.org/a/%2e%2e/items"), "proof_url_malformed"),
        ("`@`, dot-segments, `%2F`, …", "%2F", url("https://api.example.org%2Fitems"), "proof_url_malformed"),
        ("`@`, dot-segments, `%2F`, …", "IDN", url("https://api.exämple.org/items"), "proof_url_malformed"),
        ("`@`, dot-segments, `%2F`, …", "dot", url("https://api.example.org./items"), "proof_url_malformed"),
        ("`@`, dot-segments, `%2F`, …", "number", url("https://0x7f.1/items"), "proof_url_malformed"),
        ("clock skew", "61 s behind", claim(&[("iat", &(NOW - 61).to_string())]), "proof_stale"),
        ("clock skew", "60 s behind", claim(&[("iat", &(NOW - 60).to_string())]), ""),
        ("clock skew", "5 s ahead", claim(&[("iat", &(NOW + 5).to_string())]), ""),
        ("weak-entropy or huge jti", "7 bytes", claim(&[("jti", r#""1234567""#)]), "proof_claim"),
        (
            "weak-entropy or huge jti",
            "257 bytes",
            claim(&[("jti", &format!(r#""{}""#, "j".repeat(257)))]),
            "proof_claim",
        ),
        ("oversized / deep / flood", "a long proof", claim(&[("x", &long)]), "proof_malformed"),
        ("oversized / deep / flood", "a deep one", claim(&[("x", &deep)]), "proof_malformed"),
        ("base64 malleability", "padding", raw(&format!("{}=", good())), "proof_malformed"),
        ("base64 malleability", "line break", raw(&format!("{}\n", good())), "proof_malformed"),
        ("base64 malleability", "blank", raw(&format!(" {}", good())), "proof_malformed"),
        ("base64 malleability", "other alphabet", raw(&good().replacen('.', "+.", 1)), "proof_malformed"),
        (
            "base64 malleability",
            "trailing bits",
            {
                let mut bent = good();
                bent.pop();
                raw(&format!("{bent}_"))
            },
            "proof_malformed",
        ),
        (
            "JSON-serialised JWS",
            "flattened",
            raw(r#"{"protected":"e30","payload":"e30","signature":"AA"}"#),
            "proof_several",
        ),
        ("JSON-serialised JWS", "general", raw(r#"{"payload":"e30"}"#), "proof_malformed"),
        (
            "duplicate members",
            "alg",
            { with_header(&format!(r#"{{"typ":"dpop+jwt","alg":"ES256","alg":"none","jwk":{jwk}}}"#)) },
            "proof_malformed",
        ),
        ("duplicate members", "x in jwk", key(&jwk.replace('}', r#","x":"AA"}"#)), "proof_malformed"),
        (
            "duplicate members",
            "htm",
            { with_body(claims(&[("ath", &ath(&token))]).replace('}', r#","htm":"POST"}"#).as_bytes()) },
            "proof_malformed",
        ),
        ("numbers", "1e9", claim(&[("iat", "1.8e9")]), "proof_claim"),
        ("numbers", "a fraction", claim(&[("iat", "1800000000.0")]), "proof_claim"),
        ("numbers", "a text", claim(&[("iat", r#""1800000000""#)]), "proof_claim"),
        ("numbers", "huge", claim(&[("iat", "99999999999999999999999")]), "proof_claim"),
        ("numbers", "beyond a double", claim(&[("iat", "1e999")]), "proof_malformed"),
        ("non-UTF-8, BOM", "non-UTF-8", with_body(b"{\"jti\":\"\xff\xfe\"}"), "proof_malformed"),
        ("non-UTF-8, BOM", "BOM", with_body(format!("\u{feff}{}", claims(&[])).as_bytes()), "proof_malformed"),
        ("crit, b64, zip, JWE", "crit", header(&[("crit", r#"["exp"]"#)]), "proof_malformed"),
        ("crit, b64, zip, JWE", "b64", header(&[("b64", "false")]), "proof_malformed"),
        ("crit, b64, zip, JWE", "zip", header(&[("zip", r#""DEF""#)]), "proof_malformed"),
        ("crit, b64, zip, JWE", "five parts", raw("e30.AA.AA.AA.AA"), "proof_malformed"),
        ("ECDSA malleability, DER", "DER", raw(&der), "proof_signature"),
        ("invalid curve point, small-order Ed25519", "off the curve", key(off_curve), "proof_key"),
        (
            "invalid curve point, small-order Ed25519",
            "small order",
            { header(&[("alg", r#""EdDSA""#), ("jwk", &small)]) },
            "proof_key",
        ),
    ];
    check(rows);
}

#[test]
fn every_row_about_a_token_has_its_outcome() {
    let world = World::new();
    let kid = &world.key.id;
    let right = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}"}}"#);
    let good = |changes: &[(&str, &str)]| token_claims(&world.holder.thumbprint(), changes);
    let get = |token: &str| world.get(token, &world.proof(token, &[]));
    let header = |header: &str| get(&world.key.token(header, good(&[])));
    let also = |more: &str| header(&right.replace('}', &format!(",{more}}}")));
    let claim = |changes: &[(&str, &str)]| get(&world.key.token(&right, good(changes)));
    let of_kid = |kid: &str| header(&format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}"}}"#));
    let plain = || world.key.token(&right, good(&[]));
    let thief = Key::new(kid, Algorithm::Es256);
    let embedded = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}","jwk":{}}}"#, thief.jwk().to_json());
    let cnf = |json: &str| claim(&[("cnf", json)]);
    let jkt = world.holder.thumbprint();
    let rows: Vec<Row> = vec![
        ("baseline", "none", claim(&[]), ""),
        (
            "alg none / noNe / HS256 with public key",
            "none",
            {
                let signed =
                    format!("{}.{}", encode(br#"{"typ":"at+jwt","alg":"none"}"#), encode(good(&[]).as_bytes()));
                get(&format!("{signed}."))
            },
            "token_malformed",
        ),
        ("alg none / noNe / HS256 with public key", "noNe", header(&right.replace("ES256", "noNe")), "token_malformed"),
        (
            "alg none / noNe / HS256 with public key",
            "HS256",
            header(&right.replace("ES256", "HS256")),
            "token_malformed",
        ),
        ("alg vs jwk mismatch", "RS256", header(&right.replace("ES256", "RS256")), "token_header"),
        ("embedded-key substitution", "jwk", get(&thief.token(&embedded, good(&[]))), "token_malformed"),
        ("embedded-key substitution", "jku", also(r#""jku":"https://evil.test""#), "token_malformed"),
        ("embedded-key substitution", "x5u", also(r#""x5u":"https://evil.test""#), "token_malformed"),
        ("embedded-key substitution", "x5c", also(r#""x5c":["AA=="]"#), "token_malformed"),
        ("JWT swapping", "a proof as token", get(&world.proof("x", &[])), "token_malformed"),
        ("JWT swapping", "a JWT-SVID", header(&right.replace("at+jwt", "JWT")), "token_type"),
        ("JWT swapping", "a WIT", header(&right.replace("at+jwt", "wit+jwt")), "token_type"),
        ("JWT swapping", "a SET", header(&right.replace("at+jwt", "secevent+jwt")), "token_type"),
        ("JWT swapping", "no exp and sub, as a SET", claim(&[("exp", ""), ("sub", "")]), "token_claim"),
        (
            "DPoP → Bearer downgrade",
            "Bearer alone",
            { world.ask("GET", URL, &[&format!("Bearer {}", plain())], &[], now()) },
            "bearer",
        ),
        ("DPoP → Bearer downgrade", "no cnf", claim(&[("cnf", "")]), "token_binding"),
        (
            "DPoP → Bearer downgrade",
            "two confirmations",
            { cnf(&format!(r#"{{"jkt":"{jkt}","x5t#S256":"{jkt}"}}"#)) },
            "token_binding",
        ),
        ("kid injection", "path", of_kid("dfly-../../keys/k"), "token_header"),
        ("kid injection", "SQL", of_kid("dfly-' OR 'a'='a"), "token_header"),
        ("kid injection", "URL", of_kid("https://evil.test/k"), "token_header"),
        ("kid injection", "unknown", of_kid("dfly-unknown"), "token_key"),
        ("kid injection", "long", of_kid(&format!("dfly-{}", "k".repeat(60))), "token_header"),
        (
            "issuer/JWKS confusion",
            "the issuer of JWT-SVIDs",
            claim(&[("iss", r#""https://example.org""#)]),
            "token_issuer",
        ),
        ("issuer/JWKS confusion", "a stranger", claim(&[("iss", r#""https://evil.test/oauth""#)]), "token_issuer"),
        ("issuer/JWKS confusion", "a stranger's key", get(&thief.token(&right, good(&[]))), "token_signature"),
        (
            "audience substitution",
            "another tool",
            claim(&[("aud", r#""https://other.example.org""#)]),
            "token_audience",
        ),
        ("audience substitution", "two", claim(&[("aud", r#"["https://api.example.org","x"]"#)]), "token_claim"),
        ("clock skew", "no leeway", claim(&[("iat", "1799999700"), ("exp", "1800000000")]), "token_expired"),
        ("clock skew", "from the future", claim(&[("iat", "1800000006")]), "token_ahead"),
        ("clock skew", "a life of more than an hour", claim(&[("exp", "1800003601")]), "token_lifetime"),
        (
            "oversized / deep / flood",
            "long",
            get(&format!("{}{}", plain(), "A".repeat(TOKEN_BYTES_MAX))),
            "token_malformed",
        ),
        (
            "oversized / deep / flood",
            "deep",
            { claim(&[("x", &format!("{}{}", "[".repeat(64), "]".repeat(64)))]) },
            "token_malformed",
        ),
        ("base64 malleability", "padding", get(&format!("{}=", plain())), "token_malformed"),
        (
            "base64 malleability",
            "trailing bits",
            {
                let mut bent = plain();
                bent.pop();
                get(&format!("{bent}_"))
            },
            "token_malformed",
        ),
        ("base64 malleability", "other alphabet", get(&plain().replacen('.', "/.", 1)), "token_malformed"),
        ("duplicate members", "kid", header(&right.replace('}', &format!(r#","kid":"{kid}"}}"#))), "token_malformed"),
        ("duplicate members", "jkt", cnf(&format!(r#"{{"jkt":"{jkt}","jkt":"{jkt}"}}"#)), "token_malformed"),
        ("numbers", "1e9", claim(&[("exp", "1.8e9")]), "token_claim"),
        ("numbers", "text", claim(&[("exp", r#""1800000300""#)]), "token_claim"),
        ("numbers", "negative", claim(&[("iat", "-1")]), "token_claim"),
        ("non-UTF-8, BOM", "non-UTF-8", get(&world.key.token(&right, b"{\"iss\":\"\xff\"}")), "token_malformed"),
        ("non-UTF-8, BOM", "BOM", get(&world.key.token(&right, format!("\u{feff}{}", good(&[])))), "token_malformed"),
        ("crit, b64, zip, JWE", "crit", also(r#""crit":["exp"]"#), "token_malformed"),
        ("crit, b64, zip, JWE", "b64", also(r#""b64":false"#), "token_malformed"),
        ("crit, b64, zip, JWE", "zip", also(r#""zip":"DEF""#), "token_malformed"),
        ("crit, b64, zip, JWE", "five parts", get("e30.AA.AA.AA.AA"), "token_malformed"),
    ];
    check(rows);
}

#[test]
fn nonce_downgrade_and_replay_across_nodes() {
    let settings = Settings { needs_nonce: true, ..Settings::default() };
    let (node, other) = (World::with(settings, now()), World::with(settings, now()));
    let token = node.token();
    let with = |nonce: &str| node.get(&token, &node.proof(&token, &[("nonce", &format!(r#""{nonce}""#))]));
    // Two processes have two secrets; these two share theirs, so the other is made anew.
    let secret = zeroize::Zeroizing::new([9; 32]);
    let elsewhere = crate::oauth::nonce::Nonces::new(&secret, "resource").current(0, now());
    let endpoint = crate::oauth::nonce::Nonces::new(&zeroize::Zeroizing::new([5; 32]), "token").current(0, now());
    let old = other.verifier.freshness().nonce(now() - seconds(300));
    let rows: Vec<Row> = vec![
        ("nonce downgrade", "no nonce", node.get(&token, &node.proof(&token, &[])), "nonce_missing"),
        ("nonce downgrade", "an empty one", with(""), "nonce_stale"),
        ("nonce downgrade", "an old one", with(&old), "nonce_stale"),
        ("nonce downgrade", "the token endpoint's", with(&endpoint), "nonce_stale"),
        ("replay across nodes", "another node's nonce", with(&elsewhere), "nonce_stale"),
    ];
    check(rows);
    let nonce = node.verifier.freshness().nonce(now());
    assert!(with(&nonce).is_ok());
}

#[test]
fn cache_exhaustion_and_eviction_replay() {
    let settings = Settings { entries_max: 4, entries_per_key_max: 4, ..Settings::default() };
    let world = World::with(settings, now() - seconds(3_600));
    let token = world.token();
    let proofs: Vec<String> = (0..4).map(|_| world.proof(&token, &[])).collect();
    // What is not signed by the key takes no room.
    let (signed, _) = proofs[0].rsplit_once('.').unwrap();
    for _ in 0..8 {
        let junk = Holder::new().sealed(signed.to_owned());
        assert_eq!(world.get(&token, &junk).unwrap_err().reason.code(), "proof_signature");
    }
    assert_eq!(world.verifier.freshness().entries(), 0);
    assert!(proofs.iter().all(|proof| world.get(&token, proof).is_ok()));
    for _ in 0..8 {
        let one_more = world.get(&token, &world.proof(&token, &[])).unwrap_err();
        assert_eq!((one_more.reason.code(), one_more.challenge.status), ("replay_full", 503));
    }
    for proof in &proofs {
        assert_eq!(world.get(&token, proof).unwrap_err().reason.code(), "proof_replayed", "nothing was evicted");
    }
}

#[test]
fn a_revoked_token_that_is_known() {
    let mut world = World::new();
    let token = world.token();
    assert!(world.get(&token, &world.proof(&token, &[])).is_ok());
    world.known.revocation = Some(Revocation::Key);
    assert_eq!(world.get(&token, &world.proof(&token, &[])).unwrap_err().reason.code(), "revoked_key");
    world.known.epoch += 1;
    assert_eq!(world.get(&token, &world.proof(&token, &[])).unwrap_err().reason.code(), "revoked_key");
}

/// Neither what is read nor what is refused shows a token, a proof or a nonce where somebody writes it to a log.
#[test]
fn nothing_shows_a_token() {
    let world = World::new();
    let token = world.token();
    let proof = world.proof(&token, &[]);
    let unproved = Unproved::parse(&proof).unwrap();
    let target = Target::parse(URL).unwrap();
    let mut shown = vec![format!("{unproved:?}"), format!("{:?}", world.verifier)];
    shown.push(format!("{:?}", crate::oauth::access::Unverified::parse(&token).unwrap()));
    for (authorization, proof) in [(format!("DPoP {token}"), &proof), (format!("Bearer {token}"), &token)] {
        let request = Request {
            authorization: &[authorization.as_bytes()],
            proofs: &[proof.as_bytes()],
            ..Request::new("GET", &target)
        };
        let outcome = world.verifier.verify(&request, &world.known, now());
        shown.push(format!("{outcome:?}"));
        if let Err(refusal) = outcome {
            shown.push(refusal.reason.to_string());
        }
    }
    let find = regex::Regex::new(&pattern()).unwrap();
    assert!(find.is_match(&token) && TokenHash::of(&token).to_string().len() == 43);
    let signatures: Vec<&str> = [&token, &proof].into_iter().map(|jws| jws.rsplit('.').next().unwrap()).collect();
    for text in shown {
        assert!(!find.is_match(&text), "{text}");
        assert!(signatures.iter().all(|signature| !text.contains(signature)), "{text}");
    }
    assert_eq!(AUDIENCE, world.get(&token, &world.proof(&token, &[])).unwrap().credential().audience());
}

fn check(rows: Vec<Row>) {
    for (row, attack, outcome, code) in rows {
        let found = outcome.as_ref().map_or_else(|refusal| refusal.reason.code(), |_| "");
        assert_eq!(found, code, "{row}: {attack}: {outcome:?}");
    }
}

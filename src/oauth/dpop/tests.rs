//! The vectors of RFC 9449, and every way in which a proof can be wrong.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::{Duration, SystemTime};

use super::*;
use crate::{
    oauth::{
        KeyError,
        target::Error as U,
        tests::kit::{Holder, ath, claims, now, seconds},
    },
    spiffe::{
        jose::{
            self, Error as T, KeyError as K, encode,
            tests::kit::{Key, rsa},
        },
        json::Error as J,
    },
};

/// RFC 9449, the first part of each of its proofs.
const HEADER: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19";
/// Figures 2 and 5.
const V1: &str = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
/// Figure 7.
const V2: &str = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjY1Mjk2fQ.pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5QsGSuKDYW7_X620BxqhvYC8ynrrvZLTk41mSRroapUA";
/// Figures 13 and 14.
const V3: &str = "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What comes of a proof for this request.
fn judge(value: &str, method: &str, url: &str, token: Option<&str>, now: SystemTime) -> Result<Proof, Error> {
    let target = Target::parse(url).unwrap();
    let unproved = Unproved::parse(value)?;
    let token = token.map(TokenHash::of);
    unproved.check(&Expected { method, target: &target, token, window: Window::default(), now })?;
    unproved.prove()
}

/// What comes of a proof for `GET https://api.example.org/items`, now.
fn plain(value: &str) -> Result<Proof, Error> {
    judge(value, "GET", "https://api.example.org/items", None, now())
}

fn refused(name: &str, outcome: Result<Proof, Error>, reason: Error) {
    match outcome {
        Err(error) => assert_eq!(error, reason, "{name}"),
        Ok(_) => panic!("{name}: accepted"),
    }
}

#[test]
fn the_vectors_of_rfc_9449_hold_at_their_time_and_at_no_other() {
    let token_url = "https://server.example.com/token";
    let resource = "https://resource.example.org/protectedresource";
    let vectors = [
        (V1, "POST", token_url, None, 1_562_262_616, "-BwC3ESc6acc2lTc"),
        (V2, "POST", token_url, None, 1_562_265_296, "-BwC3ESc6acc2lTc"),
        (V3, "GET", resource, Some(TOKEN), 1_562_262_618, "e1j3V_bKic8-LAEB"),
    ];
    for (tail, method, url, token, iat, jti) in vectors {
        let value = format!("{HEADER}.{tail}");
        let proof = judge(&value, method, url, token, at(iat)).unwrap();
        assert_eq!(proof.thumbprint().to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!((proof.token_id(), proof.issued_at()), (jti, at(iat)));
        for (now, fits) in
            [(iat + 60, Ok(())), (iat + 61, Err(Error::Stale)), (iat - 5, Ok(())), (iat - 6, Err(Error::Ahead))]
        {
            assert_eq!(judge(&value, method, url, token, at(now)).map(drop), fits, "{jti} at {now}");
        }
        refused("another method", judge(&value, "PUT", url, token, at(iat)), Error::OtherMethod);
        refused(
            "another URL",
            judge(&value, method, "https://resource.example.org/", token, at(iat)),
            Error::OtherTarget,
        );
        let (signed, _) = value.rsplit_once('.').unwrap();
        let other = format!("{signed}.{}", encode(&[1; 64]));
        refused("signature", judge(&other, method, url, token, at(iat)), T::Signature.into());
    }
    let v3 = format!("{HEADER}.{V3}");
    refused("another token", judge(&v3, "GET", resource, Some("other"), at(1_562_262_618)), Error::OtherToken);
    let v1 = format!("{HEADER}.{V1}");
    refused("no ath", judge(&v1, "POST", token_url, Some(TOKEN), at(1_562_262_616)), Error::NoTokenHash);
}

#[test]
fn a_good_proof_is_good_whoever_writes_it() {
    for holder in [Holder::new(), Holder::ed25519()] {
        let jwk_with = |more: &str| holder.jwk().replace('}', &format!(",{more}}}"));
        let own = match holder {
            Holder::P256(_) => vec![r#""ES256""#],
            Holder::Ed25519(_) => vec![r#""EdDSA""#, r#""Ed25519""#],
        };
        let mut good = vec![
            ("plain", holder.proof(&claims(&[]))),
            ("extra claims", holder.proof(&claims(&[("exp", "1"), ("x", r#"{"a":[1,null]}"#)]))),
            ("shortest jti", holder.proof(&claims(&[("jti", r#""12345678""#)]))),
            ("longest jti", holder.proof(&claims(&[("jti", &format!(r#""{}""#, "j".repeat(256)))]))),
            ("default port, upper-case host, needless encoding", {
                holder.proof(&claims(&[("htu", r#""HTTPS://API.Example.ORG:443/%69tems""#)]))
            }),
            ("ath without a token", holder.proof(&claims(&[("ath", &ath("x"))]))),
            ("kid", holder.signed(holder.header(&[("kid", r#""k""#)]), claims(&[]))),
            ("other members of the key", {
                let key = jwk_with(r#""kid":"k","use":"sig","key_ops":["verify"]"#);
                holder.signed(holder.header(&[("jwk", &key)]), claims(&[]))
            }),
        ];
        for name in own {
            let key = jwk_with(&format!(r#""alg":{name}"#));
            good.push((
                "alg, also in the key",
                holder.signed(holder.header(&[("alg", name), ("jwk", &key)]), claims(&[])),
            ));
        }
        for (name, value) in good {
            let proof = plain(&value).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(proof.thumbprint(), holder.thumbprint(), "{name}");
        }
    }
    // The order of members is nobody's concern.
    let holder = Holder::new();
    let header = format!(r#"{{ "jwk" : {}, "alg":"ES256","typ":"dpop+jwt"}}"#, holder.jwk());
    assert!(plain(&holder.signed(header, claims(&[]))).is_ok());
}

#[test]
fn a_header_that_is_not_a_proofs_is_refused() {
    let (holder, ed25519) = (Holder::new(), Holder::ed25519());
    let jwk = holder.jwk();
    let with = |changes: &[(&str, &str)]| plain(&holder.signed(holder.header(changes), claims(&[])));
    let key = |jwk: &str| with(&[("jwk", jwk)]);
    let p384 = Key::new("", jose::Algorithm::Es384).jwk().to_json();
    let twice = |text: &str| plain(&holder.signed(text, claims(&[])));
    let cases = [
        ("typ JWT", with(&[("typ", r#""JWT""#)]), Error::Type),
        ("typ at+jwt", with(&[("typ", r#""at+jwt""#)]), Error::Type),
        ("typ wit+jwt", with(&[("typ", r#""wit+jwt""#)]), Error::Type),
        ("typ in upper case", with(&[("typ", r#""DPOP+JWT""#)]), Error::Type),
        ("typ as a media type", with(&[("typ", r#""application/dpop+jwt""#)]), Error::Type),
        ("typ missing", with(&[("typ", "")]), Error::Type),
        ("typ a number", with(&[("typ", "1")]), Error::Type),
        ("alg none", with(&[("alg", r#""none""#)]), Error::Algorithm),
        ("alg noNe", with(&[("alg", r#""noNe""#)]), Error::Algorithm),
        ("alg HS256", with(&[("alg", r#""HS256""#)]), Error::Algorithm),
        ("alg RS256", with(&[("alg", r#""RS256""#)]), Error::Algorithm),
        ("alg ES384", with(&[("alg", r#""ES384""#)]), Error::Algorithm),
        ("alg es256", with(&[("alg", r#""es256""#)]), Error::Algorithm),
        ("alg Ed448", with(&[("alg", r#""Ed448""#)]), Error::Algorithm),
        ("alg missing", with(&[("alg", "")]), Error::Algorithm),
        ("alg a list", with(&[("alg", r#"["ES256"]"#)]), Error::Algorithm),
        ("EdDSA with an EC key", with(&[("alg", r#""EdDSA""#)]), T::KeyMismatch.into()),
        ("ES256 with an Ed25519 key", key(&ed25519.jwk()), T::KeyMismatch.into()),
        ("ES256 with P-384", key(&p384), KeyError::Kind.into()),
        ("ES256 with RSA", key(&rsa().jwk().to_json()), KeyError::Kind.into()),
        ("a symmetric key", key(r#"{"kty":"oct","k":"AA"}"#), KeyError::Jwk(K::Symmetric).into()),
        ("no jwk", with(&[("jwk", "")]), Error::NoKey),
        ("jwk a text", with(&[("jwk", r#""k""#)]), Error::NoKey),
        ("jwk null", with(&[("jwk", "null")]), Error::NoKey),
        ("jwk private", key(&jwk.replace('}', r#","d":"AA"}"#)), KeyError::Jwk(K::Private("d")).into()),
        ("jwk with a prime", key(&jwk.replace('}', r#","p":"AA"}"#)), KeyError::Jwk(K::Private("p")).into()),
        ("jwk with k", key(&jwk.replace('}', r#","k":null}"#)), KeyError::Jwk(K::Private("k")).into()),
        ("jwk for another algorithm", key(&jwk.replace('}', r#","alg":"ES384"}"#)), KeyError::Jwk(K::Algorithm).into()),
        ("crit", with(&[("crit", r#"["exp"]"#)]), T::Header("crit").into()),
        ("crit, empty", with(&[("crit", "[]")]), T::Header("crit").into()),
        ("b64", with(&[("b64", "false")]), T::Header("b64").into()),
        ("zip", with(&[("zip", r#""DEF""#)]), T::Header("zip").into()),
        ("enc", with(&[("enc", r#""A128GCM""#)]), T::Header("enc").into()),
        ("jku", with(&[("jku", r#""https://evil.test""#)]), T::Header("jku").into()),
        ("x5u", with(&[("x5u", r#""https://evil.test""#)]), T::Header("x5u").into()),
        ("x5c", with(&[("x5c", r#"["MIIB"]"#)]), T::Header("x5c").into()),
        (
            "alg twice",
            twice(&format!(r#"{{"typ":"dpop+jwt","alg":"ES256","alg":"ES256","jwk":{jwk}}}"#)),
            T::Json { part: "header", source: J::Repeated }.into(),
        ),
        (
            "x twice in the key",
            key(&jwk.replace('}', r#","x":"AA"}"#)),
            T::Json { part: "header", source: J::Repeated }.into(),
        ),
        ("a list", twice("[]"), T::NotObject("header").into()),
        ("no JSON", twice("typ"), T::Json { part: "header", source: J::Syntax(0) }.into()),
    ];
    for (name, outcome, reason) in cases {
        refused(name, outcome, reason);
    }
    // The key of somebody else.
    let other = Holder::new();
    refused("another's signature", plain(&other.signed(holder.header(&[]), claims(&[]))), T::Signature.into());
    let other = Holder::ed25519();
    refused("another's signature", plain(&other.signed(ed25519.header(&[]), claims(&[]))), T::Signature.into());
}

#[test]
fn claims_that_are_not_a_proofs_are_refused() {
    let holder = Holder::new();
    let with = |changes: &[(&str, &str)]| plain(&holder.proof(&claims(changes)));
    let url = |url: &str| with(&[("htu", &format!(r#""{url}""#))]);
    let huge = format!(r#""{}""#, "j".repeat(257));
    let long_nonce = format!(r#""{}""#, "n".repeat(257));
    let cases = [
        ("no jti", with(&[("jti", "")]), Error::Claim("jti")),
        ("jti of 7 bytes", with(&[("jti", r#""1234567""#)]), Error::Claim("jti")),
        ("jti of 257 bytes", with(&[("jti", &huge)]), Error::Claim("jti")),
        ("jti a number", with(&[("jti", "123456789")]), Error::Claim("jti")),
        ("no htm", with(&[("htm", "")]), Error::Claim("htm")),
        ("htm empty", with(&[("htm", r#""""#)]), Error::Claim("htm")),
        ("htm in lower case", with(&[("htm", r#""get""#)]), Error::OtherMethod),
        ("htm of another method", with(&[("htm", r#""HEAD""#)]), Error::OtherMethod),
        ("no htu", with(&[("htu", "")]), Error::Claim("htu")),
        ("htu with a query", url("https://api.example.org/items?a=1"), Error::Target(U::Query)),
        ("htu with a fragment", url("https://api.example.org/items#a"), Error::Target(U::Fragment)),
        ("htu with a user", url("https://a@api.example.org/items"), Error::Target(U::UserInfo)),
        ("htu with dots", url("https://api.example.org/a/../items"), Error::Target(U::DotSegment)),
        ("htu relative", url("/items"), Error::Target(U::Scheme)),
        ("htu of another scheme", url("http://api.example.org/items"), Error::OtherTarget),
        ("htu of another host", url("https://api.example.net/items"), Error::OtherTarget),
        ("htu of another port", url("https://api.example.org:8443/items"), Error::OtherTarget),
        ("htu of another path", url("https://api.example.org/item"), Error::OtherTarget),
        ("htu with a slash more", url("https://api.example.org/items/"), Error::OtherTarget),
        ("htu in another case", url("https://api.example.org/Items"), Error::OtherTarget),
        ("no iat", with(&[("iat", "")]), Error::Claim("iat")),
        ("iat 1.8e9", with(&[("iat", "1.8e9")]), Error::Claim("iat")),
        ("iat with a fraction", with(&[("iat", "1800000000.0")]), Error::Claim("iat")),
        ("iat a text", with(&[("iat", r#""1800000000""#)]), Error::Claim("iat")),
        ("iat negative", with(&[("iat", "-1")]), Error::Claim("iat")),
        ("iat huge", with(&[("iat", "18446744073709551615")]), Error::Claim("iat")),
        ("iat after 9999", with(&[("iat", "253402300800")]), Error::Claim("iat")),
        ("iat in the last second of 9999", with(&[("iat", "253402300799")]), Error::Ahead),
        ("iat 0", with(&[("iat", "0")]), Error::Stale),
        ("ath a number", with(&[("ath", "1")]), Error::Claim("ath")),
        ("ath no hash", with(&[("ath", r#""AAAA""#)]), Error::Claim("ath")),
        ("ath padded", with(&[("ath", &ath("x").replace("\"}", "=\"").replacen('"', "\"=", 1))]), Error::Claim("ath")),
        ("nonce a number", with(&[("nonce", "1")]), Error::Claim("nonce")),
        ("nonce with a quote", with(&[("nonce", r#""a\"b""#)]), Error::Claim("nonce")),
        ("nonce with a blank", with(&[("nonce", r#""a b""#)]), Error::Claim("nonce")),
        ("nonce of 257 bytes", with(&[("nonce", &long_nonce)]), Error::Claim("nonce")),
        (
            "jti twice",
            { plain(&holder.proof(&claims(&[]).replace('}', r#","jti":"0123456789abcdef"}"#))) },
            T::Json { part: "payload", source: J::Repeated }.into(),
        ),
        (
            "twice within another claim",
            { plain(&holder.proof(&claims(&[("x", r#"{"a":1,"a":1}"#)]))) },
            T::Json { part: "payload", source: J::Repeated }.into(),
        ),
        ("a list", plain(&holder.proof("[]")), T::NotObject("payload").into()),
        (
            "byte order mark",
            { plain(&holder.proof(&format!("\u{feff}{}", claims(&[])))) },
            T::Json { part: "payload", source: J::ByteOrderMark }.into(),
        ),
        (
            "not UTF-8",
            { plain(&holder.signed(holder.header(&[]), b"{\"jti\":\"\xff\"}")) },
            T::Json { part: "payload", source: J::NotUtf8 }.into(),
        ),
    ];
    for (name, outcome, reason) in cases {
        refused(name, outcome, reason);
    }
}

#[test]
fn a_value_that_is_not_one_compact_jws_is_refused() {
    let holder = Holder::new();
    let good = holder.proof(&claims(&[]));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let last = good.char_indices().next_back().unwrap().0;
    let der = {
        let both = decode(signature).unwrap();
        encode(&[&[0x30, 0x44, 2, 32], &both[..32], &[2, 32], &both[32..]].concat())
    };
    let base64 = |part| Error::Token(T::Base64(part));
    let cases = [
        ("empty", String::new(), T::Parts.into()),
        ("one part", header.to_owned(), T::Parts.into()),
        ("two parts", signed.to_owned(), T::Parts.into()),
        ("four parts", format!("{good}.AA"), T::Parts.into()),
        ("no header", format!(".{payload}.{signature}"), T::Json { part: "header", source: J::Cut }.into()),
        ("no payload", format!("{header}..{signature}"), T::Json { part: "payload", source: J::Cut }.into()),
        ("no signature", format!("{signed}."), T::Parts.into()),
        ("two with a comma", format!("{good},{good}"), Error::Several),
        ("two with a comma and a blank", format!("{good}, {good}"), Error::Several),
        ("blank before", format!(" {good}"), base64("header")),
        ("blank behind", format!("{good} "), base64("signature")),
        ("line break behind", format!("{good}\n"), base64("signature")),
        ("padding", format!("{good}="), base64("signature")),
        ("other alphabet", format!("{header}.{payload}+.{signature}"), base64("payload")),
        (
            "stray bits",
            {
                let (keep, _) = good.split_at(last);
                format!("{keep}_")
            },
            base64("signature"),
        ),
        ("quotes", format!("\"{good}\""), base64("header")),
        ("the JSON of a JWS", format!(r#"{{"protected":"{header}"}}"#), T::Parts.into()),
        ("DER", format!("{signed}.{der}"), T::Signature.into()),
        ("signature cut", format!("{signed}.AAAA"), T::Signature.into()),
        ("zeros", format!("{signed}.{}", encode(&[0; 64])), T::Signature.into()),
    ];
    for (name, value, reason) in cases {
        refused(name, plain(&value), reason);
    }
    let long = |bytes: usize| {
        let pad = |length: usize| holder.proof(&claims(&[("x", &format!(r#""{}""#, "x".repeat(length)))]));
        let value = pad((bytes - pad(0).len()) * 3 / 4);
        assert!(value.len() <= bytes && value.len() + 4 > bytes, "{}", value.len());
        value
    };
    assert!(plain(&long(PROOF_BYTES_MAX)).is_ok());
    let longer = long(PROOF_BYTES_MAX + 4);
    refused("too long", plain(&longer), T::TooLong { bytes: longer.len(), most: PROOF_BYTES_MAX }.into());
}

/// s and n − s are both right. Nothing may take the signature for a name of the proof.
#[test]
fn the_other_s_of_a_signature_is_the_same_proof() {
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let good = Holder::new().proof(&claims(&[]));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut bytes = decode(signature).unwrap();
    let mut borrow = 0;
    for (byte, of_order) in bytes[32..].iter_mut().zip(order).rev() {
        let difference = i32::from(u8::try_from(of_order).unwrap()) - i32::from(*byte) - borrow;
        borrow = i32::from(difference < 0);
        *byte = u8::try_from(difference + 256 * borrow).unwrap();
    }
    let other = format!("{signed}.{}", encode(&bytes));
    assert_ne!(other, good);
    let (one, two) = (plain(&good).unwrap(), plain(&other).unwrap());
    assert_eq!((one.thumbprint(), one.token_id()), (two.thumbprint(), two.token_id()));
}

#[test]
fn a_window_has_an_end_that_nobody_can_move() {
    let wide = Window { age_max: seconds(86_400), ahead_max: seconds(86_400) };
    assert_eq!(wide.length(), WINDOW_MAX * 2);
    assert_eq!(wide.end(now()), now() + WINDOW_MAX);
    assert_eq!(wide.check(now(), now() + WINDOW_MAX + Duration::from_nanos(1)), Err(Error::Stale));
    assert_eq!(wide.check(now() + WINDOW_MAX + seconds(1), now()), Err(Error::Ahead));
    assert_eq!(Window::default().check(now(), now() + seconds(60)), Ok(()));
    assert_eq!(Window::default().check(now(), now() + seconds(60) + Duration::from_millis(1)), Err(Error::Stale));
}

//! Compact JWS: the RFC's vectors, what is refused before a key is touched, and signatures that look nearly right.

use std::sync::Mutex;

use super::kit::{Fake, Key, parts, rsa};
use crate::spiffe::{
    jose::{Algorithm, Error as E, Jwk, SignError, TOKEN_BYTES_MAX, Unverified, encode, sign},
    json,
};

const HEADER: &str = r#"{"alg":"ES256"}"#;

fn verified(token: &str, key: &Jwk) -> Result<(), E> {
    Unverified::parse(token)?.verify([key]).map(|_| ())
}

#[test]
fn rfc_7515_a_2_and_a_3_verify() {
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rs256 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{claims}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_l\
         F5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07\
         Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs9\
         8rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let es256 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{claims}.\
         DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    let rsa = br#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
    let ec = br#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let (rsa, ec) = (Jwk::parse(rsa).unwrap(), Jwk::parse(ec).unwrap());
    for (token, key, other) in [(&rs256, &rsa, &ec), (&es256, &ec, &rsa)] {
        let claims = Unverified::parse(token).unwrap().verify([key]).unwrap();
        assert_eq!(claims.member("exp").unwrap().as_u64(), Some(1_300_819_380));
        assert_eq!(claims.member("http://example.com/is_root"), Some(&json::Value::Bool(true)));
        assert_eq!(verified(token, other), Err(E::KeyMismatch));
        let changed = token.replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Ei", 1);
        assert_eq!(verified(&changed, key), Err(E::Signature));
    }
}

#[test]
fn each_of_the_nine_algorithms_goes_with_its_keys_and_no_others() {
    let keys = [Key::new("a", Algorithm::Es256), Key::new("b", Algorithm::Es384), Key::new("c", Algorithm::Es512)];
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        let fitting: Vec<_> = keys.iter().chain([rsa()]).filter(|key| key.jwk().admits(algorithm)).collect();
        assert_eq!(fitting.len(), 1, "{algorithm}");
        let token = fitting[0].token_by(algorithm, header, "{}");
        for key in keys.iter().chain([rsa()]) {
            let expected = if key.jwk().admits(algorithm) { Ok(()) } else { Err(E::KeyMismatch) };
            assert_eq!(verified(&token, &key.jwk()), expected, "{algorithm} with {}", key.id);
        }
    }
    let only_rs256 = rsa().jwk().for_algorithm(Algorithm::Rs256).unwrap();
    let token = rsa().token_by(Algorithm::Ps256, r#"{"alg":"PS256"}"#, "{}");
    assert_eq!(verified(&token, &rsa().jwk()), Ok(()));
    // JWT-21: a key that names an algorithm is for no other, though it could be.
    assert_eq!(verified(&token, &only_rs256), Err(E::KeyMismatch));
    // The header says RS256, the signature is PSS.
    let crossed = rsa().token_by(Algorithm::Ps256, r#"{"alg":"RS256"}"#, "{}");
    assert_eq!(verified(&crossed, &rsa().jwk()), Err(E::Signature));
}

/// The orders of the curves: r and s must be less.
const P256_ORDER: &[u8] = b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\
    \xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";

#[test]
fn signatures_that_look_nearly_right_are_wrong() {
    let key = Key::new("k", Algorithm::Es256);
    let signed = format!("{}.{}", encode(HEADER.as_bytes()), encode(b"{}"));
    let right = key.signature(Algorithm::Es256, signed.as_bytes());
    let (r, s) = right.split_at(32);
    let one = [vec![0; 31], vec![1]].concat();
    let zero = [0; 32];
    let der = {
        let integer = |number: &[u8]| [&[2, 33, 0][..], number].concat();
        let content = [integer(r), integer(s)].concat();
        [&[0x30, u8::try_from(content.len()).unwrap()][..], &content].concat()
    };
    let mut flipped = right.clone();
    flipped[40] ^= 1;
    let cases: &[(&str, Vec<u8>)] = &[
        ("ADV-JWT-48 one bit flipped", flipped),
        ("ADV-JWT-48 truncated", right[..63].to_vec()),
        ("ADV-JWT-48 extended", [&right[..], &[0]].concat()),
        ("ADV-JWT-48 empty", Vec::new()),
        ("ADV-JWT-49 DER", der),
        ("ADV-JWT-50 r = 0, s = 0", vec![0; 64]),
        ("r = 0", [&zero[..], s].concat()),
        ("s = 0", [r, &zero[..]].concat()),
        ("r = 1, s = 1", [one.clone(), one].concat()),
        ("r = n", [P256_ORDER, s].concat()),
        ("s = n", [r, P256_ORDER].concat()),
        ("r = n, s = n", [P256_ORDER, P256_ORDER].concat()),
        ("all ones", vec![0xff; 64]),
        ("s, r", [s, r].concat()),
        ("padded to 33 bytes each", [&[0][..], r, &[0], s].concat()),
        ("as wide as P-384's", [&[0; 16][..], r, &[0; 16], s].concat()),
    ];
    assert_eq!(verified(&format!("{signed}.{}", encode(&right)), &key.jwk()), Ok(()));
    for (name, signature) in cases {
        assert_eq!(verified(&format!("{signed}.{}", encode(signature)), &key.jwk()), Err(E::Signature), "{name}");
    }
    let rsa_signed = format!("{}.{}", encode(br#"{"alg":"RS256"}"#), encode(b"{}"));
    let right = rsa().signature(Algorithm::Rs256, rsa_signed.as_bytes());
    for wrong in [vec![0; 256], vec![0xff; 256], right[..255].to_vec(), [&[0][..], &right].concat(), Vec::new()] {
        assert_eq!(verified(&format!("{rsa_signed}.{}", encode(&wrong)), &rsa().jwk()), Err(E::Signature));
    }
    assert_eq!(verified(&format!("{rsa_signed}.{}", encode(&right)), &rsa().jwk()), Ok(()));
}

#[test]
fn without_a_key_nothing_is_verified() {
    let token = Key::new("k", Algorithm::Es256).token(HEADER, "{}");
    assert_eq!(Unverified::parse(&token).unwrap().verify([]).map(|_| ()), Err(E::Signature));
}

/// All 64 characters in place of the last one of a part: those that differ in unused bits only are refused.
#[test]
fn base64url_has_one_spelling() {
    let key = Key::new("k", Algorithm::Es256);
    let token = key.token(HEADER, r#"{"a":1}"#);
    let (rest, last) = token.split_at(token.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let outcomes: Vec<_> = alphabet.chars().map(|c| verified(&format!("{rest}{c}"), &key.jwk())).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{last}");
    // Two of six bits are used: three other signatures, and sixty spellings.
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(E::Signature)).count(), 3);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(E::Base64("signature"))).count(), 60);
}

#[test]
fn the_longest_token_is_read_and_not_a_byte_more() {
    let key = Key::new("k", Algorithm::Es256);
    let token = |filling: usize| key.token(HEADER, format!(r#"{{"a":"{}"}}"#, "x".repeat(filling)));
    let filling =
        (0..TOKEN_BYTES_MAX).rev().find(|filling| encode(&vec![0; filling + 8]).len() + 108 <= TOKEN_BYTES_MAX);
    let longest = token(filling.unwrap());
    assert!(TOKEN_BYTES_MAX - longest.len() < 3, "{}", longest.len());
    assert_eq!(verified(&longest, &key.jwk()), Ok(()));
    let longer = "a".repeat(TOKEN_BYTES_MAX + 1);
    let refused = E::TooLong { bytes: TOKEN_BYTES_MAX + 1, most: TOKEN_BYTES_MAX };
    assert_eq!(verified(&longer, &key.jwk()), Err(refused));
}

#[test]
fn what_is_signed_has_this_header_and_these_bytes() {
    let key = Key::new("kid \"1\"", Algorithm::Es384);
    let token = sign("JWT", r#"{"a":1}"#, &key).unwrap();
    let parts = parts(&token);
    assert_eq!(parts[0], br#"{"alg":"ES384","kid":"kid \"1\"","typ":"JWT"}"#);
    assert_eq!(parts[1], br#"{"a":1}"#);
    assert_eq!(parts[2].len(), 96);
    assert_eq!(verified(&token, &key.jwk()), Ok(()));
}

#[test]
fn a_signer_that_gives_the_wrong_thing_gives_nothing() {
    let fake = |id, answer| Fake { id, answer, asked: Mutex::new(0) };
    assert_eq!(sign("JWT", "{}", &fake("", Some(vec![1; 64]))), Err(SignError::KeyId));
    assert_eq!(sign("JWT", "{}", &fake("k", None)), Err(SignError::NoSignature));
    assert_eq!(sign("JWT", "{}", &fake("k", Some(vec![1; 71]))), Err(SignError::Width(71)));
    assert_eq!(sign("JWT", "{}", &fake("k", Some(vec![1; 96]))), Err(SignError::Width(96)));
    assert!(sign("JWT", "{}", &fake("k", Some(vec![1; 64]))).is_ok());
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(TOKEN_BYTES_MAX));
    assert!(matches!(sign("JWT", &long, &fake("k", Some(vec![1; 64]))), Err(SignError::TooLong(_))));
    let unnamed = fake("", Some(vec![1; 64]));
    assert!(sign("JWT", "{}", &unnamed).is_err());
    assert_eq!(*unnamed.asked.lock().unwrap(), 0, "nothing is signed in vain");
}

//! The door for fuzzing, which is not in the product: each function takes bytes as a stranger would send
//! them, checks what must hold whatever they are, and answers whether they were accepted.
//!
//! A target in `fuzz/fuzz_targets/` is one call of a function here; `fuzz/corpus/NAME/` holds what it begins
//! with, and the tests run all of that. A room that parses foreign bytes adds its function, its target and
//! its corpus.

#![expect(clippy::expect_used, reason = "what must hold ends the run when it does not")]

mod bundles;
mod certificates;
mod machine;
mod names;
mod proofs;
mod requests;
#[cfg(test)]
mod tests;
mod tokens;

use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;

use crate::spiffe::{
    TrustDomain,
    jose::{Jwk, TOKEN_BYTES_MAX},
    json::{self, agreement::is_shared},
};

pub use bundles::{bundle, foreign};
pub use certificates::{certificate, x509};
pub use machine::{frames, proc, replace};
pub use names::{id, selector, template};
pub use proofs::{proof, target, wpt};
pub use requests::{check, requests, secrets};
pub use tokens::{access, foreign_token, jws, subject};

/// The trust domain that everything is judged in.
fn example_org() -> TrustDomain {
    TrustDomain::parse("example.org").expect("a good name")
}

/// 2027-01-15 08:00:00 UTC: the certificates and tokens of the corpus are of that day.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// The key that tokens of the corpus are signed with.
fn key() -> Jwk {
    Jwk::parse(RFC_7515_A_3).expect("a good key")
}

/// The public half of the key of RFC 7515 A.3.
const RFC_7515_A_3: &[u8] = br#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

/// There is one spelling of a compact JWS, and another reader sees the same in it.
fn check_compact(token: &str) {
    assert!(token.len() <= TOKEN_BYTES_MAX && token.is_ascii());
    let parts = token.split('.').map(|part| BASE64URL_NOPAD.decode(part.as_bytes()));
    let parts: Vec<_> = parts.collect::<Result<_, _>>().expect("each part is base64url");
    assert_eq!(parts.iter().map(|part| BASE64URL_NOPAD.encode(part)).collect::<Vec<_>>().join("."), token);
    for part in parts.iter().take(2) {
        assert!(is_shared(&json::parse(part, TOKEN_BYTES_MAX).expect("it was read"), part));
    }
}

//! The keys that a holder proves: P-256 (ES256) and Ed25519, and no other.
//!
//! Ed25519 is here and not among the keys of SVIDs, whose standard does not have it.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use thiserror::Error;

use crate::spiffe::{
    jose::{self, Jwk, decode},
    json::{self, Object, Value},
};

use super::{Thumbprint, dpop::Algorithm};

/// The longest JWK that is read by itself, in bytes.
const BYTES_MAX: usize = 2 * 1024;

/// The public key of a token's holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofKey(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    P256(Jwk),
    Ed25519([u8; 32]),
}

/// Why an object is no key that can be proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It breaks a rule that every public JWK has to keep.
    #[error(transparent)]
    Jwk(#[from] jose::KeyError),
    /// It is neither an EC key on P-256 nor Ed25519.
    #[error("it is neither an EC key on P-256 nor an Ed25519 key")]
    Kind,
    /// `x` of an Ed25519 key does not have 32 bytes.
    #[error("its `x` does not have 32 bytes")]
    Width,
    /// `x` is of a small group, where one signature fits many messages, or has a second spelling.
    #[error("its `x` is a point of small order, or not canonical")]
    Point,
    /// `alg` is there and does not go with the key.
    #[error("its `alg` does not go with it")]
    Algorithm,
}

impl ProofKey {
    /// Reads one public JWK, of at most 2 KiB of JSON.
    ///
    /// # Errors
    /// When it is not JSON that has one meaning, and for the first rule that it breaks.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        let value = json::parse(json, BYTES_MAX).map_err(jose::KeyError::Json)?;
        Self::read(value.as_object().ok_or(jose::KeyError::NotObject)?)
    }

    /// Reads a JWK. Members that are not about the key are passed over, private ones end the reading.
    pub(crate) fn read(jwk: &Object) -> Result<Self, KeyError> {
        Jwk::check_public(jwk)?;
        let text = |name| jwk.member(name).and_then(Value::as_str);
        match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => Ok(Self(Kind::P256(Jwk::read(jwk)?))),
            (Some("OKP"), Some("Ed25519")) => ed25519(jwk),
            _ => Err(KeyError::Kind),
        }
    }

    /// Its name (RFC 7638).
    pub fn thumbprint(&self) -> Thumbprint {
        match &self.0 {
            Kind::P256(key) => Thumbprint::of(key),
            Kind::Ed25519(x) => Thumbprint::of_ed25519(x),
        }
    }

    /// Whether a signature by this algorithm can be this key's.
    pub fn admits(&self, algorithm: Algorithm) -> bool {
        match &self.0 {
            Kind::P256(_) => algorithm == Algorithm::Es256,
            Kind::Ed25519(_) => algorithm == Algorithm::Ed25519,
        }
    }

    /// Checks a signature as JWS has it: 64 bytes, of ECDSA r and s.
    ///
    /// # Errors
    /// [`jose::Error::Signature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), jose::Error> {
        match &self.0 {
            Kind::P256(key) => key.verify(jose::Algorithm::Es256, message, signature),
            Kind::Ed25519(x) => {
                UnparsedPublicKey::new(&ED25519, x).verify(message, signature).map_err(|_| jose::Error::Signature)
            }
        }
    }
}

fn ed25519(jwk: &Object) -> Result<ProofKey, KeyError> {
    let x = jwk.member("x").and_then(Value::as_str).and_then(decode).ok_or(jose::KeyError::Member("x"))?;
    let x: [u8; 32] = x.try_into().map_err(|_| KeyError::Width)?;
    if is_small_or_doubled(x) {
        return Err(KeyError::Point);
    }
    match jwk.member("alg").map(Value::as_str) {
        None | Some(Some("EdDSA" | "Ed25519")) => Ok(ProofKey(Kind::Ed25519(x))),
        Some(_) => Err(KeyError::Algorithm),
    }
}

/// Whether the point is one of the eight whose order divides 8, or its y is not below the prime (RFC 8032 §5.1.3), which
/// gives one point two thumbprints.
fn is_small_or_doubled(mut x: [u8; 32]) -> bool {
    let [first, middle @ .., last] = &mut x;
    // The sign of the other coordinate.
    *last &= 0x7f;
    let is_beyond = *last == 0x7f && *first >= 0xed && middle.iter().all(|byte| *byte == 0xff);
    is_beyond || SMALL.contains(&x)
}

/// The y of the points of order 1, 2, 4 and 8, little-endian.
const SMALL: [[u8; 32]; 5] = [
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [0; 32],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::{oauth::tests::kit::Holder, spiffe::jose::encode};

    fn okp(x: &[u8], more: &str) -> Result<ProofKey, KeyError> {
        ProofKey::parse(format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"{more}}}"#, encode(x)).as_bytes())
    }

    #[test]
    fn an_ed25519_key_has_one_spelling_and_no_small_order() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = pair.public_key().as_ref();
        for more in ["", r#","alg":"EdDSA""#, r#","alg":"Ed25519""#, r#","use":"sig""#] {
            assert!(okp(x, more).is_ok(), "{more}");
        }
        assert_eq!(okp(x, r#","alg":"ES256""#), Err(KeyError::Algorithm));
        assert_eq!(okp(x, r#","alg":1"#), Err(KeyError::Algorithm));
        assert_eq!(okp(x, r#","d":"AA""#), Err(KeyError::Jwk(jose::KeyError::Private("d"))));
        assert_eq!(okp(&[9; 31], ""), Err(KeyError::Width));
        assert_eq!(okp(&[9; 33], ""), Err(KeyError::Width));
        for sign in [0, 0x80] {
            for small in SMALL {
                let mut x = small;
                x[31] |= sign;
                assert_eq!(okp(&x, ""), Err(KeyError::Point), "{x:?}");
            }
            // Not below the prime: p, p + 1, …
            for first in 0xed..=0xff {
                let mut x = [0xff; 32];
                (x[0], x[31]) = (first, 0x7f | sign);
                assert_eq!(okp(&x, ""), Err(KeyError::Point), "{x:?}");
            }
        }
        // The last y below the prime that is of no small order is left to the signature.
        let mut x = [0xff; 32];
        (x[0], x[31]) = (0xeb, 0x7f);
        assert!(okp(&x, "").is_ok());
    }

    #[test]
    fn other_kinds_are_no_keys_here() {
        let x = encode(&[9; 32]);
        for json in [
            format!(r#"{{"kty":"OKP","crv":"X25519","x":"{x}"}}"#),
            format!(r#"{{"kty":"OKP","crv":"Ed448","x":"{x}"}}"#),
            format!(r#"{{"kty":"EC","crv":"secp256k1","x":"{x}","y":"{x}"}}"#),
            format!(r#"{{"crv":"Ed25519","x":"{x}"}}"#),
            r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#.to_owned(),
        ] {
            assert_eq!(ProofKey::parse(json.as_bytes()), Err(KeyError::Kind), "{json}");
        }
        assert!(matches!(ProofKey::parse(b"[]"), Err(KeyError::Jwk(jose::KeyError::NotObject))));
        assert!(matches!(ProofKey::parse(&[b' '; BYTES_MAX + 1]), Err(KeyError::Jwk(jose::KeyError::Json(_)))));
    }

    #[test]
    fn a_key_verifies_its_own_signatures_alone() {
        for (holder, other) in [(Holder::new(), Holder::new()), (Holder::ed25519(), Holder::ed25519())] {
            let token = holder.sealed("a.b".to_owned());
            let signature = decode(token.rsplit('.').next().unwrap()).unwrap();
            let key = |holder: &Holder| ProofKey::parse(holder.jwk().as_bytes()).unwrap();
            assert_eq!(key(&holder).verify(b"a.b", &signature), Ok(()));
            assert_eq!(key(&holder).verify(b"a.c", &signature), Err(jose::Error::Signature));
            assert_eq!(key(&other).verify(b"a.b", &signature), Err(jose::Error::Signature));
        }
    }
}

//! A workload's own key pair as it is handed out with a WIT-SVID: the one private thing in this room.

use std::fmt;

use aws_lc_rs::{
    encoding::AsBigEndian,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        KeyPair as _,
    },
};
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::{Algorithm, Jwk, KeyError, SigningAlgorithm};

/// An EC private key as a JWK (RFC 7518 §6.2.2), with its public half. The text is wiped when this is dropped.
pub struct PrivateJwk {
    public: Jwk,
    json: Zeroizing<String>,
}

impl PrivateJwk {
    /// The key of a PKCS#8 document, DER, of the algorithm's curve. The two halves are of one key pair,
    /// which is checked.
    ///
    /// # Errors
    /// [`KeyError::KeyPair`] when it is no key pair of this curve.
    pub fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(signing(algorithm), pkcs8).map_err(|_| KeyError::KeyPair)?;
        let public = Jwk::from_point(pair.public_key().as_ref())?.for_algorithm(Algorithm::from(algorithm))?;
        let secret = pair.private_key().as_be_bytes().map_err(|_| KeyError::KeyPair)?;

        let shown = public.to_json();
        let open = shown.strip_suffix('}').ok_or(KeyError::KeyPair)?;
        let mut json = Zeroizing::new(String::new());
        // Room for all of it at once: a String that grows leaves its bytes behind.
        json.reserve_exact(open.len() + MEMBER.len() + BASE64URL_NOPAD.encode_len(secret.as_ref().len()) + 2);
        json.push_str(open);
        json.push_str(MEMBER);
        BASE64URL_NOPAD.encode_append(secret.as_ref(), &mut json);
        json.push_str("\"}");
        Ok(Self { public, json })
    }

    /// The public half, for its algorithm only: what stands in `cnf` (RFC 7800 §3.2).
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// The private JWK as JSON. Each use is a place to review.
    pub fn expose(&self) -> &str {
        &self.json
    }
}

impl fmt::Debug for PrivateJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateJwk(..)")
    }
}

fn signing(algorithm: SigningAlgorithm) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        SigningAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        SigningAlgorithm::Es384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
    }
}

const MEMBER: &str = ",\"d\":\"";

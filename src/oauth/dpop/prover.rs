//! Who has a key and proves it: the client's side of DPoP.

use std::{fmt, time::SystemTime};

use aws_lc_rs::{
    rand::{SystemRandom, fill},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};

use crate::{
    oauth::{Thumbprint, TokenHash},
    spiffe::{
        jose::{self, Jwk, SignError, Signer, SigningAlgorithm, encode},
        json::Members,
    },
};

use super::TYPE;

/// A P-256 key that was made for this process and is never written anywhere.
pub struct Prover {
    pair: EcdsaKeyPair,
    public: Jwk,
}

impl Prover {
    /// With a new key.
    ///
    /// # Errors
    /// [`SignError::NoSignature`] when the system has no randomness.
    pub fn generate() -> Result<Self, SignError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SignError::NoSignature)?;
        let public = Jwk::from_point(pair.public_key().as_ref()).map_err(|_| SignError::NoSignature)?;
        Ok(Self { pair, public })
    }

    /// The name of the key (RFC 7638).
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.public)
    }

    /// Its public half.
    pub fn public_key(&self) -> &Jwk {
        &self.public
    }

    /// The value of a `DPoP` header for one request (RFC 9449 §4.2): its method, its URL without query and fragment, the
    /// access token that goes with it, and the nonce that the server asks for.
    ///
    /// # Errors
    /// When nothing could be signed.
    pub fn prove(
        &self,
        method: &str,
        url: &str,
        token: Option<TokenHash>,
        nonce: Option<&str>,
        now: SystemTime,
    ) -> Result<String, SignError> {
        let mut token_id = [0; 16];
        fill(&mut token_id).map_err(|_| SignError::NoSignature)?;
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = Members::new().string("typ", TYPE).string("alg", "ES256").raw("jwk", &self.public.to_json());
        let claims = Members::new()
            .string("jti", &encode(&token_id))
            .string("htm", method)
            .string("htu", url)
            .integer("iat", seconds);
        let claims = token.into_iter().fold(claims, |claims, token| claims.string("ath", &token.to_string()));
        let claims = nonce.into_iter().fold(claims, |claims, nonce| claims.string("nonce", nonce));
        jose::seal(&header.finish(), &claims.finish(), self)
    }
}

impl Signer for Prover {
    fn algorithm(&self) -> SigningAlgorithm {
        SigningAlgorithm::Es256
    }

    /// No header has it: the key itself stands there.
    fn key_id(&self) -> &str {
        "jwk"
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
    }
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").field("thumbprint", &self.thumbprint()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::oauth::{
        dpop::{Error, Expected, Unproved, Window},
        target::Target,
        tests::kit::{now, seconds},
    };

    #[test]
    fn what_is_proved_is_believed_for_that_request_alone() {
        let (prover, token) = (Prover::generate().unwrap(), TokenHash::of("token"));
        let url = "https://api.example.org/items";
        let target = Target::parse_htu(url).unwrap();
        let expected =
            Expected { method: "GET", target: &target, token: Some(token), window: Window::default(), now: now() };
        let text = prover.prove("GET", url, Some(token), Some("fresh"), now()).unwrap();
        let proof = Unproved::parse(&text).unwrap();
        assert_eq!((proof.nonce(), proof.thumbprint()), (Some("fresh"), prover.thumbprint()));
        proof.check(&expected).unwrap();
        let other = Expected { method: "PUT", ..expected };
        assert_eq!(proof.check(&other), Err(Error::OtherMethod));
        assert!(proof.check(&Expected { now: now() + seconds(600), ..expected }).is_err());
        assert_eq!(proof.prove().unwrap().thumbprint(), prover.thumbprint());
        let again = prover.prove("GET", url, None, None, now()).unwrap();
        assert_ne!(again, text);
        assert_eq!(Unproved::parse(&again).unwrap().check(&expected), Err(Error::NoTokenHash));
        assert!(!format!("{prover:?}").contains(&prover.public.to_json()));
    }
}

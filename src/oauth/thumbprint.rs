//! Names of keys (RFC 7638): the SHA-256 of a key's required members, which is what a token is bound to (`cnf.jkt`).

use std::fmt;

use thiserror::Error;

use crate::spiffe::{
    jose::{Jwk, decode, encode, sha256},
    json::Members,
};

/// The SHA-256 thumbprint of a public key. Its text is base64url without padding, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint([u8; 32]);

/// A text is no thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is not the canonical base64url of a SHA-256 thumbprint")]
pub struct NotThumbprint;

impl Thumbprint {
    /// That of an EC or RSA key.
    pub fn of(key: &Jwk) -> Self {
        Self(key.thumbprint_hash())
    }

    /// That of an Ed25519 key, by its `x` (RFC 8037 §2).
    pub fn of_ed25519(x: &[u8; 32]) -> Self {
        let json = Members::new().string("crv", "Ed25519").string("kty", "OKP").string("x", &encode(x)).finish();
        Self(sha256(&[json.as_bytes()]))
    }

    /// Reads one: 43 characters of base64url without padding (RFC 7638 §3), in their one spelling.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, NotThumbprint> {
        decode(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NotThumbprint)
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// RFC 9449 Figure 2, in the order of its members there.
    const RFC_9449: &str = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
    /// RFC 7638 §3.1, with the members that a thumbprint leaves out.
    const RFC_7638: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    /// RFC 8037 A.3
    const RFC_8037: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn the_standards_have_the_same_thumbprints() {
        let of = |jwk: &str| Thumbprint::of(&Jwk::parse(jwk.as_bytes()).unwrap()).to_string();
        assert_eq!(of(RFC_9449), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        // RFC 7638 §3.1, and the `dpop_jkt` of RFC 9449 §10.
        assert_eq!(of(RFC_7638), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let x = decode(RFC_8037).unwrap().try_into().unwrap();
        assert_eq!(Thumbprint::of_ed25519(&x).to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_thumbprint_has_one_spelling() {
        let good = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        let read = Thumbprint::parse(good).unwrap();
        assert_eq!(read.to_string(), good);
        assert_eq!(read.as_bytes().as_slice(), decode(good).unwrap());
        let others =
            ["", "AAAA", &format!("{good}="), &format!("{good}AA"), &good.replace('-', "+"), &good.replace("4I", "4J")];
        for other in others {
            assert_eq!(Thumbprint::parse(other), Err(NotThumbprint), "{other}");
        }
    }
}

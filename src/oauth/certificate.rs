//! The certificate of a client, as the proxy that has verified it shows it, and its name in tokens (RFC 8705 §3.1).
//!
//! Nothing is judged here but the form: that the client holds the certificate's key is what the proxy has found.

use std::fmt;

use data_encoding::BASE64;
use thiserror::Error;

use crate::spiffe::jose::{decode, encode, sha256};

/// The longest certificate that is read, in bytes as it comes.
pub const CERTIFICATE_BYTES_MAX: usize = 24 * 1024;

/// A client's certificate in one of the forms that proxies have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate<'a> {
    /// DER.
    Der(&'a [u8]),
    /// PEM, percent-encoded or not: Envoy's `source.certificate`, nginx's `$ssl_client_escaped_cert`.
    Pem(&'a [u8]),
}

/// The SHA-256 of a certificate's DER: `x5t#S256`. Its text is base64url without padding, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CertificateHash([u8; 32]);

/// Something is not one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// More than [`CERTIFICATE_BYTES_MAX`].
    #[error("the client's certificate has {0} bytes, at most {CERTIFICATE_BYTES_MAX} are read")]
    TooLong(usize),
    /// `%` without two hexadecimal digits, or bytes that are not ASCII.
    #[error("the client's certificate is not percent-encoded ASCII")]
    Escape,
    /// Not exactly one PEM block of a certificate.
    #[error("the client's certificate is not one PEM block")]
    Pem,
}

impl Certificate<'_> {
    /// Its name.
    ///
    /// # Errors
    /// When it is not exactly one certificate.
    pub fn hash(&self) -> Result<CertificateHash, CertificateError> {
        let bytes = match self {
            Self::Der(der) => der.len(),
            Self::Pem(text) => text.len(),
        };
        if bytes > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::TooLong(bytes));
        }
        match self {
            Self::Der([]) => Err(CertificateError::Pem),
            Self::Der(der) => Ok(CertificateHash(sha256(&[der]))),
            Self::Pem(text) => Ok(CertificateHash(sha256(&[&der(&unescaped(text)?)?]))),
        }
    }
}

impl CertificateHash {
    /// Reads one: 43 characters of base64url without padding, in their one spelling. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        decode(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateHash({self})")
    }
}

/// Without its percent-escapes. `+` stands for itself: base64 has it.
fn unescaped(text: &[u8]) -> Result<String, CertificateError> {
    let text = str::from_utf8(text).map_err(|_| CertificateError::Escape)?;
    let mut plain = String::with_capacity(text.len());
    let mut pieces = text.split('%');
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or(CertificateError::Escape)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| is_hex && byte.is_ascii());
        plain.push(byte.ok_or(CertificateError::Escape)?.into());
        plain.push_str(rest);
    }
    match plain.is_ascii() {
        true => Ok(plain),
        false => Err(CertificateError::Escape),
    }
}

/// What is in the one block.
fn der(pem: &str) -> Result<Vec<u8>, CertificateError> {
    let base64 = pem.trim_ascii().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let base64: String = base64.ok_or(CertificateError::Pem)?.split_ascii_whitespace().collect();
    BASE64.decode(base64.as_bytes()).ok().filter(|der| !der.is_empty()).ok_or(CertificateError::Pem)
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// RFC 8705 Appendix A.
    pub(crate) const RFC_8705: &str = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";
    pub(crate) const RFC_8705_HASH: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

    pub(crate) fn pem() -> String {
        let lines: Vec<_> = RFC_8705.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
    }

    fn pem_of(text: &str) -> Certificate<'_> {
        Certificate::Pem(text.as_bytes())
    }

    /// As Envoy has it: everything that could mean something in a URL.
    fn escaped(text: &str, safe: fn(char) -> bool) -> String {
        text.chars().map(|c| if safe(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) }).collect()
    }

    #[test]
    fn the_standards_certificate_has_its_hash_in_every_form() {
        let der = BASE64.decode(RFC_8705.as_bytes()).unwrap();
        let envoy = escaped(&pem(), |c| c.is_ascii_alphanumeric());
        let nginx = escaped(&pem(), |c| c.is_ascii_graphic() && c != '%');
        let crlf = pem().replace('\n', "\r\n");
        let all = [Certificate::Der(&der), pem_of(&pem()), pem_of(&envoy), pem_of(&nginx), pem_of(&crlf)]
            .map(|certificate| certificate.hash().unwrap().to_string());
        assert_eq!(all, [RFC_8705_HASH; 5]);
        assert_eq!(CertificateHash::parse(RFC_8705_HASH).unwrap().to_string(), RFC_8705_HASH);
        for odd in ["", "AAAA", &format!("{RFC_8705_HASH}="), &RFC_8705_HASH.replace("v0", "v1")] {
            assert_eq!(CertificateHash::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_is_not_one_certificate_is_refused() {
        let two = format!("{}{}", pem(), pem());
        let long = "A".repeat(CERTIFICATE_BYTES_MAX + 1);
        let cases = [
            ("", CertificateError::Pem),
            ("-", CertificateError::Pem),
            (BEGIN, CertificateError::Pem),
            (&format!("{BEGIN}{END}"), CertificateError::Pem),
            (&format!("{BEGIN}\nA\n{END}"), CertificateError::Pem),
            (&pem().replace("CERTIFICATE", "PUBLIC KEY"), CertificateError::Pem),
            (&two, CertificateError::Pem),
            ("%", CertificateError::Escape),
            ("%2", CertificateError::Escape),
            ("%+1", CertificateError::Escape),
            ("%é", CertificateError::Escape),
            ("%ff", CertificateError::Escape),
            ("é", CertificateError::Escape),
            (&long, CertificateError::TooLong(long.len())),
        ];
        for (text, expected) in cases {
            assert_eq!(pem_of(text).hash(), Err(expected), "{text}");
        }
        assert_eq!(Certificate::Pem(b"\xff").hash(), Err(CertificateError::Escape));
        assert_eq!(Certificate::Der(&[]).hash(), Err(CertificateError::Pem));
    }
}

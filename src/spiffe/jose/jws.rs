//! Compact JWS whose payload is a set of claims (RFC 7515 §3.1, RFC 7519): read whole before any key is
//! touched, believed only after. [`Compact`] is the form alone; [`Unverified`] is what SVIDs make of it.

use zeroize::Zeroizing;

use crate::spiffe::json::{self, Object, Value};

use super::{Algorithm, Error, Jwk, TOKEN_BYTES_MAX, decode};

/// The three parts of a compact JWS, of which nothing is believed yet. `H` is what its reader makes of the header.
pub(crate) struct Compact<'a, H> {
    pub(crate) header: H,
    pub(crate) claims: Object,
    signed: &'a str,
    /// Wiped: who has it and the rest has the token.
    signature: Zeroizing<Vec<u8>>,
}

impl<'a, H> Compact<'a, H> {
    /// Reads a token of at most so many bytes. The header is read and judged before the payload is decoded.
    pub(crate) fn parse<E: From<Error>>(
        token: &'a str,
        bytes_max: usize,
        read: impl FnOnce(&Object) -> Result<H, E>,
    ) -> Result<Self, E> {
        if token.len() > bytes_max {
            return Err(Error::TooLong { bytes: token.len(), most: bytes_max }.into());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Parts)?;
        if claims.contains('.') {
            return Err(Error::Parts.into());
        }
        let header = read(&object("header", header)?)?;
        let claims = object("payload", claims)?;
        let signature = Zeroizing::new(decode(signature).ok_or(Error::Base64("signature"))?);
        Ok(Self { header, claims, signed, signature })
    }

    /// What was signed: the first two parts, as they were received.
    pub(crate) fn signed(&self) -> &'a str {
        self.signed
    }

    /// The signature in the form that JWS has.
    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// A token of which nothing is believed yet. Its header is good for finding the keys that may be tried.
pub(crate) struct Unverified<'a>(Compact<'a, Header>);

/// What a header says, as far as anything here listens to it.
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    /// Never empty.
    pub(crate) key_id: Option<String>,
    pub(crate) kind: Option<String>,
    /// Whether there is a parameter besides `alg`, `kid` and `typ`.
    pub(crate) has_others: bool,
}

impl<'a> Unverified<'a> {
    /// Reads a token of at most [`TOKEN_BYTES_MAX`].
    pub(crate) fn parse(token: &'a str) -> Result<Self, Error> {
        // JWT-SVID §2.1: the algorithm comes before everything else.
        Compact::parse(token, TOKEN_BYTES_MAX, Header::read).map(Self)
    }

    /// Its header, good for nothing but the choice of keys.
    pub(crate) fn header(&self) -> &Header {
        &self.0.header
    }

    /// What it claims, for finding whose keys may be tried.
    pub(crate) fn unverified_claims(&self) -> &Object {
        &self.0.claims
    }

    /// Its claims, if one of these keys has signed it.
    ///
    /// # Errors
    /// That of the last key; [`Error::Signature`] where there is none.
    pub(crate) fn verify<'k>(self, keys: impl IntoIterator<Item = &'k Jwk>) -> Result<Object, Error> {
        let mut outcome = Err(Error::Signature);
        for key in keys {
            outcome = key.verify(self.0.header.algorithm, self.0.signed.as_bytes(), &self.0.signature);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map(|()| self.0.claims)
    }
}

impl Header {
    fn read(header: &Object) -> Result<Self, Error> {
        let algorithm = header.member("alg").and_then(Value::as_str).and_then(Algorithm::named);
        let algorithm = algorithm.ok_or(Error::Algorithm)?;
        if let Some(name) = REFUSED.into_iter().find(|name| header.has(name)) {
            return Err(Error::Header(name));
        }
        let key_id = match header.member("kid") {
            None => None,
            Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
            Some(_) => return Err(Error::KeyId),
        };
        let kind = match header.member("typ") {
            None => None,
            Some(Value::String(kind)) => Some(kind.clone()),
            Some(_) => return Err(Error::Type),
        };
        let has_others = header.iter().any(|(name, _)| !["alg", "kid", "typ"].contains(&name));
        Ok(Self { algorithm, key_id, kind, has_others })
    }
}

fn object(part: &'static str, text: &str) -> Result<Object, Error> {
    let bytes = decode(text).ok_or(Error::Base64(part))?;
    match json::parse(&bytes, TOKEN_BYTES_MAX).map_err(|source| Error::Json { part, source })? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::NotObject(part)),
    }
}

/// Extensions that must be understood and are not (`crit`, `b64`, `zip`, `enc`), and places to take a key from
/// other than the bundle. They are refused, not passed over: an issuer of SVIDs may set none of them.
const REFUSED: [&str; 8] = ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"];

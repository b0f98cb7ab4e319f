//! The keys of an issuer of access tokens, as its JWK Set has them (RFC 7517 §5).

use thiserror::Error;

use crate::spiffe::{
    TrustDomain,
    jose::{Algorithm, BundleError, Jwk, KeyError},
    json::{self, Object, Value},
};

use super::{Keys, brand::is_key_id};

/// The longest JWK Set that is read, in bytes.
pub const JWKS_BYTES_MAX: usize = 64 * 1024;

/// Why a JWK Set is not that of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JwksError {
    /// It is not JSON that has one meaning, or it is too long.
    #[error("the JWK Set cannot be read")]
    Json(#[from] json::Error),
    /// It is no object with a list of `keys`, or one of them is no object.
    #[error("it is no JWK Set: a JSON object with a list of `keys`")]
    NoKeys,
    /// A key is not for access tokens: its `kid` has no brand, or it says another `use` or `alg`.
    #[error("a key of the JWK Set is not for access tokens")]
    Other,
    /// A key is none.
    #[error("a key of the JWK Set is malformed")]
    Key(#[from] KeyError),
    /// The keys do not go together.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// The keys of a JWK Set as a daemon publishes it, of this trust domain. One that is not as all are spoils the set: it is
/// not the daemon's then.
///
/// # Errors
/// See [`JwksError`].
pub fn read_keys(trust_domain: TrustDomain, jwks: &[u8]) -> Result<Keys, JwksError> {
    let set = json::parse(jwks, JWKS_BYTES_MAX)?;
    let keys = set.as_object().and_then(|set| set.member("keys")).and_then(Value::as_array).ok_or(JwksError::NoKeys)?;
    let keys = keys.iter().map(|key| read(key.as_object().ok_or(JwksError::NoKeys)?)).collect::<Result<Vec<_>, _>>()?;
    Ok(Keys::new(trust_domain, keys)?)
}

fn read(jwk: &Object) -> Result<(String, Jwk), JwksError> {
    let text = |name| jwk.member(name).and_then(Value::as_str);
    let id = text("kid").filter(|id| is_key_id(id)).ok_or(JwksError::Other)?;
    if (text("use"), text("alg")) != (Some("sig"), Some(Algorithm::Es256.name())) {
        return Err(JwksError::Other);
    }
    Jwk::check_public(jwk)?;
    Ok((id.to_owned(), Jwk::read(jwk)?.for_algorithm(Algorithm::Es256)?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::oauth::{access::key_id, dpop::Prover};

    fn domain() -> TrustDomain {
        TrustDomain::parse("example.org").unwrap()
    }

    #[test]
    fn what_is_published_is_read_as_it_was() {
        let keys = (0..3).map(|_| Prover::generate().unwrap().public_key().clone());
        let keys = keys.map(|key| (key_id(&key), key.for_algorithm(Algorithm::Es256).unwrap()));
        let keys = Keys::new(domain(), keys).unwrap();
        assert_eq!(read_keys(domain(), keys.to_json().as_bytes()).unwrap(), keys);
        assert!(read_keys(domain(), b"{\"keys\":[]}").unwrap().is_empty());
    }

    #[test]
    fn a_set_with_another_key_is_refused_whole() {
        let key = Prover::generate().unwrap().public_key().clone();
        let good =
            Keys::new(domain(), [(key_id(&key), key.for_algorithm(Algorithm::Es256).unwrap())]).unwrap().to_json();
        for (from, to, expected) in [
            ("dfly-", "other-", JwksError::Other),
            ("\"sig\"", "\"enc\"", JwksError::Other),
            ("\"ES256\"", "\"ES384\"", JwksError::Other),
            ("\"crv\":\"P-256\"", "\"crv\":\"P-384\"", JwksError::Key(KeyError::Width)),
            ("\"kty\"", "\"d\":\"AQ\",\"kty\"", JwksError::Key(KeyError::Private("d"))),
            ("\"keys\"", "\"key\"", JwksError::NoKeys),
        ] {
            let changed = good.replace(from, to);
            assert_ne!(changed, good, "{from}");
            let error = read_keys(domain(), changed.as_bytes()).unwrap_err();
            assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected), "{to}: {error}");
        }
        let only = good.trim_start_matches("{\"keys\":[").trim_end_matches("]}");
        let twice = format!("{{\"keys\":[{only},{only}]}}");
        assert_eq!(read_keys(domain(), twice.as_bytes()), Err(JwksError::Bundle(BundleError::KeyIdTwice)));
        let long = format!("{}{good}", " ".repeat(JWKS_BYTES_MAX));
        assert!(matches!(read_keys(domain(), long.as_bytes()), Err(JwksError::Json(_))));
    }
}

//! Public keys as JWKs (RFC 7517 §4, RFC 7518 §6.2 and §6.3).

use aws_lc_rs::signature::{self, EcdsaKeyPair, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use zeroize::Zeroizing;

use crate::spiffe::{
    json::{self, Members, Object},
    x509::KeyParts,
};

use super::{Algorithm, Error, KeyError, curve::Curve, decode, encode, sha256};

/// The fewest bits of an RSA modulus.
pub const RSA_BITS_MIN: usize = 2048;
/// The most bits of an RSA modulus: checking longer ones is a way to keep a processor busy.
pub const RSA_BITS_MAX: usize = 8192;

/// The longest JWK that is read by itself, in bytes. One of RSA-8192 is under a quarter of it.
const BYTES_MAX: usize = 8 * 1024;

/// A public key of which every rule has been checked, with the one algorithm it is for where it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    material: Material,
    algorithm: Option<Algorithm>,
}

#[derive(Clone, Debug)]
enum Material {
    /// The uncompressed point: a 4, then x and y at full width. It was looked at once and is ready to verify with.
    Ec { curve: Curve, point: ParsedPublicKey },
    /// Big-endian, without zeros in front.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // A point's length tells its curve.
            (Self::Ec { point, .. }, Self::Ec { point: another, .. }) => point.as_ref() == another.as_ref(),
            (Self::Rsa { modulus, exponent }, Self::Rsa { modulus: n, exponent: e }) => modulus == n && exponent == e,
            _ => false,
        }
    }
}

impl Eq for Material {}

impl Jwk {
    /// Reads one JWK, of at most 8 KiB of JSON.
    ///
    /// # Errors
    /// When it is not JSON that has one meaning, and as with the keys of a bundle: the first rule it breaks.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        Self::read(json::parse(json, BYTES_MAX)?.as_object().ok_or(KeyError::NotObject)?)
    }

    /// The key of an uncompressed point (SEC 1 §2.3.3), as signers have it.
    ///
    /// # Errors
    /// [`KeyError::Width`] when no curve has points of this form and length, [`KeyError::Point`] when it is
    /// not on that curve.
    pub fn from_point(point: &[u8]) -> Result<Self, KeyError> {
        let curve = Curve::ALL.into_iter().find(|curve| point.len() == 1 + 2 * curve.width());
        let curve = curve.filter(|_| point.first() == Some(&4)).ok_or(KeyError::Width)?;
        let point = ParsedPublicKey::new(curve.verification(), point).map_err(|_| KeyError::Point)?;
        Ok(Self { material: Material::Ec { curve, point }, algorithm: None })
    }

    /// The same key for one algorithm only, which it then names in its `alg`.
    ///
    /// # Errors
    /// [`KeyError::Algorithm`] when the algorithm does not go with the key, or it names another already.
    pub fn for_algorithm(self, algorithm: Algorithm) -> Result<Self, KeyError> {
        match self.admits(algorithm) {
            true => Ok(Self { algorithm: Some(algorithm), ..self }),
            false => Err(KeyError::Algorithm),
        }
    }

    /// The algorithm that it is for, where it says so.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Whether a signature by this algorithm can be this key's.
    pub fn admits(&self, algorithm: Algorithm) -> bool {
        let fits = match &self.material {
            Material::Ec { curve, .. } => curve.algorithm() == algorithm,
            Material::Rsa { .. } => rsa_parameters(algorithm).is_some(),
        };
        fits && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether it is the same key, whatever algorithm the two name.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.material == other.material
    }

    /// Checks a signature in the form that JWS has (RFC 7518 §3): of ECDSA, r and s at full width.
    ///
    /// # Errors
    /// [`Error::KeyMismatch`] when the algorithm is not for this key, [`Error::Signature`].
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        if !self.admits(algorithm) {
            return Err(Error::KeyMismatch);
        }
        let outcome = match &self.material {
            Material::Ec { point, .. } => point.verify_sig(message, signature),
            Material::Rsa { modulus, exponent } => {
                let parameters = rsa_parameters(algorithm).ok_or(Error::KeyMismatch)?;
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature)
            }
        };
        outcome.map_err(|_| Error::Signature)
    }

    /// The SHA-256 of its required members in the order of their names, in base64url: a name for the key
    /// (RFC 7638 §3).
    pub fn thumbprint(&self) -> String {
        encode(&self.thumbprint_hash())
    }

    /// The same, not encoded.
    pub(crate) fn thumbprint_hash(&self) -> [u8; 32] {
        let mut members = self.parameters();
        members.push(("kty", self.key_type().to_owned()));
        members.sort_unstable();
        let json = members.iter().fold(Members::new(), |json, (name, text)| json.string(name, text)).finish();
        sha256(&[json.as_bytes()])
    }

    /// The JWK as JSON: `kty`, the key's own members, and `alg` where it names one.
    pub fn to_json(&self) -> String {
        let json = self.write_key(self.write_type());
        match self.algorithm {
            Some(algorithm) => json.string("alg", algorithm.name()).finish(),
            None => json.finish(),
        }
    }

    /// An object that begins with `kty`.
    pub(in crate::spiffe) fn write_type(&self) -> Members {
        Members::new().string("kty", self.key_type())
    }

    /// The members that are the key: `crv`, `x`, `y`, or `n`, `e`.
    pub(in crate::spiffe) fn write_key(&self, json: Members) -> Members {
        self.parameters().iter().fold(json, |json, (name, text)| json.string(name, text))
    }

    /// Reads the members of a JWK that are about its key.
    pub(crate) fn read(jwk: &Object) -> Result<Self, KeyError> {
        Self::check_public(jwk)?;
        Self::read_members(jwk)
    }

    /// The public half of a private JWK that its holder was handed, of at most 8 KiB of JSON. Of an EC key the two
    /// halves are of one pair, which is checked; of an RSA key only the public half is read.
    ///
    /// # Errors
    /// As [`Jwk::parse`]; [`KeyError::Member`] without a private member, [`KeyError::KeyPair`] when the halves differ.
    pub fn of_private(json: &[u8]) -> Result<Self, KeyError> {
        let jwk = json::parse(json, BYTES_MAX)?;
        let jwk = jwk.as_object().ok_or(KeyError::NotObject)?;
        let (key, secret) = (Self::read_members(jwk)?, Zeroizing::new(octets(jwk, "d")?));
        match &key.material {
            Material::Ec { curve, point } => {
                EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &secret, point.as_ref())
                    .map_err(|_| KeyError::KeyPair)?;
            }
            Material::Rsa { .. } => {}
        }
        Ok(key)
    }

    fn read_members(jwk: &Object) -> Result<Self, KeyError> {
        let key = match jwk.member("kty").and_then(json::Value::as_str) {
            Some("EC") => read_ec(jwk)?,
            Some("RSA") => read_rsa(jwk)?,
            _ => return Err(KeyError::Type),
        };
        match jwk.member("alg") {
            None => Ok(key),
            Some(name) => {
                let algorithm = name.as_str().and_then(Algorithm::named).ok_or(KeyError::Algorithm)?;
                key.for_algorithm(algorithm)
            }
        }
    }

    /// Looks only for what nobody should publish, in a JWK of any kind.
    pub(crate) fn check_public(jwk: &Object) -> Result<(), KeyError> {
        if jwk.member("kty").and_then(json::Value::as_str) == Some("oct") {
            return Err(KeyError::Symmetric);
        }
        match PRIVATE.into_iter().find(|name| jwk.has(name)) {
            Some(name) => Err(KeyError::Private(name)),
            None => Ok(()),
        }
    }

    /// The key that a certificate is about. `None` for Ed25519, which no token here can be signed with.
    pub(in crate::spiffe) fn from_parts(parts: KeyParts<'_>) -> Option<Self> {
        match parts {
            KeyParts::Point(point) => Self::from_point(point).ok(),
            KeyParts::Rsa { modulus, exponent } => rsa(modulus.to_vec(), exponent.to_vec()).ok(),
            KeyParts::Ed25519 => None,
        }
    }

    fn key_type(&self) -> &'static str {
        match self.material {
            Material::Ec { .. } => "EC",
            Material::Rsa { .. } => "RSA",
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        match &self.material {
            Material::Ec { curve, point } => {
                let (x, y) =
                    point.as_ref().get(1..).unwrap_or_default().split_at_checked(curve.width()).unwrap_or_default();
                vec![("crv", curve.name().to_owned()), ("x", encode(x)), ("y", encode(y))]
            }
            Material::Rsa { modulus, exponent } => vec![("n", encode(modulus)), ("e", encode(exponent))],
        }
    }
}

fn read_ec(jwk: &Object) -> Result<Jwk, KeyError> {
    let name = jwk.member("crv").and_then(json::Value::as_str);
    let curve = Curve::ALL.into_iter().find(|curve| Some(curve.name()) == name).ok_or(KeyError::Curve)?;
    let (x, y) = (octets(jwk, "x")?, octets(jwk, "y")?);
    match x.len() == curve.width() && y.len() == curve.width() {
        true => Jwk::from_point(&[&[4], x.as_slice(), &y].concat()),
        false => Err(KeyError::Width),
    }
}

fn read_rsa(jwk: &Object) -> Result<Jwk, KeyError> {
    rsa(octets(jwk, "n")?, octets(jwk, "e")?)
}

fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<Jwk, KeyError> {
    let (first, last) = match modulus.as_slice() {
        [0, ..] => return Err(KeyError::RsaModulus),
        [first, .., last] => (*first, *last),
        _ => return Err(KeyError::RsaSize),
    };
    let unused = usize::try_from(first.leading_zeros()).unwrap_or_default();
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&(modulus.len() * 8 - unused)) {
        return Err(KeyError::RsaSize);
    }
    if last % 2 == 0 {
        return Err(KeyError::RsaModulus);
    }
    // e = 1 leaves the message as it is; an even one is no exponent; a long one takes long.
    match exponent.as_slice() {
        [] | [0, ..] | [1] | [_, _, _, _, _, ..] => Err(KeyError::RsaExponent),
        [.., last] if last % 2 == 0 => Err(KeyError::RsaExponent),
        _ => Ok(Jwk { material: Material::Rsa { modulus, exponent }, algorithm: None }),
    }
}

fn octets(jwk: &Object, name: &'static str) -> Result<Vec<u8>, KeyError> {
    jwk.member(name).and_then(json::Value::as_str).and_then(decode).ok_or(KeyError::Member(name))
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => None,
    }
}

/// What only a private or secret key has (RFC 7518 §6.2.2, §6.3.2, §6.4.1; `priv` of AKP keys).
const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

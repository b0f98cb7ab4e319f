//! The signature algorithms and keys that are believed: a short list, compared byte by byte, so that an
//! unusual parameter is an unknown algorithm. SHA-1, MD5, RSA under 2048 bits and other curves are not on it.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use super::{
    Error,
    der::{Element, OID, Reader},
};

/// The fewest bits of an RSA modulus.
const RSA_BITS_MIN: usize = 2048;
/// The most bits of an RSA modulus: checking longer ones is a way to keep a processor busy.
const RSA_BITS_MAX: usize = 8192;

/// A public key of an allowed kind.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    kind: Kind,
    bits: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// What a public key is made of, for those who write keys in another way.
pub(in crate::spiffe) enum KeyParts<'a> {
    /// An uncompressed point of P-256 or P-384.
    Point(&'a [u8]),
    /// Big-endian, without zeros in front.
    Rsa { modulus: &'a [u8], exponent: &'a [u8] },
    /// A key that JWS has no algorithm for here.
    Ed25519,
}

impl<'a> Key<'a> {
    /// Reads a `SubjectPublicKeyInfo`.
    pub(super) fn read(spki: &Element<'a>) -> Result<Self, Error> {
        const WHAT: &str = "the public key";
        let mut reader = spki.reader();
        let algorithm = reader.sequence(WHAT)?;
        let bits = reader.whole_bits(WHAT)?;
        reader.finish(WHAT)?;
        let kind = match algorithm.content {
            content if content == EC_P256 => Kind::P256,
            content if content == EC_P384 => Kind::P384,
            content if content == ED25519 => Kind::Ed25519,
            content if content == RSA => Kind::Rsa,
            content => return Err(refused(content)),
        };
        match (kind, bits.first(), bits.len()) {
            // An uncompressed point: compressed ones are legal elsewhere, not in what peers can read.
            (Kind::P256, Some(4), 65) | (Kind::P384, Some(4), 97) | (Kind::Ed25519, _, 32) => {}
            (Kind::Rsa, _, _) => check_rsa(bits)?,
            _ => return Err(Error::Key("its length or form is wrong")),
        }
        Ok(Self { kind, bits })
    }

    /// Whether this key made the signature over the bytes.
    pub(super) fn check(&self, algorithm: &[u8], signed: &[u8], signature: &[u8]) -> Result<(), Error> {
        let algorithm = self.algorithm(algorithm).ok_or(Error::Algorithm)?;
        UnparsedPublicKey::new(algorithm, self.bits).verify(signed, signature).map_err(|_| Error::Signature)
    }

    /// What it is made of.
    pub(super) fn parts(&self) -> Result<KeyParts<'a>, Error> {
        match self.kind {
            Kind::P256 | Kind::P384 => Ok(KeyParts::Point(self.bits)),
            Kind::Ed25519 => Ok(KeyParts::Ed25519),
            Kind::Rsa => {
                let (modulus, exponent) = read_rsa(self.bits)?;
                let unsigned = |number: &'a [u8]| number.strip_prefix(&[0]).unwrap_or(number);
                Ok(KeyParts::Rsa { modulus: unsigned(modulus), exponent: unsigned(exponent) })
            }
        }
    }

    /// The algorithm by its content bytes, where it goes with this key.
    fn algorithm(&self, content: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
        let known: &[(&[u8], &'static dyn VerificationAlgorithm)] = match self.kind {
            Kind::P256 => &[
                (ECDSA_SHA256, &signature::ECDSA_P256_SHA256_ASN1),
                (ECDSA_SHA384, &signature::ECDSA_P256_SHA384_ASN1),
            ],
            Kind::P384 => &[
                (ECDSA_SHA256, &signature::ECDSA_P384_SHA256_ASN1),
                (ECDSA_SHA384, &signature::ECDSA_P384_SHA384_ASN1),
            ],
            Kind::Ed25519 => &[(ED25519, &signature::ED25519)],
            Kind::Rsa => &[
                (RSA_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256),
                (RSA_SHA384, &signature::RSA_PKCS1_2048_8192_SHA384),
                (RSA_SHA512, &signature::RSA_PKCS1_2048_8192_SHA512),
                (RSA_PSS_SHA256, &signature::RSA_PSS_2048_8192_SHA256),
                (RSA_PSS_SHA384, &signature::RSA_PSS_2048_8192_SHA384),
                (RSA_PSS_SHA512, &signature::RSA_PSS_2048_8192_SHA512),
            ],
        };
        known.iter().find(|(bytes, _)| *bytes == content).map(|(_, algorithm)| *algorithm)
    }
}

/// Whether any key could go with this signature algorithm.
pub(super) fn is_allowed(content: &[u8]) -> bool {
    const ALL: [&[u8]; 9] = [
        ECDSA_SHA256,
        ECDSA_SHA384,
        ED25519,
        RSA_SHA256,
        RSA_SHA384,
        RSA_SHA512,
        RSA_PSS_SHA256,
        RSA_PSS_SHA384,
        RSA_PSS_SHA512,
    ];
    ALL.contains(&content)
}

/// The modulus and the exponent, with their signs.
fn read_rsa(bits: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    const WHAT: &str = "the RSA key";
    let mut reader = Reader::new(bits);
    let key = reader.sequence(WHAT)?;
    reader.finish(WHAT)?;
    let mut reader = key.reader();
    let modulus = reader.integer(WHAT)?;
    let exponent = reader.integer(WHAT)?;
    reader.finish(WHAT)?;
    Ok((modulus, exponent))
}

fn check_rsa(bits: &[u8]) -> Result<(), Error> {
    let (modulus, exponent) = read_rsa(bits)?;
    let length = match modulus {
        [0x80..=0xff, ..] => return Err(Error::Key("its RSA modulus is negative")),
        [0, rest @ ..] => rest.len() * 8,
        [first, rest @ ..] => {
            rest.len() * 8 + usize::try_from(first.checked_ilog2().map_or(0, |log| log + 1)).unwrap_or(0)
        }
        [] => 0,
    };
    if length < RSA_BITS_MIN {
        return Err(Error::Key("RSA with fewer than 2048 bits"));
    }
    if length > RSA_BITS_MAX {
        return Err(Error::Key("RSA with more than 8192 bits"));
    }
    // e = 1 leaves the message as it is; an even one is no exponent.
    match exponent {
        [0x80..=0xff, ..] | [0..=2] => Err(Error::Key("its RSA exponent is wrong")),
        [.., last] if last % 2 == 0 => Err(Error::Key("its RSA exponent is wrong")),
        _ => Ok(()),
    }
}

fn refused(algorithm: &[u8]) -> Error {
    let mut reader = Reader::new(algorithm);
    match reader.expect(OID, "the public key") {
        Ok(oid) if oid.whole == EC => Error::Key("its curve is neither P-256 nor P-384"),
        Ok(_) => Error::Key("its algorithm is not known"),
        Err(error) => error,
    }
}

// The contents of `AlgorithmIdentifier`s, parameters included.
const EC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const EC_P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const EC_P384: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const ECDSA_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const RSA_SHA256: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
const RSA_SHA384: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00";
const RSA_SHA512: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00";
// PSS with the same hash in MGF1 and a salt as long as the hash, as TLS has it (RFC 8446 §4.2.3).
const RSA_PSS_SHA256: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20";
const RSA_PSS_SHA384: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30";
const RSA_PSS_SHA512: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa2\x03\x02\x01\x40";

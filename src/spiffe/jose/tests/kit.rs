//! A maker of keys and tokens of which every byte can be chosen.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
        RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};

use crate::spiffe::jose::{Algorithm, Jwk, Signer, SigningAlgorithm, decode, encode};

/// 2027-01-15 08:00:00 UTC
pub(crate) const NOW: u64 = 1_800_000_000;

/// Who can sign.
pub(crate) struct Key {
    pub(crate) id: String,
    algorithm: Algorithm,
    secret: Secret,
}

enum Secret {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub(crate) fn new(id: &str, algorithm: Algorithm) -> Self {
        let secret = match algorithm {
            Algorithm::Es256 => Secret::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Algorithm::Es384 => Secret::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            Algorithm::Es512 => Secret::Ec(EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap()),
            _ => Secret::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        };
        Self { id: id.to_owned(), algorithm, secret }
    }

    /// The public key, for any algorithm that goes with it.
    pub(crate) fn jwk(&self) -> Jwk {
        match &self.secret {
            Secret::Ec(pair) => Jwk::from_point(pair.public_key().as_ref()).unwrap(),
            Secret::Rsa(pair) => {
                let n = encode(pair.public_key().modulus().big_endian_without_leading_zero());
                Jwk::parse(format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"}}"#).as_bytes()).unwrap()
            }
        }
    }

    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        match &self.secret {
            Secret::Ec(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Secret::Rsa(_) => panic!("not needed"),
        }
    }

    /// The public key as `SubjectPublicKeyInfo`.
    pub(crate) fn public_der(&self) -> Vec<u8> {
        match &self.secret {
            Secret::Ec(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Secret::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    pub(crate) fn signature(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.secret {
            Secret::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Secret::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    Algorithm::Rs384 => &RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// A token of exactly this header and these claims, be they what they may, signed with the key's own
    /// algorithm.
    pub(crate) fn token(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.token_by(self.algorithm, header, claims)
    }

    pub(crate) fn token_by(&self, algorithm: Algorithm, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.sealed(algorithm, format!("{}.{}", encode(header.as_ref()), encode(claims.as_ref())))
    }

    /// A signature behind what is encoded already.
    pub(crate) fn sealed(&self, algorithm: Algorithm, signed: String) -> String {
        let signature = encode(&self.signature(algorithm, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

impl Signer for Key {
    fn algorithm(&self) -> SigningAlgorithm {
        match self.algorithm {
            Algorithm::Es384 => SigningAlgorithm::Es384,
            _ => SigningAlgorithm::Es256,
        }
    }

    fn key_id(&self) -> &str {
        &self.id
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(self.signature(self.algorithm, message))
    }
}

/// One RSA key for all tests: making one takes long.
pub(crate) fn rsa() -> &'static Key {
    static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("r1", Algorithm::Rs256));
    &KEY
}

/// The parts of a token as bytes.
pub(crate) fn parts(token: &str) -> Vec<Vec<u8>> {
    token.split('.').map(|part| decode(part).unwrap()).collect()
}

/// A JSON object of members whose values are JSON already. Of members with one name the last stands, and none
/// where its value is empty.
pub(crate) fn object(members: &[(&str, &str)]) -> String {
    let last: HashMap<&str, &str> = members.iter().copied().collect();
    let mut written: Vec<&str> = Vec::new();
    let mut json = Vec::new();
    for (name, _) in members {
        if !written.contains(name) && !last[name].is_empty() {
            json.push(format!(r#""{name}":{}"#, last[name]));
        }
        written.push(name);
    }
    format!("{{{}}}", json.join(","))
}

/// A signer that does what a test tells it.
pub(crate) struct Fake {
    pub(crate) id: &'static str,
    pub(crate) answer: Option<Vec<u8>>,
    pub(crate) asked: Mutex<u32>,
}

impl Signer for Fake {
    fn algorithm(&self) -> SigningAlgorithm {
        SigningAlgorithm::Es256
    }

    fn key_id(&self) -> &str {
        self.id
    }

    fn sign(&self, _: &[u8]) -> Option<Vec<u8>> {
        *self.asked.lock().unwrap() += 1;
        self.answer.clone()
    }
}

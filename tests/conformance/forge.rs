//! Keys whose tokens the agent must judge: those of `other.test`, a foreign trust domain that is made up here, or the
//! daemon's own. Made with `aws-lc-rs` and `serde_json` alone: nothing of what is tested is used.

use std::{
    fs,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    },
};
use data_encoding::BASE64URL_NOPAD;

use super::{common::Daemon, subject::Subject};

/// A token by an RSA key of 1024 bits, which cannot be made any more: `sub` is `spiffe://other.test/a`, `aud` is `aud1`, and
/// it ends in 2100.
pub const SHORT_TOKEN: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InNob3J0IiwidHlwIjoiSldUIn0.",
    "eyJzdWIiOiJzcGlmZmU6Ly9vdGhlci50ZXN0L2EiLCJhdWQiOlsiYXVkMSJdLCJleHAiOjQxMDI0NDQ4MDB9.",
    "eAx0X0SVXQZ4EYBn5QzfxmJHAddCBnyDld7bzh59YCpd4cy47wKx3DDObOiKu83BPPEVnPIN0C5TBtwxXZ1DmypsRpTbg51LRIMNUtPYdJUj1E1R5",
    "ITslqud0A2S6XzSAaVnNhZ6ax45N0ezkJ7-MkSfFP8DmMk2GyIXzwmiNJ8",
);
const SHORT_MODULUS: &str = concat!(
    "mFNmJEAKEGznNpgare5wFAFwrwI9PBXNouKbKu87U8Q3JHCFFvLH0Gyxf5jxMGP36eAS-c1eag-AR1A-rxaK40NKv48lkOc8yy4pYiBVDJZsy9-W7",
    "ENgZpC3V7q7ym9RqR0DC6X86qoSze-VxqDw5jzmk5ywdbOAXm0tDeN8Vs0",
);

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// A key of an elliptic curve.
pub struct Ec {
    pair: EcdsaKeyPair,
    pub id: String,
    curve: &'static str,
}

impl Ec {
    fn generate(id: &str, algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        Self { pair: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap(), id: id.to_owned(), curve }
    }

    pub fn p256(id: &str) -> Self {
        Self::generate(id, &ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec()
    }

    /// The public key's DER.
    pub fn public_der(&self) -> Vec<u8> {
        self.pair.public_key().as_der().unwrap().as_ref().to_vec()
    }

    /// A token with this header and payload, byte for byte.
    pub fn token(&self, header: &str, payload: impl AsRef<[u8]>) -> String {
        self.seal(&format!("{}.{}", encode(header), encode(payload)))
    }

    /// What is signed, with its signature.
    pub fn seal(&self, signed: &str) -> String {
        format!("{signed}.{}", encode(self.sign(signed.as_bytes())))
    }

    pub fn jwk(&self, usage: &str) -> serde_json::Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(self.pair.public_key().as_ref().len() / 2);
        serde_json::json!({
            "kty": "EC", "crv": self.curve, "x": encode(x), "y": encode(y), "use": usage, "kid": self.id,
        })
    }
}

/// The keys of `other.test`.
pub struct Forge {
    /// `k1`, for JWT-SVIDs, as all but `w1`.
    pub k1: Ec,
    /// `k384`.
    pub p384: Ec,
    /// `w1`, for WIT-SVIDs.
    pub w1: Ec,
    /// Both are `twice`.
    pub twins: [Ec; 2],
    rsa: RsaKeyPair,
}

impl Forge {
    /// The same for all cases of a run.
    pub fn get() -> &'static Self {
        static FORGE: OnceLock<Forge> = OnceLock::new();
        FORGE.get_or_init(|| Self {
            k1: Ec::p256("k1"),
            p384: Ec::generate("k384", &ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            w1: Ec::p256("w1"),
            twins: [Ec::p256("twice"), Ec::p256("twice")],
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        })
    }

    /// Its bundle document.
    pub fn document(&self) -> String {
        let rsa =
            |id: &str, n: String| serde_json::json!({"kty": "RSA", "n": n, "e": "AQAB", "use": "jwt-svid", "kid": id});
        let modulus = self.rsa.public_key().modulus().big_endian_without_leading_zero().to_vec();
        let keys = [
            self.k1.jwk("jwt-svid"),
            self.p384.jwk("jwt-svid"),
            self.w1.jwk("wit-svid"),
            self.twins[0].jwk("jwt-svid"),
            self.twins[1].jwk("jwt-svid"),
            rsa("rsa", encode(modulus)),
            rsa("short", SHORT_MODULUS.to_owned()),
        ];
        serde_json::json!({"keys": keys, "spiffe_sequence": 1, "spiffe_refresh_hint": 300}).to_string()
    }

    /// A token by the RSA key `rsa`, PKCS #1 or PSS.
    pub fn rsa(&self, algorithm: &str, payload: &str) -> String {
        let padding: &'static dyn RsaEncoding = if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
        let header = format!(r#"{{"alg":"{algorithm}","kid":"rsa","typ":"JWT"}}"#);
        let signed = format!("{}.{}", encode(header), encode(payload));
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", encode(signature))
    }
}

/// The key by which a daemon of ours has signed this token, read from its state: with it tokens of its own trust domain
/// can be made that it never would.
pub fn own_key(daemon: &Daemon, token: &str) -> Ec {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let files = fs::read_dir(daemon.home().join("state/keys")).unwrap().flatten();
    let keys = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "key"));
    let pairs = keys.filter_map(|file| {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &fs::read(file.path()).unwrap()).ok()
    });
    let is_signer = |pair: &EcdsaKeyPair| {
        let public = pair.public_key().as_ref();
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED, public);
        key.verify(signed.as_bytes(), &signature).is_ok()
    };
    let pair = pairs.into_iter().find(is_signer).expect("the daemon's JWT key");
    let id = super::tokens::header(token)["kid"].as_str().unwrap().to_owned();
    Ec { pair, id, curve: "P-256" }
}

/// Where tokens can be made that the agent has a bundle for: the trust domain, and its key of the curve P-256.
pub enum Workshop {
    /// `other.test`.
    Foreign(&'static Forge),
    /// The daemon's own trust domain.
    Own(Ec),
}

impl Workshop {
    /// All there are for this agent.
    pub fn all(subject: &Subject) -> Vec<Self> {
        let own = subject.ours().map(|daemon| Self::Own(own_key(daemon, &super::tokens::one(subject, &["any"]))));
        own.into_iter().chain([Self::Foreign(Forge::get())]).collect()
    }

    pub fn domain(&self) -> &'static str {
        match self {
            Self::Foreign(_) => "other.test",
            Self::Own(_) => "example.org",
        }
    }

    pub fn key(&self) -> &Ec {
        match self {
            Self::Foreign(forge) => &forge.k1,
            Self::Own(key) => key,
        }
    }

    /// Keys of other kinds, where we have made the bundle.
    pub fn forge(&self) -> Option<&'static Forge> {
        match self {
            Self::Foreign(forge) => Some(forge),
            Self::Own(_) => None,
        }
    }
}

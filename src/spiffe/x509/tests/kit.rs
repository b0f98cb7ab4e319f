//! A maker of certificates, good and bad: every byte can be chosen, which no library allows.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair},
};
use bytes::Bytes;

use crate::spiffe::{
    TrustDomain,
    x509::{Bundle, Bundles, Error, Leaf, Purpose, verify},
};

pub(in crate::spiffe) const DAY: Duration = Duration::from_secs(86_400);

/// 2027-01-15 08:00:00 UTC
pub(in crate::spiffe) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// An element of DER.
pub(in crate::spiffe) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

pub(in crate::spiffe) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// A bit string that fills its bytes.
pub(in crate::spiffe) fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], bytes].concat())
}

/// A name of one common name; an empty text is the empty name.
pub(in crate::spiffe) fn name(common: &str) -> Vec<u8> {
    if common.is_empty() {
        return sequence(&[]);
    }
    let attribute = sequence(&[b"\x06\x03\x55\x04\x03", &tlv(12, common.as_bytes())]);
    sequence(&[&tlv(0x31, &attribute)])
}

pub(in crate::spiffe) fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { b"\x01\x01\xff" } else { b"" };
    sequence(&[&tlv(6, id), critical, &tlv(4, value)])
}

pub(in crate::spiffe) const SUBJECT_KEY_ID: &[u8] = b"\x55\x1d\x0e";
pub(in crate::spiffe) const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";
pub(in crate::spiffe) const ALTERNATIVE_NAME: &[u8] = b"\x55\x1d\x11";
pub(in crate::spiffe) const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";
pub(in crate::spiffe) const NAME_CONSTRAINTS: &[u8] = b"\x55\x1d\x1e";
pub(in crate::spiffe) const AUTHORITY_KEY_ID: &[u8] = b"\x55\x1d\x23";
pub(in crate::spiffe) const EXTENDED_KEY_USAGE: &[u8] = b"\x55\x1d\x25";
pub(in crate::spiffe) const UNKNOWN: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x63";

pub(in crate::spiffe) const SERVER: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
pub(in crate::spiffe) const CLIENT: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02";
pub(in crate::spiffe) const CODE_SIGNING: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x03";

pub(in crate::spiffe) fn uri(text: &str) -> Vec<u8> {
    tlv(0x86, text.as_bytes())
}

pub(in crate::spiffe) fn dns(text: &str) -> Vec<u8> {
    tlv(0x82, text.as_bytes())
}

pub(in crate::spiffe) fn alternative_name(names: &[Vec<u8>]) -> Vec<u8> {
    extension(ALTERNATIVE_NAME, false, &tlv(0x30, &names.concat()))
}

pub(in crate::spiffe) fn path_length(length: Option<u8>) -> Vec<u8> {
    let length = length.map_or(Vec::new(), |length| vec![2, 1, length]);
    extension(BASIC_CONSTRAINTS, true, &sequence(&[b"\x01\x01\xff", &length]))
}

/// Who can sign.
pub(in crate::spiffe) enum Key {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding, Vec<u8>),
}

pub(in crate::spiffe) const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const ED25519: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70";
pub(in crate::spiffe) const P256_KEY: &[u8] =
    b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384_KEY: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
pub(in crate::spiffe) const RSA_KEY: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

impl Key {
    pub(in crate::spiffe) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(in crate::spiffe) fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_ASN1_SIGNING).unwrap())
    }

    pub(in crate::spiffe) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub(in crate::spiffe) fn rsa(encoding: &'static dyn RsaEncoding, algorithm: Vec<u8>) -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()), encoding, algorithm)
    }

    fn algorithm(&self) -> &[u8] {
        match self {
            Self::P256(_) => ECDSA_SHA256,
            Self::P384(_) => ECDSA_SHA384,
            Self::Ed25519(_) => ED25519,
            Self::Rsa(_, _, algorithm) => algorithm,
        }
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::P256(key) | Self::P384(key) => key.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(bytes).as_ref().to_vec(),
            Self::Rsa(key, encoding, _) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, bytes, &mut signature).unwrap();
                signature
            }
        }
    }

    pub(in crate::spiffe) fn public(&self) -> Vec<u8> {
        match self {
            Self::P256(key) => sequence(&[P256_KEY, &bits(key.public_key().as_ref())]),
            Self::P384(key) => sequence(&[P384_KEY, &bits(key.public_key().as_ref())]),
            Self::Ed25519(key) => sequence(&[ED25519, &bits(key.public_key().as_ref())]),
            Self::Rsa(key, _, _) => sequence(&[RSA_KEY, &bits(key.public_key().as_ref())]),
        }
    }
}

/// Everything a certificate says, to be changed before it is signed.
#[derive(Clone)]
pub(in crate::spiffe) struct Blueprint {
    pub(in crate::spiffe) version: Vec<u8>,
    /// The content of the INTEGER.
    pub(in crate::spiffe) serial: Vec<u8>,
    pub(in crate::spiffe) issuer: Vec<u8>,
    pub(in crate::spiffe) not_before: SystemTime,
    pub(in crate::spiffe) not_after: SystemTime,
    pub(in crate::spiffe) subject: Vec<u8>,
    pub(in crate::spiffe) public_key: Vec<u8>,
    pub(in crate::spiffe) extensions: Vec<Vec<u8>>,
    /// After the extensions, within the signed part.
    pub(in crate::spiffe) signed_tail: Vec<u8>,
    /// After the signature, within the certificate.
    pub(in crate::spiffe) tail: Vec<u8>,
    /// In the place of the key's own algorithm.
    pub(in crate::spiffe) inner_algorithm: Option<Vec<u8>>,
    pub(in crate::spiffe) outer_algorithm: Option<Vec<u8>>,
}

/// An authority: its name, its key, and its certificate.
pub(in crate::spiffe) struct Authority {
    pub(in crate::spiffe) name: Vec<u8>,
    pub(in crate::spiffe) key: Key,
    pub(in crate::spiffe) der: Bytes,
}

impl Blueprint {
    fn new(subject: Vec<u8>, public_key: Vec<u8>, extensions: Vec<Vec<u8>>) -> Self {
        static SERIAL: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let serial = SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self {
            version: vec![0xa0, 3, 2, 1, 2],
            serial: [&[1], serial.to_be_bytes().as_slice()].concat(),
            issuer: name("nobody"),
            not_before: now() - DAY,
            not_after: now() + DAY,
            subject,
            public_key,
            extensions,
            signed_tail: Vec::new(),
            tail: Vec::new(),
            inner_algorithm: None,
            outer_algorithm: None,
        }
    }

    /// A leaf as it should be.
    pub(in crate::spiffe) fn leaf(id: &str) -> Self {
        Self::leaf_of(&[uri(id)])
    }

    /// A leaf with these alternative names.
    pub(in crate::spiffe) fn leaf_of(names: &[Vec<u8>]) -> Self {
        let extensions = vec![
            extension(BASIC_CONSTRAINTS, true, b"\x30\x00"),
            extension(KEY_USAGE, true, b"\x03\x02\x07\x80"),
            extension(EXTENDED_KEY_USAGE, false, &sequence(&[SERVER, CLIENT])),
            alternative_name(names),
            extension(AUTHORITY_KEY_ID, false, b"\x30\x06\x80\x04\x01\x02\x03\x04"),
        ];
        Self::new(name("leaf"), Key::p256().public(), extensions)
    }

    /// An authority as it should be.
    pub(in crate::spiffe) fn authority(common: &str, trust_domain: &str, key: &Key) -> Self {
        let extensions = vec![
            path_length(None),
            extension(KEY_USAGE, true, b"\x03\x02\x01\x06"),
            alternative_name(&[uri(&format!("spiffe://{trust_domain}"))]),
            extension(SUBJECT_KEY_ID, false, b"\x04\x04\x01\x02\x03\x04"),
        ];
        Self::new(name(common), key.public(), extensions)
    }

    /// Puts an extension in the place of the one with the same id, or adds it.
    pub(in crate::spiffe) fn with(mut self, changed: Vec<u8>) -> Self {
        let id = |extension: &[u8]| extension[2..6 + usize::from(extension[3]) - 2].to_vec();
        let wanted = id(&changed);
        self.extensions.retain(|extension| id(extension) != wanted);
        self.extensions.push(changed);
        self
    }

    pub(in crate::spiffe) fn without(mut self, id: &[u8]) -> Self {
        self.extensions.retain(|extension| extension[4..4 + id.len()] != *id);
        self
    }

    pub(in crate::spiffe) fn edit(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(in crate::spiffe) fn signed_by(mut self, issuer: &Authority) -> Bytes {
        self.issuer.clone_from(&issuer.name);
        self.sign(&issuer.key)
    }

    /// Signs, with the issuer's name as it is.
    pub(in crate::spiffe) fn sign(&self, key: &Key) -> Bytes {
        let inner = self.inner_algorithm.as_deref().unwrap_or(key.algorithm());
        let outer = self.outer_algorithm.as_deref().unwrap_or(key.algorithm());
        let validity = sequence(&[&time(self.not_before), &time(self.not_after)]);
        let extensions = match self.extensions.is_empty() {
            true => Vec::new(),
            false => tlv(0xa3, &tlv(0x30, &self.extensions.concat())),
        };
        let signed = sequence(&[
            &self.version,
            &tlv(2, &self.serial),
            inner,
            &self.issuer,
            &validity,
            &self.subject,
            &self.public_key,
            &extensions,
            &self.signed_tail,
        ]);
        let signature = bits(&key.sign(&signed));
        sequence(&[&signed, outer, &signature, &self.tail]).into()
    }

    /// A certificate for this key, which is an authority from now on.
    pub(in crate::spiffe) fn for_key(self, key: Key, issuer: Option<&Authority>) -> Authority {
        let name = self.subject.clone();
        let der = match issuer {
            Some(issuer) => self.signed_by(issuer),
            None => self.edit(|it| it.issuer = it.subject.clone()).sign(&key),
        };
        Authority { name, key, der }
    }
}

/// A self-signed authority.
pub(in crate::spiffe) fn root(common: &str, trust_domain: &str) -> Authority {
    root_with(common, trust_domain, |blueprint| blueprint)
}

pub(in crate::spiffe) fn root_with(
    common: &str,
    trust_domain: &str,
    change: impl FnOnce(Blueprint) -> Blueprint,
) -> Authority {
    let key = Key::p256();
    change(Blueprint::authority(common, trust_domain, &key)).for_key(key, None)
}

/// An authority below another.
pub(in crate::spiffe) fn below(issuer: &Authority, common: &str) -> Authority {
    below_with(issuer, common, |blueprint| blueprint)
}

pub(in crate::spiffe) fn below_with(
    issuer: &Authority,
    common: &str,
    change: impl FnOnce(Blueprint) -> Blueprint,
) -> Authority {
    let key = Key::p256();
    change(Blueprint::authority(common, "example.org", &key)).for_key(key, Some(issuer))
}

/// A time as certificates write it; with the seconds cut off.
fn time(time: SystemTime) -> Vec<u8> {
    let time = time::OffsetDateTime::from(time);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let rest = format!("{:02}{day:02}{hour:02}{minute:02}{second:02}Z", u8::from(month));
    match year < 2050 {
        true => tlv(0x17, format!("{:02}{rest}", year % 100).as_bytes()),
        false => tlv(0x18, format!("{year:04}{rest}").as_bytes()),
    }
}

pub(in crate::spiffe) fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

pub(in crate::spiffe) fn bundle(trust_domain: &str, authorities: &[&Authority]) -> Bundle {
    let authorities = authorities.iter().map(|authority| authority.der.clone()).collect();
    Bundle::new(domain(trust_domain), authorities).unwrap()
}

/// The world of most tests: the trust domain `example.org`, its root, and an issuing authority below.
pub(in crate::spiffe) struct World {
    pub(in crate::spiffe) root: Authority,
    pub(in crate::spiffe) issuing: Authority,
    pub(in crate::spiffe) bundles: Bundles,
}

impl World {
    pub(in crate::spiffe) fn new() -> Self {
        let root = root("root", "example.org");
        let issuing = below(&root, "issuing");
        let bundles = Bundles::from_iter([bundle("example.org", &[&root])]);
        Self { root, issuing, bundles }
    }

    /// Verifies a leaf that the issuing authority signs, sent with that authority.
    pub(in crate::spiffe) fn judge(&self, leaf: Blueprint) -> Result<Leaf, Error> {
        self.judge_for(leaf, Purpose::Any)
    }

    pub(in crate::spiffe) fn judge_for(&self, leaf: Blueprint, purpose: Purpose) -> Result<Leaf, Error> {
        let leaf = leaf.signed_by(&self.issuing);
        verify(&[leaf, self.issuing.der.clone()], &self.bundles, purpose, now())
    }

    /// Verifies what is sent, leaf first.
    pub(in crate::spiffe) fn judge_chain(&self, chain: &[Bytes]) -> Result<Leaf, Error> {
        verify(chain, &self.bundles, Purpose::Any, now())
    }
}

/// The reason under `Untrusted`.
pub(in crate::spiffe) fn cause(outcome: Result<Leaf, Error>) -> Option<Error> {
    match outcome {
        Err(Error::Untrusted { cause, .. }) => cause.map(|cause| *cause),
        other => panic!("not an untrusted chain: {other:?}"),
    }
}

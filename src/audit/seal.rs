//! Checkpoints: records that sign everything before them, with a key that nobody has who can only write the folder.
//!
//! A checkpoint signs the number and the hash of the record before it, and the time. As each hash has the one before in
//! it, that is the whole log up to there. The key is an ECDSA P-256 key of its own, used for nothing else; its public
//! part is in each checkpoint, and its fingerprint is for others to keep.

use std::{path::Path, time::SystemTime};

use crate::sys::{Secret, files};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    },
};

use super::{
    Error,
    chain::{self, Hash, Link},
    head::Mark,
    record::Own,
};

/// The place of a checkpoint, as it is kept outside the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The segment that it is in.
    pub(super) segment: u64,
    /// The checkpoint's own record.
    pub(super) link: Link,
    /// The fingerprint of its key.
    pub(super) key: Hash,
}

impl Checkpoint {
    /// Of the key that has signed it.
    pub(crate) fn fingerprint(&self) -> Hash {
        self.key
    }

    /// As a place in the log; where it is in its segment is not known.
    pub(super) fn mark(&self) -> Mark {
        Mark { segment: self.segment, offset: 0, link: self.link }
    }

    /// Reads what its `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (segment, seq) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (hash, key) = (Hash::parse(words.next()?.as_bytes())?, Hash::parse(words.next()?.as_bytes())?);
        words.next().is_none().then_some(Self { segment, link: Link { seq, hash }, key })
    }
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { segment, link, key } = self;
        write!(f, "{segment} {} {} {key}", link.seq, link.hash)
    }
}

/// The key that seals.
pub(super) struct Sealer {
    pair: EcdsaKeyPair,
    /// Its public part, in hex.
    public: String,
}

impl Sealer {
    /// Reads the key, or makes one where none is.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            files::create_private_dir(folder)?;
        }
        let pair = match files::read_private(path) {
            Ok(der) => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.expose()),
            Err(files::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
                let pair = made.map_err(|_| Error::Key { path: path.to_owned() })?;
                let der = pair.to_pkcs8v1().map_err(|_| Error::Key { path: path.to_owned() })?;
                files::write_private(path, Secret::new(der.as_ref().to_vec()).expose()).map_err(Error::of_file)?;
                Ok(pair)
            }
            Err(error) => return Err(error.into()),
        };
        let pair = pair.map_err(|_| Error::Key { path: path.to_owned() })?;
        let public = chain::hex(pair.public_key().as_ref());
        Ok(Self { pair, public })
    }

    /// What others keep of the key.
    pub(super) fn fingerprint(&self) -> Hash {
        Hash::of(self.pair.public_key().as_ref())
    }

    /// The record that seals the log up to a link, to be written right behind it.
    pub(super) fn seal(&self, link: &Link, now: SystemTime) -> Result<Own, Error> {
        let at = chain::timestamp(now);
        let signature = self.pair.sign(&SystemRandom::new(), &message(link, &at)).map_err(|_| Error::Sign)?;
        Ok(Own::Checkpoint { at, key: self.public.clone(), signature: chain::hex(signature.as_ref()) })
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What a checkpoint's line says.
#[derive(Debug)]
pub(super) struct Seal {
    /// When it was signed, RFC 3339.
    pub(super) at: String,
    /// The public key, in hex.
    pub(super) key: String,
    /// In hex.
    pub(super) signature: String,
}

impl Seal {
    /// The fingerprint of the key that has signed everything up to a link; `None` when the signature is not good.
    pub(super) fn check(&self, after: &Link) -> Option<Hash> {
        let (key, signature) = (chain::bytes(&self.key)?, chain::bytes(&self.signature)?);
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key);
        public.verify(&message(after, &self.at), &signature).ok().map(|()| Hash::of(&key))
    }
}

/// The bytes that are signed. The first line is there so that they can be no other protocol's.
fn message(link: &Link, at: &str) -> Vec<u8> {
    format!("dayfly audit checkpoint 1\n{}\n{}\n{at}\n", link.seq, link.hash).into_bytes()
}

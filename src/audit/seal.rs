//! Checkpoints: records that sign everything before them, with a key that nobody has who can only write the folder.
//!
//! A checkpoint signs the number and the hash of the record before it, and the time. As each hash has the one before in
//! it, that is the whole log up to there. It also signs where the log begins, as older segments are removed, and whether
//! the log was closed there; the first version of checkpoints did not. The key is an ECDSA P-256 key of its own, used for nothing else; its public
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
    chain::{self, Hash, Line},
    checkpoint::{Beginning, Checkpoint, Statement},
    record::{First, Own},
};

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

    /// The record that says so, to be written right behind the link that it signs.
    pub(super) fn seal(&self, statement: &Statement, now: SystemTime) -> Result<Own, Error> {
        let at = chain::timestamp(now);
        let signature = self.pair.sign(&SystemRandom::new(), &message(statement, &at)).map_err(|_| Error::Sign)?;
        Ok(Own::Checkpoint {
            at,
            key: self.public.clone(),
            first: statement.beginning.map(First::from),
            end: statement.is_end,
            signature: chain::hex(signature.as_ref()),
        })
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
    /// Where the log begins, and whether it was closed.
    pub(super) beginning: Option<Beginning>,
    pub(super) is_end: bool,
    /// In hex.
    pub(super) signature: String,
}

impl Seal {
    /// The checkpoint that ends at this place; `None` where the line is none, or its signature is not good.
    pub(super) fn checkpoint(line: &Line, segment: u64, offset: u64) -> Option<Checkpoint> {
        let seal = line.seal.as_ref().filter(|_| line.kind == "checkpoint")?;
        let (beginning, is_end) = (seal.beginning, seal.is_end && seal.beginning.is_some());
        let (key, signature) = (chain::bytes(&seal.key)?, chain::bytes(&seal.signature)?);
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key);
        let message = message(&Statement { link: line.after, beginning, is_end }, &seal.at);
        public.verify(&message, &signature).ok()?;
        Some(Checkpoint { segment, offset, link: line.link, key: Hash::of(&key), beginning, is_end })
    }
}

/// The bytes that are signed. The first line is there so that they can be no other protocol's, and no other version's.
fn message(Statement { link, beginning, is_end }: &Statement, at: &str) -> Vec<u8> {
    let text = match beginning {
        None => format!("dayfly audit checkpoint 1\n{}\n{}\n{at}\n", link.seq, link.hash),
        Some(Beginning { segment, after }) => format!(
            "dayfly audit checkpoint 2\n{}\n{}\n{at}\n{segment}\n{}\n{}\n{is_end}\n",
            link.seq, link.hash, after.seq, after.hash
        ),
    };
    text.into_bytes()
}

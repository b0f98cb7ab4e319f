//! Tokens whose signature was checked already, by their SHA-256.
//!
//! Two generations: when the younger is full, the older is dropped. What is asked for again moves to the younger.

use std::{collections::HashMap, sync::Arc};

use crate::{
    oauth::{TokenHash, access, foreign, issuer::Issuer},
    spiffe::jose::Jwk,
};

/// The most tokens that are known at a time.
pub(super) const VERDICTS_MAX: usize = 20_000;
/// The most bytes that these tokens have together: what is kept of one is about as long.
pub(super) const VERDICT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A token whose signature was right.
#[derive(Debug)]
pub(super) enum Verdict {
    /// One of our own, by this key.
    Own { key_id: String, key: Jwk, claims: Arc<access::Claims> },
    /// One of another issuer as it was then: read again, it is another one.
    Foreign { issuer: Arc<Issuer>, claims: Arc<foreign::Claims> },
}

/// What is known since something was revoked last.
#[derive(Default)]
pub(super) struct Cache {
    epoch: u64,
    younger: HashMap<TokenHash, Known>,
    /// Of the younger ones' tokens.
    bytes: usize,
    older: HashMap<TokenHash, Known>,
}

/// A verdict, and how many bytes its token has.
type Known = (Arc<Verdict>, usize);

impl Cache {
    /// The verdict on a token, if there is one of this epoch.
    pub(super) fn find(&mut self, hash: TokenHash, epoch: u64) -> Option<Arc<Verdict>> {
        self.enter(epoch);
        if let Some((verdict, _)) = self.younger.get(&hash) {
            return Some(verdict.clone());
        }
        let (verdict, bytes) = self.older.remove(&hash)?;
        self.keep(hash, verdict.clone(), bytes, epoch);
        Some(verdict)
    }

    /// Keeps a verdict on a token of so many bytes that was reached in this epoch.
    pub(super) fn keep(&mut self, hash: TokenHash, verdict: Arc<Verdict>, bytes: usize, epoch: u64) {
        self.enter(epoch);
        if self.younger.len() >= VERDICTS_MAX / 2 || self.bytes + bytes > VERDICT_BYTES_MAX / 2 {
            self.older = std::mem::take(&mut self.younger);
            self.bytes = 0;
        }
        self.bytes += bytes;
        if let Some((_, earlier)) = self.younger.insert(hash, (verdict, bytes)) {
            self.bytes -= earlier;
        }
    }

    /// Nothing that was known in another epoch counts.
    fn enter(&mut self, epoch: u64) {
        if self.epoch != epoch {
            *self = Self { epoch, ..Self::default() };
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.younger.len() + self.older.len()
    }
}

//! What was taken back before its end: tokens by their `jti`, and keys, to which nothing is good or issued any more.
//! Immutable and shared as the catalog is.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::{entry::Change, error::Error, shards::Shards};
use crate::oauth::{
    Thumbprint,
    access::{LIFETIME_MAX, TokenId},
};

/// One thing that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// What.
    pub(crate) id: RevokedId,
    /// When; whole microseconds.
    pub(crate) at: SystemTime,
    /// The end of a token, from which on it is good for nothing anyway. A key has none.
    pub(crate) until: Option<SystemTime>,
}

/// Its name. Shown as `token JTI`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RevokedId {
    Token(TokenId),
    Key(Thumbprint),
}

/// All of it at one revision of the registry.
#[derive(Clone, Debug)]
pub(crate) struct Revocations {
    all: Shards<RevokedId, Revoked>,
    tokens: usize,
    keys: usize,
    /// Nothing that was issued before is good: it is not known what of it was taken back.
    unknown_before: Option<SystemTime>,
}

impl Revocations {
    /// The most tokens. Each is kept for little more than its life, an hour at most.
    pub(crate) const TOKENS_MAX: usize = 100_000;
    /// The most keys, which are kept until somebody removes them.
    pub(crate) const KEYS_MAX: usize = 100_000;
    /// So long a token is kept after its end: a clock that is set back by less brings none to life again.
    pub(crate) const KEPT_AFTER: Duration = LIFETIME_MAX;
    /// The most tokens that are forgotten in one change.
    const FORGOTTEN_MAX: usize = 1_000;

    /// Of all these, which were accepted once.
    pub(crate) fn of(all: impl IntoIterator<Item = Revoked>) -> Self {
        let mut revocations = Self::default();
        all.into_iter().for_each(|revoked| revocations.insert(revoked));
        revocations
    }

    /// Where some were lost: then nothing counts that was issued before this time.
    pub(crate) fn not_known_before(self, time: SystemTime) -> Self {
        Self { unknown_before: Some(time), ..self }
    }

    /// The next, with those of these changes that are its own.
    ///
    /// # Errors
    /// When a key is to be removed that is not there, or there would be too many.
    pub(super) fn apply(&self, changes: &[Change]) -> Result<Self, Error> {
        let mut next = self.clone();
        for change in changes {
            match change {
                Change::Restore(id) if !next.has(id) => return Err(Error::NotRevoked(*id)),
                Change::Restore(id) => next.remove(id),
                _ => {}
            }
        }
        for change in changes {
            if let Change::Revoke(revoked) = change {
                next.insert(*revoked);
            }
        }
        let too_many = |what, max| Err(Error::TooMany { what, max });
        match (next.tokens > Self::TOKENS_MAX, next.keys > Self::KEYS_MAX) {
            (true, _) if next.tokens > self.tokens => too_many("revoked tokens", Self::TOKENS_MAX),
            (_, true) if next.keys > self.keys => too_many("revoked keys", Self::KEYS_MAX),
            _ => Ok(next),
        }
    }

    /// Whether it was taken back.
    pub(crate) fn has(&self, id: &RevokedId) -> bool {
        self.all.at(id).is_some()
    }

    /// Whether nothing counts that was issued at this time.
    pub(super) fn is_unknown(&self, issued_at: SystemTime) -> bool {
        self.unknown_before.is_some_and(|begin| issued_at < begin)
    }

    /// What is kept of it.
    pub(crate) fn at(&self, id: &RevokedId) -> Option<&Revoked> {
        self.all.at(id).map(|(_, revoked)| revoked)
    }

    /// All, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Revoked> {
        self.all.iter().map(|(_, revoked)| revoked)
    }

    /// Tokens that can be forgotten at this time; not all at once where there are very many. It walks over everything.
    pub(crate) fn ended(&self, now: SystemTime) -> Vec<RevokedId> {
        let is_over = |revoked: &&Revoked| revoked.until.is_some_and(|end| end + Self::KEPT_AFTER <= now);
        self.iter().filter(is_over).map(|revoked| revoked.id).take(Self::FORGOTTEN_MAX).collect()
    }

    fn insert(&mut self, revoked: Revoked) {
        if !self.has(&revoked.id) {
            *self.count(&revoked.id) += 1;
        }
        self.all.insert(revoked.id, revoked);
    }

    fn remove(&mut self, id: &RevokedId) {
        *self.count(id) -= 1;
        self.all.remove(id);
    }

    fn count(&mut self, id: &RevokedId) -> &mut usize {
        match id {
            RevokedId::Token(_) => &mut self.tokens,
            RevokedId::Key(_) => &mut self.keys,
        }
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self { all: Shards::with_capacity(0), tokens: 0, keys: 0, unknown_before: None }
    }
}

impl RevokedId {
    /// `token` or `key`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Key(_) => "key",
        }
    }

    /// Its name among those of its kind.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Token(id) => id.to_string(),
            Self::Key(key) => key.to_string(),
        }
    }

    /// The one of this kind and name.
    pub(crate) fn parse(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "token" => TokenId::parse(name).map(Self::Token),
            "key" => Thumbprint::parse(name).ok().map(Self::Key),
            _ => None,
        }
    }
}

impl fmt::Display for RevokedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

/// The second in which a moment lies, as tokens have it.
pub(super) fn whole_second(moment: SystemTime) -> SystemTime {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// The second after the one in which a moment lies: what was issued until then has an earlier `iat`.
pub(crate) fn next_second(moment: SystemTime) -> SystemTime {
    whole_second(moment) + Duration::from_secs(1)
}

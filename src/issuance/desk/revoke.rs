//! Taking back what was issued: a token, a key, everything of an agent. Acknowledged once it is on the disk and seen by
//! every door, so the next request with it is refused.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{Author, Checked, Desk, Error, ROUNDS_MAX};
use crate::{
    authority::Keyring,
    oauth::{
        Thumbprint,
        access::{self, AHEAD_MAX, Claims, TokenId, Unverified},
    },
    registry::{Change, Label, Revocations, Revoked, RevokedId},
};

/// No token with a `jti` lives longer: access tokens an hour, WIT-SVIDs as long as the configuration lets them, a day.
const CREDENTIAL_LIFETIME_MAX: Duration = Duration::from_secs(86_400);

/// By what tokens are known for ours.
#[derive(Clone)]
pub(super) struct Judge {
    issuer: String,
    keyring: watch::Receiver<Arc<Keyring>>,
}

/// What is to be revoked or to be good again, and what is recorded beside its name.
#[derive(Debug)]
pub(super) struct Revoking {
    pub(super) id: RevokedId,
    /// Of a token.
    pub(super) until: Option<SystemTime>,
    pub(super) told: Vec<String>,
}

impl Judge {
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }
}

impl Desk {
    /// A desk that knows whole tokens: of this issuer, and signed by one of these keys.
    pub(crate) fn judges_tokens(self, issuer: String, keyring: watch::Receiver<Arc<Keyring>>) -> Self {
        Self { judge: Some(Judge { issuer, keyring }), ..self }
    }

    /// Revokes the token of this `jti`, whether or not there is one. It was revoked already: nothing is done.
    ///
    /// # Errors
    /// When too many are revoked, or nothing can be changed now.
    pub(crate) async fn revoke_token_id(&self, author: Author, id: TokenId) -> Result<Revoked, Error> {
        // Nothing lives longer, whenever it was issued until now.
        let until = self.clock.now() + CREDENTIAL_LIFETIME_MAX + AHEAD_MAX;
        self.revoke(author, Revoking { id: RevokedId::Token(id), until: Some(until), told: told(until) }).await
    }

    /// Revokes a whole token.
    ///
    /// # Errors
    /// When it is not ours or has expired, and as [`Desk::revoke_token_id`].
    pub(crate) async fn revoke_token(&self, author: Author, text: &str) -> Result<Revoked, Error> {
        let claims = self.read_token(text).map_err(Error::Token)?;
        let (id, until) = (RevokedId::Token(claims.token_id), claims.expires_at);
        let mut told = told(until);
        told.push(format!("agent: {}", claims.client));
        told.push(format!("audience: {}", claims.audience));
        told.push(format!("jkt: {}", claims.key));
        self.revoke(author, Revoking { id, until: Some(until), told }).await
    }

    /// Revokes a key: no token that is bound to it is good any more, and none is issued to it.
    ///
    /// # Errors
    /// As [`Desk::revoke_token_id`].
    pub(crate) async fn revoke_key(&self, author: Author, key: Thumbprint) -> Result<Revoked, Error> {
        self.revoke(author, Revoking { id: RevokedId::Key(key), until: None, told: Vec::new() }).await
    }

    /// Lets a key be used again.
    ///
    /// # Errors
    /// When it was not revoked, or nothing can be changed now.
    pub(crate) async fn restore_key(&self, author: Author, key: Thumbprint) -> Result<(), Error> {
        self.order(author, Checked { restore: vec![RevokedId::Key(key)], ..Checked::default() }).await.map(drop)
    }

    /// Revokes everything that an agent was issued until now, and answers from which second on its tokens are good; it is
    /// the next one at the earliest, since a token says no more of its time than the second.
    ///
    /// # Errors
    /// When there is no such agent, or nothing can be changed now.
    pub(crate) async fn revoke_agent(&self, author: Author, name: Label) -> Result<SystemTime, Error> {
        let mut ahead = Duration::ZERO;
        for _ in 0..ROUNDS_MAX {
            let begun = self.clock.now();
            let revoke_agents = vec![(name.clone(), ahead)];
            self.order(author, Checked { revoke_agents, ..Checked::default() }).await?;
            let before = self.registry.borrow().catalog().agent(name.as_str()).map(|agent| agent.revoked_before);
            let (before, now) = (before.unwrap_or(SystemTime::UNIX_EPOCH), self.clock.now());
            // Everything that was issued before this was seen is of an earlier second.
            if now < before {
                return Ok(before);
            }
            ahead = 2 * now.duration_since(begun).unwrap_or_default();
        }
        Err(Error::Slow)
    }

    fn read_token(&self, text: &str) -> Result<Claims, access::Error> {
        let judge = self.judge.as_ref().ok_or(access::Error::UnknownKey)?;
        let keyring = judge.keyring.borrow().clone();
        let keys = keyring.access().ok_or(access::Error::UnknownKey)?.bundle();
        let claims = Unverified::parse(text)?.verify(&judge.issuer, keys)?;
        match self.clock.now() >= claims.expires_at {
            true => Err(access::Error::Expired),
            false => Ok(claims),
        }
    }

    async fn revoke(&self, author: Author, revoking: Revoking) -> Result<Revoked, Error> {
        let outcome = self.order(author, Checked { revoke: vec![revoking], ..Checked::default() }).await?;
        outcome.revoked.into_iter().next().ok_or(Error::Stopping)
    }
}

/// The part of a plan that is about what is taken back.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub(super) changes: Vec<Change>,
    /// A verb, a name, and what there is to say; one for each change.
    pub(super) words: Vec<(&'static str, String, Vec<String>)>,
    /// What is to be revoked, whether or not that changes anything.
    pub(super) wanted: Vec<RevokedId>,
}

/// Works out what an order takes back, beside what was taken back before.
pub(super) fn plan(present: &Revocations, order: &mut Checked, now: SystemTime) -> Planned {
    let mut planned = Planned::default();
    for Revoking { id, until, told } in std::mem::take(&mut order.revoke) {
        planned.wanted.push(id);
        // No token of this `jti` ends later than it was known to end, or could, when it was revoked first.
        if present.has(&id) {
            continue;
        }
        let verb = if let RevokedId::Token(_) = id { "token_revoke" } else { "key_revoke" };
        planned.words.push((verb, id.name(), told));
        planned.changes.push(Change::Revoke(Revoked { id, at: now, until }));
    }
    for id in std::mem::take(&mut order.restore) {
        planned.words.push(("key_restore", id.name(), Vec::new()));
        planned.changes.push(Change::Restore(id));
    }
    planned
}

fn told(until: SystemTime) -> Vec<String> {
    let seconds = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    vec![format!("until: {seconds}")]
}

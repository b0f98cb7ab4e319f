//! Signing access tokens, and what is special about the keys for them: they are always of one curve, and scanners know
//! their tokens.
//!
//! They succeed each other as those for SVIDs do, are never the same, and are a type of their own: no bundle of SPIFFE's
//! can have one.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Algorithm, Error, Keyring,
    token::Token,
    tokens::{made, proved},
};
use crate::{
    oauth::{
        Thumbprint,
        access::{self, Draft, DraftError, Subject, TokenId, Unverified},
    },
    policy::access::Permit,
    registry::{Label, Scope},
};

/// Whatever curve the authority has: every reader of access tokens knows ES256, and the header is to be the same always.
pub(super) const ALGORITHM: Algorithm = Algorithm::P256;

/// An access token, with what it is good for.
#[derive(Debug)]
pub(crate) struct AccessToken {
    /// As it leaves. Its `serial` is its `jti`, and its `id` the workload that asked.
    pub(crate) token: Token,
    /// For whom.
    pub(crate) subject: Subject,
    /// The `jti` of the token that it was made from, where there was one that had one.
    pub(crate) parent: Option<String>,
    /// For what it is wanted, as its caller says.
    pub(crate) reason: Option<String>,
    /// Who may use it.
    pub(crate) agent: Label,
    /// Where.
    pub(crate) tool: Label,
    /// The tool's name in the token.
    pub(crate) audience: Arc<str>,
    /// For what; sorted, at least one.
    pub(crate) scopes: Vec<Scope>,
    /// With which key.
    pub(crate) holder: Thumbprint,
}

impl AccessToken {
    /// A compact JWS.
    pub(crate) fn text(&self) -> &str {
        // It was made of text.
        str::from_utf8(self.token.text.expose()).unwrap_or_default()
    }

    /// What it is good for, as `scope` has it.
    pub(crate) fn scope(&self) -> String {
        self.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
    }

    /// How long it lives; whole seconds.
    pub(crate) fn lifetime(&self) -> Duration {
        self.token.not_after.duration_since(self.token.not_before).unwrap_or_default()
    }
}

impl Keyring {
    /// Signs an access token for the bearer of a permit and the holder of the key with this thumbprint. Lives as long as
    /// the permit says, counted from the second that has begun, and no longer than the key. What does not pass our own
    /// checks does not leave.
    ///
    /// # Errors
    /// When nothing could be signed, when it would be too long, or when what was signed is not right.
    pub(crate) fn sign_access(
        &self,
        permit: Permit,
        issuer: &str,
        holder: Thumbprint,
        now: SystemTime,
    ) -> Result<AccessToken, Error> {
        if permit.id().trust_domain() != *self.bundle().trust_domain() {
            return Err(Error::ForeignTrustDomain);
        }
        let keys = self.access().ok_or(Error::NoTokenKey)?;
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
        let end = keys.active.end_of(begin + permit.ttl(), permit.expires_at(), Duration::ZERO, now)?;
        let mut token_id = TokenId([0; 16]);
        aws_lc_rs::rand::fill(&mut token_id.0).map_err(|_| Error::Key)?;
        let scopes = permit.scopes().iter().cloned().collect();
        let draft = Draft {
            issuer,
            subject: permit.subject(),
            audience: permit.audience(),
            client: permit.agent().as_str(),
            scopes: &scopes,
            key: holder,
            session: permit.session(),
            token_id,
            expires_at: end,
        };
        let text = access::issue(&draft, &*keys.active, begin).map_err(|error| match error {
            DraftError::TooLong(bytes) => Error::TooLong { bytes },
            error => made(error),
        })?;
        if keys.active.sample.is_due() {
            let verified = Unverified::parse(&text).and_then(|token| token.verify(issuer, keys.bundle()));
            proved(&keys.active, verified.and_then(|claims| claims.check(permit.audience(), now)))?;
        }
        let serial = token_id.to_string();
        let token = Token::new(permit.id().clone(), text, serial, (begin, end), &keys.active);
        let (agent, tool, scopes) = (permit.agent().clone(), permit.tool().clone(), permit.scopes().to_vec());
        let (subject, parent) = (permit.subject().clone(), permit.parent().map(str::to_owned));
        let audience = permit.audience().into();
        Ok(AccessToken { token, subject, parent, reason: None, agent, tool, audience, scopes, holder })
    }
}

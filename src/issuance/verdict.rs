//! Judging a JWT-SVID on a caller's behalf, with the keys that this caller may trust.

use std::{fmt, time::Duration};

use zeroize::Zeroizing;

use super::{Error, Issuer, ROUNDS_MAX, tokens::Misasked};
use crate::{
    attest::{self, Caller},
    policy::Credential,
    spiffe::jwt::{self, Expected, Validated},
};

/// How JWT-SVIDs are made and judged.
#[derive(Clone, Debug)]
pub(crate) struct JwtRules {
    /// The `iss` of ours.
    pub(crate) issuer: Option<String>,
    /// How much the clocks of those who signed may differ.
    pub(crate) leeway: Duration,
    /// Whether callers without an identity may have tokens judged, and fetch bundles.
    pub(crate) strangers_verify: bool,
}

/// A token and who judges it. The token is wiped when this is dropped: its audience may believe whoever has it.
pub(crate) struct Question {
    audience: String,
    token: Zeroizing<String>,
}

impl fmt::Debug for Question {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Question").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Question {
    /// Checks what a caller asks: both are there.
    ///
    /// # Errors
    /// When one is empty.
    pub(crate) fn new(audience: String, token: String) -> Result<Self, Misasked> {
        let token = Zeroizing::new(token);
        if audience.is_empty() {
            return Err(Misasked::AudienceMissing);
        }
        match token.is_empty() {
            true => Err(Misasked::TokenMissing),
            false => Ok(Self { audience, token }),
        }
    }
}

impl Issuer {
    /// What a token says, after every check, or why it is not believed. Nothing is kept of it.
    ///
    /// # Errors
    /// When the caller has no identity and strangers may not ask, is gone, or the daemon cannot answer.
    pub(crate) async fn judge_jwt(
        &self,
        caller: &Caller,
        question: &Question,
    ) -> Result<Result<Validated, jwt::Error>, Error> {
        for _ in 0..ROUNDS_MAX {
            let snapshot = self.registry().borrow().clone();
            let attested = self.attest(caller, &snapshot).await?;
            let entries = self.entitled(&attested, &snapshot, Credential::Jwt);
            if !self.holds(caller, &attested).await? || !self.gives_still(&attested, &snapshot) {
                continue;
            }
            let (keyring, foreign) = (self.keyring().borrow().clone(), self.foreign().borrow().clone());
            let entries = match entries {
                Ok(entries) => entries,
                Err(_) if self.jwt_rules().strangers_verify => Vec::new(),
                Err(reasons) => return Err(self.refuse(caller, &attested, "jwt-svid validation", reasons)),
            };
            let Question { audience, token } = question;
            let expected = Expected { audience, now: self.clock().now(), leeway: self.jwt_rules().leeway };
            let verdict = jwt::validate(token, &expected, |domain| {
                let own = keyring.jwt().map(|keys| keys.bundle()).filter(|own| own.trust_domain() == domain);
                own.or_else(|| foreign.jwt(domain, &entries)).map(jwt::Issuer::from)
            });
            self.judged(verdict.is_ok());
            return Ok(verdict);
        }
        Err(Error::Attest(attest::Error::Unsteady))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use zeroize::ZeroizeOnDrop;

    use super::*;

    #[test]
    fn a_token_is_not_printed_and_is_wiped() {
        fn is_wiped(_: &impl ZeroizeOnDrop) {}
        let question = Question::new("aud".to_owned(), "token".to_owned()).unwrap();
        is_wiped(&question.token);
        assert_eq!(format!("{question:?}"), r#"Question { audience: "aud", .. }"#);
    }
}

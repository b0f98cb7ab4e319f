//! JWT-SVIDs for one call: signed for it, each for the audiences that were asked for, and kept by nobody.

use std::time::SystemTime;

use thiserror::Error;

use super::{Error, Issuer, ROUNDS_MAX, credential::Order, issuer::Outcome};
use crate::{
    attest::{self, Attested, Caller},
    authority::Token,
    policy::{Credential, Reason},
    registry::{Given, Granted},
    spiffe::{
        Id, IdError,
        jwt::{AUDIENCES_BYTES_MAX, AUDIENCES_MAX, audiences_bytes},
    },
};

/// The longest audience, in bytes.
pub(crate) const AUDIENCE_BYTES_MAX: usize = 2_048;

/// For whom tokens are to be: at least one, none empty.
#[derive(Clone, Debug)]
pub(crate) struct Audiences(Vec<String>);

/// What is wrong with a request for tokens.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Misasked {
    /// No audience, or an empty one, as clients send it whose caller forgot it.
    #[error("audience must be specified: at least one, and none empty")]
    AudienceMissing,
    /// Client libraries read no more.
    #[error("{0} audiences are too many, at most {AUDIENCES_MAX} are allowed")]
    TooManyAudiences(usize),
    /// Longer than [`AUDIENCE_BYTES_MAX`].
    #[error("an audience has {0} bytes, at most {AUDIENCE_BYTES_MAX} are allowed")]
    AudienceTooLong(usize),
    /// Longer than [`AUDIENCES_BYTES_MAX`] together.
    #[error("the audiences have {0} bytes together, as JSON writes them, at most {AUDIENCES_BYTES_MAX} are allowed")]
    AudiencesTooLong(usize),
    /// What was asked for by name is no workload's SPIFFE ID.
    #[error("spiffe_id is not a workload's SPIFFE ID: {0}")]
    Id(#[from] IdError),
    /// There is no token to look at.
    #[error("svid must be specified")]
    TokenMissing,
}

impl Audiences {
    /// Checks what a caller asks for.
    ///
    /// # Errors
    /// When there is none, an empty one, one that is too long, or too many, or they are too long together.
    pub(crate) fn new(audiences: Vec<String>) -> Result<Self, Misasked> {
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(Misasked::AudienceMissing);
        }
        if audiences.len() > AUDIENCES_MAX {
            return Err(Misasked::TooManyAudiences(audiences.len()));
        }
        if let Some(length) = audiences.iter().map(String::len).find(|length| *length > AUDIENCE_BYTES_MAX) {
            return Err(Misasked::AudienceTooLong(length));
        }
        match audiences_bytes(&audiences) {
            0..=AUDIENCES_BYTES_MAX => Ok(Self(audiences)),
            length => Err(Misasked::AudiencesTooLong(length)),
        }
    }
}

/// Which of its identities a caller asks for: all, or one by its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Option<Id>);

impl Wanted {
    /// What a request's `spiffe_id` says; empty is all.
    ///
    /// # Errors
    /// When it is no workload's SPIFFE ID.
    pub(crate) fn parse(spiffe_id: &str) -> Result<Self, Misasked> {
        match spiffe_id {
            "" => Ok(Self(None)),
            id => Ok(Self(Some(Id::parse(id)?))),
        }
    }

    /// Whether an entry gives it.
    pub(super) fn has(&self, entry: &Given) -> bool {
        self.0.as_ref().is_none_or(|id| id == entry.spiffe_id())
    }
}

/// A token with what its entry says beside it.
pub(crate) struct Labelled {
    pub(crate) token: Token,
    pub(crate) hint: String,
}

impl Issuer {
    /// JWT-SVIDs for all identities of a caller, or for the one asked for; the default identity's first.
    ///
    /// # Errors
    /// When the caller is not entitled to what it asks for, be it there or not, is gone, or the daemon cannot answer.
    pub(crate) async fn jwt(
        &self,
        caller: &Caller,
        audiences: &Audiences,
        wanted: &Wanted,
    ) -> Result<Vec<Labelled>, Error> {
        for _ in 0..ROUNDS_MAX {
            let snapshot = self.registry().borrow().clone();
            let attested = self.attest(caller, &snapshot).await?;
            if !self.gives_still(&attested, &snapshot) {
                continue;
            }
            let Granted { given: mut entries, withheld, .. } = self.granted(&attested, &snapshot);
            entries.retain(|entry| wanted.has(entry));
            if entries.is_empty() {
                if !self.holds(caller, &attested).await? {
                    continue;
                }
                return Err(self.refuse(caller, &attested, Credential::Jwt.name(), Reason::of_nothing(withheld)));
            }
            // Tools that take them look at when they were issued, which they say in whole seconds.
            let from = entries.iter().map(|entry| snapshot.tokens_from(entry)).max();
            self.wait_until(from.unwrap_or(SystemTime::UNIX_EPOCH)).await;
            let tokens = self.sign_jwts(caller, &attested, &entries, audiences)?;
            // Last of all: it is still the process that was attested, and nothing was taken from it meanwhile.
            if self.holds(caller, &attested).await? && self.gives_still(&attested, &snapshot) {
                let of_templates: Vec<_> = withheld.iter().filter(|each| each.why.is_of_template()).collect();
                self.withheld(caller, &attested, Credential::Jwt.name(), &of_templates);
                return Ok(tokens);
            }
        }
        Err(Error::Attest(attest::Error::Unsteady))
    }

    /// One entry that cannot be signed takes nothing from the others.
    fn sign_jwts(
        &self,
        caller: &Caller,
        attested: &Attested,
        entries: &[Given],
        audiences: &Audiences,
    ) -> Result<Vec<Labelled>, Error> {
        let (mut signed, mut refusals, mut failure) = (Vec::with_capacity(entries.len()), Vec::new(), None);
        for entry in entries {
            let now = self.clock().now();
            let order = Order { entry, credential: Credential::Jwt, renewal: false, now };
            let Audiences(audiences) = audiences;
            let outcome = self.sign(caller, order, |keyring, permit| {
                keyring.sign_jwt(permit, audiences, self.jwt_rules().issuer.as_deref(), now)
            });
            match outcome {
                Outcome::Signed(one) => signed.push(one),
                Outcome::Refused(reasons) => refusals.extend(reasons),
                Outcome::Failed(error) => failure = Some(error),
            }
        }
        let recorded = self.record(caller, attested, Credential::Jwt.name(), signed);
        let labelled = |(entry, token): (&Given, _)| Labelled { token, hint: entry.spec.hint.clone() };
        let tokens: Vec<_> = recorded.given.into_iter().map(labelled).collect();
        match (tokens.is_empty(), recorded.failure.or(failure)) {
            (false, _) => Ok(tokens),
            (true, Some(error)) => Err(error),
            (true, None) => Err(self.refuse(caller, attested, Credential::Jwt.name(), refusals)),
        }
    }
}

//! Which of several identities is meant.

use clap::Args;

use crate::{
    cli::{exit::Exit, failure::Failure},
    spiffe::Id,
};

/// The person's choice among the identities of this process.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Choice {
    /// Of several identities the one with this SPIFFE ID; otherwise the default one is meant
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<String>,
    /// Of several identities the one with this hint
    #[arg(long, value_name = "TEXT", conflicts_with = "spiffe_id")]
    hint: Option<String>,
}

/// Something that an identity has.
pub(super) trait Named {
    /// Whose it is.
    fn id(&self) -> &Id;
    /// What its operator says it is for; often empty.
    fn hint(&self) -> &str;
}

impl Choice {
    /// As requests have it: all identities are meant by an empty text.
    pub(super) fn spiffe_id(&self) -> String {
        self.spiffe_id.clone().unwrap_or_default()
    }

    /// The one that is written: the first, which is the default, unless another one was asked for.
    ///
    /// # Errors
    /// When this process has no such identity.
    pub(super) fn choose<'u, N: Named>(&self, all: &'u [N]) -> Result<&'u N, Failure> {
        all.iter().find(|each| self.means(*each)).ok_or_else(|| {
            let has: Vec<_> = all.iter().map(|each| each.id().to_string()).collect();
            let wanted = match (&self.spiffe_id, &self.hint) {
                (Some(id), _) => format!("is not {id}"),
                (None, Some(hint)) => format!("has no identity with the hint `{hint}`"),
                (None, None) => "has no identity".into(),
            };
            let failure = Failure::new(Exit::Missing, format!("this process {wanted}"));
            if has.is_empty() { failure } else { failure.hint(format!("it is {}", has.join(", "))) }
        })
    }

    /// Those that are shown: all, unless one was asked for.
    ///
    /// # Errors
    /// As [`Choice::choose`].
    pub(super) fn shown<'u, N: Named>(&self, all: &'u [N]) -> Result<Vec<&'u N>, Failure> {
        match (&self.spiffe_id, &self.hint) {
            (None, None) => Ok(all.iter().collect()),
            _ => self.choose(all).map(|one| vec![one]),
        }
    }

    fn means(&self, one: &impl Named) -> bool {
        match (&self.spiffe_id, &self.hint) {
            (Some(id), _) => one.id().as_str() == id,
            (None, Some(hint)) => one.hint() == hint,
            (None, None) => true,
        }
    }
}

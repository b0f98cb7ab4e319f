//! Scopes of tools, and how much harm each can do.

use std::{fmt, time::Duration};

use super::label::named;
use crate::oauth::{SCOPE_BYTES_MAX, ScopeError};

pub(crate) use crate::oauth::Scope;

/// Reads a scope; case counts.
///
/// # Errors
/// Words behind "is not valid:".
pub(super) fn read(text: &str) -> Result<Scope, String> {
    Scope::parse(text).map_err(|error| match error {
        ScopeError::Empty => "it is empty".to_owned(),
        ScopeError::TooLong(bytes) => format!("it has {bytes} bytes, at most {SCOPE_BYTES_MAX} are allowed"),
        _ => {
            let odd = text.chars().find(|each| !matches!(each, '!' | '#'..='[' | ']'..='~'));
            let odd = odd.map(named).unwrap_or_default();
            format!("it has {odd}; printable ASCII without space, \" and \\ is allowed")
        }
    })
}

/// What can be done with a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Band {
    /// Looks, changes nothing.
    Read,
    /// Changes what can be changed back.
    Write,
    /// Takes away.
    Delete,
    /// Tells others: mail, messages, money.
    Send,
    /// Changes what runs.
    Deploy,
}

/// How long tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// Where nothing is said.
    pub(crate) usual: Duration,
    /// Whatever is said.
    pub(crate) most: Duration,
}

impl Band {
    /// All there are.
    pub(crate) const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Delete, Self::Send, Self::Deploy];

    /// One word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Send => "send",
            Self::Deploy => "deploy",
        }
    }

    /// Reads the word.
    ///
    /// # Errors
    /// Words behind "is not valid:".
    pub(crate) fn parse(word: &str) -> Result<Self, String> {
        let band = Self::ALL.into_iter().find(|band| band.as_str() == word);
        band.ok_or_else(|| "it must be read, write, delete, send or deploy".into())
    }

    /// How long tokens with such a scope live. With several scopes the shortest holds.
    pub(crate) fn lifetime(self) -> Lifetime {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        match self {
            Self::Read => Lifetime { usual: minutes(15), most: minutes(60) },
            Self::Write | Self::Delete | Self::Send | Self::Deploy => Lifetime { usual: minutes(5), most: minutes(15) },
        }
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

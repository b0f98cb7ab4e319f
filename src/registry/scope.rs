//! Scopes of tools, and how much harm each can do.

use std::{borrow::Borrow, fmt, sync::Arc, time::Duration};

use super::label::named;

/// A scope-token (RFC 6749 §3.3). Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scope(Arc<str>);

impl Scope {
    /// The longest scope, in bytes.
    pub(crate) const BYTES_MAX: usize = 64;

    /// Reads a scope; case counts.
    ///
    /// # Errors
    /// Words behind "is not valid:".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".into());
        }
        if text.len() > Self::BYTES_MAX {
            return Err(format!("it has {} bytes, at most {} are allowed", text.len(), Self::BYTES_MAX));
        }
        match text.chars().find(|each| !matches!(each, '!' | '#'..='[' | ']'..='~')) {
            Some(odd) => Err(format!("it has {}; printable ASCII without space, \" and \\ is allowed", named(odd))),
            None => Ok(Self(text.into())),
        }
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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

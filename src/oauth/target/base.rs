//! Base URLs of tools: which requests are a tool's.

use std::fmt;

use super::{Error, Origin, Target};

/// The URL that all of a tool's requests begin with, up to the end of a segment. Its slashes at the end do not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base {
    origin: Origin,
    /// Begins with a slash, or is empty; does not end with one.
    path: String,
}

/// Why a text is no base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    /// It is no URL that a proof can name.
    #[error(transparent)]
    Target(#[from] Error),
    /// It has `%`, which two people may write in two ways.
    #[error("the URL has a `%`")]
    Percent,
}

impl Base {
    /// Reads a base URL: http or https, without user name, query, fragment, `%` or dot segment.
    ///
    /// # Errors
    /// See [`BaseError`].
    pub fn parse(url: &str) -> Result<Self, BaseError> {
        if url.contains('%') {
            return Err(BaseError::Percent);
        }
        let Target { origin, mut path } = Target::parse_htu(url)?;
        if path.ends_with('/') {
            path.pop();
        }
        Ok(Self { origin, path })
    }

    /// The path of a request below this base, `/` for the base itself; `None` when it is not below it.
    pub fn relative<'t>(&self, target: &'t Target) -> Option<&'t str> {
        if self.origin != target.origin {
            return None;
        }
        match target.path.strip_prefix(self.path.as_str())? {
            "" => Some("/"),
            below if below.starts_with('/') => Some(below),
            // A longer segment that begins alike.
            _ => None,
        }
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many bytes of path it fixes: of several bases of a request, the one with most counts.
    pub fn depth(&self) -> usize {
        self.path.len()
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

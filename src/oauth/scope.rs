//! Scopes (RFC 6749 §3.3): what a token may be used for.

use std::{borrow::Borrow, collections::BTreeSet, fmt, sync::Arc};

use thiserror::Error;

/// The longest scope, in bytes.
pub const SCOPE_BYTES_MAX: usize = 64;
/// The most scopes together.
pub const SCOPES_MAX: usize = 128;

/// One scope. Compared octet by octet; cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

/// Some scopes, each once, perhaps none. Their text has blanks between them and is in the order of their octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

/// Why a text is no scope, or no list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScopeError {
    /// It is empty, or there is more than one blank between two.
    #[error("a scope is empty")]
    Empty,
    /// More than [`SCOPE_BYTES_MAX`].
    #[error("a scope has {0} bytes, at most {SCOPE_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// It has another character than printable ASCII without blank, `"` and `\`.
    #[error("a scope has a character other than printable ASCII without blank, quote and backslash")]
    Character,
    /// More than [`SCOPES_MAX`].
    #[error("there are more than {SCOPES_MAX} scopes")]
    TooMany,
}

impl Scope {
    /// Reads one scope (RFC 6749 §3.3): printable ASCII without blank, `"` and `\`, at most [`SCOPE_BYTES_MAX`].
    ///
    /// # Errors
    /// See [`ScopeError`].
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        match text.len() {
            0 => return Err(ScopeError::Empty),
            1..=SCOPE_BYTES_MAX => {}
            more => return Err(ScopeError::TooLong(more)),
        }
        match text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            true => Ok(Self(text.into())),
            false => Err(ScopeError::Character),
        }
    }

    /// It as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Scopes {
    /// Reads a list with one blank between two. What comes twice counts once.
    ///
    /// # Errors
    /// See [`ScopeError`]; an empty text is none.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let mut scopes = BTreeSet::new();
        for scope in text.split(' ') {
            scopes.insert(Scope::parse(scope)?);
            if scopes.len() > SCOPES_MAX {
                return Err(ScopeError::TooMany);
            }
        }
        Ok(Self(scopes))
    }

    /// Whether this one is among them.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// Whether all of them are among the others.
    pub fn is_within(&self, others: &Self) -> bool {
        self.0.is_subset(&others.0)
    }

    /// Those that both have.
    #[must_use]
    pub fn common(&self, others: &Self) -> Self {
        Self(self.0.intersection(&others.0).cloned().collect())
    }

    /// Each, in the order of their octets.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { " " })?;
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_list_is_read_and_written_in_one_order() {
        let scopes = Scopes::parse("write read:all read read").unwrap();
        assert_eq!(scopes.to_string(), "read read:all write");
        assert_eq!((scopes.len(), scopes.is_empty()), (3, false));
        assert!(scopes.contains("read") && !scopes.contains("Read") && !scopes.contains(""));
        let fewer = Scopes::parse("read delete").unwrap();
        assert_eq!(scopes.common(&fewer).to_string(), "read");
        assert!(scopes.common(&fewer).is_within(&scopes) && !fewer.is_within(&scopes));
        assert_eq!(Scopes::default().to_string(), "");
    }

    #[test]
    fn what_is_no_scope_is_refused_for_its_fault() {
        let longest = "s".repeat(SCOPE_BYTES_MAX);
        assert!(Scope::parse(&longest).is_ok() && Scope::parse("!#[]~").is_ok());
        for (text, reason) in [
            ("", ScopeError::Empty),
            (&format!("{longest}s"), ScopeError::TooLong(SCOPE_BYTES_MAX + 1)),
            ("a b", ScopeError::Character),
            ("a\"", ScopeError::Character),
            ("a\\", ScopeError::Character),
            ("a\u{7f}", ScopeError::Character),
            ("a\n", ScopeError::Character),
            ("é", ScopeError::Character),
        ] {
            assert_eq!(Scope::parse(text), Err(reason), "{text:?}");
        }
        for (text, reason) in [
            ("", ScopeError::Empty),
            (" a", ScopeError::Empty),
            ("a ", ScopeError::Empty),
            ("a  b", ScopeError::Empty),
            ("a\tb", ScopeError::Character),
        ] {
            assert_eq!(Scopes::parse(text), Err(reason), "{text:?}");
        }
        let many = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(Scopes::parse(&many(SCOPES_MAX)).unwrap().len(), SCOPES_MAX);
        assert_eq!(Scopes::parse(&many(SCOPES_MAX + 1)), Err(ScopeError::TooMany));
    }
}

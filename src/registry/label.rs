//! The names of agents and tools: short, and of letters that nobody can mistake for others.

use std::{borrow::Borrow, fmt, sync::Arc};

/// `[a-z0-9][a-z0-9-]{0,62}`. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Label(Arc<str>);

impl Label {
    /// The longest name, in bytes.
    pub(crate) const BYTES_MAX: usize = 63;

    /// Reads a name as it is; nothing is made lower case or trimmed.
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
        if let Some(odd) = text.chars().find(|each| !matches!(each, 'a'..='z' | '0'..='9' | '-')) {
            return Err(format!("it has {}, only a-z 0-9 - are allowed", named(odd)));
        }
        match text.starts_with('-') {
            true => Err("it begins with `-`".into()),
            false => Ok(Self(text.into())),
        }
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A character by its number where a person could take it for another one, or not see it.
pub(super) fn named(char: char) -> String {
    match char.is_ascii_graphic() {
        true => format!("`{char}`"),
        false => format!("the character U+{:04X}", u32::from(char)),
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

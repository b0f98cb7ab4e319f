//! JSON of ours: members in the order in which they are given, integers as integers, no blanks.

use std::fmt::Write as _;

/// An object that is being written.
pub(crate) struct Members(String);

impl Members {
    /// Without a member.
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    /// A text.
    pub(crate) fn string(self, name: &str, text: &str) -> Self {
        self.raw(name, &quoted(text))
    }

    /// An integer.
    pub(crate) fn integer(self, name: &str, number: u64) -> Self {
        self.raw(name, &number.to_string())
    }

    /// What is JSON already.
    pub(crate) fn raw(mut self, name: &str, json: &str) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(json);
        self
    }

    /// The whole object.
    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// An array of what is JSON already.
pub(crate) fn array(elements: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", elements.into_iter().collect::<Vec<_>>().join(","))
}

/// A text in quotes, with the escapes that it needs (RFC 8259 §7).
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            // Writing to a String does not fail.
            '\0'..='\u{1f}' => _ = write!(quoted, "\\u{:04x}", u32::from(character)),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

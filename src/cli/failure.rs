//! What a person is told when it does not work: one sentence, perhaps details, perhaps a hint, and an exit code.

use std::fmt;

use super::exit::Exit;

/// Why a verb ended early. Words are lower case, without a full stop.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    words: String,
    details: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// With the sentence that follows `error:`.
    pub(crate) fn new(exit: Exit, words: impl Into<String>) -> Self {
        Self { exit, words: words.into(), details: Vec::new(), hint: None }
    }

    /// It was tried and did not work; `error` says why, with all its causes.
    pub(crate) fn because(words: impl fmt::Display, error: &dyn std::error::Error) -> Self {
        Self::new(Exit::Failed, format!("{words}: {}", whole(error)))
    }

    /// It has been said already: the verb's own output tells what did not hold.
    pub(crate) fn told(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// With what to do about it, printed after `hint:`.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same, but the program ends in this way.
    pub(crate) fn ends_with(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// With lines of their own below the sentence: one for each problem.
    pub(crate) fn details(self, details: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { details: details.into_iter().map(Into::into).collect(), ..self }
    }

    /// How the program ends.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The sentence; empty when everything was said.
    pub(crate) fn words(&self) -> &str {
        &self.words
    }

    /// The lines below it.
    pub(crate) fn lines(&self) -> &[String] {
        &self.details
    }

    /// What to do about it.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// A number and what it counts: `1 entry`, `2 entries`.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// An error with its causes, each once: some libraries repeat the cause in their own words.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        next = cause.source();
    }
    words
}

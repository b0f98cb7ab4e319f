//! What can be wrong with an agent, a tool or a grant as somebody writes it, and the checks that all three share.

use std::{collections::BTreeSet, time::Duration};

use thiserror::Error;

use super::{
    draft::{Problems, shown},
    label::{Label, named},
    profile::is_printable,
};

/// One thing that is wrong. What was given is in it cut short, and without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Flaw {
    /// Something that must be there is not.
    #[error("the {0} is missing")]
    Missing(&'static str),
    /// A value breaks a rule.
    #[error("the {field} `{value}` is not valid: {reason}")]
    Value {
        /// Of what.
        field: &'static str,
        /// What was given.
        value: String,
        /// Which rule.
        reason: String,
    },
    /// Something twice in a list.
    #[error("the {field} `{value}` is there twice")]
    Repeated {
        /// Of what.
        field: &'static str,
        /// What was given.
        value: String,
    },
    /// A list is too long.
    #[error("there are {count} {what}, at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were given.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A number is out of its range.
    #[error("the {field} of {value} is out of range: {min} to {max}, or 0 for {nought}")]
    Range {
        /// Of what, with its unit.
        field: &'static str,
        /// What was given.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// What 0 stands for.
        nought: &'static str,
    },
}

/// Gathers what is wrong.
#[derive(Debug, Default)]
pub(super) struct Flaws(Vec<Flaw>);

impl Flaws {
    pub(super) fn add(&mut self, flaw: Flaw) {
        self.0.push(flaw);
    }

    /// What was read, or `None` and a word more.
    pub(super) fn read<T>(&mut self, field: &'static str, given: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|reason| self.add(Flaw::Value { field, value: shown(given), reason })).ok()
    }

    /// A name that must be there.
    pub(super) fn label(&mut self, field: &'static str, text: &str) -> Option<Label> {
        if text.is_empty() {
            self.add(Flaw::Missing(field));
            return None;
        }
        self.read(field, text, Label::parse(text))
    }

    /// A name that may be there.
    pub(super) fn label_or_none(&mut self, field: &'static str, text: &str) -> Option<Label> {
        if text.is_empty() { None } else { self.read(field, text, Label::parse(text)) }
    }

    /// Text in one line that a person sees as what it is; may be empty. `ascii` leaves no letters that look like others.
    pub(super) fn text(&mut self, field: &'static str, text: &str, bytes_max: usize, ascii: bool) {
        let odd = |each: &char| if ascii { !matches!(each, ' '..='~') } else { !is_printable(*each) };
        let reason = match text.chars().find(odd) {
            _ if text.len() > bytes_max => format!("it has {} bytes, at most {bytes_max} are allowed", text.len()),
            Some(odd) if ascii => format!("it has {}, only printable ASCII is allowed", named(odd)),
            Some(odd) => format!("it has {}, which cannot be seen", named(odd)),
            None if text.trim_matches(' ') != text => "it begins or ends with a space".into(),
            None => return,
        };
        self.add(Flaw::Value { field, value: shown(text), reason });
    }

    /// Whether a list may be read at all.
    pub(super) fn few(&mut self, what: &'static str, count: usize, max: usize) -> bool {
        if count > max {
            self.add(Flaw::TooMany { what, count, max });
        }
        count <= max
    }

    /// Puts what was read into its order; what is there twice is told.
    pub(super) fn sorted<T: Ord + Clone + ToString>(&mut self, field: &'static str, read: Vec<T>) -> Vec<T> {
        let mut sorted = BTreeSet::new();
        for one in read {
            if !sorted.insert(one.clone()) {
                self.add(Flaw::Repeated { field, value: shown(&one.to_string()) });
            }
        }
        sorted.into_iter().collect()
    }

    /// A length of time in whole seconds; 0 is none.
    pub(super) fn seconds(&mut self, field: &'static str, given: u64, max: u64) -> Option<Duration> {
        if given > max {
            self.add(Flaw::Range { field, value: given, min: 1, max, nought: "the default" });
        }
        (1..=max).contains(&given).then(|| Duration::from_secs(given))
    }

    /// What was made of it all, where nothing was wrong.
    pub(super) fn end<T>(self, made: Option<T>) -> Result<T, Problems<Flaw>> {
        match made {
            Some(made) if self.0.is_empty() => Ok(made),
            _ => Err(Problems::of(self.0)),
        }
    }
}

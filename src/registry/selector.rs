//! One attested fact, as `unix:uid:1000`: a kind up to the first colon, and that kind's value.
//!
//! The kinds that this daemon reads itself (`unix`, `dayfly`) are judged to the last letter, because a
//! selector with a typing error matches nobody, and that is found out late. Others (`docker`, `k8s`,
//! `systemd` and whatever comes) are carried as they are, so that SPIRE's entries carry over.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

use super::{
    image::Image,
    unix::{self, check_own},
};

/// A selector. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Selector(Arc<str>);

impl Selector {
    /// The most bytes of a whole selector: a path of 4,095 and what is before it fit.
    pub(crate) const BYTES_MAX: usize = 4352;
    /// The most bytes of a kind.
    pub(crate) const KIND_BYTES_MAX: usize = 64;

    /// Reads `kind:value`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.is_empty() {
            return Err(SelectorError::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(SelectorError::TooLong(text.len()));
        }
        let (kind, value) = text.split_once(':').ok_or(SelectorError::NoColon)?;
        check_kind(kind)?;
        if value.is_empty() {
            return Err(SelectorError::NoValue);
        }
        // They would break lines of logs and tables, and hide what a person is to read.
        if value.chars().any(char::is_control) {
            return Err(SelectorError::Control);
        }
        check_own(kind, value)?;
        Ok(Self(text.into()))
    }

    /// Joins a kind and a value, as `unix` and `uid:1000`.
    ///
    /// # Errors
    /// As [`Selector::parse`].
    pub(crate) fn new(kind: &str, value: &str) -> Result<Self, SelectorError> {
        check_kind(kind)?;
        Self::parse(&format!("{kind}:{value}"))
    }

    /// `unix:uid:N`
    pub(crate) fn uid(uid: u32) -> Self {
        Self(format!("unix:uid:{uid}").into())
    }

    /// `unix:gid:N`
    pub(crate) fn gid(gid: u32) -> Self {
        Self(format!("unix:gid:{gid}").into())
    }

    /// `unix:supplementary_gid:N`
    pub(crate) fn supplementary_gid(gid: u32) -> Self {
        Self(format!("unix:supplementary_gid:{gid}").into())
    }

    /// The whole: `unix:uid:1000`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is about: `unix`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn kind(&self) -> &str {
        self.0.split_once(':').map_or("", |(kind, _)| kind)
    }

    /// What it says: `uid:1000`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn value(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, value)| value)
    }

    /// Which kind of image selector it is, if it is one.
    pub(crate) fn image(&self) -> Option<Image> {
        unix::image(&self.0)
    }

    /// Its value, if it is the one of a process that has this name: `1000` of `unix:uid:1000`, for `uid`.
    pub(crate) fn unix(&self, name: &str) -> Option<&str> {
        unix::value_of(&self.0, name)
    }

    /// Whether it is of a kind that this daemon makes itself.
    pub(crate) fn is_own(&self) -> bool {
        self.0.split_once(':').is_some_and(|(kind, _)| unix::is_own(kind))
    }

    /// What it says is one value of, where a process has only one: two of the same match nobody.
    pub(super) fn single(&self) -> Option<&str> {
        unix::single(&self.0)
    }
}

/// Kinds are words as SPIRE's plugins have them.
fn check_kind(kind: &str) -> Result<(), SelectorError> {
    if kind.is_empty() {
        return Err(SelectorError::NoKind);
    }
    if kind.len() > Selector::KIND_BYTES_MAX {
        return Err(SelectorError::KindTooLong(kind.len()));
    }
    match kind.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')) {
        true => Ok(()),
        false => Err(SelectorError::Kind),
    }
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SelectorError {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// Longer than [`Selector::BYTES_MAX`].
    #[error("it has {0} bytes, at most {max} are allowed", max = Selector::BYTES_MAX)]
    TooLong(usize),
    /// There is no colon.
    #[error("it has no colon, selectors are written as `unix:uid:1000`")]
    NoColon,
    /// There is nothing before the first colon.
    #[error("there is nothing before the first colon")]
    NoKind,
    /// The part before the first colon is longer than [`Selector::KIND_BYTES_MAX`].
    #[error("its kind has {0} bytes, at most {max} are allowed", max = Selector::KIND_BYTES_MAX)]
    KindTooLong(usize),
    /// The part before the first colon has something other than `a-z 0-9 - _ .`.
    #[error("its kind, what is before the first colon, may have only a-z 0-9 - _ .")]
    Kind,
    /// There is nothing after the first colon.
    #[error("there is nothing after the first colon")]
    NoValue,
    /// There is a control character.
    #[error("it has a control character, such as a line break")]
    Control,
    /// One of our own kinds, and no such name in it.
    #[error("{kind} has no selector `{name}`{}", did_you_mean(.meant, .kind))]
    UnknownName {
        /// `unix` or `dayfly`.
        kind: &'static str,
        /// What was given, cut to a readable length.
        name: String,
        /// The known name that is nearest to it.
        meant: Option<&'static str>,
    },
    /// A number that is none, or is written in another way than the kernel's.
    #[error("{name} wants a number from 0 to 4294967294, without sign or leading zeros")]
    Number {
        /// As `unix:uid`.
        name: &'static str,
    },
    /// The path is not absolute.
    #[error("unix:path wants an absolute path")]
    PathRelative,
    /// No process's path looks like this one.
    #[error("unix:path wants the path as the kernel shows it, without `//`, `.`, `..` or a slash at the end")]
    PathForm,
    /// A digest that is none.
    #[error("{name} wants {digits} lower-case hexadecimal digits")]
    Digest {
        /// As `unix:sha256`.
        name: &'static str,
        /// How many digits.
        digits: usize,
    },
    /// A verity digest without its algorithm.
    #[error("dayfly:verity wants `sha256:` or `sha512:` and the digest")]
    VerityAlgorithm,
}

fn did_you_mean(meant: &Option<&'static str>, kind: &str) -> String {
    meant.map_or(String::new(), |meant| format!(", did you mean `{kind}:{meant}`?"))
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({})", self.0)
    }
}

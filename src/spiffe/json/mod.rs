//! JSON of strangers, read so that it has one meaning (RFC 8259, and RFC 7519 §4 on doubled names).
//!
//! Common readers keep the last of two members with one name, round large integers, and take what another
//! reader would refuse, so that two readers of one token can see two tokens. This one refuses: bytes that
//! are not UTF-8, a byte order mark, anything after the value, a name twice in one object, more nesting or
//! more values than anybody needs. Whether a number is an integer is a question of its token, not of its
//! value: `1e3` and `1000.0` are none.

#[cfg(any(fuzzing, test))]
pub(crate) mod agreement;
mod reader;
mod writer;

use std::collections::BTreeMap;

use thiserror::Error;

pub(in crate::spiffe) use reader::parse_with_repeats;
pub(crate) use writer::{Members, array, quoted};

/// The deepest nesting that is read: a number in an array in an object is at depth 2.
pub const DEPTH_MAX: usize = 16;
/// The most values in one text, the nested ones counted.
pub const VALUES_MAX: usize = 65_536;

/// Reads one value that fills all of the bytes, of which there may be so many.
///
/// # Errors
/// The first thing that is not as it should be; doubled names are told last.
pub(crate) fn parse(bytes: &[u8], bytes_max: usize) -> Result<Value, Error> {
    let value = parse_with_repeats(bytes, bytes_max)?;
    match value.repeated() {
        Some(_) => Err(Error::Repeated),
        None => Ok(value),
    }
}

/// Why bytes are not the JSON they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Longer than the reader's limit.
    #[error("it has {bytes} bytes, at most {most} are read")]
    TooLong {
        /// How many there are.
        bytes: usize,
        /// How many are read.
        most: usize,
    },
    /// Not UTF-8: another encoding, or damage.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// It begins with a byte order mark.
    #[error("it begins with a byte order mark")]
    ByteOrderMark,
    /// There is something that JSON does not have in this place, a byte counted from 0.
    #[error("it is not JSON at byte {0}")]
    Syntax(usize),
    /// It ends too early.
    #[error("it ends before the value does")]
    Cut,
    /// There is something after the value.
    #[error("there is something after the value")]
    Trailing,
    /// More than [`DEPTH_MAX`] levels.
    #[error("it is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// More than [`VALUES_MAX`] values.
    #[error("it has more than {VALUES_MAX} values")]
    TooMany,
    /// A number beyond what a double can hold.
    #[error("a number is too large")]
    Number,
    /// One object has two members with one name.
    #[error("an object has two members with one name")]
    Repeated,
}

/// One value, with all that is in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text, its escapes resolved.
    String(String),
    /// Values in their order.
    Array(Vec<Value>),
    /// Members by name.
    Object(Object),
}

/// A number, exact where its token is an integer that fits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer token from 0 to 2^64 − 1. `-0` is 0.
    Unsigned(u64),
    /// An integer token from −2^63 to −1.
    Negative(i64),
    /// A token with a fraction or an exponent, or an integer that does not fit above. Always finite.
    Inexact(f64),
}

impl Number {
    /// The nearest double, which is all that `google.protobuf.Struct` holds.
    pub fn to_f64(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
            Self::Unsigned(number) => number as f64,
            #[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
            Self::Negative(number) => number as f64,
            Self::Inexact(number) => number,
        }
    }
}

impl Value {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one that is not negative, by its token.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(Number::Unsigned(number)) => Some(*number),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// A name that some object in it has twice.
    pub(in crate::spiffe) fn repeated(&self) -> Option<&str> {
        match self {
            Self::Array(elements) => elements.iter().find_map(Self::repeated),
            Self::Object(object) => {
                object.repeated.as_deref().or_else(|| object.members.values().find_map(Self::repeated))
            }
            _ => None,
        }
    }
}

/// The members of an object, by their exact names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    members: BTreeMap<String, Value>,
    /// The first name that came twice; of its values the first is kept.
    repeated: Option<String>,
}

impl Object {
    /// The value of a member. Names are compared byte by byte.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// Whether there is a member of this name, be it `null`.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// All members, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A name that came twice in this object itself.
    pub(in crate::spiffe) fn own_repeated(&self) -> Option<&str> {
        self.repeated.as_deref()
    }
}

#[cfg(test)]
mod tests;

//! HTTP targets (RFC 3986): the URL that a door believes, the `htu` of a proof, a tool's base URL, and what route a
//! request takes below it.
//!
//! Two URLs are equal here when their scheme, host, port and path are, octet by octet, after what may be changed without
//! changing the meaning: letters of scheme and host in lower case, no default port, no percent-encoding of what needs
//! none. What another parser may read otherwise (dot segments, `\`, `;`, `//`, numbers as hosts, …) is no target.

mod base;
mod host;
mod path;
mod route;

use std::fmt;

use thiserror::Error;

pub use base::{Base, BaseError};
pub use route::{PATTERN_BYTES_MAX, Route, RouteError, SEGMENTS_MAX, find};

/// The longest URL that is read, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// Scheme, host and port as one text, without a default port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

/// An absolute http or https URL without query and fragment, in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    origin: Origin,
    /// Begins with a slash.
    path: String,
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// More than [`URL_BYTES_MAX`].
    #[error("the URL has {0} bytes, at most {URL_BYTES_MAX} are read")]
    TooLong(usize),
    /// It does not begin with `http://` or `https://`.
    #[error("the URL does not begin with http:// or https://")]
    Scheme,
    /// There is a name or a password before the host.
    #[error("the URL has a user name")]
    UserInfo,
    /// The host is empty or none that every parser reads alike.
    #[error("the URL's host is empty, or not one that every parser reads alike")]
    Host,
    /// The port is no number from 1 to 65535 in its shortest form.
    #[error("the URL's port is not a number from 1 to 65535")]
    Port,
    /// There is a query where none may be.
    #[error("the URL has a query")]
    Query,
    /// There is a fragment.
    #[error("the URL has a fragment")]
    Fragment,
    /// `%` is not followed by two hexadecimal digits.
    #[error("the URL's path has a `%` without two hexadecimal digits")]
    Percent,
    /// A control character, percent-encoded or not.
    #[error("the URL has a control character")]
    Control,
    /// A byte beyond ASCII, or an encoded one that is not UTF-8.
    #[error("the URL has bytes that are not ASCII, or encoded ones that are not UTF-8")]
    NotAscii,
    /// `\`, percent-encoded or not: some parsers read a slash.
    #[error("the URL's path has a backslash")]
    Backslash,
    /// `;`: some parsers cut a segment there.
    #[error("the URL's path has a semicolon")]
    Semicolon,
    /// A character that no path may have as it stands.
    #[error("the URL has a character that must be percent-encoded")]
    Character,
    /// A segment is empty that is not the last.
    #[error("the URL's path has an empty segment")]
    EmptySegment,
    /// A segment is `.` or `..`, percent-encoded or not.
    #[error("the URL's path has a segment `.` or `..`")]
    DotSegment,
}

impl Target {
    /// Reads the URL of a request, as a proxy gives it: absolute, with a query perhaps, which is left out.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn parse(url: &str) -> Result<Self, Error> {
        let (origin, rest) = split(url)?;
        let path = match rest.split_once('?') {
            None => rest,
            Some((path, query)) => {
                path::check_query(query)?;
                path
            }
        };
        Ok(Self { origin, path: path::normal(path)? })
    }

    /// Reads the `htu` of a proof (RFC 9449 §4.2), which has no query either.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn parse_htu(url: &str) -> Result<Self, Error> {
        let (origin, path) = split(url)?;
        match path.contains('?') {
            true => Err(Error::Query),
            false => Ok(Self { origin, path: path::normal(path)? }),
        }
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path, which begins with a slash. What is percent-encoded in it needs to be, in upper-case digits.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether a slash is part of a segment (`%2F`): only a tool that says so takes such a URL.
    pub fn has_encoded_slash(&self) -> bool {
        self.path.contains(path::ENCODED_SLASH)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl Origin {
    /// It as text: `https://example.org`, `http://127.0.0.1:8080`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The origin of a URL without a fragment, and what stands behind it.
fn split(url: &str) -> Result<(Origin, &str), Error> {
    if url.len() > URL_BYTES_MAX {
        return Err(Error::TooLong(url.len()));
    }
    if url.contains('#') {
        return Err(Error::Fragment);
    }
    let (scheme, rest) = url.split_once("://").ok_or(Error::Scheme)?;
    let (scheme, default_port) = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => ("https", 443),
        _ if scheme.eq_ignore_ascii_case("http") => ("http", 80),
        _ => return Err(Error::Scheme),
    };
    let (authority, rest) = rest.find(['/', '?']).and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
    let (host, port) = host::split(authority)?;
    let origin = match port.filter(|port| *port != default_port) {
        None => format!("{scheme}://{host}"),
        Some(port) => format!("{scheme}://{host}:{port}"),
    };
    Ok((Origin(origin), rest))
}

#[cfg(test)]
mod tests;

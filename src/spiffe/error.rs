//! Why a text is no SPIFFE ID or trust domain: one variant for each rule.

use thiserror::Error;

use super::{ID_BYTES_MAX, TRUST_DOMAIN_BYTES_MAX};

/// Why a text is not a SPIFFE ID, a trust domain or a path segment (SPIFFE-ID §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// Longer than [`ID_BYTES_MAX`].
    #[error("it has {0} bytes, at most {ID_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// It does not begin with `spiffe://` in lower case.
    #[error("it does not begin with `spiffe://` in lower case")]
    Scheme,
    /// The trust domain name is empty.
    #[error("the trust domain name is empty")]
    TrustDomainEmpty,
    /// The trust domain name is longer than [`TRUST_DOMAIN_BYTES_MAX`].
    #[error("the trust domain name has {0} bytes, at most {TRUST_DOMAIN_BYTES_MAX} are allowed")]
    TrustDomainTooLong(usize),
    /// The trust domain name has an upper-case letter.
    #[error("the trust domain name has an upper-case letter, it must be lower case")]
    TrustDomainUpperCase,
    /// The trust domain name has a byte other than `a-z 0-9 . - _`.
    #[error("the trust domain name has {}, only a-z 0-9 . - _ are allowed", Shown(*.0))]
    TrustDomainByte(u8),
    /// A bare name was wanted, and a whole SPIFFE ID was given.
    #[error("a trust domain name is wanted here, without `spiffe://`")]
    NotAName,
    /// There is something before an `@`.
    #[error("user information (`@`) is not allowed")]
    Userinfo,
    /// There is a port, or the colon of one.
    #[error("a port (`:`) is not allowed")]
    Port,
    /// There is a `?`.
    #[error("a query (`?`) is not allowed")]
    Query,
    /// There is a `#`.
    #[error("a fragment (`#`) is not allowed")]
    Fragment,
    /// There is a `%`.
    #[error("percent-encoding (`%`) is not allowed")]
    PercentEncoding,
    /// The path has a byte other than `A-Z a-z 0-9 . - _ /`.
    #[error("the path has {}, only A-Z a-z 0-9 . - _ and / are allowed", Shown(*.0))]
    PathByte(u8),
    /// Two slashes follow each other, or a segment given to a builder is empty.
    #[error("the path has an empty segment")]
    SegmentEmpty,
    /// A segment is `.` or `..`.
    #[error("the path has a segment that is `.` or `..`")]
    SegmentDots,
    /// One segment was given to a builder, and it has a slash.
    #[error("a single segment cannot have a slash")]
    SegmentSlash,
    /// It ends with a slash.
    #[error("it ends with a slash")]
    TrailingSlash,
    /// A workload's ID needs a path: this is a trust domain's.
    #[error("the path is missing: this names a trust domain, not a workload")]
    PathMissing,
    /// A trust domain's ID has no path: this is a workload's.
    #[error("there is a path: this names a workload, not a trust domain")]
    PathUnwanted,
    /// The name begins or ends with a dot, or has two in a row.
    #[error(
        "the trust domain name has an empty label (a dot at an end, or two in a row): legal, but Go programs cannot read certificates with it"
    )]
    LabelEmpty,
}

/// A byte as a person can read it: never a raw control character.
struct Shown(u8);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            b' ' => f.write_str("a blank"),
            byte if byte.is_ascii_graphic() => write!(f, "`{}`", char::from(byte)),
            byte if byte.is_ascii() => write!(f, "the control character 0x{byte:02x}"),
            _ => f.write_str("a character outside ASCII"),
        }
    }
}

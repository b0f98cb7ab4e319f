//! The name of a trust domain, judged byte by byte (SPIFFE-ID §2.1).
//!
//! Names that look like addresses or DNS names get no special treatment: no IDNA, no resolver, no
//! trailing dot cut off.

use std::{fmt, str::FromStr, sync::Arc};

use super::{ID_BYTES_MAX, IdError};

/// The longest trust domain name, in bytes (SPIFFE-ID §2.3).
pub const TRUST_DOMAIN_BYTES_MAX: usize = 255;

pub(super) const SCHEME: &str = "spiffe://";

/// A trust domain, by its name: `example.org`. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Reads a bare name, as `example.org`.
    ///
    /// # Errors
    /// The first rule of SPIFFE-ID §2.1 and §2.3 that the name breaks.
    pub fn parse(name: &str) -> Result<Self, IdError> {
        if name.is_empty() {
            return Err(IdError::Empty);
        }
        if name.starts_with(SCHEME) {
            return Err(IdError::NotAName);
        }
        check_name(name.as_bytes())?;
        Ok(Self(name.into()))
    }

    /// Reads the ID of a trust domain, exactly `spiffe://example.org`: the key of every bundle map.
    ///
    /// # Errors
    /// As [`TrustDomain::parse`], and when there is a path or a trailing slash.
    pub fn parse_id(id: &str) -> Result<Self, IdError> {
        Self::from_id_bytes(id.as_bytes())
    }

    /// As [`TrustDomain::parse_id`], for bytes that need not be text (a certificate's URI).
    ///
    /// # Errors
    /// As [`TrustDomain::parse_id`].
    pub fn from_id_bytes(id: &[u8]) -> Result<Self, IdError> {
        let (name, path) = split(id)?;
        match path {
            b"" => text(name).map(|name| Self(name.into())),
            b"/" => Err(IdError::TrailingSlash),
            _ => Err(IdError::PathUnwanted),
        }
    }

    /// The name: `example.org`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain's own ID: `spiffe://example.org`.
    pub fn id(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }

    /// Whether certificates can be issued under this name for everybody to read.
    ///
    /// `a..b`, `.a` and `a.` are legal names, and peers may have them; but Go's `crypto/x509` refuses
    /// to parse a certificate whose URI has an empty label, so nobody should choose one for himself.
    ///
    /// # Errors
    /// [`IdError::LabelEmpty`] for such a name.
    pub fn usable_as_own(&self) -> Result<(), IdError> {
        match self.0.split('.').any(str::is_empty) {
            true => Err(IdError::LabelEmpty),
            false => Ok(()),
        }
    }

    /// For a name whose bytes were judged before.
    pub(super) fn judged(name: &str) -> Self {
        Self(name.into())
    }
}

/// Splits `spiffe://name/path` into the judged name and the path, which is not judged yet.
pub(super) fn split(id: &[u8]) -> Result<(&[u8], &[u8]), IdError> {
    if id.is_empty() {
        return Err(IdError::Empty);
    }
    // First, so that ten megabytes are refused without a look at them.
    if id.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong(id.len()));
    }
    let rest = id.strip_prefix(SCHEME.as_bytes()).ok_or(IdError::Scheme)?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let (name, path) = rest.split_at_checked(end).ok_or(IdError::Scheme)?;
    check_name(name)?;
    Ok((name, path))
}

fn check_name(name: &[u8]) -> Result<(), IdError> {
    if name.is_empty() {
        return Err(IdError::TrustDomainEmpty);
    }
    if name.len() > TRUST_DOMAIN_BYTES_MAX {
        return Err(IdError::TrustDomainTooLong(name.len()));
    }
    name.iter().try_for_each(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => Ok(()),
        b'A'..=b'Z' => Err(IdError::TrustDomainUpperCase),
        b'@' => Err(IdError::Userinfo),
        // `user:password@host` is told as what it is.
        b':' if name.contains(&b'@') => Err(IdError::Userinfo),
        b':' => Err(IdError::Port),
        b'?' => Err(IdError::Query),
        b'#' => Err(IdError::Fragment),
        b'%' => Err(IdError::PercentEncoding),
        other => Err(IdError::TrustDomainByte(*other)),
    })
}

/// Judged bytes are ASCII, so this cannot fail; it is not worth an `unsafe`.
pub(super) fn text(judged: &[u8]) -> Result<&str, IdError> {
    str::from_utf8(judged).map_err(|_| IdError::PathByte(0xff))
}

impl FromStr for TrustDomain {
    type Err = IdError;

    fn from_str(name: &str) -> Result<Self, IdError> {
        Self::parse(name)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustDomain({})", self.0)
    }
}

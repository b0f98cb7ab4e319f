//! A workload's SPIFFE ID, judged byte by byte (SPIFFE-ID §2).
//!
//! No URL library has a part in it: those decode, trim, lower-case and resolve dots, so that what they
//! accept is not what they were given. Here nothing is changed, and two IDs are equal when their bytes are.

use std::{fmt, str::FromStr, sync::Arc};

use super::{
    IdError, TrustDomain,
    trust_domain::{SCHEME, split, text},
};

/// The longest SPIFFE ID, in bytes, scheme included (SPIFFE-ID §2.3).
pub const ID_BYTES_MAX: usize = 2048;

/// The SPIFFE ID of a workload: `spiffe://example.org/path`. The path is never empty; the ID of a
/// trust domain itself is [`TrustDomain::id`]. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    text: Arc<str>,
    /// Where the path's first slash is; at most `ID_BYTES_MAX`.
    path_at: u16,
}

impl Id {
    /// Reads an ID, which must be canonical already.
    ///
    /// # Errors
    /// The first rule of SPIFFE-ID §2 that the text breaks.
    pub fn parse(id: &str) -> Result<Self, IdError> {
        Self::from_bytes(id.as_bytes())
    }

    /// Reads an ID from bytes that need not be text (a certificate's URI).
    ///
    /// # Errors
    /// As [`Id::parse`].
    pub fn from_bytes(id: &[u8]) -> Result<Self, IdError> {
        let (name, path) = split(id)?;
        check_path(path)?;
        Ok(Self { text: text(id)?.into(), path_at: path_at(name) })
    }

    /// Joins segments to an ID: `["a", "b"]` gives `spiffe://NAME/a/b`. A segment is never split,
    /// skipped or changed.
    ///
    /// # Errors
    /// When a segment is empty, has a slash, is `.` or `..` or has a byte that is not allowed; when there
    /// is no segment; when the whole is longer than [`ID_BYTES_MAX`].
    pub fn join<S: AsRef<str>>(
        trust_domain: &TrustDomain,
        segments: impl IntoIterator<Item = S>,
    ) -> Result<Self, IdError> {
        let mut id = trust_domain.id();
        for segment in segments {
            let segment = segment.as_ref();
            check_segment(segment.as_bytes())?;
            id.push('/');
            id.push_str(segment);
            if id.len() > ID_BYTES_MAX {
                return Err(IdError::TooLong(id.len()));
            }
        }
        match id.len() > SCHEME.len() + trust_domain.as_str().len() {
            true => Ok(Self { text: id.into(), path_at: path_at(trust_domain.as_str().as_bytes()) }),
            false => Err(IdError::PathMissing),
        }
    }

    /// The whole ID, as it stands in certificates and tokens.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain it is in.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain::judged(self.trust_domain_name())
    }

    /// The name of its trust domain.
    pub fn trust_domain_name(&self) -> &str {
        self.text.get(SCHEME.len()..usize::from(self.path_at)).unwrap_or_default()
    }

    /// Whether it is in this trust domain.
    pub fn is_in(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain_name() == trust_domain.as_str()
    }

    /// The path with its leading slash.
    pub fn path(&self) -> &str {
        self.text.get(usize::from(self.path_at)..).unwrap_or_default()
    }
}

fn path_at(name: &[u8]) -> u16 {
    // Names have at most 255 bytes, so this does not saturate.
    u16::try_from(SCHEME.len() + name.len()).unwrap_or(u16::MAX)
}

fn check_path(path: &[u8]) -> Result<(), IdError> {
    let segments = path.strip_prefix(b"/").ok_or(IdError::PathMissing)?;
    if segments.is_empty() {
        return Err(IdError::TrailingSlash);
    }
    let mut segments = segments.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_none() {
            return Err(IdError::TrailingSlash);
        }
        check_segment(segment)?;
    }
    Ok(())
}

fn check_segment(segment: &[u8]) -> Result<(), IdError> {
    if matches!(segment, b"." | b"..") {
        return Err(IdError::SegmentDots);
    }
    if segment.is_empty() {
        return Err(IdError::SegmentEmpty);
    }
    segment.iter().try_for_each(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => Ok(()),
        b'/' => Err(IdError::SegmentSlash),
        b'?' => Err(IdError::Query),
        b'#' => Err(IdError::Fragment),
        b'%' => Err(IdError::PercentEncoding),
        other => Err(IdError::PathByte(*other)),
    })
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(id: &str) -> Result<Self, IdError> {
        Self::parse(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.text)
    }
}

//! SPIFFE IDs with placeholders: `spiffe://example.org/user/{unix:user}` gives each caller an ID of its own.
//!
//! What a caller could gain by choosing a value, and why it gains nothing:
//!
//! * A value goes in byte for byte, as a whole segment, and only if it is one: it cannot add a slash, a `..` or an empty
//!   segment, and nothing is decoded, folded or cut, so that two values never become one ID.
//! * A placeholder names something that is proved and of which a process has one value. Where a caller has none or
//!   several, nothing is chosen for it: the entry gives it nothing.
//! * The first segment is literal, so that whoever names himself moves within a branch that was set aside for that, and
//!   never in all of the trust domain.
//! * A result that another entry says literally is refused: a user who is named as a service does not become it.
//! * Two different templates that could give one ID are not both registered (`a caller in the group bob` is not `the
//!   user bob`); so whose value an ID is made of can be read off it.
//!
//! What remains is with whoever says the value: the node's directory for names of users and groups, and an entry's other
//! selectors for who may have it at all. An entry needs at least one of those.

use std::{fmt, hash::Hash, sync::Arc};

use thiserror::Error;

use super::{granted::Why, image::Image, selectors::Selectors};
use crate::spiffe::{ID_BYTES_MAX, Id, IdError, TrustDomain};

/// A SPIFFE ID with at least one placeholder. Cloning shares it; two are equal when their texts are.
#[derive(Clone)]
pub(crate) struct Template(Arc<Inner>);

struct Inner {
    text: Box<str>,
    trust_domain: TrustDomain,
    segments: Box<[Segment]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Value(Placeholder),
}

/// Of what a value is put in: something that is proved, and of which a process has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// `{unix:uid}`
    Uid,
    /// `{unix:gid}`
    Gid,
    /// `{unix:user}`
    User,
    /// `{unix:group}`
    Group,
    /// `{unix:sha256}`
    Sha256,
}

impl Template {
    /// Whether a text is meant as one: no SPIFFE ID has a brace.
    pub(super) fn is_meant(text: &str) -> bool {
        text.contains(['{', '}'])
    }

    /// Reads a whole template.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > ID_BYTES_MAX {
            return Err(IdError::TooLong(text.len()).into());
        }
        let rest = text.strip_prefix("spiffe://").ok_or(IdError::Scheme)?;
        let (name, path) = rest.split_once('/').ok_or(IdError::PathMissing)?;
        let trust_domain = match name {
            "" => return Err(IdError::TrustDomainEmpty.into()),
            name => TrustDomain::parse(name)?,
        };
        let segments: Box<[_]> =
            path.split('/').map(|text| Segment::parse(text, &trust_domain)).collect::<Result<_, _>>()?;
        match segments.first() {
            Some(Segment::Literal(_)) if segments.iter().any(|each| matches!(each, Segment::Value(_))) => {
                Ok(Self(Arc::new(Inner { text: text.into(), trust_domain, segments })))
            }
            Some(Segment::Literal(_)) => Err(TemplateError::NoPlaceholder),
            _ => Err(TemplateError::FirstSegment),
        }
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0.text
    }

    /// In which trust domain all of its IDs are.
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.0.trust_domain
    }

    /// What is put in.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.0.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Value(placeholder) => Some(*placeholder),
        })
    }

    /// The ID of a caller with these selectors.
    ///
    /// # Errors
    /// When it has not exactly one value of something, or that is no segment of an ID.
    pub(crate) fn id_of(&self, have: &Selectors) -> Result<Id, Why> {
        let mut segments = Vec::with_capacity(self.0.segments.len());
        for segment in &self.0.segments {
            match segment {
                Segment::Literal(text) => segments.push(&**text),
                Segment::Value(placeholder) => {
                    let value = placeholder.value_of(have)?;
                    let alone = Id::join(&self.0.trust_domain, [value]);
                    alone.map_err(|reason| Why::IllegalValue { placeholder: *placeholder, reason })?;
                    segments.push(value);
                }
            }
        }
        Id::join(&self.0.trust_domain, segments).map_err(|reason| Why::NoId { reason })
    }

    /// Whether this ID could be made of it.
    pub(super) fn could_give(&self, id: &Id) -> bool {
        let rest = id.as_str().strip_prefix(&self.0.trust_domain.id()).and_then(|path| path.strip_prefix('/'));
        let fits = |(own, segment): (&Segment, &str)| match own {
            Segment::Literal(text) => **text == *segment,
            Segment::Value(_) => true,
        };
        rest.is_some_and(|path| {
            path.split('/').count() == self.0.segments.len() && self.0.segments.iter().zip(path.split('/')).all(fits)
        })
    }

    /// Whether some ID could be made of either.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.0.segments, &other.0.segments);
        let could_be_equal = |pair: (&Segment, &Segment)| match pair {
            (Segment::Literal(one), Segment::Literal(other)) => one == other,
            _ => true,
        };
        self.0.trust_domain == other.0.trust_domain
            && ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(could_be_equal)
    }
}

impl Segment {
    fn parse(text: &str, trust_domain: &TrustDomain) -> Result<Self, TemplateError> {
        if !Template::is_meant(text) {
            // Judged as the segment of an ID that it will be.
            Id::join(trust_domain, [text])?;
            return Ok(Self::Literal(text.into()));
        }
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let name = name.filter(|name| !Template::is_meant(name)).ok_or(TemplateError::NotWhole)?;
        Placeholder::named(name).map(Self::Value)
    }
}

impl Placeholder {
    const ALL: [Self; 5] = [Self::Uid, Self::Gid, Self::User, Self::Group, Self::Sha256];

    fn named(name: &str) -> Result<Self, TemplateError> {
        let known = |known: &Self| name.strip_prefix("unix:") == Some(known.name());
        match (Self::ALL.into_iter().find(known), name) {
            (Some(placeholder), _) => Ok(placeholder),
            (None, "unix:path" | "dayfly:verity") => Err(TemplateError::NeverASegment),
            (None, "unix:supplementary_gid" | "unix:supplementary_group") => Err(TemplateError::Several),
            _ => Err(TemplateError::Unknown),
        }
    }

    /// The name of the selector, without its kind: `user`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::User => "user",
            Self::Group => "group",
            Self::Sha256 => "sha256",
        }
    }

    /// Which kind of image selector it is, if it is one.
    pub(super) fn image(self) -> Option<Image> {
        (self == Self::Sha256).then_some(Image::Sha256)
    }

    fn value_of(self, have: &Selectors) -> Result<&str, Why> {
        let mut values = have.iter().filter_map(|selector| selector.unix(self.name()));
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(Why::NoValue { placeholder: self }),
            (Some(_), Some(_)) => Err(Why::ManyValues { placeholder: self }),
        }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Template {}

impl PartialOrd for Template {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Template {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Template {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{unix:{}}}", self.name())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({})", self.as_str())
    }
}

/// Why a text is no template of SPIFFE IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum TemplateError {
    /// What is not a placeholder is no part of an ID.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The first segment is a placeholder.
    #[error("its first segment must not be a placeholder")]
    FirstSegment,
    /// There is none.
    #[error("it has no placeholder")]
    NoPlaceholder,
    /// A brace within other text, or without its partner.
    #[error("a placeholder must be a whole segment, as in /user/{{unix:user}}")]
    NotWhole,
    /// Something that this daemon does not prove.
    #[error("a placeholder must be one of {KNOWN}")]
    Unknown,
    /// Something whose values have a slash or a colon.
    #[error("a path or a verity digest is never one segment; a placeholder must be one of {KNOWN}")]
    NeverASegment,
    /// Something of which a process may have several.
    #[error("a process may have several supplementary groups; a placeholder must be one of {KNOWN}")]
    Several,
}

const KNOWN: &str = "{unix:uid} {unix:gid} {unix:user} {unix:group} {unix:sha256}";

//! Routes of a tool: `METHOD /path/*`, relative to its base URL.
//!
//! `*` is one segment, at the end one or more, never an empty one. Of the routes that fit a request the most particular
//! counts, whatever their order: from the left, a literal segment beats `*`; then the longer route beats the shorter.

use std::{cmp::Ordering, fmt};

use super::{Error, path};

/// The longest route, in bytes.
pub const PATTERN_BYTES_MAX: usize = 512;
/// The most segments of a route.
pub const SEGMENTS_MAX: usize = 32;
/// The longest method, in bytes.
const METHOD_BYTES_MAX: usize = 32;

/// A method with the paths that it is for. Methods and literal segments are compared octet by octet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    method: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    /// As it stands, in its one spelling; the last may be empty.
    Literal(String),
    /// `*` before the end.
    One,
    /// `*` at the end.
    Rest,
}

/// Why a text is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// More than [`PATTERN_BYTES_MAX`].
    #[error("the route has {0} bytes, at most {PATTERN_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// It is not a method, one blank, and a path that begins with a slash.
    #[error("the route is not METHOD /path")]
    Parts,
    /// The method is no name in upper case.
    #[error("the route's method is not a name in upper-case letters")]
    Method,
    /// More than [`SEGMENTS_MAX`].
    #[error("the route has {0} segments, at most {SEGMENTS_MAX} are allowed")]
    TooManySegments(usize),
    /// `*` stands beside other characters.
    #[error("the route has `*` as a part of a segment; it stands for a whole one")]
    PartOfSegment,
    /// No request could have this path.
    #[error("the route's path is none that a request can have")]
    Path(#[from] Error),
}

impl Route {
    /// Reads `METHOD /path`, where segments may be `*`.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(RouteError::TooLong(text.len()));
        }
        let (method, path) = text.split_once(' ').filter(|(_, path)| path.starts_with('/')).ok_or(RouteError::Parts)?;
        let is_upper = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
        if method.is_empty() || method.len() > METHOD_BYTES_MAX || !method.bytes().all(is_upper) {
            return Err(RouteError::Method);
        }
        let path = path::normal(path)?;
        let count = path.split('/').skip(1).count();
        if count > SEGMENTS_MAX {
            return Err(RouteError::TooManySegments(count));
        }
        let segment = |(at, segment): (usize, &str)| match segment {
            "*" if at + 1 == count => Ok(Segment::Rest),
            "*" => Ok(Segment::One),
            _ if segment.contains('*') => Err(RouteError::PartOfSegment),
            literal => Ok(Segment::Literal(literal.to_owned())),
        };
        let segments = path.split('/').skip(1).enumerate().map(segment).collect::<Result<_, _>>()?;
        Ok(Self { method: method.to_owned(), segments })
    }

    /// Its method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Whether it is for this method and this path, which is one that [`Base::relative`](super::Base::relative) has given.
    pub fn fits(&self, method: &str, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/').filter(|_| self.method == method) else { return false };
        let mut there = path.split('/');
        for segment in &self.segments {
            let fits = match (segment, there.next()) {
                (_, None) => false,
                (Segment::Literal(literal), Some(found)) => literal == found,
                (Segment::One, Some(found)) => !found.is_empty(),
                (Segment::Rest, Some(found)) => return !found.is_empty() && there.all(|found| !found.is_empty()),
            };
            if !fits {
                return false;
            }
        }
        there.next().is_none()
    }

    /// Of two routes that fit one request: the greater is more particular. Equal are only equal ones.
    pub fn precedence(&self, other: &Self) -> Ordering {
        let is_literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        let literals = |route: &Self| route.segments.iter().map(is_literal).collect::<Vec<_>>();
        let (ours, theirs) = (literals(self), literals(other));
        let first = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.cmp(theirs)).find(|order| order.is_ne());
        first.unwrap_or_else(|| ours.len().cmp(&theirs.len()))
    }
}

/// What belongs to the most particular of the routes that fit.
pub fn find<'r, T>(routes: impl IntoIterator<Item = (&'r Route, T)>, method: &str, path: &str) -> Option<T> {
    let fitting = routes.into_iter().filter(|(route, _)| route.fits(method, path));
    fitting.max_by(|(one, _), (other, _)| one.precedence(other)).map(|(_, found)| found)
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.method)?;
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(literal) => write!(f, "/{literal}"),
            Segment::One | Segment::Rest => f.write_str("/*"),
        })
    }
}

//! Routes of a tool: which scope a method and a path need.

use std::{cmp::Ordering, fmt};

use super::{base::check_segment, label::named, scope::Scope};

/// `METHOD /path/*` and the scope that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// What is asked for.
    pub(crate) pattern: Pattern,
    /// What is needed for it.
    pub(crate) scope: Scope,
}

/// A method with a path below a base URL. `*` is one segment in the middle, and one or more at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    method: Box<str>,
    path: Box<str>,
}

impl Pattern {
    /// The longest pattern, in bytes.
    pub(crate) const BYTES_MAX: usize = 512;

    /// Reads `METHOD /path/*`.
    ///
    /// # Errors
    /// Words behind "is not valid:".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > Self::BYTES_MAX {
            return Err(format!("it has {} bytes, at most {} are allowed", text.len(), Self::BYTES_MAX));
        }
        let (method, path) = text.split_once(' ').ok_or("it is written as `GET /path/*`")?;
        if let Some(odd) = method.chars().find(|each| !matches!(each, 'A'..='Z' | '-')) {
            return Err(format!("its method has {}, only A-Z - are allowed", named(odd)));
        }
        let Some(below) = path.strip_prefix('/').filter(|_| !method.is_empty()) else {
            return Err("it is written as `GET /path/*`".into());
        };
        // Only the last segment may be empty.
        let written = below.strip_suffix('/').unwrap_or(below);
        if !written.is_empty() {
            written.split('/').filter(|segment| *segment != "*").try_for_each(check_segment)?;
        }
        Ok(Self { method: method.into(), path: path.into() })
    }

    /// Whether it is for this method, and this path: absolute, below the base URL, with unreserved octets decoded.
    pub(crate) fn matches(&self, method: &str, path: &str) -> bool {
        if *self.method != *method {
            return false;
        }
        let Some(mut rest) = path.strip_prefix('/').map(|path| path.split('/')) else { return false };
        let mut own = self.segments().peekable();
        while let Some(wanted) = own.next() {
            match (wanted, rest.next()) {
                ("*", Some(segment)) if own.peek().is_none() => {
                    return !segment.is_empty() && rest.all(|segment| !segment.is_empty());
                }
                ("*", Some(segment)) if !segment.is_empty() => {}
                (wanted, Some(segment)) if wanted != "*" && wanted == segment => {}
                _ => return false,
            }
        }
        rest.next().is_none()
    }

    /// Which of two patterns that fit one request says more: the greater. A literal says more than `*`, at the first
    /// segment where they differ; then the longer one.
    pub(crate) fn precision(&self, other: &Self) -> Ordering {
        let literal = |segment: &str| segment != "*";
        let pairs = self.segments().zip(other.segments());
        let differs = pairs.map(|(one, two)| literal(one).cmp(&literal(two))).find(|order| order.is_ne());
        differs.unwrap_or_else(|| self.segments().count().cmp(&other.segments().count()))
    }

    fn segments(&self) -> std::str::Split<'_, char> {
        self.path.strip_prefix('/').unwrap_or(&self.path).split('/')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

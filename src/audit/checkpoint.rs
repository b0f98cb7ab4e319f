//! The place of a checkpoint, as it is kept outside the log's folder, and what it says of the log.

use super::{
    chain::{Hash, Link},
    head::Mark,
};

/// Where the log begins: what the first record of its first segment follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The first segment.
    pub(super) segment: u64,
    /// The last record before it.
    pub(super) after: Link,
}

impl Beginning {
    /// Of a log from which nothing was removed.
    pub(super) const FIRST: Self = Self { segment: 1, after: Link::START };
}

/// What a checkpoint signs, beside the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The record before it: everything up to there.
    pub(super) link: Link,
    /// Where the log begins; not said by earlier builds.
    pub(super) beginning: Option<Beginning>,
    /// Whether the log was closed here: nothing but the checkpoint of a start may follow.
    pub(super) is_end: bool,
}

/// The place of a checkpoint, as it is kept outside the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The segment that it is in.
    pub(super) segment: u64,
    /// Where its line ends there; 0 where that is not known.
    pub(super) offset: u64,
    /// The checkpoint's own record.
    pub(super) link: Link,
    /// The fingerprint of its key.
    pub(super) key: Hash,
    /// As it says.
    pub(super) beginning: Option<Beginning>,
    /// As it says.
    pub(super) is_end: bool,
}

impl Checkpoint {
    /// Of the key that has signed it.
    pub(crate) fn fingerprint(&self) -> Hash {
        self.key
    }

    /// As a place in the log.
    pub(super) fn mark(&self) -> Mark {
        Mark { segment: self.segment, offset: self.offset, link: self.link }
    }

    /// Reads what its `Display` wrote, also that of builds that knew nothing of beginnings.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let segment = words.next()?.parse().ok()?;
        let link = link(&mut words)?;
        let key = Hash::parse(words.next()?.as_bytes())?;
        let Some(offset) = words.next() else {
            return Some(Self { segment, offset: 0, link, key, beginning: None, is_end: false });
        };
        let offset = offset.parse().ok()?;
        let beginning = Beginning { segment: words.next()?.parse().ok()?, after: self::link(&mut words)? };
        let is_end = match words.next()? {
            "end" => true,
            "open" => false,
            _ => return None,
        };
        let beginning = Some(beginning);
        words.next().is_none().then_some(Self { segment, offset, link, key, beginning, is_end })
    }
}

fn link<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Link> {
    Some(Link { seq: words.next()?.parse().ok()?, hash: Hash::parse(words.next()?.as_bytes())? })
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { segment, offset, link, key, beginning, is_end } = self;
        write!(f, "{segment} {} {} {key}", link.seq, link.hash)?;
        let Some(Beginning { segment, after }) = beginning else { return Ok(()) };
        let end = if *is_end { "end" } else { "open" };
        write!(f, " {offset} {segment} {} {} {end}", after.seq, after.hash)
    }
}

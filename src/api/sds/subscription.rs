//! What one stream asks for, by the names that it says.

use std::collections::BTreeMap;

use tonic::Status;

use super::name::Name;
use crate::{api::status, issuance::Certificates};

/// The most names that a stream asks for. No caller may have as many secrets.
pub(super) const NAMES_MAX: usize = 1_024;
/// The longest name, in bytes: a SPIFFE ID's.
pub(super) const NAME_BYTES_MAX: usize = 2_048;
/// What a name takes beside its bytes.
const NAME_ROOM: usize = 128;
/// The name that stands for all secrets that the proxy may have.
pub(super) const EVERY: &str = "*";

/// The names that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    names: BTreeMap<String, Name>,
    /// All secrets under their own names, beside these.
    every: bool,
    /// Whether a name was ever said.
    is_named: bool,
}

impl Subscription {
    /// Exactly these from now on; answers whether that is another set. A stream that has never said a name asks for
    /// all that there is.
    ///
    /// # Errors
    /// When there are too many, or one is too long.
    pub(super) fn replace(&mut self, names: &[String]) -> Result<bool, Status> {
        let mut next = Self::default();
        next.add(names)?;
        next.is_named |= self.is_named;
        next.every |= !next.is_named;
        let is_other = (&self.names, self.every) != (&next.names, next.every);
        *self = next;
        Ok(is_other)
    }

    /// These, too.
    ///
    /// # Errors
    /// As [`Self::replace`]. Then nothing has changed.
    pub(super) fn add(&mut self, names: &[String]) -> Result<(), Status> {
        if let Some(long) = names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
            let problem = format!("a resource name has {} bytes, {NAME_BYTES_MAX} at most are taken", long.len());
            return Err(status::invalid(&problem));
        }
        let new = names.iter().filter(|name| !name.is_empty() && !self.names.contains_key(*name));
        let more: BTreeMap<_, _> = new.map(|name| (name.clone(), Name::parse(name))).collect();
        if self.names.len() + more.len() > NAMES_MAX {
            return Err(status::invalid(&format!("a stream can ask for {NAMES_MAX} secrets, this one asks for more")));
        }
        self.is_named |= !more.is_empty();
        self.names.extend(more);
        self.every |= self.names.remove(EVERY).is_some();
        Ok(())
    }

    /// Not these any more.
    pub(super) fn remove(&mut self, names: &[String]) {
        for name in names {
            self.names.remove(name);
            self.every &= name != EVERY;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.every
    }

    /// How many bytes all names take: each as it was said, as what it means, and as what is asked of the spine.
    pub(super) fn bytes(&self) -> usize {
        self.names.keys().map(|name| NAME_ROOM + 3 * name.len()).sum()
    }

    /// Asks for all that there is.
    pub(super) fn ask_for_every(&mut self) {
        self.every = true;
    }

    /// Whether all secrets are asked for under their own names.
    pub(super) fn has_every(&self) -> bool {
        self.every
    }

    /// Whether a secret of this name is asked for.
    pub(super) fn has(&self, name: &str) -> bool {
        self.every || self.names.contains_key(name)
    }

    /// Each name with what it means.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &Name)> {
        self.names.iter().map(|(text, name)| (text.as_str(), name))
    }

    /// The certificates among them.
    pub(super) fn certificates(&self) -> Certificates {
        let ids = self.names.values().filter_map(|name| match name {
            Name::Certificate(id) => Some(id.clone()),
            _ => None,
        });
        let default = self.names.values().any(|name| *name == Name::Default);
        Certificates { every: self.every, default, ids: ids.collect() }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn said(asked: &Subscription) -> Vec<&str> {
        asked.names().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_stream_that_has_said_no_name_asks_for_all() {
        let mut asked = Subscription::default();
        assert!(asked.replace(&[]).unwrap() && asked.has_every());
        assert!(!asked.replace(&[]).unwrap() && asked.has_every());
        assert!(asked.replace(&texts(&["default"])).unwrap() && !asked.has_every());
        assert!(asked.replace(&[]).unwrap(), "no name any more");
        assert!(!asked.replace(&[]).unwrap() && asked.is_empty(), "for ever");
        assert!(asked.replace(&texts(&["*"])).unwrap() && asked.has_every());
        assert!(asked.replace(&[]).unwrap() && asked.is_empty());
    }

    #[test]
    fn the_same_names_in_another_order_are_no_other_set() {
        let mut asked = Subscription::default();
        assert!(asked.replace(&texts(&["default", "ROOTCA"])).unwrap());
        assert!(!asked.replace(&texts(&["ROOTCA", "", "default", "default"])).unwrap());
        assert!(asked.replace(&texts(&["ROOTCA"])).unwrap());
        assert_eq!(said(&asked), ["ROOTCA"]);
    }

    #[test]
    fn a_star_stands_for_all() {
        let mut asked = Subscription::default();
        asked.add(&texts(&["*", "default"])).unwrap();
        assert!(asked.has_every() && asked.certificates().default);
        asked.remove(&texts(&["*", "ROOTCA"]));
        assert_eq!((asked.has_every(), said(&asked)), (false, vec!["default"]));
    }

    #[test]
    fn names_have_a_limit_and_so_has_each() {
        let many: Vec<_> = (0..NAMES_MAX).map(|number| format!("spiffe://example.org/{number}")).collect();
        let mut asked = Subscription::default();
        asked.add(&many).unwrap();
        asked.add(&many).unwrap();
        let over = asked.add(&texts(&["default"])).unwrap_err();
        assert_eq!(over.code(), tonic::Code::InvalidArgument);
        assert_eq!(over.message(), "a stream can ask for 1024 secrets, this one asks for more");
        assert_eq!(asked.names().count(), NAMES_MAX);
        assert_eq!(asked.bytes(), many.iter().map(|name| 128 + 3 * name.len()).sum::<usize>());
        let long = "x".repeat(NAME_BYTES_MAX);
        let mut asked = Subscription::default();
        asked.add(std::slice::from_ref(&long)).unwrap();
        assert!(asked.add(&[long + "x"]).is_err());
    }

    #[test]
    fn certificates_are_told_from_authorities() {
        let mut asked = Subscription::default();
        asked.add(&texts(&["spiffe://example.org/web", "spiffe://example.org", "ROOTCA", "odd"])).unwrap();
        let Certificates { every, default, ids } = asked.certificates();
        assert!(!every && !default);
        assert_eq!(ids.iter().map(ToString::to_string).collect::<Vec<_>>(), ["spiffe://example.org/web"]);
    }
}

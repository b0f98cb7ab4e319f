//! All that was attested of a caller.

use super::selector::Selector;

/// A caller's selectors: sorted, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Selectors(Vec<Selector>);

impl Selectors {
    /// Whether the caller has this one.
    pub(crate) fn contains(&self, selector: &Selector) -> bool {
        self.0.binary_search(selector).is_ok()
    }

    /// Whether the caller has all of these.
    pub(crate) fn contains_all<'a>(&self, selectors: impl IntoIterator<Item = &'a Selector>) -> bool {
        selectors.into_iter().all(|selector| self.contains(selector))
    }

    /// Adds one.
    #[cfg(test)]
    pub(crate) fn insert(&mut self, selector: Selector) {
        if let Err(at) = self.0.binary_search(&selector) {
            self.0.insert(at, selector);
        }
    }

    /// All of them, sorted.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Selector> {
        self.0.iter()
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Selector> for Selectors {
    fn from_iter<I: IntoIterator<Item = Selector>>(selectors: I) -> Self {
        let mut all: Vec<_> = selectors.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }
}

impl Extend<Selector> for Selectors {
    fn extend<I: IntoIterator<Item = Selector>>(&mut self, selectors: I) {
        self.0.extend(selectors);
        self.0.sort_unstable();
        self.0.dedup();
    }
}

impl<'a> IntoIterator for &'a Selectors {
    type Item = &'a Selector;
    type IntoIter = std::slice::Iter<'a, Selector>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

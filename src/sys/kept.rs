//! What is kept for each of many users or parties, for as long as somebody needs it.

use std::collections::HashMap;

/// From how many on those that nobody needs are forgotten.
pub(crate) const KEPT_MIN: usize = 1_024;

/// By uid, or by the first uid of a party.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    each: HashMap<u32, T>,
    /// How many there may be before they are looked through.
    most: usize,
}

impl<T> Kept<T> {
    /// What is kept for one of them, or is made now. Before a new one is, those that are idle are forgotten; not each
    /// time, but when as many have come as were left, so that nobody pays for many.
    pub(crate) fn of(&mut self, whose: u32, make: impl FnOnce() -> T, is_idle: impl Fn(&T) -> bool) -> &T {
        if self.each.len() >= self.most && !self.each.contains_key(&whose) {
            self.each.retain(|_, kept| !is_idle(kept));
            self.most = KEPT_MIN.max(self.each.len().saturating_mul(2));
        }
        self.each.entry(whose).or_insert_with(make)
    }

    #[cfg(test)]
    pub(crate) fn whose(&self) -> Vec<u32> {
        self.each.keys().copied().collect()
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { each: HashMap::new(), most: KEPT_MIN }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::cell::Cell;

    use super::*;

    #[test]
    fn many_that_are_needed_cost_a_new_one_little() {
        let (mut kept, looks) = (Kept::default(), Cell::new(0));
        let many = u32::try_from(KEPT_MIN).unwrap() * 32;
        for uid in 0..many {
            kept.of(
                uid,
                || (),
                |()| {
                    looks.set(looks.get() + 1);
                    false
                },
            );
        }
        assert_eq!(kept.whose().len(), 32 * KEPT_MIN);
        assert!(looks.get() <= 2 * many, "{} looks for {many}", looks.get());
    }

    #[test]
    fn those_that_are_idle_are_forgotten_and_others_kept() {
        let mut kept = Kept::default();
        for uid in 0..u32::try_from(KEPT_MIN).unwrap() * 8 {
            kept.of(uid, || uid, |uid| *uid != 5);
            assert!(kept.whose().len() <= KEPT_MIN);
        }
        assert_eq!(*kept.of(5, || 7, |_| true), 5);
    }
}

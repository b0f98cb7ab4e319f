//! Which uids are one person's, as far as that shows from their numbers.
//!
//! With a user namespace a person has 65,536 uids, and would have a share of everything for each. So limits that must
//! hold between people compare *parties*: a uid, or a whole range of them. The numbers alone do not tell a range of
//! subordinate uids from people of a directory service who have such numbers; those share a party.

/// The first uid of the party. Ranges begin where useradd(8) lets them begin (`SUB_UID_MIN`, `SUB_UID_COUNT`); those
/// that begin elsewhere are two parties.
pub(crate) fn party_of(uid: u32) -> u32 {
    match uid.checked_sub(RANGES_FROM) {
        Some(above) => uid - above % RANGE_UIDS,
        None => uid,
    }
}

const RANGES_FROM: u32 = 100_000;
const RANGE_UIDS: u32 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uids_of_a_range_are_one_party() {
        for (uid, party) in
            [(0, 0), (1_000, 1_000), (99_999, 99_999), (100_000, 100_000), (165_535, 100_000), (165_536, 165_536)]
        {
            assert_eq!(party_of(uid), party, "{uid}");
        }
        assert_eq!(party_of(u32::MAX), u32::MAX - (u32::MAX - RANGES_FROM) % RANGE_UIDS);
    }
}

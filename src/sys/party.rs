//! Which uids are one party: what one person can have.
//!
//! With a user namespace a person has 65,536 uids. Where what each may have is limited, those count as one.

/// Ranges begin where useradd(8) lets them begin (`SUB_UID_MIN`, `SUB_UID_COUNT`); those that begin elsewhere are two
/// parties.
const RANGES_FROM: u32 = 100_000;
const RANGE_UIDS: u32 = 65_536;

/// The first uid of the party.
pub(crate) fn party_of(uid: u32) -> u32 {
    match uid.checked_sub(RANGES_FROM) {
        Some(above) => uid - above % RANGE_UIDS,
        None => uid,
    }
}

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

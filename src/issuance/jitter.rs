//! When a credential is renewed: at half of its life, give or take a tenth, drawn once; and when there is no use in it.

use std::time::{Duration, SystemTime};

/// The share of the life, in 1/65536, around which renewal is drawn, and how far from it.
const HALF: u32 = 32_768;
const SPREAD: u32 = 6_554;

/// The moment to renew a credential that is valid from now until `not_after`.
pub(super) fn renewal(now: SystemTime, not_after: SystemTime) -> SystemTime {
    let mut drawn = [0; 2];
    // Without randomness everybody renews at half-life, which is no harm.
    aws_lc_rs::rand::fill(&mut drawn).ok();
    renewal_at(now, not_after, u16::from_ne_bytes(drawn))
}

/// Whether a credential ends with what caps it: another one under the same cap would end no later.
pub(super) fn is_last(not_after: SystemTime, cap: SystemTime) -> bool {
    cap <= not_after + GAIN_MIN
}

/// Lives are whole seconds, so that much is lost to rounding.
const GAIN_MIN: Duration = Duration::from_secs(1);

fn renewal_at(now: SystemTime, not_after: SystemTime, drawn: u16) -> SystemTime {
    let life = not_after.duration_since(now).unwrap_or(Duration::ZERO);
    let share = HALF - SPREAD + u32::from(drawn) * 2 * SPREAD / 65_536;
    now + life * share / 65_536
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_ends_with_its_cap() {
        let cap = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let second = Duration::from_secs(1);
        for (not_after, last) in [(cap, true), (cap - second, true), (cap - 2 * second, false), (cap + second, true)] {
            assert_eq!(is_last(not_after, cap), last);
        }
    }

    #[test]
    fn renewal_is_between_two_and_three_fifths_of_the_life() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let life = Duration::from_secs(3_600);
        for drawn in [0, 1, 32_768, u16::MAX] {
            let after = renewal_at(now, now + life, drawn).duration_since(now).unwrap_or_default();
            assert!(after >= life * 2 / 5 - Duration::from_secs(1) && after <= life * 3 / 5, "{after:?}");
        }
        assert_eq!(renewal_at(now, now - life, 7), now, "what has expired is due");
    }
}

//! Nonces that nothing needs to remember (RFC 9449 §8): a MAC over the time, by a secret of this process.
//!
//! A nonce changes every [`STEP`] and is good for [`STEPS`] of them. Whoever sends one made its proof after that nonce
//! was handed out: no proof from before the process began, or from before its clock was set back, has one.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use crate::spiffe::jose::encode;

/// How long one nonce is handed out.
pub(super) const STEP: Duration = Duration::from_secs(60);
/// For how many steps it is good, the one in which it is handed out included.
pub(super) const STEPS: u64 = 5;

/// Of a nonce, before it is encoded.
const BYTES: usize = 16;

/// The maker of nonces for one place: those of a token endpoint are not good at a resource.
pub(super) struct Nonces {
    key: hmac::Key,
    place: &'static str,
}

impl Nonces {
    /// Of 256 random bits of this process, which may be shared among places.
    pub(super) fn new(secret: &Zeroizing<[u8; 32]>, place: &'static str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice()), place }
    }

    /// The nonce to hand out now. Another `epoch` has others.
    pub(super) fn current(&self, epoch: u64, now: SystemTime) -> String {
        self.of_step(epoch, step(now))
    }

    /// Whether this is one that was handed out in this epoch, and not too long ago.
    pub(super) fn is_fresh(&self, nonce: &str, epoch: u64, now: SystemTime) -> bool {
        let last = step(now);
        // All are compared, and each to its end.
        (last.saturating_sub(STEPS - 1)..=last).fold(false, |found, step| {
            let made = self.of_step(epoch, step);
            found | constant_time::verify_slices_are_equal(made.as_bytes(), nonce.as_bytes()).is_ok()
        })
    }

    fn of_step(&self, epoch: u64, step: u64) -> String {
        let message = [epoch.to_be_bytes().as_slice(), &step.to_be_bytes(), self.place.as_bytes()].concat();
        encode(hmac::sign(&self.key, &message).as_ref().get(..BYTES).unwrap_or_default())
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nonces({})", self.place)
    }
}

fn step(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / STEP.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::tests::kit::{now, seconds};

    fn nonces(byte: u8, place: &'static str) -> Nonces {
        Nonces::new(&Zeroizing::new([byte; 32]), place)
    }

    #[test]
    fn a_nonce_is_good_for_its_steps_and_no_longer() {
        let nonces = nonces(1, "door");
        // `now` begins a step.
        let nonce = nonces.current(0, now());
        assert_eq!(nonces.current(0, now() + seconds(59)), nonce);
        assert_ne!(nonces.current(0, now() + seconds(60)), nonce);
        for (later, is_good) in [(0, true), (59, true), (60, true), (299, true), (300, false), (86_400, false)] {
            assert_eq!(nonces.is_fresh(&nonce, 0, now() + seconds(later)), is_good, "{later}");
        }
        assert!(!nonces.is_fresh(&nonce, 0, now() - seconds(1)), "of a step to come");
        assert!(nonces.is_fresh(&nonces.current(0, SystemTime::UNIX_EPOCH), 0, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_nonce_is_of_one_process_one_place_and_one_epoch() {
        let own = nonces(1, "door");
        let nonce = own.current(7, now());
        assert!(own.is_fresh(&nonce, 7, now()));
        assert!(!own.is_fresh(&nonce, 8, now()) && !own.is_fresh(&nonce, 6, now()));
        assert!(!nonces(2, "door").is_fresh(&nonce, 7, now()));
        assert!(!nonces(1, "token").is_fresh(&nonce, 7, now()));
        assert_eq!(nonce.len(), 22);
        for other in ["", "A", nonce.split_at(21).0, &format!("{nonce}A"), &nonce.to_lowercase(), &"A".repeat(22)] {
            assert!(!own.is_fresh(other, 7, now()), "{other}");
        }
    }
}

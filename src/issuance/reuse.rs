//! X.509-SVIDs that were signed a moment ago, for a program that comes again: there are clients that ask on one stream
//! first and watch on the next, and take another certificate for a change.
//!
//! The program is the same process, told by the kernel, that has started nothing over itself; the entry says the same;
//! the authority still signs. All else is signed anew. Nothing stays here for longer than the configuration says.

use std::{
    collections::HashMap,
    fmt,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::kind::Kind;
use crate::{
    authority::{self, AuthorityId, Svid},
    registry::{EntryId, Given},
    sys::{counters::Counters, image::Spot, peer::ProcessKey},
};

/// How many are kept at most: about 30 MiB. What is signed beyond is not kept.
pub(super) const SVIDS_MAX: usize = 16_384;
/// The share of its life in which an SVID may be given again; the first is renewed after two fifths.
const LIFE_SHARE: u32 = 4;

/// A program, as long as nothing is started over it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    pub(super) process: ProcessKey,
    pub(super) program: Spot,
}

/// What was signed lately.
pub(super) struct Reuse {
    /// How long one is kept at most.
    time: Duration,
    counters: Arc<Counters>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    each: HashMap<(Holder, EntryId), Recent>,
    /// Whether a task takes out what has been here for long enough.
    is_swept: bool,
}

struct Recent {
    entry: Given,
    svid: Arc<Svid>,
    until: Instant,
}

impl Reuse {
    pub(super) fn new(time: Duration, counters: Arc<Counters>) -> Self {
        Self { time, counters, kept: Mutex::default() }
    }

    /// What this program was given by this entry, if that is as good as what would be signed `now`, or else what is
    /// signed.
    ///
    /// # Errors
    /// What `sign` says.
    pub(super) fn again_or<K: Kind<Signed = Svid>>(
        self: &Arc<Self>,
        holder: Holder,
        entry: &Given,
        signer: &AuthorityId,
        now: SystemTime,
        sign: impl FnOnce() -> Result<Arc<Svid>, authority::Error>,
    ) -> Result<Arc<Svid>, authority::Error> {
        let key = (holder, entry.id.clone());
        let good = |kept: &Kept| {
            let recent = kept.each.get(&key).filter(|recent| recent.is_good::<K>(entry, signer, now));
            recent.map(|recent| recent.svid.clone())
        };
        if let Some(svid) = good(&self.kept()) {
            return Ok(svid);
        }
        let svid = sign()?;
        let mut kept = self.kept();
        // Streams that began together have one.
        if let Some(svid) = good(&kept) {
            return Ok(svid);
        }
        kept.each.remove(&key);
        if kept.each.len() >= SVIDS_MAX {
            self.counters.limit_met("svids_given_again");
            return Ok(svid);
        }
        let life = svid.not_after.duration_since(now).unwrap_or_default();
        let until = Instant::now() + self.time.min(life / LIFE_SHARE);
        kept.each.insert(key, Recent { entry: entry.clone(), svid: svid.clone(), until });
        if !std::mem::replace(&mut kept.is_swept, true) {
            tokio::spawn(Self::sweep(Arc::downgrade(self), until));
        }
        Ok(svid)
    }

    /// Takes out what is not given again, until nothing is left or nobody asks any more.
    async fn sweep(this: Weak<Self>, mut next: Instant) {
        loop {
            tokio::time::sleep_until(next).await;
            let Some(this) = this.upgrade() else { return };
            let (now, mut kept) = (Instant::now(), this.kept());
            kept.each.retain(|_, recent| now < recent.until);
            match kept.each.values().map(|recent| recent.until).min() {
                Some(first) => next = first.clamp(now + *SWEEPS_APART.start(), now + *SWEEPS_APART.end()),
                None => {
                    *kept = Kept::default();
                    return;
                }
            }
        }
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.kept().each.is_empty()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long after another it is looked what is not given again any more: so much longer an SVID stays at most.
const SWEEPS_APART: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

impl Recent {
    fn is_good<K: Kind<Signed = Svid>>(&self, entry: &Given, signer: &AuthorityId, now: SystemTime) -> bool {
        Instant::now() < self.until
            && (self.svid.not_before..self.svid.not_after).contains(&now)
            && self.svid.authority == *signer
            && self.entry.spiffe_id() == entry.spiffe_id()
            && K::is_same(&self.entry.spec, &entry.spec)
    }
}

impl fmt::Debug for Reuse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Reuse(..)")
    }
}

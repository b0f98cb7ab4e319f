//! A credential as a stream holds it, and when it is due.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{credential::Credentials, feed::Identity, jitter, kind::Kind};
use crate::{
    authority::Keyring,
    registry::{Given, Snapshot},
};

/// What a stream holds of one entry.
pub(super) struct Held<T> {
    pub(super) entry: Given,
    pub(super) svid: Arc<T>,
    /// Its end, where a new one could not end later.
    pub(super) renew_at: SystemTime,
    /// It ends with its authority. One under the next authority ends later.
    awaits_authority: bool,
    /// When the clock shows less than this it was set back, and this may not be valid yet.
    pub(super) since: SystemTime,
    pub(super) is_sent: bool,
}

/// How soon a failed renewal is tried again at the earliest.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// And how soon one that is not valid yet. An authority of the present wakes it before.
const EARLY_RETRY: Duration = Duration::from_secs(30);

impl<T: Credentials> Held<T> {
    pub(super) fn new<K: Kind>(entry: Given, svid: Arc<T>, keyring: &Keyring, now: SystemTime) -> Self {
        let end = svid.not_after();
        let is_entrys_last = entry.spec.expires_at.is_some_and(|last| jitter::is_last(end, last));
        let is_authoritys_last = |(id, until): (&_, _)| svid.authority() == id && jitter::is_last(end, until);
        let awaits_authority = !is_entrys_last && K::signer(keyring).is_some_and(is_authoritys_last);
        let renew_at = match is_entrys_last || awaits_authority {
            true => end,
            false => jitter::renewal(now, end),
        };
        Self { entry, since: svid.not_before(), svid, renew_at, awaits_authority, is_sent: false }
    }

    /// Is renewed in what is left of its life once another authority signs: not at once, as all others would be.
    pub(super) fn look_at<K: Kind>(&mut self, keyring: &Keyring, now: SystemTime) {
        if self.awaits_authority && K::signer(keyring).is_some_and(|(id, _)| id != self.svid.authority()) {
            self.awaits_authority = false;
            self.renew_at = jitter::renewal(now, self.svid.not_after());
        }
    }

    pub(super) fn is_fresh<K: Kind>(&self, entry: &Given, snapshot: &Snapshot, now: SystemTime) -> bool {
        let begin = self.svid.not_before();
        // A second that has not come is not waited for: it would be signed again and again.
        let is_late = |from: SystemTime| begin < from && from <= now;
        (begin..self.renew_at).contains(&now)
            && self.says_the_same::<K>(entry)
            && !is_late(K::counts_from(entry, snapshot))
    }

    /// Whether the entry says the same about the credential as when it was signed.
    pub(super) fn says_the_same<K: Kind>(&self, entry: &Given) -> bool {
        self.entry.spiffe_id() == entry.spiffe_id()
            && (self.entry.revision == entry.revision || K::is_same(&self.entry.spec, &entry.spec))
    }

    pub(super) fn identity(&self) -> Identity<T> {
        Identity { svid: self.svid.clone(), hint: self.entry.spec.hint.clone() }
    }

    /// It could not be renewed: it is tried again halfway to its end; soon, when the clock was set back so that it is not
    /// good yet.
    pub(super) fn postpone(&mut self, now: SystemTime) {
        let again = match now < self.svid.not_before() {
            true => now + EARLY_RETRY,
            false => jitter::renewal(now, self.svid.not_after()).max(now + RETRY_MIN),
        };
        self.renew_at = again.min(self.svid.not_after());
        self.since = self.since.min(now);
    }
}

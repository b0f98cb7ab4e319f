//! How the daemon stands at one moment: whether it can issue, and a sentence for each thing that does not work.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::units::duration_text;
use crate::{
    audit,
    authority::{Listed, ROOT_IS_EARLY},
    issuance::{AuthorityStanding, Stand, Standing},
    store::{self, Behind, Store},
    sys::{Clock, chain, listener::Place, looks::AllLooks},
};

/// How many processes that hang are named.
const HANGING_TOLD: usize = 8;

/// Everything that can stop working while the daemon runs.
pub(super) struct Watched {
    pub(super) listed: watch::Receiver<Arc<[Listed]>>,
    pub(super) store: Store,
    pub(super) log: audit::Log,
    pub(super) looks: AllLooks,
    pub(super) clock: Clock,
    /// How many rows of entries were left out at the start.
    pub(super) left_out: usize,
    /// How many agents, tools and grants.
    pub(super) items_left_out: usize,
    /// How many revocations.
    pub(super) revoked_left_out: usize,
    /// How many foreign bundles.
    pub(super) bundles_left_out: usize,
    /// Where workloads find us.
    pub(super) sockets: Vec<Place>,
    /// What does not work of issuers that are pinned.
    pub(super) issuers: [watch::Receiver<Vec<String>>; 2],
}

/// How the daemon stands. Without an authority that signs, or a log that takes a record, nobody gets anything new.
pub(super) fn stand(watched: Watched) -> Stand {
    Arc::new(move || watched.standing())
}

impl Watched {
    fn standing(&self) -> Standing {
        let Self { listed, store, log, looks, clock, left_out, items_left_out, .. } = self;
        let Self { revoked_left_out, bundles_left_out, sockets, issuers, .. } = self;
        let authorities: Arc<[Listed]> = listed.borrow().clone();
        let now = clock.now();
        let unsigned = unsigned(&authorities, now);
        let unrecorded = log.fault().map(|error| format!("nothing new is issued: {}", chain(&error)));
        let damaged = log.damage().map(|fault| format!("the audit log was tampered with or damaged: {fault}"));
        let unwritten = store.fault().map(|error| match error {
            store::Error::Io(cause) => format!("nothing can be changed: the database cannot be written: {cause}"),
            _ => "nothing can be changed: no space is left for the database".to_owned(),
        });
        let older = store.behind().map(|Behind { acknowledged, found, mark }| {
            format!(
                "the database has lost changes that were acknowledged (it had {found} of {acknowledged}): compare \
                 `dayfly entry list` with the audit log, and apply what is missing, or restore a backup; no key is \
                 cleaned away until you stop the daemon and remove {}",
                mark.display()
            )
        });
        let damaged_rows = (*left_out > 0).then(|| {
            format!(
                "damaged entries in the database are left out: {left_out} (the log names them); restore a \
                 backup, or add them again"
            )
        });
        let damaged_bundles = (*bundles_left_out > 0).then(|| {
            format!(
                "damaged bundles of foreign trust domains in the database are left out: {bundles_left_out} (the log \
                 names them); set them again with `dayfly bundle set`"
            )
        });
        let damaged_items = (*items_left_out > 0).then(|| {
            format!(
                "damaged agents, tools or grants in the database are left out: {items_left_out} (the log names them); \
                 restore a backup, or apply them again"
            )
        });
        let damaged_revocations = (*revoked_left_out > 0).then(|| {
            format!(
                "damaged revocations in the database are left out: {revoked_left_out} (the log names them); no access \
                 token from before the start is taken; revoke keys again, and restore a backup"
            )
        });
        let is_ready = unsigned.is_none() && unrecorded.is_none();
        let hanging = looks.hanging().into_iter().take(HANGING_TOLD).map(|(pid, wait)| {
            format!(
                "process {pid} has kept a look at it waiting for {} s: its exec hangs, or a file or socket of its own",
                wait.as_secs()
            )
        });
        let gone = sockets.iter().filter(|place| !place.is_ours()).map(|place| {
            format!(
                "{} is not our socket any more: nobody new finds the daemon there; restart it",
                place.path().display()
            )
        });
        let rows = [damaged_rows, damaged_items, damaged_revocations, damaged_bundles];
        let problems = [unsigned, unrecorded, unwritten, older]
            .into_iter()
            .chain(rows)
            .chain([damaged])
            .flatten()
            .chain(gone)
            .chain(issuers.iter().flat_map(|problems| problems.borrow().clone()))
            .chain(hanging)
            .collect();
        let standing = |one: &Listed| AuthorityStanding {
            id: one.id.to_string(),
            kind: one.kind,
            slot: one.slot,
            not_before: one.not_before,
            not_after: one.not_after,
        };
        Standing {
            is_ready,
            problems,
            authorities: authorities.iter().map(standing).collect(),
            audit_records: log.last().0,
            audit_checkpoint: log.checkpoint().map(|checkpoint| checkpoint.to_string()).unwrap_or_default(),
        }
    }
}

/// Why nothing can be signed that anybody believes: the chain is valid only as a whole.
pub(super) fn unsigned(authorities: &[Listed], now: SystemTime) -> Option<String> {
    let early_root = authorities.iter().find(|one| one.is_early_root(now));
    if let Some(left) = early_root.and_then(|root| root.not_before.duration_since(now).ok()) {
        let left = duration_text(Duration::from_secs(left.as_secs().max(1)));
        return Some(format!("{ROOT_IS_EARLY} (it is valid in {left})"));
    }
    let mut active = authorities.iter().filter(|one| one.is_active()).peekable();
    let can_sign = active.peek().is_some() && active.all(|one| one.is_valid(now));
    (!can_sign).then(|| "no authority can sign".to_owned())
}

#[cfg(test)]
pub(super) mod fixture {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{sync::Arc, time::Duration};

    use crate::{
        authority::{AuthorityId, Listed},
        sys::Clock,
    };

    /// A root that lives for long, and an issuing CA that lives so long.
    pub(in crate::daemon) fn listed(clock: &Clock, issuing: Duration) -> Arc<[Listed]> {
        let one = |kind, life| Listed {
            id: AuthorityId::parse(&"0".repeat(32)).unwrap(),
            kind,
            slot: "active",
            not_before: clock.now(),
            not_after: clock.now() + life,
        };
        [one("root", Duration::from_secs(86_400)), one("issuing", issuing)].into()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{
        authority::AuthorityId,
        spiffe::TrustDomain,
        sys::{kernel::Kernel, listener::Listener, scratch::Scratch},
    };

    fn time(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3_600)
    }

    fn listed(kind: &'static str, slot: &'static str, from: u64, until: u64) -> Listed {
        let id = AuthorityId::parse(&format!("{from:032x}")).unwrap();
        Listed { id, kind, slot, not_before: time(from), not_after: time(until) }
    }

    #[test]
    fn an_authority_that_cannot_sign_now_is_named() {
        let root = || listed("root", "active", 10, 1_000);
        let rooted = |issuing| vec![root(), issuing];
        let table = [
            ("all is well", rooted(listed("issuing", "active", 10, 34)), 20, None),
            ("one tier", vec![root()], 20, None),
            ("nothing", vec![], 20, Some("no authority can sign")),
            ("only a prepared one", vec![listed("root", "prepared", 10, 34)], 20, Some("no authority can sign")),
            ("expired", rooted(listed("issuing", "active", 10, 34)), 34, Some("no authority can sign")),
            ("not yet replaced", rooted(listed("issuing", "active", 30, 54)), 20, Some("no authority can sign")),
            ("a root of the future", rooted(listed("issuing", "active", 2, 26)), 3, Some("(it is valid in 7h)")),
            ("the same, one tier", vec![root()], 3, Some("set the clock right")),
            ("a prepared root may be early", vec![root(), listed("root", "prepared", 30, 2_000)], 20, None),
        ];
        for (situation, authorities, hour, words) in table {
            let said = unsigned(&authorities, time(hour));
            match words {
                None => assert_eq!(said, None, "{situation}"),
                Some(words) => assert!(said.as_ref().is_some_and(|said| said.contains(words)), "{situation}: {said:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_root_that_lives_is_no_readiness_when_the_issuing_ca_has_expired() {
        let (dir, clock) = (Scratch::new(), Clock::following_tokio());
        let (store, _) = Store::open(dir.path(), &TrustDomain::parse("example.org").unwrap()).unwrap();
        let log = audit::Log::in_test(&dir.path().join("audit"), audit::Limits::default(), clock.clone()).unwrap();
        let minute = Duration::from_secs(60);
        let (_sender, listed) = watch::channel(fixture::listed(&clock, minute));
        let path = dir.path().join("s");
        let listener = Listener::bind(&path, 0o600, Kernel::probe(&[]).unwrap()).unwrap();
        let sockets = vec![listener.place().clone()];
        let stand = stand(Watched {
            listed,
            store,
            log,
            looks: AllLooks::default(),
            clock,
            left_out: 0,
            items_left_out: 0,
            revoked_left_out: 0,
            bundles_left_out: 0,
            sockets,
            issuers: [(); 2].map(|()| watch::channel(Vec::new()).1),
        });
        assert_eq!((stand().is_ready, stand().problems), (true, Vec::new()));
        std::fs::remove_file(&path).unwrap();
        assert!(stand().is_ready && stand().problems.concat().contains("is not our socket any more"));
        std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(stand().problems.concat().contains("is not our socket any more"), "another's is not ours");
        drop(listener);
        tokio::time::advance(2 * minute).await;
        assert!(!stand().is_ready && stand().problems.contains(&"no authority can sign".to_owned()));
    }
}

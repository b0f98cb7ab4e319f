//! How the daemon stands, asked afresh each time: whether it can issue, and what does not work.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    audit,
    authority::Listed,
    issuance::{AuthorityStanding, Stand, Standing},
    store::{self, Behind, Store},
    sys::{Clock, chain, looks::AllLooks},
};

/// How many processes that hang are named.
const HANGING_TOLD: usize = 8;

/// How the daemon stands, which left so many rows of entries out at its start. Without an authority that signs, or a log that takes a record, nobody gets anything new.
pub(super) fn stand(
    listed: watch::Receiver<Arc<[Listed]>>,
    store: Store,
    log: audit::Log,
    looks: AllLooks,
    clock: Clock,
    left_out: usize,
) -> Stand {
    Arc::new(move || {
        let authorities: Arc<[Listed]> = listed.borrow().clone();
        let now = clock.now();
        let can_sign = authorities.iter().any(|one| one.signs_leaves && one.not_after > now);
        let unsigned = (!can_sign).then(|| "no authority can sign".to_owned());
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
        let damaged_rows = (left_out > 0).then(|| {
            format!(
                "damaged entries in the database are left out: {left_out} (the log names them); restore a \
                 backup, or add them again"
            )
        });
        let is_ready = unsigned.is_none() && unrecorded.is_none();
        let hanging = looks.hanging().into_iter().take(HANGING_TOLD).map(|(pid, wait)| {
            format!(
                "process {pid} has kept a look at it waiting for {} s: its exec hangs, or a file system",
                wait.as_secs()
            )
        });
        let problems = [unsigned, unrecorded, unwritten, older, damaged_rows, damaged]
            .into_iter()
            .flatten()
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
    })
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
        let one = |kind, signs_leaves, life| Listed {
            id: AuthorityId::parse(&"0".repeat(32)).unwrap(),
            kind,
            slot: "active",
            signs_leaves,
            not_before: clock.now(),
            not_after: clock.now() + life,
        };
        [one("root", false, Duration::from_secs(86_400)), one("issuing", true, issuing)].into()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::*;
    use crate::{spiffe::TrustDomain, sys::scratch::Scratch};

    #[tokio::test(start_paused = true)]
    async fn a_root_that_lives_is_no_readiness_when_the_issuing_ca_has_expired() {
        let (dir, clock) = (Scratch::new(), Clock::following_tokio());
        let (store, _) = Store::open(dir.path(), &TrustDomain::parse("example.org").unwrap()).unwrap();
        let log = audit::Log::in_test(&dir.path().join("audit"), audit::Limits::default(), clock.clone()).unwrap();
        let minute = Duration::from_secs(60);
        let (_sender, listed) = watch::channel(fixture::listed(&clock, minute));
        let stand = stand(listed, store, log, AllLooks::default(), clock, 0);
        assert_eq!((stand().is_ready, stand().problems), (true, Vec::new()));
        tokio::time::advance(2 * minute).await;
        assert_eq!((stand().is_ready, stand().problems), (false, vec!["no authority can sign".to_owned()]));
    }
}

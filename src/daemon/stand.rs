//! How the daemon stands, asked afresh each time: whether it can issue, and what does not work.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    audit,
    authority::Listed,
    issuance::{AuthorityStanding, Stand, Standing},
    store::{self, Store},
    sys::{Clock, chain, looks::AllLooks},
};

/// How many processes that hang are named.
const HANGING_TOLD: usize = 8;

/// How the daemon stands. Without an authority that signs, or a log that takes a record, nobody gets anything new.
pub(super) fn stand(listed: watch::Receiver<Arc<[Listed]>>, store: Store, log: audit::Log, looks: AllLooks) -> Stand {
    let clock = Clock::system();
    Arc::new(move || {
        let authorities: Arc<[Listed]> = listed.borrow().clone();
        let now = clock.now();
        let can_sign = authorities.iter().any(|one| one.slot == "active" && one.not_after > now);
        let unsigned = (!can_sign).then(|| "no authority can sign".to_owned());
        let unrecorded = log.fault().map(|error| format!("nothing new is issued: {}", chain(&error)));
        let damaged = log.damage().map(|fault| format!("the audit log was tampered with or damaged: {fault}"));
        let unwritten = store.fault().map(|error| match error {
            store::Error::Io(cause) => format!("nothing can be changed: the database cannot be written: {cause}"),
            _ => "nothing can be changed: no space is left for the database".to_owned(),
        });
        let is_ready = unsigned.is_none() && unrecorded.is_none();
        let hanging = looks.hanging().into_iter().take(HANGING_TOLD).map(|(pid, wait)| {
            format!(
                "process {pid} has kept a look at it waiting for {} s: its exec hangs, or a file system",
                wait.as_secs()
            )
        });
        let problems = [unsigned, unrecorded, unwritten, damaged].into_iter().flatten().chain(hanging).collect();
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

//! What changes in the registry, for those who listen.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, broadcast::error::RecvError};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::wire;
use crate::{
    api::status,
    issuance::desk::{Batch, Watch},
    pb::admin::{EntryEvent, entry_event::Kind},
    registry::Entry,
    sys::counters::Counters,
};

/// What a watch answers.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<EntryEvent, Status>> + Send>>;

struct Watching {
    watch: Watch,
    /// Of the batch that was received last.
    waiting: VecDeque<EntryEvent>,
    stopping: CancellationToken,
    counters: Arc<Counters>,
    _slot: OwnedSemaphorePermit,
}

/// The events of a watch: first where it begins, then each change. It ends when its reader falls behind, and when the
/// daemon stops.
pub(super) fn events(
    watch: Watch,
    stopping: CancellationToken,
    counters: Arc<Counters>,
    slot: OwnedSemaphorePermit,
) -> Events {
    let synced = EntryEvent { kind: Kind::Synced.into(), entry: None, revision: watch.revision };
    let waiting = VecDeque::from([synced]);
    let watching = Watching { watch, waiting, stopping, counters, _slot: slot };
    Box::pin(stream::unfold(Some(watching), |watching| async {
        let mut watching = watching?;
        match watching.next().await {
            Ok(event) => Some((Ok(event), Some(watching))),
            Err(status) => Some((Err(status), None)),
        }
    }))
}

impl Watching {
    async fn next(&mut self) -> Result<EntryEvent, Status> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            let received = tokio::select! {
                () = self.stopping.cancelled() => return Err(status::stopping()),
                received = self.watch.batches.recv() => received,
            };
            match received {
                Ok(batch) if batch.revision <= self.watch.revision => {}
                Ok(batch) => self.waiting.extend(encode(&batch)),
                Err(RecvError::Closed) => return Err(status::stopping()),
                Err(RecvError::Lagged(_)) => {
                    self.counters.limit_met("watch_batches");
                    self.counters.watch_dropped();
                    return Err(status::fell_behind());
                }
            }
        }
    }
}

/// In the order in which they were made.
fn encode(batch: &Batch) -> Vec<EntryEvent> {
    let outcome = &batch.outcome;
    let all = [(Kind::Deleted, &outcome.deleted), (Kind::Updated, &outcome.updated), (Kind::Created, &outcome.created)];
    let event = |kind: Kind, entry: &Entry| EntryEvent {
        kind: kind.into(),
        entry: Some(wire::encode(entry)),
        revision: batch.revision,
    };
    all.into_iter().flat_map(|(kind, entries)| entries.iter().map(move |entry| event(kind, entry))).collect()
}

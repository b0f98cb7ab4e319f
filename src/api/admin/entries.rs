//! Registration entries on the wire: `dayfly.v1.Entries`.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use super::{caller, items, list::List, watch, wire};
use crate::{
    api::status,
    issuance::desk::Desk,
    pb::admin::{self as pb, entries_server},
    registry,
    sys::{counters::Counters, threads::aside},
};

/// Watches at once.
pub(super) const WATCHES_MAX: usize = 64;

/// The service.
pub(super) struct Entries {
    desk: Desk,
    counters: Arc<Counters>,
    stopping: CancellationToken,
    watches: Arc<Semaphore>,
}

impl Entries {
    pub(super) fn new(desk: Desk, counters: Arc<Counters>, stopping: CancellationToken) -> Self {
        Self { desk, counters, stopping, watches: Arc::new(Semaphore::new(WATCHES_MAX)) }
    }
}

#[async_trait]
impl entries_server::Entries for Entries {
    type WatchStream = watch::Events;

    async fn create(&self, request: Request<pb::CreateEntryRequest>) -> Result<Response<pb::Entry>, Status> {
        let author = caller(&request)?.into();
        let draft = wire::new_draft(request.into_inner().entry)?;
        Ok(Response::new(wire::encode(&*self.desk.create(author, draft).await?)))
    }

    async fn update(&self, request: Request<pb::UpdateEntryRequest>) -> Result<Response<pb::Entry>, Status> {
        let author = caller(&request)?.into();
        let amendment = wire::amendment(request.into_inner())?;
        Ok(Response::new(wire::encode(&*self.desk.update(author, amendment).await?)))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteEntryRequest>,
    ) -> Result<Response<pb::DeleteEntryResponse>, Status> {
        let author = caller(&request)?.into();
        self.desk.delete(author, wire::entry_id(&request.get_ref().id)?).await?;
        Ok(Response::new(pb::DeleteEntryResponse {}))
    }

    async fn show(&self, request: Request<pb::ShowEntryRequest>) -> Result<Response<pb::Entry>, Status> {
        let id = wire::entry_id(&request.get_ref().id)?;
        let snapshot = self.desk.registry().borrow().clone();
        let entry = snapshot.entry(&id).ok_or(registry::Error::UnknownEntry(id))?;
        Ok(Response::new(wire::encode(entry)))
    }

    async fn list(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        let list = List::of(request.into_inner())?;
        let snapshot = self.desk.registry().borrow().clone();
        let answer = aside(move || list.answer(&snapshot)).await;
        answer.map(Response::new).map_err(|_| status::panicked())
    }

    async fn watch(&self, _: Request<pb::WatchEntriesRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let slot = self.watches.clone().try_acquire_owned().map_err(|_| {
            self.counters.limit_met("watches");
            status::over("watches")
        })?;
        let watch = self.desk.watch()?;
        Ok(Response::new(watch::events(watch, self.stopping.clone(), self.counters.clone(), slot)))
    }

    async fn apply(
        &self,
        request: Request<pb::ApplyEntriesRequest>,
    ) -> Result<Response<pb::ApplyEntriesResponse>, Status> {
        let author = caller(&request)?.into();
        let order = wire::order(request.into_inner())?;
        let dry_run = order.dry_run;
        let outcome = self.desk.apply(author, order).await?;
        let mut created: Vec<_> = outcome.created.iter().map(|entry| wire::encode(entry)).collect();
        if dry_run {
            // Nobody will ever have these ids.
            created.iter_mut().for_each(|entry| entry.id.clear());
        }
        let updated = outcome.updated.iter().map(|entry| wire::encode(entry)).collect();
        let deleted = u64::try_from(outcome.deleted.len()).unwrap_or(u64::MAX);
        let put = outcome.put.iter().map(items::encode).collect();
        let removed = u64::try_from(outcome.removed.len()).unwrap_or(u64::MAX);
        Ok(Response::new(pb::ApplyEntriesResponse { created, updated, deleted, put, removed }))
    }
}

//! Agents, tools and grants on the wire: `dayfly.v1.Catalog`.

use std::{collections::BTreeSet, sync::Arc};

use tonic::{Request, Response, Status, async_trait};

use super::{caller, item_list::ItemList, items, wire::unix_seconds};
use crate::{
    api::status,
    issuance::{Alive, desk::Desk},
    pb::admin::{self as pb, catalog_server},
    registry::{self, ItemId, Label, State},
    sys::{Clock, threads::aside},
};

/// The most tokens of one agent that are told.
const TOKENS_MAX: usize = 100;

/// The service.
pub(super) struct Catalog {
    desk: Desk,
    alive: Arc<Alive>,
    clock: Clock,
    /// Of which environment agents must be, if they are judged by theirs.
    environment: Option<Label>,
}

impl Catalog {
    pub(super) fn new(desk: Desk, alive: Arc<Alive>, clock: Clock, environment: Option<Label>) -> Self {
        Self { desk, alive, clock, environment }
    }

    async fn state(&self, request: Request<pb::AgentName>, state: State) -> Result<Response<pb::Item>, Status> {
        let author = caller(&request)?.into();
        let item = self.desk.set_state(author, agent(request.into_inner())?, state).await?;
        Ok(Response::new(items::encode(&item)))
    }
}

#[async_trait]
impl catalog_server::Catalog for Catalog {
    async fn create(&self, request: Request<pb::CreateItemRequest>) -> Result<Response<pb::Item>, Status> {
        let author = caller(&request)?.into();
        let draft = items::draft(request.into_inner().item)?;
        Ok(Response::new(items::encode(&self.desk.create_item(author, draft).await?)))
    }

    async fn update(&self, request: Request<pb::UpdateItemRequest>) -> Result<Response<pb::Item>, Status> {
        let author = caller(&request)?.into();
        let pb::UpdateItemRequest { item, expected_revision } = request.into_inner();
        let expected = (expected_revision != 0).then_some(expected_revision);
        Ok(Response::new(items::encode(&self.desk.update_item(author, items::draft(item)?, expected).await?)))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteItemsRequest>,
    ) -> Result<Response<pb::DeleteItemsResponse>, Status> {
        let author = caller(&request)?.into();
        let pb::DeleteItemsRequest { ids, cascade } = request.into_inner();
        let ids = ids.iter().map(items::id).collect::<Result<_, _>>()?;
        let outcome = self.desk.remove(author, ids, cascade).await?;
        let removed = outcome.removed.iter().map(items::encode_id).collect();
        let entries = u64::try_from(outcome.deleted.len()).unwrap_or(u64::MAX);
        Ok(Response::new(pb::DeleteItemsResponse { removed, entries }))
    }

    async fn show(&self, request: Request<pb::ItemId>) -> Result<Response<pb::Item>, Status> {
        let id = items::id(request.get_ref())?;
        let snapshot = self.desk.registry().borrow().clone();
        let item = snapshot.catalog().item(&id).ok_or(registry::Error::UnknownItem(id))?;
        Ok(Response::new(items::encode(&item)))
    }

    async fn list(&self, request: Request<pb::ListItemsRequest>) -> Result<Response<pb::ListItemsResponse>, Status> {
        let list = ItemList::of(request.into_inner())?;
        let snapshot = self.desk.registry().borrow().clone();
        let answer = aside(move || list.answer(snapshot.catalog())).await;
        answer.map(Response::new).map_err(|_| status::panicked())
    }

    async fn suspend(&self, request: Request<pb::AgentName>) -> Result<Response<pb::Item>, Status> {
        self.state(request, State::Suspended).await
    }

    async fn resume(&self, request: Request<pb::AgentName>) -> Result<Response<pb::Item>, Status> {
        self.state(request, State::Active).await
    }

    async fn retire(&self, request: Request<pb::AgentName>) -> Result<Response<pb::Item>, Status> {
        self.state(request, State::Retired).await
    }

    async fn reach(&self, request: Request<pb::AgentName>) -> Result<Response<pb::ReachResponse>, Status> {
        let name = agent(request.into_inner())?;
        let snapshot = self.desk.registry().borrow().clone();
        let Some(agent) = snapshot.catalog().agent(name.as_str()) else {
            return Err(registry::Error::UnknownItem(ItemId::Agent(name)).into());
        };
        let elsewhere = !agent.spec.is_of(self.environment.as_ref());
        let (alive, now) = (self.alive.clone(), self.clock.now());
        // It walks over all entries: done aside.
        let answer = aside(move || {
            let entries = snapshot.entries_of(&BTreeSet::from([name.clone()])).count();
            let entries = u64::try_from(entries).unwrap_or(u64::MAX);
            let known = alive.of(name.as_str(), &snapshot, now);
            pb::ReachResponse {
                reach: items::reach(snapshot.catalog(), name.as_str()),
                entries,
                tokens_total: u64::try_from(known.tokens.len()).unwrap_or(u64::MAX),
                tokens_known_since: unix_seconds(alive.since()),
                tokens_incomplete: known.is_incomplete,
                elsewhere,
                tokens: known.tokens.iter().take(TOKENS_MAX).map(items::live_token).collect(),
            }
        });
        answer.await.map(Response::new).map_err(|_| status::panicked())
    }
}

pub(super) fn agent(request: pb::AgentName) -> Result<Label, Status> {
    match items::id(&pb::ItemId { kind: pb::ItemKind::Agent.into(), name: request.name })? {
        ItemId::Agent(name) => Ok(name),
        _ => Err(status::panicked()),
    }
}

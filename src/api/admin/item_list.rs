//! Lists of agents, tools and grants: filters, pages, and how many there are.

use prost::Message as _;
use tonic::Status;

use super::{
    items,
    list::{PAGE_BYTES_MAX, page_size},
};
use crate::{
    api::status,
    pb::admin as pb,
    registry::{Agent, Catalog, Grant, ItemId, State, Tool},
};

/// A list that makes sense.
#[derive(Debug)]
pub(super) struct ItemList {
    wanted: pb::ListItemsRequest,
    page_size: usize,
    /// The last one of the page before.
    after: Option<ItemId>,
}

impl ItemList {
    /// Reads a request.
    ///
    /// # Errors
    /// InvalidArgument with what is wrong.
    pub(super) fn of(wanted: pb::ListItemsRequest) -> Result<Self, Status> {
        let kind = wanted.kind();
        if kind == pb::ItemKind::Unspecified {
            return Err(status::invalid("the kind of item is missing"));
        }
        if !wanted.state.is_empty() && State::of(&wanted.state).is_none() {
            return Err(status::invalid("state: it must be active, suspended or retired"));
        }
        let after = match wanted.page_token.as_str() {
            "" => None,
            token => {
                let id = items::id(&pb::ItemId { kind: kind.into(), name: token.to_owned() });
                Some(id.map_err(|_| status::invalid("page_token: it is not from a page before"))?)
            }
        };
        Ok(Self { page_size: page_size(wanted.page_size), wanted, after })
    }

    /// Answers it. This walks over all of the kind: not for a thread that serves.
    pub(super) fn answer(&self, catalog: &Catalog) -> pb::ListItemsResponse {
        let mut ids = self.ids(catalog);
        let total = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        let mut answer = pb::ListItemsResponse { total, ..pb::ListItemsResponse::default() };
        if self.wanted.count_only {
            return answer;
        }
        ids.sort_unstable();
        let first = self.after.as_ref().map_or(0, |after| ids.partition_point(|id| id <= after));
        let (mut bytes, mut last) = (0, None);
        for (id, item) in ids.iter().skip(first).filter_map(|id| Some((id, catalog.item(id)?))) {
            let encoded = items::encode(&item);
            bytes += encoded.encoded_len();
            if let Some(last) = last
                && (answer.items.len() == self.page_size || bytes > PAGE_BYTES_MAX)
            {
                answer.next_page_token = ItemId::name(last);
                break;
            }
            answer.items.push(encoded);
            last = Some(id);
        }
        answer
    }

    /// All that pass the filters, in no order.
    fn ids(&self, catalog: &Catalog) -> Vec<ItemId> {
        match self.wanted.kind() {
            pb::ItemKind::Agent => {
                let agents = catalog.agents().filter(|agent| self.takes_agent(agent));
                agents.map(|agent| ItemId::Agent(agent.spec.name.clone())).collect()
            }
            pb::ItemKind::Tool => {
                let tools = catalog.tools().filter(|tool| self.takes_tool(tool));
                tools.map(|tool| ItemId::Tool(tool.spec.name.clone())).collect()
            }
            pb::ItemKind::Grant if !self.wanted.agent.is_empty() => {
                let grants = catalog.grants(&self.wanted.agent).iter().filter(|grant| self.takes_grant(grant));
                grants.map(|grant| ItemId::Grant(grant.spec.id.clone())).collect()
            }
            pb::ItemKind::Grant => {
                let grants = catalog.all_grants().filter(|grant| self.takes_grant(grant));
                grants.map(|grant| ItemId::Grant(grant.spec.id.clone())).collect()
            }
            pb::ItemKind::Unspecified => Vec::new(),
        }
    }

    fn takes_agent(&self, agent: &Agent) -> bool {
        let is = |wanted: &str, found: Option<&str>| wanted.is_empty() || found == Some(wanted);
        let Agent { spec, state, .. } = agent;
        is(&self.wanted.owner, Some(&spec.owner))
            && is(&self.wanted.environment, spec.environment.as_ref().map(|label| label.as_str()))
            && is(&self.wanted.data_class, spec.data_class.as_ref().map(|label| label.as_str()))
            && is(&self.wanted.state, Some(state.as_str()))
    }

    fn takes_tool(&self, tool: &Tool) -> bool {
        let wanted = &self.wanted;
        (wanted.audience.is_empty() || *wanted.audience == *tool.spec.audience)
            && (wanted.scope.is_empty() || tool.spec.band(&wanted.scope).is_some())
    }

    fn takes_grant(&self, grant: &Grant) -> bool {
        let wanted = &self.wanted;
        (wanted.tool.is_empty() || wanted.tool == grant.spec.id.tool.as_str())
            && (wanted.scope.is_empty() || grant.spec.has(&wanted.scope))
    }
}

//! Agents, tools and grants between the wire and the registry.

use tonic::Status;

use super::wire::unix_seconds;
use crate::{
    api::status,
    issuance::{
        LiveToken,
        desk::{Put, Stand},
    },
    pb::admin::{self as pb, item::Item as Inner},
    registry::{AgentDraft, Catalog, GrantDraft, GrantId, Item, ItemDraft, ItemId, Label, ToolDraft},
};

pub(super) fn encode(item: &Item) -> pb::Item {
    let inner = match item {
        Item::Agent(agent) => {
            let said = AgentDraft::from(&agent.spec);
            Inner::Agent(pb::Agent {
                name: said.name,
                owner: said.owner,
                purpose: said.purpose,
                environment: said.environment,
                data_class: said.data_class,
                review_by: said.review_by,
                state: agent.state.to_string(),
                created_by: agent.created_by,
                created_at: unix_seconds(agent.created_at),
                revision: agent.revision,
                revoked_before: unix_seconds(agent.revoked_before),
            })
        }
        Item::Tool(tool) => {
            let said = ToolDraft::from(&tool.spec);
            let scopes = said.scopes.into_iter().map(|(name, band)| pb::ToolScope { name, band });
            let routes = said.routes.into_iter().map(|(route, scope)| pb::ToolRoute { route, scope });
            Inner::Tool(pb::Tool {
                name: said.name,
                audience: said.audience,
                base_urls: said.base_urls,
                scopes: scopes.collect(),
                routes: routes.collect(),
                encoded_slash: said.encoded_slash,
                revision: tool.revision,
                created_at: unix_seconds(tool.created_at),
            })
        }
        Item::Grant(grant) => {
            let said = GrantDraft::from(&grant.spec);
            Inner::Grant(pb::Grant {
                agent: said.agent,
                tool: said.tool,
                scopes: said.scopes,
                datasets: said.datasets,
                ttl_max_seconds: said.ttl_max_seconds,
                rate_per_minute: said.rate_per_minute,
                revision: grant.revision,
                created_at: unix_seconds(grant.created_at),
            })
        }
    };
    pb::Item { item: Some(inner) }
}

/// What somebody wrote. What the daemon gives may be that which was shown; it says nothing here.
pub(super) fn draft(item: Option<pb::Item>) -> Result<ItemDraft, Status> {
    item.and_then(|item| item.item).map(ItemDraft::from).ok_or_else(|| status::invalid("the item is missing"))
}

/// What somebody wrote of an agent, a tool or a grant. What the daemon gives says nothing here.
impl From<Inner> for ItemDraft {
    fn from(item: Inner) -> Self {
        match item {
            Inner::Agent(agent) => Self::Agent(AgentDraft {
                name: agent.name,
                owner: agent.owner,
                purpose: agent.purpose,
                environment: agent.environment,
                data_class: agent.data_class,
                review_by: agent.review_by,
            }),
            Inner::Tool(tool) => Self::Tool(ToolDraft {
                name: tool.name,
                audience: tool.audience,
                base_urls: tool.base_urls,
                scopes: tool.scopes.into_iter().map(|scope| (scope.name, scope.band)).collect(),
                routes: tool.routes.into_iter().map(|route| (route.route, route.scope)).collect(),
                encoded_slash: tool.encoded_slash,
            }),
            Inner::Grant(grant) => Self::Grant(GrantDraft {
                agent: grant.agent,
                tool: grant.tool,
                scopes: grant.scopes,
                datasets: grant.datasets,
                ttl_max_seconds: grant.ttl_max_seconds,
                rate_per_minute: grant.rate_per_minute,
            }),
        }
    }
}

pub(super) fn put(put: pb::PutItem) -> Result<Put, Status> {
    let stand = match (put.new, put.expected_revision) {
        (true, 0) => Stand::New,
        (true, _) => return Err(status::invalid("a new item has no revision to expect")),
        (false, 0) => Stand::Old(None),
        (false, revision) => Stand::Old(Some(revision)),
    };
    Ok(Put { draft: draft(put.item)?, stand })
}

pub(super) fn id(id: &pb::ItemId) -> Result<ItemId, Status> {
    let wrong = |kind: &str, reason: String| {
        let shown: String = id.name.chars().take(64).flat_map(char::escape_debug).collect();
        status::invalid(&format!("the {kind} `{shown}` is not valid: {reason}"))
    };
    match id.kind() {
        pb::ItemKind::Agent => Label::parse(&id.name).map(ItemId::Agent).map_err(|reason| wrong("agent name", reason)),
        pb::ItemKind::Tool => Label::parse(&id.name).map(ItemId::Tool).map_err(|reason| wrong("tool name", reason)),
        pb::ItemKind::Grant => GrantId::parse(&id.name).map(ItemId::Grant).map_err(|reason| wrong("grant", reason)),
        pb::ItemKind::Unspecified => Err(status::invalid("the kind of item is missing")),
    }
}

pub(super) fn encode_id(id: &ItemId) -> pb::ItemId {
    let kind = match id {
        ItemId::Agent(_) => pb::ItemKind::Agent,
        ItemId::Tool(_) => pb::ItemKind::Tool,
        ItemId::Grant(_) => pb::ItemKind::Grant,
    };
    pb::ItemId { kind: kind.into(), name: id.name() }
}

pub(super) fn live_token(token: &LiveToken) -> pb::LiveToken {
    let LiveToken { tool, claims } = token;
    pb::LiveToken {
        jti: claims.token_id.to_string(),
        tool: tool.to_string(),
        scopes: claims.scopes.iter().map(ToString::to_string).collect(),
        issued_at: unix_seconds(claims.issued_at),
        expires_at: unix_seconds(claims.expires_at),
        jkt: claims.key.to_string(),
        spiffe_id: claims.subject.agent().to_string(),
    }
}

/// Each tool of which an agent is granted something.
pub(super) fn reach(catalog: &Catalog, agent: &str) -> Vec<pb::Reach> {
    let grants = catalog.grants(agent).iter();
    let with_tools = grants.filter_map(|grant| Some((&grant.spec, &catalog.tool(grant.spec.id.tool.as_str())?.spec)));
    let reach = with_tools.map(|(grant, tool)| {
        let scopes = grant.scopes.iter().filter_map(|scope| {
            let band = tool.band(scope.as_str())?;
            let lifetime_seconds = grant.lifetime_max(band).as_secs();
            Some(pb::ReachScope { scope: scope.to_string(), band: band.to_string(), lifetime_seconds })
        });
        pb::Reach {
            tool: tool.name.to_string(),
            audience: tool.audience.to_string(),
            scopes: scopes.collect(),
            datasets: grant.datasets.clone(),
            rate_per_minute: grant.rate_per_minute.map_or(0, |rate| rate.get().into()),
        }
    });
    reach.collect()
}

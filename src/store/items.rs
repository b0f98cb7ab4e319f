//! Agents, tools and grants as rows: what somebody wrote in them as JSON, with a sum over everything in the row. What is
//! read goes through the same checks as what an operator writes.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use crate::registry::{Agent, AgentDraft, Flaw, Grant, GrantDraft, Item, ItemId, Problems, State, Tool, ToolDraft};

use super::entries::{SUM_BYTES, integer, natural, sum_text};

/// What a row says of one of them. An earlier release has not noted the times of tools and grants, nor revoked anything.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    body: Body,
    /// Of a tool or a grant.
    #[serde(default, skip_serializing_if = "is_none")]
    created_at_micros: u64,
    /// Of an agent.
    #[serde(default, skip_serializing_if = "is_none")]
    revoked_before_seconds: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Body {
    Agent { draft: AgentDraft, state: String, created_by: u32, created_at_micros: u64 },
    Tool(ToolDraft),
    Grant(GrantDraft),
}

/// A row as it is stored.
struct Raw {
    kind: String,
    name: String,
    body: String,
    revision: u64,
}

/// All rows, and how many were left out: a row that is not as it was written is said, and takes nothing from the others.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<(Vec<Item>, usize)> {
    let mut statement = connection.prepare("SELECT kind, name, body, revision, sum FROM item")?;
    let mut rows = statement.query([])?;
    let (mut items, mut left_out) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (raw, written_sum) = raw(row)?;
        match raw.check(&written_sum) {
            Ok(item) => items.push(item),
            Err(problem) => {
                let Raw { kind, name, .. } = raw;
                tracing::error!(kind, name, problem, "an agent, tool or grant in the database is left out");
                left_out += 1;
            }
        }
    }
    Ok((items, left_out))
}

/// Puts a row in the place of the one with its name, or beside the others; answers how many rows that are.
pub(super) fn put(connection: &Connection, item: &Item) -> rusqlite::Result<usize> {
    let upsert = "INSERT INTO item (kind, name, body, revision, sum) VALUES (?1, ?2, ?3, ?4, ?5) \
                  ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body, revision = excluded.revision, \
                  sum = excluded.sum";
    let raw = Raw::of(item)?;
    let values = (&raw.kind, &raw.name, &raw.body, integer(raw.revision), raw.sum());
    connection.prepare_cached(upsert)?.execute(values)
}

/// Takes one out; answers how many rows that are.
pub(super) fn remove(connection: &Connection, id: &ItemId) -> rusqlite::Result<usize> {
    let delete = "DELETE FROM item WHERE kind = ?1 AND name = ?2";
    connection.prepare_cached(delete)?.execute((id.kind(), id.name()))
}

fn raw(row: &Row<'_>) -> rusqlite::Result<(Raw, Vec<u8>)> {
    let raw = Raw { kind: row.get(0)?, name: row.get(1)?, body: row.get(2)?, revision: natural(row, 3)? };
    Ok((raw, row.get(4)?))
}

impl Written {
    fn of(body: Body, created_at: SystemTime) -> Self {
        Self { body, created_at_micros: micros(created_at), revoked_before_seconds: 0 }
    }
}

/// Since 1970.
fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

impl Raw {
    fn of(item: &Item) -> rusqlite::Result<Self> {
        let written = match item {
            Item::Agent(agent) => Written {
                body: Body::Agent {
                    draft: AgentDraft::from(&agent.spec),
                    state: agent.state.to_string(),
                    created_by: agent.created_by,
                    created_at_micros: micros(agent.created_at),
                },
                created_at_micros: 0,
                revoked_before_seconds: micros(agent.revoked_before) / 1_000_000,
            },
            Item::Tool(tool) => Written::of(Body::Tool(ToolDraft::from(&tool.spec)), tool.created_at),
            Item::Grant(grant) => Written::of(Body::Grant(GrantDraft::from(&grant.spec)), grant.created_at),
        };
        let body =
            serde_json::to_string(&written).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let id = item.id();
        Ok(Self { kind: id.kind().to_owned(), name: id.name(), body, revision: item.revision() })
    }

    /// The first 16 bytes of a SHA-256 over everything in the row, each text with its length before it.
    fn sum(&self) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        [&self.kind, &self.name, &self.body].into_iter().for_each(|text| sum_text(&mut context, text));
        context.update(&integer(self.revision).to_be_bytes());
        context.finish().as_ref().get(..SUM_BYTES).unwrap_or_default().to_vec()
    }

    /// What it says, or what is wrong with it.
    fn check(&self, written_sum: &[u8]) -> Result<Item, String> {
        if self.sum() != written_sum {
            return Err("it is not as it was written".into());
        }
        let wrong = |problems: Problems<Flaw>| problems.to_string();
        let revision = self.revision;
        let written: Written = serde_json::from_str(&self.body).map_err(|error| error.to_string())?;
        let Written { body, created_at_micros, revoked_before_seconds } = written;
        let created_at = SystemTime::UNIX_EPOCH + Duration::from_micros(created_at_micros);
        let item = match body {
            Body::Agent { draft, state, created_by, created_at_micros } => {
                let state = State::of(&state).ok_or("it has no state")?;
                let created_at = SystemTime::UNIX_EPOCH + Duration::from_micros(created_at_micros);
                let revoked_before = Duration::from_secs(revoked_before_seconds);
                let revoked_before = SystemTime::UNIX_EPOCH.checked_add(revoked_before).ok_or("it has no time")?;
                let spec = draft.check().map_err(wrong)?;
                Item::Agent(Agent { spec, state, created_by, created_at, revoked_before, revision })
            }
            Body::Tool(draft) => Item::Tool(Tool { spec: draft.check().map_err(wrong)?, created_at, revision }),
            Body::Grant(draft) => Item::Grant(Grant { spec: draft.check().map_err(wrong)?, created_at, revision }),
        };
        match item.id().kind() == self.kind && item.id().name() == self.name {
            true => Ok(item),
            false => Err("it has the name of another".into()),
        }
    }
}

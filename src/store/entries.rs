//! Entries as rows. What is read goes through the same checks as what an operator writes.

use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::{Connection, Row};

use crate::{
    registry::{Change, Draft, Entry, EntryId, Revoked},
    spiffe::TrustDomain,
};

use super::{
    Error,
    authorities::{nanos_of, time_of},
    items, revocations,
};

/// A row as it is stored.
#[derive(Debug)]
pub(super) struct Raw {
    id: String,
    /// Without its lists.
    draft: Draft,
    /// Selectors, DNS names, foreign trust domains and identities that are acted for, one a line.
    lists: [String; 4],
    revision: u64,
    created_at: SystemTime,
    /// As [`Entry::since`]; `None` in a row of before it was kept.
    since: Option<SystemTime>,
    /// What was written beside it; of today's row it is [`Raw::sum`].
    written_sum: Vec<u8>,
}

/// Entries that were checked, and how many rows were left out.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) entries: Vec<Entry>,
    pub(super) left_out: usize,
}

impl Checked {
    /// Those of another batch too.
    pub(super) fn add(&mut self, mut other: Self) {
        self.entries.append(&mut other.entries);
        self.left_out += other.left_out;
    }
}

/// How many rows are handed over at once.
const BATCH: usize = 1024;

/// Reads all rows, in no order, and hands them over in batches.
pub(super) fn read(connection: &Connection, mut hand_over: impl FnMut(Vec<Raw>)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM entry"))?;
    let mut rows = statement.query([])?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(row) = rows.next()? {
        batch.push(raw(row)?);
        if batch.len() == BATCH {
            hand_over(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
        }
    }
    hand_over(batch);
    Ok(())
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    let draft = Draft {
        spiffe_id: row.get(1)?,
        selectors: Vec::new(),
        x509_ttl_seconds: natural(row, 3)?,
        jwt_ttl_seconds: natural(row, 4)?,
        dns_names: Vec::new(),
        hint: row.get(6)?,
        federates_with: Vec::new(),
        sds_for: Vec::new(),
        admin: row.get(8)?,
        downstream: row.get(9)?,
        expires_at: natural(row, 10)?,
        wit_ttl_seconds: natural(row, 14)?,
        certificate_profile: row.get(15)?,
        common_name: row.get(16)?,
        agent: row.get(17)?,
    };
    let lists = [row.get(2)?, row.get(5)?, row.get(7)?, row.get(19)?];
    Ok(Raw {
        id: row.get(0)?,
        draft,
        lists,
        revision: natural(row, 11)?,
        created_at: time_of(row.get(12)?),
        since: Some(row.get(18)?).filter(|nanos| *nanos != 0).map(time_of),
        written_sum: row.get(13)?,
    })
}

impl Raw {
    fn of(entry: &Entry) -> Self {
        let mut draft = Draft::from(&entry.spec);
        let lists = [&mut draft.selectors, &mut draft.dns_names, &mut draft.federates_with, &mut draft.sds_for];
        Self {
            id: entry.id.to_string(),
            lists: lists.map(|list| std::mem::take(list).join("\n")),
            draft,
            revision: entry.revision,
            created_at: entry.created_at,
            since: Some(entry.since).filter(|since| nanos_of(*since) != 0),
            written_sum: Vec::new(),
        }
    }

    /// The first 16 bytes of a SHA-256 over everything in the row, each text with its length before it. A column that
    /// came later takes part with its name, and only where it has something in it: so a row from before it came has the
    /// sum that it was written with, and no migration needs to believe a row in order to sum it anew.
    fn sum(&self) -> Vec<u8> {
        let Self { id, draft, lists, revision, created_at, since, written_sum: _ } = self;
        let [selectors, dns_names, federates_with, sds_for] = lists;
        let Draft { spiffe_id, hint, x509_ttl_seconds, jwt_ttl_seconds, admin, downstream, expires_at, .. } = draft;
        let Draft { wit_ttl_seconds, certificate_profile, common_name, agent, .. } = draft;
        let mut context = Context::new(&SHA256);
        for text in [id, spiffe_id, selectors, dns_names, hint, federates_with] {
            sum_text(&mut context, text);
        }
        let flags = [*admin, *downstream].map(i64::from);
        let counts = [*x509_ttl_seconds, *jwt_ttl_seconds, *expires_at, *revision].map(integer);
        for number in flags.into_iter().chain(counts).chain([nanos_of(*created_at)]) {
            context.update(&number.to_be_bytes());
        }
        let later = [("wit_ttl_seconds", *wit_ttl_seconds)];
        for (name, number) in later.into_iter().filter(|(_, number)| *number != 0) {
            sum_text(&mut context, name);
            context.update(&integer(number).to_be_bytes());
        }
        let later = [
            ("certificate_profile", certificate_profile),
            ("common_name", common_name),
            ("agent", agent),
            ("sds_for", sds_for),
        ];
        for (name, text) in later.into_iter().filter(|(_, text)| !text.is_empty()) {
            sum_text(&mut context, name);
            sum_text(&mut context, text);
        }
        if let Some(since) = since {
            sum_text(&mut context, "since_nanos");
            context.update(&nanos_of(*since).to_be_bytes());
        }
        context.finish().as_ref().get(..SUM_BYTES).unwrap_or_default().to_vec()
    }
}

/// How many bytes of a SHA-256 stand beside a row.
pub(super) const SUM_BYTES: usize = 16;

pub(super) fn sum_text(context: &mut Context, text: &str) {
    context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    context.update(text.as_bytes());
}

/// Gives each row the sum of what it has now, as part of a migration.
pub(super) fn write_sums(connection: &Connection) -> rusqlite::Result<()> {
    let mut update = connection.prepare("UPDATE entry SET sum = ?2 WHERE id = ?1")?;
    let mut rows = Vec::new();
    read(connection, |batch| rows.extend(batch.into_iter().map(|raw| (raw.sum(), raw.id))))?;
    rows.into_iter().try_for_each(|(sum, id)| update.execute((id, sum)).map(drop))
}

/// Checks rows as if an operator had written them now. One that does not pass, or is not as it was written, is left
/// out, and said: it takes nothing from the others. An entry of before it was kept since when it is the same is that since
/// it came, or, where it was changed once, since `unknown_before`.
pub(super) fn check(rows: Vec<Raw>, own: &TrustDomain, unknown_before: SystemTime) -> Checked {
    let all = rows.len();
    let checked = rows.into_iter().filter_map(|raw| {
        let is_as_written = raw.sum() == raw.written_sum;
        let Raw { id, draft, lists, revision, created_at, since, .. } = raw;
        if !is_as_written {
            tracing::error!(id, problem = "it is not as it was written", "an entry in the database is left out");
            return None;
        }
        let [selectors, dns_names, federates_with, sds_for] =
            lists.map(|list| list.lines().map(str::to_owned).collect());
        let spec = Draft { selectors, dns_names, federates_with, sds_for, ..draft }.check(own);
        let problem = match (id.parse(), spec) {
            (Ok(id), Ok(spec)) => {
                let since = since.unwrap_or(if revision > 1 { created_at.max(unknown_before) } else { created_at });
                return Some(Entry { id, spec, revision, created_at, since });
            }
            (Err(error), _) => error.to_string(),
            (_, Err(problems)) => problems.to_string(),
        };
        tracing::error!(id, problem, "an entry in the database is left out");
        None
    });
    let entries: Vec<_> = checked.collect();
    Checked { left_out: all.saturating_sub(entries.len()), entries }
}

/// Makes changes in their order, and the registry's next revision. Inside a transaction of the caller's.
pub(super) fn commit(connection: &Connection, stored: u64, revision: u64, changes: &[Change]) -> Result<(), Error> {
    if revision <= stored {
        return Err(Error::Revision { stored, offered: revision });
    }
    for change in changes {
        let changed = match change {
            Change::Create(entry) => write(connection, INSERT, entry),
            Change::Update(entry) => write(connection, UPDATE, entry),
            Change::Delete(id) => delete(connection, id),
            Change::Put(item) => items::put(connection, item),
            Change::Remove(id) => items::remove(connection, id),
            Change::Revoke(revoked) => revocations::put(connection, revoked),
            Change::Restore(id) => revocations::remove(connection, id),
        };
        if changed.map_err(Error::of_change)? != 1 {
            return Err(match change {
                Change::Create(Entry { id, .. }) | Change::Update(Entry { id, .. }) | Change::Delete(id) => {
                    Error::Entry(id.clone())
                }
                Change::Put(item) => Error::Item(item.id()),
                Change::Remove(id) => Error::Item(id.clone()),
                Change::Revoke(Revoked { id, .. }) | Change::Restore(id) => Error::Revoked(*id),
            });
        }
    }
    connection
        .prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'registry_revision'")
        .and_then(|mut statement| statement.execute([revision.to_string()]))
        .map(drop)
        .map_err(Error::of_change)
}

fn write(connection: &Connection, sql: &str, entry: &Entry) -> rusqlite::Result<usize> {
    let raw = Raw::of(entry);
    let Raw { draft, lists: [selectors, dns_names, federates_with, sds_for], .. } = &raw;
    connection.prepare_cached(sql)?.execute(rusqlite::params![
        raw.id,
        draft.spiffe_id,
        selectors,
        integer(draft.x509_ttl_seconds),
        integer(draft.jwt_ttl_seconds),
        dns_names,
        draft.hint,
        federates_with,
        draft.admin,
        draft.downstream,
        integer(draft.expires_at),
        integer(raw.revision),
        nanos_of(raw.created_at),
        raw.sum(),
        integer(draft.wit_ttl_seconds),
        draft.certificate_profile,
        draft.common_name,
        draft.agent,
        raw.since.map_or(0, nanos_of),
        sds_for,
    ])
}

fn delete(connection: &Connection, id: &EntryId) -> rusqlite::Result<usize> {
    connection.prepare_cached("DELETE FROM entry WHERE id = ?1")?.execute([id.to_string()])
}

/// SQLite's integers are signed.
pub(super) fn natural(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(at)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value))
}

/// What a row counts is below 2⁶³.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

const COLUMNS: &str = "id, spiffe_id, selectors, x509_ttl_seconds, jwt_ttl_seconds, dns_names, hint, federates_with, \
                       admin, downstream, expires_at, revision, created_at_nanos, sum, wit_ttl_seconds, \
                       certificate_profile, common_name, agent, since_nanos, sds_for";

/// A taken id changes nothing.
const INSERT: &str = "INSERT INTO entry (id, spiffe_id, selectors, x509_ttl_seconds, jwt_ttl_seconds, dns_names, hint, \
                      federates_with, admin, downstream, expires_at, revision, created_at_nanos, sum, wit_ttl_seconds, \
                      certificate_profile, common_name, agent, since_nanos, sds_for) VALUES \
                      (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20) \
                      ON CONFLICT (id) DO NOTHING";

const UPDATE: &str = "UPDATE entry SET spiffe_id = ?2, selectors = ?3, x509_ttl_seconds = ?4, jwt_ttl_seconds = ?5, \
                      dns_names = ?6, hint = ?7, federates_with = ?8, admin = ?9, downstream = ?10, expires_at = ?11, \
                      revision = ?12, created_at_nanos = ?13, sum = ?14, wit_ttl_seconds = ?15, \
                      certificate_profile = ?16, common_name = ?17, agent = ?18, since_nanos = ?19, \
                      sds_for = ?20 WHERE id = ?1";

//! Entries and authorities as rows.
//!
//! An entry is stored as what an operator says, in JSON, and goes through the same check when it is read as when it
//! came: what is in memory has always been checked by this version of the program.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{AuthorityKind, AuthorityRow, AuthoritySlot, Error, Loaded};
use crate::{
    registry::{Change, Draft, Entry, Selector, Spec},
    spiffe::TrustDomain,
};

/// What an operator says, as it is stored.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stored {
    spiffe_id: String,
    selectors: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    x509_ttl: u64,
    #[serde(skip_serializing_if = "is_zero")]
    jwt_ttl: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns_names: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    federates_with: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    admin: bool,
    #[serde(skip_serializing_if = "is_false")]
    downstream: bool,
    #[serde(skip_serializing_if = "is_zero")]
    expires_at: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(word: &bool) -> bool {
    !*word
}

impl Stored {
    fn of(spec: &Spec) -> Self {
        let seconds = |ttl: Option<Duration>| ttl.map_or(0, |ttl| ttl.as_secs());
        Self {
            spiffe_id: spec.spiffe_id.to_string(),
            selectors: spec.selectors.iter().map(Selector::to_string).collect(),
            x509_ttl: seconds(spec.x509_ttl),
            jwt_ttl: seconds(spec.jwt_ttl),
            dns_names: spec.dns_names.clone(),
            hint: spec.hint.clone(),
            federates_with: spec.federates_with.iter().map(TrustDomain::to_string).collect(),
            admin: spec.admin,
            downstream: spec.downstream,
            expires_at: spec
                .expires_at
                .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
                .map_or(0, |at| at.as_secs()),
        }
    }

    fn draft(self) -> Draft {
        Draft {
            spiffe_id: self.spiffe_id,
            selectors: self.selectors,
            x509_ttl_seconds: self.x509_ttl,
            jwt_ttl_seconds: self.jwt_ttl,
            dns_names: self.dns_names,
            hint: self.hint,
            federates_with: self.federates_with,
            admin: self.admin,
            downstream: self.downstream,
            expires_at: self.expires_at,
        }
    }
}

/// Reads everything.
pub(super) fn load(connection: &Connection, own: &TrustDomain) -> Result<Loaded, Error> {
    let revision = connection
        .query_row("SELECT value FROM meta WHERE key = 'registry_revision'", [], |row| row.get::<_, String>(0))
        .optional()?;
    let registry_revision = match revision {
        Some(text) => text.parse().map_err(|_| broken("meta", "registry_revision", "not a number"))?,
        None => 0,
    };
    Ok(Loaded { registry_revision, entries: entries(connection, own)?, authorities: authorities(connection)? })
}

fn entries(connection: &Connection, own: &TrustDomain) -> Result<Vec<Entry>, Error> {
    let mut statement =
        connection.prepare("SELECT id, spec, revision, created_at FROM entries ORDER BY created_at, id")?;
    let mut rows = statement.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let stored: Stored = serde_json::from_str(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)
            .map_err(|error| broken("entries", &id, error))?;
        entries.push(Entry {
            spec: stored.draft().check(own).map_err(|problems| broken("entries", &id, problems))?,
            revision: number("entries", &id, row.get(2)?)?,
            created_at: moment(number("entries", &id, row.get(3)?)?),
            id: id.parse().map_err(|error| broken("entries", &id, error))?,
        });
    }
    Ok(entries)
}

fn authorities(connection: &Connection) -> Result<Vec<AuthorityRow>, Error> {
    let mut statement = connection.prepare(
        "SELECT id, kind, slot, algorithm, certificate, changed_at FROM authorities ORDER BY changed_at, id",
    )?;
    let mut rows = statement.query([])?;
    let mut authorities = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let (kind, slot): (String, String) = (row.get(1)?, row.get(2)?);
        authorities.push(AuthorityRow {
            kind: AuthorityKind::named(&kind).ok_or_else(|| broken("authorities", &id, &kind))?,
            slot: AuthoritySlot::named(&slot).ok_or_else(|| broken("authorities", &id, &slot))?,
            algorithm: row.get(3)?,
            certificate: row.get(4)?,
            changed_at: moment(number("authorities", &id, row.get(5)?)?),
            id,
        });
    }
    Ok(authorities)
}

/// Changes of the registry.
pub(super) fn change_entries(transaction: &Transaction<'_>, revision: u64, changes: &[Change]) -> Result<(), Error> {
    let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4)")?;
    let mut delete = transaction.prepare_cached("DELETE FROM entries WHERE id = ?1")?;
    for change in changes {
        match change {
            Change::Create(entry) | Change::Update(entry) => {
                let id = entry.id.to_string();
                let spec =
                    serde_json::to_string(&Stored::of(&entry.spec)).map_err(|error| broken("entries", &id, error))?;
                put.execute(params![id, spec, integer(entry.revision), integer(nanoseconds(entry.created_at))])?;
            }
            Change::Delete(id) => {
                delete.execute([id.to_string()])?;
            }
        }
    }
    let mut mark = transaction.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('registry_revision', ?1)")?;
    mark.execute([revision.to_string()])?;
    Ok(())
}

/// Authorities, over those of the same id.
pub(super) fn save_authorities(transaction: &Transaction<'_>, authorities: &[AuthorityRow]) -> Result<(), Error> {
    let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO authorities VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for row in authorities {
        let changed_at = integer(nanoseconds(row.changed_at));
        put.execute(params![row.id, row.kind.name(), row.slot.name(), row.algorithm, row.certificate, changed_at])?;
    }
    Ok(())
}

/// One authority less.
pub(super) fn remove_authority(transaction: &Transaction<'_>, id: &str) -> Result<(), Error> {
    transaction.execute("DELETE FROM authorities WHERE id = ?1", [id])?;
    Ok(())
}

impl AuthorityKind {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Issuing => "issuing",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Root, Self::Issuing].into_iter().find(|one| one.name() == name)
    }
}

impl AuthoritySlot {
    fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Prepared, Self::Active, Self::Retired].into_iter().find(|one| one.name() == name)
    }
}

fn broken(table: &'static str, id: &str, why: impl ToString) -> Error {
    Error::Row { table, id: id.to_owned(), why: why.to_string() }
}

fn number(table: &'static str, id: &str, stored: i64) -> Result<u64, Error> {
    u64::try_from(stored).map_err(|_| broken(table, id, "a negative number"))
}

/// SQLite's integers have a sign; what we count never gets there.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

fn moment(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

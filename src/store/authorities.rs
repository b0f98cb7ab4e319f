//! Authorities as rows: what is known of each, beside its key.

use std::time::{Duration, SystemTime};

use rusqlite::{
    Connection, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

/// What an authority is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorityKind {
    /// Its certificate is self-signed and in the bundle.
    Root,
    /// A root has signed its certificate.
    Issuing,
    /// It signs JWT-SVIDs. Its certificate is self-signed and nobody's business: it says which key, and for how long.
    Jwt,
    /// It signs WIT-SVIDs. Its certificate as of the one before.
    Wit,
    /// It signs access tokens. Its certificate likewise; it is in no bundle of SPIFFE's.
    Access,
}

/// Where an authority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthoritySlot {
    /// It signs nothing yet.
    Prepared,
    /// It signs; of each kind one at most does.
    Active,
    /// It signs nothing any more.
    Retired,
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorityRow {
    /// Its name, and that of its key file without `.key`.
    pub(crate) id: String,
    /// What it is.
    pub(crate) kind: AuthorityKind,
    /// Where it stands.
    pub(crate) slot: AuthoritySlot,
    /// Its key's curve: `p256` or `p384`.
    pub(crate) algorithm: String,
    /// DER.
    pub(crate) certificate: Vec<u8>,
    /// When this row was written.
    pub(crate) changed_at: SystemTime,
}

/// All of them.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Vec<AuthorityRow>> {
    let select = "SELECT id, kind, slot, algorithm, certificate, changed_at_nanos FROM authority \
                  ORDER BY changed_at_nanos, id";
    let mut statement = connection.prepare(select)?;
    let rows = statement.query_map([], |row| {
        Ok(AuthorityRow {
            id: row.get(0)?,
            kind: row.get(1)?,
            slot: row.get(2)?,
            algorithm: row.get(3)?,
            certificate: row.get(4)?,
            changed_at: time_of(row.get(5)?),
        })
    })?;
    rows.collect()
}

/// Puts rows in the place of those with the same id, or beside the others.
pub(super) fn save(connection: &Connection, rows: &[AuthorityRow]) -> rusqlite::Result<()> {
    // Who signs no more steps aside first: there is one active authority of each kind at any moment.
    let (active, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.slot == AuthoritySlot::Active);
    let upsert = "INSERT INTO authority (id, kind, slot, algorithm, certificate, changed_at_nanos) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, \
                  slot = excluded.slot, algorithm = excluded.algorithm, certificate = excluded.certificate, \
                  changed_at_nanos = excluded.changed_at_nanos";
    let mut statement = connection.prepare_cached(upsert)?;
    for AuthorityRow { id, kind, slot, algorithm, certificate, changed_at } in others.into_iter().chain(active) {
        statement.execute((id, kind, slot, algorithm, certificate, nanos_of(*changed_at)))?;
    }
    Ok(())
}

/// Takes one out. One that is not there is gone already.
pub(super) fn remove(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM authority WHERE id = ?1")?.execute([id]).map(drop)
}

/// Nanoseconds since 1970; what is before or after what fits is at the edge.
pub(super) fn nanos_of(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The moment so many nanoseconds after 1970.
pub(super) fn time_of(nanos: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

impl AuthorityKind {
    const WORDS: [(Self, &'static str); 5] = [
        (Self::Root, "root"),
        (Self::Issuing, "issuing"),
        (Self::Jwt, "jwt"),
        (Self::Wit, "wit"),
        (Self::Access, "access"),
    ];

    /// Its word, as it is stored and shown.
    pub(crate) fn name(self) -> &'static str {
        word_of(&Self::WORDS, &self)
    }
}

impl AuthoritySlot {
    const WORDS: [(Self, &'static str); 3] =
        [(Self::Prepared, "prepared"), (Self::Active, "active"), (Self::Retired, "retired")];
}

fn word_of<T: PartialEq>(words: &[(T, &'static str)], value: &T) -> &'static str {
    words.iter().find(|(known, _)| known == value).map_or("", |(_, word)| word)
}

fn of_word<T: Copy>(words: &[(T, &'static str)], value: ValueRef<'_>) -> FromSqlResult<T> {
    let text = value.as_str()?;
    words.iter().find(|(_, word)| *word == text).map(|(known, _)| *known).ok_or(FromSqlError::InvalidType)
}

impl ToSql for AuthorityKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(word_of(&Self::WORDS, self).into())
    }
}

impl FromSql for AuthorityKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        of_word(&Self::WORDS, value)
    }
}

impl ToSql for AuthoritySlot {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(word_of(&Self::WORDS, self).into())
    }
}

impl FromSql for AuthoritySlot {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        of_word(&Self::WORDS, value)
    }
}

//! What the database looks like, and how older ones become like it.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{Error, database, entries};
use crate::spiffe::TrustDomain;

/// Marks the file as ours (`file` and people see it): "Dayf".
pub(super) const APPLICATION_ID: i32 = 0x4461_7966;

/// What makes each schema out of the one before; the first out of nothing. Never changed, only added to.
const MIGRATIONS: [&str; 11] =
    [FIRST, SUMS, TOKEN_KEYS, WIT_TTL, PROFILES, FOREIGN, ITEMS, ACCESS_KEYS, REVOCATIONS, SINCE, SDS_FOR];

/// The schema that this release writes.
pub(crate) fn version() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Whether this release can open a database of that schema, which another process has open in the state folder.
///
/// # Errors
/// [`Error::Newer`]
pub(crate) fn check_schema(state: &Path, found: u32) -> Result<(), Error> {
    let known = version();
    if found > known { Err(Error::Newer { path: database::path(state), found, known }) } else { Ok(()) }
}

/// Writes its number once more: a page that goes to the disk, and nothing is different.
pub(super) fn version_again() -> String {
    format!("PRAGMA user_version = {}", version())
}

/// Brings a database from a schema to the present one, a new one with its trust domain; all of it or nothing.
pub(super) fn migrate(connection: &mut Connection, from: u32, trust_domain: &TrustDomain) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, TransactionBehavior::Exclusive)?;
    let skip = usize::try_from(from).unwrap_or(usize::MAX);
    for migration in MIGRATIONS.iter().skip(skip) {
        transaction.execute_batch(migration)?;
    }
    if from < SUMS_SINCE {
        entries::write_sums(&transaction)?;
    }
    if from == 0 {
        let insert = "INSERT INTO meta (key, value) VALUES ('trust_domain', ?1), ('registry_revision', '0')";
        transaction.execute(insert, [trust_domain.as_str()])?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version())?;
    transaction.commit()
}

/// Lists are text, one item a line (no item can have a line break in it). Times are nanoseconds since 1970 where order matters, else seconds; 0 is none.
const FIRST: &str = "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
    id                TEXT PRIMARY KEY NOT NULL,
    spiffe_id         TEXT NOT NULL,
    selectors         TEXT NOT NULL,
    x509_ttl_seconds  INTEGER NOT NULL,
    jwt_ttl_seconds   INTEGER NOT NULL,
    dns_names         TEXT NOT NULL,
    hint              TEXT NOT NULL,
    federates_with    TEXT NOT NULL,
    admin             INTEGER NOT NULL CHECK (admin IN (0, 1)),
    downstream        INTEGER NOT NULL CHECK (downstream IN (0, 1)),
    expires_at        INTEGER NOT NULL,
    revision          INTEGER NOT NULL CHECK (revision > 0),
    created_at_nanos  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE authority (
    id                TEXT PRIMARY KEY NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('root', 'issuing')),
    slot              TEXT NOT NULL CHECK (slot IN ('prepared', 'active', 'retired')),
    algorithm         TEXT NOT NULL,
    certificate       BLOB NOT NULL,
    changed_at_nanos  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX one_active_authority ON authority (kind) WHERE slot = 'active';
";

/// Each entry has a sum over its row: a row with a flipped bit is often valid, and somebody else's.
const SUMS: &str = "
ALTER TABLE entry ADD COLUMN sum BLOB NOT NULL DEFAULT x'';
";
const SUMS_SINCE: u32 = 2;

/// Keys that sign tokens are authorities too.
const TOKEN_KEYS: &str = "
CREATE TABLE authority_next (
    id                TEXT PRIMARY KEY NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('root', 'issuing', 'jwt', 'wit')),
    slot              TEXT NOT NULL CHECK (slot IN ('prepared', 'active', 'retired')),
    algorithm         TEXT NOT NULL,
    certificate       BLOB NOT NULL,
    changed_at_nanos  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO authority_next SELECT id, kind, slot, algorithm, certificate, changed_at_nanos FROM authority;
DROP TABLE authority;
ALTER TABLE authority_next RENAME TO authority;
CREATE UNIQUE INDEX one_active_authority ON authority (kind) WHERE slot = 'active';
";

/// How long an entry's WIT-SVIDs live.
const WIT_TTL: &str = "
ALTER TABLE entry ADD COLUMN wit_ttl_seconds INTEGER NOT NULL DEFAULT 0;
";

/// What stands in the subject of an entry's certificates.
const PROFILES: &str = "
ALTER TABLE entry ADD COLUMN certificate_profile TEXT NOT NULL DEFAULT '';
ALTER TABLE entry ADD COLUMN common_name TEXT NOT NULL DEFAULT '';
";

/// The bundle documents of foreign trust domains, with the same kind of sum.
const FOREIGN: &str = "
CREATE TABLE foreign_bundle (
    trust_domain      TEXT PRIMARY KEY NOT NULL,
    document          BLOB NOT NULL,
    revision          INTEGER NOT NULL CHECK (revision > 0),
    changed_at_nanos  INTEGER NOT NULL,
    sum               BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Agents, tools and grants, what was written in each as JSON; and the agent that an entry belongs to.
const ITEMS: &str = "
ALTER TABLE entry ADD COLUMN agent TEXT NOT NULL DEFAULT '';
CREATE TABLE item (
    kind      TEXT NOT NULL CHECK (kind IN ('agent', 'tool', 'grant')),
    name      TEXT NOT NULL,
    body      TEXT NOT NULL,
    revision  INTEGER NOT NULL CHECK (revision > 0),
    sum       BLOB NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
";

/// Keys that sign access tokens are authorities, too.
const ACCESS_KEYS: &str = "
CREATE TABLE authority_next (
    id                TEXT PRIMARY KEY NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('root', 'issuing', 'jwt', 'wit', 'access')),
    slot              TEXT NOT NULL CHECK (slot IN ('prepared', 'active', 'retired')),
    algorithm         TEXT NOT NULL,
    certificate       BLOB NOT NULL,
    changed_at_nanos  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO authority_next SELECT id, kind, slot, algorithm, certificate, changed_at_nanos FROM authority;
DROP TABLE authority;
ALTER TABLE authority_next RENAME TO authority;
CREATE UNIQUE INDEX one_active_authority ON authority (kind) WHERE slot = 'active';
";

/// Tokens and keys that were taken back, with the same kind of sum; an end of 0 is none. What was written in agents,
/// tools and grants may say from now on when they came, and until when what agents were issued is revoked.
const REVOCATIONS: &str = "
CREATE TABLE revocation (
    kind         TEXT NOT NULL CHECK (kind IN ('token', 'key')),
    name         TEXT NOT NULL,
    at_nanos     INTEGER NOT NULL,
    until_nanos  INTEGER NOT NULL,
    sum          BLOB NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
";

/// Since when an entry's SPIFFE ID, selectors and agent are the same; 0 in what was written before, of which it is known
/// only that it is so since this second has passed.
const SINCE: &str = "
ALTER TABLE entry ADD COLUMN since_nanos INTEGER NOT NULL DEFAULT 0;
INSERT INTO meta (key, value) VALUES ('entries_since_seconds', CAST(strftime('%s', 'now') + 1 AS TEXT));
";

/// The identities that a proxy acts for are kept beside the rest.
const SDS_FOR: &str = "ALTER TABLE entry ADD COLUMN sds_for TEXT NOT NULL DEFAULT '';";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_database_of_a_later_release_is_left_to_it() {
        let check = |found| check_schema(Path::new("/state"), found);
        assert!(check(0).is_ok() && check(version()).is_ok());
        let error = check(version() + 1).unwrap_err();
        assert!(matches!(error, Error::Newer { found, known, .. } if found == known + 1), "{error}");
    }

    #[test]
    fn every_older_schema_becomes_the_present_one() {
        let tables = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
            let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
            rows.map(Result::unwrap).collect::<Vec<_>>()
        };
        let domain = TrustDomain::parse("example.org").unwrap();
        let mut fresh = Connection::open_in_memory().unwrap();
        migrate(&mut fresh, 0, &domain).unwrap();
        for (at, _) in MIGRATIONS.iter().enumerate() {
            let mut older = Connection::open_in_memory().unwrap();
            for migration in MIGRATIONS.iter().take(at) {
                older.execute_batch(migration).unwrap();
            }
            migrate(&mut older, u32::try_from(at).unwrap(), &domain).unwrap();
            assert_eq!(tables(&older), tables(&fresh), "from schema {at}");
        }
    }

    #[test]
    fn authorities_of_an_older_schema_stay_and_can_be_joined_by_those_of_access_tokens() {
        let domain = TrustDomain::parse("example.org").unwrap();
        let insert = |kind: &str, connection: &Connection| {
            let row = "INSERT INTO authority VALUES (?1, ?1, 'active', 'p256', x'30', 1)";
            connection.execute(row, [kind]).map(drop)
        };
        let mut older = Connection::open_in_memory().unwrap();
        let before = MIGRATIONS.iter().position(|migration| *migration == ACCESS_KEYS).unwrap();
        MIGRATIONS.iter().take(before).for_each(|migration| older.execute_batch(migration).unwrap());
        for kind in ["root", "issuing", "jwt", "wit"] {
            insert(kind, &older).unwrap();
        }
        insert("access", &older).unwrap_err();
        migrate(&mut older, u32::try_from(before).unwrap(), &domain).unwrap();
        insert("access", &older).unwrap();
        let mut statement = older.prepare("SELECT id FROM authority ORDER BY id").unwrap();
        let ids: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(ids, ["access", "issuing", "jwt", "root", "wit"]);
    }
}

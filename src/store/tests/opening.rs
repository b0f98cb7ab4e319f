//! What is refused at the start, and with which words.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rusqlite::Connection;

use super::*;
use crate::{registry::Profile, spiffe::Id};

/// A state folder with an entry, an authority and its key, closed.
fn used() -> Scratch {
    let dir = Scratch::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (store, _) = open(dir.path());
        store.commit_entries(1, vec![Change::Create(entry(1))]).await.unwrap();
        let root = authority(dir.path(), 1, AuthorityKind::Root, AuthoritySlot::Active);
        store.save_authorities(vec![root]).await.unwrap();
        store.close();
    });
    dir
}

fn refused(state: &Path) -> Error {
    match Store::open(state, &domain()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

fn edit(state: &Path, sql: &str) {
    Connection::open(database::path(state)).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn the_files_are_the_daemons_alone() {
    let dir = Scratch::new();
    let (_store, _) = open(dir.path());
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
    drop(_store);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(refused(dir.path()), Error::Dir(files::Error::LooseMode { .. })));
}

#[test]
fn a_database_that_is_open_to_others_is_closed_to_them() {
    let dir = used();
    let path = database::path(dir.path());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (_store, loaded) = open(dir.path());
    assert_eq!(loaded.entries.len(), 1);
    for file in [path.clone(), path.with_extension("db-wal")] {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_link_in_the_place_of_the_database_is_refused() {
    let (dir, other) = (used(), Scratch::new());
    let path = database::path(dir.path());
    fs::rename(&path, other.path().join("db")).unwrap();
    std::os::unix::fs::symlink(other.path().join("db"), &path).unwrap();
    assert!(matches!(refused(dir.path()), Error::Dir(files::Error::WrongKind { .. })));
}

#[test]
fn a_database_in_use_is_refused() {
    let dir = used();
    let (_store, _) = open(dir.path());
    let error = refused(dir.path());
    assert!(matches!(error, Error::Locked { .. }), "{error}");
}

#[test]
fn a_database_that_another_program_holds_is_refused() {
    let dir = used();
    let other = Connection::open(database::path(dir.path())).unwrap();
    other.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(other);
    open(dir.path());
}

#[test]
fn damaged_bytes_are_refused_and_left_as_they_are() {
    let whole = used();
    let bytes = fs::read(database::path(whole.path())).unwrap();
    for page in 0..bytes.len() / 4096 {
        let dir = used();
        let mut damaged = bytes.clone();
        damaged[page * 4096..page * 4096 + 200].fill(0xa5);
        fs::write(database::path(dir.path()), &damaged).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, Error::Corrupt { .. }), "page {page}: {error}");
        assert_eq!(fs::read(database::path(dir.path())).unwrap(), damaged, "page {page}");
    }
}

#[test]
fn a_cut_database_is_refused() {
    let dir = used();
    let path = database::path(dir.path());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(refused(dir.path()), Error::Corrupt { .. }));
    fs::write(&path, "not a database, but long enough to look at".repeat(100)).unwrap();
    assert!(matches!(refused(dir.path()), Error::Corrupt { .. }));
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let dir = used();
    edit(dir.path(), "PRAGMA user_version = 99");
    let before = fs::read(database::path(dir.path())).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, Error::Newer { found: 99, known, .. } if known == schema::version()), "{error}");
    assert_eq!(fs::read(database::path(dir.path())).unwrap(), before);
}

#[test]
fn another_programs_database_is_refused() {
    let dir = used();
    edit(dir.path(), "PRAGMA application_id = 7");
    assert!(matches!(refused(dir.path()), Error::NotOurs { .. }));
    let dir = Scratch::new();
    edit(dir.path(), "CREATE TABLE a (b)");
    assert!(matches!(refused(dir.path()), Error::NotOurs { .. }));
}

#[test]
fn another_trust_domains_database_is_refused() {
    let dir = used();
    let other = TrustDomain::parse("other.test").unwrap();
    let Err(error) = Store::open(dir.path(), &other) else { panic!("it was opened") };
    assert!(matches!(&error, Error::ForeignTrustDomain { found, .. } if found == "example.org"), "{error}");
}

#[test]
fn keys_without_their_database_are_refused() {
    let dir = used();
    let path = database::path(dir.path());
    fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        let error = refused(dir.path());
        assert!(matches!(error, Error::MissingBesideKeys { keys: 1, .. }), "{error}");
        assert!(!path.exists(), "no new one is begun");
    }
    fs::write(&path, b"").unwrap();
    assert!(matches!(refused(dir.path()), Error::MissingBesideKeys { .. }), "an empty file is none");
}

#[test]
fn an_audit_log_without_database_and_keys_is_refused() {
    let dir = used();
    let path = database::path(dir.path());
    fs::remove_file(&path).unwrap();
    fs::remove_dir_all(keys::dir(dir.path())).unwrap();
    fs::create_dir(keys::log_dir(dir.path())).unwrap();
    fs::write(keys::log_dir(dir.path()).join("00000001.jsonl"), b"{}\n").unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, Error::MissingBesideLog { .. }), "{error}");
    assert!(!path.exists(), "no new one is begun");
    fs::remove_dir_all(keys::log_dir(dir.path())).unwrap();
    open(dir.path());
}

#[test]
fn a_database_without_its_keys_is_refused() {
    let dir = used();
    fs::remove_dir_all(keys::dir(dir.path())).unwrap();
    let error = refused(dir.path());
    assert!(matches!(&error, Error::KeysMissingBesideDatabase { missing, .. } if missing.len() == 1), "{error}");
}

#[test]
fn a_start_that_ended_before_the_first_write_is_begun_again() {
    let dir = Scratch::new();
    fs::write(database::path(dir.path()), b"").unwrap();
    open(dir.path());
    // As it is when the daemon ended between the file's head and its tables.
    let dir = Scratch::new();
    Connection::open(database::path(dir.path())).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
    open(dir.path());
}

#[test]
fn an_entry_that_breaks_todays_rules_takes_nothing_from_the_others() {
    let dir = used();
    edit(dir.path(), "UPDATE entry SET spiffe_id = 'spiffe://example.org/A/../b'");
    edit(dir.path(), AS_SCHEMA_1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (store, loaded) = open(dir.path());
    assert_eq!((loaded.entries.len(), loaded.left_out), (0, 1));
    runtime.block_on(store.commit_entries(2, vec![Change::Create(entry(2))])).unwrap();
    assert_eq!(runtime.block_on(store.load()).unwrap().entries, [entry(2)]);
}

#[test]
fn what_a_proxy_acts_for_is_kept() {
    let dir = Scratch::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut proxy = entry(1);
    proxy.spec.sds_for =
        vec![Id::parse("spiffe://example.org/db").unwrap(), Id::parse("spiffe://example.org/web").unwrap()];
    let (store, _) = open(dir.path());
    runtime.block_on(store.commit_entries(1, vec![Change::Create(proxy.clone())])).unwrap();
    assert_eq!(runtime.block_on(store.load()).unwrap().entries, [proxy]);
}

/// What makes a database of the first schema of one of today's.
const AS_SCHEMA_1: &str = "
ALTER TABLE entry DROP COLUMN sds_for; ALTER TABLE entry DROP COLUMN since_nanos; DELETE FROM meta WHERE key = 'entries_since_seconds';
DROP TABLE revocation; DROP TABLE item;
DROP TABLE foreign_bundle;
ALTER TABLE entry DROP COLUMN sum;
ALTER TABLE entry DROP COLUMN wit_ttl_seconds;
ALTER TABLE entry DROP COLUMN certificate_profile;
ALTER TABLE entry DROP COLUMN common_name;
ALTER TABLE entry DROP COLUMN agent;
PRAGMA user_version = 1;
";

/// What a daemon of the second schema had written.
const OF_SCHEMA_2: &str = "
ALTER TABLE entry DROP COLUMN sds_for; ALTER TABLE entry DROP COLUMN since_nanos; DELETE FROM meta WHERE key = 'entries_since_seconds';
DROP TABLE revocation; DROP TABLE item;
DROP TABLE foreign_bundle;
DELETE FROM entry;
ALTER TABLE entry DROP COLUMN wit_ttl_seconds;
ALTER TABLE entry DROP COLUMN certificate_profile;
ALTER TABLE entry DROP COLUMN common_name;
ALTER TABLE entry DROP COLUMN agent;
INSERT INTO entry VALUES ('ee7f3241-acfe-46c6-be1e-7676dd7dd692', 'spiffe://example.org/web',
    'unix:path:/usr/bin/web' || char(10) || 'unix:uid:1000', 3600, 300, 'web.example.org' || char(10) || 'db.example.org',
    'internal', 'other.org', 0, 0, 4073544000, 1, 1795285837176011000, x'33f9f1a3ab7f01c9ec5386d9ca846b21');
INSERT INTO entry VALUES ('c55cf1ba-532b-486a-bd60-1b16e8e0ab99', 'spiffe://example.org/plain', 'unix:uid:1000', 0, 0,
    '', '', '', 0, 0, 0, 1, 1795285837183666000, x'897df191392278ef7e93e75fafa080c3');
PRAGMA user_version = 2;
";

#[test]
fn an_entry_that_is_not_as_it_was_written_is_left_out() {
    for change in [
        "id = 'ffffffff-ffff-4fff-bfff-ffffffffffff'",
        "spiffe_id = 'spiffe://example.org/workload/0'",
        "selectors = replace(selectors, 'unix:uid:1', 'unix:uid:0')",
        "x509_ttl_seconds = 3601",
        "jwt_ttl_seconds = 301",
        "wit_ttl_seconds = 241",
        "wit_ttl_seconds = 0",
        "wit_ttl_seconds = jwt_ttl_seconds, jwt_ttl_seconds = wit_ttl_seconds",
        "dns_names = replace(dns_names, 'b.', 'c.')",
        "hint = ''",
        "certificate_profile = '', common_name = ''",
        "common_name = 'order'",
        "certificate_profile = common_name, common_name = certificate_profile",
        "federates_with = ''",
        "admin = 0",
        "downstream = 1",
        "expires_at = 0",
        "revision = 2",
        "created_at_nanos = created_at_nanos + 1",
        "since_nanos = since_nanos + 1",
        "since_nanos = 0",
        "sds_for = 'spiffe://example.org/other'",
        "created_at_nanos = since_nanos, since_nanos = created_at_nanos",
        "sum = x''",
        "hint = '', dns_names = hint",
    ] {
        let dir = used();
        edit(dir.path(), &format!("UPDATE entry SET {change}"));
        let (_store, loaded) = open(dir.path());
        assert_eq!((loaded.entries.len(), loaded.left_out), (0, 1), "{change}");
    }
}

#[test]
fn a_foreign_bundle_that_is_not_as_it_was_written_is_left_out() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for change in [
        "trust_domain = 'c.test'",
        "trust_domain = 'No Name'",
        "document = x'00'",
        "document = x'7b7d'",
        "revision = 2",
        "changed_at_nanos = changed_at_nanos + 1",
        "sum = x''",
    ] {
        let dir = used();
        let (store, _) = open(dir.path());
        for name in ["a.test", "b.test"] {
            runtime.block_on(store.save_bundle(bundle(name, 1))).unwrap();
        }
        drop(store);
        edit(dir.path(), &format!("UPDATE foreign_bundle SET {change} WHERE trust_domain = 'a.test'"));
        let (_store, loaded) = open(dir.path());
        assert_eq!((loaded.bundles, loaded.bundles_left_out), (vec![bundle("b.test", 1)], 1), "{change}");
    }
}

#[test]
fn entries_of_the_first_schema_get_their_sums() {
    let dir = used();
    edit(dir.path(), AS_SCHEMA_1);
    let mut first = entry(1);
    (first.spec.wit_ttl, first.spec.profile, first.spec.agent) = (None, Profile::Spiffe, None);
    first.since = first.created_at;
    for _ in 0..2 {
        let (_store, loaded) = open(dir.path());
        assert_eq!((loaded.entries, loaded.left_out), (vec![first.clone()], 0));
    }
}

#[test]
fn entries_of_the_second_schema_keep_their_sums() {
    let dir = used();
    edit(dir.path(), OF_SCHEMA_2);
    // What was damaged before the migration is found out after it too.
    edit(dir.path(), "UPDATE entry SET hint = 'x' WHERE spiffe_id = 'spiffe://example.org/plain'");
    for _ in 0..2 {
        let (_store, loaded) = open(dir.path());
        let ids: Vec<_> = loaded.entries.iter().map(|entry| entry.spec.spiffe_id.as_str()).collect();
        assert_eq!((ids, loaded.left_out), (vec!["spiffe://example.org/web"], 1));
    }
    edit(dir.path(), "UPDATE entry SET hint = '' WHERE spiffe_id = 'spiffe://example.org/plain'");
    let (_store, loaded) = open(dir.path());
    assert_eq!((loaded.entries.len(), loaded.left_out), (2, 0));
}

#[tokio::test]
async fn entries_of_the_sixth_schema_keep_their_sums_and_belong_to_no_agent() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    let mut kept = entry(1);
    kept.spec.agent = None;
    kept.since = SystemTime::UNIX_EPOCH;
    store.commit_entries(1, vec![Change::Create(kept.clone())]).await.unwrap();
    drop(store);
    edit(
        dir.path(),
        "ALTER TABLE entry DROP COLUMN sds_for; ALTER TABLE entry DROP COLUMN since_nanos; DELETE FROM meta WHERE key = 'entries_since_seconds'; \
         DROP TABLE revocation; DROP TABLE item; ALTER TABLE entry DROP COLUMN agent; PRAGMA user_version = 6;",
    );
    kept.since = kept.created_at;
    for _ in 0..2 {
        let (_store, loaded) = open(dir.path());
        assert_eq!((loaded.entries, loaded.left_out), (vec![kept.clone()], 0));
        assert_eq!((loaded.items, loaded.items_left_out), (Vec::new(), 0));
    }
}

#[tokio::test]
async fn an_agent_tool_or_grant_that_is_not_as_it_was_written_is_left_out() {
    let changes = [
        "name = 'other'",
        "body = replace(body, '\"read\"', '\"send\"')",
        "revision = 2",
        "sum = x'00'",
        "body = '{}'",
    ];
    for change in changes {
        let dir = Scratch::new();
        let (store, _) = open(dir.path());
        store.commit_entries(1, items().map(Change::Put).to_vec()).await.unwrap();
        drop(store);
        edit(dir.path(), &format!("UPDATE item SET {change} WHERE kind = 'tool'"));
        let (_store, loaded) = open(dir.path());
        let kinds: Vec<_> = loaded.items.iter().map(|item| item.id().kind()).collect();
        assert_eq!((kinds, loaded.items_left_out), (vec!["agent", "grant"], 1), "{change}");
    }
}

/// As the eighth schema had them: without times of tools and grants, and nothing revoked.
#[tokio::test]
async fn items_of_the_eighth_schema_count_as_made_at_the_epoch() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    let old = items().map(|item| match item {
        Item::Agent(agent) => Item::Agent(Agent { revoked_before: SystemTime::UNIX_EPOCH, ..agent }),
        Item::Tool(tool) => Item::Tool(Tool { created_at: SystemTime::UNIX_EPOCH, ..tool }),
        Item::Grant(grant) => Item::Grant(Grant { created_at: SystemTime::UNIX_EPOCH, ..grant }),
    });
    store.commit_entries(1, old.clone().map(Change::Put).to_vec()).await.unwrap();
    drop(store);
    let bodies = Connection::open(database::path(dir.path())).unwrap();
    let body: String = bodies.query_row("SELECT body FROM item WHERE kind = 'tool'", [], |row| row.get(0)).unwrap();
    let Item::Tool(tool) = &old[2] else { panic!("it is a tool") };
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, serde_json::json!({ "tool": ToolDraft::from(&tool.spec) }));
    drop(bodies);
    edit(
        dir.path(),
        "ALTER TABLE entry DROP COLUMN sds_for; ALTER TABLE entry DROP COLUMN since_nanos; DELETE FROM meta WHERE key = 'entries_since_seconds'; \
         DROP TABLE revocation; PRAGMA user_version = 8;",
    );
    for _ in 0..2 {
        let (_store, loaded) = open(dir.path());
        assert_eq!((loaded.items, loaded.items_left_out), (old.to_vec(), 0));
        assert_eq!((loaded.revoked, loaded.revoked_left_out), (Vec::new(), 0));
    }
}

/// Of one that was changed once it is not known when.
#[tokio::test]
async fn entries_of_the_ninth_schema_are_the_same_since_they_came_or_since_the_migration() {
    let dir = Scratch::new();
    let (store, _) = open(dir.path());
    let old = |number, revision| Entry { revision, since: SystemTime::UNIX_EPOCH, ..entry(number) };
    store.commit_entries(1, [old(1, 1), old(2, 2)].map(Change::Create).to_vec()).await.unwrap();
    drop(store);
    edit(
        dir.path(),
        "ALTER TABLE entry DROP COLUMN sds_for; ALTER TABLE entry DROP COLUMN since_nanos; DELETE FROM meta WHERE key = 'entries_since_seconds'; \
         PRAGMA user_version = 9;",
    );
    let before = crate::sys::Clock::system().now();
    let first = sorted(open(dir.path()).1.entries);
    let after = crate::sys::Clock::system().now() + Duration::from_secs(1);
    assert_eq!(first[0], Entry { since: first[0].created_at, ..old(1, 1) });
    assert_eq!(first[1], Entry { since: first[1].since, ..old(2, 2) });
    assert!(
        before < first[1].since && first[1].since <= after,
        "all that was issued until then is of an earlier second"
    );
    // Later starts say the same, and so does what is written anew.
    let (store, again) = open(dir.path());
    assert_eq!(sorted(again.entries), first);
    let changed = first.iter().map(|entry| Change::Update(Entry { revision: 3, ..entry.clone() })).collect();
    store.commit_entries(2, changed).await.unwrap();
    drop(store);
    let kept = sorted(open(dir.path()).1.entries);
    assert_eq!(kept.iter().map(|entry| entry.since).collect::<Vec<_>>(), [first[0].since, first[1].since]);
}

#[tokio::test]
async fn a_revocation_that_is_not_as_it_was_written_is_left_out_and_counted() {
    for change in [
        "name = 'BwcHBwcHBwcHBwcHBwcHBw'",
        "until_nanos = until_nanos + 1",
        "until_nanos = 0",
        "at_nanos = 7",
        "sum = x'00'",
        "name = ''",
    ] {
        let dir = Scratch::new();
        let (store, _) = open(dir.path());
        let changes = revoked().map(Change::Revoke).to_vec();
        store.commit_entries(1, changes).await.unwrap();
        drop(store);
        edit(dir.path(), &format!("UPDATE revocation SET {change} WHERE kind = 'token'"));
        let (_store, loaded) = open(dir.path());
        assert_eq!((loaded.revoked, loaded.revoked_left_out), (vec![revoked()[1]], 1), "{change}");
    }
}

#[test]
fn whoever_asks_an_empty_database_for_the_checkpoint_hears_that_it_is_empty() {
    let dir = Scratch::new();
    fs::write(database::path(dir.path()), b"").unwrap();
    let error = database::read_only(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Empty { .. }), "{error}");
    Connection::open(database::path(dir.path())).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
    assert!(matches!(database::read_only(dir.path()).unwrap_err(), Error::NotOurs { .. }));
    database::read_only(used().path()).unwrap();
}

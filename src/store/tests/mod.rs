//! The database with real files.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod changes;
mod faults;
mod losses;
mod opening;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{writer::Writer, *};
use crate::{
    oauth::{Thumbprint, access::TokenId},
    registry::{
        Agent, AgentDraft, Change, Draft, Entry, EntryId, Grant, GrantDraft, Item, Revoked, RevokedId, State, Tool,
        ToolDraft,
    },
    spiffe::TrustDomain,
    sys::{files, scratch::Scratch},
};

fn domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn open(state: &Path) -> (Store, Loaded) {
    Store::open(state, &domain()).unwrap()
}

/// What the thread would own.
fn writer(state: &Path) -> Writer {
    Writer::of(database::open(state, &domain()).unwrap(), state, domain(), Arc::default()).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789)
}

/// An entry with everything in it.
fn entry(number: u32) -> Entry {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    let draft = Draft {
        spiffe_id: format!("spiffe://example.org/workload/{number}"),
        selectors: vec![format!("unix:uid:{number}"), "unix:path:/opt/a b\"c,d".to_owned()],
        x509_ttl_seconds: 3600,
        jwt_ttl_seconds: 300,
        wit_ttl_seconds: 240,
        dns_names: vec!["b.example.org".to_owned(), "a.example.org".to_owned()],
        certificate_profile: "database".to_owned(),
        common_name: "orders".to_owned(),
        hint: "the 'main' one; --".to_owned(),
        federates_with: vec!["other.test".to_owned()],
        sds_for: Vec::new(),
        admin: true,
        downstream: false,
        expires_at: 1_900_000_000,
        agent: "crew".to_owned(),
    };
    let spec = draft.check(&domain()).unwrap();
    Entry {
        id: EntryId::from_random(bytes),
        spec,
        revision: 1,
        created_at: at(u64::from(number)),
        since: at(u64::from(number) + 1),
    }
}

/// An agent with everything in it, a tool and a grant.
fn items() -> [Item; 3] {
    let agent = AgentDraft {
        name: "crew".to_owned(),
        owner: "payments".to_owned(),
        purpose: "reads; 'orders' --".to_owned(),
        environment: "production".to_owned(),
        data_class: "internal".to_owned(),
        review_by: 1_900_000_000,
    };
    let created_at = SystemTime::UNIX_EPOCH + Duration::from_micros(5);
    let spec = agent.check().unwrap();
    let revoked_before = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
    let agent = Agent { spec, state: State::Suspended, created_by: 1000, created_at, revoked_before, revision: 3 };
    let tool = ToolDraft {
        name: "shop".to_owned(),
        audience: "https://shop.example.org".to_owned(),
        base_urls: vec!["https://shop.example.org/api".to_owned()],
        scopes: vec![("orders".to_owned(), "read".to_owned())],
        routes: vec![("GET /*".to_owned(), "orders".to_owned())],
        encoded_slash: true,
        accepts: vec!["wit".to_owned()],
    };
    let tool = Tool { spec: tool.check().unwrap(), created_at, revision: 1 };
    let grant = GrantDraft {
        agent: "crew".to_owned(),
        tool: "shop".to_owned(),
        scopes: vec!["orders".to_owned()],
        datasets: vec!["eu".to_owned()],
        ttl_max_seconds: 60,
        rate_per_minute: 30,
    };
    let grant = Grant { spec: grant.check().unwrap(), created_at, revision: 2 };
    [Item::Agent(agent), Item::Grant(grant), Item::Tool(tool)]
}

/// A token and a key that were taken back.
fn revoked() -> [Revoked; 2] {
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(5);
    let token = RevokedId::Token(TokenId([3; 16]));
    let key = Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap();
    let until = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    [Revoked { id: token, at, until }, Revoked { id: RevokedId::Key(key), at, until: None }]
}

/// The bundle of a foreign trust domain. What is in it is for others.
fn bundle(name: &str, revision: u64) -> BundleRow {
    let document = format!("{{\"keys\":[{revision}]}}").into_bytes();
    BundleRow { trust_domain: TrustDomain::parse(name).unwrap(), document, revision, changed_at: at(revision) }
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|one, other| one.id.cmp(&other.id));
    entries
}

/// An authority whose key lies where it must.
fn authority(state: &Path, number: u8, kind: AuthorityKind, slot: AuthoritySlot) -> AuthorityRow {
    let id = format!("{number:032x}");
    files::create_private_dir(&keys::dir(state)).unwrap();
    files::write_private(&keys::dir(state).join(format!("{id}.key")), b"key").unwrap();
    AuthorityRow { id, kind, slot, algorithm: "p256".to_owned(), certificate: vec![number; 400], changed_at: at(1) }
}

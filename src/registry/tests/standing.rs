//! What a token rests on, and what was taken back.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::own;
use crate::oauth::{
    Scope, Thumbprint,
    access::{Claims, Subject, TokenId},
    foreign,
    verify::{Credential, Kind, Revocation},
};
use crate::registry::{
    Agent, AgentDraft, Catalog, Change, Draft, Entry, EntryId, Error, Grant, GrantDraft, Item, Revocations, Revoked,
    RevokedId, Snapshot, State, Tool, ToolDraft, next_second,
};
use crate::spiffe::Id;

const AUDIENCE: &str = "https://tickets.example.org";
const BEGIN: SystemTime = SystemTime::UNIX_EPOCH;

fn at(seconds: u64) -> SystemTime {
    BEGIN + Duration::from_secs(seconds)
}

/// When each of them came.
#[derive(Clone, Copy)]
struct Came {
    agent: SystemTime,
    tool: SystemTime,
    grant: SystemTime,
    entry: SystemTime,
    revoked_before: SystemTime,
}

const FIRST: Came = Came { agent: BEGIN, tool: BEGIN, grant: BEGIN, entry: BEGIN, revoked_before: BEGIN };

fn entry_of(spiffe_id: &str, agent: &str, created_at: SystemTime) -> Arc<Entry> {
    let draft = Draft {
        spiffe_id: spiffe_id.into(),
        selectors: vec!["unix:uid:1".into(), format!("unix:gid:{}", spiffe_id.len())],
        agent: agent.into(),
        ..Draft::default()
    };
    Arc::new(Entry {
        id: EntryId::from_random([9; 16]),
        spec: draft.check(&own()).unwrap(),
        revision: 1,
        created_at,
        since: created_at,
    })
}

/// The agent `crew`, which is granted this.
fn snapshot(came: Came, granted: &[&str], spiffe_id: &str) -> Snapshot {
    let draft = AgentDraft { name: "crew".into(), owner: "ops".into(), ..AgentDraft::default() };
    let (spec, state, revoked_before) = (draft.check().unwrap(), State::Active, came.revoked_before);
    let agent = Item::Agent(Agent { spec, state, created_by: 0, created_at: came.agent, revoked_before, revision: 1 });
    let scopes = ["read", "write"].map(|scope| (scope.to_owned(), scope.to_owned())).to_vec();
    let draft = ToolDraft { name: "tickets".into(), audience: AUDIENCE.into(), scopes, ..ToolDraft::default() };
    let tool = Item::Tool(Tool { spec: draft.check().unwrap(), created_at: came.tool, revision: 1 });
    let scopes: Vec<_> = granted.iter().map(|scope| (*scope).to_owned()).collect();
    let draft = GrantDraft { agent: "crew".into(), tool: "tickets".into(), scopes, ..GrantDraft::default() };
    let grant = draft.check().ok().map(|spec| Item::Grant(Grant { spec, created_at: came.grant, revision: 1 }));
    let catalog = Catalog::build([agent, tool].into_iter().chain(grant)).0;
    Snapshot::build(1, [entry_of(spiffe_id, "crew", came.entry)]).with_catalog(catalog)
}

fn whole(came: Came) -> Snapshot {
    snapshot(came, &["read", "write"], "spiffe://example.org/crew")
}

fn key() -> Thumbprint {
    Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap()
}

fn claims(issued_at: SystemTime) -> Claims {
    Claims {
        issuer: String::new(),
        subject: Subject::Agent(Id::parse("spiffe://example.org/crew").unwrap()),
        audience: AUDIENCE.into(),
        client: "crew".into(),
        scopes: ["read", "write"].map(|scope| Scope::parse(scope).unwrap()).into_iter().collect(),
        key: key(),
        session: None,
        token_id: TokenId([0; 16]),
        issued_at,
        expires_at: issued_at + Duration::from_secs(300),
    }
}

fn revocation(snapshot: &Snapshot, seconds: u64) -> Option<Revocation> {
    snapshot.revocation(&claims(at(seconds)))
}

fn token(number: u8, until: u64) -> Revoked {
    Revoked { id: RevokedId::Token(TokenId([number; 16])), at: BEGIN, until: Some(at(until)) }
}

#[test]
fn what_came_later_has_not_the_tokens_of_what_had_its_name_before() {
    let late = at(100) + Duration::from_millis(700);
    for (came, what) in [
        (Came { agent: late, ..FIRST }, Revocation::Agent),
        (Came { revoked_before: at(100), ..FIRST }, Revocation::Agent),
        (Came { tool: late, ..FIRST }, Revocation::Grant),
        (Came { grant: late, ..FIRST }, Revocation::Grant),
        (Came { entry: late, ..FIRST }, Revocation::Entry),
    ] {
        let snapshot = whole(came);
        for (issued_at, expected) in [(99, Some(what)), (100, None), (101, None)] {
            assert_eq!(revocation(&snapshot, issued_at), expected, "{what:?} {issued_at}");
        }
    }
}

/// Its issuer's clock may be ahead of ours: a token from before says that it was issued later.
#[test]
fn tokens_of_another_issuer_count_from_when_its_clock_cannot_be_ahead() {
    let late = at(100) + Duration::from_millis(700);
    let leeway = foreign::LEEWAY.as_secs();
    for (came, what) in [
        (Came { agent: late, ..FIRST }, Revocation::Agent),
        (Came { revoked_before: at(100), ..FIRST }, Revocation::Agent),
        (Came { entry: late, ..FIRST }, Revocation::Entry),
    ] {
        let snapshot = whole(came);
        for (kind, first) in [
            (Kind::Wit, 100),
            (Kind::JwtSvid, 100),
            (Kind::ForeignDpop, 100 + leeway),
            (Kind::ForeignMtls, 100 + leeway),
        ] {
            let revocation = |seconds| {
                let claims = claims(at(seconds));
                snapshot.revocation_of_other(&Credential::sample(kind, &claims))
            };
            assert_eq!((revocation(first - 1), revocation(first)), (Some(what), None), "{kind} {what:?}");
        }
    }
}

#[test]
fn a_scope_that_was_taken_from_the_grant_is_gone_from_tokens_that_are_out() {
    for (granted, expected) in
        [(&["read", "write"][..], None), (&["read"], Some(Revocation::Grant)), (&[], Some(Revocation::Grant))]
    {
        let snapshot = snapshot(FIRST, granted, "spiffe://example.org/crew");
        assert_eq!(revocation(&snapshot, 2), expected, "{granted:?}");
    }
}

#[test]
fn a_token_ends_with_the_entry_by_which_its_caller_was_the_agent() {
    let here = whole(FIRST);
    assert_eq!(revocation(&here, 2), None);
    let entry = here.entries().next().unwrap().clone();
    let gone = here.apply(2, &[Change::Delete(entry.id.clone())]).unwrap();
    assert_eq!(revocation(&gone, 2), Some(Revocation::Entry));
    // Another one like it, of nobody and of the agent.
    let other = |agent| Entry {
        id: EntryId::from_random([8; 16]),
        ..Entry::clone(&entry_of("spiffe://example.org/crew", agent, at(5)))
    };
    assert_eq!(revocation(&gone.apply(3, &[Change::Create(other(""))]).unwrap(), 9), Some(Revocation::Entry));
    let again = gone.apply(3, &[Change::Create(other("crew"))]).unwrap();
    assert_eq!((revocation(&again, 4), revocation(&again, 5)), (Some(Revocation::Entry), None));
    // The entry stays, and is no longer the agent's.
    let spec = entry_of("spiffe://example.org/crew", "", BEGIN).spec.clone();
    let moved = here.apply(2, &[Change::Update(Entry { spec, ..Entry::clone(&entry) })]).unwrap();
    assert_eq!(revocation(&moved, 2), Some(Revocation::Entry));
}

/// It has other selectors, say, and who had the old ones had these tokens.
#[test]
fn what_an_entry_gave_before_it_became_what_it_is_is_good_no_more() {
    for (says, id) in [
        ("spiffe://example.org/crew", "spiffe://example.org/crew"),
        ("spiffe://example.org/crew/{unix:user}", "spiffe://example.org/crew/ada"),
    ] {
        let entry = entry_of(says, "crew", at(5));
        let entry = Entry { since: at(100) + Duration::from_millis(3), ..Entry::clone(&entry) };
        let of = |snapshot: &Snapshot, seconds| {
            let subject = Subject::Agent(Id::parse(id).unwrap());
            snapshot.revocation(&Claims { subject, ..claims(at(seconds)) })
        };
        let here = snapshot(FIRST, &["read", "write"], says).apply(2, &[Change::Update(entry.clone())]).unwrap();
        assert_eq!((of(&here, 99), of(&here, 100)), (Some(Revocation::Entry), None), "{says}");
        assert_eq!(here.tokens_from(&entry), at(100));
        // Another one, with other selectors, that was there before, says the same.
        let spec = entry_of(&format!("{says}/x"), "crew", BEGIN).spec.clone();
        let spec = crate::registry::Spec { spiffe_id: entry.spec.spiffe_id.clone(), ..spec };
        let other = Entry { id: EntryId::from_random([8; 16]), spec, since: at(7), ..entry };
        let both = here.apply(3, &[Change::Create(other.clone())]).unwrap();
        assert_eq!((of(&both, 6), of(&both, 7)), (Some(Revocation::Entry), None), "{says}");
        let gone = both.apply(4, &[Change::Delete(other.id)]).unwrap();
        assert_eq!((of(&gone, 99), of(&gone, 100)), (Some(Revocation::Entry), None), "{says}");
    }
    let none = entry_of("spiffe://example.org/crew", "", at(5));
    assert_eq!(whole(FIRST).tokens_from(&none), BEGIN, "nothing is waited for");
}

#[test]
fn a_template_makes_agents_of_all_that_it_could_give() {
    let claims = |id: &str| Claims { subject: Subject::Agent(Id::parse(id).unwrap()), ..claims(at(2)) };
    let snapshot = snapshot(FIRST, &["read", "write"], "spiffe://example.org/user/{unix:user}");
    for (id, expected) in [
        ("spiffe://example.org/user/ada", None),
        ("spiffe://example.org/user/ada/x", Some(Revocation::Entry)),
        ("spiffe://example.org/user", Some(Revocation::Entry)),
        ("spiffe://example.org/group/ada", Some(Revocation::Entry)),
        ("spiffe://other.org/user/ada", Some(Revocation::Entry)),
    ] {
        assert_eq!(snapshot.revocation(&claims(id)), expected, "{id}");
    }
    let entry = snapshot.entries().next().unwrap().id.clone();
    let gone = snapshot.apply(2, &[Change::Delete(entry)]).unwrap();
    assert_eq!(gone.revocation(&claims("spiffe://example.org/user/ada")), Some(Revocation::Entry));
}

#[test]
fn a_token_and_a_key_are_taken_back_each_for_itself() {
    let here = whole(FIRST);
    let revoke = |revoked| here.apply(2, &[Change::Revoke(revoked)]).unwrap();
    assert_eq!(revocation(&revoke(token(1, 9)), 2), None, "another one");
    assert_eq!(revocation(&revoke(token(0, 9)), 2), Some(Revocation::Token));
    let by_key = revoke(Revoked { id: RevokedId::Key(key()), at: BEGIN, until: None });
    assert_eq!((revocation(&by_key, 2), revocation(&by_key, 900)), (Some(Revocation::Key), Some(Revocation::Key)));
    let restored = by_key.apply(3, &[Change::Restore(RevokedId::Key(key()))]).unwrap();
    assert_eq!(revocation(&restored, 2), None);
    let error = restored.apply(4, &[Change::Restore(RevokedId::Key(key()))]).unwrap_err();
    assert_eq!(error.to_string(), format!("the key {} is not revoked", key()));
}

/// Filing everything anew, which is done now and then, forgets nothing of it.
#[test]
fn a_revocation_outlives_a_new_filing() {
    let here = whole(FIRST).apply(2, &[Change::Revoke(token(0, 9))]).unwrap();
    let entry = |number: u32| {
        let spec = entry_of(&format!("spiffe://example.org/{number}"), "", BEGIN).spec.clone();
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Change::Create(Entry { id: EntryId::from_random(id), spec, revision: 1, created_at: BEGIN, since: BEGIN })
    };
    let many = here.apply(3, &(0..5_000).map(entry).collect::<Vec<_>>()).unwrap();
    assert_eq!(revocation(&many, 2), Some(Revocation::Token));
    let none = whole(FIRST).apply(3, &(0..5_000).map(entry).collect::<Vec<_>>()).unwrap();
    assert_eq!(revocation(&none, 2), None, "its entry is known yet");
}

#[test]
fn where_revocations_were_lost_nothing_from_before_counts() {
    let lost = whole(FIRST).with_revocations(Revocations::default().not_known_before(at(50)));
    assert_eq!((revocation(&lost, 49), revocation(&lost, 50)), (Some(Revocation::Token), None));
}

/// SVIDs, and tokens of other issuers as far as they have such.
#[test]
fn what_is_taken_back_is_taken_back_of_other_credentials_too() {
    let here = whole(FIRST);
    let revocation =
        |snapshot: &Snapshot, kind| snapshot.revocation_of_other(&Credential::sample(kind, &claims(at(200))));
    let by_id = here.apply(2, &[Change::Revoke(token(0, 900))]).unwrap();
    let by_key = Revoked { id: RevokedId::Key(key()), at: BEGIN, until: None };
    let by_key = here.apply(2, &[Change::Revoke(by_key)]).unwrap();
    let lost = whole(FIRST).with_revocations(Revocations::of([]).not_known_before(at(201)));
    let entry = here.entries().next().unwrap().id.clone();
    let gone = here.apply(2, &[Change::Delete(entry)]).unwrap();
    let suspended_since = whole(Came { revoked_before: at(201), ..FIRST });
    let (id, key) = (Some(Revocation::Token), Some(Revocation::Key));
    for (kind, of_id, of_key) in [
        (Kind::Wit, id, key),
        (Kind::JwtSvid, None, None),
        (Kind::ForeignDpop, None, key),
        (Kind::ForeignMtls, None, None),
    ] {
        assert_eq!(revocation(&here, kind), None, "{kind}");
        assert_eq!((revocation(&by_id, kind), revocation(&by_key, kind)), (of_id, of_key), "{kind}");
        assert_eq!(revocation(&lost, kind), Some(Revocation::Token), "{kind}");
        assert_eq!(revocation(&suspended_since, kind), Some(Revocation::Agent), "{kind}");
        assert_eq!(revocation(&gone, kind), Some(Revocation::Entry), "{kind}");
    }
}

#[test]
fn an_ended_token_is_forgotten_an_hour_later() {
    let all = Revocations::of([token(1, 100), token(2, 200), Revoked { until: None, ..token(3, 0) }]);
    let ended = |seconds| all.ended(at(seconds));
    assert_eq!(ended(3_699), []);
    assert_eq!(ended(3_700), [RevokedId::Token(TokenId([1; 16]))]);
    assert_eq!(ended(3_800).len(), 2, "what has no end stays");
    let many = Revocations::of((0..3_000).map(|number: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Revoked { id: RevokedId::Token(TokenId(id)), ..token(0, 1) }
    }));
    assert_eq!(many.ended(at(9_000)).len(), 1_000, "one change has an end");
}

#[test]
fn there_are_never_more_revocations_than_the_most() {
    let number = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
    let tokens = |count: usize| {
        (0..count).map(move |at| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number(at));
            Revoked { id: RevokedId::Token(TokenId(id)), ..token(0, 9) }
        })
    };
    let keys = |count: usize| {
        (0..count).map(move |at| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number(at));
            let key = Thumbprint::parse(&crate::spiffe::jose::encode(&hash)).unwrap();
            Revoked { id: RevokedId::Key(key), at: BEGIN, until: None }
        })
    };
    let full = Revocations::of(tokens(Revocations::TOKENS_MAX).chain(keys(Revocations::KEYS_MAX)));
    let here = whole(FIRST).with_revocations(full);
    for (one_more, words) in [
        (
            tokens(Revocations::TOKENS_MAX + 1).next_back().unwrap(),
            "there would be more than 100000 revoked tokens, which is the most",
        ),
        (
            keys(Revocations::KEYS_MAX + 1).next_back().unwrap(),
            "there would be more than 100000 revoked keys, which is the most",
        ),
    ] {
        let error = here.apply(2, &[Change::Revoke(one_more)]).unwrap_err();
        assert!(matches!(error, Error::TooMany { .. }));
        assert_eq!(error.to_string(), words);
    }
    // What is there already is no more than before, and what goes makes room.
    let (again, key) = (tokens(1).next().unwrap(), keys(Revocations::KEYS_MAX + 1).next_back().unwrap());
    here.apply(2, &[Change::Revoke(again)]).unwrap();
    here.apply(2, &[Change::Revoke(key), Change::Restore(keys(1).next().unwrap().id)]).unwrap();
}

#[test]
fn the_next_second_is_later_than_every_time_in_this_one() {
    assert_eq!(next_second(at(7)), at(8));
    assert_eq!(next_second(at(7) + Duration::from_nanos(999_999_999)), at(8));
}

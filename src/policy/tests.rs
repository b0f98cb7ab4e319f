//! What is permitted, and what is refused with which reasons.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::{Duration, SystemTime};

use super::{Credential, Judgement, Lifetimes, Permit, Reason, Request, Rules, judge};
use crate::{
    registry::{Draft, Entry, EntryId, Why, Withheld, grant},
    spiffe::TrustDomain,
};

const HOUR: Duration = Duration::from_secs(3600);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn rules() -> Rules {
    let short = Lifetimes { default: HOUR / 12, max: HOUR };
    Rules {
        trust_domain: domain("example.org"),
        x509: Lifetimes { default: HOUR, max: 24 * HOUR },
        jwt: short,
        wit: short,
    }
}

fn entry(change: impl FnOnce(&mut Draft)) -> Entry {
    let mut draft = Draft {
        spiffe_id: "spiffe://example.org/web".into(),
        selectors: vec!["unix:uid:1".into()],
        dns_names: vec!["web.example.org".into()],
        ..Draft::default()
    };
    change(&mut draft);
    let spec = draft.check(&domain("example.org")).unwrap();
    Entry {
        id: EntryId::from_random([1; 16]),
        spec,
        revision: 1,
        created_at: SystemTime::UNIX_EPOCH,
        since: SystemTime::UNIX_EPOCH,
    }
}

fn permitted(entry: &Entry, rules: &Rules) -> Permit {
    match judge(&Request { entry: &grant(entry), credential: Credential::X509 }, rules, now()) {
        Judgement::Permit(permit) => permit,
        Judgement::Refuse(reasons) => panic!("refused: {reasons:?}"),
    }
}

fn refused(entry: &Entry, rules: &Rules) -> Vec<Reason> {
    match judge(&Request { entry: &grant(entry), credential: Credential::X509 }, rules, now()) {
        Judgement::Permit(permit) => panic!("permitted: {permit:?}"),
        Judgement::Refuse(reasons) => reasons,
    }
}

/// Unix time of so many seconds from now.
fn in_seconds(seconds: u64) -> u64 {
    1_800_000_000 + seconds
}

#[test]
fn a_permit_carries_what_the_entry_says() {
    let entry = entry(|_| {});
    let permit = permitted(&entry, &rules());
    assert_eq!(permit.id().as_str(), entry.spec.spiffe_id.as_str());
    assert_eq!(permit.dns_names(), ["web.example.org"]);
    assert_eq!((permit.ttl(), permit.expires_at()), (HOUR, None));
}

#[test]
fn the_lifetime_is_the_entrys_or_the_default_under_the_cap() {
    let ttl = |seconds: u64, rules: &Rules| permitted(&entry(|it| it.x509_ttl_seconds = seconds), rules).ttl();
    assert_eq!(ttl(0, &rules()), HOUR);
    assert_eq!(ttl(600, &rules()), Duration::from_secs(600));
    assert_eq!(ttl(86_400, &rules()), 24 * HOUR);
    assert_eq!(ttl(86_401, &rules()), 24 * HOUR);
    // The cap holds for the default as well.
    let strict = Rules { x509: Lifetimes { max: Duration::from_secs(300), ..rules().x509 }, ..rules() };
    assert_eq!(ttl(0, &strict), Duration::from_secs(300));
    // Certificates count in whole seconds.
    let odd = Rules { x509: Lifetimes { default: Duration::from_millis(2900), ..rules().x509 }, ..rules() };
    assert_eq!(ttl(0, &odd), Duration::from_secs(2));
}

#[test]
fn each_kind_of_credential_has_its_own_lifetime() {
    let entry = entry(|it| (it.x509_ttl_seconds, it.jwt_ttl_seconds, it.wit_ttl_seconds) = (60, 61, 62));
    let ttl = |credential| match judge(&Request { entry: &grant(&entry), credential }, &rules(), now()) {
        Judgement::Permit(permit) => permit.ttl().as_secs(),
        Judgement::Refuse(reasons) => panic!("refused: {reasons:?}"),
    };
    assert_eq!([Credential::X509, Credential::Jwt, Credential::Wit].map(ttl), [60, 61, 62]);
}

#[test]
fn nothing_outlives_its_entry() {
    let ending = |seconds: u64| entry(|it| it.expires_at = in_seconds(seconds));
    let permit = permitted(&ending(600), &rules());
    assert_eq!(permit.ttl(), Duration::from_secs(600));
    assert_eq!(permit.expires_at(), Some(now() + Duration::from_secs(600)));
    assert_eq!(permitted(&ending(7200), &rules()).ttl(), HOUR);
    assert_eq!(permitted(&ending(1), &rules()).ttl(), Duration::from_secs(1));
}

#[test]
fn an_entry_that_has_ended_gives_nothing() {
    for seconds in [0, 1, 1_000_000] {
        let since = now() - Duration::from_secs(seconds);
        let mut entry = entry(|_| {});
        entry.spec.expires_at = Some(since);
        assert_eq!(refused(&entry, &rules()), [Reason::EntryExpired { entry: entry.id.clone(), since }]);
    }
    // Less than a second before its end there is no whole second left to give.
    let mut entry = entry(|_| {});
    let left = Duration::from_millis(999);
    entry.spec.expires_at = Some(now() + left);
    assert_eq!(refused(&entry, &rules()), [Reason::NoLifetime { entry: entry.id.clone(), left }]);
}

#[test]
fn identities_of_other_trust_domains_are_refused_here_too() {
    let entry = entry(|_| {});
    for own in ["other.test", "example.or", "example.org.x"] {
        let rules = Rules { trust_domain: domain(own), ..rules() };
        let named = domain("example.org");
        assert_eq!(refused(&entry, &rules), [Reason::ForeignTrustDomain { entry: entry.id.clone(), named }], "{own}");
    }
}

#[test]
fn all_reasons_are_told() {
    let mut entry = entry(|_| {});
    entry.spec.expires_at = Some(now());
    let foreign = Rules { trust_domain: domain("other.test"), ..rules() };
    let codes: Vec<_> = refused(&entry, &foreign).iter().map(Reason::code).collect();
    assert_eq!(codes, ["foreign_trust_domain", "entry_expired"]);
}

#[test]
fn rules_that_leave_no_life_permit_nothing() {
    let none = Rules { x509: Lifetimes { max: Duration::ZERO, ..rules().x509 }, ..rules() };
    let codes: Vec<_> = refused(&entry(|_| {}), &none).iter().map(Reason::code).collect();
    assert_eq!(codes, ["no_lifetime"]);
}

#[test]
fn reasons_have_stable_codes_and_sentences() {
    let id = EntryId::from_random([0; 16]);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    let withheld = Withheld { entry: id.clone(), why: Why::Expired { since: at } };
    let rows = [
        (Reason::NoEntry, "no_entry", "no entry's selectors are all the caller's"),
        (
            Reason::Withheld(withheld),
            "entry_expired",
            "the entry 00000000-0000-4000-8000-000000000000 has expired (at Unix time 5)",
        ),
        (
            Reason::EntryExpired { entry: id.clone(), since: at },
            "entry_expired",
            "the entry 00000000-0000-4000-8000-000000000000 has expired (at Unix time 5)",
        ),
        (
            Reason::ForeignTrustDomain { entry: id.clone(), named: domain("a") },
            "foreign_trust_domain",
            "the entry 00000000-0000-4000-8000-000000000000 names the trust domain a, which is not this daemon's",
        ),
        (
            Reason::NoLifetime { entry: id, left: Duration::from_millis(7) },
            "no_lifetime",
            "the rules leave 7 ms of life to the entry 00000000-0000-4000-8000-000000000000",
        ),
    ];
    for (reason, code, words) in rows {
        assert_eq!((reason.code(), reason.to_string().as_str()), (code, words));
    }
}

/// With `Clone` on a type two of these would fit where `<T as NotCloned<_>>` is asked for, and that would not compile.
pub(super) trait NotCloned<Marker> {
    fn holds() -> bool {
        true
    }
}

pub(super) struct Cloned;

impl<T> NotCloned<()> for T {}

impl<T: Clone> NotCloned<Cloned> for T {}

#[test]
fn a_permit_cannot_be_copied() {
    assert!(<Permit as NotCloned<_>>::holds());
}

//! Everything that can be wrong with an entry.

use std::time::{Duration, SystemTime};

use super::{draft, id, own, spec};
use crate::registry::{Draft, EntryId, Error, Label, Profile, draft::Problem, selector::SelectorError};
use crate::spiffe::{Id, IdError, TrustDomain};

fn problems(draft: Draft) -> Vec<Problem> {
    draft.check(&own()).expect_err("the draft is good").iter().cloned().collect()
}

fn with(change: impl FnOnce(&mut Draft)) -> Draft {
    let mut draft = draft("a", &["unix:uid:1"]);
    change(&mut draft);
    draft
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_good_draft_becomes_what_it_says() {
    let full = Draft {
        spiffe_id: "spiffe://example.org/ns/web".into(),
        selectors: texts(&["unix:uid:1000", "unix:gid:7"]),
        x509_ttl_seconds: 600,
        jwt_ttl_seconds: 0,
        wit_ttl_seconds: 90,
        dns_names: texts(&["web.example.org", "*.web.example.org", "localhost", "x-1.2a"]),
        certificate_profile: "database".into(),
        common_name: "orders".into(),
        hint: "internal".into(),
        federates_with: texts(&["spiffe://other.test", "b.test"]),
        sds_for: texts(&["spiffe://example.org/web", "spiffe://example.org/db"]),
        admin: true,
        downstream: false,
        expires_at: 4_000_000_000,
        agent: "crew".into(),
    };
    let spec = full.clone().check(&own()).unwrap();
    assert_eq!(spec.spiffe_id.as_str(), "spiffe://example.org/ns/web");
    assert_eq!(spec.selectors.iter().map(ToString::to_string).collect::<Vec<_>>(), ["unix:gid:7", "unix:uid:1000"]);
    assert_eq!((spec.x509_ttl, spec.jwt_ttl), (Some(Duration::from_secs(600)), None));
    assert_eq!(spec.wit_ttl, Some(Duration::from_secs(90)));
    assert_eq!(spec.dns_names, full.dns_names);
    assert_eq!(spec.profile, Profile::Database("orders".into()));
    assert_eq!(spec.federates_with.iter().map(TrustDomain::as_str).collect::<Vec<_>>(), ["b.test", "other.test"]);
    assert_eq!(spec.sds_for.iter().map(Id::path).collect::<Vec<_>>(), ["/db", "/web"]);
    assert_eq!((spec.admin, spec.downstream), (true, false));
    assert_eq!(spec.expires_at, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)));
    assert_eq!(spec.agent.as_ref().map(Label::as_str), Some("crew"));
    // And back
    assert_eq!(Draft::from(&spec).check(&own()), Ok(spec));
}

#[test]
fn two_values_of_what_a_process_has_one_of_match_nobody() {
    let path = |name: &str| format!("unix:path:/bin/{name}");
    for two in [["unix:uid:1", "unix:uid:2"], ["unix:user:a", "unix:user:b"], [&path("a"), &path("b")]] {
        let draft = with(|draft| draft.selectors = texts(&[two[1], "unix:gid:1", two[0]]));
        // One that was kept goes on as it is.
        draft.clone().check(&own()).unwrap();
        let found: Vec<_> = draft.check_new(&own()).unwrap_err().iter().cloned().collect();
        let name = two[0].rsplit_once(':').unwrap().0.to_owned();
        assert_eq!(found, [Problem::Never { name, one: two[0].to_owned() }]);
    }
    for many in [
        ["unix:supplementary_gid:1", "unix:supplementary_gid:2", "unix:gid:3"],
        ["unix:supplementary_group:a", "unix:supplementary_group:b", "unix:group:c"],
        ["docker:label:a:1", "docker:label:b:1", "docker:image_id:x"],
    ] {
        with(|draft| draft.selectors = texts(&many)).check_new(&own()).unwrap();
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_fields() {
    let bad = Draft {
        spiffe_id: "spiffe://example.org/".into(),
        selectors: texts(&["unix:udi:1", "unix:uid:1", "unix:uid:1", "nonsense"]),
        x509_ttl_seconds: 1,
        jwt_ttl_seconds: u64::MAX,
        wit_ttl_seconds: 1,
        dns_names: texts(&["Web.example.org", "a", "a"]),
        certificate_profile: "spiffe".into(),
        common_name: "a".into(),
        hint: "ü".repeat(513),
        federates_with: texts(&["example.org", "other.test", "other.test", "Other.test"]),
        sds_for: texts(&[
            "spiffe://example.org",
            "spiffe://other.test/a",
            "spiffe://example.org/a",
            "spiffe://example.org/a",
        ]),
        admin: false,
        downstream: false,
        expires_at: u64::MAX,
        agent: "Crew".into(),
    };
    let told = bad.check(&own()).unwrap_err().to_string();
    let wanted = "the SPIFFE ID `spiffe://example.org/` is not valid: it ends with a slash
the selector `unix:udi:1` is not valid: unix has no selector `udi`, did you mean `unix:uid`?
the selector `unix:uid:1` is there twice
the selector `nonsense` is not valid: it has no colon, selectors are written as `unix:uid:1000`
the x509 ttl of 1 s is out of range: 2 to 31622400 s, or 0 for the default
the jwt ttl of 18446744073709551615 s is out of range: 2 to 31622400 s, or 0 for the default
the wit ttl of 1 s is out of range: 2 to 31622400 s, or 0 for the default
the DNS name `Web.example.org` is not valid: it must be in lower case
the DNS name `a` is there twice
the certificate profile is not valid: a common name can be chosen with the profile `database` only
the hint has 1026 bytes, at most 1024 are allowed
it federates with example.org, which is this daemon's own trust domain
the trust domain other.test to federate with is there twice
the trust domain `Other.test` to federate with is not valid: the trust domain name has an upper-case letter, it must be lower case
the SPIFFE ID `spiffe://example.org` to act for is not valid: the path is missing: this names a trust domain, not a workload
the SPIFFE ID `spiffe://other.test/a` is not in this daemon's trust domain example.org
the identity spiffe://example.org/a to act for is there twice
the end 18446744073709551615 is later than the year 9999
the agent name `Crew` is not valid: it has `C`, only a-z 0-9 - are allowed";
    assert_eq!(told, wanted);
}

#[test]
fn the_identity_must_be_a_workloads_of_this_trust_domain() {
    let id = |id: &str| problems(with(|it| it.spiffe_id = id.into()));
    let refused = |id: &str, reason| vec![Problem::SpiffeId { id: id.into(), reason }];
    assert_eq!(id(""), refused("", IdError::Empty));
    assert_eq!(id("spiffe://example.org"), refused("spiffe://example.org", IdError::PathMissing));
    assert_eq!(id("spiffe://Example.org/a"), refused("spiffe://Example.org/a", IdError::TrustDomainUpperCase));
    for foreign in ["spiffe://other.test/a", "spiffe://example.org.evil/a", "spiffe://sub.example.org/a"] {
        assert_eq!(id(foreign), [Problem::ForeignTrustDomain { id: foreign.into(), own: own() }]);
    }
    // What comes back is short and has no line break.
    let long = problems(with(|it| it.spiffe_id = "x\n".repeat(10_000)))[0].to_string();
    assert!(long.len() < 500 && !long.contains('\n'), "{long}");
}

#[test]
fn an_entry_without_selectors_would_match_everybody() {
    assert_eq!(problems(with(|it| it.selectors.clear())), [Problem::NoSelectors]);
    let empty = SelectorError::Empty;
    assert_eq!(
        problems(with(|it| it.selectors = texts(&[""]))),
        [Problem::Selector { selector: String::new(), reason: empty }]
    );
}

#[test]
fn lists_have_limits() {
    let selectors = |n: usize| with(|it| it.selectors = (0..n).map(|n| format!("unix:uid:{n}")).collect());
    assert!(selectors(Draft::SELECTORS_MAX).check(&own()).is_ok());
    assert_eq!(problems(selectors(65)), [Problem::TooManySelectors(65)]);
    let names = |n: usize| with(|it| it.dns_names = (0..n).map(|n| format!("n{n}")).collect());
    assert!(names(Draft::DNS_NAMES_MAX).check(&own()).is_ok());
    assert_eq!(problems(names(65)), [Problem::TooManyDnsNames(65)]);
    let federates = |n: usize| with(|it| it.federates_with = (0..n).map(|n| format!("n{n}")).collect());
    assert!(federates(Draft::FEDERATES_MAX).check(&own()).is_ok());
    assert_eq!(problems(federates(65)), [Problem::TooManyFederates(65)]);
    let acting = |n: usize| with(|it| it.sds_for = (0..n).map(|n| format!("spiffe://example.org/{n}")).collect());
    assert!(acting(Draft::SDS_FOR_MAX).check(&own()).is_ok());
    assert_eq!(problems(acting(65)), [Problem::TooManySdsFor(65)]);
}

#[test]
fn hints_are_counted_in_bytes() {
    let hint = |text: String| with(|it| it.hint = text);
    assert!(hint("ü".repeat(512)).check(&own()).is_ok());
    assert!(hint("a".repeat(1024)).check(&own()).is_ok());
    assert_eq!(problems(hint("a".repeat(1025))), [Problem::HintTooLong(1025)]);
}

#[test]
fn lifetimes_and_ends_have_a_range() {
    for seconds in [0, Draft::TTL_SECONDS_MIN, Draft::TTL_SECONDS_MAX] {
        assert!(with(|it| (it.x509_ttl_seconds, it.jwt_ttl_seconds) = (seconds, seconds)).check(&own()).is_ok());
        assert!(with(|it| it.wit_ttl_seconds = seconds).check(&own()).is_ok());
    }
    for seconds in [1, Draft::TTL_SECONDS_MAX + 1] {
        assert_eq!(problems(with(|it| it.x509_ttl_seconds = seconds)), [Problem::Ttl { kind: "x509", seconds }]);
        assert_eq!(problems(with(|it| it.jwt_ttl_seconds = seconds)), [Problem::Ttl { kind: "jwt", seconds }]);
        assert_eq!(problems(with(|it| it.wit_ttl_seconds = seconds)), [Problem::Ttl { kind: "wit", seconds }]);
    }
    assert!(with(|it| it.expires_at = Draft::EXPIRES_AT_MAX).check(&own()).is_ok());
    assert_eq!(problems(with(|it| it.expires_at = Draft::EXPIRES_AT_MAX + 1)).len(), 1);
}

#[test]
fn dns_names_are_host_names() {
    let label = "a".repeat(63);
    let longest = [label.as_str(), &label, &label, &label[..61]].join(".");
    for name in ["a", "a-b.c", "1.a", "*.a", "xn--exmple-cua.org", &longest] {
        assert!(with(|it| it.dns_names = texts(&[name])).check(&own()).is_ok(), "{name}");
    }
    let bad = [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "*",
        "*.",
        "a.*",
        "*a.b",
        "*.*.a",
        "-a",
        "a-",
        "a b",
        "a_b",
        "ä",
        "a/b",
        "a:1",
        "127.0.0.1",
        "1",
        "A",
        &format!("{label}a"),
        &format!("{longest}a"),
    ];
    for name in bad {
        let told = problems(with(|it| it.dns_names = texts(&[name])));
        assert!(matches!(told.as_slice(), [Problem::DnsName { .. }]), "{name:?}: {told:?}");
    }
}

#[test]
fn an_id_is_a_uuid_in_its_one_form() {
    let text = EntryId::from_random([0xff; 16]).to_string();
    assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_eq!(EntryId::from_random([0; 16]).to_string(), "00000000-0000-4000-8000-000000000000");
    assert_eq!(text.parse::<EntryId>().unwrap().to_string(), text);
    let wrong = [
        "",
        "ffffffffffff4fffbfffffffffffffff",
        "FFFFFFFF-ffff-4fff-bfff-ffffffffffff",
        "ffffffff-ffff-4fff-bfff-fffffffffff",
        "ffffffff-ffff-4fff-bfff-fffffffffffff",
        "fffffff-fffff-4fff-bfff-ffffffffffff",
        "{fffffff-ffff-4fff-bfff-ffffffffffff",
        "gfffffff-ffff-4fff-bfff-ffffffffffff",
        "ffffffff-ffff-4fff-bfff-ffffffffff-f",
        "ääffffff-ffff-4fff-bfff-ffffffffff",
    ];
    for text in wrong {
        assert_eq!(text.parse::<EntryId>(), Err(Error::EntryId(text.into())));
    }
    assert!(id(1) < id(2));
}

#[test]
fn an_entry_ends_at_its_end() {
    let mut spec = spec("a", &["unix:uid:1"]);
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
    spec.expires_at = Some(end);
    let entry = super::Entry { spec, ..super::entry(1, "a", &["unix:uid:1"]) };
    assert!(!entry.is_expired(end - Duration::from_nanos(1)));
    assert!(entry.is_expired(end));
}

//! SPIFFE IDs at the door, and the longest one through everything.

use super::{
    common::{
        h2raw::{INVALID_ARGUMENT, PERMISSION_DENIED},
        messages::{ToValidate, Validated, WitOrder, WitSvids},
        own_uid,
    },
    rows::Rows,
    subject::Subject,
    tokens::{fetch, one},
    x509,
};

/// What is no workload's ID, by the rows of ADV-ID.
const REFUSED: &[(u8, &str)] = &[
    (2, "spiffe://"),
    (3, "spiffe:///a"),
    (4, "spiffe:example.org/a"),
    (5, "spiffe:/example.org/a"),
    (6, "http://example.org/a"),
    (6, "example.org/a"),
    (7, "SPIFFE://example.org/a"),
    (8, "spiffe://Example.org/a"),
    (10, "spiffe://example.org/"),
    (11, "spiffe://example.org//"),
    (12, "spiffe://example.org/a/"),
    (13, "spiffe://example.org//a"),
    (14, "spiffe://example.org/a//b"),
    (15, "spiffe://example.org/."),
    (16, "spiffe://example.org/.."),
    (17, "spiffe://example.org/a/../b"),
    (18, "spiffe://example.org/a/./b"),
    (21, "spiffe://example.org/%61"),
    (22, "spiffe://example.org/%2e%2e/b"),
    (23, "spiffe://example.org/a%2Fb"),
    (24, "spiffe://ex%61mple.org/a"),
    (25, "spiffe://example.org/a?"),
    (26, "spiffe://example.org/a?b=c"),
    (27, "spiffe://example.org/a#"),
    (28, "spiffe://example.org/a#b"),
    (29, "spiffe://example.org?x"),
    (30, "spiffe://example.org:443/a"),
    (31, "spiffe://example.org:/a"),
    (32, "spiffe://user@example.org/a"),
    (33, "spiffe://@example.org/a"),
    (34, "spiffe://user:pw@example.org/a"),
    (35, "spiffe://[::1]/a"),
    (40, "spiffe://exämple.org/a"),
    (42, "spiffe://example.org/ä"),
    (43, "spiffe://example.org/a b"),
    (44, " spiffe://example.org/a"),
    (44, "spiffe://example.org/a\n"),
    (45, "spiffe://example.org/a\tb"),
    (46, "spiffe://example.org/a\0"),
    (47, "spiffe://example.org\\a"),
    (48, "spiffe://example.org/a~b"),
    (48, "spiffe://example.org/a:b"),
    (48, "spiffe://example.org/a+b"),
    (56, "spiffe://example.org/a,spiffe://example.org/b"),
    (58, "spiffe://example.org/%"),
    (59, "spiffe ://example.org/a"),
    (60, "spiffe://spiffe://example.org/a"),
];

/// What is one, though nobody here is entitled to it.
const ACCEPTED: &[(u8, &str)] = &[
    (9, "spiffe://example.org/A"),
    (19, "spiffe://example.org/..."),
    (20, "spiffe://example.org/.hidden"),
    (36, "spiffe://127.0.0.1/a"),
    (37, "spiffe://999.999.999.999/a"),
    (38, "spiffe://-/a"),
    (39, "spiffe://a..b/a"),
    (41, "spiffe://xn--exmple-cua.org/a"),
];

/// WAPI-64, WAPI-09, ADV-RPC-11, SID-01, SID-02, SID-03, SID-04, SID-05, SID-07, SID-08, SID-09, SID-11, SID-12, SID-13, SID-14,
/// SID-20, SID-21, CLI-32.
#[test]
fn an_id_that_is_none_is_told_from_one_that_is_not_ours() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("an_id_that_is_none_is_told_from_one_that_is_not_ours", &subject);
    let ask = |id: &str| fetch(&subject, &["a"], id).map_or_else(|answer| answer.code(), |_| Some(0));
    for (row, id) in REFUSED {
        rows.must(format!("ADV-ID-{row:02}"), ask(id) == Some(INVALID_ARGUMENT), (id, ask(id)));
    }
    for (row, id) in ACCEPTED {
        rows.must(format!("ADV-ID-{row:02}"), ask(id) == Some(PERMISSION_DENIED), (id, ask(id)));
    }
    let named = |length: usize| format!("spiffe://{}/a", "n".repeat(length));
    let long = |length: usize| format!("spiffe://example.org/{}", "a".repeat(length - "spiffe://example.org/".len()));
    rows.equal("ADV-ID-49", ask(&named(255)), Some(PERMISSION_DENIED));
    rows.equal("ADV-ID-50", ask(&named(256)), Some(INVALID_ARGUMENT));
    rows.equal("ADV-ID-51", ask(&long(2_048)), Some(PERMISSION_DENIED));
    rows.equal("ADV-ID-52", ask(&long(2_049)), Some(INVALID_ARGUMENT));
    rows.equal("ADV-ID-54", ask("spiffe://example.org"), Some(INVALID_ARGUMENT));
    rows.settle();
}

/// SID-16, SID-17, SID-20, SID-25, XLEAF-03, XLEAF-15: the longest ID goes through everything, and no longer one is registered.
#[test]
fn the_longest_id_is_served_whole_everywhere() {
    let Some(subject) = Subject::configured("[wit]\nenabled = true\n", &[]) else { return };
    let daemon = subject.ours().unwrap();
    let id = format!("spiffe://example.org/{}", "a".repeat(2_048 - "spiffe://example.org/".len()));
    for refused in [&format!("{id}a"), "spiffe://example.org", "spiffe://other.test/a", "spiffe://Example.org/a"] {
        let output = daemon.try_cli(&["entry", "add", refused, "-s", &own_uid()]);
        assert!(!output.status.success(), "{refused:.60} is registered");
    }
    daemon.entry(&id, &[&own_uid()], &[]);
    let svid = x509::fetch(&subject).remove(0);
    assert_eq!((&svid.spiffe_id, &x509::uris(&x509::split(&svid.chain)[0])), (&id, &vec![id.clone()]));
    let tokens = fetch(&subject, &["a"], &id).unwrap();
    assert_eq!(tokens[0].spiffe_id, id);
    let judged = ToValidate { audience: "a".into(), svid: one(&subject, &["a"]) };
    assert_eq!(subject.ask::<Validated>("ValidateJWTSVID", &judged).unwrap().spiffe_id, id);
    let wit: WitSvids = subject.first("FetchWITSVID", &WitOrder { spiffe_id: id.clone() }).unwrap();
    assert_eq!(wit.svids[0].spiffe_id, id);
    assert_eq!(super::tokens::payload(&wit.svids[0].svid)["sub"], id.as_str());
    let is_whole = |record: &serde_json::Value| record["identities"][0]["spiffe_id"] == id.as_str();
    assert!(daemon.audit().iter().any(is_whole), "it is whole in the audit log");
}

//! SPIFFE IDs with placeholders: what is one, what comes of it, and who does not get it.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{entry, have, id, large::Numbers, own};
use crate::{
    registry::{
        Change, Entry, Error, Given, Image, Name, Selectors, Snapshot, Why, granted,
        name::NameError,
        taken::TEMPLATES_MAX,
        template::{Placeholder, Template, TemplateError},
    },
    spiffe::{Id, IdError},
};

const SHA256: &str = "unix:sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn template(path: &str) -> Template {
    Template::parse(&format!("spiffe://example.org/{path}")).unwrap()
}

fn build(entries: impl IntoIterator<Item = Entry>) -> Snapshot {
    Snapshot::build(1, entries.into_iter().map(Arc::new))
}

fn given(snapshot: &Snapshot, caller: &[&str]) -> Vec<String> {
    let granted = granted(snapshot, &have(caller), SystemTime::UNIX_EPOCH);
    let path = |grant: &Given| grant.spiffe_id().path().trim_start_matches('/').to_owned();
    granted.given.iter().map(path).collect()
}

fn withheld(snapshot: &Snapshot, caller: &[&str]) -> Vec<Why> {
    let granted = granted(snapshot, &have(caller), SystemTime::UNIX_EPOCH);
    granted.withheld.into_iter().map(|each| each.why).collect()
}

#[test]
fn a_template_is_literal_first_and_has_whole_placeholders() {
    let rows = [
        ("user/{unix:user}", "user/web"),
        ("u/{unix:uid}/{unix:gid}/x", "u/1000/100/x"),
        ("a/b/{unix:group}", "a/b/staff"),
        ("i/{unix:sha256}", "i/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        ("twice/{unix:user}/{unix:user}", "twice/web/web"),
    ];
    let caller = have(&["unix:uid:1000", "unix:gid:100", "unix:user:web", "unix:group:staff", SHA256]);
    for (text, path) in rows {
        assert_eq!(template(text).id_of(&caller), Ok(Id::parse(&format!("spiffe://example.org/{path}")).unwrap()));
        assert_eq!(template(text).as_str(), format!("spiffe://example.org/{text}"));
        assert_eq!(template(text).trust_domain(), &own());
    }
}

#[test]
fn what_is_no_template_is_told_why() {
    use TemplateError as E;
    let rows = [
        ("spiffe://example.org/{unix:user}", E::FirstSegment),
        ("spiffe://example.org/{unix:user}/x", E::FirstSegment),
        ("spiffe://example.org/a/b", E::NoPlaceholder),
        ("spiffe://example.org/a/x{unix:user}", E::NotWhole),
        ("spiffe://example.org/a/{unix:user}x", E::NotWhole),
        ("spiffe://example.org/a/{unix:uid}{unix:gid}", E::NotWhole),
        ("spiffe://example.org/a/{unix:user", E::NotWhole),
        ("spiffe://example.org/a/unix:user}", E::NotWhole),
        ("spiffe://example.org/a/}{", E::NotWhole),
        ("spiffe://example.org/a/{{unix:user}}", E::NotWhole),
        ("spiffe://example.org/a/{unix:us/er}", E::NotWhole),
        ("spiffe://example.org/a/{}", E::Unknown),
        ("spiffe://example.org/a/{user}", E::Unknown),
        ("spiffe://example.org/a/{unix:User}", E::Unknown),
        ("spiffe://example.org/a/{ unix:user}", E::Unknown),
        ("spiffe://example.org/a/{k8s:ns}", E::Unknown),
        ("spiffe://example.org/a/{docker:label}", E::Unknown),
        ("spiffe://example.org/a/{unix:path}", E::NeverASegment),
        ("spiffe://example.org/a/{dayfly:verity}", E::NeverASegment),
        ("spiffe://example.org/a/{unix:supplementary_gid}", E::Several),
        ("spiffe://example.org/a/{unix:supplementary_group}", E::Several),
        ("spiffe://example.org/a//{unix:user}", E::Id(IdError::SegmentEmpty)),
        ("spiffe://example.org/a/{unix:user}/", E::Id(IdError::SegmentEmpty)),
        ("spiffe://example.org/a/../{unix:user}", E::Id(IdError::SegmentDots)),
        ("spiffe://example.org/a b/{unix:user}", E::Id(IdError::PathByte(b' '))),
        ("spiffe://example.org/a/{unix:user}?x", E::NotWhole),
        ("spiffe://{unix:user}/a", E::Id(IdError::TrustDomainByte(b'{'))),
        ("spiffe://{unix:user}", E::Id(IdError::PathMissing)),
        ("spiffe:///a/{unix:user}", E::Id(IdError::TrustDomainEmpty)),
        ("https://example.org/a/{unix:user}", E::Id(IdError::Scheme)),
        ("{unix:user}", E::Id(IdError::Scheme)),
    ];
    for (text, reason) in rows {
        assert_eq!(Template::parse(text), Err(reason), "{text}");
        if reason != E::NoPlaceholder {
            assert_eq!(Name::parse(text), Err(NameError::Template(reason)), "{text}");
        }
    }
    let long = format!("spiffe://example.org/a/{}/{{unix:user}}", "x".repeat(2_048));
    assert_eq!(Template::parse(&long), Err(E::Id(IdError::TooLong(long.len()))));
    let problems = super::draft("a/{unix:path}", &["unix:uid:1"]).check(&own()).unwrap_err().to_string();
    assert_eq!(
        problems,
        "the template `spiffe://example.org/a/{unix:path}` of SPIFFE IDs is not valid: a path or a verity digest is \
         never one segment; a placeholder must be one of {unix:uid} {unix:gid} {unix:user} {unix:group} {unix:sha256}"
    );
    let alone = super::draft("a/{unix:user}", &[]).check(&own()).unwrap_err().to_string();
    assert_eq!(alone, "there are no selectors", "a value is no condition");
}

#[test]
fn a_value_goes_in_byte_for_byte_or_not_at_all() {
    let user = template("user/{unix:user}");
    let of = |name: &str| user.id_of(&have(&[&format!("unix:user:{name}")]));
    for name in ["Web", "web", "a.b", "...", "_x-1", "0"] {
        assert_eq!(of(name).unwrap().as_str(), format!("spiffe://example.org/user/{name}"));
    }
    assert_ne!(of("Web"), of("web"), "nothing is folded");
    let rows = [
        ("..", IdError::SegmentDots),
        (".", IdError::SegmentDots),
        ("a/b", IdError::SegmentSlash),
        ("../admin", IdError::SegmentSlash),
        ("a%2fb", IdError::PercentEncoding),
        ("CORP\\bob", IdError::PathByte(b'\\')),
        ("bob@corp", IdError::PathByte(b'@')),
        ("host$", IdError::PathByte(b'$')),
        ("a b", IdError::PathByte(b' ')),
        ("{unix:uid}", IdError::PathByte(b'{')),
        ("bob:x", IdError::PathByte(b':')),
        ("ü", IdError::PathByte(0xc3)),
    ];
    for (name, reason) in rows {
        assert_eq!(of(name), Err(Why::IllegalValue { placeholder: Placeholder::User, reason }), "{name}");
    }
    let long = "x".repeat(2_048);
    assert_eq!(
        of(&long),
        Err(Why::IllegalValue { placeholder: Placeholder::User, reason: IdError::TooLong(21 + 2_048) })
    );
    // Each fits, and all together do not.
    let half = "x".repeat(1_020);
    let both = template("a/{unix:user}/{unix:group}")
        .id_of(&have(&[&format!("unix:user:{half}"), &format!("unix:group:{half}")]));
    assert!(matches!(both, Err(Why::NoId { reason: IdError::TooLong(_) })), "{both:?}");
}

#[test]
fn without_exactly_one_value_nothing_is_chosen() {
    let user = template("user/{unix:user}");
    let placeholder = Placeholder::User;
    assert_eq!(user.id_of(&have(&["unix:uid:1"])), Err(Why::NoValue { placeholder }));
    assert_eq!(user.id_of(&have(&["unix:user:a", "unix:user:b"])), Err(Why::ManyValues { placeholder }));
    // What only begins like it is another selector.
    assert_eq!(user.id_of(&have(&["docker:user:a", "unix:group:a"])), Err(Why::NoValue { placeholder }));
}

#[test]
fn each_caller_is_given_its_own() {
    let snapshot = build([
        entry(1, "user/{unix:user}", &["unix:gid:100"]),
        entry(2, "all", &["unix:gid:100"]),
        entry(3, "user/{unix:user}", &["unix:supplementary_gid:7"]),
    ]);
    assert_eq!(given(&snapshot, &["unix:gid:100", "unix:user:a"]), ["user/a", "all"]);
    assert_eq!(given(&snapshot, &["unix:gid:100", "unix:user:b"]), ["user/b", "all"], "the order is that of age");
    assert_eq!(given(&snapshot, &["unix:gid:100"]), ["all"]);
    assert_eq!(withheld(&snapshot, &["unix:gid:100"]), [Why::NoValue { placeholder: Placeholder::User }]);
    assert_eq!(given(&snapshot, &["unix:gid:9", "unix:user:a"]), Vec::<String>::new());
    // By two entries, as with two literal ones.
    let both = ["unix:gid:100", "unix:user:a", "unix:supplementary_gid:7"];
    assert_eq!(given(&snapshot, &both), ["user/a", "all", "user/a"]);
}

#[test]
fn nobody_becomes_what_another_entry_says() {
    let service = entry(5, "user/admin", &["unix:uid:0"]);
    let of_users = entry(1, "user/{unix:user}", &["unix:gid:100"]);
    let caller = ["unix:gid:100", "unix:user:admin"];
    let taken = [Why::IdTaken { id: Id::parse("spiffe://example.org/user/admin").unwrap() }];
    // Whichever came first, and however the snapshot came about.
    let both = build([of_users.clone(), service.clone()]);
    let later = build([of_users.clone()]).apply(2, &[Change::Create(service.clone())]).unwrap();
    let earlier = build([service.clone()]).apply(2, &[Change::Create(of_users.clone())]).unwrap();
    for snapshot in [&both, &later, &earlier] {
        assert_eq!(given(snapshot, &caller), Vec::<String>::new());
        assert_eq!(withheld(snapshot, &caller), taken);
        assert_eq!(given(snapshot, &["unix:gid:100", "unix:user:bob"]), ["user/bob"]);
        // Who is the service is it, by its own entry.
        assert_eq!(given(snapshot, &["unix:uid:0", "unix:gid:100", "unix:user:admin"]), ["user/admin"]);
    }
    // Until the last entry that says it is gone.
    let twice = both.apply(2, &[Change::Create(entry(6, "user/admin", &["unix:uid:6"]))]).unwrap();
    let once = twice.apply(3, &[Change::Delete(id(5))]).unwrap();
    assert_eq!(withheld(&once, &caller), taken);
    let none = once.apply(4, &[Change::Update(entry(6, "other", &["unix:uid:6"]))]).unwrap();
    assert_eq!(given(&none, &caller), ["user/admin"]);
    assert_eq!(given(&both, &caller), Vec::<String>::new(), "the first snapshot is as it was");
}

#[test]
fn a_template_that_gives_nothing_takes_no_hint() {
    let mut first = entry(1, "user/{unix:user}", &["unix:gid:100"]);
    let mut second = entry(2, "other", &["unix:gid:100"]);
    (first.spec.hint, second.spec.hint) = ("main".into(), "main".into());
    // The same hint and selectors would be refused when they are made.
    second.spec.selectors = have(&["unix:gid:100", "unix:uid:1"]).iter().cloned().collect();
    let snapshot = build([first, second]);
    assert_eq!(given(&snapshot, &["unix:gid:100", "unix:uid:1", "unix:user:a"]), ["user/a"]);
    assert_eq!(given(&snapshot, &["unix:gid:100", "unix:uid:1", "unix:user:.."]), ["other"]);
}

#[test]
fn templates_that_could_meet_are_not_both_taken() {
    let meet = [
        ("user/{unix:user}", "user/{unix:group}"),
        ("user/{unix:user}", "user/{unix:uid}"),
        ("a/{unix:user}/x", "a/b/{unix:group}"),
        ("a/{unix:user}/{unix:group}", "a/{unix:group}/{unix:user}"),
        ("a/b/{unix:user}", "a/{unix:user}/c"),
    ];
    for (one, other) in meet {
        for (one, other) in [(one, other), (other, one)] {
            let snapshot = build([entry(1, one, &["unix:gid:1"])]);
            let refused = snapshot.apply(2, &[Change::Create(entry(2, other, &["unix:gid:2"]))]).unwrap_err();
            let template = format!("spiffe://example.org/{one}");
            assert_eq!(refused, Error::Overlap { existing: id(1), template });
            // In its place it may stand.
            snapshot.apply(2, &[Change::Update(entry(1, other, &["unix:gid:2"]))]).unwrap();
            snapshot.apply(2, &[Change::Delete(id(1)), Change::Create(entry(2, other, &["unix:gid:2"]))]).unwrap();
        }
    }
    let apart = [
        ("user/{unix:user}", "user/{unix:user}"),
        ("user/{unix:user}", "group/{unix:group}"),
        ("user/{unix:user}", "user/{unix:user}/x"),
        ("a/{unix:user}/x", "a/{unix:group}/y"),
        ("a/b/{unix:user}", "a/c/{unix:group}"),
    ];
    for (one, other) in apart {
        let snapshot = build([entry(1, one, &["unix:gid:1"])]);
        snapshot.apply(2, &[Change::Create(entry(2, other, &["unix:gid:2"]))]).unwrap();
    }
}

#[test]
fn there_are_never_more_templates_than_the_most() {
    let create = |number: u32| Change::Create(entry(number, &format!("t{number}/{{unix:user}}"), &["unix:uid:1"]));
    let most = u32::try_from(TEMPLATES_MAX).unwrap();
    let changes: Vec<_> = (0..most).map(create).collect();
    let full = Snapshot::empty().apply(1, &changes).unwrap();
    assert_eq!(full.apply(2, &[create(most)]).unwrap_err(), Error::TooManyTemplates);
    // One that is there already is not one more, and what goes makes room.
    full.apply(2, &[Change::Create(entry(most, "t0/{unix:user}", &["unix:uid:2"]))]).unwrap();
    full.apply(2, &[Change::Delete(id(7)), create(most)]).unwrap();
}

#[test]
fn what_goes_into_an_id_is_asked_of_callers() {
    let asked = |path: &str| {
        let asked = build([entry(1, path, &["unix:uid:1"])]).asked_of(1, 1);
        (asked.user, asked.group)
    };
    assert_eq!(asked("a/{unix:user}"), (true, false));
    assert_eq!(asked("a/{unix:group}"), (false, true));
    assert_eq!(asked("a/{unix:uid}/{unix:gid}"), (false, false));
    let gone = build([entry(1, "a/{unix:user}", &["unix:uid:1"])]).apply(2, &[Change::Delete(id(1))]).unwrap();
    assert!(!gone.asked_of(1, 1).user);

    let hashed = build([entry(1, "a/{unix:sha256}", &["unix:uid:1"])]);
    let wanted =
        |snapshot: &Snapshot, caller: &[&str]| snapshot.images_wanted(&have(caller)).iter().collect::<Vec<_>>();
    assert_eq!(wanted(&hashed, &["unix:uid:1"]), [Image::Sha256]);
    assert_eq!(wanted(&hashed, &["unix:uid:2"]), []);
    // Where the path has ruled the entry out, its hash is not wanted.
    let by_path = build([entry(1, "a/{unix:sha256}", &["unix:path:/x"])]);
    assert_eq!(wanted(&by_path, &[]), [Image::Path, Image::Sha256]);
    let beside = |caller: &[&str]| by_path.images_wanted_beside(&have(caller), [Image::Path].into_iter().collect());
    assert!(beside(&["unix:path:/x"]).contains(Image::Sha256) && beside(&["unix:path:/y"]).is_empty());
}

/// The IDs that are said literally, as anybody would find them first.
fn scan(snapshot: &Snapshot) -> BTreeSet<String> {
    let literal =
        |entry: &Arc<Entry>| matches!(entry.spec.spiffe_id, Name::Id(_)).then(|| entry.spec.spiffe_id.to_string());
    snapshot.entries().filter_map(literal).collect()
}

#[test]
fn what_is_taken_is_what_a_scan_finds_however_it_came_about() {
    let mut numbers = Numbers::of(11);
    let mut snapshot = Snapshot::empty();
    for revision in 1..1_500 {
        let number = numbers.below(60);
        // Many of one name, some templates that come and go.
        let path = match numbers.below(12) {
            0 => "user/{unix:user}".to_owned(),
            _ => format!("user/n{}", numbers.below(20)),
        };
        let selectors = [format!("unix:uid:{number}"), format!("unix:gid:{}", numbers.below(100_000))];
        let made = entry(number, &path, &[&selectors[0], &selectors[1]]);
        let change = match (snapshot.entry(&id(number)).is_some(), numbers.below(2)) {
            (false, _) => Change::Create(made),
            (true, 0) => Change::Update(made),
            (true, _) => Change::Delete(id(number)),
        };
        let Ok(next) = snapshot.apply(revision, &[change]) else { continue };
        snapshot = next;
        let has_templates = snapshot.entries().any(|entry| entry.spec.spiffe_id.template().is_some());
        let said = scan(&snapshot);
        for name in 0..20 {
            let id = Id::parse(&format!("spiffe://example.org/user/n{name}")).unwrap();
            let is_taken = has_templates && said.contains(id.as_str());
            assert_eq!(snapshot.has_literal(&id), is_taken, "{name} at {revision}");
        }
    }
}

/// Whatever callers and entries there are: nobody but whom a literal entry names has its ID, every ID made of a value
/// has that value in its place, and two callers of one such ID have the same value.
#[test]
fn no_value_makes_anybody_somebody_else() {
    let mut numbers = Numbers::of(23);
    const NAMES: [&str; 10] = ["a", "b", "admin", "..", "a/b", "A", "svc", "a.b", "x{y", "bob@corp"];
    const TEMPLATES: [&str; 6] = [
        "user/{unix:user}",
        "user/{unix:group}",
        "group/{unix:group}",
        "p/{unix:group}/{unix:user}",
        "p/a/{unix:uid}",
        "user/{unix:user}/x",
    ];
    for _ in 0..400 {
        let mut snapshot = Snapshot::empty();
        for number in 0..8 {
            let path = match numbers.below(2) {
                0 => TEMPLATES[usize::try_from(numbers.below(6)).unwrap()].to_owned(),
                _ => format!("user/{}", ["a", "admin", "svc"][usize::try_from(numbers.below(3)).unwrap()]),
            };
            let selector = format!("unix:gid:{}", numbers.below(3));
            if let Ok(next) = snapshot.apply(number.into(), &[Change::Create(entry(number, &path, &[&selector]))]) {
                snapshot = next;
            }
        }
        let literal = scan(&snapshot);
        let mut owners: Vec<(Id, Template, Selectors)> = Vec::new();
        for _ in 0..6 {
            let name = |numbers: &mut Numbers| NAMES[usize::try_from(numbers.below(10)).unwrap()];
            let (user, group) = (name(&mut numbers), name(&mut numbers));
            let (user, group) = (format!("unix:user:{user}"), format!("unix:group:{group}"));
            let caller = have(&[&format!("unix:gid:{}", numbers.below(3)), "unix:uid:7", &user, &group]);
            for grant in granted(&snapshot, &caller, SystemTime::UNIX_EPOCH + Duration::from_secs(1)).given {
                let Some(template) = grant.spec.spiffe_id.template() else { continue };
                assert!(!literal.contains(grant.spiffe_id().as_str()));
                for (id, other, theirs) in &owners {
                    if id == grant.spiffe_id() {
                        assert_eq!(other, template);
                        assert_eq!(template.id_of(theirs).as_ref(), Ok(id));
                        for placeholder in template.placeholders() {
                            let value = |of: &Selectors| {
                                of.iter().find_map(|each| each.unix(placeholder.name()).map(str::to_owned))
                            };
                            assert_eq!(value(theirs), value(&caller));
                        }
                    }
                }
                owners.push((grant.spiffe_id().clone(), template.clone(), caller.clone()));
            }
        }
    }
}

//! What is a selector, and what is a typing error.

use super::have;
use crate::registry::{
    Image, ImageSet, Selector, Selectors,
    selector::{SelectorError, SelectorError as E},
};

const HEX_64: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn refusal(text: &str) -> SelectorError {
    Selector::parse(text).expect_err(text)
}

#[test]
fn good_selectors_are_kept_byte_for_byte() {
    let sha256 = format!("unix:sha256:{HEX_64}");
    let verity_256 = format!("dayfly:verity:sha256:{HEX_64}");
    let verity_512 = format!("dayfly:verity:sha512:{HEX_64}{HEX_64}");
    let good = [
        "unix:uid:0",
        "unix:uid:1000",
        "unix:gid:4294967294",
        "unix:supplementary_gid:27",
        "unix:user:web",
        "unix:user:DOMAIN\\web:1",
        "unix:group:docker",
        "unix:supplementary_group:docker",
        "unix:path:/usr/bin/a b",
        "unix:path:/..x/.y/...",
        "unix:path:/weg/zürich:1",
        &sha256,
        &verity_256,
        &verity_512,
        "docker:label:com.example:v=1",
        "docker:env:PATH=/usr/bin",
        "k8s:pod-label:app:web",
        "systemd:id:web.service",
        "podman:1000:label:x:y",
        "x:y",
        "unx:uid:1000",
    ];
    for text in good {
        let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.to_string(), text);
        assert_eq!(format!("{}:{}", selector.kind(), selector.value()), text);
        assert_eq!(Selector::new(selector.kind(), selector.value()), Ok(selector));
    }
    assert_eq!(Selector::uid(1000).as_str(), "unix:uid:1000");
    assert_eq!(Selector::gid(0).as_str(), "unix:gid:0");
    assert_eq!(Selector::supplementary_gid(u32::MAX).as_str(), "unix:supplementary_gid:4294967295");
}

#[test]
fn bad_selectors_are_refused_with_their_reason() {
    let upper = format!("unix:sha256:{}", HEX_64.to_uppercase());
    let long_kind = format!("{}:x", "k".repeat(Selector::KIND_BYTES_MAX + 1));
    let number = |name| E::Number { name };
    let bad: Vec<(&str, SelectorError)> = vec![
        ("", E::Empty),
        ("unix", E::NoColon),
        (":uid:1", E::NoKind),
        ("unix:", E::NoValue),
        ("Unix:uid:1", E::Kind),
        (" unix:uid:1", E::Kind),
        ("ünix:uid:1", E::Kind),
        (&long_kind, E::KindTooLong(Selector::KIND_BYTES_MAX + 1)),
        ("docker:label:a\nb", E::Control),
        ("docker:label:a\0", E::Control),
        ("docker:label:a\u{85}", E::Control),
        ("unix:uid:", number("unix:uid")),
        ("unix:uid", number("unix:uid")),
        ("unix:uid:web", number("unix:uid")),
        ("unix:uid:-1", number("unix:uid")),
        ("unix:uid:+1", number("unix:uid")),
        ("unix:uid: 1", number("unix:uid")),
        ("unix:uid:01", number("unix:uid")),
        ("unix:uid:0x10", number("unix:uid")),
        ("unix:uid:4294967296", number("unix:uid")),
        ("unix:uid:4294967295", number("unix:uid")),
        ("unix:gid:1.0", number("unix:gid")),
        ("unix:supplementary_gid:00", number("unix:supplementary_gid")),
        ("unix:user:", E::NoValue),
        ("unix:group", E::NoValue),
        ("unix:path:", E::PathRelative),
        ("unix:path:bin/x", E::PathRelative),
        ("unix:path:/", E::PathForm),
        ("unix:path:/bin/", E::PathForm),
        ("unix:path://bin/x", E::PathForm),
        ("unix:path:/bin/../x", E::PathForm),
        ("unix:path:/bin/./x", E::PathForm),
        ("unix:path:/bin//x", E::PathForm),
        ("unix:sha256:abc", E::Digest { name: "unix:sha256", digits: 64 }),
        (&upper, E::Digest { name: "unix:sha256", digits: 64 }),
        ("dayfly:verity", E::VerityAlgorithm),
        ("dayfly:verity:md5:00", E::VerityAlgorithm),
        ("dayfly:verity:sha512:00", E::Digest { name: "dayfly:verity:sha512", digits: 128 }),
    ];
    for (text, reason) in bad {
        assert_eq!(refusal(text), reason, "{text:?}");
    }
    // A kind with a colon would move the border between kind and value.
    assert_eq!(Selector::new("unix:uid", "1"), Err(E::Kind));
    assert_eq!(Selector::new("", "uid:1"), Err(E::NoKind));
}

#[test]
fn a_selector_has_a_longest_length() {
    let longest = format!("docker:{}", "x".repeat(Selector::BYTES_MAX - 7));
    assert!(Selector::parse(&longest).is_ok());
    assert_eq!(refusal(&(longest + "x")), E::TooLong(Selector::BYTES_MAX + 1));
    // The longest path that Linux knows fits.
    let path = format!("unix:path:/{}", "x".repeat(4094));
    assert!(Selector::parse(&path).is_ok());
}

#[test]
fn typing_errors_are_met_with_what_was_meant() {
    let meant = [
        ("unix:udi:1000", Some("uid")),
        ("unix:uuid:1000", Some("uid")),
        ("unix:UID:1000", Some("uid")),
        ("unix:users:web", Some("user")),
        ("unix:gruop:web", Some("group")),
        ("unix:suplementary_gid:1", Some("supplementary_gid")),
        ("unix:supplementary_groups:1", Some("supplementary_group")),
        ("unix:pth:/x", Some("path")),
        ("unix:sha265:00", Some("sha256")),
        ("unix:exe:/x", None),
        ("unix::1", None),
        ("dayfly:verty:sha256:00", Some("verity")),
        ("dayfly:agent:x", None),
    ];
    for (text, wanted) in meant {
        match refusal(text) {
            E::UnknownName { meant, .. } => assert_eq!(meant, wanted, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(refusal("unix:udi:1000").to_string(), "unix has no selector `udi`, did you mean `unix:uid`?");
    assert_eq!(refusal("unix:exe:/x").to_string(), "unix has no selector `exe`");
    // Not the whole of a long text comes back.
    assert!(refusal(&format!("unix:{}", "y".repeat(4000))).to_string().len() < 100);
}

#[test]
fn selectors_of_the_image_are_known_as_such() {
    let selector = |text: &str| Selector::parse(text).unwrap();
    assert_eq!(selector("unix:path:/x").image(), Some(Image::Path));
    assert_eq!(selector(&format!("unix:sha256:{HEX_64}")).image(), Some(Image::Sha256));
    assert_eq!(selector(&format!("dayfly:verity:sha256:{HEX_64}")).image(), Some(Image::Verity));
    for text in ["unix:uid:1", "unix:user:path", "docker:path:/x", "systemd:sha256:x", "x:unix:path:/x"] {
        assert_eq!(selector(text).image(), None, "{text}");
    }
}

#[test]
fn a_value_is_found_by_the_whole_name() {
    let value = |text: &str, name| Selector::parse(text).unwrap().unix(name).map(str::to_owned);
    assert_eq!(value("unix:supplementary_group:a:b", "supplementary_group").as_deref(), Some("a:b"));
    assert_eq!(value("unix:group:uid:1", "group").as_deref(), Some("uid:1"));
    for (text, name) in [("unix:group:a", "gr"), ("unix:group:uid:1", "uid"), ("docker:user:a", "user")] {
        assert_eq!(value(text, name), None, "{text} {name}");
    }
}

#[test]
fn a_set_of_kinds_is_a_set() {
    let mut set = ImageSet::empty();
    assert!(set.is_empty());
    set.insert(Image::Sha256);
    assert!(set.contains(Image::Sha256) && !set.contains(Image::Path));
    set.insert_all(ImageSet::from_iter([Image::Path]));
    assert_eq!(set.iter().collect::<Vec<_>>(), [Image::Path, Image::Sha256]);
    assert!(ImageSet::all().includes(set) && !set.includes(ImageSet::all()));
    assert_eq!(ImageSet::from_iter(Image::ALL), ImageSet::all());
}

#[test]
fn a_callers_selectors_are_a_sorted_set() {
    let mut set = have(&["unix:uid:2", "unix:gid:1", "unix:uid:2"]);
    assert_eq!(set.len(), 2);
    set.insert(Selector::uid(1));
    set.insert(Selector::uid(1));
    set.extend([Selector::gid(1), Selector::gid(0)]);
    let texts: Vec<_> = set.iter().map(Selector::as_str).collect();
    assert_eq!(texts, ["unix:gid:0", "unix:gid:1", "unix:uid:1", "unix:uid:2"]);
    assert!(set.contains(&Selector::uid(2)) && !set.contains(&Selector::uid(3)));
    assert!(Selectors::default().is_empty());
}

#[test]
fn kinds_that_this_daemon_makes_are_told_from_others() {
    let is_own = |text: &str| Selector::parse(text).unwrap().is_own();
    assert!(is_own("unix:uid:1") && is_own("unix:user:web") && is_own(&format!("dayfly:verity:sha256:{HEX_64}")));
    assert!(!is_own("docker:label:a") && !is_own("unixes:uid:1") && !is_own("k8s:ns:unix"));
}

//! Certificate profiles and the names they put into a subject.

use super::{draft, own};
use crate::registry::{
    Draft,
    profile::{Profile, ProfileError},
};

fn checked(profile: &str, common_name: &str) -> Result<Profile, ProfileError> {
    Profile::check(profile, common_name)
}

#[test]
fn a_common_name_goes_with_its_profile_and_with_no_other() {
    for spiffe in ["", "spiffe"] {
        assert_eq!(checked(spiffe, ""), Ok(Profile::Spiffe));
        assert_eq!(checked(spiffe, "orders"), Err(ProfileError::CommonNameUnused));
    }
    assert_eq!(checked("database", "orders"), Ok(Profile::Database("orders".into())));
    assert_eq!(checked("database", ""), Err(ProfileError::NoCommonName));
    for unknown in ["Database", "database ", "postgres"] {
        assert_eq!(checked(unknown, "orders"), Err(ProfileError::Unknown(unknown.into())), "{unknown:?}");
    }
}

#[test]
fn a_common_name_is_short_and_can_be_seen() {
    for good in ["a", "orders_rw", "Ünïcødé 木", "o'brien \"x\" \\", "a b", "*", &"a".repeat(64), &"ü".repeat(32)]
    {
        assert_eq!(checked("database", good), Ok(Profile::Database(good.into())), "{good:?}");
    }
    for (long, bytes) in [("a".repeat(65), 65), ("ü".repeat(33), 66)] {
        assert_eq!(checked("database", &long), Err(ProfileError::TooLong(bytes)));
    }
    for hidden in ["a\0", "\n", "a\tb", "\u{7f}", "a\u{85}", "a\u{202e}b", "a\u{200b}b", "a\u{a0}b", "\u{feff}a"] {
        assert_eq!(checked("database", hidden), Err(ProfileError::Unprintable), "{hidden:?}");
    }
    for spaced in [" a", "a ", " "] {
        assert_eq!(checked("database", spaced), Err(ProfileError::Spaces), "{spaced:?}");
    }
}

#[test]
fn the_common_name_is_the_chosen_one_or_the_first_dns_name() {
    let common_name = |names: &[&str], profile: &str, chosen: &str| {
        let dns_names = names.iter().map(|name| (*name).to_owned()).collect();
        let (certificate_profile, common_name) = (profile.to_owned(), chosen.to_owned());
        let draft = Draft { dns_names, certificate_profile, common_name, ..draft("a", &["unix:uid:1"]) };
        let spec = draft.check(&own()).unwrap();
        assert_eq!(Draft::from(&spec).check(&own()).as_ref(), Ok(&spec), "it comes back");
        spec.common_name().map(str::to_owned)
    };
    assert_eq!(common_name(&[], "", ""), None);
    assert_eq!(common_name(&["b.test", "a.test"], "spiffe", "").as_deref(), Some("b.test"));
    assert_eq!(common_name(&["b.test"], "database", "orders").as_deref(), Some("orders"));
    assert_eq!(common_name(&[], "database", "orders").as_deref(), Some("orders"));
}

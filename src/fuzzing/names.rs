//! Names: SPIFFE IDs, selectors, and templates of SPIFFE IDs.

use crate::{
    registry::{Selector, Selectors, Template},
    spiffe::{ID_BYTES_MAX, Id, TrustDomain},
};

/// SPIFFE IDs: what is accepted is kept byte for byte, and made of parts that are accepted themselves.
#[must_use]
pub fn id(bytes: &[u8]) -> bool {
    let trust_domain = TrustDomain::from_id_bytes(bytes);
    let Ok(id) = Id::from_bytes(bytes) else {
        if let Ok(trust_domain) = &trust_domain {
            assert_eq!(trust_domain.id().as_bytes(), bytes);
            assert_eq!(TrustDomain::parse(trust_domain.as_str()).as_ref(), Ok(trust_domain));
        }
        return trust_domain.is_ok();
    };
    assert!(trust_domain.is_err(), "one text is two kinds of ID");
    assert!(bytes.is_ascii() && bytes.len() <= ID_BYTES_MAX);
    assert_eq!(id.as_str().as_bytes(), bytes);
    assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), id.as_str());
    let segments = id.path().split('/').skip(1);
    assert_eq!(Id::join(&id.trust_domain(), segments).as_ref(), Ok(&id));
    assert_eq!(Id::parse(id.as_str()).as_ref(), Ok(&id));
    true
}

/// Selectors: what is accepted is kept byte for byte, and is made of a kind and a value.
#[must_use]
pub fn selector(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    match Selector::parse(text) {
        Ok(selector) => {
            assert_eq!(selector.as_str(), text);
            assert_eq!(Selector::new(selector.kind(), selector.value()).as_ref(), Ok(&selector));
            assert!(!selector.kind().contains(':') && !selector.value().is_empty());
            assert!(!text.chars().any(char::is_control) && text.len() <= Selector::BYTES_MAX);
            assert!(selector.unix("supplementary_group").is_none() || selector.image().is_none());
            true
        }
        Err(refusal) => {
            let words = refusal.to_string();
            assert!(words.len() < 512, "a refusal repeats a long text");
            false
        }
    }
}

/// Templates of SPIFFE IDs, the first line, and the selectors of a caller, the others: what comes out is an ID that has
/// the literal parts where they were written and the caller's values between them.
#[must_use]
pub fn template(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut lines = text.split('\n');
    let Ok(template) = Template::parse(lines.next().unwrap_or_default()) else { return false };
    assert!(Id::parse(template.as_str()).is_err(), "one text is a template and an ID");
    assert!(template.overlaps(&template));
    let have: Selectors = lines.filter_map(|line| Selector::parse(line).ok()).collect();
    let Ok(id) = template.id_of(&have) else { return false };
    assert_eq!(Id::parse(id.as_str()).as_ref(), Ok(&id));
    assert_eq!(id.trust_domain(), *template.trust_domain());
    let (written, made) = (template.as_str().split('/'), id.as_str().split('/'));
    assert_eq!(written.clone().count(), made.clone().count());
    for (at, (written, made)) in written.zip(made).enumerate() {
        match written.strip_prefix("{unix:").and_then(|name| name.strip_suffix('}')) {
            None => assert_eq!(written, made),
            Some(name) => {
                assert!(at > 3, "the first segment is literal");
                let values: Vec<_> = have.iter().filter_map(|selector| selector.unix(name)).collect();
                assert_eq!(values, [made]);
            }
        }
    }
    true
}

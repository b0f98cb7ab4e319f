//! What is different about an entry, agent, tool or grant, for the audit log: a line for each field, and none without an end.

use crate::registry::{AgentDraft, Draft, GrantDraft, ItemDraft, Spec, ToolDraft};

/// The most of one value that is told, in characters.
const VALUE_CHARS_MAX: usize = 500;

/// What an entry says that was not there, or is there no more.
pub(super) fn whole(spec: &Spec) -> Vec<String> {
    said(fields(&Draft::from(spec)), fields(&Draft::default()))
}

/// What an entry says otherwise than before.
pub(super) fn difference(before: &Spec, after: &Spec) -> Vec<String> {
    changed(fields(&Draft::from(before)), fields(&Draft::from(after)))
}

/// The same of an agent, tool or grant.
pub(super) fn whole_item(draft: &ItemDraft) -> Vec<String> {
    let nothing = match draft {
        ItemDraft::Agent(_) => ItemDraft::Agent(AgentDraft::default()),
        ItemDraft::Tool(_) => ItemDraft::Tool(ToolDraft::default()),
        ItemDraft::Grant(_) => ItemDraft::Grant(GrantDraft::default()),
    };
    said(draft.fields(), nothing.fields())
}

/// The same of two that are of one kind.
pub(super) fn item_difference(before: &ItemDraft, after: &ItemDraft) -> Vec<String> {
    changed(before.fields(), after.fields())
}

type Field = (&'static str, String);

fn said(fields: impl IntoIterator<Item = Field>, nothing: impl IntoIterator<Item = Field>) -> Vec<String> {
    let told = fields.into_iter().zip(nothing).filter(|(field, empty)| field.1 != empty.1);
    told.map(|((name, value), _)| format!("{name}: {}", short(&value))).collect()
}

fn changed(before: impl IntoIterator<Item = Field>, after: impl IntoIterator<Item = Field>) -> Vec<String> {
    let both = before.into_iter().zip(after).filter(|(before, after)| before.1 != after.1);
    both.map(|((name, before), (_, after))| format!("{name}: {} -> {}", short(&before), short(&after))).collect()
}

fn fields(draft: &Draft) -> [Field; 15] {
    [
        ("spiffe_id", draft.spiffe_id.clone()),
        ("selectors", draft.selectors.join(" ")),
        ("x509_ttl_seconds", draft.x509_ttl_seconds.to_string()),
        ("jwt_ttl_seconds", draft.jwt_ttl_seconds.to_string()),
        ("wit_ttl_seconds", draft.wit_ttl_seconds.to_string()),
        ("dns_names", draft.dns_names.join(" ")),
        ("certificate_profile", draft.certificate_profile.clone()),
        ("common_name", draft.common_name.clone()),
        ("hint", draft.hint.clone()),
        ("federates_with", draft.federates_with.join(" ")),
        ("sds_for", draft.sds_for.join(" ")),
        ("admin", draft.admin.to_string()),
        ("downstream", draft.downstream.to_string()),
        ("expires_at", draft.expires_at.to_string()),
        ("agent", draft.agent.clone()),
    ]
}

/// A record has an end, and one entry may have a quarter of a mebibyte of selectors.
fn short(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        None if value.is_empty() => "none".into(),
        None => value.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", value.get(..end).unwrap_or_default(), value.len()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::spiffe::TrustDomain;

    fn spec(change: impl FnOnce(&mut Draft)) -> Spec {
        let mut draft = Draft {
            spiffe_id: "spiffe://example.org/web".into(),
            selectors: vec!["unix:uid:1000".into()],
            ..Draft::default()
        };
        change(&mut draft);
        draft.check(&TrustDomain::parse("example.org").unwrap()).unwrap()
    }

    #[test]
    fn a_new_entry_is_told_with_what_it_says() {
        let told = whole(&spec(|draft| draft.admin = true));
        assert_eq!(told, ["spiffe_id: spiffe://example.org/web", "selectors: unix:uid:1000", "admin: true"]);
    }

    #[test]
    fn a_change_is_told_with_both_sides() {
        let told = difference(&spec(|draft| draft.hint = "a".into()), &spec(|draft| draft.x509_ttl_seconds = 60));
        assert_eq!(told, ["x509_ttl_seconds: 0 -> 60", "hint: a -> none"]);
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let told = whole(&spec(|draft| draft.hint = "é".repeat(510)));
        let last = told.last().unwrap();
        assert!(last.ends_with("é… (1020 bytes)"), "{last}");
    }
}

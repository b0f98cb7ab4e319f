//! What a proxy says of itself.

use crate::pb::envoy::config::core::v3::{Node, node::UserAgentVersionType};

/// By which means a proxy is to check certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Validator {
    /// A list of authorities, whoever's they are. Any Envoy has it.
    #[default]
    Plain,
    /// Envoy's SPIFFE validator: the authorities of a trust domain are believed for its own names alone.
    Spiffe,
}

/// Which proxy it is, by its own word: for people, and for what it can do. Nothing is given for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) id: String,
    pub(super) cluster: String,
    /// Its program and version.
    pub(super) agent: String,
    pub(super) validator: Validator,
}

/// Set in the metadata of a node it makes a plain list of authorities, as for SPIRE.
const NO_SPIFFE_VALIDATOR: &str = "disable_spiffe_cert_validation";
/// Envoy has the SPIFFE validator from this version on.
const SPIFFE_VALIDATOR_SINCE: (u32, u32) = (1, 18);
/// What is kept of a word, in bytes.
const WORD_BYTES_MAX: usize = 128;

impl Proxy {
    pub(super) fn of(node: &Node) -> Self {
        let version = match &node.user_agent_version_type {
            Some(UserAgentVersionType::UserAgentBuildVersion(build)) => build.version,
            _ => None,
        };
        let number = version.map(|one| format!("{}.{}.{}", one.major_number, one.minor_number, one.patch));
        let version_text = match &node.user_agent_version_type {
            Some(UserAgentVersionType::UserAgentVersion(text)) => Some(text.clone()),
            _ => number,
        };
        let agent = [Some(node.user_agent_name.clone()), version_text].into_iter().flatten();
        let agent = agent.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let knows_spiffe = version.is_some_and(|one| (one.major_number, one.minor_number) >= SPIFFE_VALIDATOR_SINCE)
            && !wants_plain(node);
        Self {
            id: word(&node.id),
            cluster: word(&node.cluster),
            agent: word(&agent),
            validator: if knows_spiffe { Validator::Spiffe } else { Validator::Plain },
        }
    }
}

/// Whether a node says nothing. Envoy can be told to say who it is in the first message of a stream alone.
pub(super) fn is_empty(node: &Node) -> bool {
    *node == Node::default()
}

fn wants_plain(node: &Node) -> bool {
    use prost_types::value::Kind;
    let said = node.metadata.as_ref().and_then(|metadata| metadata.fields.get(NO_SPIFFE_VALIDATOR));
    match said.and_then(|value| value.kind.as_ref()) {
        Some(Kind::BoolValue(said)) => *said,
        Some(Kind::StringValue(said)) => said == "true",
        _ => false,
    }
}

/// A foreign word as it may stand in a line for people.
pub(super) fn word(text: &str) -> String {
    let whole: String = text.escape_debug().take(WORD_BYTES_MAX + 1).collect();
    match whole.len() {
        0..=WORD_BYTES_MAX => whole,
        _ => format!("{}…", whole.get(..whole.floor_char_boundary(WORD_BYTES_MAX)).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{Struct, Value, value::Kind};

    use super::*;
    use crate::pb::envoy::{config::core::v3::BuildVersion, r#type::v3::SemanticVersion};

    fn envoy(major_number: u32, minor_number: u32) -> Node {
        let version = Some(SemanticVersion { major_number, minor_number, patch: 2 });
        Node {
            id: "web-1".to_owned(),
            cluster: "web".to_owned(),
            user_agent_name: "envoy".to_owned(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion { version })),
            ..Node::default()
        }
    }

    fn saying(kind: Kind) -> Node {
        let fields = [(NO_SPIFFE_VALIDATOR.to_owned(), Value { kind: Some(kind) })].into();
        Node { metadata: Some(Struct { fields }), ..envoy(1, 40) }
    }

    #[test]
    fn an_envoy_is_told_by_its_words() {
        let expected = Proxy {
            id: "web-1".to_owned(),
            cluster: "web".to_owned(),
            agent: "envoy 1.40.2".to_owned(),
            validator: Validator::Spiffe,
        };
        assert_eq!(Proxy::of(&envoy(1, 40)), expected);
        assert_eq!(Proxy::of(&Node::default()), Proxy::default());
        assert!(is_empty(&Node::default()) && !is_empty(&envoy(1, 40)));
    }

    #[test]
    fn the_validator_is_what_the_proxy_can_and_wants() {
        let of = |node: &Node| Proxy::of(node).validator;
        for (major, minor, expected) in [
            (1, 17, Validator::Plain),
            (1, 18, Validator::Spiffe),
            (0, 99, Validator::Plain),
            (2, 0, Validator::Spiffe),
        ] {
            assert_eq!(of(&envoy(major, minor)), expected, "{major}.{minor}");
        }
        for (kind, expected) in [
            (Kind::BoolValue(true), Validator::Plain),
            (Kind::StringValue("true".to_owned()), Validator::Plain),
            (Kind::BoolValue(false), Validator::Spiffe),
            (Kind::StringValue("yes".to_owned()), Validator::Spiffe),
            (Kind::NumberValue(1.0), Validator::Spiffe),
        ] {
            assert_eq!(of(&saying(kind.clone())), expected, "{kind:?}");
        }
    }

    #[test]
    fn words_are_short_and_fit_a_line() {
        assert_eq!(word("a\nb\u{1b}[0m"), "a\\nb\\u{1b}[0m");
        let long = word(&"é".repeat(200));
        assert!(long.len() <= WORD_BYTES_MAX + "…".len() && long.ends_with('…'), "{long}");
    }
}

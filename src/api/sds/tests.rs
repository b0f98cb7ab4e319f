//! What is said on a stream of a proxy, message by message, without a wire.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use prost::Message as _;

use super::{
    protocol::{Delta, Names, Protocol, Said, StateOfTheWorld},
    secret::TYPE_URL,
    talk::{News, State, Talk},
};
use crate::{
    authority::{AuthorityId, Svid},
    issuance::{Identity, foreign::View},
    pb::{
        Any,
        envoy::{
            config::core::v3::{BuildVersion, DataSource, Node, data_source::Specifier, node::UserAgentVersionType},
            extensions::transport_sockets::tls::v3::{Secret, SpiffeCertValidatorConfig, secret::Type},
            r#type::v3::SemanticVersion,
        },
    },
    spiffe::{Id, TrustDomain},
    sys,
};

/// What a proxy may have.
struct World {
    identities: Vec<Identity<Svid>>,
    own: (TrustDomain, Bytes),
    federated: View,
}

impl World {
    fn new(names: &[&str]) -> Self {
        let identities = names.iter().map(|name| identity(name, 1)).collect();
        Self { identities, own: (domain("example.org"), der(7)), federated: View::new() }
    }

    fn state(&self) -> State<'_> {
        State {
            identities: &self.identities,
            default: self.identities.first().map(|one| &one.svid.id),
            own: (&self.own.0, &self.own.1),
            federated: &self.federated,
        }
    }
}

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// Something that has the form of a certificate.
fn der(number: u8) -> Bytes {
    vec![0x30, 1, number].into()
}

fn identity(name: &str, number: u8) -> Identity<Svid> {
    let svid = Svid {
        id: Id::parse(&format!("spiffe://example.org/{name}")).unwrap(),
        chain: der(number),
        key: sys::Secret::new(vec![number; 100]),
        serial: number.to_string(),
        not_before: SystemTime::UNIX_EPOCH,
        not_after: SystemTime::UNIX_EPOCH,
        authority: AuthorityId::parse(&"a".repeat(32)).unwrap(),
    };
    Identity { svid: Arc::new(svid), hint: String::new() }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn asks(names: &[&str], nonce: &str) -> Said {
    Said { names: Names::Are(texts(names)), nonce: nonce.to_owned(), ..Said::default() }
}

fn changes(more: &[&str], fewer: &[&str], nonce: &str) -> Said {
    let names = Names::Change { more: texts(more), fewer: texts(fewer), had: [].into() };
    Said { names, nonce: nonce.to_owned(), ..Said::default() }
}

fn envoy() -> Node {
    let version = Some(SemanticVersion { major_number: 1, minor_number: 40, patch: 0 });
    let build = UserAgentVersionType::UserAgentBuildVersion(BuildVersion { version });
    Node { id: "web-1".to_owned(), user_agent_version_type: Some(build), ..Node::default() }
}

/// The names that are told.
fn told(news: &News) -> Vec<&str> {
    news.answer.iter().flat_map(|answer| &answer.told).map(|one| one.name.as_str()).collect()
}

fn nonce(news: &News) -> &str {
    news.answer.as_ref().map_or("", |answer| &answer.nonce)
}

#[test]
fn the_first_request_is_answered_whatever_it_says_that_it_has() {
    let (mut talk, world) = (Talk::<StateOfTheWorld>::new(), World::new(&["web"]));
    assert!(talk.hear(asks(&["default", "ROOTCA"], "")).unwrap().asks);
    let news = talk.tell(&world.state()).unwrap();
    assert_eq!((told(&news), nonce(&news)), (vec!["ROOTCA", "default"], "1"));
    assert!(news.waiting.is_empty() && news.lost.is_empty());
    let heard = talk.hear(asks(&["ROOTCA", "default"], "1")).unwrap();
    assert_eq!((heard.asks, heard.verdict), (false, Some(("1".to_owned(), None))));
    // After the daemon has come back: a nonce of an earlier stream's.
    for nonce in ["7", "0", "x"] {
        let mut talk = Talk::<StateOfTheWorld>::new();
        let heard = talk.hear(asks(&["default"], nonce)).unwrap();
        assert!(heard.asks && heard.verdict.is_none(), "{nonce}");
        assert_eq!(told(&talk.tell(&world.state()).unwrap()), ["default"]);
        assert!(talk.hear(asks(&["default"], "")).unwrap().asks, "and once more");
    }
}

#[test]
fn an_unknown_name_waits_beside_known_ones_and_is_answered_when_it_comes() {
    let mut world = World::new(&["web"]);
    let mut talk = Talk::<StateOfTheWorld>::new();
    talk.hear(asks(&["spiffe://example.org/web", "spiffe://example.org/db", "odd"], "")).unwrap();
    let first = talk.tell(&world.state()).unwrap();
    assert_eq!(told(&first), ["spiffe://example.org/web"]);
    assert_eq!(first.waiting, ["odd", "spiffe://example.org/db"]);
    world.identities.push(identity("db", 2));
    let second = talk.tell(&world.state()).unwrap();
    assert_eq!(told(&second), ["spiffe://example.org/db", "spiffe://example.org/web"], "all that is asked for");
    assert_eq!((second.waiting, nonce(&first)), (texts(&["odd"]), "1"));
    assert!(talk.tell(&world.state()).unwrap().answer.is_none(), "nothing has changed");
    let nothing = Talk::<StateOfTheWorld>::new().tell(&world.state()).unwrap();
    assert!(nothing.answer.is_none() && nothing.waiting.is_empty());
}

#[test]
fn what_is_waited_for_is_told_in_few_words_that_fit_a_line() {
    let mut talk = Talk::<StateOfTheWorld>::new();
    let names: Vec<_> = (0..1_000).map(|number| format!("{number:04}\u{1b}[2J{}", "x".repeat(200))).collect();
    talk.hear(Said { names: Names::Are(names), ..Said::default() }).unwrap();
    let waiting = talk.tell(&World::new(&["web"]).state()).unwrap().waiting;
    assert_eq!(waiting.len(), 64);
    assert!(waiting.iter().all(|name| name.len() < 140 && !name.contains(char::is_control)), "{waiting:?}");
}

#[test]
fn own_and_foreign_domains_are_answered_at_once() {
    let mut world = World::new(&["web"]);
    world.federated = vec![(domain("other.org"), der(9))];
    let names = ["ALL", "ROOTCA", "spiffe://example.org", "spiffe://nobody.org", "spiffe://other.org"];
    let mut talk = Talk::<StateOfTheWorld>::new();
    talk.hear(Said { node: Some(envoy()), ..asks(&names, "") }).unwrap();
    let news = talk.tell(&world.state()).unwrap();
    assert_eq!(news.waiting, ["spiffe://nobody.org"]);
    let trusted: Vec<_> = news.answer.unwrap().told.into_iter().map(|one| (one.name, trust(&one.secret))).collect();
    let one = |name: &str, number| (name.to_owned(), pem(number));
    let (ours, theirs) = (one("example.org", 7), one("other.org", 9));
    let expected = [
        ("ALL", vec![ours.clone(), theirs.clone()]),
        ("ROOTCA", vec![ours.clone()]),
        ("spiffe://example.org", vec![ours]),
        ("spiffe://other.org", vec![theirs]),
    ];
    assert_eq!(trusted, expected.map(|(name, trusted)| (name.to_owned(), trusted)));
    // What would be believed for all names is not mixed.
    let mut plain = Talk::<StateOfTheWorld>::new();
    plain.hear(asks(&["ALL", "ROOTCA"], "")).unwrap();
    let news = plain.tell(&world.state()).unwrap();
    assert_eq!((told(&news), &news.waiting), (vec!["ROOTCA"], &texts(&["ALL"])));
    assert_eq!(trust(&news.answer.unwrap().told.remove(0).secret), [(String::new(), pem(7))]);
}

/// Whom a secret makes a proxy trust, and by which names; no name in a plain list.
fn trust(secret: &Any) -> Vec<(String, String)> {
    let secret = Secret::decode(secret.value.clone()).unwrap();
    let Some(Type::ValidationContext(context)) = secret.r#type else { return Vec::new() };
    match (context.trusted_ca, context.custom_validator_config) {
        (Some(plain), None) => vec![(String::new(), text(Some(plain)))],
        (None, Some(custom)) => {
            assert_eq!(custom.name, "envoy.tls.cert_validator.spiffe");
            let config = SpiffeCertValidatorConfig::decode(custom.typed_config.unwrap().value).unwrap();
            config.trust_domains.into_iter().map(|one| (one.name, text(one.trust_bundle))).collect()
        }
        _ => Vec::new(),
    }
}

fn text(source: Option<DataSource>) -> String {
    let Some(Specifier::InlineBytes(bytes)) = source.unwrap().specifier else { return String::new() };
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn pem(number: u8) -> String {
    let base64 = data_encoding::BASE64.encode(&der(number));
    format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
}

#[test]
fn a_certificate_is_under_the_name_that_was_asked_for_with_its_key() {
    let (mut talk, world) = (Talk::<StateOfTheWorld>::new(), World::new(&["web"]));
    talk.hear(asks(&["default"], "")).unwrap();
    let news = talk.tell(&world.state()).unwrap();
    let secret = news.answer.unwrap().told.remove(0).secret;
    assert_eq!(secret.type_url, TYPE_URL);
    let Secret { name, r#type } = Secret::decode(secret.value).unwrap();
    let certificate = match r#type {
        Some(Type::TlsCertificate(certificate)) => Some(certificate),
        _ => None,
    };
    let certificate = certificate.unwrap();
    assert_eq!((name.as_str(), text(certificate.certificate_chain)), ("default", pem(1)));
    let key = pem::parse(text(certificate.private_key)).unwrap();
    assert_eq!((key.tag(), key.contents()), ("PRIVATE KEY", &[1; 100][..]));
}

#[test]
fn an_answer_to_what_another_answer_has_followed_changes_nothing() {
    let (mut talk, mut world) = (Talk::<StateOfTheWorld>::new(), World::new(&["web"]));
    talk.hear(asks(&["default"], "")).unwrap();
    talk.tell(&world.state()).unwrap();
    world.identities = vec![identity("web", 2)];
    assert_eq!(nonce(&talk.tell(&world.state()).unwrap()), "2");
    let late = talk.hear(asks(&["default", "ROOTCA"], "1")).unwrap();
    assert_eq!((late.asks, late.verdict), (false, None));
    let refused = Said { error: Some("bad".to_owned()), ..asks(&["default", "ROOTCA"], "2") };
    let heard = talk.hear(refused).unwrap();
    assert_eq!((heard.asks, heard.verdict), (true, Some(("2".to_owned(), Some("bad".to_owned())))), "it asks for more");
    assert_eq!(told(&talk.tell(&world.state()).unwrap()), ["ROOTCA", "default"]);
}

#[test]
fn a_refusal_is_answered_with_nothing() {
    let (mut talk, world) = (Talk::<StateOfTheWorld>::new(), World::new(&["web"]));
    talk.hear(asks(&["default"], "")).unwrap();
    talk.tell(&world.state()).unwrap();
    for _ in 0..1_000 {
        let refused = Said { error: Some("bad".to_owned()), ..asks(&["default"], "1") };
        assert!(!talk.hear(refused).unwrap().asks);
    }
    assert!(talk.tell(&world.state()).unwrap().answer.is_none());
}

#[test]
fn what_was_given_and_is_gone_is_lost_and_what_was_not_waits() {
    let mut world = World::new(&["web", "db"]);
    let mut whole = Talk::<StateOfTheWorld>::new();
    whole.hear(asks(&["spiffe://example.org/db", "spiffe://example.org/web"], "")).unwrap();
    let mut delta = Talk::<Delta>::new();
    delta.hear(changes(&["spiffe://example.org/db", "spiffe://example.org/web"], &[], "")).unwrap();
    for news in [whole.tell(&world.state()).unwrap(), delta.tell(&world.state()).unwrap()] {
        assert_eq!(told(&news).len(), 2);
    }
    world.identities.truncate(1);
    let news = whole.tell(&world.state()).unwrap();
    assert_eq!((news.lost, news.answer.is_none()), (texts(&["spiffe://example.org/db"]), true));
    let news = delta.tell(&world.state()).unwrap();
    assert_eq!(news.lost, ["spiffe://example.org/db"]);
    assert_eq!(news.answer.unwrap().gone, ["spiffe://example.org/db"]);
    // Once.
    assert!(delta.tell(&world.state()).unwrap().lost.is_empty());
}

#[test]
fn a_proxy_that_comes_back_is_told_what_it_has_no_more_and_waits_for_it() {
    let mut world = World::new(&["web"]);
    let mut talk = Talk::<Delta>::new();
    let had = [("spiffe://example.org/web", "old"), ("spiffe://example.org/db", "old")];
    let names = Names::Change {
        more: texts(&had.map(|(name, _)| name)),
        fewer: Vec::new(),
        had: had.map(|(name, version)| (name.to_owned(), version.to_owned())).into(),
    };
    talk.hear(Said { names, ..Said::default() }).unwrap();
    let news = talk.tell(&world.state()).unwrap();
    assert_eq!((told(&news), news.lost.len()), (vec!["spiffe://example.org/web"], 0));
    assert_eq!(news.answer.unwrap().gone, ["spiffe://example.org/db"]);
    world.identities.push(identity("db", 2));
    assert_eq!(told(&talk.tell(&world.state()).unwrap()), ["spiffe://example.org/db"]);
}

#[test]
fn what_a_proxy_has_from_earlier_is_heard_once() {
    let mut talk = Talk::<Delta>::new();
    let said = |number: usize, nonce: &str| {
        let had = (0..1_000).map(|name| (format!("{number}-{name}"), String::new())).collect();
        let names = Names::Change { more: Vec::new(), fewer: Vec::new(), had };
        Said { names, nonce: nonce.to_owned(), ..Said::default() }
    };
    for number in 0..50 {
        talk.hear(said(number, if number == 0 { "" } else { "1" })).unwrap();
    }
    let news = talk.tell(&World::new(&["web"]).state()).unwrap();
    let gone = news.answer.unwrap().gone;
    assert!(gone.len() == 1_000 && gone.iter().all(|name| name.starts_with("0-")), "{}", gone.len());
    let had = (0..1_025).map(|name| (name.to_string(), String::new())).collect();
    let many = Said { names: Names::Change { more: Vec::new(), fewer: Vec::new(), had }, ..Said::default() };
    assert_eq!(Talk::<Delta>::new().hear(many).unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[test]
fn delta_tells_what_changed_and_again_what_is_asked_for_again() {
    let (mut talk, mut world) = (Talk::<Delta>::new(), World::new(&["web"]));
    talk.hear(changes(&["default", "ROOTCA"], &[], "")).unwrap();
    assert_eq!(told(&talk.tell(&world.state()).unwrap()), ["ROOTCA", "default"]);
    world.identities = vec![identity("web", 2)];
    assert_eq!(told(&talk.tell(&world.state()).unwrap()), ["default"]);
    let heard = talk.hear(changes(&[], &[], "1")).unwrap();
    assert_eq!((heard.asks, heard.verdict), (false, Some(("1".to_owned(), None))), "also of an earlier answer");
    for strange in ["0", "3", "02", "x"] {
        assert_eq!(talk.hear(changes(&[], &[], strange)).unwrap().verdict, None, "{strange}");
    }
    assert!(talk.hear(changes(&["ROOTCA"], &["default"], "2")).unwrap().asks);
    assert_eq!(told(&talk.tell(&world.state()).unwrap()), ["ROOTCA"]);
    world.identities = vec![identity("web", 3)];
    assert!(talk.tell(&world.state()).unwrap().answer.is_none(), "it is not asked for any more");
}

#[test]
fn who_says_no_name_is_given_all_under_their_own_names() {
    let mut world = World::new(&["web", "db"]);
    world.federated = vec![(domain("other.org"), der(9))];
    let all = ["spiffe://example.org", "spiffe://example.org/db", "spiffe://example.org/web", "spiffe://other.org"];
    let mut whole = Talk::<StateOfTheWorld>::new();
    whole.hear(asks(&[], "")).unwrap();
    let mut delta = Talk::<Delta>::new();
    delta.hear(changes(&[], &[], "")).unwrap();
    let mut star = Talk::<Delta>::new();
    star.hear(changes(&["*"], &[], "")).unwrap();
    for news in [whole.tell(&world.state()), delta.tell(&world.state()), star.tell(&world.state())] {
        assert_eq!(told(&news.unwrap()), all);
    }
    star.hear(changes(&["*"], &[], "1")).unwrap();
    assert_eq!(told(&star.tell(&world.state()).unwrap()), all, "asked for again");
    assert!(star.hear(changes(&[], &["*"], "1")).unwrap().asks, "what is given up is signed for nobody");
    world.identities = vec![identity("web", 4)];
    let news = star.tell(&world.state()).unwrap();
    assert!(news.answer.is_none() && news.lost.is_empty(), "{:?}", news.lost);
}

#[test]
fn who_has_no_identity_is_told_nobody_to_trust() {
    let mut world = World::new(&[]);
    world.federated = vec![(domain("other.org"), der(9))];
    let mut talk = Talk::<StateOfTheWorld>::new();
    talk.hear(asks(&["ROOTCA", "spiffe://example.org", "default"], "")).unwrap();
    let news = talk.tell(&world.state()).unwrap();
    assert!(news.answer.is_none());
    assert_eq!(news.waiting, ["ROOTCA", "default", "spiffe://example.org"]);
}

#[test]
fn a_node_is_said_once_and_kept() {
    let mut talk = Talk::<StateOfTheWorld>::new();
    let first = talk.hear(Said { node: Some(envoy()), ..asks(&["ROOTCA"], "") }).unwrap();
    assert!(first.introduces);
    talk.tell(&World::new(&["web"]).state()).unwrap();
    let second = talk.hear(Said { node: Some(Node::default()), ..asks(&["ROOTCA"], "1") }).unwrap();
    assert!(!second.introduces && talk.proxy().id == "web-1");
}

#[test]
fn another_type_is_refused_with_both_names() {
    let mut talk = Talk::<StateOfTheWorld>::new();
    let cluster = "type.googleapis.com/envoy.config.cluster.v3.Cluster\n";
    let refused = talk.hear(Said { type_url: cluster.to_owned(), ..asks(&[], "") }).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert_eq!(
        refused.message(),
        format!("the type of what is asked for is `{}`, and not {TYPE_URL}", cluster.escape_debug())
    );
    assert!(talk.hear(Said { type_url: TYPE_URL.to_owned(), ..asks(&[], "") }).is_ok());
}

#[test]
fn versions_are_of_the_content() {
    let version = |world: &World, names: &[&str], node: Option<Node>| {
        let mut talk = Talk::<StateOfTheWorld>::new();
        talk.hear(Said { node, ..asks(names, "") }).unwrap();
        StateOfTheWorld::write(talk.tell(&world.state()).unwrap().answer.unwrap()).version_info
    };
    let (world, mut other) = (World::new(&["web"]), World::new(&["web"]));
    let first = version(&world, &["ROOTCA"], None);
    assert_eq!(first, version(&world, &["ROOTCA"], None), "as after a restart");
    assert_ne!(first, version(&world, &["ROOTCA"], Some(envoy())));
    assert_ne!(first, version(&world, &["ROOTCA", "default"], None));
    other.own.1 = der(8);
    assert_ne!(first, version(&other, &["ROOTCA"], None));
}

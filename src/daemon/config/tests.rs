//! The file as operators get it wrong, and the reference file as we ship it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    defaults::{DAY, HOUR},
    *,
};
use crate::{daemon::Paths, oauth::issuer::ISSUERS_MAX, registry::Label};

const MINUTE: Duration = Duration::from_secs(60);

const REFERENCE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/dayfly.toml"));

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, Path::new("dayfly.toml"), &Paths::system(), Overrides::default()).0
}

fn defaults() -> Config {
    Config::new(TrustDomain::parse("example.org").unwrap(), &Paths::system())
}

/// A file that says the trust domain on its first line and `text` from its second on.
fn named(text: &str) -> String {
    format!("trust_domain = \"example.org\"\n{text}")
}

#[test]
fn the_reference_file_has_the_defaults() {
    assert_eq!(parse(REFERENCE).unwrap(), defaults());
}

#[test]
fn the_reference_file_names_every_key_and_says_why() {
    let (_, known) = Config::parse("", Path::new("x"), &Paths::system(), Overrides::default());
    let mut table = String::new();
    let mut before = "";
    let mut named = Vec::new();
    for line in REFERENCE.lines() {
        // What has no default is shown as a comment.
        if let Some(name) = line.strip_prefix("# [[").and_then(|rest| rest.strip_suffix("]]")) {
            named.push(name.to_owned());
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = format!("{name}.");
            named.push(name.to_owned());
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(before.starts_with("# "), "{table}{key} has no word of why");
            named.push(format!("{table}{key}"));
        }
        before = line;
    }
    named.sort();
    assert_eq!(named, known);
}

#[test]
fn a_file_with_the_trust_domain_alone_is_enough() {
    assert_eq!(parse(&named("")).unwrap(), defaults());
}

#[test]
fn every_value_of_the_file_is_taken() {
    let config = parse(&named(
        r#"workload_sockets = ["/a", "/b"]
        admin_socket = "/c"
        admin_group = "0"
        http_socket = "/e"
        authz_socket = "/f"
        authz_group = "1"
        allow_unauthenticated_verifiers = true
        state_dir = "/d"
        host_root = "/proc/1/root"
        without_kernel = ["pidfd_info", "pass_rights"]
        x509 = { ttl = "90s", ttl_max = "2h", given_again = "10s" }
        authority = { layout = "self-signed", algorithm = "p384", issuing_ttl = "7d", root_ttl = "10d", token_key_ttl = "2d" }
        jwt = { ttl = "1m", ttl_max = "2m", issuer = "https://issuer.example.org", leeway = "0s" }
        wit = { enabled = true, ttl = "3m", ttl_max = "4m" }
        token = { issuer = "https://as.example.org:8443/a/b", environment = "production", nonce = "require", proof_age_max = "2m", proof_ahead_max = "0s", user_issuer = [{ issuer = "https://login.test/", jwks = "/g" }] }
        authz = { replay_entries_max = 100, replay_entries_per_key_max = 7, replay_nonce = "require", certificate_header = "X-Client-Cert", issuer = [{ issuer = "https://idp.test", jwks = "/i" }] }
        audit = { durability = "strict", segment_bytes = 1048576, total_bytes = "64MiB", refusals_per_uid_minute = 5, bytes_per_uid_minute = "1MiB" }
        ops = { address = "0.0.0.0:9464", allow_remote = true }
        log = { level = "trace", format = "json" }
        [limits]
        connections_per_uid = 1
        connections_uid_0 = 2
        connections_total = 3
        streams_per_connection = 4
        streams_per_uid = 5
        streams_uid_0 = 6
        streams_total = 7
        answer_bytes_per_uid = "5MiB"
        answer_bytes_uid_0 = "6MiB"
        answer_bytes_total = "7MiB"
        connects_per_second = 8
        requests_per_second = 9
        header_list_bytes = 8192
        request_message_bytes = "5KiB"
        preface_seconds = 11
        request_seconds = 17
        attestation_seconds = 12
        ping_seconds = 13
        hash_seconds = 14
        hash_bytes_max = "2MiB"
        hashes_at_once = 15
        [runtime]
        worker_threads = 16"#,
    ))
    .unwrap();
    let expected = Config {
        workload_sockets: vec!["/a".into(), "/b".into()],
        admin_socket: "/c".into(),
        admin_group: Some(Group { name: "0".into(), gid: 0 }),
        http_socket: "/e".into(),
        authz_socket: "/f".into(),
        authz_group: Some(Group { name: "1".into(), gid: 1 }),
        state_dir: "/d".into(),
        host_root: "/proc/1/root".into(),
        without_kernel: vec![Feature::PidfdInfo, Feature::PassRights],
        allow_unauthenticated_verifiers: true,
        x509: X509 { ttl: Duration::from_secs(90), ttl_max: HOUR * 2, given_again: Duration::from_secs(10) },
        jwt: Jwt {
            ttl: MINUTE,
            ttl_max: MINUTE * 2,
            issuer: Some("https://issuer.example.org".into()),
            leeway: Duration::ZERO,
        },
        wit: Wit { enabled: true, ttl: MINUTE * 3, ttl_max: MINUTE * 4 },
        token: Token {
            issuer: "https://as.example.org:8443/a/b".into(),
            environment: Some(Label::parse("production").unwrap()),
            nonce: Nonce::Require,
            proof_age_max: MINUTE * 2,
            proof_ahead_max: Duration::ZERO,
            user_issuers: vec![PinnedIssuer {
                name: IssuerName::parse("https://login.test/").unwrap(),
                jwks: "/g".into(),
            }],
        },
        authz: Authz {
            replay_entries_max: 100,
            replay_entries_per_key_max: Some(7),
            replay_nonce: Some(Nonce::Require),
            certificate_header: Some(HeaderName::from_static("x-client-cert")),
            issuers: vec![PinnedIssuer { name: IssuerName::parse("https://idp.test").unwrap(), jwks: "/i".into() }],
        },
        authority: Authority {
            layout: Layout::SelfSigned,
            algorithm: Algorithm::P384,
            issuing_ttl: DAY * 7,
            root_ttl: DAY * 10,
            token_key_ttl: DAY * 2,
        },
        audit: Audit {
            durability: Durability::Strict,
            segment_bytes: 1 << 20,
            total_bytes: 64 << 20,
            refusals_per_uid_minute: 5,
            bytes_per_uid_minute: 1 << 20,
        },
        ops: Ops { address: Some(OpsAddress::Tcp("0.0.0.0:9464".parse().unwrap())), allow_remote: true },
        log: Log { level: LogLevel::Trace, format: LogFormat::Json },
        limits: Limits {
            connections_per_uid: 1,
            connections_uid_0: 2,
            connections_total: Some(3),
            streams_per_connection: 4,
            streams_per_uid: 5,
            streams_uid_0: 6,
            streams_total: 7,
            answer_bytes_per_uid: 5 << 20,
            answer_bytes_uid_0: 6 << 20,
            answer_bytes_total: 7 << 20,
            connects_per_second: 8,
            requests_per_second: 9,
            header_list_bytes: 8_192,
            request_message_bytes: 5_120,
            preface: Duration::from_secs(11),
            request: Duration::from_secs(17),
            attestation: Duration::from_secs(12),
            ping: Duration::from_secs(13),
            hash: Duration::from_secs(14),
            hash_bytes_max: 2 << 20,
            hashes_at_once: 15,
        },
        runtime: Runtime { worker_threads: 16 },
        ..defaults()
    };
    assert_eq!(config, expected);
}

/// What stands from line 2 on, the line of the problem (0: the file as a whole), and words of it.
const WRONG: &[(&str, usize, &str)] = &[
    ("trust_domian = 1", 2, "unknown key `trust_domian`, did you mean `trust_domain`?"),
    ("whatever = 1", 2, "unknown key `whatever`"),
    ("[x509]\ntll = \"1h\"", 3, "unknown key `x509.tll`, did you mean `ttl`?"),
    ("[nonsense]\na = 1", 2, "unknown key `nonsense`"),
    ("x509 = 3", 2, "x509: must be a table, not a number"),
    ("[x509]\nttl = 3600", 3, "x509.ttl: must be a text, not a number"),
    ("[x509]\nttl = \"1 hour\"", 3, "`1 hour` is not a length of time"),
    ("[x509]\nttl = \"1s\"", 3, "x509.ttl: must be from 2s to 1y, not 1s"),
    ("[x509]\nttl = \"2d\"", 3, "x509.ttl: cannot be longer than x509.ttl_max"),
    ("[x509]\nttl_max = \"10m\"", 3, "x509.ttl: cannot be longer than x509.ttl_max"),
    ("[authority]\nissuing_ttl = \"90m\"", 3, "authority.issuing_ttl: must be at least twice x509.ttl"),
    ("[jwt]\nttl = \"2h\"", 3, "jwt.ttl: cannot be longer than jwt.ttl_max"),
    ("[wit]\nttl_max = \"2m\"", 3, "wit.ttl: cannot be longer than wit.ttl_max"),
    ("[jwt]\nttl_max = \"5h\"", 3, "authority.token_key_ttl: must be at least six times jwt.ttl_max"),
    ("[authority]\ntoken_key_ttl = \"5h\"", 3, "authority.token_key_ttl: must be at least six times jwt.ttl_max"),
    ("[jwt]\nissuer = \"a b\"", 3, "jwt.issuer: must be a URL or a name in ASCII without spaces"),
    ("[jwt]\nissuer = 'a\\b'", 3, "without spaces, quotes and backslashes"),
    ("[jwt]\nleeway = \"61s\"", 3, "jwt.leeway: must be from 0s to 1m"),
    ("[token]\nissuer = \"http://a.test/oauth\"", 3, "token.issuer: must be an https URL"),
    ("[token]\nissuer = \"https://A.test\"", 3, "token.issuer: must name a host in lower case"),
    ("[token]\nissuer = \"https://u@a.test\"", 3, "token.issuer: must name a host in lower case, with a port or none"),
    ("[token]\nissuer = \"https://a.test:x/oauth\"", 3, "token.issuer: must name a host in lower case, with a port"),
    ("[token]\nissuer = \"https:///oauth\"", 3, "token.issuer: must name a host"),
    ("[token]\nissuer = \"https://a.test/\"", 3, "token.issuer: must have a plain path: no slash at its end"),
    ("[token]\nissuer = \"https://a.test/a/../b\"", 3, "token.issuer: must have a plain path"),
    ("[token]\nissuer = \"https://a.test/a?b\"", 3, "token.issuer: must have a plain path"),
    ("[token]\nissuer = \"https://a.test/%41\"", 3, "token.issuer: must have a plain path"),
    ("[token]\nissuer = 1", 3, "token.issuer: must be a text, not a number"),
    ("[jwt]\nissuer = \"https://example.org/oauth\"", 3, "token.issuer: cannot be jwt.issuer"),
    ("[authz]\nreplay_entries_max = 0", 3, "authz.replay_entries_max: must be from 1 to 64000000, not 0"),
    ("[authz]\nreplay_entries_max = 64000001", 3, "authz.replay_entries_max: must be from 1 to 64000000, not 64000001"),
    ("[authz]\nreplay_entries_max = \"many\"", 3, "authz.replay_entries_max: must be a whole number, not a text"),
    (
        "[authz]\nreplay_entries_max = 10\nreplay_entries_per_key_max = 11",
        4,
        "authz.replay_entries_per_key_max: cannot be more than authz.replay_entries_max",
    ),
    (
        "[authz]\nreplay_entries_per_key_max = \"some\"",
        3,
        "authz.replay_entries_per_key_max: must be a whole number or \"auto\", not a text",
    ),
    (
        "[authz]\nreplay_nonce = \"on\"",
        3,
        "authz.replay_nonce: must be \"token\" or \"off\" or \"require\", not \"on\"",
    ),
    ("[authz]\nreplay_entries = 1", 3, "unknown key `authz.replay_entries`"),
    ("[token]\nnonce = true", 3, "token.nonce: must be a text, not true or false"),
    ("[token]\nnonce = \"on\"", 3, "token.nonce: must be \"off\" or \"require\", not \"on\""),
    ("[token]\nproof_age_max = \"0s\"", 3, "token.proof_age_max: must be from 1s to 5m, not 0s"),
    ("[token]\nproof_age_max = \"6m\"", 3, "token.proof_age_max: must be from 1s to 5m, not 6m"),
    ("[token]\nproof_ahead_max = \"61s\"", 3, "token.proof_ahead_max: must be from 0s to 1m"),
    ("[token]\nuser_issuer = 1", 3, "token.user_issuer: must be a list of tables"),
    ("[token]\nuser_issuer = [1]", 3, "token.user_issuer: must be a table, not a number"),
    ("[[token.user_issuer]]\nissuer = \"https://a.test\"", 2, "token.user_issuer: jwks is missing"),
    ("[[token.user_issuer]]\njwks = \"/a\"", 2, "token.user_issuer: issuer is missing"),
    (
        "[[token.user_issuer]]\nissuer = \"http://a.test\"\njwks = \"/a\"",
        3,
        "token.user_issuer.issuer: `http://a.test`",
    ),
    (
        "[[token.user_issuer]]\nissuer = \"https://a.test\"\njwks = \"a\"",
        4,
        "token.user_issuer.jwks: must be an absolute",
    ),
    (
        "[[token.user_issuer]]\nissuer = \"https://a.test\"\njwks = \"/a\"\nkey = 1",
        5,
        "unknown key `token.user_issuer.key`",
    ),
    (
        "[token]\nuser_issuer = [{ issuer = \"https://a.test\", jwks = \"/a\" }, { issuer = \"https://a.test\", jwks = \"/b\" }]",
        3,
        "token.user_issuer: the issuer https://a.test is named twice",
    ),
    (
        "[[token.user_issuer]]\nissuer = \"https://example.org/oauth\"\njwks = \"/a\"",
        2,
        "token.user_issuer: cannot be https://example.org/oauth, which is this daemon",
    ),
    ("[authz]\ncertificate_header = \"a b\"", 3, "authz.certificate_header: `a b` is no name of a header"),
    ("[authz]\ncertificate_header = \"DPoP\"", 3, "authz.certificate_header: cannot be `dpop`"),
    ("[[authz.issuer]]\nissuer = \"https://a.test\"", 2, "authz.issuer: jwks is missing"),
    (
        "[[authz.issuer]]\nissuer = \"https://example.org/oauth\"\njwks = \"/a\"",
        2,
        "authz.issuer: cannot be https://example.org/oauth, which is this daemon: every tool takes its tokens",
    ),
    ("[token]\nproof_age = \"1m\"", 3, "unknown key `token.proof_age`"),
    ("[authority]\nroot_ttl = \"36h\"", 3, "authority.root_ttl: must be at least twice authority.issuing_ttl"),
    (
        "[x509]\nttl = \"10s\"\n[authority]\nissuing_ttl = \"20s\"",
        5,
        "authority.issuing_ttl: must be at least 2m, not 20s",
    ),
    (
        "[x509]\nttl = \"10s\"\n[authority]\nlayout = \"self-signed\"\nissuing_ttl = \"119s\"",
        6,
        "authority.issuing_ttl: must be at least 2m, not 1m59s",
    ),
    (
        "[x509]\nttl = \"10s\"\n[authority]\nissuing_ttl = \"2m\"\nroot_ttl = \"719s\"",
        6,
        "authority.root_ttl: must be at least 12m, not 11m59s",
    ),
    ("[authority]\nlayout = \"flat\"", 3, "authority.layout: must be \"rooted\" or \"self-signed\", not \"flat\""),
    ("[authority]\nalgorithm = \"rsa\"", 3, "authority.algorithm: must be \"p256\" or \"p384\""),
    ("[audit]\ndurability = true", 3, "audit.durability: must be a text, not true or false"),
    ("[audit]\nsegment_bytes = \"1GB\"", 3, "`1GB` is not a size"),
    ("[audit]\n\ntotal_bytes = \"32MiB\"", 4, "audit.total_bytes: must be at least four times audit.segment_bytes"),
    ("[audit]\nsegment_bytes = \"1GiB\"", 3, "audit.total_bytes: must be at least four times audit.segment_bytes"),
    ("[audit]\nbytes_per_uid_minute = 1", 3, "audit.bytes_per_uid_minute: must be from 1KiB to "),
    ("[audit]\nrefusals_per_uid_minute = 0", 3, "must be from 1 to 1000000, not 0"),
    ("[ops]\naddress = \"0.0.0.0:9464\"", 3, "other machines can reach 0.0.0.0:9464"),
    ("[ops]\naddress = \"[::]:9464\"", 3, "other machines can reach [::]:9464"),
    ("[ops]\naddress = \"localhost\"", 3, "ops.address: must be \"off\""),
    ("[ops]\naddress = \"/run/dayfly/admin.sock\"", 3, "the socket \"/run/dayfly/admin.sock\" is named twice"),
    ("[ops]\nallow_remote = \"yes\"", 3, "ops.allow_remote: must be true or false, not a text"),
    (
        "[log]\nlevel = \"INFO\"",
        3,
        "log.level: must be \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\", not \"INFO\"",
    ),
    ("[log]\nformat = 1979-05-27", 3, "log.format: must be a text, not a date"),
    ("[limits]\nconnections_total = \"all\"", 3, "must be a whole number or \"auto\", not a text"),
    ("[limits]\nstreams_total = -1", 3, "limits.streams_total: must be from 1 to 1000000, not -1"),
    ("[limits]\nstreams_total = 4294967297", 3, "limits.streams_total: must be from 1 to 1000000, not 4294967297"),
    ("[limits]\nstreams_total = 1.5", 3, "must be a whole number, not a number with a fraction"),
    ("[limits]\nheader_list_bytes = \"2MiB\"", 3, "limits.header_list_bytes: must be from 4KiB to 1MiB, not 2MiB"),
    ("[limits]\nping_seconds = 0", 3, "limits.ping_seconds: must be from 1 to 600, not 0"),
    ("[runtime]\nworker_threads = 0", 3, "runtime.worker_threads: must be from 1 to 256, not 0"),
    ("workload_sockets = []", 2, "workload_sockets: must name at least one socket"),
    ("workload_sockets = \"/a\"", 2, "workload_sockets: must be a list, not a text"),
    ("workload_sockets = [\n\"/a\",\n\"b\"]", 4, "workload_sockets: must be an absolute path, not \"b\""),
    (
        "workload_sockets = [\"tcp://127.0.0.1:8081\"]",
        2,
        "workload_sockets: must be an absolute path, not \"tcp://127.0.0.1:8081\"",
    ),
    ("workload_sockets = [\"/a\", \"/a\"]", 2, "workload_sockets: the socket \"/a\" is named twice"),
    (
        "admin_socket = \"/run/dayfly/workload.sock\"",
        2,
        "admin_socket: the socket \"/run/dayfly/workload.sock\" is named twice",
    ),
    ("admin_group = \"no such group\"", 2, "admin_group: there is no group `no such group` on this node"),
    ("state_dir = \"state\"", 2, "state_dir: must be an absolute path"),
    ("host_root = \"/a\\u0000\"", 2, "host_root: a path cannot hold the character NUL"),
    (
        "without_kernel = [\"io_uring\"]",
        2,
        "without_kernel: `io_uring` is not one of peer_pidfd, pidfd_inode, pidfd_info, pass_rights",
    ),
    ("trust_domain = \"twice.org\"", 2, "duplicate key"),
    ("= 1", 2, ""),
    ("[x509", 2, ""),
    ("a = \"open", 2, ""),
];

#[test]
fn each_mistake_is_told_with_its_line_and_nothing_else_is() {
    for (text, line, words) in WRONG {
        let problems = parse(&named(text)).unwrap_err();
        let told = problems.lines();
        assert!(told.iter().all(|(at, _)| *at == Some(*line)), "{text}: {problems}");
        assert!(told.iter().any(|(_, said)| said.contains(words)), "{text}: {problems}");
        assert!(told.len() == 1 || words.is_empty(), "{text}: {problems}");
    }
}

#[test]
fn the_issuer_of_access_tokens_follows_from_the_trust_domain_or_is_one_url() {
    let issuer = |text: &str| parse(&named(text)).unwrap().token.issuer;
    assert_eq!(issuer(""), "https://example.org/oauth");
    assert_eq!(issuer("[token]\nissuer = \"\""), "https://example.org/oauth");
    for url in ["https://a.test", "https://a.test:8443", "https://10.0.0.1/oauth", "https://a.test/A/b-c_d~e.f"] {
        assert_eq!(issuer(&format!("[token]\nissuer = \"{url}\"")), url);
    }
    let of_bytes = |bytes: usize| format!("[token]\nissuer = \"https://a.test/{}\"", "p".repeat(bytes - 15));
    assert_eq!(issuer(&of_bytes(512)).len(), 512);
    let problems = parse(&named(&of_bytes(513))).unwrap_err();
    assert!(problems.to_string().contains("has 513 bytes, at most 512 are allowed"), "{problems}");
    let flagged = Overrides { trust_domain: Some("other.test".into()), ..Overrides::default() };
    let config = Config::parse(&named(""), Path::new("dayfly.toml"), &Paths::system(), flagged).0.unwrap();
    assert_eq!(config.token.issuer, "https://other.test/oauth");
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_lines() {
    let text = "trust_domain = \"Example.Org\"\n[x509]\nttl = \"x\"\n[limits]\nstreams = 1\n[ops]\naddress = \"1.2.3.4:1\"\nhm = [\n";
    let problems = parse(text).unwrap_err();
    let lines: Vec<_> = problems.lines().into_iter().map(|(line, _)| line.unwrap()).collect();
    assert_eq!(lines, [1, 3, 5, 7, 8], "{problems}");
    let printed = problems.to_string();
    assert!(printed.starts_with("dayfly.toml:1: trust_domain: `Example.Org` is not a trust domain name"), "{printed}");
    assert_eq!(printed.lines().count(), problems.count());
}

#[test]
fn a_trust_domain_must_be_one_to_issue_under() {
    for name in ["", "Example.org", "spiffe://example.org", "a..b", "a b", "exämple", "example.org:1"] {
        let problems = parse(&format!("trust_domain = \"{name}\"")).unwrap_err();
        assert_eq!(problems.count(), 1, "{problems}");
        assert!(problems.to_string().starts_with("dayfly.toml:1: trust_domain: "), "{problems}");
    }
}

#[test]
fn a_missing_trust_domain_is_told_without_a_line() {
    let problems = parse("[log]\nlevel = \"debug\"").unwrap_err();
    assert_eq!(problems.to_string(), "dayfly.toml: trust_domain is missing: set it here, or give --trust-domain");
}

#[test]
fn the_flags_win_and_their_mistakes_are_told_as_theirs() {
    let load = |overrides| Config::parse(&named(""), Path::new("dayfly.toml"), &Paths::system(), overrides).0;
    let good = Overrides { trust_domain: Some("other.test".into()), without_kernel: vec!["peer_pidfd".into()] };
    let config = load(good).unwrap();
    assert_eq!(config.trust_domain.as_str(), "other.test");
    assert_eq!(config.without_kernel, [Feature::PeerPidfd]);

    let bad = Overrides { trust_domain: Some("Other".into()), without_kernel: vec!["all".into()] };
    let printed = load(bad).unwrap_err().to_string();
    assert!(printed.starts_with("--trust-domain: `Other` is not"), "{printed}");
    assert!(printed.contains("\n--without-kernel: `all` is not one of"), "{printed}");
}

#[test]
fn a_socket_path_of_107_bytes_is_the_longest() {
    let socket = |bytes: usize| format!("/{}", "s".repeat(bytes - 1));
    assert!(parse(&named(&format!("admin_socket = \"{}\"", socket(107)))).is_ok());
    let problems = parse(&named(&format!("admin_socket = \"{}\"", socket(108)))).unwrap_err();
    assert!(
        problems.to_string().contains("dayfly.toml:2: admin_socket: a socket's path can have 107 bytes"),
        "{problems}"
    );
}

#[test]
fn a_home_too_deep_for_sockets_is_told() {
    let paths = Paths::below(&PathBuf::from(format!("/{}", "d".repeat(100))));
    let (config, _) = Config::parse(&named(""), Path::new("dayfly.toml"), &paths, Overrides::default());
    let problems = config.unwrap_err();
    assert_eq!(problems.count(), 4, "{problems}");
    assert!(problems.to_string().contains("dayfly.toml: workload_sockets: a socket's path can have"), "{problems}");
}

#[test]
fn the_default_file_may_be_missing_but_a_named_one_may_not() {
    let home = crate::sys::scratch::Scratch::new();
    let paths = Paths::below(home.path());
    let overrides = || Overrides { trust_domain: Some("example.org".into()), ..Overrides::default() };
    assert!(Config::load(None, &paths, overrides()).is_ok());
    let problems = Config::load(Some(&paths.config), &paths, overrides()).unwrap_err();
    assert!(problems.to_string().contains("dayfly.toml: cannot be read: No such file"), "{problems}");
}

#[test]
fn a_file_that_is_no_text_or_too_large_is_refused() {
    let home = crate::sys::scratch::Scratch::new();
    let paths = Paths::below(home.path());
    fs::write(&paths.config, b"# one\n# two \xff\n").unwrap();
    let problems = Config::load(None, &paths, Overrides::default()).unwrap_err();
    assert!(problems.to_string().ends_with("dayfly.toml:2: is not UTF-8 text"), "{problems}");
    fs::write(&paths.config, vec![b'\n'; 1 << 20 | 1]).unwrap();
    let problems = Config::load(None, &paths, Overrides::default()).unwrap_err();
    assert!(problems.to_string().contains("larger than 1MiB"), "{problems}");
}

#[test]
fn a_file_that_everybody_may_write_is_refused() {
    let home = crate::sys::scratch::Scratch::new();
    let paths = Paths::below(home.path());
    fs::write(&paths.config, named("")).unwrap();
    for (mode, is_read) in [(0o600, true), (0o644, true), (0o664, true), (0o666, false), (0o602, false)] {
        fs::set_permissions(&paths.config, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = Config::load(None, &paths, Overrides::default());
        assert_eq!(loaded.is_ok(), is_read, "{mode:o}");
        if let Err(problems) = loaded {
            assert!(problems.to_string().contains("everybody may write it"), "{problems}");
        }
    }
}

#[test]
fn numbers_are_read_as_toml_writes_them() {
    for written in ["1_024", "0x400", "0o2000", "0b100_0000_0000", "+1024"] {
        let config = parse(&named(&format!("[limits]\nstreams_total = {written}"))).unwrap();
        assert_eq!(config.limits.streams_total, 1_024, "{written}");
    }
}

#[test]
fn there_are_so_many_issuers_and_not_one_more() {
    let of = |count: usize| {
        let tables =
            (0..count).map(|at| format!("[[token.user_issuer]]\nissuer = \"https://{at}.test\"\njwks = \"/{at}\"\n"));
        parse(&named(&tables.collect::<String>()))
    };
    assert_eq!(of(ISSUERS_MAX).unwrap().token.user_issuers.len(), ISSUERS_MAX);
    let problems = of(ISSUERS_MAX + 1).unwrap_err().to_string();
    assert!(problems.contains("there are 65 issuers, at most 64 are allowed"), "{problems}");
}

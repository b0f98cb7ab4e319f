//! The security header and everything else that a request says of itself (ADV-RPC 01–08, 16, 25, 26).

use super::{
    common::{
        Daemon,
        h2raw::{
            FETCH_BUNDLES, FETCH_SVID, Head, INVALID_ARGUMENT, PERMISSION_DENIED, Raw, SECURITY, UNIMPLEMENTED, message,
        },
    },
    registered,
};

/// Every method of the workload socket, and two that no service has.
const METHODS: [&str; 13] = [
    FETCH_SVID,
    FETCH_BUNDLES,
    "/SpiffeWorkloadAPI/FetchJWTSVID",
    "/SpiffeWorkloadAPI/FetchJWTBundles",
    "/SpiffeWorkloadAPI/ValidateJWTSVID",
    "/SpiffeWorkloadAPI/FetchWITSVID",
    "/SpiffeWorkloadAPI/FetchWITBundles",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/SpiffeWorkloadAPI/Unknown",
    "/unknown.Service/Method",
];

#[test]
fn without_exactly_one_security_header_every_method_is_an_invalid_argument() {
    let daemon = registered("");
    let attested = daemon.status().sum("attestations", "");
    for method in METHODS {
        for (what, head) in wrong_headers(method) {
            let answer = Raw::connect(&daemon.socket()).unwrap().ask(&head).unwrap();
            assert_eq!(answer.code(), Some(INVALID_ARGUMENT), "{method} with {what}: {answer:?}");
            assert!(answer.is_trailers_only(), "{method} with {what}: {answer:?}");
            assert_eq!(answer.words(), "security header missing from request", "{method} with {what}");
        }
    }
    assert_eq!(daemon.status().sum("attestations", ""), attested, "nobody was attested");
    daemon.must_serve("wrong headers");
}

fn wrong_headers(method: &str) -> Vec<(String, Head)> {
    let bare = || Head::bare(method);
    let mut heads = vec![("no header".to_owned(), bare())];
    let values =
        ["True", "TRUE", "1", "yes", "", " true", "true ", "\ttrue", "true,true", "true, true", "false", "tru\u{ff}e"];
    heads.extend(values.map(|value| (format!("{value:?}"), bare().with(SECURITY.0, value))));
    heads.push(("bytes that are no text".to_owned(), bare().with_bytes(SECURITY.0.as_bytes(), b"\xff\xfe")));
    for (one, two) in [("true", "true"), ("true", "false"), ("false", "true"), ("", "true"), ("true", "")] {
        heads.push((format!("{one:?} and {two:?}"), bare().with(SECURITY.0, one).with(SECURITY.0, two)));
    }
    for name in ["workload.spiffe.io-bin", "x-workload.spiffe.io", "workload-spiffe-io", "workload.spiffe.io."] {
        heads.push((name.to_owned(), bare().with(name, "true")));
    }
    heads
}

#[test]
fn what_is_not_grpc_is_an_unsupported_media_type() {
    let daemon = registered("");
    let attested = daemon.status().sum("attestations", "");
    for method in [FETCH_SVID, "/unknown.Service/Method"] {
        for kind in [None, Some(""), Some("text/plain"), Some("application/grpc-web"), Some("application/grpc+json")] {
            // The security header is missing from some: the kind of the content is looked at first.
            let mut head = if kind.is_some() { Head::new(method) } else { Head::bare(method) };
            head.fields.retain(|(name, _)| name != b"content-type");
            head.fields.extend(kind.map(|kind| (b"content-type".to_vec(), kind.as_bytes().to_vec())));
            let answer = Raw::connect(&daemon.socket()).unwrap().ask(&head).unwrap();
            assert_eq!(answer.field(":status"), Some("415"), "{method} as {kind:?}: {answer:?}");
            assert!(answer.messages.is_empty() && answer.code().is_none(), "{method} as {kind:?}: {answer:?}");
        }
    }
    assert_eq!(daemon.status().sum("attestations", ""), attested, "nobody was attested");
    let mut head = Head::new(FETCH_SVID);
    head.fields.retain(|(name, _)| name != b"content-type");
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let stream = raw.call(&head.with("content-type", "application/grpc+proto"), &message(&[])).unwrap();
    assert!(raw.next_message(stream).unwrap().is_ok());
}

#[test]
fn an_unknown_method_is_unimplemented() {
    let daemon = registered("");
    for method in [
        "/SpiffeWorkloadAPI/Unknown",
        "/unknown.Service/Method",
        "/",
        "/SpiffeWorkloadAPI/",
        "/SpiffeWorkloadAPI/FetchX509SVID/",
    ] {
        let answer = Raw::connect(&daemon.socket()).unwrap().ask(&Head::new(method)).unwrap();
        assert_eq!(answer.code(), Some(UNIMPLEMENTED), "{method}: {answer:?}");
    }
    // Incubating, and not switched on.
    for profile in ["FetchWITSVID", "FetchWITBundles"] {
        let answer =
            Raw::connect(&daemon.socket()).unwrap().ask(&Head::new(&format!("/SpiffeWorkloadAPI/{profile}"))).unwrap();
        assert_eq!(answer.code(), Some(UNIMPLEMENTED), "{profile}: {answer:?}");
    }
    daemon.must_serve("unknown methods");
}

#[test]
fn health_answers_who_brings_the_header() {
    let daemon = registered("");
    let answer = Raw::connect(&daemon.socket()).unwrap().ask(&Head::new("/grpc.health.v1.Health/Check")).unwrap();
    assert_eq!(answer.code(), Some(0), "{answer:?}");
    // HealthCheckResponse.status is field 1, SERVING is 1.
    assert_eq!(answer.messages, [[8, 1]]);
}

#[test]
fn any_authority_is_served() {
    let daemon = registered("");
    let socket = daemon.socket();
    let encoded = socket.to_str().unwrap().replace('/', "%2F");
    let values: [Option<&[u8]>; 9] = [
        Some(b"%2Frun%2Fx.sock"),
        Some(b"/run/x.sock"),
        Some(b""),
        None,
        Some(b"localhost"),
        Some(encoded.as_bytes()),
        Some(b"unix:/run/x.sock"),
        Some(b"[::1]:80"),
        Some(b"a b\"<>\\^`{|}"),
    ];
    for value in values {
        let mut raw = Raw::connect(&socket).unwrap();
        // Several on one connection, as a client has it.
        for round in 0..3 {
            let head = Head::new(FETCH_SVID).authority(value);
            let stream = raw.call(&head, &message(&[])).unwrap();
            let next = raw.next_message(stream);
            let shown = value.map(String::from_utf8_lossy);
            assert!(matches!(next, Ok(Ok(_))), "authority {shown:?}, round {round}: {next:?}");
        }
    }
    daemon.must_serve("authorities");
}

#[test]
fn what_a_caller_says_of_itself_is_ignored() {
    let daemon = registered("");
    let head = Head::new(FETCH_SVID)
        .with("authorization", "Bearer spiffe://example.org/other")
        .with("x-forwarded-client-cert", "URI=spiffe://example.org/other")
        .with("x-dayfly-uid", "0");
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let stream = raw.call(&head, &message(&[])).unwrap();
    let answer = raw.next_message(stream).unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("spiffe://example.org/me") && !text.contains("/other"), "{text}");
}

#[test]
fn an_unregistered_process_is_denied_with_trailers_only() {
    let daemon = Daemon::start("");
    daemon.entry("spiffe://example.org/nobody", &["unix:uid:4294967294"], &[]);
    for method in [FETCH_SVID, FETCH_BUNDLES] {
        let answer = Raw::connect(&daemon.socket()).unwrap().ask(&Head::new(method)).unwrap();
        assert_eq!(answer.code(), Some(PERMISSION_DENIED), "{method}: {answer:?}");
        assert_eq!(answer.words(), "no identity issued", "{method}");
        assert!(answer.is_trailers_only(), "{method}: {answer:?}");
    }
}

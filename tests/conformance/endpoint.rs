//! The endpoint: how it is reached, what it asks of a request before it looks at it, and what is there.

use std::{collections::BTreeSet, time::Duration};

use prost::Message as _;
use prost_types::FileDescriptorProto;

use super::{
    common::{
        h2raw::{Head, INVALID_ARGUMENT, Raw, SECURITY, UNIMPLEMENTED, message},
        messages::Nothing,
    },
    rows::Rows,
    subject::Subject,
    wire::{METHODS, Reflect, Reflected, X509Answer, call, code, path},
};

const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// WEP-06, WEP-07, WEP-08, WEP-09, CLI-36, ADV-RPC-01, ADV-RPC-02, ADV-RPC-03, ADV-RPC-04, ADV-RPC-05, ADV-RPC-06,
/// ADV-RPC-07.
#[test]
fn every_method_asks_for_exactly_one_security_header() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("every_method_asks_for_exactly_one_security_header", &subject);
    let paths = METHODS.map(path).into_iter().chain([REFLECTION.to_owned()]);
    for path in paths {
        let name = path.rsplit('/').next().unwrap().to_owned();
        let bare = || Head::bare(&path);
        let mut heads = vec![("ADV-RPC-01 no header".to_owned(), bare())];
        for value in ["True", "TRUE", "1", "yes", "", "false"] {
            heads.push((format!("ADV-RPC-02 {value:?}"), bare().with(SECURITY.0, value)));
        }
        for [one, two] in [["true", "true"], ["true", "false"], ["false", "true"]] {
            heads.push((format!("ADV-RPC-03/04 {one}, {two}"), bare().with(SECURITY.0, one).with(SECURITY.0, two)));
        }
        heads.push(("ADV-RPC-05 true,true".to_owned(), bare().with(SECURITY.0, "true,true")));
        for other in ["workload.spiffe.io-bin", "x-workload.spiffe.io"] {
            heads.push((format!("ADV-RPC-06 {other}"), bare().with(other, "true")));
        }
        for (row, head) in heads {
            let seen = call(&subject, &head).map(|answer| answer.map_or_else(|end| end.code(), |_| Some(0)));
            let row = if name == "ServerReflectionInfo" { format!("{row}, reflection") } else { row };
            rows.must(row, seen == Some(Some(INVALID_ARGUMENT)), (&name, seen));
        }
    }
    rows.settle();
}

/// WEP-17, WAPI-03.
#[test]
fn what_is_not_there_is_unimplemented() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("what_is_not_there_is_unimplemented", &subject);
    for (row, path) in [
        ("WEP-17 unknown method", "/SpiffeWorkloadAPI/Nope"),
        ("WEP-17 unknown service", "/unknown.Service/Method"),
        ("WAPI-03 with a package", "/spiffe.workload.SpiffeWorkloadAPI/FetchX509SVID"),
        ("WAPI-03 with an empty package", "/.SpiffeWorkloadAPI/FetchX509SVID"),
        ("WAPI-03 in lower case", "/spiffeworkloadapi/FetchX509SVID"),
    ] {
        let seen = call(&subject, &Head::new(path)).map(|answer| answer.map_or_else(|end| end.code(), |_| Some(0)));
        rows.equal(row, seen, Some(Some(UNIMPLEMENTED)));
    }
    for path in ["FetchX509SVID", "FetchX509Bundles"].map(path) {
        let is_served = matches!(call(&subject, &Head::new(&path)), Some(Ok(_)));
        rows.must("WAPI-03 without a package, as it is", is_served, path);
    }
    rows.settle();
}

/// WEP-19, WEP-20, WAPI-01, WEP-18.
#[test]
fn reflection_shows_the_seven_methods_and_no_more() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("reflection_shows_the_seven_methods_and_no_more", &subject);
    let mut raw = subject.connect();
    let request = Reflect { file_containing_symbol: "SpiffeWorkloadAPI".to_owned() };
    let stream = raw.call(&Head::new(REFLECTION), &message(&request.encode_to_vec())).unwrap();
    let answer = raw.next_message(stream).unwrap().unwrap();
    let files = Reflected::decode(&*answer).unwrap().files.unwrap_or_default().files;
    let files = files.iter().map(|file| FileDescriptorProto::decode(&**file).unwrap());
    let services: Vec<_> =
        files.flat_map(|file| file.service).filter(|one| one.name() == "SpiffeWorkloadAPI").collect();
    let found: BTreeSet<_> =
        services.iter().flat_map(|service| &service.method).map(|method| method.name().to_owned()).collect();
    // WIT is incubating: another agent may not know of it.
    let stable: BTreeSet<_> = METHODS.iter().filter(|name| !name.contains("WIT")).map(ToString::to_string).collect();
    let all: BTreeSet<_> = METHODS.iter().map(ToString::to_string).collect();
    rows.must("WEP-19 nothing is added", found.is_subset(&all), &found);
    rows.must("WAPI-01 all of the stable profiles", found.is_superset(&stable), &found);
    rows.settle();
}

/// WEP-22, CLI-30, ADV-RPC-26.
#[test]
fn any_authority_of_a_client_is_served() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("any_authority_of_a_client_is_served", &subject);
    let encoded = subject.socket().to_str().unwrap().replace('/', "%2F");
    let values: [Option<&[u8]>; 6] = [
        Some(b"%2Frun%2Fagent.sock"),
        Some(b"/run/agent.sock"),
        Some(b""),
        None,
        Some(b"localhost"),
        Some(encoded.as_bytes()),
    ];
    for value in values {
        let answer = call(&subject, &Head::new(&path("FetchX509SVID")).authority(value));
        let shown = value.map(|value| String::from_utf8_lossy(value).replace(&encoded, "SOCKET"));
        rows.must(format!("ADV-RPC-26 {shown:?}"), matches!(answer, Some(Ok(_))), answer);
    }
    rows.settle();
}

/// WEP-01, WEP-05: neither HTTP/1.1 nor TLS, and the next client is served.
#[test]
fn http2_without_tls_is_served_and_nothing_else() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("http2_without_tls_is_served_and_nothing_else", &subject);
    let hello = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 194]].concat();
    let others = [
        ("WEP-01 HTTP/1.1", b"POST /SpiffeWorkloadAPI/FetchX509SVID HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("WEP-05 TLS", hello),
    ];
    for (row, bytes) in others {
        let mut raw = Raw::silent(&subject.socket()).unwrap();
        raw.send(&bytes).ok();
        rows.must(row, raw.is_closed_within(Duration::from_secs(20)), "still open");
        let served = subject.first::<X509Answer>("FetchX509SVID", &Nothing {});
        rows.must(format!("{row}, and then others"), served.is_ok(), ());
    }
    rows.settle();
}

/// WEP-11, WEP-13, ADV-RPC-08.
#[test]
fn what_a_caller_says_of_itself_changes_nothing() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("what_a_caller_says_of_itself_changes_nothing", &subject);
    let plain = Head::new(&path("FetchX509SVID"));
    let dressed = plain
        .clone()
        .with("authorization", "Bearer spiffe://example.org/other")
        .with("x-forwarded-client-cert", "URI=spiffe://example.org/other")
        .with("x-forwarded-for", "10.0.0.1");
    let ids = |head: &Head| {
        let bytes = call(&subject, head)?.ok()?;
        let svids = X509Answer::decode(&*bytes).ok()?.svids;
        Some(svids.into_iter().map(|svid| svid.spiffe_id).collect::<Vec<_>>())
    };
    rows.equal("ADV-RPC-08 the same identities", ids(&dressed), Some(vec!["spiffe://example.org/one".to_owned()]));
    rows.equal("WEP-11 without any credential", ids(&plain), Some(vec!["spiffe://example.org/one".to_owned()]));
    rows.settle();
}

/// WAPI-21, ADV-ID-57, ADV-RPC-24, ADV-RPC-25.
#[test]
fn unknown_fields_are_passed_over_and_nonsense_is_refused() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("unknown_fields_are_passed_over_and_nonsense_is_refused", &subject);
    // Field 99, a text and a number; field 1, which the request has not.
    for extra in [&[0x9a, 6, 1, b'x'][..], &[0x98, 6, 7], &[0x0a, 1, b'x'], &[]] {
        let seen = code(&mut subject.connect(), "FetchX509SVID", extra);
        rows.equal("WAPI-21 unknown fields", seen, Some(0));
    }
    for (row, method, body) in [
        ("WAPI-21 no protobuf", "FetchX509SVID", &[0xff; 20][..]),
        ("WAPI-21 longer than it is", "FetchJWTSVID", &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("ADV-ID-57 an ID that is no UTF-8", "FetchJWTSVID", &[0x0a, 1, b'a', 0x12, 2, 0xff, 0xfe]),
        ("ADV-ID-57 an audience that is no UTF-8", "ValidateJWTSVID", &[0x0a, 2, 0xff, 0xfe, 0x12, 1, b'x']),
    ] {
        let seen = code(&mut subject.connect(), method, body);
        rows.must(row, seen.is_some_and(|code| code != 0), seen);
    }
    let mut raw = subject.connect();
    let head = Head::new(&path("FetchX509SVID")).with("grpc-encoding", "gzip");
    let stream = raw.call(&head, &[1, 0, 0, 0, 1, 0]).unwrap();
    let seen = raw.next_message(stream).unwrap().map_err(|answer| answer.code());
    rows.must("ADV-RPC-25 compressed", seen.is_ok() || seen.as_ref().is_err_and(Option::is_some), &seen);
    let served = subject.first::<X509Answer>("FetchX509SVID", &Nothing {});
    rows.must("WAPI-21 and then others", served.is_ok(), ());
    rows.settle();
}

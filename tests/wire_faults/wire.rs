//! Bytes that are no gRPC, or too much of it (ADV-RPC 24, 25).

use super::{
    common::h2raw::{
        DATA, END_HEADERS, END_STREAM, FETCH_SVID, HEADERS, Head, RESOURCE_EXHAUSTED, Raw, UNIMPLEMENTED, frame,
        message,
    },
    registered,
};

/// The code and words of a body, or `None` when the daemon reset the stream or ended the connection.
fn answered(raw: &mut Raw, body: &[u8]) -> Option<(u32, String)> {
    let stream = raw.stream();
    let mut bytes = Head::new(FETCH_SVID).frames(stream, 0);
    // In frames, and as much as the windows hold: the rest is not the point.
    let body = &body[..body.len().min(65_535)];
    let chunks: Vec<_> = body.chunks(16_384).collect();
    for (at, chunk) in chunks.iter().enumerate() {
        bytes.extend(frame(DATA, if at + 1 == chunks.len() { END_STREAM } else { 0 }, stream, chunk));
    }
    if chunks.is_empty() {
        bytes.extend(frame(DATA, END_STREAM, stream, &[]));
    }
    raw.send(&bytes).ok()?;
    let answer = raw.next_message(stream).ok()?.err()?;
    Some((answer.code()?, answer.words()))
}

#[test]
fn malformed_messages_are_refused() {
    let daemon = registered("");
    let bodies: [(&str, Vec<u8>); 12] = [
        ("no message", vec![]),
        ("one byte", vec![0]),
        ("half a prefix", vec![0, 0, 0]),
        ("half a message", vec![0, 0, 0, 0, 9, 1, 2]),
        ("compressed, though nothing says how", vec![1, 0, 0, 0, 1, 0]),
        ("a flag that does not exist", vec![7, 0, 0, 0, 0]),
        ("a length of 1 GiB", vec![0, 0x40, 0, 0, 0, 1, 2, 3]),
        ("a length of 4 GiB", vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]),
        ("a message over 64 KiB", [&[0, 0, 1, 0, 1][..], &vec![0; 65_537]].concat()),
        ("no protobuf", message(&[0xff; 20])),
        ("a field of a group that never ends", message(&[0x0b, 0x0b, 0x0b])),
        ("a field that is longer than the message", message(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])),
    ];
    for (what, body) in bodies {
        let mut raw = Raw::connect(&daemon.socket()).unwrap();
        let answer = answered(&mut raw, &body);
        let Some((code, words)) = answer else { panic!("{what}: no status") };
        println!("{what}: {code} {words}");
        assert!(code != 0 && code != RESOURCE_EXHAUSTED, "{what}: {code} {words}");
        daemon.must_serve(what);
    }
}

#[test]
fn text_that_is_no_utf8_is_refused() {
    let daemon = registered("");
    // ServerReflectionRequest.file_by_filename, ValidateJWTSVIDRequest.audience, HealthCheckRequest.service.
    for (method, field) in [
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 3),
        ("/SpiffeWorkloadAPI/ValidateJWTSVID", 1),
        ("/grpc.health.v1.Health/Check", 1),
    ] {
        let mut raw = Raw::connect(&daemon.socket()).unwrap();
        let stream = raw.call(&Head::new(method), &message(&[field << 3 | 2, 2, 0xff, 0xfe])).unwrap();
        let answer = raw.finish(stream).unwrap();
        assert!(answer.messages.is_empty(), "{method}: {answer:?}");
    }
    daemon.must_serve("text that is no UTF-8");
}

#[test]
fn a_compressed_request_is_unimplemented() {
    let daemon = registered("");
    for encoding in ["gzip", "deflate", "zstd", "snappy"] {
        let head = Head::new(FETCH_SVID).with("grpc-encoding", encoding).with("grpc-accept-encoding", encoding);
        let mut raw = Raw::connect(&daemon.socket()).unwrap();
        let stream = raw.call(&head, &[1, 0, 0, 0, 1, 0]).unwrap();
        let answer = raw.finish(stream).unwrap();
        assert_eq!(answer.code(), Some(UNIMPLEMENTED), "{encoding}: {answer:?}");
    }
    daemon.must_serve("compressed requests");
}

#[test]
fn a_request_without_a_body_is_answered() {
    let daemon = registered("");
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let stream = raw.stream();
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &Head::new(FETCH_SVID).block())).unwrap();
    let answer = raw.next_message(stream).unwrap();
    assert!(answer.as_ref().err().is_some_and(|answer| answer.code().is_some_and(|code| code != 0)), "{answer:?}");
    // The same connection goes on.
    let stream = raw.call(&Head::new(FETCH_SVID), &message(&[])).unwrap();
    assert!(raw.next_message(stream).unwrap().is_ok());
}

#[test]
fn headers_over_16_kib_are_refused_and_their_caller_alone_notices() {
    let daemon = registered("");
    let bulk = "x".repeat(17 * 1024);
    let heads = [
        ("one large field", Head::new(FETCH_SVID).with("x-large", &bulk)),
        ("many fields", (0..2_000).fold(Head::new(FETCH_SVID), |head, at| head.with(&format!("x-{at}"), "y"))),
        ("a long path", Head::new(&format!("/{bulk}"))),
        ("a long authority", Head::new(FETCH_SVID).authority(Some(bulk.as_bytes()))),
        ("1 MiB", Head::new(FETCH_SVID).with("x-large", &"x".repeat(1 << 20))),
    ];
    for (what, head) in heads {
        let mut raw = Raw::connect(&daemon.socket()).unwrap();
        if let Ok(stream) = raw.call(&head, &message(&[])) {
            let answer = raw.next_message(stream);
            assert!(!matches!(answer, Ok(Ok(_))), "{what}: served");
            println!(
                "{what}: {:?}",
                answer.map(|next| next.err().map(|answer| (answer.field(":status").map(str::to_owned), answer.reset)))
            );
        }
        daemon.must_serve(what);
    }
}

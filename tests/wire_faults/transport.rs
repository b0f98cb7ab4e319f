//! Bytes that are no HTTP/2, or break its rules, and clients that say nothing.

use std::time::{Duration, Instant};

use super::{
    SOON,
    common::h2raw::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, FETCH_SVID, GOAWAY, HEADERS, Head, PING, PREFACE, PRIORITY,
        RST_STREAM, Raw, SETTINGS, UNAVAILABLE, WINDOW_UPDATE, field, frame, hello, message,
    },
    registered,
};

const PUSH_PROMISE: u8 = 5;

#[test]
fn other_protocols_are_hung_up_on() {
    let daemon = registered("");
    let client_hello = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 194]].concat();
    let protocols: [(&str, Vec<u8>); 5] = [
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        (
            "HTTP/1.1 with an upgrade",
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n".to_vec(),
        ),
        ("TLS", client_hello),
        ("zeros", vec![0; 4_096]),
        ("a preface with one wrong byte", [&PREFACE[..23], b"x", &frame(SETTINGS, 0, 0, &[])].concat()),
    ];
    for (what, bytes) in protocols {
        let mut raw = Raw::silent(&daemon.socket()).unwrap();
        raw.send(&bytes).ok();
        assert!(raw.is_closed_within(SOON), "{what} is not hung up on");
        daemon.must_serve(what);
    }
}

#[test]
fn who_says_nothing_is_closed_after_the_deadline_of_the_preface() {
    let daemon = registered("[limits]\npreface_seconds = 1\n");
    let begin = Instant::now();
    let clients: Vec<_> = [&b""[..], &PREFACE[..1], &PREFACE[..12], PREFACE, &hello()[..30]]
        .into_iter()
        .map(|bytes| {
            let mut raw = Raw::silent(&daemon.socket()).unwrap();
            raw.send(bytes).unwrap();
            (bytes.len(), raw)
        })
        .collect();
    // One that has said hello, and says nothing more, stays.
    let mut idle = Raw::connect(&daemon.socket()).unwrap();
    for (sent, mut raw) in clients {
        assert!(raw.is_closed_within(SOON), "a client is still there {:?} after {sent} bytes", begin.elapsed());
        assert!(begin.elapsed() >= Duration::from_millis(900), "closed after {:?}", begin.elapsed());
    }
    assert!(daemon.status().sum("connections_ended", "silent") >= 5, "{:?}", daemon.status().counters);
    let stream = idle.call(&Head::new(FETCH_SVID), &message(&[])).unwrap();
    assert!(idle.next_message(stream).unwrap().is_ok(), "an idle connection is kept");
    daemon.must_serve("silent clients");
}

#[test]
fn a_request_that_does_not_end_is_answered_unavailable() {
    let daemon = registered("[limits]\nrequest_seconds = 1\n");
    let head = Head::new(FETCH_SVID);
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let begin = Instant::now();
    for (what, body) in [("nothing", vec![]), ("half a message", vec![0, 0]), ("a message", message(&[]))] {
        let stream = raw.stream();
        raw.send(&[head.frames(stream, 0), frame(DATA, 0, stream, &body)].concat()).unwrap();
        let answer = raw.finish(stream).unwrap();
        assert_eq!(answer.code(), Some(UNAVAILABLE), "{what} and no end: {answer:?}");
        assert!(answer.is_trailers_only(), "{what} and no end: {answer:?}");
    }
    assert!(begin.elapsed() >= Duration::from_secs(3), "each had its time: {:?}", begin.elapsed());
    let stream = raw.call(&head, &message(&[])).unwrap();
    assert!(raw.next_message(stream).unwrap().is_ok(), "the connection goes on");
    drop(raw);
    daemon.must_serve("requests without an end");
}

/// What follows a good preface; the stream numbers are fresh.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let block = Head::new(FETCH_SVID).block();
    let headers = |flags, block: &[u8]| frame(HEADERS, flags, 1, block);
    let whole = END_HEADERS | END_STREAM;
    let window = |value: u32, stream| frame(WINDOW_UPDATE, 0, stream, &value.to_be_bytes());
    let setting = |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let oversized = [&[0x7f, 0xff, 0xff, DATA, 0][..], &1_u32.to_be_bytes(), &[0; 1_000]].concat();
    vec![
        ("DATA on stream 0", frame(DATA, 0, 0, b"x")),
        ("DATA on an idle stream", frame(DATA, 0, 5, b"x")),
        ("HEADERS on an even stream", frame(HEADERS, whole, 2, &block)),
        ("HEADERS on stream 0", frame(HEADERS, whole, 0, &block)),
        (
            "a stream number that was passed",
            [frame(HEADERS, whole, 9, &block), frame(HEADERS, whole, 3, &block)].concat(),
        ),
        ("SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        ("SETTINGS with an impossible window", setting(4, 0x8000_0000)),
        ("SETTINGS with an impossible frame size", setting(5, 1)),
        ("an ACK of SETTINGS with content", frame(SETTINGS, 1, 0, &[0; 6])),
        ("a window update of nothing", window(0, 0)),
        ("a window that overflows", [window(0x7fff_ffff, 0), window(0x7fff_ffff, 0)].concat()),
        ("PING of seven bytes", frame(PING, 0, 0, &[0; 7])),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8])),
        ("a frame of 8 MiB", oversized),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &block)),
        ("DATA inside a header block", [headers(0, &block), frame(DATA, 0, 1, b"x")].concat()),
        ("RST_STREAM on an idle stream", frame(RST_STREAM, 0, 7, &[0; 4])),
        ("RST_STREAM of three bytes", [headers(END_HEADERS, &block), frame(RST_STREAM, 0, 1, &[0; 3])].concat()),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, &[&2_u32.to_be_bytes()[..], &block].concat())),
        ("an index that is not in the table", headers(whole, &[0xff, 0xff, 0xff, 0xff, 0x0f])),
        ("index 0", headers(whole, &[0x80])),
        ("a header table of 2 GiB", headers(whole, &[0x3f, 0xff, 0xff, 0xff, 0xff, 0x07])),
        ("a header string beyond its block", headers(whole, &[0, 0x7f, 0xff, 0xff, 0xff, 0x0f])),
        ("padding beyond the frame", frame(HEADERS, whole | 8, 1, &[&[255][..], &block].concat())),
        ("DATA padded beyond the frame", [headers(END_HEADERS, &block), frame(DATA, 8, 1, &[9, 0])].concat()),
        (
            "a stream that depends on itself",
            frame(HEADERS, whole | 0x20, 1, &[&1_u32.to_be_bytes()[..], &[0], &block].concat()),
        ),
        ("no pseudo headers", headers(whole, &field(b"workload.spiffe.io", b"true"))),
        ("a pseudo header too late", headers(whole, &[&block[..], &[0x83]].concat())),
        ("an unknown pseudo header", headers(whole, &[&field(b":unknown", b"x")[..], &block].concat())),
        ("two paths", headers(whole, &[&field(b":path", b"/x")[..], &block].concat())),
        ("an upper-case name", headers(whole, &[&block[..], &field(b"X-Upper", b"x")].concat())),
        ("a name with a line end", headers(whole, &[&block[..], &field(b"x\r\ny", b"x")].concat())),
        ("a value with a line end", headers(whole, &[&block[..], &field(b"x", b"y\r\nz: 1")].concat())),
        ("a value with a zero", headers(whole, &[&block[..], &field(b"x", b"y\0z")].concat())),
        ("an empty name", headers(whole, &[&block[..], &field(b"", b"x")].concat())),
        (
            "a path that is no UTF-8",
            headers(whole, &[&[0x83, 0x86][..], &field(b":path", b"/\xff\xfe"), &block[2..]].concat()),
        ),
        ("a connection header", headers(whole, &[&block[..], &field(b"connection", b"close")].concat())),
        ("a content length that lies", headers(whole, &[&block[..], &field(b"content-length", b"7")].concat())),
        ("trailers without an end", [headers(END_HEADERS, &block), headers(END_HEADERS, &field(b"x", b"y"))].concat()),
    ]
}

#[test]
fn broken_http2_gives_nothing_and_harms_nobody() {
    let daemon = registered("");
    for (what, bytes) in broken() {
        let mut raw = Raw::connect(&daemon.socket()).unwrap();
        raw.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        raw.send(&bytes).ok();
        // Until the daemon hangs up, or has nothing more to say.
        while raw.pump().is_ok() {}
        let got = raw.answers.values().map(|answer| answer.messages.len()).sum::<usize>();
        assert_eq!(got, 0, "{what}: {:?}", raw.answers);
        daemon.must_serve(what);
    }
}

#[test]
fn what_http2_allows_is_served() {
    let daemon = registered("");
    let head = Head::new(FETCH_SVID);
    let padded = |stream: u32| frame(HEADERS, END_HEADERS | 8, stream, &[&[4][..], &head.block(), &[0; 4]].concat());
    let split = |stream: u32| {
        let block = head.block();
        let pieces = block.chunks(40).enumerate().map(|(at, piece)| {
            let end = if (at + 1) * 40 >= block.len() { END_HEADERS } else { 0 };
            frame(if at == 0 { HEADERS } else { CONTINUATION }, end, stream, piece)
        });
        pieces.collect::<Vec<_>>().concat()
    };
    let unknown = |stream: u32| [frame(0xbb, 0xff, stream, b"unknown"), head.frames(stream, 0)].concat();
    let priority = |stream: u32| [frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 9]), head.frames(stream, 0)].concat();
    let ping =
        |stream: u32| [frame(PING, 0, 0, b"notours!"), head.frames(stream, 0), frame(PING, 1, 0, b"unasked!")].concat();
    #[expect(clippy::type_complexity, reason = "a table of closures")]
    let ways: [(&str, &dyn Fn(u32) -> Vec<u8>); 5] = [
        ("padding", &padded),
        ("40 bytes of headers a frame", &split),
        ("an unknown frame", &unknown),
        ("a priority", &priority),
        ("pings, asked for and not", &ping),
    ];
    for (what, way) in ways {
        let mut raw = Raw::connect(&daemon.socket()).unwrap();
        let stream = raw.stream();
        let bytes = [way(stream), frame(DATA, END_STREAM, stream, &message(&[]))].concat();
        // Byte by byte, as the worst network would have it.
        bytes.iter().for_each(|byte| raw.send(&[*byte]).unwrap());
        let next = raw.next_message(stream);
        assert!(matches!(next, Ok(Ok(_))), "{what}: {next:?}");
    }
    let mut raw = Raw::connect(&daemon.socket()).unwrap();
    let stream = raw.call(&head, &message(&[])).unwrap();
    raw.next_message(stream).unwrap().unwrap();
    raw.send(&frame(GOAWAY, 0, 0, &[0; 8])).unwrap();
    daemon.must_serve("a client's GOAWAY");
}

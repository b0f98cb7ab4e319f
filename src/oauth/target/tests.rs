//! Which URLs are targets, which are equal, and which route a request takes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::{BaseError as B, Error as E, RouteError as R, *};

#[test]
fn a_target_has_one_spelling() {
    let cases = [
        ("https://example.org", "https://example.org/"),
        ("https://example.org/", "https://example.org/"),
        ("HTTPS://Example.ORG:443", "https://example.org/"),
        ("http://example.org:80/a", "http://example.org/a"),
        ("http://example.org:443/a", "http://example.org:443/a"),
        ("https://example.org:8443/A/b/", "https://example.org:8443/A/b/"),
        ("https://example.org/%7Ea/%7e/%41%2d%2E_", "https://example.org/~a/~/A-._"),
        ("https://example.org/a%2fb%2Fc/%c3%a9", "https://example.org/a%2Fb%2Fc/%C3%A9"),
        ("https://example.org/%25%3a%3F%23%20", "https://example.org/%25%3A%3F%23%20"),
        ("https://example.org/a:@!$&'()*+,=-._~", "https://example.org/a:@!$&'()*+,=-._~"),
        ("https://example.org/...", "https://example.org/..."),
        ("https://example.org/.a/..b/c..", "https://example.org/.a/..b/c.."),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
        ("http://[::1]/", "http://[::1]/"),
        ("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]/"),
        ("http://[2001:DB8::A]:8080/", "http://[2001:db8::a]:8080/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://my_tool.internal/", "https://my_tool.internal/"),
        ("https://localhost/", "https://localhost/"),
        ("https://4chan.org/", "https://4chan.org/"),
    ];
    for (given, normal) in cases {
        let read = Target::parse(given).unwrap_or_else(|error| panic!("{given}: {error}"));
        assert_eq!(read.to_string(), normal, "{given}");
        assert_eq!(Target::parse_htu(given).as_ref(), Ok(&read), "{given}");
        assert_eq!(Target::parse(normal), Ok(read), "{given}: what is written is read as the same");
    }
}

#[test]
fn what_two_parsers_may_read_otherwise_is_no_target() {
    let cases = [
        ("", E::Scheme),
        ("/a", E::Scheme),
        ("example.org/a", E::Scheme),
        ("//example.org/a", E::Scheme),
        ("ftp://example.org/", E::Scheme),
        ("https:/example.org/", E::Scheme),
        ("https:\\\\example.org/", E::Scheme),
        (" https://example.org/", E::Scheme),
        ("https://", E::Host),
        ("https:///a", E::Host),
        ("https://a@example.org/", E::UserInfo),
        ("https://a:b@example.org/", E::UserInfo),
        ("https://example.org@evil.test/", E::UserInfo),
        ("https://example.org\\@evil.test/", E::UserInfo),
        ("https://example.org\\.evil.test/", E::Host),
        ("https://example.org%2eevil.test/", E::Host),
        ("https://example%2Eorg/", E::Host),
        ("https://bücher.example/", E::Host),
        ("https://ex ample.org/", E::Host),
        ("https://example.org./", E::Host),
        ("https://.example.org/", E::Host),
        ("https://example..org/", E::Host),
        ("https://127.1/", E::Host),
        ("https://0x7f.1/", E::Host),
        ("https://0x7f000001/", E::Host),
        ("https://example.0x/", E::Host),
        ("https://2130706433/", E::Host),
        ("https://017700000001/", E::Host),
        ("https://127.0.0.01/", E::Host),
        ("https://127.0.0.256/", E::Host),
        ("https://1.2.3.4.5/", E::Host),
        ("https://[::1/", E::Host),
        ("https://[::1]a/", E::Host),
        ("https://[::1%25lo]/", E::Host),
        ("https://[127.0.0.1]/", E::Host),
        ("https://::1/", E::Host),
        ("https://example.org:/", E::Port),
        ("https://example.org:0/", E::Port),
        ("https://example.org:0443/", E::Port),
        ("https://example.org:65536/", E::Port),
        ("https://example.org:+443/", E::Port),
        ("https://example.org:443:443/", E::Port),
        ("https://example.org:8a/", E::Port),
        ("https://example.org/#", E::Fragment),
        ("https://example.org/a?b#c", E::Fragment),
        ("https://example.org//", E::EmptySegment),
        ("https://example.org//a", E::EmptySegment),
        ("https://example.org/a//b", E::EmptySegment),
        ("https://example.org/a//", E::EmptySegment),
        ("https://example.org/.", E::DotSegment),
        ("https://example.org/..", E::DotSegment),
        ("https://example.org/a/../b", E::DotSegment),
        ("https://example.org/a/./b", E::DotSegment),
        ("https://example.org/a/%2e%2E/b", E::DotSegment),
        ("https://example.org/a/.%2e/b", E::DotSegment),
        ("https://example.org/a/%2e", E::DotSegment),
        ("https://example.org/a%2F..%2Fb", E::DotSegment),
        ("https://example.org/..%2fb", E::DotSegment),
        ("https://example.org/a%2F/b", E::EmptySegment),
        ("https://example.org/%2F", E::EmptySegment),
        ("https://example.org/a%2F%2Fb", E::EmptySegment),
        ("https://example.org/a\\b", E::Backslash),
        ("https://example.org/a%5Cb", E::Backslash),
        ("https://example.org/a%5cb", E::Backslash),
        ("https://example.org/a;b", E::Semicolon),
        ("https://example.org/..;/b", E::Semicolon),
        ("https://example.org/..%3B/b", E::Semicolon),
        ("https://example.org/a%3bb", E::Semicolon),
        ("https://example.org/a%00", E::Control),
        ("https://example.org/a%0d%0Ab", E::Control),
        ("https://example.org/a%7F", E::Control),
        ("https://example.org/a\0", E::Control),
        ("https://example.org/a\tb", E::Control),
        ("https://example.org/a\n", E::Control),
        ("https://example.org/é", E::NotAscii),
        ("https://example.org/\u{ff0f}", E::NotAscii),
        ("https://example.org/%ff", E::NotAscii),
        ("https://example.org/%c0%af", E::NotAscii),
        ("https://example.org/%c0%ae%c0%ae/b", E::NotAscii),
        ("https://example.org/a b", E::Character),
        ("https://example.org/a\"b", E::Character),
        ("https://example.org/<a>", E::Character),
        ("https://example.org/{a}", E::Character),
        ("https://example.org/a|b", E::Character),
        ("https://example.org/a^b", E::Character),
        ("https://example.org/[a]", E::Character),
        ("https://example.org/%", E::Percent),
        ("https://example.org/%2", E::Percent),
        ("https://example.org/%zz", E::Percent),
        ("https://example.org/%+1", E::Percent),
        ("https://example.org/%u002e", E::Percent),
    ];
    for (given, reason) in cases {
        assert_eq!(Target::parse(given), Err(reason), "{given:?}");
        assert_eq!(Target::parse_htu(given), Err(reason), "{given:?}");
    }
}

#[test]
fn a_requests_query_is_left_out_and_a_proofs_refused() {
    for (given, normal) in [
        ("https://example.org?a=/../b", "https://example.org/"),
        ("https://example.org/a?", "https://example.org/a"),
        ("https://example.org/a?b=1&c[]=2|3;%zz\\@//", "https://example.org/a"),
    ] {
        assert_eq!(Target::parse(given).unwrap().to_string(), normal);
        assert_eq!(Target::parse_htu(given), Err(E::Query));
    }
    for (given, reason) in [
        ("https://example.org/?a b", E::Character),
        ("https://example.org/?a\r\nX: y", E::Control),
        ("https://example.org/?\u{7f}", E::Control),
        ("https://example.org/?é", E::NotAscii),
    ] {
        assert_eq!(Target::parse(given), Err(reason), "{given:?}");
    }
}

#[test]
fn each_limit_is_met_exactly() {
    let url = |bytes: usize| format!("https://example.org/{}", "a".repeat(bytes - 20));
    assert!(Target::parse(&url(URL_BYTES_MAX)).is_ok());
    assert_eq!(Target::parse(&url(URL_BYTES_MAX + 1)), Err(E::TooLong(URL_BYTES_MAX + 1)));
    let host = |bytes: usize| format!("https://{}/", "a.".repeat(bytes / 2) + &"a".repeat(bytes % 2));
    assert!(Target::parse(&host(253)).is_ok());
    assert_eq!(Target::parse(&host(255)), Err(E::Host));
    let route = |bytes: usize| format!("GET /{}", "a".repeat(bytes - 5));
    assert!(Route::parse(&route(PATTERN_BYTES_MAX)).is_ok());
    assert_eq!(Route::parse(&route(PATTERN_BYTES_MAX + 1)), Err(R::TooLong(PATTERN_BYTES_MAX + 1)));
    assert!(Route::parse(&format!("GET {}", "/a".repeat(SEGMENTS_MAX))).is_ok());
    assert_eq!(Route::parse(&format!("GET {}", "/a".repeat(SEGMENTS_MAX + 1))), Err(R::TooManySegments(33)));
}

#[test]
fn an_encoded_slash_is_told_of() {
    assert!(Target::parse("https://example.org/api/projects/a%2fb").unwrap().has_encoded_slash());
    assert!(!Target::parse("https://example.org/api/projects/a/b%252F").unwrap().has_encoded_slash());
}

#[test]
fn a_base_ends_at_the_end_of_a_segment() {
    let below =
        |base: &str, url: &str| Base::parse(base).unwrap().relative(&Target::parse(url).unwrap()).map(str::to_owned);
    let cases = [
        ("https://h.test", "https://h.test", Some("/")),
        ("https://h.test/", "https://H.test:443/a/b", Some("/a/b")),
        ("https://h.test/api", "https://h.test/api", Some("/")),
        ("https://h.test/api", "https://h.test/api/", Some("/")),
        ("https://h.test/api/", "https://h.test/api", Some("/")),
        ("https://h.test/api", "https://h.test/api/v1", Some("/v1")),
        ("https://h.test/api", "https://h.test/%61pi/v1", Some("/v1")),
        ("https://h.test/api", "https://h.test/apis", None),
        ("https://h.test/api", "https://h.test/API/v1", None),
        ("https://h.test/api", "https://h.test/api%2Fv1", None),
        ("https://h.test/api", "https://h.test/", None),
        ("https://h.test/api", "http://h.test/api", None),
        ("https://h.test/api", "https://h.test:8443/api", None),
        ("https://h.test/api", "https://www.h.test/api", None),
    ];
    for (base, url, path) in cases {
        assert_eq!(below(base, url).as_deref(), path, "{base} {url}");
    }
    assert_eq!(Base::parse("HTTPS://H.test:443/api/"), Base::parse("https://h.test/api"));
    assert_eq!(Base::parse("https://h.test/api/").unwrap().to_string(), "https://h.test/api");
    assert!(Base::parse("https://h.test/a/b").unwrap().depth() > Base::parse("https://h.test/a").unwrap().depth());
    for (text, reason) in [
        ("https://h.test/a%20b", B::Percent),
        ("https://h.test/a/../b", B::Target(E::DotSegment)),
        ("https://h.test/a?b", B::Target(E::Query)),
        ("https://h.test/a#b", B::Target(E::Fragment)),
        ("https://a@h.test/", B::Target(E::UserInfo)),
        ("https://h.test/a//", B::Target(E::EmptySegment)),
        ("h.test/a", B::Target(E::Scheme)),
    ] {
        assert_eq!(Base::parse(text), Err(reason), "{text}");
    }
}

#[test]
fn a_route_fits_what_it_says_and_nothing_more() {
    let cases = [
        ("GET /", "GET /", true),
        ("GET /", "GET /a", false),
        ("GET /a", "GET /a", true),
        ("GET /a", "HEAD /a", false),
        ("GET /a", "get /a", false),
        ("GET /a", "GET /A", false),
        ("GET /a", "GET /a/", false),
        ("GET /a/", "GET /a/", true),
        ("GET /a/", "GET /a", false),
        ("GET /*", "GET /a", true),
        ("GET /*", "GET /a/b/c", true),
        ("GET /*", "GET /", false),
        ("GET /*", "GET /a/", false),
        ("GET /a/*", "GET /a", false),
        ("GET /a/*", "GET /a/", false),
        ("GET /a/*", "GET /a/b", true),
        ("GET /a/*", "GET /a/b/c", true),
        ("GET /a/*", "GET /ab/c", false),
        ("GET /*/b", "GET /a/b", true),
        ("GET /*/b", "GET /a/a/b", false),
        ("GET /*/b", "GET /a/b/c", false),
        ("GET /*/b", "GET //b", false),
        ("GET /*/", "GET /a/", true),
        ("GET /a/*/c/*", "GET /a/b/c/d/e", true),
        ("GET /a/*/c/*", "GET /a/b/c", false),
        ("GET /a/*/c", "GET /a/x%2Fy/c", true),
        ("GET /%61/%7E", "GET /a/~", true),
        ("GET /a%2fb", "GET /a%2Fb", true),
    ];
    for (route, request, fits) in cases {
        let (method, path) = request.split_once(' ').unwrap();
        assert_eq!(Route::parse(route).unwrap().fits(method, path), fits, "{route}: {request}");
    }
    for (text, reason) in [
        ("", R::Parts),
        ("GET", R::Parts),
        ("GET a", R::Parts),
        ("GET  /a", R::Parts),
        ("/a", R::Parts),
        (" /a", R::Method),
        ("get /a", R::Method),
        ("* /a", R::Method),
        ("GET,HEAD /a", R::Method),
        ("GET /a*", R::PartOfSegment),
        ("GET /**", R::PartOfSegment),
        ("GET /a?b", R::Path(E::Character)),
        ("GET /a#b", R::Path(E::Character)),
        ("GET /a//b", R::Path(E::EmptySegment)),
        ("GET /a/../b", R::Path(E::DotSegment)),
        ("GET /a b", R::Path(E::Character)),
        ("GET /a;b", R::Path(E::Semicolon)),
    ] {
        assert_eq!(Route::parse(text), Err(reason), "{text}");
    }
    let long = format!("{} /a", "A".repeat(33));
    assert_eq!(Route::parse(&long), Err(R::Method));
    assert_eq!(Route::parse("GET /%61/*/b/*").unwrap().to_string(), "GET /a/*/b/*");
}

#[test]
fn the_most_particular_route_counts_whatever_the_order() {
    let texts = ["GET /*", "GET /a/*", "GET /*/b", "GET /a/b", "GET /a/*/c", "GET /*/*", "GET /a/*/*/d", "POST /a/b"];
    let mut routes: Vec<Route> = texts.iter().map(|text| Route::parse(text).unwrap()).collect();
    let cases = [
        ("GET /x", Some("GET /*")),
        ("GET /x/y", Some("GET /*/*")),
        ("GET /x/y/z", Some("GET /*/*")),
        ("GET /x/b", Some("GET /*/b")),
        ("GET /a/b", Some("GET /a/b")),
        ("GET /a/x", Some("GET /a/*")),
        ("GET /a/x/c", Some("GET /a/*/c")),
        ("GET /a/x/y", Some("GET /a/*")),
        ("GET /a/x/y/d", Some("GET /a/*/*/d")),
        ("GET /a/x/c/d", Some("GET /a/*/*/d")),
        ("POST /a/b", Some("POST /a/b")),
        ("POST /a", None),
        ("PUT /a/b", None),
        ("GET /", None),
    ];
    for _ in 0..routes.len() {
        routes.rotate_left(1);
        for (request, wanted) in cases {
            let (method, path) = request.split_once(' ').unwrap();
            let found = find(routes.iter().map(|route| (route, route.to_string())), method, path);
            assert_eq!(found.as_deref(), wanted, "{request}");
        }
    }
}

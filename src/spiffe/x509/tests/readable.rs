//! Authorities that this room reads and client libraries do not. What Go 1.26 says of each row was compared by hand.

use super::kit::*;
use crate::spiffe::x509::{Error as E, check_authority, check_readable};

fn named(tag: u8, text: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(0x31, &sequence(&[b"\x06\x03\x55\x04\x03", &tlv(tag, text)]))])
}

fn authority(change: impl FnOnce(Blueprint) -> Blueprint) -> Authority {
    root_with("root", "example.org", change)
}

/// Rows: what it is, the certificate, and whether clients read it.
fn rows() -> Vec<(String, Authority, bool)> {
    let mut rows = vec![
        ("as it should be".to_owned(), authority(|it| it), true),
        ("without a name".to_owned(), authority(|it| it.without(ALTERNATIVE_NAME)), true),
        (
            "a critical subject key id".into(),
            authority(|it| it.with(extension(SUBJECT_KEY_ID, true, b"\x04\x01\x07"))),
            false,
        ),
        (
            "a critical authority key id".into(),
            authority(|it| it.with(extension(AUTHORITY_KEY_ID, true, b"\x30\x03\x80\x01\x07"))),
            false,
        ),
        (
            "a critical SAN".into(),
            authority(|it| it.with(extension(ALTERNATIVE_NAME, true, &sequence(&[&uri("spiffe://a.b")])))),
            true,
        ),
    ];
    let uris = [
        ("spiffe://example.org/", true),
        ("spiffe://exa_mple.org", true),
        ("https://ca.example.org/x?y", true),
        ("spiffe://a..b", false),
        ("spiffe://.a", false),
        ("spiffe://a.", false),
        ("spiffe://a b", false),
        ("spiffe://a%zz", false),
        ("://", false),
        ("urn:x", true),
        ("https://ca.example.org:8443/", true),
        ("no uri", false),
    ];
    rows.extend(uris.map(|(text, good)| (text.into(), authority(|it| it.with(alternative_name(&[uri(text)]))), good)));
    let texts: [(u8, &[u8], bool); 12] = [
        (0x0c, "größe".as_bytes(), true),
        (0x0c, b"\xff", false),
        (0x13, b"Root CA 1 *&", true),
        (0x13, b"a@b", false),
        (0x13, b"a_b", false),
        (0x16, b"a@b", true),
        (0x16, b"\xe9", false),
        (0x12, b"12 3", true),
        (0x12, b"a", false),
        (0x1e, b"\0a", true),
        (0x1e, b"\0", false),
        (0x04, b"octets", false),
    ];
    let subject = |tag, text| authority(|it| it.edit(|it| it.subject = named(tag, text)));
    rows.extend(texts.map(|(tag, text, good)| (format!("{tag:#x} {text:?}"), subject(tag, text), good)));
    rows
}

#[test]
fn what_client_libraries_do_not_read_is_known() {
    for (what, authority, good) in rows() {
        assert_eq!(check_authority(&authority.der), Ok(()), "{what}");
        let said = check_readable(&authority.der);
        assert_eq!(said.is_ok(), good, "{what}: {said:?}");
        assert!(good || matches!(said, Err(E::Unreadable(_))), "{what}: {said:?}");
    }
}

#[test]
fn what_is_no_authority_is_said_to_be_none() {
    let world = World::new();
    let leaf = Blueprint::leaf("spiffe://example.org/a").signed_by(&world.root);
    assert_eq!(check_readable(&leaf), Err(E::NotAuthority));
    let readable = [&world.root, &world.issuing].map(|one| check_readable(&one.der));
    assert_eq!(readable, [Ok(()), Ok(())]);
}

//! What is taken, what is left out, and what is refused whole.

use data_encoding::BASE64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};

use crate::{
    issuance::foreign::{
        DOCUMENT_BYTES_MAX, Refusal,
        fixture::{anchor, domain, json, pem, token_entry, x509_entry},
        read::{Given, read},
    },
    sys::Clock,
};

fn given(text: &str) -> Result<Given, Refusal> {
    read(&domain("other.test"), text.as_bytes(), Clock::system().now())
}

/// How many keys of each kind.
fn counts(given: &Given) -> [usize; 3] {
    [given.document.x509().authorities().len(), given.document.jwt().len(), given.document.wit().len()]
}

/// A certificate of somebody else's making.
fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    change(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn leaf() -> Vec<u8> {
    made(|params| params.is_ca = IsCa::ExplicitNoCa)
}

#[test]
fn both_formats_are_told_apart_by_what_is_in_them() {
    let (one, two) = (anchor("other.test"), anchor("other.test"));
    let tokens = [token_entry("jwt-svid", "j"), token_entry("wit-svid", "w")];
    let whole = json(&[&[x509_entry(&one), x509_entry(&two)], &tokens[..]].concat());
    let read = given(&format!("\n  {whole}\n")).unwrap();
    assert_eq!((counts(&read), read.is_pem), ([2, 1, 1], false));
    assert!(read.warnings.is_empty(), "{:?}", read.warnings);
    let text = format!("\n# our two roots\n{}", pem(&[one, two]));
    let read = given(&text).unwrap();
    assert_eq!((counts(&read), read.is_pem), ([2, 0, 0], true));
    let again = given(&text.replace("\r\n", "\n")).unwrap();
    assert_eq!(again.document, read.document);
}

#[test]
fn one_odd_key_is_left_out_and_named() {
    let good = x509_entry(&anchor("other.test"));
    let rows = [
        (r#"{"kty":"EC","use":"sig"}"#, "its `use` is none"),
        (r#"{"kty":"AKP","use":"jwt-svid","kid":"a"}"#, "its key is refused: "),
        ("7", "it is not a JSON object"),
        (r#"{"kty":"oct","k":"AA","use":"jwt-svid","kid":"a"}"#, "its key is refused: "),
        (r#"{"kty":"EC","use":"x509-svid","x5c":["!"]}"#, "its certificate is not in base64"),
    ];
    for (odd, words) in rows {
        let read = given(&json(&[good.clone(), odd.into()])).unwrap();
        assert_eq!(counts(&read), [1, 0, 0], "{odd}");
        let wanted = format!("entry 2 of its `keys` is left out: {words}");
        assert!(read.warnings.len() == 1 && read.warnings[0].starts_with(&wanted), "{odd}: {:?}", read.warnings);
    }
    let twice = given(&json(&[good.clone(), token_entry("jwt-svid", "a"), token_entry("wit-svid", "a")])).unwrap();
    assert_eq!((counts(&twice), twice.warnings.len()), ([1, 0, 0], 2));
    let numbered = given(&format!(r#"{{"keys":[{good}],"spiffe_sequence":1.5,"x":1}}"#)).unwrap();
    assert_eq!(numbered.warnings, ["its `spiffe_sequence` is not an unsigned 64-bit integer"]);
    let list = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let read = given(&format!("{}{list}", pem(&[anchor("other.test")]))).unwrap();
    assert_eq!((counts(&read), read.warnings[0].as_str()), ([1, 0, 0], "block 2 is left out: it is a X509 CRL"));
}

#[test]
fn what_contradicts_itself_is_refused_whole() {
    let certificate = anchor("other.test");
    let good = x509_entry(&certificate);
    let name_twice = token_entry("jwt-svid", "a").replace(r#""kid":"a""#, r#""kid":"a","kid":"b""#);
    let leaf_entry = good.replace(&BASE64.encode(&certificate), &BASE64.encode(&leaf()));
    let whole = pem(&[certificate]);
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let rows = [
        (String::new(), "it is empty"),
        (" \n".into(), "it is empty"),
        ("<html>".into(), "it is neither"),
        ("\u{feff}{}".into(), "it is neither"),
        ("{}".into(), "the bundle document has no `keys` that are a list"),
        (r#"{"keys":null}"#.into(), "the bundle document has no `keys`"),
        (r#"{"Keys":[]}"#.into(), "the bundle document has no `keys`"),
        ("[]".into(), "the bundle document is not a JSON object"),
        (r#"{"keys":[],"keys":[]}"#.into(), "the bundle document cannot be read: "),
        (r#"{"keys":[],"x":{"a":1,"a":1}}"#.into(), "the bundle document cannot be read: "),
        (r#"{"keys":[]} x"#.into(), "the bundle document cannot be read: "),
        (json(&[good.clone(), name_twice]), "entry 2 of its `keys` contradicts itself: it has two members"),
        (json(&[good, leaf_entry]), "entry 2 of its `keys` is not an authority's certificate"),
        (format!("{whole}{}", pem(&[leaf()])), "certificate 2 is not an authority's certificate"),
        (format!("{whole}{private}"), "there is a private key in it"),
        (pem(&[vec![1, 2, 3]]), "there is no certificate in it that can be used: block 1 is left out"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n".into(), "its PEM cannot be read"),
        (format!("{whole}-----BEGIN CERTIFICATE-----\nAA"), "its PEM cannot be read"),
    ];
    for (text, words) in rows {
        let refused = given(&text).unwrap_err().to_string();
        assert!(refused.starts_with(words), "{text}: {refused}");
    }
}

#[test]
fn an_empty_document_is_taken_and_said_to_revoke_everything() {
    for text in [json(&[]), json(&[r#"{"kty":"EC","use":"x"}"#.to_owned()])] {
        let read = given(&text).unwrap();
        assert!(read.document.is_empty());
        assert!(read.warnings.last().unwrap().contains("nothing of other.test is believed any more"));
    }
}

#[test]
fn a_document_has_so_many_bytes_and_authorities_at_most() {
    let short = json(&[x509_entry(&anchor("other.test"))]);
    let padded = |bytes: usize| format!("{short}{}", " ".repeat(bytes - short.len()));
    assert!(given(&padded(DOCUMENT_BYTES_MAX)).is_ok());
    assert_eq!(given(&padded(DOCUMENT_BYTES_MAX + 1)).unwrap_err(), Refusal::TooLong(DOCUMENT_BYTES_MAX + 1));
    let many: Vec<_> = (0..65).map(|_| anchor("other.test")).collect();
    assert!(given(&pem(&many[..64])).is_ok());
    assert!(given(&pem(&many)).unwrap_err().to_string().contains("more than 64 certificates"));
}

#[test]
fn what_client_libraries_do_not_read_is_left_out_and_the_rest_is_sent() {
    let good = anchor("other.test");
    // Go refuses it, and with it the whole message.
    let odd = made(|params| params.subject_alt_names = vec![SanType::URI("spiffe://a..b".try_into().unwrap())]);
    for text in [pem(&[good.clone(), odd.clone()]), json(&[x509_entry(&good), x509_entry(&odd)])] {
        let read = given(&text).unwrap();
        assert_eq!(read.document.x509().der(), &good);
        assert!(read.warnings[0].contains("client libraries do not read it"), "{:?}", read.warnings);
    }
    assert!(matches!(given(&pem(&[odd])), Err(Refusal::NoCertificate(_))));
}

#[test]
fn an_authority_of_the_past_is_said_to_be_one() {
    let past = made(|params| {
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    });
    let read = given(&pem(&[past])).unwrap();
    assert!(counts(&read) == [1, 0, 0] && read.warnings[0].contains("has expired"), "{:?}", read.warnings);
}

#[test]
fn a_key_without_a_jwk_cannot_stand_in_a_document() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ed25519 = params.self_signed(&key).unwrap().der().to_vec();
    let read = given(&pem(&[anchor("other.test"), ed25519])).unwrap();
    assert_eq!(counts(&read), [1, 0, 0]);
    assert!(read.warnings[0].contains("cannot be written as a JWK"), "{:?}", read.warnings);
}

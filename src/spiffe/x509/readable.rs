//! Whether the libraries of the ecosystem read a certificate. Each of them drops a whole message for one certificate
//! that it does not read, so what only this room reads must not be sent.

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer as _,
};

use super::{Error, certificate::Certificate, der::Reader};

/// Checks that client libraries read an authority's certificate: those of Go and Java parse strictly, each in its own
/// way, and another reader than this room's must agree with it.
///
/// # Errors
/// As [`check_authority`](super::check_authority), and [`Error::Unreadable`].
pub fn check_readable(authority: &[u8]) -> Result<(), Error> {
    let certificate = Certificate::read(authority)?;
    super::profile::check_signer(&certificate)?;
    // Go refuses a certificate in which an identifier is critical.
    let extensions = &certificate.extensions;
    let is_critical = extensions.subject_key_id.as_ref().is_some_and(|mark| mark.critical)
        || extensions.authority_key_id.as_ref().is_some_and(|mark| mark.critical);
    if is_critical {
        return Err(Error::Unreadable("a key identifier is critical"));
    }
    check_texts(certificate.issuer)?;
    check_texts(certificate.subject)?;
    let unread = Error::Unreadable("another parser refuses it");
    let (rest, parsed) = X509Certificate::from_der(authority).map_err(|_| unread.clone())?;
    if !rest.is_empty() {
        return Err(unread);
    }
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => return Err(Error::Unreadable("an extension cannot be read")),
            ParsedExtension::SubjectAlternativeName(names) => names.general_names.iter().try_for_each(check_uri)?,
            _ => {}
        }
    }
    Ok(())
}

/// Go reads the texts of a name by the rules of their kinds.
fn check_texts(name: &[u8]) -> Result<(), Error> {
    const WHAT: &str = "a name";
    let mut sets = Reader::new(name).sequence(WHAT)?.reader();
    while !sets.is_empty() {
        let mut attributes = sets.element(WHAT)?.reader();
        while !attributes.is_empty() {
            let mut attribute = attributes.sequence(WHAT)?.reader();
            attribute.element(WHAT)?;
            let text = attribute.element(WHAT)?;
            if !is_text(text.tag, text.content) {
                return Err(Error::Unreadable("a name has a text of another kind than it says"));
            }
        }
    }
    Ok(())
}

fn is_text(tag: u8, content: &[u8]) -> bool {
    match tag {
        UTF8_STRING => str::from_utf8(content).is_ok(),
        NUMERIC_STRING => content.iter().all(|byte| matches!(byte, b'0'..=b'9' | b' ')),
        PRINTABLE_STRING => content
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(byte) || matches!(byte, b'*' | b'&')),
        TELETEX_STRING => content.is_ascii(),
        IA5_STRING => content.is_ascii(),
        BMP_STRING => is_bmp(content),
        _ => false,
    }
}

fn is_bmp(content: &[u8]) -> bool {
    let (pairs, rest) = content.as_chunks::<2>();
    rest.is_empty() && char::decode_utf16(pairs.iter().map(|pair| u16::from_be_bytes(*pair))).all(|one| one.is_ok())
}

/// Go refuses a URI that is none, and one whose host has an empty label.
fn check_uri(name: &GeneralName<'_>) -> Result<(), Error> {
    let GeneralName::URI(uri) = name else { return Ok(()) };
    let is_known = |uri: &&str| uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%');
    let is_scheme = |scheme: &str| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphabetic());
    match Some(*uri).filter(is_known).and_then(|uri| uri.split_once(':')) {
        Some((scheme, rest)) if is_scheme(scheme) && rest.strip_prefix("//").is_none_or(begins_with_host) => Ok(()),
        _ => Err(Error::Unreadable("a URI name is none that is widely read")),
    }
}

fn begins_with_host(text: &str) -> bool {
    let host = text.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = host.split_once(':').unwrap_or((host, ""));
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    port.bytes().all(|byte| byte.is_ascii_digit()) && host.split('.').all(is_label)
}

const UTF8_STRING: u8 = 0x0c;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1e;

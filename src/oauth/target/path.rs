//! Paths: one spelling each, and no segment that some parser would take away or cut.

use super::Error;

/// A slash that is part of a segment, in its one spelling.
pub(super) const ENCODED_SLASH: &str = "%2F";

/// A path in its one spelling; an empty one is a slash.
pub(super) fn normal(path: &str) -> Result<String, Error> {
    if path.is_empty() {
        return Ok(String::from("/"));
    }
    let mut written = String::with_capacity(path.len());
    let mut meant = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = (digit().ok_or(Error::Percent)?, digit().ok_or(Error::Percent)?);
                let byte = u8::try_from(high * 16 + low).map_err(|_| Error::Percent)?;
                encoded(byte, &mut written)?;
                meant.push(byte);
            }
            _ => {
                plain(byte)?;
                written.push(char::from(byte));
                meant.push(byte);
            }
        }
    }
    // An overlong `/` or `.` is none to us, and one to others.
    str::from_utf8(&meant).map_err(|_| Error::NotAscii)?;
    check_segments(&written)?;
    Ok(written)
}

/// A byte that stands as itself (RFC 3986 §3.3), without `;`.
fn plain(byte: u8) -> Result<(), Error> {
    match byte {
        b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' => Ok(()),
        _ if is_unreserved(byte) => Ok(()),
        b';' => Err(Error::Semicolon),
        b'\\' => Err(Error::Backslash),
        _ if byte.is_ascii_control() => Err(Error::Control),
        _ if byte.is_ascii() => Err(Error::Character),
        _ => Err(Error::NotAscii),
    }
}

/// Writes a byte that was percent-encoded: as itself, if that means the same (RFC 3986 §6.2.2).
fn encoded(byte: u8, written: &mut String) -> Result<(), Error> {
    match byte {
        b'\\' => return Err(Error::Backslash),
        // Proxies decode it before they pass it on.
        b';' => return Err(Error::Semicolon),
        _ if byte.is_ascii_control() => return Err(Error::Control),
        _ if is_unreserved(byte) => written.push(char::from(byte)),
        _ => {
            written.push('%');
            for nibble in [byte >> 4, byte & 15] {
                written.extend(char::from_digit(nibble.into(), 16).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    Ok(())
}

/// Only the last segment may be empty. What an encoded slash parts must be good on both sides: some parser decodes it
/// before it looks for dots.
fn check_segments(path: &str) -> Result<(), Error> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_none() {
            return Ok(());
        }
        for part in segment.split(ENCODED_SLASH) {
            match part {
                "" => return Err(Error::EmptySegment),
                "." | ".." => return Err(Error::DotSegment),
                _ => {}
            }
        }
    }
    Ok(())
}

/// A query is left out, but must not end early for somebody else.
pub(super) fn check_query(query: &str) -> Result<(), Error> {
    match query.bytes().find(|byte| !byte.is_ascii_graphic()) {
        None => Ok(()),
        Some(byte) if byte.is_ascii_control() => Err(Error::Control),
        Some(b' ') => Err(Error::Character),
        Some(_) => Err(Error::NotAscii),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

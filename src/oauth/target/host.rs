//! Hosts and ports. A host that one parser takes for a name and another for a number is none.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Error;

/// The longest name of a host (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// Host and port of an authority (RFC 3986 §3.2), the host in its one spelling.
pub(super) fn split(authority: &str) -> Result<(String, Option<u16>), Error> {
    if authority.contains('@') {
        return Err(Error::UserInfo);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, behind) = rest.split_once(']').ok_or(Error::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| Error::Host)?;
            (format!("[{address}]"), behind)
        }
        None => {
            let at = authority.find(':').unwrap_or(authority.len());
            let (host, behind) = authority.split_at_checked(at).ok_or(Error::Host)?;
            (name(host)?, behind)
        }
    };
    match port {
        "" => Ok((host, None)),
        _ => Ok((host, Some(number(port.strip_prefix(':').ok_or(Error::Host)?)?))),
    }
}

/// A name or an IPv4 address in four decimal numbers, in lower case.
fn name(host: &str) -> Result<String, Error> {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if host.len() > NAME_BYTES_MAX || !host.split('.').all(is_label) {
        return Err(Error::Host);
    }
    let host = host.to_ascii_lowercase();
    // WHATWG: what ends in a number is an IPv4 address, in any of its old spellings (`127.1`, `0x7f.1`, `017700000001`).
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ends_in_number = is_number(last) || last.strip_prefix("0x").is_some_and(is_hex);
    match ends_in_number && host.parse::<Ipv4Addr>().is_err() {
        true => Err(Error::Host),
        false => Ok(host),
    }
}

/// A port in its shortest form.
fn number(port: &str) -> Result<u16, Error> {
    let is_shortest = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    port.parse().ok().filter(|_| is_shortest).ok_or(Error::Port)
}

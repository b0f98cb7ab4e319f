//! Base URLs of tools: where a tool's paths begin. Written strictly, so that no two programs read one differently.

use std::{borrow::Borrow, fmt, sync::Arc};

use super::label::named;

/// As `https://api.example.org/v1`: scheme and host in lower case, no default port, no slash at the end. Cloning shares
/// the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Base(Arc<str>);

impl Base {
    /// The longest base URL, in bytes.
    pub(crate) const BYTES_MAX: usize = 512;
    /// The most segments in its path: a door looks at so many of a request's, and no more.
    pub(crate) const SEGMENTS_MAX: usize = 16;

    /// Reads a base URL: `http` or `https`, no user, query, fragment, `%` or dot segment.
    ///
    /// # Errors
    /// Words behind "is not valid:".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > Self::BYTES_MAX {
            return Err(format!("it has {} bytes, at most {} are allowed", text.len(), Self::BYTES_MAX));
        }
        let (scheme, rest) = text.split_once("://").ok_or("it must begin with https:// or http://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return Err("it must begin with https:// or http://".into()),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err("it names a user".into());
        }
        if text.contains(['?', '#']) {
            return Err("it has a query or a fragment".into());
        }
        let (host, port) = split_port(authority)?;
        let host = check_host(host)?;
        let path = check_path(path)?;
        let port = port.filter(|port| *port != default_port).map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self(format!("{scheme}://{host}{port}{path}").into()))
    }

    /// As it is compared.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The host, and the port where there is one.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon is the address's own.
        Some(_) if authority.ends_with(']') => return Ok((authority, None)),
        Some(parts) => parts,
        None => return Ok((authority, None)),
    };
    let plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    match port.parse() {
        Ok(port) if plain => Ok((host, Some(port))),
        _ => Err("its port is none".into()),
    }
}

/// The host in its one form: an address in brackets, or a name in lower case.
fn check_host(host: &str) -> Result<String, String> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse::<core::net::Ipv6Addr>().ok());
        return address.map(|address| format!("[{address}]")).ok_or_else(|| "its address is none".into());
    }
    if let Some(odd) = host.chars().find(|each| !matches!(each, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.')) {
        return Err(format!("its host has {}, only a-z 0-9 - _ . are allowed", named(odd)));
    }
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    match host {
        "" => Err("it has no host".into()),
        _ if host.len() > 253 || host.split('.').any(|label| label.is_empty() || label.len() > 63) => {
            Err("its host is no name".into())
        }
        // `127.1` and `2130706433` are the same to some programs, and to others not.
        _ if numeric && host.parse::<core::net::Ipv4Addr>().is_err() => Err("its address is none".into()),
        _ => Ok(host.to_ascii_lowercase()),
    }
}

/// The path without the slash at its end.
fn check_path(path: &str) -> Result<&str, String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let segments = path.split('/').skip(1);
    if segments.clone().count() > Base::SEGMENTS_MAX {
        return Err(format!("its path has more than {} segments", Base::SEGMENTS_MAX));
    }
    segments.map(check_segment).collect::<Result<(), _>>().map(|()| path)
}

/// A segment of a path as it may be registered: nothing in it is read in two ways.
pub(super) fn check_segment(segment: &str) -> Result<(), String> {
    match segment {
        "" => return Err("its path has an empty segment".into()),
        "." | ".." => return Err("its path has a dot segment".into()),
        _ => {}
    }
    let plain = |each: char| each.is_ascii_alphanumeric() || "-._~!$&'()+,=:@".contains(each);
    match segment.chars().find(|each| !plain(*each)) {
        Some(odd) => Err(format!("its path has {}", named(odd))),
        None => Ok(()),
    }
}

impl Borrow<str> for Base {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! One function for each kind of value in the file: text in, a value that is right or words out.

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use http::HeaderName;
use toml::de::DeValue;

use super::{Group, OpsAddress, section::unlike};
use crate::{
    daemon::units::{duration, duration_text, size, size_text},
    oauth::issuer::IssuerName,
    registry::Label,
    spiffe::TrustDomain,
    sys::{kernel::Feature, listener::PATH_BYTES_MAX},
};

pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| unlike("a text", value))
}

pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| unlike("true or false", value))
}

/// A whole number of any type that holds it.
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl FnOnce(&DeValue<'_>) -> Result<T, String>
where
    T: TryFrom<u64> + PartialOrd + std::fmt::Display,
{
    move |value| {
        let integer = value.as_integer().ok_or_else(|| unlike("a whole number", value))?;
        let parsed = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let parsed = parsed.and_then(|wide| u64::try_from(wide).ok()).and_then(|wide| T::try_from(wide).ok());
        parsed
            .filter(|parsed| range.contains(parsed))
            .ok_or_else(|| format!("must be from {} to {}, not {integer}", range.start(), range.end()))
    }
}

/// A whole number, or `auto`.
pub(super) fn number_or_auto(range: RangeInclusive<u32>) -> impl FnOnce(&DeValue<'_>) -> Result<Option<u32>, String> {
    move |value| match value {
        DeValue::String(text) if text == "auto" => Ok(None),
        DeValue::Integer(_) => number(range)(value).map(Some),
        other => Err(unlike("a whole number or \"auto\"", other)),
    }
}

/// Seconds, as a number: the key's name says the unit.
pub(super) fn seconds(range: RangeInclusive<u64>) -> impl FnOnce(&DeValue<'_>) -> Result<Duration, String> {
    move |value| number(range)(value).map(Duration::from_secs)
}

pub(super) fn length(range: RangeInclusive<Duration>) -> impl FnOnce(&DeValue<'_>) -> Result<Duration, String> {
    move |value| {
        let length = duration(text(value)?)?;
        match range.contains(&length) {
            true => Ok(length),
            false => Err(format!(
                "must be from {} to {}, not {}",
                duration_text(*range.start()),
                duration_text(*range.end()),
                duration_text(length)
            )),
        }
    }
}

/// A size, or a whole number of bytes.
pub(super) fn bytes(range: RangeInclusive<u64>) -> impl FnOnce(&DeValue<'_>) -> Result<u64, String> {
    move |value| {
        let bytes = match value {
            DeValue::Integer(_) => number(0..=u64::MAX)(value)?,
            DeValue::String(text) => size(text)?,
            other => return Err(unlike("a size", other)),
        };
        match range.contains(&bytes) {
            true => Ok(bytes),
            false => Err(format!(
                "must be from {} to {}, not {}",
                size_text(*range.start()),
                size_text(*range.end()),
                size_text(bytes)
            )),
        }
    }
}

/// As [`bytes`], for what one message or block of memory may hold.
pub(super) fn bytes_in_memory(range: RangeInclusive<u32>) -> impl FnOnce(&DeValue<'_>) -> Result<u32, String> {
    move |value| {
        let wide = bytes(u64::from(*range.start())..=u64::from(*range.end()))(value)?;
        u32::try_from(wide).map_err(|_| "is too large".into())
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let given = text(value)?;
        words.iter().find(|(word, _)| *word == given).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("must be {}, not \"{given}\"", all.join(" or "))
        })
    }
}

pub(super) fn trust_domain(value: &DeValue<'_>) -> Result<Option<TrustDomain>, String> {
    own_trust_domain(text(value)?).map(Some)
}

/// A name that certificates can be issued under.
pub(super) fn own_trust_domain(name: &str) -> Result<TrustDomain, String> {
    let parsed = TrustDomain::parse(name).and_then(|parsed| parsed.usable_as_own().map(|()| parsed));
    parsed.map_err(|error| format!("`{}` is not a trust domain name to issue under: {error}", name.escape_debug()))
}

pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let path = Path::new(text(value)?);
    match path.is_absolute() {
        true if path.as_os_str().as_bytes().contains(&0) => Err("a path cannot hold the character NUL".into()),
        true => Ok(path.to_path_buf()),
        false => Err(format!("must be an absolute path, not {path:?}")),
    }
}

pub(super) fn socket(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let path = path(value)?;
    check_socket(&path).map(|()| path)
}

/// Whether a Unix socket can be made at `path`.
pub(super) fn check_socket(path: &Path) -> Result<(), String> {
    match path.as_os_str().len() {
        0..=PATH_BYTES_MAX => Ok(()),
        long => Err(format!("a socket's path can have {PATH_BYTES_MAX} bytes, {path:?} has {long}")),
    }
}

/// The `iss` of tokens: any text that every JSON reader shows alike, or none.
pub(super) fn issuer(value: &DeValue<'_>) -> Result<Option<String>, String> {
    let issuer = text(value)?;
    match issuer.len() {
        0 => Ok(None),
        ISSUER_BYTES_MAX.. => Err(format!("has {} bytes, {ISSUER_BYTES_MAX} are too many", issuer.len())),
        // The two that JSON writes as two, so that a token's length is known.
        _ if issuer.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) => {
            Ok(Some(issuer.to_owned()))
        }
        _ => Err("must be a URL or a name in ASCII without spaces, quotes and backslashes".to_owned()),
    }
}

const ISSUER_BYTES_MAX: usize = 2_048;

/// The `iss` of access tokens, below which clients look for everything else (RFC 8414 §2); empty is the default.
pub(super) fn token_issuer(value: &DeValue<'_>) -> Result<Option<String>, String> {
    let issuer = text(value)?;
    if issuer.is_empty() {
        return Ok(None);
    }
    if issuer.len() > TOKEN_ISSUER_BYTES_MAX {
        return Err(format!("has {} bytes, at most {TOKEN_ISSUER_BYTES_MAX} are allowed", issuer.len()));
    }
    let Some((authority, path)) =
        issuer.strip_prefix("https://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
    else {
        return Err("must be an https URL as https://issuer.example.org/oauth".to_owned());
    };
    let (host, port) = authority.split_once(':').unwrap_or((authority, "1"));
    let is_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) || port.parse::<u16>().is_err() {
        return Err("must name a host in lower case, with a port or none, and no user".to_owned());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
    match issuer.len() == "https://".len() + authority.len() || path.split('/').all(is_segment) {
        true => Ok(Some(issuer.to_owned())),
        // Issuers are compared byte by byte, and each client has its own idea of what a path means.
        false => {
            Err("must have a plain path: no slash at its end, no query, fragment, escapes and dot segments".to_owned())
        }
    }
}

/// A name as agents and tools have; empty for none.
pub(super) fn label(value: &DeValue<'_>) -> Result<Option<Label>, String> {
    let name = text(value)?;
    let wrong = |words| format!("`{}` is not valid: {words}", name.escape_debug());
    if name.is_empty() { Ok(None) } else { Label::parse(name).map(Some).map_err(wrong) }
}

/// The name of somebody whose tokens are believed.
pub(super) fn issuer_name(value: &DeValue<'_>) -> Result<IssuerName, String> {
    let name = text(value)?;
    IssuerName::parse(name).map_err(|error| format!("`{}` is no issuer: {error}", name.escape_debug()))
}

/// A header that a proxy writes, and that says nothing else; empty for none.
pub(super) fn header(value: &DeValue<'_>) -> Result<Option<HeaderName>, String> {
    const TAKEN: [&str; 8] = [
        "authorization",
        "dpop",
        "host",
        "txn-token",
        "workload-identity-token",
        "workload-proof-token",
        "x-original-method",
        "x-original-url",
    ];
    let name = text(value)?;
    match HeaderName::try_from(name) {
        _ if name.is_empty() => Ok(None),
        Ok(name) if TAKEN.contains(&name.as_str()) => Err(format!("cannot be `{name}`, which says something else")),
        Ok(name) => Ok(Some(name)),
        Err(_) => Err(format!("`{}` is no name of a header", name.escape_debug())),
    }
}

/// So that tokens stay short.
const TOKEN_ISSUER_BYTES_MAX: usize = 512;

pub(super) fn group(value: &DeValue<'_>) -> Result<Option<Group>, String> {
    let name = text(value)?;
    if name.is_empty() {
        return Ok(None);
    }
    let group = match name.parse::<u32>() {
        Ok(gid) => return Ok(Some(Group { name: name.to_owned(), gid })),
        Err(_) => nix::unistd::Group::from_name(name),
    };
    match group {
        Ok(Some(group)) => Ok(Some(Group { name: group.name, gid: group.gid.as_raw() })),
        Ok(None) => Err(format!("there is no group `{}` on this node", name.escape_debug())),
        Err(error) => Err(format!("the group `{}` could not be looked up: {error}", name.escape_debug())),
    }
}

pub(super) fn ops_address(value: &DeValue<'_>) -> Result<Option<OpsAddress>, String> {
    match text(value)? {
        "off" => Ok(None),
        path if path.starts_with('/') => socket(value).map(|path| Some(OpsAddress::Unix(path))),
        address => address.parse::<SocketAddr>().map(|address| Some(OpsAddress::Tcp(address))).map_err(|_| {
            format!("must be \"off\", ADDRESS:PORT as in 127.0.0.1:9464, or a socket's absolute path, not {address:?}")
        }),
    }
}

pub(super) fn feature(value: &DeValue<'_>) -> Result<Feature, String> {
    feature_named(text(value)?)
}

/// A kernel feature by its name.
pub(super) fn feature_named(name: &str) -> Result<Feature, String> {
    Feature::ALL.into_iter().find(|feature| feature.name() == name).ok_or_else(|| {
        let names: Vec<_> = Feature::ALL.into_iter().map(Feature::name).collect();
        format!("`{}` is not one of {}", name.escape_debug(), names.join(", "))
    })
}

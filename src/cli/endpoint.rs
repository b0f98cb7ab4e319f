//! The address of a Workload API endpoint, as `SPIFFE_ENDPOINT_SOCKET` has it (SPIFFE Workload Endpoint §4).
//!
//! Exactly what the standard allows: libraries differ in what else they let pass, and an address that works with one
//! of them only is found out late.

use std::{
    ffi::OsString,
    fmt,
    net::{IpAddr, SocketAddr},
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
};

use thiserror::Error;

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket's absolute path.
    Unix(PathBuf),
    /// An IP address with its port.
    Tcp(SocketAddr),
}

/// Why a text is no endpoint's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum EndpointError {
    #[error("it is empty")]
    Empty,
    #[error("it must begin with unix: or tcp:")]
    Scheme,
    #[error("a socket's path must be absolute, with three slashes: unix:///run/…")]
    Relative,
    #[error("what stands between the second and the third slash is a host, and a socket has none: write three slashes")]
    Authority,
    #[error("the path of a socket is missing")]
    NoPath,
    #[error("`?` and `#` have no meaning in it")]
    QueryOrFragment,
    #[error("a `%` must be followed by two hexadecimal digits, and not by 00")]
    PercentEncoding,
    #[error("a TCP address is tcp://IP:PORT, with a number for the host and nothing after the port")]
    Tcp,
}

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        if let Some(rest) = text.strip_prefix("tcp:") {
            let address = rest.strip_prefix("//").ok_or(EndpointError::Tcp)?;
            return tcp(address).map(Self::Tcp).ok_or(EndpointError::Tcp);
        }
        let rest = text.strip_prefix("unix:").ok_or(EndpointError::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(EndpointError::QueryOrFragment);
        }
        let path = match rest.strip_prefix("//") {
            Some("") => return Err(EndpointError::NoPath),
            Some(path) if path.starts_with('/') => path,
            Some(_) => return Err(EndpointError::Authority),
            None if rest.starts_with('/') => rest,
            None if rest.is_empty() => return Err(EndpointError::NoPath),
            None => return Err(EndpointError::Relative),
        };
        match decode(path)? {
            bytes if bytes.ends_with(b"/") => Err(EndpointError::NoPath),
            bytes => Ok(Self::Unix(OsString::from_vec(bytes).into())),
        }
    }
}

/// An address with three slashes, as every library reads it.
impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix://{}", path.display()),
            Self::Tcp(address) => write!(out, "tcp://{address}"),
        }
    }
}

fn tcp(address: &str) -> Option<SocketAddr> {
    let parsed: SocketAddr = address.parse().ok()?;
    // A zone (`%eth0`) is not part of a URI's address (RFC 3986 §3.2.2).
    let plain = matches!(parsed.ip(), IpAddr::V4(_)) || !address.contains('%');
    (plain && parsed.port() != 0).then_some(parsed)
}

fn decode(path: &str) -> Result<Vec<u8>, EndpointError> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == 0 {
            return Err(EndpointError::PercentEncoding);
        }
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit =
            || rest.next().and_then(|digit| char::from(digit).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
        match (digit(), digit()) {
            (Some(high), Some(low)) if (high, low) != (0, 0) => bytes.push(high << 4 | low),
            _ => return Err(EndpointError::PercentEncoding),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_standard_allows_is_read() {
        for (text, path) in [
            ("unix:///run/agent/api.sock", "/run/agent/api.sock"),
            ("unix:/run/agent/api.sock", "/run/agent/api.sock"),
            ("unix:///run/a%20b.sock", "/run/a b.sock"),
        ] {
            assert_eq!(Endpoint::parse(text), Ok(Endpoint::Unix(path.into())), "{text}");
        }
        for text in ["tcp://127.0.0.1:8000", "tcp://[::1]:8000"] {
            assert_eq!(Endpoint::parse(text).map(|endpoint| endpoint.to_string()), Ok(text.into()));
        }
    }

    #[test]
    fn what_the_standard_does_not_allow_is_refused() {
        use EndpointError::*;
        for (text, error) in [
            ("unix:run/agent.sock", Relative),
            ("unix://run/agent.sock", Authority),
            ("unix://", NoPath),
            ("unix:///", NoPath),
            ("unix:", NoPath),
            ("unix:///a.sock?x", QueryOrFragment),
            ("unix:///a.sock#x", QueryOrFragment),
            ("unix://u@h/a", Authority),
            ("unix:///a%2", PercentEncoding),
            ("unix:///a%00", PercentEncoding),
            ("tcp:127.0.0.1:8000", Tcp),
            ("tcp://127.0.0.1:8000/", Tcp),
            ("tcp://127.0.0.1:8000/foo", Tcp),
            ("tcp://127.0.0.1", Tcp),
            ("tcp://127.0.0.1:0", Tcp),
            ("tcp://localhost:8000", Tcp),
            ("tcp://1.2.3.4:5?x", Tcp),
            ("http://127.0.0.1:8000", Scheme),
            ("UNIX:///run/a.sock", Scheme),
            ("/run/agent.sock", Scheme),
            ("", Empty),
        ] {
            assert_eq!(Endpoint::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_is_written_with_three_slashes() {
        assert_eq!(Endpoint::Unix("/run/a.sock".into()).to_string(), "unix:///run/a.sock");
    }
}

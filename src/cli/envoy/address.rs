//! Addresses on the command line: where a proxy listens, and where it connects to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::{oauth::target::Base, spiffe::Id};

/// A host and a port to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As a URL has it (RFC 3986 §3.2), without the port of https.
    pub(super) authority: String,
    /// A name or an IP address, this one without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// A peer, and where a service on this machine is taken to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(super) listen: SocketAddr,
    pub(super) place: Place,
    /// Who may answer there.
    pub(super) peers: Vec<Id>,
}

/// An `https` URL without a path: what a door's callers know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Host and port, without the port of https.
    pub(super) authority: String,
}

/// How many identities may be the peer at one place.
const PEERS_MAX: usize = 100;

impl Place {
    /// Whether an address has to be looked up.
    pub(super) fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(out, "[{}]:{}", self.host, self.port),
            false => write!(out, "{}:{}", self.host, self.port),
        }
    }
}

/// `ADDR:PORT`.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write it as an IP address and a port: 0.0.0.0:8443, [::]:8443")?;
    match address {
        _ if address.port() == 0 => Err("its port is 0".to_owned()),
        // Envoy has no place for it.
        SocketAddr::V6(v6) if v6.scope_id() != 0 => Err("an address with a zone cannot be listened on".to_owned()),
        _ => Ok(address),
    }
}

/// `HOST:PORT`.
pub(crate) fn place(text: &str) -> Result<Place, String> {
    const FORM: &str = "write it as a host and a port: 127.0.0.1:8080, orders.internal:8443, [::1]:8080";
    let (_, port) = text.rsplit_once(':').ok_or(FORM)?;
    let port: u16 = port.parse().map_err(|_| FORM)?;
    let authority = authority(text).map_err(|error| format!("{error}; {FORM}"))?;
    let host = authority.strip_suffix(&format!(":{port}")).unwrap_or(&authority);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Place { authority, host, port })
}

/// `https://HOST`, perhaps with a port.
pub(crate) fn site(text: &str) -> Result<Site, String> {
    let rest = text.strip_prefix("https://").ok_or("it must begin with https://: this proxy speaks TLS")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('/') {
        return Err("leave its path away: which paths there are is said by the tool's routes".to_owned());
    }
    authority(rest).map(|authority| Site { authority })
}

/// `LISTEN=HOST:PORT=SPIFFE_ID`.
pub(crate) fn connection(text: &str) -> Result<Connection, String> {
    const FORM: &str = "write it as LISTEN=HOST:PORT=SPIFFE_ID: 9001=orders.internal:8443=spiffe://example.org/orders";
    let mut parts = text.splitn(3, '=');
    let (Some(local), Some(remote), Some(peers)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(FORM.to_owned());
    };
    let listen = match local.parse::<u16>() {
        Ok(port) => listen(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string())?,
        Err(_) => listen(local)?,
    };
    if !listen.ip().is_loopback() {
        return Err(format!(
            "{listen} is open to other machines, and whoever calls it would call with this proxy's identity: listen on \
             127.0.0.1"
        ));
    }
    let peers: Vec<Id> = peers.split(',').map(identity).collect::<Result<_, _>>()?;
    if peers.len() > PEERS_MAX {
        return Err(format!("it has {} peers, at most {PEERS_MAX} are taken", peers.len()));
    }
    Ok(Connection { listen, place: place(remote)?, peers })
}

/// A SPIFFE ID with a path: one that certificates have.
pub(crate) fn identity(text: &str) -> Result<Id, String> {
    Id::parse(text).map_err(|error| format!("`{}` is no SPIFFE ID: {error}", text.escape_debug()))
}

/// Host and port in their one spelling, the default port left away.
fn authority(text: &str) -> Result<String, String> {
    if text.contains(['/', '?', '#']) {
        return Err("it has more than a host and a port".to_owned());
    }
    let base = Base::parse(&format!("https://{text}")).map_err(|error| error.to_string())?;
    Ok(base.to_string().trim_start_matches("https://").to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn places_are_hosts_with_ports() {
        for (text, host, port, authority) in [
            ("127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"),
            ("Orders.Internal:8443", "orders.internal", 8443, "orders.internal:8443"),
            ("orders:443", "orders", 443, "orders"),
            ("[::1]:8080", "::1", 8080, "[::1]:8080"),
            ("[::1]:443", "::1", 443, "[::1]"),
        ] {
            let expected = Place { authority: authority.to_owned(), host: host.to_owned(), port };
            assert_eq!(place(text), Ok(expected), "{text}");
        }
        assert_eq!(place("[::1]:443").unwrap().to_string(), "[::1]:443");
        assert!(place("orders:80").unwrap().is_name() && !place("[::1]:80").unwrap().is_name());
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            ":",
            "8080",
            "orders",
            "orders:",
            "orders:0",
            "orders:65536",
            "orders:-1",
            "orders:0x50",
            ":8080",
            "or ders:80",
            "a\"b:80",
            "a\n:80",
            "a/b:80",
            "a:80/",
            "u@a:80",
            "a?x:80",
            "*:80",
            "127.1:80",
            "::1:80",
            "a:80:80",
            "a%00:80",
        ] {
            assert!(place(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn listeners_are_addresses() {
        for text in ["0.0.0.0:8443", "[::]:8443", "127.0.0.1:1"] {
            assert_eq!(listen(text).unwrap().to_string(), text);
        }
        for text in ["8443", "localhost:8443", "0.0.0.0", "0.0.0.0:0", "::1:80", "[fe80::1%2]:80", "0.0.0.0:8443\n"] {
            assert!(listen(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sites_are_urls_of_hosts() {
        for (text, authority) in [
            ("https://tickets.example.org", "tickets.example.org"),
            ("https://tickets.example.org:443/", "tickets.example.org"),
            ("https://Tickets.example.org:8443", "tickets.example.org:8443"),
        ] {
            assert_eq!(site(text).unwrap().authority, authority);
        }
        for text in [
            "tickets.example.org",
            "http://a.test",
            "HTTPS://a.test",
            "https://",
            "https://a.test/api",
            "https://a.test//",
            "https://*",
            "https://*.test",
            "https://a.test?x",
            "https://a.test#x",
            "https://u@a.test",
            "https://a%41.test",
            "https://a.test\nb",
            "https://a\"b",
        ] {
            assert!(site(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn connections_have_peers_and_listen_on_this_machine() {
        let orders = Id::parse("spiffe://example.org/orders").unwrap();
        let expected = Connection {
            listen: "127.0.0.1:9001".parse().unwrap(),
            place: place("orders.internal:8443").unwrap(),
            peers: vec![orders.clone()],
        };
        for text in [
            "9001=orders.internal:8443=spiffe://example.org/orders",
            "127.0.0.1:9001=orders.internal:8443=spiffe://example.org/orders",
        ] {
            assert_eq!(connection(text).unwrap(), expected, "{text}");
        }
        let two = connection("[::1]:9001=[::1]:8443=spiffe://example.org/orders,spiffe://other.test/orders").unwrap();
        assert_eq!(two.peers, [orders, Id::parse("spiffe://other.test/orders").unwrap()]);
        let many = |number| format!("1=a:2={}", vec!["spiffe://a.test/b"; number].join(","));
        assert!(connection(&many(PEERS_MAX)).is_ok() && connection(&many(PEERS_MAX + 1)).is_err());
        for text in [
            "",
            "9001",
            "9001=a:1",
            "9001=a:1=",
            "9001=a:1=spiffe://a.test",
            "9001=a=spiffe://a.test/b",
            "0=a:1=spiffe://a.test/b",
            "=a:1=spiffe://a.test/b",
            "0.0.0.0:9001=a:1=spiffe://a.test/b",
            "[::]:9001=a:1=spiffe://a.test/b",
            "192.0.2.1:9001=a:1=spiffe://a.test/b",
            "9001=a:1=spiffe://a.test/b,",
            "9001=a:1=spiffe://a.test/b=c",
        ] {
            assert!(connection(text).is_err(), "{text:?}");
        }
    }
}

//! The names under which a proxy asks for secrets.

use crate::spiffe::{Id, TrustDomain};

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `default`: the X.509-SVID of the proxy's default identity.
    Default,
    /// A SPIFFE ID with a path: its X.509-SVID.
    Certificate(Id),
    /// `ROOTCA`: the authorities of our trust domain.
    Root,
    /// `ALL`: those of our trust domain and of all that the proxy federates with, each for itself.
    All,
    /// The ID of a trust domain: its authorities.
    Domain(TrustDomain),
    /// Anything else. There is no such secret, and there never will be.
    Nothing,
}

impl Name {
    pub(super) fn parse(name: &str) -> Self {
        match name {
            "default" => Self::Default,
            "ROOTCA" => Self::Root,
            "ALL" => Self::All,
            _ => Id::parse(name).map(Self::Certificate).unwrap_or_else(|_| Self::domain(name)),
        }
    }

    fn domain(name: &str) -> Self {
        let host = name.strip_prefix("spiffe://").filter(|host| !host.contains('/'));
        host.and_then(|host| TrustDomain::parse(host).ok()).map_or(Self::Nothing, Self::Domain)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_mean_what_spire_lets_them_mean() {
        assert_eq!(Name::parse("default"), Name::Default);
        assert_eq!(Name::parse("ROOTCA"), Name::Root);
        assert_eq!(Name::parse("ALL"), Name::All);
        let web = Id::parse("spiffe://example.org/web").unwrap();
        assert_eq!(Name::parse("spiffe://example.org/web"), Name::Certificate(web));
        let domain = TrustDomain::parse("example.org").unwrap();
        assert_eq!(Name::parse("spiffe://example.org"), Name::Domain(domain));
    }

    #[test]
    fn what_is_no_name_means_nothing() {
        for name in [
            "",
            "*",
            "Default",
            "rootca",
            "all",
            "example.org",
            "spiffe://",
            "spiffe:///web",
            "spiffe://example.org/",
            "spiffe://Example.org",
            "https://example.org/web",
            "spiffe://example.org/a//b",
            "spiffe://example.org:443",
            "spiffe://example.org?x",
            "spiffe://example.org\0",
        ] {
            assert_eq!(Name::parse(name), Name::Nothing, "{name:?}");
        }
    }
}

//! Which credentials a tool takes, and which one a request came with.

use std::fmt;

use crate::oauth::issuer::IssuerName;

/// What a tool takes besides access tokens of our own with DPoP proofs, which all take. None of it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts<'a> {
    /// WIT-SVIDs with a workload proof token.
    pub wit: bool,
    /// JWT-SVIDs, which are good for whoever has them.
    pub jwt_svid: bool,
    /// Tokens of the issuers that are bound to the certificate of a TLS client.
    pub mtls: bool,
    /// Access tokens of these issuers with a DPoP proof.
    pub issuers: &'a [IssuerName],
}

/// A kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An access token of our own with a DPoP proof.
    Dpop,
    /// A WIT-SVID with a workload proof token.
    Wit,
    /// A JWT-SVID.
    JwtSvid,
    /// An access token of another issuer with a DPoP proof.
    ForeignDpop,
    /// An access token of another issuer that is bound to the certificate of a TLS client.
    ForeignMtls,
}

impl Accepts<'_> {
    /// Whether a token may come as `Bearer`.
    pub(super) fn takes_bearer(&self) -> bool {
        self.jwt_svid || self.takes_certificates()
    }

    /// Whether a token may be bound to a certificate: only those of other issuers are.
    pub(super) fn takes_certificates(&self) -> bool {
        self.mtls && !self.issuers.is_empty()
    }
}

impl Kind {
    /// A stable name for records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dpop => "dpop",
            Self::Wit => "wit",
            Self::JwtSvid => "jwt-svid",
            Self::ForeignDpop => "foreign-dpop",
            Self::ForeignMtls => "foreign-mtls",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//! The kinds of credentials.

/// What an identity is issued as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A certificate with its key.
    X509,
    /// A bearer token for named audiences.
    Jwt,
    /// A token that is worth nothing without its holder's key.
    Wit,
}

impl Credential {
    /// Its word in records and counters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X509 => "x509-svid",
            Self::Jwt => "jwt-svid",
            Self::Wit => "wit-svid",
        }
    }
}

//! Which credentials a tool takes, and which one a request came with.

use std::fmt;

/// What a tool takes besides access tokens of our own with DPoP proofs, which all take. None of it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// WIT-SVIDs with a workload proof token.
    pub wit: bool,
    /// JWT-SVIDs, which are good for whoever has them.
    pub jwt_svid: bool,
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
}

impl Kind {
    /// A stable name for records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dpop => "dpop",
            Self::Wit => "wit",
            Self::JwtSvid => "jwt-svid",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

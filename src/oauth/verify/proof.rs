//! The proof beside a credential: its signature, and that it is used once.

use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::oauth::{
    Thumbprint,
    dpop::{self, Unproved},
    freshness::{Checked, Freshness},
};

use super::Reason;

/// The proof beside a credential. It fits this request and the credential.
#[expect(clippy::large_enum_variant, reason = "it is moved once, within one call")]
pub(super) enum Proof<'a> {
    /// There is none.
    None,
    /// Of which the signature is still to be checked.
    Dpop(Unproved<'a>, Checked),
    /// Of which it is right.
    Workload { key: Thumbprint, token_id: Zeroizing<String>, end: SystemTime, checked: Checked },
}

/// The same, its signature checked.
pub(super) enum Proved {
    None,
    Dpop(dpop::Proof, Checked),
    Workload { key: Thumbprint, token_id: Zeroizing<String>, end: SystemTime, checked: Checked },
}

impl Proof<'_> {
    pub(super) fn prove(self) -> Result<Proved, Reason> {
        Ok(match self {
            Self::None => Proved::None,
            Self::Dpop(proof, checked) => Proved::Dpop(proof.prove()?, checked),
            Self::Workload { key, token_id, end, checked } => Proved::Workload { key, token_id, end, checked },
        })
    }
}

impl Proved {
    /// It is good for this request, and for no other.
    pub(super) fn spend(&self, freshness: &Freshness, now: SystemTime) -> Result<(), Reason> {
        match self {
            Self::None => Ok(()),
            Self::Dpop(proof, checked) => Ok(freshness.spend(proof, *checked, now)?),
            Self::Workload { key, token_id, end, checked } => {
                freshness.spend_until((key, token_id), *end, *checked, now).map_err(Reason::WorkloadProofUse)
            }
        }
    }
}

//! That a CA is the one that it was.

use std::time::SystemTime;

use dayfly::spiffe::{
    TrustDomain,
    x509::{Bundle, Bundles, Leaf, Purpose, split, verify},
};

use super::common::{Daemon, messages::Svid};

/// What a relying party kept from before.
pub(super) struct Kept {
    der: Vec<u8>,
    bundles: Bundles,
}

impl Kept {
    pub(super) fn new(svid: &Svid) -> Self {
        let mut bundles = Bundles::empty();
        bundles.insert(Bundle::from_der(TrustDomain::parse("example.org").unwrap(), &svid.bundle).unwrap());
        Self { der: svid.bundle.clone(), bundles }
    }

    /// The old bundle verifies a new SVID, and is still what is sent.
    pub(super) fn must_verify(&self, svid: &Svid) -> Leaf {
        assert_eq!(svid.bundle, self.der, "the bundle changed");
        verify(&split(&svid.chain).unwrap(), &self.bundles, Purpose::Any, SystemTime::now())
            .expect("the old bundle verifies a new SVID")
    }
}

/// That the audit log is whole.
pub(super) fn audit_must_verify(daemon: &Daemon) {
    daemon.cli(&["audit", "verify"]);
}

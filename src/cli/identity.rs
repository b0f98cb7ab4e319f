//! What a workload gets: its X.509-SVIDs, taken in only when they hold together.

use std::time::SystemTime;

use bytes::Bytes;

use crate::{
    pb::workload::{X509svid, X509svidResponse},
    spiffe::{
        Id, TrustDomain,
        x509::{self, Bundle, Bundles, Leaf, Purpose},
    },
    sys::Secret,
};

use super::{exit::Exit, failure::Failure};

/// One X.509-SVID with its key and the authorities of its trust domain.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: Id,
    pub(crate) hint: String,
    /// The leaf, then its intermediates; DER.
    pub(crate) chain: Vec<Bytes>,
    /// PKCS#8, DER.
    pub(crate) key: Secret,
    pub(crate) leaf: Leaf,
    pub(crate) bundle: Bundle,
}

/// All that one message of the Workload API says.
pub(crate) struct Update {
    /// At least one; the first is the default.
    pub(crate) identities: Vec<Identity>,
    /// Foreign trust domains' authorities.
    pub(crate) federated: Vec<Bundle>,
}

impl Update {
    /// Takes a message in.
    ///
    /// # Errors
    /// When something in it is not what the standard says: then nothing of it is used.
    pub(crate) fn read(response: X509svidResponse, now: SystemTime) -> Result<Self, Failure> {
        let broken = |error: &dyn std::error::Error| Failure::because("the endpoint's answer is not right", error);
        let identities = response
            .svids
            .into_iter()
            .map(|svid| identity(svid, now))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| broken(&*error))?;
        if identities.is_empty() {
            return Err(Failure::new(Exit::Failed, "the endpoint's answer has no identity"));
        }
        let federated = response.federated_bundles.iter().map(|(id, der)| {
            let domain = TrustDomain::parse_id(id).map_err(|error| broken(&error))?;
            Bundle::from_der(domain, der).map_err(|error| broken(&error))
        });
        let mut federated = federated.collect::<Result<Vec<_>, _>>()?;
        federated.sort_by(|one, other| one.trust_domain().cmp(other.trust_domain()));
        Ok(Self { identities, federated })
    }
}

impl Identity {
    /// The serial number in lower-case hexadecimal, as the audit log has it.
    pub(crate) fn serial(&self) -> String {
        self.leaf.serial.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Its own trust domain's authorities, for verifying peers.
    pub(crate) fn bundles(&self) -> Bundles {
        Bundles::from_iter([self.bundle.clone()])
    }
}

fn identity(svid: X509svid, now: SystemTime) -> Result<Identity, Box<dyn std::error::Error>> {
    let id = Id::parse(&svid.spiffe_id)?;
    let bundle = Bundle::from_der(id.trust_domain(), &svid.bundle)?;
    let chain = x509::split(&svid.x509_svid)?;
    let leaf = x509::verify(&chain, &Bundles::from_iter([bundle.clone()]), Purpose::Any, now)?;
    if leaf.id != id {
        return Err(format!("the certificate is {}'s, not {id}'s", leaf.id).into());
    }
    Ok(Identity { id, hint: svid.hint, chain, key: Secret::new(svid.x509_svid_key.to_vec()), leaf, bundle })
}

//! Why a foreign bundle is not changed. Nothing was done then, but where an error says otherwise.

use crate::{
    issuance::desk,
    spiffe::{IdError, TrustDomain, document, x509},
};

use super::{DOCUMENT_BYTES_MAX, DOMAINS_MAX, TOTAL_BYTES_MAX};

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What was named is no trust domain.
    #[error("the trust domain `{name}` is not valid: {reason}")]
    Name { name: String, reason: IdError },
    /// Our own bundle is not for admins to write.
    #[error("{0} is this daemon's own trust domain: its bundle is made of its own authorities and keys")]
    Own(TrustDomain),
    /// The document was refused whole. What was there stays.
    #[error("the bundle of {trust_domain} is refused: {reason}")]
    Refused { trust_domain: TrustDomain, reason: Refusal },
    /// There is none.
    #[error("there is no bundle of the trust domain {0}")]
    Unknown(TrustDomain),
    /// Somebody needs it.
    #[error("{} with {trust_domain}", federating(*entries))]
    Federated { trust_domain: TrustDomain, entries: usize },
    /// More than [`DOMAINS_MAX`].
    #[error("there would be bundles of {0} foreign trust domains, at most {DOMAINS_MAX} are kept")]
    TooManyDomains(usize),
    /// More than [`TOTAL_BYTES_MAX`].
    #[error("all foreign bundles would have {0} bytes together, at most {TOTAL_BYTES_MAX} are kept")]
    TooManyBytes(usize),
    /// As with entries.
    #[error(transparent)]
    Change(#[from] desk::Error),
}

/// Why a document is none that can be used, or contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// More than [`DOCUMENT_BYTES_MAX`].
    #[error("it has {0} bytes, at most {DOCUMENT_BYTES_MAX} are read")]
    TooLong(usize),
    /// Something else.
    #[error("it is neither a SPIFFE bundle document (JSON) nor PEM")]
    Format,
    /// It is no bundle document.
    #[error("{error}{cause}", error = .0, cause = cause(.0))]
    Document(document::Error),
    /// One of its entries says two things.
    #[error("entry {} of its `keys` contradicts itself: {reason}", index + 1)]
    Entry {
        /// Where it stands in `keys`, from 0.
        index: usize,
        /// What it says.
        reason: document::Reason,
    },
    /// A workload's certificate is no trust anchor.
    #[error("{which} is not an authority's certificate, and cannot be a trust anchor")]
    Leaf {
        /// As `certificate 2`.
        which: String,
    },
    /// It is not proper PEM.
    #[error("its PEM cannot be read")]
    Pem,
    /// It belongs to nobody but its owner.
    #[error("there is a private key in it")]
    PrivateKey,
    /// PEM without a certificate that can be used. That revokes nothing: `{"keys":[]}` does.
    #[error("there is no certificate in it that can be used{}", reasons(.0))]
    NoCertificate(Vec<String>),
    /// Its certificates are no bundle.
    #[error("{0}")]
    Authorities(x509::Error),
}

fn federating(entries: usize) -> String {
    if entries == 1 { "1 entry federates".into() } else { format!("{entries} entries federate") }
}

fn cause(error: &document::Error) -> String {
    std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default()
}

fn reasons(reasons: &[String]) -> String {
    if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) }
}

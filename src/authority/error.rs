//! Why nothing was signed.

use std::{io, path::PathBuf};

use super::{AuthorityId, Layout};
use crate::{spiffe::x509, store, sys::files};

/// How signing, or making the keys for it, fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The crypto library made no key or number.
    #[error("no key could be made")]
    Key,
    /// The certificate could not be put together.
    #[error("the certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// What was made is not what the standard asks for; it does not leave.
    #[error("the certificate that was made breaks the profile")]
    Profile(#[source] x509::Error),
    /// The signature that was made does not verify; it does not leave.
    #[error("the certificate that was made does not verify")]
    Unverified(#[source] x509::Error),
    /// A token could not be put together.
    #[error("the token could not be made")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The token that was made does not verify; it does not leave.
    #[error("the token that was made does not verify")]
    TokenUnverified(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It would be longer than its readers read.
    #[error("the token would have {bytes} bytes, which are too many")]
    TooLong { bytes: usize },
    /// Two keys for tokens have one name.
    #[error("the keys for tokens make no bundle")]
    TokenKeys(#[from] crate::spiffe::jose::BundleError),
    /// The permit is for another kind of credential.
    #[error("the permit is for another kind of credential")]
    WrongPermit,
    /// No key for this kind of token signs now.
    #[error("there is no active key for such tokens")]
    NoTokenKey,
    /// The permit is for another trust domain than the authority's.
    #[error("the permit is for another trust domain")]
    ForeignTrustDomain,
    /// The authority, or the permit, ends too soon to be worth a certificate.
    #[error("the authority expires too soon to sign with")]
    Expiring,
    /// The authority was made while the clock was ahead, so that what it signs is not valid yet.
    #[error("the authority is not valid yet: the clock was set back")]
    Early,
    /// There is no active root to sign an issuing CA.
    #[error("there is no active root")]
    NoRoot,
    /// There is nothing that signs leaves.
    #[error("there is no active authority")]
    NoSigner,
    /// One step led to the next without end.
    #[error("the authorities do not come to rest; is the clock or a lifetime wrong?")]
    Restless,
    /// The layout in the configuration is not the one of the authorities.
    #[error(
        "the authorities are laid out {found}, and the configuration says {configured}: what everybody trusts cannot be changed by a restart"
    )]
    LayoutChanged { found: Layout, configured: Layout },
    /// Several keys without a row.
    #[error("{} holds {count} keys that the database does not know", folder.display())]
    UnknownKeys { folder: PathBuf, count: usize },
    /// What was loaded is not what the standard asks for; it is not used.
    #[error("the certificate of authority {id} in dayfly.db breaks the profile")]
    Loaded { id: String, source: x509::Error },
    /// A certificate that was loaded is not signed by the one that must have signed it.
    #[error("the certificate of authority {id} in dayfly.db was not signed by {by} as it is there")]
    Unchained { id: AuthorityId, by: &'static str, source: x509::Error },
    /// A row of the store is not understood.
    #[error("authority {0} in the store is not understood")]
    Row(String),
    /// The key beside a certificate is another one.
    #[error("{} is not the key of its certificate", path.display())]
    WrongKey { path: PathBuf },
    /// A key file could not be read, written, or trusted.
    #[error(transparent)]
    File(#[from] files::Error),
    /// A key file could not be listed or removed.
    #[error("{} cannot be listed or removed", path.display())]
    KeyFile { path: PathBuf, source: io::Error },
    /// The store took no change; nothing was changed.
    #[error("the store took no change of the authorities")]
    Store(#[from] store::Error),
}

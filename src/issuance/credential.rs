//! What the kinds of credentials have in common for whoever judges and records them.

use std::{sync::Arc, time::SystemTime};

use crate::{
    audit::AccessIssued,
    authority::{AuthorityId, Svid, Token},
    policy::Credential,
    registry::Given,
    spiffe::Id,
};

/// One thing to be judged, signed and recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    pub(super) entry: &'a Given,
    pub(super) credential: Credential,
    /// Whether the caller has one already, which it must keep.
    pub(super) renewal: bool,
    pub(super) now: SystemTime,
}

/// Something that was signed.
pub(crate) trait Credentials {
    /// Whose it is.
    fn id(&self) -> &Id;
    /// Its name in records.
    fn serial(&self) -> &str;
    /// From when on it is good.
    fn not_before(&self) -> SystemTime;
    /// When it ends.
    fn not_after(&self) -> SystemTime;
    /// Who signed it.
    fn authority(&self) -> &AuthorityId;
    /// Of an access token, what it is good for.
    fn access(&self) -> Option<AccessIssued> {
        None
    }
}

impl<T: Credentials> Credentials for Arc<T> {
    fn id(&self) -> &Id {
        T::id(self)
    }

    fn serial(&self) -> &str {
        T::serial(self)
    }

    fn not_before(&self) -> SystemTime {
        T::not_before(self)
    }

    fn not_after(&self) -> SystemTime {
        T::not_after(self)
    }

    fn authority(&self) -> &AuthorityId {
        T::authority(self)
    }

    fn access(&self) -> Option<AccessIssued> {
        T::access(self)
    }
}

/// Both have it in fields of the same names.
macro_rules! credentials {
    ($($kind:ty),+) => {$(
        impl Credentials for $kind {
            fn id(&self) -> &Id {
                &self.id
            }

            fn serial(&self) -> &str {
                &self.serial
            }

            fn not_before(&self) -> SystemTime {
                self.not_before
            }

            fn not_after(&self) -> SystemTime {
                self.not_after
            }

            fn authority(&self) -> &AuthorityId {
                &self.authority
            }
        }
    )+};
}

credentials!(Svid, Token);

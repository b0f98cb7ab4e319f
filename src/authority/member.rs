//! One authority: its key and certificate, what it is for, and where it stands.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{
    Algorithm, AuthorityId, Error, Key, Layout, Signer,
    keys::Keys,
    slots::{Held, Slot},
    token::TokenKey,
};
use crate::{
    spiffe::{
        TrustDomain,
        x509::{self, check_authority_profile, check_issued, path_length},
    },
    store::{AuthorityKind, AuthorityRow, AuthoritySlot},
    sys::Secret,
};

/// One authority with its key, which is read once.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    pub(super) kind: AuthorityKind,
    pub(super) slot: Slot,
    pub(super) algorithm: Algorithm,
    pub(super) signer: Arc<Signer>,
    /// Where it signs tokens, the same key for that.
    pub(super) token: Option<Arc<TokenKey>>,
}

/// What happened to an authority, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// `prepared`, `activated`, `retired`, `removed`.
    pub(crate) event: &'static str,
    /// `root`, `issuing`, `jwt`, `wit`, `access`.
    pub(crate) role: &'static str,
    pub(crate) id: AuthorityId,
    pub(crate) not_after: SystemTime,
}

/// An authority as status shows it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: AuthorityId,
    /// `root`, `issuing`, `jwt`, `wit` or `access`.
    pub(crate) kind: &'static str,
    /// `prepared`, `active` or `retired`.
    pub(crate) slot: &'static str,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Listed {
    /// Whether it is the one of its kind that signs.
    pub(crate) fn is_active(&self) -> bool {
        self.slot == "active"
    }

    /// Whether its time has come, and has not ended.
    pub(crate) fn is_valid(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Whether it is the root, made while the clock was ahead: it cannot be replaced unseen.
    pub(crate) fn is_early_root(&self, now: SystemTime) -> bool {
        self.is_active() && self.kind == "root" && now < self.not_before
    }
}

impl Authority {
    /// A new one, whose certificate is as the standard asks for. It is nobody's yet.
    pub(super) fn prepared(
        kind: AuthorityKind,
        algorithm: Algorithm,
        key: Key,
        certificate: Bytes,
        own: &TrustDomain,
    ) -> Result<Self, Error> {
        check_authority_profile(&certificate, own).map_err(Error::Profile)?;
        let pkcs8 = key.to_pkcs8()?;
        let signer = Signer::new(key, certificate, kind == AuthorityKind::Root)?;
        let token = token_key(kind, algorithm, &signer, &pkcs8)?;
        Ok(Self { kind, slot: Slot::Prepared, algorithm, signer: Arc::new(signer), token })
    }

    /// One of the store, with its key, which must be private and its certificate's.
    pub(super) fn read(keys: &Keys, row: AuthorityRow, own: &TrustDomain) -> Result<Self, Error> {
        let id = AuthorityId::parse(&row.id).ok_or_else(|| Error::Row(row.id.clone()))?;
        let algorithm = Algorithm::named_as(&row.algorithm).ok_or_else(|| Error::Row(row.id.clone()))?;
        let loaded = |source| Error::Loaded { id: row.id.clone(), source };
        check_authority_profile(&row.certificate, own).map_err(loaded)?;
        let pkcs8 = keys.read(&id)?;
        let key = Key::from_pkcs8(algorithm, &pkcs8);
        let key = key.map_err(|_| Error::WrongKey { path: keys.path(&id) })?;
        let is_its_own = key.is_of(&row.certificate)?;
        let signer = Signer::new(key, row.certificate.into(), row.kind == AuthorityKind::Root)?;
        if signer.id != id || !is_its_own {
            return Err(Error::WrongKey { path: keys.path(&id) });
        }
        let slot = match row.slot {
            AuthoritySlot::Prepared => Slot::Prepared,
            AuthoritySlot::Active => Slot::Active,
            AuthoritySlot::Retired => Slot::Retired,
        };
        let token = token_key(row.kind, algorithm, &signer, &pkcs8)?;
        Ok(Self { kind: row.kind, slot, algorithm, signer: Arc::new(signer), token })
    }

    pub(super) fn row(&self, now: SystemTime) -> AuthorityRow {
        AuthorityRow {
            id: self.signer.id.as_str().to_owned(),
            kind: self.kind,
            slot: match self.slot {
                Slot::Prepared => AuthoritySlot::Prepared,
                Slot::Active => AuthoritySlot::Active,
                Slot::Retired => AuthoritySlot::Retired,
            },
            algorithm: self.algorithm.name().to_owned(),
            certificate: self.signer.certificate.to_vec(),
            changed_at: now,
        }
    }

    pub(super) fn held(&self) -> Held {
        let Signer { id, not_before, not_after, .. } = &*self.signer;
        Held { id: id.clone(), slot: self.slot, not_before: *not_before, not_after: *not_after }
    }

    /// As status shows it.
    pub(super) fn listed(&self) -> Listed {
        let Held { id, not_before, not_after, .. } = self.held();
        let kind = self.kind.name();
        let slot = match self.slot {
            Slot::Prepared => "prepared",
            Slot::Active => "active",
            Slot::Retired => "retired",
        };
        Listed { id, kind, slot, not_before, not_after }
    }

    fn event(&self, event: &'static str) -> Event {
        Event { event, role: self.kind.name(), id: self.signer.id.clone(), not_after: self.signer.not_after }
    }
}

fn token_key(
    kind: AuthorityKind,
    algorithm: Algorithm,
    signer: &Signer,
    pkcs8: &Secret,
) -> Result<Option<Arc<TokenKey>>, Error> {
    match kind {
        AuthorityKind::Root | AuthorityKind::Issuing => Ok(None),
        AuthorityKind::Jwt | AuthorityKind::Wit | AuthorityKind::Access => {
            let key = TokenKey::new(signer.id.clone(), kind, algorithm, pkcs8, signer.not_before, signer.not_after)?;
            Ok(Some(Arc::new(key)))
        }
    }
}

/// What happened between two states.
pub(super) fn events(before: &[Authority], after: &[Authority]) -> Vec<Event> {
    let in_state = |state: &[Authority], id: &AuthorityId| state.iter().find(|one| one.signer.id == *id).cloned();
    let mut events = Vec::new();
    for one in after {
        let was = in_state(before, &one.signer.id);
        if was.is_none() {
            events.push(one.event("prepared"));
        }
        match one.slot {
            slot if was.is_some_and(|was| was.slot == slot) => {}
            Slot::Prepared => {}
            Slot::Active => events.push(one.event("activated")),
            Slot::Retired => events.push(one.event("retired")),
        }
    }
    let gone = before.iter().filter(|one| in_state(after, &one.signer.id).is_none());
    events.extend(gone.map(|one| one.event("removed")));
    events
}

/// Whether each certificate was signed by whom it must have been: a root by itself, as is a key for tokens, and an
/// issuing CA that is to sign by a root that is there. One that signs no more may have outlived its root's row.
pub(super) fn check_chains(authorities: &[Authority], now: SystemTime) -> Result<(), Error> {
    let roots = || authorities.iter().filter(|one| one.kind == AuthorityKind::Root);
    for root in authorities.iter().filter(|one| one.kind != AuthorityKind::Issuing) {
        let (id, der) = (&root.signer.id, &root.signer.certificate);
        check_issued(der, der).map_err(|source| Error::Unchained { id: id.clone(), by: "itself", source })?;
    }
    let signs = |one: &&Authority| one.slot != Slot::Retired && one.signer.not_after > now;
    for issuing in authorities.iter().filter(|one| one.kind == AuthorityKind::Issuing).filter(signs) {
        let (id, der) = (&issuing.signer.id, &issuing.signer.certificate);
        // The words of the last one that failed: there is one root, but for the time of its succession.
        let mut found = Err(x509::Error::Profile("there is no root"));
        for root in roots() {
            found = found.or_else(|_| check_issued(der, &root.signer.certificate));
        }
        found.map_err(|source| Error::Unchained { id: id.clone(), by: "a root", source })?;
    }
    Ok(())
}

/// Whether all of them are of one layout. To go from one to the other takes a rotation of what everybody trusts, which
/// a restart must not begin by itself.
pub(super) fn check_layout(layout: Layout, authorities: &[Authority]) -> Result<(), Error> {
    for one in authorities {
        let found = match one.kind {
            AuthorityKind::Jwt | AuthorityKind::Wit | AuthorityKind::Access => continue,
            AuthorityKind::Issuing => Layout::Rooted,
            AuthorityKind::Root => match path_length(&one.signer.certificate).map_err(Error::Profile)? {
                Some(0) => Layout::SelfSigned,
                _ => Layout::Rooted,
            },
        };
        if found != layout {
            return Err(Error::LayoutChanged { found, configured: layout });
        }
    }
    Ok(())
}

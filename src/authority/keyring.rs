//! What signs now, and what is trusted now: one immutable whole.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    Algorithm, AuthorityId, Error, Serial, Signer, TokenKeys,
    certificate::{BACKDATE, leaf},
    signer::Key,
};
use crate::{
    oauth::access,
    policy::{Credential, Permit},
    spiffe::{
        Id, jwt, wit,
        x509::{Bundle, Bundles, Purpose, check_profile, verify},
    },
    sys::Secret,
};

const NO_KEYS: Bytes = Bytes::from_static(br#"{"keys":[]}"#);

/// A certificate that would live shorter than this is not signed.
pub(crate) const LIFE_MIN: Duration = Duration::from_secs(1);

/// The signing authority and the bundle, as they are at one moment.
#[derive(Debug)]
pub(crate) struct Keyring {
    active: Arc<Signer>,
    bundle: Bundle,
    jwt: Option<TokenKeys<jwt::Profile>>,
    wit: Option<TokenKeys<wit::Profile>>,
    access: Option<TokenKeys<access::Profile>>,
}

/// An X.509-SVID with its key.
#[derive(Debug)]
pub(crate) struct Svid {
    pub(crate) id: Id,
    /// The leaf, then what links it to the bundle: DER, one after the other.
    pub(crate) chain: Bytes,
    /// PKCS#8, DER.
    pub(crate) key: Secret,
    /// Lower-case hex.
    pub(crate) serial: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// Who signed it.
    pub(crate) authority: AuthorityId,
}

impl Keyring {
    /// Signs with `active`; trusts `bundle`, in which `active` or its issuer is.
    pub(crate) fn new(active: Arc<Signer>, bundle: Bundle) -> Self {
        Self { active, bundle, jwt: None, wit: None, access: None }
    }

    /// The same, with keys for tokens.
    pub(super) fn with_tokens(
        self,
        jwt: Option<TokenKeys<jwt::Profile>>,
        wit: Option<TokenKeys<wit::Profile>>,
        access: Option<TokenKeys<access::Profile>>,
    ) -> Self {
        Self { jwt, wit, access, ..self }
    }

    /// Whether it signs with the same keys and trusts the same ones.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        fn same<U: crate::spiffe::jose::Usage>(one: Option<&TokenKeys<U>>, other: Option<&TokenKeys<U>>) -> bool {
            match (one, other) {
                (Some(one), Some(other)) => one.is_as(other),
                (one, other) => one.is_none() && other.is_none(),
            }
        }
        self.active.id == other.active.id
            && self.bundle == other.bundle
            && same(self.jwt.as_ref(), other.jwt.as_ref())
            && same(self.wit.as_ref(), other.wit.as_ref())
            && same(self.access.as_ref(), other.access.as_ref())
    }

    /// The keys for JWT-SVIDs; `None` while none could be made.
    pub(crate) fn jwt(&self) -> Option<&TokenKeys<jwt::Profile>> {
        self.jwt.as_ref()
    }

    /// The keys for WIT-SVIDs; `None` while none could be made, and where they are not offered.
    pub(crate) fn wit(&self) -> Option<&TokenKeys<wit::Profile>> {
        self.wit.as_ref()
    }

    /// The JWT keys of our own trust domain as a JWK Set, JSON; without keys it is `{"keys":[]}`.
    pub(crate) fn jwt_bundle(&self) -> Bytes {
        self.jwt.as_ref().map_or(NO_KEYS, |keys| keys.document().clone())
    }

    /// The WIT keys, likewise.
    pub(crate) fn wit_bundle(&self) -> Bytes {
        self.wit.as_ref().map_or(NO_KEYS, |keys| keys.document().clone())
    }

    /// The keys for access tokens; `None` while none could be made. They are in no bundle of SPIFFE's.
    pub(crate) fn access(&self) -> Option<&TokenKeys<access::Profile>> {
        self.access.as_ref()
    }

    /// The same as a JWK Set for OAuth clients, JSON; without keys it is `{"keys":[]}`.
    pub(crate) fn access_keys(&self) -> Bytes {
        self.access.as_ref().map_or(NO_KEYS, |keys| keys.document().clone())
    }

    /// The authorities of our own trust domain.
    pub(crate) fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Who signs now.
    pub(crate) fn issuer(&self) -> &AuthorityId {
        &self.active.id
    }

    /// Nothing that is signed now ends later.
    pub(crate) fn until(&self) -> SystemTime {
        self.active.not_after
    }

    /// Signs a new key pair for the bearer of a permit. Lives as long as the permit says, and no longer than the
    /// authority. What does not pass our own checks does not leave.
    ///
    /// # Errors
    /// When nothing could be signed, or what was signed is not right.
    pub(crate) fn sign_x509(&self, permit: Permit, now: SystemTime) -> Result<Svid, Error> {
        self.check(&permit, Credential::X509)?;
        let (not_before, not_after) = self.lifetime(&permit, now)?;
        let (key, serial) = (Key::generate(Algorithm::P256)?, Serial::random()?);
        let params = leaf(&permit, serial, not_before, not_after)?;
        let certificate = params.signed_by(&key, &self.active.issuer)?;
        let found = check_profile(certificate.der()).map_err(Error::Profile)?;
        if found.id != *permit.id() {
            return Err(Error::Profile(crate::spiffe::x509::Error::Profile("its name is not the permit's")));
        }
        if found.common_name.as_deref() != permit.common_name() {
            return Err(Error::Profile(crate::spiffe::x509::Error::Profile("its subject is not the permit's")));
        }
        let mut chain = certificate.der().to_vec();
        if !self.active.is_anchor {
            chain.extend_from_slice(&self.active.certificate);
        }
        let svid = Svid {
            id: permit.id().clone(),
            chain: chain.into(),
            key: key.to_pkcs8()?,
            serial: serial.hex(),
            not_before: found.not_before,
            not_after: found.not_after,
            authority: self.active.id.clone(),
        };
        if self.active.sample.is_due() {
            let verified = self.verify(&svid, now);
            self.active.sample.prove(verified.is_ok());
            verified?;
        }
        Ok(svid)
    }

    /// Whether a permit is for this kind of credential, and for our own trust domain.
    pub(super) fn check(&self, permit: &Permit, credential: Credential) -> Result<(), Error> {
        if permit.credential() != credential {
            return Err(Error::WrongPermit);
        }
        match permit.id().trust_domain() == *self.bundle.trust_domain() {
            true => Ok(()),
            false => Err(Error::ForeignTrustDomain),
        }
    }

    fn lifetime(&self, permit: &Permit, now: SystemTime) -> Result<(SystemTime, SystemTime), Error> {
        if now < self.active.not_before {
            return Err(Error::Early);
        }
        let ends = [Some(now + permit.ttl()), permit.expires_at(), Some(self.active.not_after)];
        let not_after = ends.into_iter().flatten().min().unwrap_or(now);
        if not_after.duration_since(now).unwrap_or_default() < LIFE_MIN {
            return Err(Error::Expiring);
        }
        Ok(((now - BACKDATE).max(self.active.not_before), not_after))
    }

    /// With our own verifier, as a stranger would.
    fn verify(&self, svid: &Svid, now: SystemTime) -> Result<(), Error> {
        let mut bundles = Bundles::empty();
        bundles.insert(self.bundle.clone());
        let chain = crate::spiffe::x509::split(&svid.chain).map_err(Error::Unverified)?;
        verify(&chain, &bundles, Purpose::Any, now).map(drop).map_err(Error::Unverified)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod subjects;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::collections::HashSet;

    use super::*;
    use crate::{
        authority::{issuing_certificate, root_certificate},
        policy::{Judgement, Request, Rules, judge},
        registry::{Draft, Entry, EntryId, grant},
        spiffe::TrustDomain,
    };

    pub(super) const HOUR: Duration = Duration::from_secs(3_600);

    pub(super) fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn domain() -> TrustDomain {
        TrustDomain::parse("example.org").unwrap()
    }

    pub(super) fn rooted(algorithm: Algorithm, issuing_life: Duration) -> Keyring {
        let (root, issuing) = (Key::generate(algorithm).unwrap(), Key::generate(algorithm).unwrap());
        let anchor = root_certificate(&domain(), &root, 1, now(), 1_000 * HOUR).unwrap();
        let root = Signer::new(root, anchor.clone(), true).unwrap();
        let certificate = issuing_certificate(&domain(), &issuing, &root, now(), issuing_life).unwrap();
        let active = Signer::new(issuing, certificate, false).unwrap();
        Keyring::new(Arc::new(active), Bundle::new(domain(), vec![anchor]).unwrap())
    }

    fn permit(id: &str, ttl: Duration) -> Permit {
        let dns_names = vec!["db.example.org".to_owned()];
        permit_of(Draft { spiffe_id: id.to_owned(), dns_names, ..Draft::default() }, ttl)
    }

    /// For an entry like this; it need not say whose it is.
    pub(super) fn permit_of(mut draft: Draft, ttl: Duration) -> Permit {
        let rules = Rules::in_test(domain(), ttl);
        draft.selectors = vec!["unix:uid:1".to_owned()];
        if draft.spiffe_id.is_empty() {
            draft.spiffe_id = "spiffe://example.org/a".to_owned();
        }
        let spec = draft.check(&domain()).unwrap();
        let entry = Entry { id: EntryId::from_random([7; 16]), spec, revision: 1, created_at: now(), since: now() };
        match judge(&Request { entry: &grant(&entry), credential: Credential::X509 }, &rules, now()) {
            Judgement::Permit(permit) => permit,
            Judgement::Refuse(reasons) => panic!("{reasons:?}"),
        }
    }

    #[test]
    fn what_is_signed_verifies_with_the_bundle_alone() {
        for algorithm in [Algorithm::P256, Algorithm::P384] {
            let keyring = rooted(algorithm, 24 * HOUR);
            for _ in 0..3 {
                let svid = keyring.sign_x509(permit("spiffe://example.org/a", HOUR), now()).unwrap();
                keyring.verify(&svid, now()).unwrap();
                assert_eq!(crate::spiffe::x509::split(&svid.chain).unwrap().len(), 2);
                assert_eq!(svid.not_after, now() + HOUR);
                let leaf = check_profile(crate::spiffe::x509::split(&svid.chain).unwrap().first().unwrap()).unwrap();
                assert_eq!(leaf.not_before, now() - BACKDATE);
            }
        }
    }

    #[test]
    fn one_tier_signs_leaves_alone() {
        let key = Key::generate(Algorithm::P256).unwrap();
        let anchor = root_certificate(&domain(), &key, 0, now(), 24 * HOUR).unwrap();
        let active = Arc::new(Signer::new(key, anchor.clone(), true).unwrap());
        let keyring = Keyring::new(active, Bundle::new(domain(), vec![anchor]).unwrap());
        let svid = keyring.sign_x509(permit("spiffe://example.org/a", HOUR), now()).unwrap();
        keyring.verify(&svid, now()).unwrap();
        assert_eq!(crate::spiffe::x509::split(&svid.chain).unwrap().len(), 1);
    }

    #[test]
    fn a_leaf_does_not_outlive_its_issuer() {
        let keyring = rooted(Algorithm::P256, HOUR / 2);
        let svid = keyring.sign_x509(permit("spiffe://example.org/a", HOUR), now()).unwrap();
        assert_eq!(svid.not_after, now() + HOUR / 2);
        let late = now() + HOUR / 2;
        assert!(matches!(keyring.sign_x509(permit("spiffe://example.org/a", HOUR), late), Err(Error::Expiring)));
    }

    /// An authority that was made at one moment, and a clock that was set to others.
    #[test]
    fn what_is_signed_is_valid_at_once_or_not_signed() {
        let keyring = rooted(Algorithm::P256, 24 * HOUR);
        let second = Duration::from_secs(1);
        for (moved, is_signed) in
            [(now(), true), (now() - BACKDATE, true), (now() - BACKDATE - second, false), (now() - 30 * HOUR, false)]
        {
            match keyring.sign_x509(permit("spiffe://example.org/a", HOUR), moved) {
                Ok(svid) => assert!(is_signed && svid.not_before <= moved && moved < svid.not_after, "{svid:?}"),
                Err(error) => assert!(!is_signed && matches!(error, Error::Early), "{error}"),
            }
        }
    }

    #[test]
    fn every_serial_and_key_is_new() {
        let keyring = rooted(Algorithm::P256, 24 * HOUR);
        let svids: Vec<_> =
            (0..200).map(|_| keyring.sign_x509(permit("spiffe://example.org/a", HOUR), now()).unwrap()).collect();
        let serials: HashSet<_> = svids.iter().map(|svid| svid.serial.clone()).collect();
        let keys: HashSet<_> = svids.iter().map(|svid| svid.key.expose().to_vec()).collect();
        assert_eq!((serials.len(), keys.len()), (200, 200));
    }

    #[test]
    fn an_authority_that_nobody_trusts_signs_nothing_not_even_the_second_time() {
        let (keyring, other) = (rooted(Algorithm::P256, 24 * HOUR), rooted(Algorithm::P256, 24 * HOUR));
        let stray = Keyring::new(keyring.active.clone(), other.bundle.clone());
        for _ in 0..3 {
            let signed = stray.sign_x509(permit("spiffe://example.org/a", HOUR), now());
            assert!(matches!(signed, Err(Error::Unverified(_))), "{signed:?}");
        }
        keyring.sign_x509(permit("spiffe://example.org/a", HOUR), now()).unwrap();
    }

    #[test]
    fn another_trust_domain_is_refused_at_the_signer() {
        let keyring = rooted(Algorithm::P256, 24 * HOUR);
        let bundle = Bundle::new(TrustDomain::parse("other.test").unwrap(), Vec::new()).unwrap();
        let other = Keyring::new(keyring.active.clone(), bundle);
        assert!(matches!(
            other.sign_x509(permit("spiffe://example.org/a", HOUR), now()),
            Err(Error::ForeignTrustDomain)
        ));
    }
}

//! What an issuer makes, by a certificate library as the daemon's own authority uses it, and what it must
//! never let out.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};

use super::kit::{self, ALTERNATIVE_NAME, AUTHORITY_KEY_ID, Blueprint, KEY_USAGE, SUBJECT_KEY_ID, World, domain, now};
use crate::spiffe::{
    IdError,
    x509::{Bundle, Bundles, Error, Leaf, Purpose, check_authority, check_authority_profile, check_profile, verify},
};

const ID: &str = "spiffe://example.org/a";

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn authority() -> (Certificate, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.subject_alt_names = vec![uri("spiffe://example.org")];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now() - kit::DAY).into();
    params.not_after = (now() + kit::DAY).into();
    let certificate = params.self_signed(&key).unwrap();
    (certificate, Issuer::new(params, key))
}

fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri(ID)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(vec![0x7f; 16]));
    params.not_before = (now() - kit::DAY).into();
    params.not_after = (now() + kit::DAY).into();
    params
}

/// What the profile says of a leaf whose parameters were changed.
fn made(change: impl FnOnce(&mut CertificateParams)) -> Result<Leaf, Error> {
    let (_, issuer) = authority();
    let mut params = leaf_params();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    check_profile(params.signed_by(&key, &issuer).unwrap().der())
}

#[test]
fn a_library_made_chain_fits_and_is_believed() {
    let (root, issuer) = authority();
    let leaf = leaf_params().signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    let checked = check_profile(leaf.der()).unwrap();
    assert_eq!(check_authority_profile(root.der(), &domain("example.org")), Ok(()));
    let bundle = Bundle::from_der(domain("example.org"), root.der()).unwrap();
    let bundles = Bundles::from_iter([bundle]);
    let verified = verify(&[leaf.der().to_vec().into()], &bundles, Purpose::Client, now()).unwrap();
    assert_eq!(verified, checked);
    assert_eq!(verified.serial, [0x7f; 16]);
}

#[test]
fn our_reading_is_the_same_as_another_parsers() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let world = World::new();
    let der = Blueprint::leaf(ID).signed_by(&world.issuing);
    let (rest, theirs) = X509Certificate::from_der(&der).unwrap();
    let ours = check_profile(&der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(theirs.public_key().raw, ours.public_key);
    assert_eq!(theirs.raw_serial(), ours.serial);
    let common_name = theirs.subject().iter_common_name().next().unwrap().as_str().unwrap();
    assert_eq!((common_name, ours.common_name.as_deref()), ("leaf", Some("leaf")));
    assert_eq!(theirs.validity().not_after.to_datetime(), ours.not_after);
    let (_, issuer) = X509Certificate::from_der(&world.issuing.der).unwrap();
    assert!(theirs.verify_signature(Some(issuer.public_key())).is_ok());
}

#[test]
fn what_clients_in_the_field_refuse_is_never_let_out() {
    assert!(made(|_| {}).is_ok());
    let basic = Error::Profile("its basic constraints are not critical and empty");
    let purposes = Error::Profile("its extended key usage lacks server or client authentication");
    // What the library makes when it is not told otherwise
    assert_eq!(made(|it| it.is_ca = IsCa::NoCa), Err(basic));
    assert_eq!(made(|it| it.key_usages = vec![]), Err(Error::KeyUsage("is missing")));
    assert_eq!(made(|it| it.extended_key_usages = vec![]), Err(purposes.clone()));
    assert_eq!(made(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), Err(purposes));
    assert_eq!(
        made(|it| it.use_authority_key_identifier_extension = false),
        Err(Error::Profile("its authority key identifier is missing or critical"))
    );
    // What nobody may ask for
    assert_eq!(made(|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), Err(Error::LeafIsAuthority));
    assert_eq!(made(|it| it.key_usages.push(KeyUsagePurpose::KeyCertSign)), Err(Error::LeafIsAuthority));
    assert_eq!(made(|it| it.key_usages.push(KeyUsagePurpose::CrlSign)), Err(Error::LeafIsAuthority));
    assert_eq!(
        made(|it| it.key_usages.push(KeyUsagePurpose::KeyEncipherment)),
        Err(Error::Profile("its key usage has more than digitalSignature"))
    );
    assert_eq!(made(|it| it.subject_alt_names.push(uri("https://x"))), Err(Error::UriNames(2)));
    assert_eq!(made(|it| it.subject_alt_names.clear()), Err(Error::UriNames(0)));
    assert_eq!(
        made(|it| it.subject_alt_names = vec![uri("spiffe://example.org")]),
        Err(Error::Id(IdError::PathMissing))
    );
    assert_eq!(made(|it| it.serial_number = Some(SerialNumber::from(vec![0]))), Err(Error::Serial("zero")));
    // One second is a life, too.
    assert!(made(|it| it.not_after = it.not_before).is_ok());
    assert_eq!(
        made(|it| it.not_after = it.not_before - time::Duration::SECOND),
        Err(Error::Profile("it ends before it begins"))
    );
}

#[test]
fn what_validators_let_pass_an_issuer_must_not() {
    let world = World::new();
    let good = || Blueprint::leaf(ID);
    let rows = [
        (
            13,
            good().edit(|it| it.subject = kit::name("")),
            "its subject is empty and its alternative name not critical",
        ),
        (
            0,
            good().with(kit::extension(ALTERNATIVE_NAME, true, &kit::sequence(&[&kit::uri(ID)]))),
            "its subject is not empty and its alternative name critical",
        ),
        (15, good().without(kit::BASIC_CONSTRAINTS), "its basic constraints are not critical and empty"),
        (
            15,
            good().with(kit::extension(kit::BASIC_CONSTRAINTS, true, b"\x30\x03\x01\x01\x00")),
            "its basic constraints are not critical and empty",
        ),
        (21, good().with(kit::extension(KEY_USAGE, false, b"\x03\x02\x07\x80")), "its key usage is not critical"),
        (
            0,
            good().with(kit::extension(AUTHORITY_KEY_ID, true, b"\x30\x06\x80\x04\x01\x02\x03\x04")),
            "its authority key identifier is missing or critical",
        ),
        (
            0,
            good().with(kit::extension(SUBJECT_KEY_ID, true, b"\x04\x01\x01")),
            "its subject key identifier is critical",
        ),
    ];
    for (row, leaf, words) in rows {
        assert!(world.judge(leaf.clone()).is_ok(), "row {row}");
        assert_eq!(check_profile(&leaf.signed_by(&world.issuing)), Err(Error::Profile(words)), "row {row}");
    }
    // 50
    let zero = good().edit(|it| it.serial = vec![0]).signed_by(&world.issuing);
    assert_eq!(check_profile(&zero), Err(Error::Serial("zero")));
}

#[test]
fn our_own_authorities_keep_more_rules_than_others() {
    let own = domain("example.org");
    type Edit = fn(Blueprint) -> Blueprint;
    let check = |change: Edit| {
        let made = kit::root_with("root", "example.org", change);
        (check_authority(&made.der), check_authority_profile(&made.der, &own))
    };
    let named = |id: &str| kit::alternative_name(&[kit::uri(id)]);
    assert_eq!(check(|it| it), (Ok(()), Ok(())));
    let only_ours: [(Edit, Error); 11] = [
        (|it| it.without(ALTERNATIVE_NAME), Error::UriNames(0)),
        (|it| it.with(kit::alternative_name(&[kit::dns("x")])), Error::UriNames(0)),
        (
            |it| it.with(kit::extension(KEY_USAGE, true, b"\x03\x02\x01\x86")),
            Error::Profile("an authority's key usage is not critical or has a leaf's bits"),
        ),
        (
            |it| it.with(kit::extension(KEY_USAGE, false, b"\x03\x02\x01\x06")),
            Error::Profile("an authority's key usage is not critical or has a leaf's bits"),
        ),
        (
            |it| it.with(kit::extension(kit::BASIC_CONSTRAINTS, false, b"\x30\x03\x01\x01\xff")),
            Error::Profile("an authority's basic constraints are not critical"),
        ),
        (
            |it| it.without(SUBJECT_KEY_ID),
            Error::Profile("an authority's subject key identifier is missing or critical"),
        ),
        (
            |it| it.with(kit::extension(SUBJECT_KEY_ID, true, b"\x04\x04\x01\x02\x03\x04")),
            Error::Profile("an authority's subject key identifier is missing or critical"),
        ),
        (
            |it| it.with(kit::extension(SUBJECT_KEY_ID, false, b"\x04\x00")),
            Error::Profile("an authority's subject key identifier is missing or critical"),
        ),
        (|it| it.edit(|it| it.subject = kit::name("")), Error::Profile("an authority's subject is empty")),
        (|it| it.edit(|it| it.serial = vec![0]), Error::Serial("zero")),
        (|it| it.with(kit::extension(kit::NAME_CONSTRAINTS, true, b"\x30\x00")), Error::NameConstraints),
    ];
    for (change, reason) in only_ours {
        assert_eq!(check(change), (Ok(()), Err(reason)));
    }
    let ids = [
        ("spiffe://example.org/ca", Error::Id(IdError::PathUnwanted)),
        ("spiffe://example.org/", Error::Id(IdError::TrailingSlash)),
        ("spiffe://other.test", Error::Profile("an authority's ID is in another trust domain")),
    ];
    for (id, reason) in ids {
        let made = kit::root_with("root", "example.org", |it| it.with(named(id)));
        // An imported authority may say what it likes about itself: that takes no part in validation.
        assert_eq!(check_authority(&made.der), Ok(()), "{id}");
        assert_eq!(check_authority_profile(&made.der, &own), Err(reason), "{id}");
    }
}

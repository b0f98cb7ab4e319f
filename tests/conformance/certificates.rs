//! The profile of issued certificates, read by `x509-parser`.

use std::collections::BTreeSet;

use x509_parser::prelude::{ParsedExtension, X509Certificate, X509Version};

use super::{
    rows::Rows,
    subject::Subject,
    x509::{fetch, split, uris},
};

const SUBJECT_ALTERNATIVE_NAME: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const SUBJECT_KEY_IDENTIFIER: &str = "2.5.29.14";
const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";
const NAME_CONSTRAINTS: &str = "2.5.29.30";

/// Whether an extension is there, and critical.
fn extension<'a>(certificate: &'a X509Certificate<'_>, oid: &str) -> Option<(bool, &'a [u8])> {
    let found = certificate.extensions().iter().find(|one| one.oid.to_id_string() == oid)?;
    Some((found.critical, found.value))
}

/// What every certificate must be.
fn common(rows: &mut Rows, certificate: &X509Certificate<'_>) {
    rows.equal("XLEAF-11 version 3", certificate.version(), X509Version::V3);
    let oids: Vec<_> = certificate.extensions().iter().map(|one| one.oid.to_id_string()).collect();
    rows.equal("XLEAF-11 no extension twice", oids.iter().collect::<BTreeSet<_>>().len(), oids.len());
    let (inner, outer) = (&certificate.tbs_certificate.signature, &certificate.signature_algorithm);
    rows.equal("XLEAF-11 one signature algorithm", inner, outer);
    let serial = certificate.tbs_certificate.raw_serial();
    let is_good = (8..=20).contains(&serial.len()) && serial[0] < 0x80 && serial.iter().any(|byte| *byte != 0);
    rows.must("XLEAF-12 serial", is_good, serial);
    let is_parsed = certificate
        .extensions()
        .iter()
        .all(|one| !matches!(one.parsed_extension(), ParsedExtension::ParseError { .. }));
    rows.must("XLEAF-11 extensions are read", is_parsed, oids);
}

/// XLEAF-01, XLEAF-03, XLEAF-04, XLEAF-05, XLEAF-06, XLEAF-07, XLEAF-09, XLEAF-11, XLEAF-12, XLEAF-15, CLI-18, CLI-34, SID-06.
#[test]
fn a_leaf_is_a_leaf_and_nothing_more() {
    let subject = Subject::with(&[("one", ""), ("two", "other")]);
    let mut rows = Rows::of("a_leaf_is_a_leaf_and_nothing_more", &subject);
    for svid in fetch(&subject) {
        let chain = split(&svid.chain);
        let leaf = &chain[0];
        common(&mut rows, leaf);
        rows.equal("XLEAF-01 one URI, the ID", uris(leaf), vec![svid.spiffe_id.clone()]);
        rows.must("XLEAF-03 it has a path", svid.spiffe_id.starts_with("spiffe://example.org/"), &svid.spiffe_id);
        let names = extension(leaf, SUBJECT_ALTERNATIVE_NAME);
        let has_subject = leaf.subject().iter().next().is_some();
        rows.must(
            "XLEAF-04 critical without a subject",
            has_subject || names.is_some_and(|(critical, _)| critical),
            names,
        );
        let tagged = [&[0x86, u8::try_from(svid.spiffe_id.len()).unwrap()][..], svid.spiffe_id.as_bytes()].concat();
        let is_there = names.is_some_and(|(_, value)| value.windows(tagged.len()).any(|part| part == tagged));
        rows.must("XLEAF-15 byte for byte", is_there, names);
        rows.must("XLEAF-05 cA is false", !leaf.is_ca(), ());
        let constraints = extension(leaf, BASIC_CONSTRAINTS);
        rows.equal("XLEAF-05 basic constraints", constraints, Some((true, &[0x30, 0][..])));
        let usage = leaf.key_usage().unwrap();
        rows.must("XLEAF-06 key usage is critical", usage.as_ref().is_some_and(|usage| usage.critical), ());
        let usage = usage.unwrap().value;
        rows.must("XLEAF-07 signatures", usage.digital_signature(), usage);
        rows.must("XLEAF-09 no authority", !usage.key_cert_sign() && !usage.crl_sign(), usage);
        let purposes = leaf.extended_key_usage().unwrap();
        let is_both = purposes.is_none_or(|one| one.value.server_auth && one.value.client_auth);
        rows.must("XLEAF-10 both ends of TLS", is_both, ());
        rows.must("XLEAF-11 no name constraints", extension(leaf, NAME_CONSTRAINTS).is_none(), ());
        let key_id = extension(leaf, AUTHORITY_KEY_IDENTIFIER);
        rows.must("XLEAF-14 the issuer's key identifier", key_id.is_some_and(|(critical, _)| !critical), key_id);
        let now = super::forge::now();
        let (begin, end) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        rows.must("XLEAF-13 valid now", begin < now && end > now, (begin, end));
        let issuer_end = chain.iter().skip(1).map(|one| one.validity().not_after.timestamp()).min();
        rows.must("XLEAF-13 not beyond its issuer", issuer_end.is_none_or(|issuer| end <= issuer), (end, issuer_end));
    }
    rows.settle();
}

/// XLEAF-12, XLEAF-16: a new certificate has a new number and a new key.
#[test]
fn no_serial_number_comes_twice() {
    let subject = Subject::with(&[("one", ""), ("two", "other")]);
    let mut rows = Rows::of("no_serial_number_comes_twice", &subject);
    let svids: Vec<_> = (0..5).flat_map(|_| fetch(&subject)).collect();
    let leaves: BTreeSet<_> = svids.iter().map(|svid| split(&svid.chain)[0].as_raw().to_vec()).collect();
    let serials: BTreeSet<_> = svids.iter().map(|svid| split(&svid.chain)[0].raw_serial_as_string()).collect();
    let keys: BTreeSet<_> = svids.iter().map(|svid| svid.key.clone()).collect();
    rows.equal("XLEAF-12 a number for each certificate", serials.len(), leaves.len());
    rows.equal("XLEAF-16 a key for each certificate", keys.len(), leaves.len());
    rows.settle();
}

/// XCA-01, XCA-02, XCA-06, XCA-12, XCA-13, SID-24, XLEAF-12.
#[test]
fn authorities_may_sign_certificates_and_say_whose_they_are() {
    let subject = Subject::with(&[("one", "")]);
    let mut rows = Rows::of("authorities_may_sign_certificates_and_say_whose_they_are", &subject);
    for svid in fetch(&subject) {
        let (chain, bundle) = (split(&svid.chain), split(&svid.bundle));
        for authority in chain.iter().skip(1).chain(&bundle) {
            common(&mut rows, authority);
            let usage = authority.key_usage().unwrap().unwrap();
            rows.must("XCA-01 keyCertSign, critical", usage.critical && usage.value.key_cert_sign(), usage.value);
            let others = [usage.value.digital_signature(), usage.value.key_encipherment(), usage.value.key_agreement()];
            rows.equal("XCA-04 nothing of leaves", others, [false; 3]);
            let constraints = extension(authority, BASIC_CONSTRAINTS);
            let is_authority = constraints.is_some_and(|(critical, value)| critical && value.starts_with(&[0x30]));
            rows.must("XCA-02 cA", is_authority && authority.is_ca(), constraints);
            rows.equal("XCA-06 the trust domain's ID", uris(authority), vec!["spiffe://example.org".to_owned()]);
            rows.must("XCA-12 a subject", authority.subject().iter().next().is_some(), ());
            rows.must("XCA-13 a key identifier", extension(authority, SUBJECT_KEY_IDENTIFIER).is_some(), ());
        }
        for pair in chain.windows(2) {
            rows.equal("XCA-12 names chain byte by byte", pair[0].issuer().as_raw(), pair[1].subject().as_raw());
        }
        for root in &bundle {
            let is_self_signed = root.issuer() == root.subject() && root.verify_signature(None).is_ok();
            rows.must("XCA-14 the bundle holds roots", is_self_signed, root.subject());
        }
    }
    rows.settle();
}

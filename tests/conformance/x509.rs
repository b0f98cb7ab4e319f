//! `FetchX509SVID`: what one answer holds. Certificates are read by `x509-parser`, keys by `aws-lc-rs`.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{
    common::{
        h2raw::PERMISSION_DENIED,
        messages::{Nothing, Svid},
    },
    rows::Rows,
    subject::Subject,
    wire::X509Answer,
};

/// Certificates back to back; none where anything of it is no certificate.
pub fn split(bytes: &[u8]) -> Vec<X509Certificate<'_>> {
    try_split(bytes).unwrap_or_default()
}

/// Certificates back to back, and nothing else.
pub fn try_split(mut bytes: &[u8]) -> Option<Vec<X509Certificate<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (rest, certificate) = X509Certificate::from_der(bytes).ok()?;
        found.push(certificate);
        bytes = rest;
    }
    Some(found)
}

/// The URI names of a certificate.
pub fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().unwrap();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    names.filter_map(|name| if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None }).collect()
}

/// The SVIDs of a new stream's first message.
pub fn fetch(subject: &Subject) -> Vec<Svid> {
    subject.first::<X509Answer>("FetchX509SVID", &Nothing {}).unwrap().svids
}

/// Whether a chain leads to one of these authorities: each certificate is signed by the next, the last by an authority.
fn leads_to(chain: &[X509Certificate<'_>], bundle: &[X509Certificate<'_>]) -> bool {
    let links = chain.windows(2).all(|pair| {
        pair[0].verify_signature(Some(pair[1].public_key())).is_ok() && pair[0].issuer() == pair[1].subject()
    });
    let is_signed = |root: &X509Certificate<'_>| {
        let last = &chain[chain.len() - 1];
        last.issuer() == root.subject() && last.verify_signature(Some(root.public_key())).is_ok()
    };
    links && bundle.iter().any(is_signed)
}

/// WAPI-10, WAPI-19, WAPI-30, WAPI-31, WAPI-32, WAPI-33, WAPI-34, WAPI-36, CLI-10, CLI-11, CLI-12, CLI-17, SID-22, SID-23.
#[test]
fn each_identity_is_whole_and_leads_to_the_bundle_beside_it() {
    let subject = Subject::with(&[("one", ""), ("two", "other")]);
    let mut rows = Rows::of("each_identity_is_whole_and_leads_to_the_bundle_beside_it", &subject);
    let svids = fetch(&subject);
    rows.equal("WAPI-30 one for each", svids.len(), 2);
    for svid in &svids {
        let fields = [svid.spiffe_id.len(), svid.chain.len(), svid.key.len(), svid.bundle.len()];
        rows.must("WAPI-10 nothing is empty", !fields.contains(&0), fields);
        let (chain, bundle) = (split(&svid.chain), split(&svid.bundle));
        rows.must("WAPI-32 the chain is DER", !chain.is_empty(), chain.len());
        rows.must("CLI-10 the bundle is DER", !bundle.is_empty(), bundle.len());
        let Some((leaf, above)) = chain.split_first() else { continue };
        rows.equal("WAPI-31 spiffe_id is the leaf's", &uris(leaf), &vec![svid.spiffe_id.clone()]);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &svid.key);
        let public = pair.as_ref().map(|pair| pair.public_key().as_ref().to_vec()).unwrap_or_default();
        rows.equal("WAPI-34 PKCS #8, and the leaf's", public.as_slice(), &*leaf.public_key().subject_public_key.data);
        rows.must("WAPI-32 leads to the bundle", leads_to(&chain, &bundle), chain.len());
        rows.must("WAPI-32 no root", above.iter().all(|one| one.issuer() != one.subject()), above.len());
        rows.must("WAPI-33 at most 16", chain.len() <= 16, chain.len());
        for authority in above {
            let signs = authority.key_usage().unwrap().is_some_and(|usage| usage.value.key_cert_sign());
            rows.must("WAPI-33 authorities above the leaf", authority.is_ca() && signs, authority.subject());
        }
        rows.equal("WAPI-36 one bundle for all", &svid.bundle, &svids[0].bundle);
    }
    rows.settle();
}

/// WAPI-30, WAPI-52, WAPI-74, WEP-16, CLI-12, ADV-RPC-16.
#[test]
fn a_caller_without_identity_is_denied_by_every_method_at_once() {
    let subject = Subject::with(&[]);
    let mut rows = Rows::of("a_caller_without_identity_is_denied_by_every_method_at_once", &subject);
    let token = super::tokens::order(&["a"], "");
    let judged = super::common::messages::ToValidate { audience: "a".into(), svid: "a.b.c".into() };
    let answers = [
        ("FetchX509SVID", subject.first::<Nothing>("FetchX509SVID", &Nothing {})),
        ("FetchX509Bundles", subject.first("FetchX509Bundles", &Nothing {})),
        ("FetchJWTSVID", subject.first("FetchJWTSVID", &token)),
        ("FetchJWTBundles", subject.first("FetchJWTBundles", &Nothing {})),
        ("ValidateJWTSVID", subject.first("ValidateJWTSVID", &judged)),
    ];
    for (method, answer) in answers {
        let answer = answer.err();
        let code = answer.as_ref().and_then(super::common::h2raw::Answer::code);
        rows.equal(format!("ADV-RPC-16 {method}"), code, Some(PERMISSION_DENIED));
        let words = answer.as_ref().map(super::common::h2raw::Answer::words);
        rows.equal(format!("WAPI-17 {method}"), words.as_deref(), Some("no identity issued"));
        let is_alone = answer.is_some_and(|answer| answer.is_trailers_only());
        rows.must(format!("WAPI-16 {method} by trailers alone"), is_alone, ());
    }
    rows.settle();
}

//! What stands in the subject of a leaf, read by other parsers than ours, and what another verifier says of it.

use std::{fs, process::Command};

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{
    tests::{HOUR, now, permit_of, rooted},
    *,
};
use crate::{registry::Draft, spiffe::x509::split, sys::scratch::Scratch};

fn draft(dns_names: &[&str]) -> Draft {
    Draft { dns_names: dns_names.iter().map(|name| (*name).to_owned()).collect(), ..Draft::default() }
}

fn database(common_name: &str, dns_names: &[&str]) -> Draft {
    Draft { certificate_profile: "database".into(), common_name: common_name.into(), ..draft(dns_names) }
}

/// The leaf of an entry like this, DER.
fn signed(draft: Draft) -> Vec<u8> {
    let svid = rooted(Algorithm::P256, 24 * HOUR).sign_x509(permit_of(draft, HOUR), now()).unwrap();
    split(&svid.chain).unwrap().first().unwrap().to_vec()
}

/// The subject as others show it, and whether the alternative name is critical.
fn read(leaf: &[u8]) -> (String, bool) {
    let (rest, certificate) = X509Certificate::from_der(leaf).unwrap();
    assert!(rest.is_empty());
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let uris = names.value.general_names.iter().filter(|name| matches!(name, GeneralName::URI(_)));
    assert_eq!(uris.count(), 1);
    assert!(certificate.subject().iter_common_name().count() <= 1);
    (certificate.subject().to_string(), names.critical)
}

#[test]
fn the_first_dns_name_is_the_common_name_and_without_one_the_subject_is_empty() {
    assert_eq!(read(&signed(draft(&[]))), (String::new(), true));
    assert_eq!(read(&signed(draft(&["b.test", "a.test"]))), ("CN=b.test".into(), false));
    assert_eq!(read(&signed(draft(&["*.b.test"]))), ("CN=*.b.test".into(), false));
    let longest = format!("{}.test", "a".repeat(59));
    assert_eq!(read(&signed(draft(&[&longest, "a.test"]))), (format!("CN={longest}"), false));
    // One more and it does not fit: it is no common name, and neither is the next.
    let longer = format!("{}.test", "a".repeat(60));
    let leaf = signed(draft(&[&longer, "a.test"]));
    assert_eq!(read(&leaf), (String::new(), true));
    assert_eq!(check_profile(&leaf).unwrap().dns_names, [longer, "a.test".into()]);
}

#[test]
fn a_certificate_for_a_database_has_the_chosen_common_name_and_still_one_spiffe_id() {
    assert_eq!(read(&signed(database("orders_rw", &[]))), ("CN=orders_rw".into(), false));
    assert_eq!(read(&signed(database("orders", &["b.test"]))), ("CN=orders".into(), false));
    let widest = "木".repeat(21);
    let leaf = check_profile(&signed(database(&widest, &[]))).unwrap();
    assert_eq!((leaf.common_name, leaf.id.as_str()), (Some(widest), "spiffe://example.org/a"));
    // A comma ends nothing, and a name that looks like one with several parts is one.
    let leaf = signed(database("a,O=b", &[]));
    let (_, certificate) = X509Certificate::from_der(&leaf).unwrap();
    assert_eq!(certificate.subject().iter_attributes().count(), 1);
}

#[test]
fn our_own_reading_of_the_subject_is_the_same() {
    for (names, common) in [(&[][..], None), (&["b.test", "a.test"], Some("b.test"))] {
        assert_eq!(check_profile(&signed(draft(names))).unwrap().common_name.as_deref(), common);
    }
}

#[test]
fn openssl_believes_the_chain_and_reads_the_subject() {
    let home = Scratch::new();
    let file = |name: &str| home.path().join(name).display().to_string();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), words)
    };
    let rows = [
        (draft(&[]), "subject="),
        (draft(&["db.test"]), "subject=CN=db.test"),
        (database("orders_rw", &["db.test"]), "subject=CN=orders_rw"),
    ];
    for (draft, subject) in rows {
        let keyring = rooted(Algorithm::P256, 24 * HOUR);
        let svid = keyring.sign_x509(permit_of(draft, HOUR), now()).unwrap();
        let roots = split(keyring.bundle().der()).unwrap();
        let chain = split(&svid.chain).unwrap();
        for (name, der) in [("root", &roots[0]), ("leaf", &chain[0]), ("issuing", &chain[1])] {
            fs::write(file(name), pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec()))).unwrap();
        }
        let moment = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
        let (root, issuing, leaf) = (file("root"), file("issuing"), file("leaf"));
        for purpose in ["sslclient", "sslserver"] {
            let mut verify = vec!["verify", "-x509_strict", "-attime", &moment, "-purpose", purpose];
            verify.extend(["-CAfile", &root, "-untrusted", &issuing, &leaf]);
            let (is_good, words) = openssl(&verify);
            assert!(is_good, "{purpose}: {words}");
        }
        let (_, words) = openssl(&["x509", "-noout", "-subject", "-in", &leaf]);
        // Its versions differ in spaces.
        assert_eq!(words.replace(' ', "").trim_end(), subject);
    }
}

//! Every target over its corpus.

use std::{fs, path::Path};

/// Runs a target over its corpus. Some of it must be accepted and some refused, or it tests little.
fn run(target: &str, function: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).expect("the corpus is committed").map(|file| file.expect("a file").path());
    let accepted: Vec<bool> = files.map(|file| function(&fs::read(file).expect("it can be read"))).collect();
    let yes = accepted.iter().filter(|accepted| **accepted).count();
    assert!(yes >= 3 && accepted.len() - yes >= 3, "{target}: {yes} of {} accepted", accepted.len());
}

#[test]
fn the_corpus_of_ids_runs() {
    run("id", super::id);
}

#[test]
fn the_corpus_of_selectors_runs() {
    run("selector", super::selector);
}

#[test]
fn the_corpus_of_templates_runs() {
    run("template", super::template);
}

#[test]
fn the_corpus_of_replacements_runs() {
    run("replace", super::replace);
}

#[test]
fn the_corpus_of_processes_runs() {
    run("proc", super::proc);
}

#[test]
fn the_corpus_of_connections_runs() {
    run("frames", super::frames);
}

#[test]
fn the_corpus_of_tokens_runs() {
    run("jws", super::jws);
}

#[test]
fn the_corpus_of_proofs_runs() {
    run("proof", super::proof);
}

#[test]
fn the_corpus_of_workload_proofs_runs() {
    run("wpt", super::wpt);
}

#[test]
fn the_corpus_of_secrets_runs() {
    run("secrets", super::secrets);
}

#[test]
fn the_corpus_of_checks_runs() {
    run("check", super::check);
}

#[test]
fn the_corpus_of_access_tokens_runs() {
    run("access", super::access);
}

#[test]
fn the_corpus_of_client_certificates_runs() {
    run("certificate", super::certificate);
}

#[test]
fn the_corpus_of_foreign_tokens_runs() {
    run("foreign_token", super::foreign_token);
}

#[test]
fn the_corpus_of_subject_tokens_runs() {
    run("subject", super::subject);
}

#[test]
fn the_corpus_of_targets_runs() {
    run("target", super::target);
}

#[test]
fn the_corpus_of_requests_runs() {
    run("requests", super::requests);
}

#[test]
fn the_corpus_of_bundles_runs() {
    run("bundle", super::bundle);
}

#[test]
fn the_corpus_of_foreign_bundles_runs() {
    run("foreign", super::foreign);
}

#[test]
fn the_corpus_of_certificates_runs() {
    run("x509", super::x509);
}

//! The log with real files.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod door;
mod earlier;
mod examiner;
mod floods;
mod forging;
mod keeping;
mod kept;
mod recovery;
mod sealing;
mod space;
mod state;
mod tampering;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::verify::verify as audit_verify;
use super::*;
use super::{chain::Link, log::Sequence, record::Own, report::Finding};
use crate::{
    spiffe::Id,
    sys::{Clock, files, scratch::Scratch},
};

/// Segments of a few records, and room for many of them; as many as somebody likes, one by one.
fn small() -> Limits {
    Limits {
        segment_bytes_max: 4096,
        total_bytes_max: 1 << 20,
        reserve_bytes: 16 * 1024,
        bytes_per_minute: u64::MAX,
        ..Limits::default()
    }
}

fn open(dir: &Path, limits: &Limits) -> Log {
    Log::in_test(dir, limits.clone(), Clock::system()).unwrap()
}

/// As somebody does who has nothing but the folder.
fn verify(dir: &Path) -> Result<Report, Fault> {
    audit_verify(dir, &Known::default())
}

fn caller(uid: u32) -> Caller {
    Caller { pid: 4242, uid, gid: 100, exe: Some("/usr/bin/true".into()) }
}

fn issued(serial: &str, renewal: bool) -> Record {
    Record::Issued {
        caller: caller(1000),
        credential: "x509-svid",
        renewal,
        identities: vec![IdentityIssued {
            spiffe_id: Id::parse("spiffe://example.org/a").unwrap(),
            entry: "7b6f6bd9-2a3f-4b58-9d5e-0a3f1b9d7c11".to_owned(),
            revision: 3,
            serial: serial.to_owned(),
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            access: None,
        }],
    }
}

fn refused(uid: u32) -> Record {
    Record::Refused { caller: caller(uid), what: "x509-svid", reasons: vec!["no_entry"], detail: None, holder: None }
}

fn append(log: &Log, serial: &str) -> Result<Sequence, Error> {
    log.append(&issued(serial, false), Urgency::Ordinary)
}

/// A closed log of so many records in several segments.
fn written(dir: &Path, records: u32) {
    let log = open(dir, &small());
    for serial in 0..records {
        append(&log, &serial.to_string()).unwrap();
    }
    log.close();
}

/// All segment files, in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    segment::list(dir, 0).unwrap().numbers.into_iter().map(|number| segment::path(dir, number)).collect()
}

/// All records, as JSON.
fn records(dir: &Path) -> Vec<serde_json::Value> {
    let text: String = segments(dir).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How many records there are of each kind.
fn kinds(dir: &Path) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for record in records(dir) {
        *kinds.entry(record["kind"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    kinds
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

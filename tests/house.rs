//! The rules of the house that a machine can keep: who imports whom, what the pure rooms never touch, and that what is said
//! of tests is true.
#![expect(clippy::panic, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Which rooms a room may import. What is not listed here is not a room.
const ROOMS: [(&str, &[&str]); 14] = [
    ("spiffe", &[]),
    ("oauth", &["spiffe"]),
    ("resource", &["spiffe", "oauth", "sys"]),
    ("registry", &["spiffe", "oauth"]),
    ("policy", &["spiffe", "oauth", "registry"]),
    ("sys", &[]),
    ("attest", &["registry", "sys"]),
    ("authority", &["spiffe", "oauth", "registry", "policy", "sys", "store"]),
    ("store", &["spiffe", "oauth", "registry", "policy", "sys"]),
    ("audit", &["spiffe", "sys"]),
    ("issuance", &["spiffe", "oauth", "registry", "policy", "sys", "attest", "authority", "store", "audit"]),
    ("api", &["spiffe", "oauth", "registry", "policy", "sys", "pb", "issuance", "attest", "authority", "audit"]),
    (
        "daemon",
        &[
            "spiffe",
            "oauth",
            "registry",
            "policy",
            "sys",
            "attest",
            "authority",
            "store",
            "audit",
            "issuance",
            "api",
            "pb",
        ],
    ),
    ("cli", &["spiffe", "oauth", "registry", "sys", "pb", "daemon", "audit"]),
];

/// Rooms without async, files, environment or clock: they take what they need as arguments.
const PURE: [&str; 4] = ["spiffe", "oauth", "registry", "policy"];
const IMPURE: [&str; 9] = [
    "async fn",
    ".await",
    "tokio::",
    "std::fs",
    "std::env",
    "std::net",
    "SystemTime::now",
    "Instant::now",
    "std::thread",
];

/// The threats to tokens and proofs and the rules for them, with the tests of each.
const TOKENS: &str = include_str!("tokens.txt");

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

#[test]
fn rooms_import_only_what_they_may() {
    for source in sources() {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == source.room) else {
            assert!(
                ["lib.rs", "main.rs", "pb.rs", "fuzzing"].contains(&source.room.as_str()),
                "{} is in no room",
                source.path.display()
            );
            continue;
        };
        for (number, line) in code(&source.text) {
            for import in imports(&line) {
                assert!(
                    import == source.room || allowed.contains(&import.as_str()),
                    "{}:{number}: {} may not import {import}",
                    source.path.display(),
                    source.room,
                );
            }
        }
    }
}

#[test]
fn pure_rooms_touch_nothing() {
    for source in sources().into_iter().filter(|source| PURE.contains(&source.room.as_str())) {
        for (number, line) in code(&source.text) {
            for word in IMPURE {
                assert!(!line.contains(word), "{}:{number}: `{word}` in a pure room", source.path.display());
            }
        }
    }
}

#[test]
fn unsafe_is_in_sys_alone_and_printing_in_one_file() {
    for source in sources() {
        for (number, line) in code(&source.text) {
            let at = format!("{}:{number}", source.path.display());
            assert!(source.room == "sys" || !line.contains("unsafe {"), "{at}: unsafe outside sys");
            let prints = ["println!", "print!(", "eprintln!", "eprint!("].iter().any(|word| line.contains(word));
            assert!(!prints || source.path.ends_with("cli/print.rs"), "{at}: only cli/print.rs prints");
            assert!(!line.contains("super::super"), "{at}: super::super");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "{} does not begin with //!", source.path.display());
    }
}

#[test]
fn the_url_crate_stays_outside() {
    let manifest = read(&root().join("Cargo.toml"));
    assert!(
        !manifest.lines().any(|line| line.starts_with("url ") || line.starts_with("url=")),
        "SPIFFE IDs are parsed by hand"
    );
}

/// Operators look up by its code why a door has refused a request.
#[test]
fn the_readme_has_every_code_of_a_refusal() {
    let readme = read(&root().join("README.md"));
    let files = ["verify/reason", "access/mod", "foreign", "freshness", "dpop/error", "wpt"];
    for file in files.map(|name| root().join(format!("src/oauth/{name}.rs"))) {
        let text = read(&file);
        let codes: Vec<_> = text.split("=> \"").skip(1).filter_map(|rest| rest.split_once("\",")).collect();
        assert!(codes.len() >= 5, "{}: no codes were found", file.display());
        for (code, _) in codes {
            assert!(readme.contains(&format!("`{code}`")), "the README does not say what {code} is");
        }
    }
}

/// What `tests/tokens.txt` says of threats and rules: its tests are there, and its codes are some that the source has.
#[test]
fn every_threat_and_rule_of_tokens_has_tests_that_are_there() {
    let sources = sources();
    let mut items: Vec<(&str, usize)> = Vec::new();
    for line in TOKENS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(below) = line.strip_prefix("    ") else {
            items.push((line, 0));
            continue;
        };
        let (item, tests) = items.last_mut().unwrap_or_else(|| panic!("{line}: of no item"));
        if let Some(codes) = below.strip_prefix("-> ") {
            for code in codes.split(", ") {
                let is_there = sources.iter().any(|source| source.text.contains(&format!("\"{code}\"")));
                assert!(is_there, "{item}: nothing has the code {code}");
            }
            continue;
        }
        *tests += 1;
        if below.starts_with("not ours: ") || below.starts_with("not yet: ") {
            continue;
        }
        let (file, name) = below.split_once("::").unwrap_or_else(|| panic!("{item}: {below} is no test"));
        assert!(is_test(&read(&root().join(file)), name), "{item}: there is no test {below}");
    }
    for (item, tests) in &items {
        assert!(*tests > 0, "{item}: without a test, and without a reason");
    }
    let threats = read(&root().join("src/oauth/tests/threats.rs"));
    let heads: Vec<_> = items.iter().filter_map(|(item, _)| item.split_once(": ")).map(|(head, _)| head).collect();
    let rows =
        threats.split("\n        (").skip(1).filter_map(|row| row.trim_start().strip_prefix('"')?.split('"').next());
    let rows: Vec<_> = rows.filter(|row| *row != "baseline").collect();
    assert!(rows.len() > 100, "{} rows", rows.len());
    for row in rows {
        assert!(heads.contains(&row), "tests/tokens.txt has no {row}");
    }
}

/// Whether a text has a test of this name: in Rust a function behind an attribute, in Python one by itself.
fn is_test(text: &str, name: &str) -> bool {
    let mut before = "";
    text.lines().map(str::trim).any(|line| {
        let is_it = line.strip_prefix("async ").unwrap_or(line);
        let is_it = match is_it.strip_prefix("fn ") {
            Some(rest) => {
                rest.starts_with(&format!("{name}(")) && (before == "#[test]" || before.starts_with("#[tokio::test"))
            }
            None => line.starts_with(&format!("def {name}(")),
        };
        if !line.starts_with("//") {
            before = line;
        }
        is_it
    })
}

/// The rooms that a line names, in `crate::room` and at the top of `use crate::{…}`.
fn imports(line: &str) -> Vec<String> {
    let names = line.split("crate::").skip(1).filter(|_| !line.contains("pub(crate::"));
    names
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Lines of code with their numbers: no comments, and `use crate::{a::x, b::y}` over several lines written out.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut grouped: Option<i32> = None;
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if line.starts_with("//") {
            continue;
        }
        let mut line = line.to_owned();
        if let Some(depth) = &mut grouped {
            let opened = i32::try_from(line.matches('{').count()).unwrap_or(0);
            let closed = i32::try_from(line.matches('}').count()).unwrap_or(0);
            if *depth == 1 && !line.starts_with('}') {
                line = format!("crate::{line}");
            }
            *depth += opened - closed;
            if *depth <= 0 {
                grouped = None;
            }
        } else if line == "use crate::{" {
            grouped = Some(1);
        }
        lines.push((number, line));
    }
    lines
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut folders = vec![src.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let room = path.strip_prefix(&src).ok().and_then(|below| below.iter().next());
                let room = room.map(|room| room.to_string_lossy().into_owned()).unwrap_or_default();
                found.push(Source { room, text: read(&path), path });
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

//! The register of MUST items and the tests that cover them: that it is true, and what it comes to.
//!
//! The summary goes to standard output and to `conformance.txt` in Cargo's folder for tests, from where `tests/run` prints it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::deviations::DEVIATIONS;

const REGISTER: &str = include_str!("register.txt");
const SUMMARY: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/conformance.txt");
const SUITE: &str = "tests/conformance";

/// A table of hostile input, how many rows it has, and those that no test names, with the reason.
type Table = (&'static str, u8, &'static [(u8, &'static str)]);

const TABLES: [Table; 4] = [
    ("ADV-JWT", 67, &[]),
    ("ADV-WIT", 25, &[(23, "no door of the daemon reads an Authorization header")]),
    (
        "ADV-B",
        48,
        &[
            (34, "sequences are compared by a federation client, another role"),
            (35, "sequences are compared by a federation client, another role"),
        ],
    ),
    (
        "ADV-RPC",
        34,
        &[
            (18, "tests/attacks, reuse-*"),
            (19, "tests/attacks, exec-* and writes-then-execs*"),
            (20, "tests/attacks, handed-* and given-away-*"),
            (21, "tests/attacks, namespace-* and mounted-over*"),
            (22, "tests/floods"),
            (23, "tests/floods"),
            (27, "src/api/connection.rs and body.rs, around handlers and streams"),
            (28, "tests/replace; not yet with 500 watches of Go and Rust clients"),
            (29, "src/issuance/tests.rs, under a clock that tests set"),
            (31, "the socket is opened when there is something that signs"),
            (33, "src/authority/tests, under a clock that tests set"),
        ],
    ),
];

/// One MUST item.
struct Item {
    id: &'static str,
    words: &'static str,
    /// `file::name`, of tests outside the suite.
    tests: Vec<&'static str>,
    /// What is not covered, and why.
    gaps: Vec<&'static str>,
}

fn items() -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for line in REGISTER.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("    "), items.last_mut()) {
            (None, _) => {
                let (id, words) = line.split_once(' ').unwrap_or_else(|| panic!("{line}: no words"));
                items.push(Item { id, words, tests: Vec::new(), gaps: Vec::new() });
            }
            (Some(gap), Some(item)) if gap.starts_with("not ") => item.gaps.push(gap),
            (Some(test), Some(item)) => item.tests.push(test),
            (Some(_), None) => panic!("{line}: of no item"),
        }
    }
    items
}

/// Whether a word names an item or a row.
fn is_item(word: &str) -> bool {
    word.rsplit_once('-').is_some_and(|(kind, number)| {
        let is_kind = kind.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-');
        is_kind && kind.len() > 1 && number.len() >= 2 && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The suite's cases, as file and name, with the items at their heads.
fn cases() -> BTreeMap<String, BTreeSet<String>> {
    let mut cases = BTreeMap::new();
    for path in sources(SUITE).into_iter().filter(|path| !path.ends_with("register.rs")) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let (mut items, mut is_test) = (BTreeSet::new(), false);
        for line in text.lines() {
            if let Some(doc) = line.strip_prefix("///") {
                let words = doc.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                items.extend(words.filter(|word| is_item(word)).map(str::to_owned));
            } else if line == "#[test]" {
                is_test = true;
            } else if let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('('))
                && is_test
            {
                cases.insert(format!("{}::{name}", path.display()), std::mem::take(&mut items));
                is_test = false;
            } else {
                items.clear();
            }
        }
    }
    cases
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder, by their paths from the project's.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Whether a file has a test of this name: a function of Cargo's harness, or an attack of the table.
fn is_test(path: &str, name: &str) -> bool {
    let Ok(text) = fs::read_to_string(root().join(path)) else { return false };
    if path.starts_with("tests/attacks/") {
        return text.contains(&format!("name: \"{name}\""));
    }
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_named =
        |line: &str| [format!("fn {name}("), format!("async fn {name}(")].iter().any(|one| line.starts_with(one));
    let has_mark = |at: usize| {
        lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with('#') || line.starts_with("//"))
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    lines.iter().enumerate().any(|(at, line)| is_named(line) && has_mark(at))
}

#[test]
fn every_test_that_the_register_names_is_there() {
    let items = items();
    let ids: BTreeSet<_> = items.iter().map(|item| item.id).collect();
    assert_eq!(ids.len(), items.len(), "an item comes twice");
    let mut wrong: Vec<_> = ids.iter().filter(|id| !is_item(id)).map(|id| format!("{id} is no item")).collect();
    for item in &items {
        for test in &item.tests {
            let there = test.split_once("::").is_some_and(|(path, name)| is_test(path, name));
            if !there || test.starts_with(SUITE) {
                wrong.push(format!("{}: {test} is no test outside the suite", item.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_says_which_items_it_covers() {
    let cases = cases();
    assert!(cases.len() > 40, "the suite's own files are read: {} cases", cases.len());
    let silent: Vec<_> = cases.iter().filter(|(_, items)| items.is_empty()).map(|(case, _)| case).collect();
    assert!(silent.is_empty(), "no item at the head of {silent:?}");
}

#[test]
fn every_deviation_is_of_a_case_that_is_there() {
    let cases = cases();
    let is_case = |name: &str| cases.keys().any(|case| case.ends_with(&format!("::{name}")));
    let stray: Vec<_> = DEVIATIONS.iter().filter(|one| !is_case(one.case)).map(|one| one.row).collect();
    assert!(stray.is_empty(), "no case has the rows {stray:?}");
    let rows: BTreeSet<_> = DEVIATIONS.iter().map(|one| (one.case, one.row)).collect();
    assert_eq!(rows.len(), DEVIATIONS.len(), "a row comes twice");
}

#[test]
fn every_item_is_covered_or_says_why_not() {
    let of_suite: BTreeSet<_> = cases().into_values().flatten().collect();
    let items = items();
    let is_tested = |item: &Item| !item.tests.is_empty() || of_suite.contains(item.id);
    let silent: Vec<_> =
        items.iter().filter(|item| !is_tested(item) && item.gaps.is_empty()).map(|item| item.id).collect();
    assert!(silent.is_empty(), "neither a test nor a reason: {silent:?}");
    let rest: Vec<_> = items.iter().filter(|item| !item.gaps.is_empty()).collect();
    let mut summary = format!(
        "conformance: {} of {} MUST items are covered by named tests{}\n",
        items.len() - rest.len(),
        items.len(),
        if rest.is_empty() { "" } else { "; these are not, or not whole:" }
    );
    for item in rest {
        summary += &format!("   {:<9} {} {}\n", item.id, item.words, item.gaps.join(" "));
    }
    print!("{summary}");
    fs::write(SUMMARY, summary).unwrap();
}

#[test]
fn every_row_of_hostile_input_is_in_a_test() {
    let texts: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| sources(folder))
        .filter(|path| !path.starts_with(SUITE) || !path.ends_with("register.rs"))
        .map(|path| fs::read_to_string(root().join(path)).unwrap())
        .collect();
    let mut wrong = Vec::new();
    for (table, count, elsewhere) in TABLES {
        for row in 1..=count {
            let name = format!("{table}-{row:02}");
            match (texts.contains(&name), elsewhere.iter().any(|(one, _)| *one == row)) {
                (false, false) => wrong.push(format!("{name} is in no test")),
                (true, true) => wrong.push(format!("{name} is in a test, and here as one that is not")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

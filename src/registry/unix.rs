//! The selectors that this daemon makes itself: `unix:…`, with SPIRE's names and meaning, and `dayfly:…`.

use super::{image::Image, selector::SelectorError};

/// Whether selectors of this kind are ours.
pub(super) fn is_own(kind: &str) -> bool {
    matches!(kind, "unix" | "dayfly")
}

/// Judges the value of one of our own kinds; others' values are theirs.
pub(super) fn check_own(kind: &str, value: &str) -> Result<(), SelectorError> {
    match kind {
        "unix" => check_unix(value),
        "dayfly" => check_dayfly(value),
        _ => Ok(()),
    }
}

/// Which image selector the whole selector is.
pub(super) fn image(selector: &str) -> Option<Image> {
    let rest = match selector.strip_prefix("unix:") {
        Some(rest) => rest,
        None => return selector.starts_with("dayfly:verity:").then_some(Image::Verity),
    };
    match rest.split_once(':')? {
        ("path", _) => Some(Image::Path),
        ("sha256", _) => Some(Image::Sha256),
        _ => None,
    }
}

/// The value of the whole selector, if it is `unix:NAME:…`.
pub(super) fn value_of<'a>(selector: &'a str, name: &str) -> Option<&'a str> {
    selector.strip_prefix("unix:")?.strip_prefix(name)?.strip_prefix(':')
}

/// The part before the value, of those of which a process has one: `unix:uid`.
pub(super) fn single(selector: &str) -> Option<&str> {
    let (name, _) = selector.strip_prefix("unix:")?.split_once(':')?;
    let is_single = matches!(name, "uid" | "gid" | "user" | "group" | "path" | "sha256");
    is_single.then(|| selector.get(..UNIX_BYTES + name.len())).flatten()
}

const UNIX_BYTES: usize = "unix:".len();
const UNIX_NAMES: [&str; 8] =
    ["uid", "user", "gid", "group", "supplementary_gid", "supplementary_group", "path", "sha256"];
const DAYFLY_NAMES: [&str; 1] = ["verity"];

fn check_unix(value: &str) -> Result<(), SelectorError> {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    match name {
        "uid" => check_number("unix:uid", value),
        "gid" => check_number("unix:gid", value),
        "supplementary_gid" => check_number("unix:supplementary_gid", value),
        "user" | "group" | "supplementary_group" if value.is_empty() => Err(SelectorError::NoValue),
        "user" | "group" | "supplementary_group" => Ok(()),
        "path" => check_path(value),
        "sha256" => check_digest("unix:sha256", value, 64),
        _ => Err(unknown("unix", name, &UNIX_NAMES)),
    }
}

fn check_dayfly(value: &str) -> Result<(), SelectorError> {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    match (name, value.split_once(':')) {
        ("verity", Some(("sha256", digest))) => check_digest("dayfly:verity:sha256", digest, 64),
        ("verity", Some(("sha512", digest))) => check_digest("dayfly:verity:sha512", digest, 128),
        ("verity", _) => Err(SelectorError::VerityAlgorithm),
        _ => Err(unknown("dayfly", name, &DAYFLY_NAMES)),
    }
}

/// As the kernel's numbers are written: another spelling of the same number would match nobody. The last number is no
/// id: it means "none" to the kernel.
fn check_number(name: &'static str, value: &str) -> Result<(), SelectorError> {
    let canonical = value.parse::<u32>().is_ok_and(|number| number != u32::MAX && number.to_string() == value);
    canonical.then_some(()).ok_or(SelectorError::Number { name })
}

fn check_path(path: &str) -> Result<(), SelectorError> {
    let inside = path.strip_prefix('/').ok_or(SelectorError::PathRelative)?;
    match inside.split('/').any(|part| matches!(part, "" | "." | "..")) {
        true => Err(SelectorError::PathForm),
        false => Ok(()),
    }
}

fn check_digest(name: &'static str, digest: &str, digits: usize) -> Result<(), SelectorError> {
    let proper = digest.len() == digits && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    proper.then_some(()).ok_or(SelectorError::Digest { name, digits })
}

fn unknown(kind: &'static str, name: &str, known: &[&'static str]) -> SelectorError {
    /// Longer ones are no typing error, and an error is to stay readable.
    const SHOWN_CHARS_MAX: usize = 40;
    let name: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    let lower = name.to_ascii_lowercase();
    let meant = known.iter().map(|known| (distance(&lower, known), *known)).min();
    // Half of the letters wrong is another word.
    let meant = meant.filter(|(distance, known)| *distance * 2 <= known.len()).map(|(_, known)| known);
    SelectorError::UnknownName { kind, name, meant }
}

/// How many letters must be put in, left out, exchanged or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (line, letter) in from.chars().enumerate() {
        let mut next = vec![line + 1];
        for (column, wanted) in to.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX - 1);
            let exchanged = at(&row, column) + usize::from(letter != *wanted);
            let mut least = exchanged.min(at(&row, column + 1) + 1).min(at(&next, column) + 1);
            // `udi` for `uid`
            let swapped = column > 0 && last == Some(*wanted) && to.get(column - 1) == Some(&letter);
            if swapped {
                least = least.min(at(&before, column - 1) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(letter);
    }
    row.last().copied().unwrap_or(usize::MAX)
}

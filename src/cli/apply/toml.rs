//! Our own file of entries: `[[entry]]` tables, read strictly; every problem is told with its line.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{cli::moment, pb::admin::Entry};

use super::{Lines, Problem, Reading, Wanted, spire::Origin};

/// Reads the whole file; nothing that is wrong stops the reading.
pub(super) fn read(text: &str) -> Reading {
    let (table, faults) = DeTable::parse_recoverable(text);
    let mut reader = Reader { lines: Lines::of(text), reading: Reading::default() };
    for fault in &faults {
        reader.wrong(fault.span().map_or(0, |span| span.start), fault.message());
    }
    // What a broken document seems to say is not worth a word.
    if faults.is_empty() {
        reader.document(table.get_ref());
    }
    reader.reading.wanted.sort_by_key(|wanted| wanted.line);
    reader.reading
}

struct Reader {
    lines: Lines,
    reading: Reading,
}

impl Reader {
    fn document(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("entry", DeValue::Array(elements)) => elements.iter().for_each(|element| self.element(element)),
                ("entry", _) => self.wrong(value.span().start, "`entry` must be written as [[entry]]"),
                (other, _) => {
                    self.wrong(key.span().start, format!("unknown key `{other}`, the file has only [[entry]] tables"))
                }
            }
        }
    }

    fn element(&mut self, element: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = element.get_ref() else {
            return self.wrong(element.span().start, "`entry` must be written as [[entry]]");
        };
        // Stand-ins for what cannot be read or is not there: the rest is judged too, and these are told once.
        let mut entry = Entry {
            spiffe_id: "spiffe://unknown/unknown".into(),
            selectors: vec!["unix:uid:0".into()],
            ..Entry::default()
        };
        let known = self.reading.problems.len();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match set(&mut entry, name, value.get_ref()) {
                None => self.wrong(key.span().start, format!("unknown key `{name}`")),
                Some(Err(words)) => self.wrong(value.span().start, format!("{name}: {words}")),
                Some(Ok(())) => {}
            }
        }
        for name in ["spiffe_id", "selectors"] {
            if !table.contains_key(name) {
                self.wrong(element.span().start, format!("{name} is missing"));
            }
        }
        let (line, is_whole) = (self.lines.at(element.span().start), self.reading.problems.len() == known);
        self.reading.wanted.push(Wanted { line, entry, is_whole, origin: Origin::default() });
    }

    fn wrong(&mut self, offset: usize, words: impl Into<String>) {
        self.reading.problems.push(Problem { line: self.lines.at(offset), words: words.into() });
    }
}

/// `None` for a key that there is not.
fn set(entry: &mut Entry, key: &str, value: &DeValue<'_>) -> Option<Result<(), String>> {
    let ttl = |value| text(value).and_then(|text| moment::ttl(&text));
    Some(match key {
        "spiffe_id" => text(value).map(|id| entry.spiffe_id = id),
        "selectors" => list(value).map(|selectors| entry.selectors = selectors),
        "x509_ttl" => ttl(value).map(|seconds| entry.x509_ttl_seconds = seconds),
        "jwt_ttl" => ttl(value).map(|seconds| entry.jwt_ttl_seconds = seconds),
        "wit_ttl" => ttl(value).map(|seconds| entry.wit_ttl_seconds = seconds),
        "dns_names" => list(value).map(|names| entry.dns_names = names),
        "certificate_profile" => text(value).map(|profile| entry.certificate_profile = profile),
        "common_name" => text(value).map(|name| entry.common_name = name),
        "hint" => text(value).map(|hint| entry.hint = hint),
        "federates_with" => list(value).map(|names| entry.federates_with = names),
        "admin" => flag(value).map(|admin| entry.admin = admin),
        "downstream" => flag(value).map(|downstream| entry.downstream = downstream),
        "agent" => text(value).map(|agent| entry.agent = agent),
        "expires_at" => end(value).map(|seconds| entry.expires_at = seconds),
        _ => return None,
    })
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| unlike("a text in quotes", value))
}

fn list(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let elements = value.as_array().ok_or_else(|| unlike("a list of texts", value))?;
    elements.iter().map(|element| text(element.get_ref())).collect()
}

fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| unlike("true or false", value))
}

/// A TOML date with its zone, the same as a text, or Unix seconds. No length of time: it would be another end each time
/// that the file is applied.
fn end(value: &DeValue<'_>) -> Result<u64, String> {
    let written = match value {
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Integer(seconds) if seconds.radix() == 10 => seconds.as_str().to_owned(),
        other => text(other)?,
    };
    moment::time(&written).map_err(|()| format!("`{written}` is no time, write it as 2027-01-31T12:00:00Z"))
}

fn unlike(wanted: &str, found: &DeValue<'_>) -> String {
    format!("must be {wanted}, not a value of type {}", found.type_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_entry_is_read() {
        let reading = read(
            r#"
[[entry]]
spiffe_id = "spiffe://example.org/web"
selectors = ["unix:uid:1000", "unix:path:/usr/bin/web"]
x509_ttl = "1h"
jwt_ttl = "5m"
wit_ttl = "4m"
dns_names = ["web.example.org"]
certificate_profile = "database"
common_name = "orders"
hint = "internal"
federates_with = ["other.org"]
admin = true
downstream = false
agent = "crew"
expires_at = 2026-07-01T12:00:00Z
"#,
        );
        let entry = Entry {
            spiffe_id: "spiffe://example.org/web".into(),
            selectors: vec!["unix:uid:1000".into(), "unix:path:/usr/bin/web".into()],
            x509_ttl_seconds: 3600,
            jwt_ttl_seconds: 300,
            wit_ttl_seconds: 240,
            dns_names: vec!["web.example.org".into()],
            certificate_profile: "database".into(),
            common_name: "orders".into(),
            hint: "internal".into(),
            federates_with: vec!["other.org".into()],
            admin: true,
            agent: "crew".into(),
            expires_at: 1_782_907_200,
            ..Entry::default()
        };
        assert_eq!(reading.problems, []);
        assert_eq!(reading.wanted, [Wanted { line: 2, entry, is_whole: true, origin: Origin::default() }]);
    }

    #[test]
    fn an_end_is_written_in_one_of_three_ways() {
        for (written, seconds) in [
            ("2026-07-01T12:00:00Z", Some(1_782_907_200)),
            ("\"2026-07-01T12:00:00Z\"", Some(1_782_907_200)),
            ("1782907200", Some(1_782_907_200)),
            ("\"1782907200\"", Some(1_782_907_200)),
            ("-1", None),
            ("0x10", None),
            ("\"+2h\"", None),
            ("\"2h\"", None),
            ("2026-07-01", None),
        ] {
            let selectors = "selectors = [\"unix:uid:1\"]";
            let reading =
                read(&format!("[[entry]]\nspiffe_id = \"spiffe://e.org/a\"\n{selectors}\nexpires_at = {written}\n"));
            let read = reading.wanted.first().filter(|_| reading.problems.is_empty());
            assert_eq!(read.map(|wanted| wanted.entry.expires_at), seconds, "{written}: {:?}", reading.problems);
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line() {
        let reading = read(
            "trust_domain = \"x\"\n[[entry]]\nspiffe_ids = \"a\"\nselectors = \"unix:uid:1\"\nx509_ttl = 60\nexpires_at = \"soon\"\n",
        );
        let mut problems = reading.problems;
        problems.sort();
        let told: Vec<_> = problems.iter().map(|problem| (problem.line, problem.words.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "unknown key `trust_domain`, the file has only [[entry]] tables"),
                (2, "spiffe_id is missing"),
                (3, "unknown key `spiffe_ids`"),
                (4, "selectors: must be a list of texts, not a value of type string"),
                (5, "x509_ttl: must be a text in quotes, not a value of type integer"),
                (6, "expires_at: `soon` is no time, write it as 2027-01-31T12:00:00Z"),
            ]
        );
    }

    #[test]
    fn a_broken_document_is_told_by_its_own_faults_only() {
        let reading = read("[[entry]]\nspiffe_id = \"a\nselectors = []\n");
        assert!(!reading.problems.is_empty());
        assert!(reading.problems.iter().all(|problem| problem.line == 2), "{:?}", reading.problems);
    }
}

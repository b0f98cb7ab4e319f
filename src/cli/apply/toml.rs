//! Our own file: `[[entry]]`, `[[agent]]`, `[[tool]]` and `[[grant]]` tables, read strictly; every problem is told with its
//! line.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    cli::{grant::per_minute, moment},
    pb::admin::{Agent, Entry, Grant, Tool, ToolRoute, ToolScope, item::Item as Inner},
};

use super::{
    Lines, Problem, Reading, Wanted,
    items::{self, WantedItem},
    spire::Origin,
};

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
                ("agent", DeValue::Array(elements)) => self.items(elements, || Inner::Agent(Agent::default())),
                ("tool", DeValue::Array(elements)) => self.items(elements, || Inner::Tool(Tool::default())),
                ("grant", DeValue::Array(elements)) => self.items(elements, || Inner::Grant(Grant::default())),
                (kind @ ("entry" | "agent" | "tool" | "grant"), _) => {
                    self.wrong(value.span().start, format!("`{kind}` must be written as [[{kind}]]"));
                }
                (other, _) => self.wrong(
                    key.span().start,
                    format!(
                        "unknown key `{other}`, the file has only [[entry]], [[agent]], [[tool]] and [[grant]] tables"
                    ),
                ),
            }
        }
    }

    /// All of one kind. That there is none of it is also something that the file says.
    fn items(&mut self, elements: &[Spanned<DeValue<'_>>], empty: impl Fn() -> Inner) {
        self.reading.items.kinds.push(items::kind(&empty()));
        for element in elements {
            let mut item = empty();
            let known = self.reading.problems.len();
            let DeValue::Table(table) = element.get_ref() else {
                self.wrong(element.span().start, "it must be a table");
                continue;
            };
            for (key, value) in table {
                let name = key.get_ref().as_ref();
                match set_item(&mut item, name, value.get_ref()) {
                    None => self.wrong(key.span().start, format!("unknown key `{name}`")),
                    Some(Err(words)) => self.wrong(value.span().start, format!("{name}: {words}")),
                    Some(Ok(())) => {}
                }
            }
            let (line, is_whole) = (self.lines.at(element.span().start), self.reading.problems.len() == known);
            self.reading.items.wanted.push(WantedItem { line, item, is_whole });
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
        "sds_for" => list(value).map(|ids| entry.sds_for = ids),
        "admin" => flag(value).map(|admin| entry.admin = admin),
        "downstream" => flag(value).map(|downstream| entry.downstream = downstream),
        "agent" => text(value).map(|agent| entry.agent = agent),
        "expires_at" => end(value).map(|seconds| entry.expires_at = seconds),
        _ => return None,
    })
}

/// `None` for a key that there is not.
fn set_item(item: &mut Inner, key: &str, value: &DeValue<'_>) -> Option<Result<(), String>> {
    Some(match (item, key) {
        (Inner::Agent(agent), "name") => text(value).map(|name| agent.name = name),
        (Inner::Agent(agent), "owner") => text(value).map(|owner| agent.owner = owner),
        (Inner::Agent(agent), "purpose") => text(value).map(|purpose| agent.purpose = purpose),
        (Inner::Agent(agent), "environment") => text(value).map(|environment| agent.environment = environment),
        (Inner::Agent(agent), "data_class") => text(value).map(|class| agent.data_class = class),
        (Inner::Agent(agent), "review_by") => end(value).map(|seconds| agent.review_by = seconds),
        (Inner::Tool(tool), "name") => text(value).map(|name| tool.name = name),
        (Inner::Tool(tool), "audience") => text(value).map(|audience| tool.audience = audience),
        (Inner::Tool(tool), "base_urls") => list(value).map(|urls| tool.base_urls = urls),
        (Inner::Tool(tool), "scopes") => pairs(value).map(|scopes| {
            tool.scopes = scopes.into_iter().map(|(name, band)| ToolScope { name, band }).collect();
        }),
        (Inner::Tool(tool), "routes") => pairs(value).map(|routes| {
            tool.routes = routes.into_iter().map(|(route, scope)| ToolRoute { route, scope }).collect();
        }),
        (Inner::Tool(tool), "encoded_slash") => flag(value).map(|allowed| tool.encoded_slash = allowed),
        (Inner::Tool(tool), "accepts") => list(value).map(|accepts| tool.accepts = accepts),
        (Inner::Grant(grant), "agent") => text(value).map(|agent| grant.agent = agent),
        (Inner::Grant(grant), "tool") => text(value).map(|tool| grant.tool = tool),
        (Inner::Grant(grant), "scopes") => list(value).map(|scopes| grant.scopes = scopes),
        (Inner::Grant(grant), "datasets") => list(value).map(|datasets| grant.datasets = datasets),
        (Inner::Grant(grant), "ttl_max") => {
            text(value).and_then(|text| moment::ttl(&text)).map(|seconds| grant.ttl_max_seconds = seconds)
        }
        (Inner::Grant(grant), "rate") => {
            text(value).and_then(|text| per_minute(&text)).map(|rate| grant.rate_per_minute = rate)
        }
        _ => return None,
    })
}

/// A table of texts, as `{ "orders:read" = "read" }`.
fn pairs(value: &DeValue<'_>) -> Result<Vec<(String, String)>, String> {
    let table = value.as_table().ok_or_else(|| unlike("a table of texts", value))?;
    table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), text(value.get_ref())?))).collect()
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
                (
                    1,
                    "unknown key `trust_domain`, the file has only [[entry]], [[agent]], [[tool]] and [[grant]] tables"
                ),
                (2, "spiffe_id is missing"),
                (3, "unknown key `spiffe_ids`"),
                (4, "selectors: must be a list of texts, not a value of type string"),
                (5, "x509_ttl: must be a text in quotes, not a value of type integer"),
                (6, "expires_at: `soon` is no time, write it as 2027-01-31T12:00:00Z"),
            ]
        );
    }

    #[test]
    fn agents_tools_and_grants_are_read() {
        let reading = read(
            r#"
[[agent]]
name = "crew"
owner = "payments@example.org"
purpose = "answers customers"
environment = "production"
data_class = "internal"
review_by = 2026-07-01T12:00:00Z

[[tool]]
name = "shop"
audience = "https://shop.example.org"
base_urls = ["https://shop.example.org/api"]
scopes = { "orders:read" = "read" }
routes = { "GET /orders/*" = "orders:read" }
encoded_slash = true
accepts = ["wit"]

[[grant]]
agent = "crew"
tool = "shop"
scopes = ["orders:read"]
datasets = ["eu"]
ttl_max = "2m"
rate = "30/min"
"#,
        );
        assert_eq!(reading.problems, []);
        let agent = Agent {
            name: "crew".into(),
            owner: "payments@example.org".into(),
            purpose: "answers customers".into(),
            environment: "production".into(),
            data_class: "internal".into(),
            review_by: 1_782_907_200,
            ..Agent::default()
        };
        let tool = Tool {
            name: "shop".into(),
            audience: "https://shop.example.org".into(),
            base_urls: vec!["https://shop.example.org/api".into()],
            scopes: vec![ToolScope { name: "orders:read".into(), band: "read".into() }],
            routes: vec![ToolRoute { route: "GET /orders/*".into(), scope: "orders:read".into() }],
            encoded_slash: true,
            accepts: vec!["wit".into()],
            ..Tool::default()
        };
        let grant = Grant {
            agent: "crew".into(),
            tool: "shop".into(),
            scopes: vec!["orders:read".into()],
            datasets: vec!["eu".into()],
            ttl_max_seconds: 120,
            rate_per_minute: 30,
            ..Grant::default()
        };
        let mut found: Vec<_> = reading.items.wanted.into_iter().map(|wanted| (wanted.line, wanted.item)).collect();
        found.sort_by_key(|(line, _)| *line);
        assert_eq!(found, [(2, Inner::Agent(agent)), (10, Inner::Tool(tool)), (19, Inner::Grant(grant))]);
    }

    #[test]
    fn what_is_wrong_in_an_agent_tool_or_grant_is_told_with_its_line() {
        let reading =
            read("grant = []\n[[agent]]\nstate = \"active\"\n[[tool]]\nscopes = [\"a\"]\nencoded_slash = 1\n");
        let mut problems = reading.problems;
        problems.sort();
        let told: Vec<_> = problems.iter().map(|problem| (problem.line, problem.words.as_str())).collect();
        assert_eq!(
            told,
            [
                (3, "unknown key `state`"),
                (5, "scopes: must be a table of texts, not a value of type array"),
                (6, "encoded_slash: must be true or false, not a value of type integer"),
            ]
        );
        assert_eq!(reading.items.kinds.len(), 3, "it says that there is no grant");
    }

    #[test]
    fn a_broken_document_is_told_by_its_own_faults_only() {
        let reading = read("[[entry]]\nspiffe_id = \"a\nselectors = []\n");
        assert!(!reading.problems.is_empty());
        assert!(reading.problems.iter().all(|problem| problem.line == 2), "{:?}", reading.problems);
    }
}

//! `dayfly apply -f FILE`: makes the registry as a file says, in one step: all of it or nothing.
//!
//! Entries are matched by their SPIFFE ID and their set of selectors, as SPIRE tells entries apart, agents, tools and
//! grants by their names; so the same file twice changes nothing. An agent's state is not in a file: what somebody has
//! suspended stays so.

mod items;
mod json;
mod plan;
mod spire;
mod toml;

use std::{
    collections::{BTreeMap, btree_map},
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use crate::{
    pb::admin::{
        ApplyEntriesRequest, ApplyEntriesResponse, Entry, ItemKind, ListEntriesRequest, ListItemsRequest,
        UpdateEntryRequest, item::Item as Inner,
    },
    spiffe::Id,
    sys::Clock,
};

use super::{
    context::Context,
    entry,
    exit::Exit,
    failure::Failure,
    items::word,
    link::{Admin, answer},
    moment, paging,
    print::Style,
    shown,
};
use items::{ItemPlan, Items};
use plan::{Plan, key};
use spire::Origin;

/// `apply`
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The file; `-` is stdin. TOML of ours, or JSON: SPIRE's `entry create -data` and `entry show -output json`, and
    /// our own `entry list --output json`
    #[arg(short, long)]
    file: PathBuf,
    /// Of each kind that the file has (entries, agents, tools, grants) remove those that are not in it; `grant = []`
    /// has the kind, and none of it
    #[arg(long)]
    prune: bool,
    /// Of SPIRE's entries only those below this SPIFFE ID, that of the node or of an alias; may be given several times
    #[arg(long = "parent", value_name = "ID")]
    parents: Vec<Id>,
    /// Check everything, show what would change, change nothing
    #[arg(long)]
    dry_run: bool,
}

/// An entry of the file.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    /// Where it begins, from 1.
    line: usize,
    entry: Entry,
    /// Whether every key could be read; others have a stand-in, so that the rest is judged too.
    is_whole: bool,
    origin: Origin,
}

/// Something that is wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// From 1.
    line: usize,
    words: String,
}

/// What a reader made of a file.
#[derive(Debug, Default)]
struct Reading {
    wanted: Vec<Wanted>,
    items: Items,
    problems: Vec<Problem>,
    /// What is left out or has no effect here, and why; not a fault of the file.
    notes: Vec<Problem>,
}

/// Runs the verb.
///
/// # Errors
/// Every problem of the file, or what the daemon refused.
pub(crate) async fn run(context: &Context, apply: Apply) -> Result<(), Failure> {
    let name = if is_stdin(&apply.file) { "stdin".into() } else { apply.file.display().to_string() };
    let text = read_text(&apply.file).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        Failure::new(if missing { Exit::Missing } else { Exit::Usage }, format!("{name} cannot be read: {error}"))
    })?;
    let parents: Vec<_> = apply.parents.iter().map(Id::to_string).collect();
    let Reading { wanted, items, notes, .. } = read(&text, &parents).map_err(|problems| refused(&name, &problems))?;
    notes.iter().for_each(|note| context.print.warn(format_args!("{name}:{}: {}", note.line, note.words)));
    if apply.prune && wanted.is_empty() && items.kinds.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("{name} has no entries, so --prune would remove all there are"))
            .hint("if that is wanted, name them: dayfly entry remove ID…"));
    }

    let mut admin = Admin::connect(context).await?;
    // A file without entries says nothing of those that there are.
    let speaks_of_entries = !wanted.is_empty() || items.kinds.is_empty();
    let present = if speaks_of_entries { all(&mut admin, context).await? } else { Vec::new() };
    let plan = Plan::new(wanted.into_iter().map(|wanted| wanted.entry).collect(), present, apply.prune);
    let mut present = Vec::new();
    for kind in &items.kinds {
        present.extend(all_of(&mut admin, context, *kind).await?);
    }
    let plan = Whole { entries: plan, items: ItemPlan::new(items, present, apply.prune) };
    if !context.print.is_json() {
        show(context, &plan)?;
    }
    // An empty plan is not sent, but a dry run asks the daemon's opinion of every change.
    let mut done = ApplyEntriesResponse::default();
    if !plan.is_empty() {
        done = answer(admin.entries.apply(request(&plan, apply.dry_run))).await?;
    }
    report(context, &plan, &done, apply.dry_run)
}

/// All changes.
struct Whole {
    entries: Plan,
    items: ItemPlan,
}

impl Whole {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.items.is_empty()
    }
}

/// Reads a file of either kind, and checks each entry as far as can be without the daemon.
fn read(text: &str, parents: &[String]) -> Result<Reading, Vec<Problem>> {
    // Editors on other systems begin a file with this sign, which stands for nothing.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_json = is_json(text);
    let mut reading = if is_json { json::read(text) } else { toml::read(text) };
    spire::sift(&mut reading, parents);
    let mut seen = BTreeMap::new();
    for Wanted { line, entry, is_whole, origin } in &mut reading.wanted {
        // SPIRE writes all its entries on one line, which does not tell one from the other.
        let name = if is_json { format!("{}: ", entry.spiffe_id) } else { String::new() };
        let told = |words| Problem { line: *line, words: format!("{name}{words}") };
        reading.problems.extend(entry::problems(entry).into_iter().map(told));
        reading.notes.extend(without_effect(entry, origin).map(told));
        plan::normalize(entry);
        match seen.entry(key(entry)) {
            _ if !*is_whole => {}
            btree_map::Entry::Vacant(place) => {
                place.insert(*line);
            }
            btree_map::Entry::Occupied(first) => {
                reading.problems.push(told(format!("the same SPIFFE ID and selectors as in line {}", first.get())));
            }
        }
    }
    reading.problems.extend(items::problems(&reading.items));
    reading.problems.sort();
    reading.notes.sort();
    if reading.problems.is_empty() { Ok(reading) } else { Err(reading.problems) }
}

/// No TOML document begins with a brace; in brackets it begins with a table's name.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let inside = text.trim_start_matches(|each: char| each == '[' || each.is_ascii_whitespace());
    text.starts_with('{') || text.starts_with('[') && (inside.is_empty() || inside.starts_with(['{', ']']))
}

/// What is kept of an entry, or cannot be, and does nothing here.
fn without_effect(entry: &Entry, origin: &Origin) -> impl Iterator<Item = String> + use<> {
    let is_past = entry.expires_at != 0 && entry.expires_at <= moment::unix(Clock::system().now());
    [
        entry::unmade(entry),
        is_past.then(|| "nobody gets it: its end is past".into()),
        entry.admin.then(|| "admin gives no rights here".into()),
        entry.downstream.then(|| "downstream gives no rights here".into()),
        origin.wants_jti.then(|| "jwt_svid_include_jti is not kept".into()),
    ]
    .into_iter()
    .flatten()
}

fn refused(name: &str, problems: &[Problem]) -> Failure {
    let lines: Vec<_> = problems.iter().map(|Problem { line, words }| format!("{name}:{line}: {words}")).collect();
    match lines.as_slice() {
        [line] => Failure::new(Exit::Usage, line.clone()),
        _ => Failure::new(Exit::Usage, format!("{name} has {} problems", lines.len())).details(lines),
    }
}

async fn all(admin: &mut Admin, context: &Context) -> Result<Vec<Entry>, Failure> {
    let mut request = ListEntriesRequest { page_size: paging::SIZE_MAX, ..ListEntriesRequest::default() };
    let mut entries = Vec::new();
    loop {
        let page = answer(admin.entries.list(request.clone())).await?;
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            context.print.progress_done();
            return Ok(entries);
        }
        context.print.progress(format_args!("{} of {} entries", entries.len(), page.total));
        request.page_token = page.next_page_token;
    }
}

async fn all_of(admin: &mut Admin, context: &Context, kind: ItemKind) -> Result<Vec<Inner>, Failure> {
    let mut request =
        ListItemsRequest { kind: kind.into(), page_size: paging::SIZE_MAX, ..ListItemsRequest::default() };
    let mut items = Vec::new();
    loop {
        let page = answer(admin.catalog.list(request.clone())).await?;
        items.extend(page.items.into_iter().filter_map(|item| item.item));
        if page.next_page_token.is_empty() {
            context.print.progress_done();
            return Ok(items);
        }
        context.print.progress(format_args!("{} of {} {}s", items.len(), page.total, word(kind)));
        request.page_token = page.next_page_token;
    }
}

fn request(plan: &Whole, dry_run: bool) -> ApplyEntriesRequest {
    let Whole { entries: plan, items } = plan;
    ApplyEntriesRequest {
        create: plan.create.clone(),
        update: plan
            .update
            .iter()
            .map(|(before, after)| UpdateEntryRequest {
                entry: Some(after.clone()),
                expected_revision: before.revision,
            })
            .collect(),
        delete: plan.delete.iter().map(|entry| entry.id.clone()).collect(),
        dry_run,
        put: items.put(),
        remove: items.remove(),
    }
}

/// The plan as a diff.
fn show(context: &Context, plan: &Whole) -> Result<(), Failure> {
    let print = &context.print;
    let Whole { entries: plan, items } = plan;
    for item in &items.delete {
        print.styled_line(Style::Bad, format!("- {}", items::headline(item)))?;
    }
    for (before, after) in &items.update {
        print.styled_line(Style::Note, format!("~ {}", items::headline(after)))?;
        for (what, old, new) in items::differences(before, after) {
            print.line(format_args!("    {what}: {old} → {new}"))?;
        }
    }
    for item in &items.create {
        print.styled_line(Style::Good, format!("+ {}", items::headline(item)))?;
        for (what, value) in items::told(item) {
            print.line(format_args!("    {what}: {value}"))?;
        }
    }
    let headline = |sign: &str, entry: &Entry| format!("{sign} {}  {}", entry.spiffe_id, entry.selectors.join(" "));
    for entry in &plan.delete {
        print.styled_line(Style::Bad, headline("-", entry))?;
    }
    for (before, after) in &plan.update {
        print.styled_line(Style::Note, headline("~", after))?;
        for (what, old, new) in plan::differences(before, after) {
            print.line(format_args!("    {what}: {old} → {new}"))?;
        }
    }
    let mut create: Vec<_> = plan.create.iter().collect();
    create.sort_by_key(|entry| key(entry));
    for entry in create {
        print.styled_line(Style::Good, headline("+", entry))?;
    }
    Ok(())
}

fn report(context: &Context, whole: &Whole, done: &ApplyEntriesResponse, dry_run: bool) -> Result<(), Failure> {
    let print = &context.print;
    let Whole { entries: plan, items } = whole;
    let unchanged = plan.unchanged + items.unchanged;
    if print.is_json() {
        let named = |item: &Inner| json!({ "kind": word(items::kind(item)), "name": items::name(item) });
        let updated = items.update.iter().map(|(_, after)| named(after));
        return print.json(&json!({
            "created": shown::views(&done.created),
            "updated": shown::views(&done.updated),
            "deleted": shown::views(&plan.delete),
            "items": {
                "created": items.create.iter().map(named).collect::<Vec<_>>(),
                "updated": updated.collect::<Vec<_>>(),
                "deleted": items.delete.iter().map(named).collect::<Vec<_>>(),
            },
            "unchanged": unchanged,
            "dry_run": dry_run,
        }));
    }
    let create = plan.create.len() + items.create.len();
    let update = plan.update.len() + items.update.len();
    let delete = plan.delete.len() + items.delete.len();
    let of_what = if items.unchanged == 0 { "entries are" } else { "are" };
    print.say(match whole.is_empty() {
        true => format!("nothing to change: all {unchanged} {of_what} as the file says"),
        false if dry_run => {
            format!("would add {create}, change {update}, remove {delete}; {unchanged} stay as they are")
        }
        false => format!("added {create}, changed {update}, removed {delete}; {unchanged} stay as they are"),
    });
    Ok(())
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read_text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = match is_stdin(file) {
        true => io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?,
        false => File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?,
    };
    match u64::try_from(read) {
        Ok(0..=FILE_BYTES_MAX) => Ok(text),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 MiB")),
    }
}

/// Where the lines of a text begin; made once, as a file may have many thousand entries.
struct Lines {
    /// The offset of each line's end.
    ends: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        Self { ends: text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect() }
    }

    /// The line of the byte at `offset`, from 1.
    fn at(&self, offset: usize) -> usize {
        1 + self.ends.partition_point(|end| *end < offset)
    }
}

const FILE_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_problem_is_told_in_the_order_of_lines() {
        let text = "\
[[entry]]
spiffe_id = \"spiffe://example.org/a\"
selectors = [\"unix:uid:1\"]

[[entry]]
spiffe_id = \"spiffe://example.org/a\"
selectors = [\"unix:uid:1\"]

[[entry]]
spiffe_id = \"nothing\"
selectors = []
";
        let problems = read(text, &[]).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [5, 9, 9], "{problems:?}");
        assert_eq!(problems.first().unwrap().words, "the same SPIFFE ID and selectors as in line 1");
    }

    #[test]
    fn the_kind_of_file_is_seen_by_its_first_sign() {
        assert_eq!(read("\n { \"entries\": [] }", &[]).unwrap().wanted, []);
        assert_eq!(read("# nothing yet\n", &[]).unwrap().wanted, []);
        for (text, json) in [("{", true), ("[]", true), (" [ {", true), ("[[[[", true), ("[[]]", true), ("", false)] {
            assert_eq!(is_json(text), json, "{text}");
        }
        for toml in ["[[entry]]", "[ [entry]]", "[entry]", "[\"entry\"]", "entry = []"] {
            assert!(!is_json(toml), "{toml}");
        }
    }

    #[test]
    fn json_that_is_no_object_is_told_so() {
        for text in ["[]", "[{\"spiffe_id\": 1}]", &"[".repeat(100_000), &"[[".repeat(100)] {
            let problems = read(text, &[]).unwrap_err();
            assert_eq!(problems.len(), 1);
            let words = &problems.first().unwrap().words;
            assert_eq!(words, "a JSON object with `entries` is expected, not a list");
        }
        let deep = format!("{{\"entries\":{}", "[".repeat(100_000));
        let problems = read(&deep, &[]).unwrap_err();
        assert!(problems.first().unwrap().words.contains("EOF while parsing a list"), "{problems:?}");
    }

    #[test]
    fn a_byte_order_mark_stands_for_nothing() {
        let toml = "\u{feff}[[entry]]\nspiffe_id = \"spiffe://e.org/a\"\nselectors = [\"unix:uid:1\"]\n";
        let json = "\u{feff}{\"entries\":[{\"spiffe_id\":\"spiffe://e.org/a\",\"selectors\":[\"unix:uid:1\"]}]}";
        for text in [toml, json] {
            assert_eq!(read(text, &[]).unwrap().wanted.len(), 1, "{text}");
        }
    }

    #[test]
    fn lines_are_counted_from_one() {
        let lines = Lines::of("a\nbc\n\nd");
        let counted: Vec<_> = (0..8).map(|offset| lines.at(offset)).collect();
        assert_eq!(counted, [1, 1, 2, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn the_order_of_selectors_does_not_matter() {
        let text = r#"{"entries":[
            {"spiffe_id":"spiffe://e.org/a","selectors":["unix:uid:1","unix:gid:1"]},
            {"spiffe_id":"spiffe://e.org/a","selectors":["unix:gid:1","unix:uid:1"]}
        ]}"#;
        assert_eq!(read(text, &[]).unwrap_err().len(), 1);
    }
}

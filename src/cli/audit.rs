//! `dayfly audit …`: the record of what was done, read from the daemon's files. The daemon need not run; one that does
//! is asked only for the last checkpoint, as nobody else can read its database.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::{
    audit::{self, Fault, Finding, Known, Report},
    daemon::{self, Kept},
    pb::admin::StatusRequest,
};

use super::{
    context::Context,
    exit::Exit,
    failure::{Failure, counted, whole},
    link::{Admin, answer},
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Show the newest records, oldest first
    Tail(Tail),
    /// Check that every record is there, unchanged, in its order, and signed
    Verify(Verify),
}

/// Where the log is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The folder of the audit log, where it is not that of the daemon that --home names
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// `audit tail`
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// How many records
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Stay, and show what is added
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    place: Place,
}

/// `audit verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The fingerprint of the key that must have signed the log, as an earlier `audit verify` or `status` printed it
    #[arg(long, value_name = "KEY", value_parser = fingerprint)]
    key: Option<audit::Hash>,
    #[command(flatten)]
    place: Place,
}

fn fingerprint(text: &str) -> Result<audit::Hash, &'static str> {
    audit::Hash::parse(text.as_bytes()).ok_or("a fingerprint is 64 lower-case hex digits")
}

/// Runs one of the verbs.
///
/// # Errors
/// When the log cannot be read, or is not as it was written.
pub(crate) async fn run(context: &Context, verb: AuditVerb) -> Result<(), Failure> {
    match verb {
        AuditVerb::Tail(tail) => self::tail(context, &tail).await,
        AuditVerb::Verify(wanted) => verify(context, &wanted).await,
    }
}

impl Place {
    fn dir(&self, context: &Context) -> Result<PathBuf, Failure> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(context.paths()?.state_dir.join("audit")),
        }
    }
}

async fn verify(context: &Context, wanted: &Verify) -> Result<(), Failure> {
    let (print, dir) = (&context.print, &wanted.place.dir(context)?);
    if !dir.is_dir() {
        return Err(unreadable(dir, &io::Error::from(io::ErrorKind::NotFound)));
    }
    let known = known(context, wanted, dir).await?;
    print.progress("reading every record");
    let outcome = audit::verify(dir, &known);
    print.progress_done();
    let report = outcome.map_err(|fault| match fault {
        Fault::Io { path, source } => unreadable(&path, &source),
        fault => {
            if print.is_json() {
                // What failed is said on stderr too, as always.
                print.json(&json!({ "is_whole": false, "fault": whole(&fault) })).ok();
            }
            Failure::new(Exit::Failed, format!("the audit log was tampered with or damaged: {}", whole(&fault)))
                .hint("copy the folder before anything else writes to it")
        }
    })?;
    let Report {
        segments,
        records,
        first,
        last,
        since,
        until,
        hash,
        signed,
        signed_at,
        key,
        counted: unlisted,
        findings,
        foreign,
    } = report;
    if print.is_json() {
        return print.json(&json!({
            "is_whole": true,
            "segments": segments,
            "records": records,
            "first": first,
            "last": last,
            "since": since,
            "until": until,
            "hash": hash,
            "signed": signed,
            "signed_at": signed_at,
            "key": key,
            "counted": unlisted,
            "findings": findings.iter().map(finding).collect::<Vec<_>>(),
            "foreign": foreign,
        }));
    }
    print.pairs([
        ("records", format!("{records} ({first} to {last}) in {}", counted(segments, "segment", "segments"))),
        ("from", since),
        ("to", until),
        ("last hash", hash),
        ("signed", format!("up to record {signed}, at {signed_at}")),
        ("key", key),
    ])?;
    if unlisted > 0 {
        print.warn(format_args!(
            "{unlisted} credentials were counted and have no line of their own: more were issued than are listed in a minute"
        ));
    }
    for Finding { record, kind, tail } in findings {
        let kind = kind.replace('_', " ");
        match tail {
            None if kind == "issued counting" => print.warn(format_args!(
                "record {record} says that credentials were counted, and how many is not told: the minute was not over when \
                 the log was copied, or the daemon ended before it told"
            )),
            None => print.warn(format_args!("record {record} says: {kind}")),
            Some((from, count)) => print.warn(format_args!(
                "record {record} says: {kind}: nobody had signed records {from} to {} when the daemon started",
                from.saturating_add(count).saturating_sub(1)
            )),
        }
    }
    for name in foreign {
        print.warn(format_args!("the folder has a file that is no segment of the log, and was not read: {name:?}"));
    }
    if first > 1 {
        print.warn(format_args!("records 1 to {} were removed for space, which is recorded and signed; what was done by admins, authorities and \
             the daemon was kept as far as it fits",
            first - 1
        ));
    }
    // The last record of a log that was closed is a checkpoint, and each checkpoint is the record behind what it signs.
    if signed + 1 < last && !known.is_written {
        print.warn(format_args!(
            "no checkpoint signs records {} to {last}: the daemon did not stop by itself",
            signed + 2
        ));
    }
    match records {
        0 => print.say("the log is empty, and nothing is known of an earlier one"),
        _ => print.say(format_args!("records {first} to {last} are there, unchanged and in their order")),
    }
    Ok(())
}

fn finding(Finding { record, kind, tail }: &Finding) -> Value {
    match tail {
        None => json!({ "record": record, "kind": kind }),
        Some((from, count)) => json!({ "record": record, "kind": kind, "from": from, "count": count }),
    }
}

/// What is known of the log from elsewhere: from the person, and from the database beside the folder.
async fn known(context: &Context, wanted: &Verify, dir: &Path) -> Result<Known, Failure> {
    let state = fs::canonicalize(dir).map_err(|error| unreadable(dir, &error))?;
    let state = state.parent().unwrap_or(dir);
    let (checkpoint, is_written) = match daemon::kept(state) {
        Ok(Kept::At(checkpoint)) => (checkpoint.map(|it| *it), false),
        Ok(Kept::InUse) => (ask(context, state).await?, true),
        Ok(Kept::NoDatabase) if wanted.place.dir.is_some() => (None, false),
        Ok(Kept::NoDatabase) => {
            return Err(Failure::new(Exit::Failed, format!("no database is in {}", state.display()))
                .hint("a log alone is read with --dir, and --key says whose it must be"));
        }
        Err(error) => {
            return Err(Failure::new(Exit::Failed, format!("{error:#}"))
                .hint("copy the folder `audit` elsewhere and read the copy with --dir, and with --key"));
        }
    };
    if checkpoint.is_none() {
        context.print.warn("no database knows how far this log had come: its end may be missing");
    }
    let key = wanted.key.or(checkpoint.map(|checkpoint| checkpoint.fingerprint()));
    Ok(Known { key, checkpoint, is_written })
}

/// Asks the daemon that has the database open.
async fn ask(context: &Context, state: &Path) -> Result<Option<audit::Checkpoint>, Failure> {
    let status = answer(Admin::connect(context).await?.control.status(StatusRequest {})).await?;
    if fs::canonicalize(&status.state_dir).is_ok_and(|theirs| theirs == state) {
        return Ok(audit::Checkpoint::parse(&status.audit_checkpoint));
    }
    Err(Failure::new(Exit::Failed, format!("the daemon that answers is not that of {}", state.display()))
        .hint("name the daemon that writes this log with --home or --admin-socket"))
}

async fn tail(context: &Context, tail: &Tail) -> Result<(), Failure> {
    let dir = tail.place.dir(context)?;
    let mut lines = VecDeque::new();
    for path in segments(&dir)?.iter().rev() {
        let mut whole = read_from(path, 0)?.lines;
        let room = tail.lines.saturating_sub(lines.len());
        whole.drain(..whole.len().saturating_sub(room));
        whole.into_iter().rev().for_each(|line| lines.push_front(line));
        if lines.len() >= tail.lines {
            break;
        }
    }
    lines.iter().try_for_each(|line| show(context, line))?;
    if tail.follow { follow(context, &dir).await } else { Ok(()) }
}

/// Looks for more twice a second: records are not that urgent, and a watch would miss nothing less.
async fn follow(context: &Context, dir: &Path) -> Result<(), Failure> {
    let newest = |dir: &Path| segments(dir).map(|paths| paths.last().cloned());
    let mut place = match newest(dir)? {
        Some(path) => Some((read_from(&path, 0)?.end, path)),
        None => None,
    };
    loop {
        tokio::time::sleep(FOLLOW_WAIT).await;
        let last = newest(dir)?;
        if let Some((offset, path)) = &mut place {
            let more = read_from(path, *offset)?;
            more.lines.iter().try_for_each(|line| show(context, line))?;
            *offset = more.end;
        }
        // The old segment was read to its end above, and gets nothing any more once there is a new one.
        if let Some(last) = last
            && place.as_ref().is_none_or(|(_, path)| *path != last)
        {
            place = Some((0, last));
        }
    }
}

/// The segment files, oldest first.
fn segments(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    audit::segments(dir).map_err(|error| unreadable(dir, &error))
}

/// Whole lines of a segment, and where they end.
struct Read {
    lines: Vec<String>,
    end: u64,
}

fn read_from(path: &Path, offset: u64) -> Result<Read, Failure> {
    let read = || -> io::Result<Read> {
        let mut file = File::open(path)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        let (mut reader, mut read, mut line) =
            (BufReader::new(file), Read { lines: Vec::new(), end: offset }, Vec::new());
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Ok(read);
            }
            read.end = read.end.saturating_add(u64::try_from(length).unwrap_or(0));
            read.lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    };
    read().map_err(|error| unreadable(path, &error))
}

fn show(context: &Context, line: &str) -> Result<(), Failure> {
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(record) if !context.print.is_json() => context.print.line(sentence(&record)),
        _ => context.print.line(line),
    }
}

/// When, what, who, and the rest as it stands there; a line for each identity that was issued. One that was carried
/// over is told as it was first.
fn sentence(record: &Map<String, Value>) -> String {
    if let (Some("kept"), Some(Value::Object(first))) =
        (record.get("kind").and_then(Value::as_str), record.get("record"))
    {
        return format!("{} (kept)", sentence(first));
    }
    let field = |name: &str| record.get(name).map(plain).unwrap_or_default();
    let mut words = vec![field("time"), format!("{:<9}", field("kind"))];
    if let Some(Value::Object(caller)) = record.get("caller") {
        words.extend(caller.iter().map(told));
    }
    let known = ["seq", "time", "kind", "caller", "identities", "prev", "hash"];
    words.extend(record.iter().filter(|(name, _)| !known.contains(&name.as_str())).map(told));
    let words = words.join(" ");
    let identities = record.get("identities").and_then(Value::as_array);
    let lines = identities.into_iter().flatten().filter_map(Value::as_object).map(|identity| {
        let identity: Vec<_> = identity.iter().map(told).collect();
        format!("{words} {}", identity.join(" "))
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() { words } else { lines.join("\n") }
}

fn told((name, value): (&String, &Value)) -> String {
    format!("{name}={}", plain(value))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(told).collect();
            format!("{{{}}}", fields.join(" "))
        }
        other => other.to_string(),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::Missing,
        io::ErrorKind::PermissionDenied => Exit::Refused,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, format!("{} cannot be read: {error}", path.display()));
    match exit {
        Exit::Missing => failure.hint("say with --home or --dir whose audit log is meant"),
        Exit::Refused => failure.hint("the audit log is for the daemon's own user and root"),
        _ => failure,
    }
}

const FOLLOW_WAIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_record_becomes_one_sentence() {
        let record = serde_json::from_value(json!({
            "seq": 7, "time": "2026-07-01T12:00:00Z", "kind": "refused", "caller": { "pid": 4, "uid": 1000 },
            "what": "x509-svid", "reasons": ["no_entry"], "prev": "0", "hash": "0",
        }));
        let words = sentence(&record.unwrap());
        assert_eq!(words, "2026-07-01T12:00:00Z refused   pid=4 uid=1000 reasons=no_entry what=x509-svid");
    }

    #[test]
    fn what_was_issued_and_what_was_counted_can_be_read() {
        let [one, other] = ["b", "c"].map(|name| json!({ "spiffe_id": format!("spiffe://a/{name}"), "serial": "1f" }));
        let record = json!({ "time": "T", "kind": "issued", "identities": [one, other], "renewal": false });
        let words = sentence(&serde_json::from_value(record).unwrap());
        let line = |name| format!("T issued    renewal=false serial=1f spiffe_id=spiffe://a/{name}");
        assert_eq!(words, format!("{}\n{}", line("b"), line("c")));
        let more = json!({ "time": "T", "kind": "issued_more", "of": 7, "count": 9, "rows": [{ "pid": 4, "count": 5 }, { "uid": 7, "count": 4 }] });
        let words = sentence(&serde_json::from_value(more).unwrap());
        assert_eq!(words, "T issued_more count=9 of=7 rows={count=5 pid=4},{count=4 uid=7}");
    }

    #[test]
    fn a_record_that_was_carried_over_is_told_as_it_was() {
        let first = json!({ "seq": 7, "time": "2026-07-01T12:00:00Z", "kind": "admin", "verb": "entry_create" });
        let record = json!({ "seq": 99, "time": "2026-08-01T12:00:00Z", "kind": "kept", "record": first });
        let words = sentence(&serde_json::from_value(record).unwrap());
        assert_eq!(words, "2026-07-01T12:00:00Z admin     verb=entry_create (kept)");
    }

    #[test]
    fn a_line_that_is_being_written_is_read_when_it_is_whole() {
        let folder = crate::sys::scratch::Scratch::new();
        let path = folder.path().join("00000001.jsonl");
        fs::write(&path, "one\ntw").unwrap();
        let first = read_from(&path, 0).unwrap();
        assert_eq!((first.lines, first.end), (vec!["one".to_owned()], 4));
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(read_from(&path, 4).unwrap().lines, ["two"]);
    }
}

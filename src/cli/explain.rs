//! `dayfly explain --pid P`: what the daemon sees of a process, which entries match, and what others lack.

use clap::Args;
use serde_json::json;

use crate::pb::admin::{ExplainRequest, ExplainResponse};

use super::{
    context::Context,
    failure::Failure,
    link::{Admin, answer},
    print::{Printer, Style},
    shown,
};

/// `explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The process, by its number
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u32).range(1..))]
    pid: u32,
}

/// Runs the verb.
///
/// # Errors
/// When the process is not there, or the daemon refuses.
pub(crate) async fn run(context: &Context, Explain { pid }: Explain) -> Result<(), Failure> {
    let seen = answer(Admin::connect(context).await?.control.explain(ExplainRequest { pid })).await?;
    if context.print.is_json() { context.print.json(&document(&seen)) } else { show(&context.print, &seen) }
}

fn show(print: &Printer, seen: &ExplainResponse) -> Result<(), Failure> {
    print.line(format_args!("process {}  uid {}  gid {}  {}", seen.pid, seen.uid, seen.gid, seen.executable))?;
    print.line("")?;
    print.line("selectors")?;
    print.table_of(seen.selectors.iter().map(|each| [format!("  {}", each.selector), each.condition.clone()]))?;
    if seen.matching.is_empty() {
        print.line("")?;
        print.styled_line(Style::Bad, "no entry matches")?;
    } else {
        print.line("")?;
        print.line("matches")?;
    }
    for (entry, given) in seen.matching.iter().zip(&seen.given) {
        match given.as_str() {
            "" => print.styled_line(Style::Note, format_args!("  nothing by {}  {}", entry.spiffe_id, entry.id))?,
            id if id == entry.spiffe_id => print.styled_line(Style::Good, format_args!("  {id}  {}", entry.id))?,
            id => print.styled_line(Style::Good, format_args!("  {id}  by {}  {}", entry.spiffe_id, entry.id))?,
        }
    }
    for near in &seen.near {
        let entry = near.entry.clone().unwrap_or_default();
        print.line(format_args!("  nearly: {}  {}", entry.spiffe_id, entry.id))?;
        near.missing
            .iter()
            .try_for_each(|missing| print.styled_line(Style::Note, format_args!("    lacks {missing}")))?;
    }
    for note in &seen.notes {
        print.line(format_args!("note: {note}"))?;
    }
    Ok(())
}

fn document(seen: &ExplainResponse) -> serde_json::Value {
    json!({
        "pid": seen.pid,
        "uid": seen.uid,
        "gid": seen.gid,
        "executable": seen.executable,
        "selectors": seen.selectors.iter().map(|each| json!({
            "selector": each.selector,
            "condition": each.condition,
        })).collect::<Vec<_>>(),
        "matching": shown::views(&seen.matching),
        "given": seen.given,
        "near": seen.near.iter().map(|near| json!({
            "entry": near.entry.as_ref().map(shown::EntryView::from),
            "missing": near.missing,
        })).collect::<Vec<_>>(),
        "notes": seen.notes,
    })
}

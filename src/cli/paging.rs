//! Lists come in pages.

use clap::Args;
use serde_json::json;

use super::{failure::Failure, print::Printer};

/// The most on one page.
pub(crate) const SIZE_MAX: u32 = 1000;

/// Which page, or all of them, or none.
#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// How many at once, at most 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    page_size: u32,
    /// Where to go on; the answer before told it
    #[arg(long, value_name = "TOKEN", default_value = "", conflicts_with_all = ["all", "count"])]
    pub(crate) page_token: String,
    /// All pages
    #[arg(long)]
    pub(crate) all: bool,
    /// Only how many there are
    #[arg(long, conflicts_with = "all")]
    pub(crate) count: bool,
}

impl Paging {
    /// How many to ask for at once.
    pub(crate) fn size(&self) -> u32 {
        if self.all { SIZE_MAX } else { self.page_size }
    }
}

/// Tells only how many there are.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn total(print: &Printer, total: u64) -> Result<(), Failure> {
    if print.is_json() { print.json(&json!({ "total": total })) } else { print.line(total) }
}

/// Says where to go on, unless this was the last page.
pub(crate) fn next(print: &Printer, shown: usize, total: u64, token: &str) {
    if !token.is_empty() {
        print.say(format_args!("{shown} of {total}; go on with --page-token {token}"));
    }
}

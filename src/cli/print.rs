//! The one place that prints: data to stdout, words to stderr.
//!
//! Colour and progress only where a person looks (a terminal, no `NO_COLOR`). When the reader of stdout has gone
//! (`dayfly entry list | head -1`), that is a graceful end. Text that came from elsewhere cannot steer the terminal.

use std::{
    env, fmt,
    io::{self, IsTerminal as _, Write as _},
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::{exit::Exit, failure::Failure};

/// How data is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Prints in the way that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    output: Output,
    data_style: bool,
    words_style: bool,
    data_live: bool,
    words_live: bool,
}

/// What a piece of text stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// Something comes, or holds.
    Good,
    /// Something changes, or needs a look.
    Note,
    /// Something goes, or failed.
    Bad,
}

impl Printer {
    /// Looks at the terminal and the environment once.
    pub(crate) fn new(output: Output) -> Self {
        let styled = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (data_live, words_live) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self { output, data_style: styled && data_live, words_style: styled && words_live, data_live, words_live }
    }

    /// Whether data is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Whether data is seen by whoever looks at a terminal, and stays there.
    pub(crate) fn faces_terminal(&self) -> bool {
        self.data_live
    }

    /// Whether styled help is wanted on stdout.
    pub(crate) fn styles_data(&self) -> bool {
        self.data_style
    }

    /// One line of data.
    pub(crate) fn line(&self, line: impl fmt::Display) -> Result<(), Failure> {
        self.data(format!("{}\n", clean(&line.to_string())).as_bytes())
    }

    /// One line of data, styled where a person looks.
    pub(crate) fn styled_line(&self, style: Style, line: impl fmt::Display) -> Result<(), Failure> {
        let line = clean(&line.to_string());
        self.data(
            if self.data_style { format!("{}{line}{RESET}\n", code(style)) } else { format!("{line}\n") }.as_bytes(),
        )
    }

    /// Data as it is.
    pub(crate) fn data(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::told(Exit::Done),
            _ => Failure::because("stdout cannot be written", &error),
        })
    }

    /// A JSON document, indented.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text =
            serde_json::to_string_pretty(value).map_err(|error| Failure::because("JSON cannot be written", &error))?;
        self.data(format!("{text}\n").as_bytes())
    }

    /// A JSON document on one line, for streams of them.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::because("JSON cannot be written", &error))?;
        self.data(format!("{text}\n").as_bytes())
    }

    /// A JSON document: on one line where others may follow.
    pub(crate) fn json_of(&self, value: &impl Serialize, others_follow: bool) -> Result<(), Failure> {
        if others_follow { self.json_line(value) } else { self.json(value) }
    }

    /// Columns for people. A cell may have several lines.
    pub(crate) fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        self.aligned(Some(header), rows)
    }

    /// Columns without a header.
    pub(crate) fn table_of<const N: usize>(&self, rows: impl IntoIterator<Item = [String; N]>) -> Result<(), Failure> {
        self.aligned(None, rows)
    }

    /// Names and their values, without a header.
    pub(crate) fn pairs<'n>(&self, rows: impl IntoIterator<Item = (&'n str, String)>) -> Result<(), Failure> {
        self.aligned(None, rows.into_iter().map(|(name, value)| [name.to_owned(), value]))
    }

    fn aligned<const N: usize>(
        &self,
        header: Option<[&str; N]>,
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if let Some(header) = header {
            table.set_header(header);
        }
        table.add_rows(rows.into_iter().map(|row| row.map(|cell| clean_lines(&cell))));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let text: String = table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".into()]).collect();
        self.data(text.as_bytes())
    }

    /// Words for the person.
    pub(crate) fn say(&self, words: impl fmt::Display) {
        self.words(&clean_lines(&words.to_string()));
    }

    /// Something that does not stop the verb, but that the person should know.
    pub(crate) fn warn(&self, words: impl fmt::Display) {
        self.words(&format!("{} {}", self.style(Style::Note, "warning:"), clean_lines(&words.to_string())));
    }

    /// How far something is; shown on a terminal only, and gone with the next words.
    pub(crate) fn progress(&self, words: impl fmt::Display) {
        if self.words_live {
            let mut err = io::stderr().lock();
            // Nobody is left to be told when stderr cannot be written.
            write!(err, "{ERASE}{}", clean(&words.to_string())).and_then(|()| err.flush()).ok();
        }
    }

    /// Takes the progress away.
    pub(crate) fn progress_done(&self) {
        self.progress("");
    }

    /// Why the verb ended early, and what to do about it.
    pub(crate) fn fail(&self, failure: &Failure) {
        if !failure.words().is_empty() {
            self.words(&format!("{} {}", self.style(Style::Bad, "error:"), clean_lines(failure.words())));
        }
        for line in failure.lines() {
            self.words(&format!("  {}", clean_lines(line)));
        }
        failure.advice().into_iter().for_each(|hint| self.hint(hint));
    }

    /// What to do about what was just told.
    pub(crate) fn hint(&self, hint: &str) {
        self.words(&format!("{} {}", self.style(Style::Note, "hint:"), clean_lines(hint)));
    }

    /// Words that are ready: help and usage errors come so.
    pub(crate) fn words(&self, words: &str) {
        let mut err = io::stderr().lock();
        let erase = if self.words_live { ERASE } else { "" };
        writeln!(err, "{erase}{words}").ok();
    }

    /// Whether words are styled.
    pub(crate) fn styles_words(&self) -> bool {
        self.words_style
    }

    fn style(&self, style: Style, text: &str) -> String {
        if self.words_style { format!("{}{text}{RESET}", code(style)) } else { text.to_owned() }
    }
}

fn code(style: Style) -> &'static str {
    match style {
        Style::Good => "\x1b[32m",
        Style::Note => "\x1b[33m",
        Style::Bad => "\x1b[1;31m",
    }
}

const RESET: &str = "\x1b[0m";
const ERASE: &str = "\r\x1b[2K";

/// Without control characters and signs that turn the direction of writing: a hint or a path is somebody else's
/// text, and a terminal obeys what it is shown.
fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for each in text.chars() {
        match steers(each) {
            true => shown.extend(each.escape_unicode()),
            false => shown.push(each),
        }
    }
    shown
}

fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

fn steers(each: char) -> bool {
    each.is_control() || matches!(each, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(clean("web\u{1b}[31m\u{202e}"), "web\\u{1b}[31m\\u{202e}");
        assert_eq!(clean("two\nlines"), "two\\u{a}lines");
        assert_eq!(clean_lines("two\nlines\r"), "two\nlines\\u{d}");
        assert_eq!(clean("größe …"), "größe …");
    }
}

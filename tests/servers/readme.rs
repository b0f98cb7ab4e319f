//! What the README says of a server: the lines below a comment, in the part that begins with the server's name.

use std::{fs, path::Path};

/// The part of one server.
pub(super) struct Recipe {
    lines: Vec<String>,
    /// What stands in the README, and what the test has in its place.
    swaps: Vec<(String, String)>,
}

impl Recipe {
    /// The part that begins with `**server**`, up to the next server or heading.
    pub(super) fn of(server: &str) -> Self {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
        let begin = format!("**{server}**");
        let lines: Vec<_> = text.lines().skip_while(|line| !line.starts_with(&begin)).collect();
        let (first, rest) = lines.split_first().unwrap_or_else(|| panic!("the README has no part {begin}"));
        let rest = rest.iter().take_while(|line| !line.starts_with("**") && !line.starts_with("## "));
        Self { lines: [first].into_iter().chain(rest).map(|line| (*line).to_owned()).collect(), swaps: Vec::new() }
    }

    /// With another text wherever the README has this one, which it must.
    pub(super) fn swap(mut self, from: &str, to: impl ToString) -> Self {
        assert!(self.lines.iter().any(|line| line.contains(from)), "the README does not say {from}");
        self.swaps.push((from.to_owned(), to.to_string()));
        self
    }

    /// The lines below the comment `# head`, up to the next comment or the end of their block.
    pub(super) fn lines(&self, head: &str) -> Vec<String> {
        let head = format!("# {head}");
        let below = self.lines.iter().skip_while(|line| **line != head).skip(1);
        let lines: Vec<_> = below.take_while(|line| !line.starts_with("# ") && !line.starts_with("```")).collect();
        assert!(!lines.is_empty(), "the README has nothing below `{head}`");
        let swapped = |line: &String| self.swaps.iter().fold(line.clone(), |line, (from, to)| line.replace(from, to));
        lines.into_iter().map(swapped).collect()
    }

    /// The same, as one text.
    pub(super) fn text(&self, head: &str) -> String {
        self.lines(head).iter().map(|line| format!("{line}\n")).collect()
    }
}

//! What is wrong with a configuration: everything, each with its line.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Every problem of a configuration, in the order of its lines. Printed one a line: `FILE:LINE: words`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) place: Place,
    pub(super) words: String,
}

/// Where a value was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the file, which begins with line 1.
    Line(usize),
    /// Nowhere: it is missing, or follows from the default places.
    File,
    /// On the command line, with this flag.
    Flag(&'static str),
}

impl Problem {
    pub(super) fn new(place: Place, words: impl Into<String>) -> Self {
        Self { place, words: words.into() }
    }
}

impl Problems {
    /// `list` must not be empty.
    pub(super) fn new(file: &Path, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.place);
        Self { file: file.to_path_buf(), list }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    #[cfg(test)]
    pub(super) fn lines(&self) -> Vec<(Option<usize>, &str)> {
        let line = |place| if let Place::Line(line) = place { Some(line) } else { None };
        self.list.iter().map(|problem| (line(problem.place), problem.words.as_str())).collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { place, words }) in self.list.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            match place {
                Place::Line(line) => write!(out, "{}:{line}: {words}", self.file.display())?,
                Place::File => write!(out, "{}: {words}", self.file.display())?,
                Place::Flag(flag) => write!(out, "{flag}: {words}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

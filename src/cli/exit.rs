//! How the program ends. Scripts depend on these numbers, so they are told in the help and never change meaning.

use std::process::ExitCode;

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// It was tried and did not work.
    Failed,
    /// What was given is not right.
    Usage,
    /// The daemon said no.
    Refused,
    /// Nobody answers, or somebody who cannot now.
    Unreachable,
    /// What was named is not there.
    Missing,
    /// It is there already, or is not as it was seen.
    Conflict,
    /// What was to be validated is not valid.
    Invalid,
    /// What was to be validated is right as far as it goes, and worth nothing without what was not shown.
    Unproved,
    /// Ended by the person at the terminal.
    Interrupted,
}

impl Exit {
    const ALL: [Self; 10] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Refused,
        Self::Unreachable,
        Self::Missing,
        Self::Conflict,
        Self::Invalid,
        Self::Unproved,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Missing => 5,
            Self::Conflict => 6,
            Self::Invalid => 7,
            Self::Unproved => 8,
            Self::Interrupted => 130,
        }
    }

    /// For the end of `dayfly --help`.
    pub(crate) fn table() -> String {
        let lines = Self::ALL.map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning()));
        format!("Exit codes:\n{}", lines.join("\n"))
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "tried, and it did not work",
            Self::Usage => "the command line, the configuration or a file given is not right",
            Self::Refused => "refused: no identity for this process, or not allowed",
            Self::Unreachable => "the daemon is not running, or cannot answer now",
            Self::Missing => "what was named is not there",
            Self::Conflict => "it is there already, or was changed meanwhile",
            Self::Invalid => "validated, and not valid",
            Self::Unproved => "validated as far as it goes: nobody has proved to hold the token's key",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

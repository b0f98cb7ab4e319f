//! What the bench asks of its loader, and the loader as a child process: one order a line, one answer a line.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// One thing to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// First messages one after the other, on one connection.
    Reused { rounds: usize },
    /// First messages one after the other, each on a new connection.
    Fresh { rounds: usize },
    /// Calls by many callers at once, on some connections.
    Callers { ask: Ask, callers: usize, connections: usize, millis: u64 },
    /// Opens streams, each with its first message, and keeps them.
    Open { connections: usize, each: usize },
    /// Forgets which streams have heard anything.
    Arm,
    /// Waits until so many messages have come since.
    Reached { messages: u64 },
    /// Opens watches of all kinds, so many of each, a connection each.
    Watch { each: usize },
    /// Waits until all watches were told this.
    Told { truth: Says },
    /// Closes all streams and connections.
    Leave,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// The first message of a stream of X.509-SVIDs.
    Svids,
    /// A JWT-SVID, for the same audience each time.
    Jwt,
    /// A JWT-SVID, for another audience each time.
    JwtAnew,
    /// Whether a JWT-SVID is valid, which it is.
    Judgement,
}

/// What a message says, by the numbers of the states that it tells. Some kinds tell nothing of the one or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Says {
    pub(crate) entry: Option<u32>,
    /// The foreign bundle; 0 if it should be there and is not.
    pub(crate) bundle: Option<u32>,
}

impl Says {
    /// Whether nothing of it is different from `truth`.
    pub(crate) fn agrees(self, truth: Self) -> bool {
        let agrees = |told: Option<u32>, truth| told.is_none() || told == truth;
        agrees(self.entry, truth.entry) && agrees(self.bundle, truth.bundle)
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Microseconds from the request to the message.
    Latency {
        p50: f64,
        p99: f64,
        most: f64,
    },
    Rate {
        answers: u64,
        seconds: f64,
    },
    Opened {
        seconds: f64,
    },
    /// When the first and the last message came, as [`crate::process::moment`].
    Reached {
        first: u64,
        last: u64,
    },
    /// When the last watch was told, how many heard anything, and in how many messages.
    Told {
        last: u64,
        watches: usize,
        messages: u64,
        /// To one of them.
        most: u64,
    },
    Done,
}

/// A loader process; it ends when its input does, or is killed by its pid.
pub(crate) struct Loader {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Loader {
    /// Starts `program`, a copy of ours, as a client of `socket`.
    pub(crate) fn start(program: &Path, socket: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("loader").arg(socket).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start the loader")?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take().context("the loader's answers")?);
        Ok(Self { child, orders, answers: BufReader::new(answers) })
    }

    pub(crate) fn ask(&mut self, order: Order) -> Result<Answer> {
        let orders = self.orders.as_mut().context("the loader has ended")?;
        writeln!(orders, "{}", serde_json::to_string(&order)?)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Result<Answer, String> =
            serde_json::from_str(&line).with_context(|| format!("{order:?}: the loader said {line:?}"))?;
        match answer {
            Ok(answer) => Ok(answer),
            Err(words) => bail!("{order:?}: {words}"),
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

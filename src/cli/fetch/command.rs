//! The command that follows a write, so that a service takes the new files up.

use std::{path::PathBuf, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process;

use crate::cli::{exit::Exit, failure::Failure};

/// How long one run may take; then it is ended with all it started.
const RUN_SECONDS_MAX: u64 = 60;

/// A program and its arguments; never empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command(Vec<String>);

impl Command {
    /// Reads a command: words, with quotes as a shell has them, or a line that a shell is to read.
    ///
    /// # Errors
    /// When it is empty, a quote is open, or something in it means something to a shell only: to pass that on as it
    /// stands is never what was meant.
    pub(super) fn read(text: &str, by_shell: bool) -> Result<Self, Failure> {
        if by_shell {
            return Ok(Self(["sh", "-c", text].map(Into::into).into()));
        }
        let words = words(text).map_err(|problem| {
            Failure::new(Exit::Usage, format!("the command of --exec {problem}"))
                .hint("it is run without a shell: put such signs into quotes, or let `sh -c` run it with `--shell`")
        })?;
        match words.first() {
            None => Err(Failure::new(Exit::Usage, "the command of --exec is empty")),
            Some(first) if first.contains('=') => {
                Err(Failure::new(Exit::Usage, "the command of --exec begins with a variable, which only a shell sets")
                    .hint("let `sh -c` run it with `--shell`"))
            }
            Some(_) => Ok(Self(words)),
        }
    }

    /// Runs it with these variables besides our own, and waits for it, not for ever.
    ///
    /// # Errors
    /// When it cannot be started, fails, or takes too long.
    pub(super) async fn run(&self, environment: &[(String, PathBuf)]) -> Result<(), Failure> {
        self.run_for(environment, Duration::from_secs(RUN_SECONDS_MAX)).await
    }

    async fn run_for(&self, environment: &[(String, PathBuf)], most: Duration) -> Result<(), Failure> {
        let Some((program, arguments)) = self.0.split_first() else { return Ok(()) };
        let mut child = process::Command::new(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // A group of its own, so that what it started ends with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                Failure::because(format_args!("the command of --exec, {program}, cannot be started"), &error)
            })?;
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let Ok(ended) = tokio::time::timeout(most, child.wait()).await else {
            // It is not reaped yet, so the number is still its own.
            group.map(|group| killpg(group, Signal::SIGKILL));
            return Err(Failure::new(
                Exit::Failed,
                format!("the command of --exec took longer than {} s and was ended", most.as_secs()),
            ));
        };
        let status = ended.map_err(|error| Failure::because("the command of --exec was lost", &error))?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::new(Exit::Failed, format!("the command of --exec failed: {status}"))),
        }
    }
}

/// The words of a text, with quotes and backslashes as a shell has them (POSIX §2.2), and nothing else of a shell.
fn words(text: &str) -> Result<Vec<String>, String> {
    let only_a_shell = |sign: char| format!("has `{}`, which only a shell understands", sign.escape_default());
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut rest = text.chars();
    while let Some(sign) = rest.next() {
        match sign {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or("has a quote that is not closed")? {
                        '\'' => break,
                        quoted => word.push(quoted),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or("has a quote that is not closed")? {
                        '"' => break,
                        '\\' => match rest.next().ok_or("has a quote that is not closed")? {
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        sign @ ('$' | '`') => return Err(only_a_shell(sign)),
                        quoted => word.push(quoted),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(rest.next().ok_or("ends with a backslash")?),
            '$' | '`' | '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | '\n' => {
                return Err(only_a_shell(sign));
            }
            '~' | '#' if word.is_none() => return Err(only_a_shell(sign)),
            sign => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_line_of_shell_is_run_by_one_when_asked() {
        assert!(Command::read("true && test 1 = 1", true).unwrap().run(&[]).await.is_ok());
        let failure = Command::read("exit 3", true).unwrap().run(&[]).await.unwrap_err();
        assert_eq!(failure.words(), "the command of --exec failed: exit status: 3");
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (text, split) in [
            ("systemctl reload nginx", vec!["systemctl", "reload", "nginx"]),
            ("  a\t b ", vec!["a", "b"]),
            ("a 'b  $c' \"d 'e' \\\"f\\$\\x\" ''", vec!["a", "b  $c", "d 'e' \"f$\\x", ""]),
            ("a\\ b c'd'\"e\"", vec!["a b", "cde"]),
            (
                "psql -c 'select pg_reload_conf();' --set=a=b~c#d",
                vec!["psql", "-c", "select pg_reload_conf();", "--set=a=b~c#d"],
            ),
        ] {
            assert_eq!(words(text).unwrap(), split, "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_understands_is_refused_with_a_way_out() {
        for wrong in [
            "a; b", "a && b", "a | b", "a > b", "a $B", "a \"$B\"", "a `b`", "a *.pem", "~/reload", "a # b", "A=1 b",
            "a 'b", "a \\", "", "  ", "a\nb", "(a)",
        ] {
            let failure = Command::read(wrong, false).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{wrong}");
        }
        let failure = Command::read("a && b", false).unwrap_err();
        assert!(failure.advice().unwrap().contains("--shell"));
    }

    #[tokio::test]
    async fn a_command_is_told_the_paths() {
        let environment = [("DAYFLY_SVID".to_owned(), PathBuf::from("/certs/svid.pem"))];
        let command = Command::read("test \"$DAYFLY_SVID\" = /certs/svid.pem", true).unwrap();
        assert!(command.run(&environment).await.is_ok());
        assert!(command.run(&[]).await.is_err());
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_named() {
        let failure = Command::read("/nowhere/reload now", false).unwrap().run(&[]).await.unwrap_err();
        assert!(failure.words().contains("/nowhere/reload, cannot be started"), "{}", failure.words());
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended_with_its_children() {
        let begun = std::time::Instant::now();
        let command = Command::read("sleep 600 & wait", true).unwrap();
        assert!(command.run_for(&[], Duration::from_millis(50)).await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}

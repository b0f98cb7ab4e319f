//! The command that follows a write, so that a service takes the new files up.

use std::{process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::Command;

use crate::cli::{exit::Exit, failure::Failure};

/// How long one run may take; then it is ended with all it started.
const RUN_SECONDS_MAX: u64 = 60;

/// Runs `command` by `sh -c` and waits for it, not for ever.
///
/// # Errors
/// When it cannot be started, fails, or takes too long.
pub(super) async fn run(command: &str) -> Result<(), Failure> {
    run_for(command, Duration::from_secs(RUN_SECONDS_MAX)).await
}

async fn run_for(command: &str, most: Duration) -> Result<(), Failure> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        // A group of its own, so that what the shell started ends with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::because("the command of --exec cannot be started", &error))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_is_a_line_of_shell() {
        assert!(run("true && test 1 = 1").await.is_ok());
        let failure = run("exit 3").await.map_err(|failure| failure.words().to_owned());
        assert_eq!(failure, Err("the command of --exec failed: exit status: 3".into()));
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended_with_its_children() {
        let begun = std::time::Instant::now();
        let failure = run_for("sleep 600 & wait", Duration::from_millis(50)).await;
        assert!(failure.is_err());
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}

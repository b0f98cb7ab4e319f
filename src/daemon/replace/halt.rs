//! Halts at a named step, for tests that end a process just there. Nothing of it is in a release build.

use std::sync::OnceLock;

use crate::sys::process;

/// A step of a replacement, on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Step {
    /// The old one has invited.
    Invited,
    /// The old one has met the new one, which is ready.
    Met,
    /// The old one has ended all orders and recorded that it hands over.
    Resting,
    /// The old one has closed its log and database.
    Closed,
    /// The old one has handed over.
    HandedOver,
    /// The old one knows that the new one serves.
    Replaced,
    /// The old one has ended its streams.
    Left,
    /// The old one opens everything again, as the new one has failed.
    TakingBack,
    /// The new one was invited.
    Asked,
    /// The new one has joined the private channel, and has said nothing.
    Joined,
    /// The new one has said that it is ready.
    Ready,
    /// The new one was given the sockets.
    Received,
    /// The new one has the state: lock, database and log.
    Locked,
    /// The new one has opened everything.
    Opened,
    /// The new one serves, and has not said so.
    Serving,
    /// The new one has said so.
    Released,
}

static AT: OnceLock<Step> = OnceLock::new();

/// Halts at this step, once it comes.
pub(crate) fn halt_at(step: Step) {
    AT.set(step).ok();
}

/// Stops this process, where a test wants it; until it is told to go on, or ended.
pub(in crate::daemon) fn reached(step: Step) {
    if cfg!(debug_assertions) && AT.get() == Some(&step) {
        process::halt();
    }
}

//! How fast messages follow each other on one stream: the first at once, and of a burst of changes few.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two messages of a stream. A change that comes after a quiet while is told at once, and one of
/// a burst within this.
pub(super) const BETWEEN: Duration = Duration::from_millis(50);

/// The pace of one stream.
#[derive(Debug, Default)]
pub(super) struct Pace {
    sent_at: Option<Instant>,
    /// Whether something has changed since the last look.
    is_due: bool,
}

impl Pace {
    /// Whether there is something to look at, or nothing was sent yet.
    pub(super) fn is_due(&self) -> bool {
        self.is_due || self.sent_at.is_none()
    }

    /// Something may have changed. It stays so when whoever waits is dropped and comes back.
    pub(super) fn due(&mut self) {
        self.is_due = true;
    }

    /// It was looked at, and is told.
    pub(super) fn sent(&mut self) {
        (self.sent_at, self.is_due) = (Some(Instant::now()), false);
    }

    /// It was looked at, and nothing is different.
    pub(super) fn same(&mut self) {
        self.is_due = false;
    }

    /// Waits until the next message may leave.
    pub(super) async fn rest(&self) {
        if let Some(sent_at) = self.sent_at {
            tokio::time::sleep_until(sent_at + BETWEEN).await;
        }
    }
}

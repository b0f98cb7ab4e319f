//! What others keep of the log: its last checkpoint. They answer when they have it; what they could not keep is
//! offered again, and nothing goes from the log for the sake of a checkpoint that nobody else has.

use std::time::{Duration, Instant};

use super::checkpoint::Checkpoint;

/// Offers a checkpoint to whoever keeps it outside the log's folder, without waiting.
pub(crate) type Keep = Box<dyn Fn(Checkpoint) -> Answer + Send>;

/// Whether a checkpoint is kept, or why it is not; `None` when that is not known after so long.
pub(crate) type Answer = Box<dyn FnMut(Duration) -> Option<Result<(), String>> + Send>;

/// Who keeps it, and what they have.
pub(super) struct Keeper {
    keep: Keep,
    kept: Option<Checkpoint>,
    /// What has no answer yet.
    offered: Option<(Checkpoint, Answer)>,
    /// When the last one was not kept, for as long as none is.
    failed: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, kept: None, offered: None, failed: None }
    }

    /// The number of the last checkpoint that others have for certain; 0 where there is none.
    pub(super) fn kept(&self) -> u64 {
        self.kept.map_or(0, |kept| kept.link.seq)
    }

    /// Offers the last checkpoint that is on the disk, if it is another one than they have, and looks for the answer.
    pub(super) fn offer(&mut self, last: Option<Checkpoint>) {
        self.look(Duration::ZERO);
        if self.failed.is_none_or(|failed| failed.elapsed() >= AGAIN_AFTER) {
            self.offer_now(last, Duration::ZERO);
        }
    }

    /// Offers the last checkpoint of all, and waits for the answer.
    pub(super) fn settle(&mut self, last: Option<Checkpoint>) {
        self.look(SETTLE_MAX);
        self.offer_now(last, SETTLE_MAX);
    }

    /// When there is something to do again; `None` while they have what there is.
    pub(super) fn due_in(&self, last: Option<Checkpoint>) -> Option<Duration> {
        match (&self.offered, self.failed) {
            (Some(_), _) => Some(LOOK_AFTER),
            (None, Some(failed)) if last != self.kept => Some(AGAIN_AFTER.saturating_sub(failed.elapsed())),
            _ => None,
        }
    }

    fn offer_now(&mut self, last: Option<Checkpoint>, most: Duration) {
        if let Some(last) = last
            && self.offered.is_none()
            && self.kept != Some(last)
        {
            self.offered = Some((last, (self.keep)(last)));
            self.look(most);
        }
    }

    fn look(&mut self, most: Duration) {
        let Some((offered, answer)) = &mut self.offered else { return };
        match answer(most) {
            None => return,
            Some(Ok(())) => {
                self.kept = Some(*offered);
                if self.failed.take().is_some() {
                    tracing::info!("audit checkpoint kept in the database again");
                }
            }
            Some(Err(error)) => {
                if self.failed.replace(Instant::now()).is_none() {
                    tracing::warn!(error, "audit checkpoint not kept in the database");
                }
            }
        }
        self.offered = None;
    }
}

/// How soon an answer is looked for, and a checkpoint that was not kept offered again.
const LOOK_AFTER: Duration = Duration::from_millis(100);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long the last answer is waited for.
const SETTLE_MAX: Duration = Duration::from_secs(5);

//! Staying: each update is brought to where it belongs, and what cannot be written now is written later.
//!
//! A disk that is full today, or another writer that holds the lock, must not end what keeps a service's certificate
//! fresh. The stream goes on meanwhile, and a newer update takes the place of the one that waits.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::cli::failure::Failure;

/// What became of an update.
pub(super) enum Put {
    Done,
    /// Nothing was changed; it may work later.
    Again(Failure),
}

/// Puts each update, until there are no more or one cannot be put ever. `warn` is told why one must wait: each reason
/// once, while it stays the same.
///
/// # Errors
/// What `put` says.
pub(super) async fn deliver<U>(
    mut updates: mpsc::Receiver<U>,
    mut put: impl AsyncFnMut(&U) -> Result<Put, Failure>,
    mut warn: impl FnMut(&Failure),
) -> Result<(), Failure> {
    let Some(mut newest) = updates.recv().await else { return Ok(()) };
    let (mut wait, mut said) = (RETRY_WAIT_MIN, String::new());
    loop {
        let newer = match put(&newest).await? {
            Put::Done => {
                (wait, said) = (RETRY_WAIT_MIN, String::new());
                updates.recv().await
            }
            Put::Again(failure) => {
                if failure.words() != said {
                    warn(&failure);
                    said = failure.words().to_owned();
                }
                let Ok(newer) = tokio::time::timeout(wait, updates.recv()).await else {
                    wait = (wait * 2).min(RETRY_WAIT_MAX);
                    continue;
                };
                newer
            }
        };
        match newer {
            Some(newer) => newest = newer,
            None => return Ok(()),
        }
    }
}

/// How long after a failed write it is tried again: twice as long each time, up to the second.
const RETRY_WAIT_MIN: Duration = Duration::from_secs(1);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;
    use crate::cli::exit::Exit;

    fn again(words: &str) -> Result<Put, Failure> {
        Ok(Put::Again(Failure::new(Exit::Failed, words)))
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_written_is_tried_again_each_time_later() {
        let (sender, updates) = mpsc::channel(1);
        sender.send(1).await.unwrap();
        let (begin, tried, said) = (Instant::now(), RefCell::default(), RefCell::default());
        let put = async |_: &i32| {
            let mut tried: std::cell::RefMut<'_, Vec<u64>> = tried.borrow_mut();
            tried.push(begin.elapsed().as_secs());
            match tried.len() {
                9 => Ok(Put::Done),
                1..5 => again("full"),
                _ => again("locked"),
            }
        };
        let warn = |failure: &Failure| {
            let mut said: std::cell::RefMut<'_, Vec<String>> = said.borrow_mut();
            said.push(failure.words().to_owned());
        };
        let delivered = deliver(updates, put, warn);
        assert!(tokio::time::timeout(Duration::from_secs(1_000), delivered).await.is_err(), "it stays");
        assert_eq!(tried.into_inner(), [0, 1, 3, 7, 15, 31, 61, 91, 121]);
        assert_eq!(said.into_inner(), ["full", "locked"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_update_wins_and_is_tried_at_once() {
        let (sender, updates) = mpsc::channel(1);
        let (begin, tried) = (Instant::now(), RefCell::new(Vec::new()));
        let put = async |update: &i32| {
            tried.borrow_mut().push((*update, begin.elapsed().as_secs()));
            if begin.elapsed().as_secs() < 5 { again("full") } else { Ok(Put::Done) }
        };
        let send = async {
            sender.send(1).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            sender.send(2).await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(sender);
        };
        let (delivered, ()) = tokio::join!(deliver(updates, put, |_| {}), send);
        delivered.unwrap();
        assert_eq!(tried.into_inner(), [(1, 0), (1, 1), (2, 2), (2, 4), (2, 8)]);
    }

    #[tokio::test]
    async fn what_can_never_be_put_ends_it() {
        let (sender, updates) = mpsc::channel(1);
        sender.send(1).await.unwrap();
        let ended = deliver(updates, async |_| Err(Failure::new(Exit::Missing, "nobody")), |_| {}).await;
        assert_eq!(ended.unwrap_err().exit(), Exit::Missing);
    }
}

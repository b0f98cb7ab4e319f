//! Looks at a process that may take as long as that process likes.
//!
//! Reading `/proc/PID` can wait for its subject: for the end of its exec, which a file of a user's own file system may
//! hold up for ever; for that file system itself; or for a gigabyte of page tables that the reader happens to be the
//! last to hold. No deadline ends such a wait. So each look is made aside: the thread hands the runtime's other tasks
//! over first, and a user may have only so many threads in looks at a time. Who draws them out waits for himself.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::block_in_place,
};

/// Looks of one user that are made at the same time.
pub(crate) const LOOKS_PER_USER: usize = 4;
/// Of all users together. Each may be a thread that hangs, beside those of the runtime.
pub(crate) const LOOKS_MAX: usize = 256;

/// The right of one user's connections to look at their callers. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Looks {
    of_user: Arc<Semaphore>,
    of_all: Arc<Semaphore>,
}

/// All users' looks. One for the daemon.
#[derive(Clone, Debug)]
pub(crate) struct AllLooks(Arc<Semaphore>);

impl Default for AllLooks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKS_MAX)))
    }
}

impl AllLooks {
    /// The looks of one more user.
    pub(crate) fn of_user(&self) -> Looks {
        Looks { of_user: Arc::new(Semaphore::new(LOOKS_PER_USER)), of_all: self.0.clone() }
    }
}

/// The right to one look, or to several one after the other.
#[derive(Debug)]
pub(crate) struct Look {
    _of_user: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Looks {
    /// Waits until this user may look, which is when fewer than [`LOOKS_PER_USER`] of its looks go on.
    pub(crate) async fn begin(&self) -> Look {
        loop {
            let of_user = self.of_user.clone().acquire_owned().await;
            let of_all = self.of_all.clone().acquire_owned().await;
            // Neither is ever closed.
            if let (Ok(of_user), Ok(of_all)) = (of_user, of_all) {
                return Look { _of_user: of_user, _of_all: of_all };
            }
        }
    }

    /// Whether none of them goes on.
    pub(crate) fn are_idle(&self) -> bool {
        self.of_user.available_permits() == LOOKS_PER_USER
    }
}

impl Look {
    /// Runs what may wait for the process that is looked at. Nothing that another task needs may be held meanwhile.
    pub(crate) fn run<T>(&self, look: impl FnOnce() -> T) -> T {
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(look),
            _ => look(),
        }
    }
}

/// A look that a task waits for while it does other things.
#[derive(Default)]
pub(crate) struct Turn(Option<Pin<Box<dyn Future<Output = Look> + Send>>>);

impl Turn {
    /// Ready when the look may be made.
    pub(crate) fn poll(&mut self, looks: &Looks, cx: &mut Context<'_>) -> Poll<Look> {
        let waiting = self.0.get_or_insert_with(|| {
            let looks = looks.clone();
            Box::pin(async move { looks.begin().await })
        });
        let polled = waiting.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;

    use super::*;

    /// As many looks as a user may have, that hang until the sender goes.
    fn hanging(looks: &Looks) -> (mpsc::Sender<()>, Vec<tokio::task::JoinHandle<()>>) {
        let (held, release) = mpsc::channel::<()>();
        let release = Arc::new(std::sync::Mutex::new(release));
        let stuck = (0..LOOKS_PER_USER).map(|_| {
            let (looks, release) = (looks.clone(), release.clone());
            tokio::spawn(async move {
                looks.begin().await.run(|| {
                    release.lock().unwrap().recv().unwrap_err();
                });
            })
        });
        (held, stuck.collect())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn looks_that_hang_cost_their_own_user_alone() {
        let all = AllLooks::default();
        let (one, other) = (all.of_user(), all.of_user());
        let (held, stuck) = hanging(&one);
        while one.of_user.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        // The only worker goes on, and another user looks.
        assert_eq!(other.begin().await.run(|| 7), 7);
        let mut more = Box::pin(one.begin());
        assert!(futures_util::poll!(&mut more).is_pending());
        drop(held);
        assert_eq!(more.await.run(|| 8), 8);
        for task in stuck {
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn all_users_together_have_a_bound() {
        let all = AllLooks::default();
        let mut held = Vec::new();
        for _ in 0..LOOKS_MAX / LOOKS_PER_USER {
            let user = all.of_user();
            for _ in 0..LOOKS_PER_USER {
                held.push(user.begin().await);
            }
        }
        let mut turn = Turn::default();
        let last = all.of_user();
        assert!(std::future::poll_fn(|cx| Poll::Ready(turn.poll(&last, cx).is_pending())).await);
        held.pop();
        std::future::poll_fn(|cx| turn.poll(&last, cx)).await;
    }
}

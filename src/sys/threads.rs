//! Work that may block, on threads beside those that serve.
//!
//! An idle daemon has no such thread, and the system may have none for it (a limit on pids): tokio panics then, and keeps
//! the work for whenever it has one. Here that is an answer, and work that was not begun by then never is.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::spawn_blocking;

/// Why work has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undone {
    /// It was not begun, and will not be.
    #[error("the system gives no thread, or the daemon is stopping")]
    NoThread,
    /// It panicked half-way.
    #[error("the work met a fault")]
    Broken,
}

/// Does blocking work aside. Dropped before it was polled, nothing was begun; after that, the work goes on to its end
/// and nobody hears of it.
///
/// # Errors
/// When it was not done, or not to its end.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Undone> {
    let work = Arc::new(Mutex::new(Some(work)));
    let taken = work.clone();
    let doing = move || take(&taken).map(|work| work());
    let Ok(done) = catch_unwind(AssertUnwindSafe(|| spawn_blocking(doing))) else {
        // What tokio has kept finds nothing to do. Should a thread have begun after all, nobody knows how far it got.
        return Err(if take(&work).is_some() { Undone::NoThread } else { Undone::Broken });
    };
    match done.await {
        Ok(Some(done)) => Ok(done),
        Err(error) if error.is_panic() => Err(Undone::Broken),
        Ok(None) | Err(_) => Err(Undone::NoThread),
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Keeps a test's paused clock from jumping while a thread that the runtime does not know works, until it is dropped.
#[cfg(test)]
pub(crate) fn clock_stands() -> std::sync::mpsc::Sender<()> {
    let (held, release) = std::sync::mpsc::channel();
    catch_unwind(AssertUnwindSafe(|| spawn_blocking(move || release.recv()))).ok();
    held
}

/// A runtime on which no such thread can be made: none has room for its stack.
#[cfg(test)]
pub(crate) fn runtime_without() -> tokio::runtime::Runtime {
    const STACK_BYTES: usize = 1 << 50;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    #[expect(clippy::unwrap_used, reason = "tests")]
    runtime.enable_all().thread_stack_size(STACK_BYTES).build().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_thread_work_is_not_done_and_never_will_be() {
        let kept = Arc::new(());
        let runtime = runtime_without();
        for _ in 0..2 {
            let kept = kept.clone();
            let undone = runtime.block_on(aside(move || drop(kept)));
            assert_eq!(undone, Err(Undone::NoThread));
        }
        assert_eq!(Arc::strong_count(&kept), 1, "what tokio keeps is empty");
    }

    #[tokio::test]
    async fn work_has_its_result_and_a_panic_is_told() {
        assert_eq!(aside(|| 7).await, Ok(7));
        let broken: Result<(), _> = aside(|| std::panic::resume_unwind(Box::new(()))).await;
        assert_eq!(broken, Err(Undone::Broken));
    }
}

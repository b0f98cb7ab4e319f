//! Work that may block, on threads beside those that serve.
//!
//! An idle daemon has no such thread, and the system may have none for it (a limit on pids). tokio panics then; and where
//! it has a busy one, which may be busy for ever, it keeps the work for that one. Here both are an answer: work that was
//! not begun by then never is.

use std::{
    cell::Cell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::spawn_blocking,
    time::timeout,
};

/// How long work may wait for a thread.
pub(crate) const BEGIN_WAIT: Duration = Duration::from_secs(1);
/// How much of it may lie in tokio's queue, also such that waits no more, before the system is asked for a thread first.
/// All that looks, asks and changes at once is less.
pub(crate) const QUEUED_MAX: usize = 1_024;
/// The stack of a thread that does nothing.
const STACK_BYTES: usize = 64 * 1024;

/// One more for each that lies in tokio's queue.
static QUEUED: LazyLock<Arc<()>> = LazyLock::new(Arc::default);

thread_local! {
    /// Whether a panic is caught here, and said in another way.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    /// One more while this worker's last scout lies in tokio's queue.
    static SCOUT: Arc<()> = Arc::default();
}

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

/// Does blocking work aside. Dropped before that has begun, it never is; after that, the work goes on to its end and
/// nobody hears of it.
///
/// # Errors
/// When it was not begun within [`BEGIN_WAIT`], or not done to its end.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Undone> {
    aside_in(&QUEUED, || are_to_be_had(1).is_ok(), work).await
}

async fn aside_in<T: Send + 'static>(
    queued: &Arc<()>,
    is_thread_to_be_had: impl FnOnce() -> bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Undone> {
    // tokio tries to make a thread only when it is given more.
    if Arc::strong_count(queued) > QUEUED_MAX && !is_thread_to_be_had() {
        return Err(Undone::NoThread);
    }
    let unbegun = Unbegun(Arc::new(Mutex::new(Some(work))));
    let (taken, place) = (unbegun.0.clone(), queued.clone());
    let doing = move || {
        drop(place);
        take(&taken).map(|work| work())
    };
    let Some(mut done) = quietly(|| spawn_blocking(doing)) else {
        // What tokio has kept finds nothing to do. Should a thread have begun after all, nobody knows how far it got.
        return Err(if take(&unbegun.0).is_some() { Undone::NoThread } else { Undone::Broken });
    };
    let done = match timeout(BEGIN_WAIT, &mut done).await {
        Ok(done) => done,
        Err(_) if take(&unbegun.0).is_some() => return Err(Undone::NoThread),
        Err(_) => done.await,
    };
    match done {
        Ok(Some(done)) => Ok(done),
        Err(error) if error.is_panic() => Err(Undone::Broken),
        Ok(None) | Err(_) => Err(Undone::NoThread),
    }
}

/// Work that goes with whoever waits for it, until it has begun.
struct Unbegun<T>(Arc<Mutex<Option<T>>>);

impl<T> Drop for Unbegun<T> {
    fn drop(&mut self) {
        drop(take(&self.0));
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Does work that blocks for a moment on the thread that calls. A worker of the runtime hands its other tasks over
/// meanwhile, if there is a thread to take them.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) if has_thread_beside() => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Whether the runtime has a thread beside its workers, or could make one. A worker that hands its tasks over where
/// there is none panics half-way, and has lost them. One that a scout could go to stays for seconds.
fn has_thread_beside() -> bool {
    SCOUT.with(|scout| {
        // One is enough in a queue that nobody serves.
        let is_back = Arc::strong_count(scout) == 1;
        let sent = scout.clone();
        is_back && quietly(|| spawn_blocking(move || drop(sent))).is_some()
    })
}

/// Whether the system gives so many threads now, beside those there are.
///
/// # Errors
/// Why it does not.
pub(crate) fn are_to_be_had(count: usize) -> io::Result<()> {
    let gate = RwLock::new(());
    thread::scope(|scope| {
        let closed = gate.write();
        let mut made = (0..count).map(|_| {
            let builder = thread::Builder::new().stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, || drop(gate.read())).map(drop)
        });
        let made = made.try_for_each(|made| made);
        drop(closed);
        made
    })
}

/// Does what may panic where the system gives no thread; `None` when it did, and nobody is told ([`is_quiet`]).
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    IS_QUIET.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_QUIET.set(false);
    done.ok()
}

/// Whether a panic of this thread is expected, caught, and no news to anybody.
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.try_with(Cell::get).unwrap_or(false)
}

/// Keeps a test's paused clock from jumping while a thread that the runtime does not know works, until it is dropped.
#[cfg(test)]
pub(crate) fn clock_stands() -> std::sync::mpsc::Sender<()> {
    let (held, release) = std::sync::mpsc::channel();
    quietly(|| spawn_blocking(move || release.recv()));
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

/// A runtime of one worker, beside which no thread can be made: there is no name for it.
#[cfg(test)]
pub(crate) fn runtime_of_one_worker() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let made = std::sync::atomic::AtomicUsize::new(0);
    let name = move || match made.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => "worker".to_owned(),
        _ => "\0".to_owned(),
    };
    #[expect(clippy::unwrap_used, reason = "tests")]
    runtime.worker_threads(1).thread_name_fn(name).enable_all().build().unwrap()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{pin::pin, sync::mpsc};

    use futures_util::poll;
    use tokio::{runtime, time};

    use super::*;

    /// The one thread that there may be is busy until the sender goes.
    async fn busy() -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (held, release) = mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let busy = spawn_blocking(move || {
            begun.send(()).ok();
            release.recv().ok();
        });
        has_begun.await.unwrap();
        (held, busy)
    }

    fn one_thread(mut builder: runtime::Builder) -> runtime::Runtime {
        builder.enable_all().max_blocking_threads(1).build().unwrap()
    }

    #[test]
    fn work_that_only_a_busy_thread_could_do_is_answered_and_never_done() {
        let mut builder = runtime::Builder::new_multi_thread();
        builder.worker_threads(1);
        one_thread(builder).block_on(async {
            let (held, busy) = busy().await;
            let kept = Arc::new(());
            let (mine, begin) = (kept.clone(), time::Instant::now());
            let undone = tokio::spawn(aside(move || drop(mine))).await.unwrap();
            assert_eq!(undone, Err(Undone::NoThread));
            assert!(begin.elapsed() >= BEGIN_WAIT, "it might have begun meanwhile");
            assert_eq!(Arc::strong_count(&kept), 1, "it holds nothing any more");
            drop(held);
            busy.await.unwrap();
            assert_eq!(aside(|| 7).await, Ok(7));
        });
    }

    #[test]
    fn work_that_waits_for_a_thread_goes_with_whoever_waits_for_it() {
        let mut builder = runtime::Builder::new_current_thread();
        builder.start_paused(true);
        one_thread(builder).block_on(async {
            let (held, busy) = busy().await;
            let kept = Arc::new(());
            let mine = kept.clone();
            let mut waiting = Box::pin(aside(move || drop(mine)));
            assert!(poll!(&mut waiting).is_pending());
            assert_eq!(Arc::strong_count(&kept), 2);
            drop(waiting);
            assert_eq!(Arc::strong_count(&kept), 1);
            drop(held);
            busy.await.unwrap();
        });
    }

    #[test]
    fn work_that_has_begun_may_last() {
        let mut builder = runtime::Builder::new_current_thread();
        builder.start_paused(true);
        one_thread(builder).block_on(async {
            let (begun, has_begun) = tokio::sync::oneshot::channel();
            let (held, release) = mpsc::channel::<()>();
            let mut working = Box::pin(aside(move || {
                begun.send(()).ok();
                release.recv().ok();
            }));
            assert!(poll!(&mut working).is_pending());
            has_begun.await.unwrap();
            time::advance(2 * BEGIN_WAIT).await;
            assert!(poll!(&mut working).is_pending());
            drop(held);
            assert_eq!(working.await, Ok(()));
        });
    }

    #[test]
    fn what_tokio_keeps_has_a_bound_and_ends_with_the_first_thread() {
        let mut builder = runtime::Builder::new_current_thread();
        builder.start_paused(true);
        one_thread(builder).block_on(async {
            let (held, busy) = busy().await;
            let queued = Arc::new(());
            for _ in 0..QUEUED_MAX {
                assert!(poll!(pin!(aside_in(&queued, || false, || ()))).is_pending());
            }
            assert_eq!(aside_in(&queued, || false, || ()).await, Err(Undone::NoThread));
            assert_eq!(Arc::strong_count(&queued), 1 + QUEUED_MAX);
            assert!(poll!(pin!(aside_in(&queued, || true, || ()))).is_pending(), "tokio is asked again");
            drop(held);
            busy.await.unwrap();
            assert_eq!(aside_in(&queued, || true, || ()).await, Ok(()));
            assert_eq!(Arc::strong_count(&queued), 1);
        });
    }

    #[test]
    fn a_worker_that_finds_nobody_to_take_its_tasks_keeps_them() {
        let runtime = runtime_of_one_worker();
        for number in 0..100 {
            let task = async move {
                let done = in_place(|| number);
                (done, SCOUT.with(Arc::strong_count), is_quiet())
            };
            assert_eq!(runtime.block_on(runtime.spawn(task)).unwrap(), (number, 2, false));
        }
        assert_eq!(runtime.block_on(runtime.spawn(async { tokio::task::yield_now().await })).ok(), Some(()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_worker_that_waits_hands_its_tasks_over() {
        let waiting = tokio::spawn(async {
            let (told, hears) = mpsc::channel();
            tokio::spawn(async move { told.send(()) });
            in_place(|| hears.recv_timeout(Duration::from_secs(60)))
        });
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[test]
    fn the_system_is_asked_for_threads() {
        are_to_be_had(4).unwrap();
    }

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

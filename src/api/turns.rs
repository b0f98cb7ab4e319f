//! Turns: of one user's calls that could go on, few do at a time, and everybody else is looked at in between.
//!
//! Signing and attesting take a thread for their time. Without turns, who asks a thousand times at once is answered a
//! thousand times before anybody else.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::sync::Semaphore;

/// Awaits a call, each step of it in a turn of its user. A call that waits for something has no turn.
pub(super) async fn take<F: Future>(turns: Arc<Semaphore>, call: F) -> F::Output {
    let mut call = pin!(call);
    loop {
        // The semaphore is never closed.
        let turn = turns.acquire().await.ok();
        // Others' bytes and calls first: what is ready now was ready before this one's turn came.
        tokio::task::yield_now().await;
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            return output;
        }
        drop(turn);
        woken().await;
    }
}

/// Returns when the task is polled next: the call has seen to it that it is.
async fn woken() {
    let mut is_next = false;
    poll_fn(|_| if std::mem::replace(&mut is_next, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn another_user_waits_for_few_of_a_thousand_calls() {
        let steps = Arc::new(AtomicU32::new(0));
        let call = |turns: &Arc<Semaphore>| {
            let (turns, steps) = (turns.clone(), steps.clone());
            tokio::spawn(take(turns, async move { steps.fetch_add(1, Ordering::Relaxed) }))
        };
        let (many, one) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(2)));
        let flood: Vec<_> = (0..1_000).map(|_| call(&many)).collect();
        let before = call(&one).await.unwrap();
        assert!(before <= 4, "{before} calls went first");
        for call in flood {
            call.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_call_that_waits_leaves_its_turn_to_others() {
        let turns = Arc::new(Semaphore::new(1));
        let (sender, answer) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(take(turns.clone(), answer));
        for _ in 0..3 {
            take(turns.clone(), async {}).await;
        }
        sender.send(7).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 7);
    }
}

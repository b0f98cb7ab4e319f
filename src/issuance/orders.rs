//! Orders to the owner of a state: they wait in its queue, and it carries out one after the other.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::desk::{self, Author};
use crate::sys::{chain, counters::Counters};

/// An order on its way to the owner.
#[derive(Debug)]
pub(super) struct Pending<O: Owner> {
    pub(super) author: Author,
    pub(super) order: O::Order,
    pub(super) reply: oneshot::Sender<Result<O::Outcome, O::Error>>,
}

/// Whoever alone changes a state.
pub(super) trait Owner: Sized + Send {
    /// What is asked of it.
    type Order: Send;
    /// What an order came to.
    type Outcome: Send;
    /// Why it was not carried out.
    type Error: std::error::Error + From<desk::Error> + Send + Sync + 'static;
    /// Of what it is the owner.
    const OF: &'static str;

    fn queue(&mut self) -> &mut mpsc::Receiver<Pending<Self>>;

    /// Brings one order to its end.
    fn carry_out(
        &mut self,
        author: Author,
        order: Self::Order,
    ) -> impl Future<Output = Result<Self::Outcome, Self::Error>> + Send;
}

/// Asks the owner. Once it is in the queue an order is carried out, whether or not anybody waits for its outcome.
///
/// # Errors
/// Why it was not carried out; when too many wait for too long, or the owner has ended.
pub(super) async fn ask<O: Owner>(
    queue: &mpsc::Sender<Pending<O>>,
    counters: &Counters,
    author: Author,
    order: O::Order,
) -> Result<O::Outcome, O::Error> {
    let place = match tokio::time::timeout(PLACE_WAIT, queue.reserve()).await {
        Ok(Ok(place)) => place,
        Ok(Err(_)) => return Err(desk::Error::Stopping.into()),
        Err(_) => {
            counters.limit_met("admin_orders");
            tracing::warn!(of = O::OF, uid = author.uid, pid = author.pid, "too many changes wait");
            return Err(desk::Error::Busy.into());
        }
    };
    let (reply, outcome) = oneshot::channel();
    place.send(Pending { author, order, reply });
    outcome.await.unwrap_or_else(|_| Err(desk::Error::Stopping.into()))
}

/// How long an order waits for a place in the queue.
const PLACE_WAIT: Duration = Duration::from_secs(5);

/// Carries out orders until the daemon stops. One that has begun is brought to its end.
pub(super) async fn run<O: Owner>(mut owner: O, stopping: CancellationToken) {
    loop {
        let pending = tokio::select! {
            () = stopping.cancelled() => return,
            pending = owner.queue().recv() => pending,
        };
        let Some(Pending { author, order, reply }) = pending else { return };
        // Whoever ordered it may have left; it is done all the same.
        if let Err(Err(error)) = reply.send(owner.carry_out(author, order).await) {
            tracing::warn!(of = O::OF, error = %chain(&error), "an order was not carried out, and nobody heard why");
        }
    }
}

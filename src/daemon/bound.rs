//! A daemon that serves: until it is told to stop, or until another process has taken its place.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use futures_util::FutureExt as _;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    assembly::{self, Start},
    config::{Config, Problems},
    replace::{self, Guest, Predecessor, REST_WAIT, Seen, Step, Visit, reached},
    reread::Adjustable,
    sockets::Spares,
    telemetry::Telemetry,
};
use crate::{
    api::{
        Door, Doorkeeper,
        ops::{Ops, Socket},
    },
    audit::{self, Record, Urgency},
    authority::Owner,
    issuance::{desk::Clerk, foreign::Registrar},
    store::Store,
    sys::{activation::PASSED_MAX, chain, files, inherited::Inherited, notify::Notify, threads},
};

/// A daemon whose state and sockets are open.
pub struct Bound {
    pub(super) config: Config,
    pub(super) telemetry: Option<Telemetry>,
    pub(super) adjustable: Adjustable,
    /// What the configuration is, each time that it is read again.
    pub(super) rereads: Option<Rereads>,
    pub(super) keeper: Arc<Doorkeeper>,
    pub(super) doors: Vec<Door>,
    pub(super) ops: Option<(Ops, Socket)>,
    pub(super) owner: Owner,
    pub(super) clerk: Clerk,
    pub(super) registrar: Registrar,
    pub(super) state: State,
    pub(super) ending: Ending,
    pub(super) sockets: Kept,
    pub(super) visits: mpsc::Receiver<Visit>,
    pub(super) beginning: Beginning,
}

/// Configurations that were read while the daemon ran, or what was wrong with them.
pub type Rereads = mpsc::Receiver<Result<Config, Problems>>;

/// What only one process may have open.
pub(super) struct State {
    pub(super) log: audit::Log,
    pub(super) store: Store,
    pub(super) lock: files::Lock,
}

/// How tasks are told to end.
pub(super) struct Ending {
    /// Nothing is accepted, signed or changed any more. Open streams stay.
    pub(super) resting: CancellationToken,
    /// Streams and connections end too. It rests then in any case.
    pub(super) stopping: CancellationToken,
    pub(super) tracker: TaskTracker,
}

/// Sockets beside those that are served.
pub(super) struct Kept {
    pub(super) spares: Spares,
    /// What another configuration served.
    pub(super) leftover: Vec<Inherited>,
}

/// Whom to tell when it serves.
#[derive(Default)]
pub(super) struct Beginning {
    pub(super) notify: Notify,
    pub(super) predecessor: Option<Predecessor>,
    /// Why it was opened again: for the audit log.
    pub(super) taken_back: Option<String>,
    pub(super) began: Option<Box<dyn FnOnce() + Send>>,
}

/// How long connections may take to end after [`Bound::run`] is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long those that waited for a daemon have it to themselves, before the audit log is read through.
const EXAMINER_RESTS: Duration = Duration::from_secs(1);

/// How a daemon came to its end.
enum Served {
    /// It has stopped, or another serves in its place.
    Ended,
    /// The process that was to take its place failed: everything is opened again.
    TakenBack(Start),
}

impl Bound {
    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// With these configurations taken over as they come, as far as that can be done while it runs.
    #[must_use]
    pub fn rereading(self, rereads: Rereads) -> Self {
        Self { rereads: Some(rereads), ..self }
    }

    /// Serves until `stop` is cancelled, or until another process has taken its place; then ends every stream with
    /// Unavailable, and every connection.
    ///
    /// # Errors
    /// When a task that owns state ends by itself, or a socket breaks; when another process was to take its place, has
    /// failed, and the state cannot be opened again.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut bound = self;
        let (mut config, mut rereads) = (bound.config.clone(), bound.rereads.take());
        loop {
            let telemetry = bound.telemetry.clone();
            match bound.serve(&stop, &mut config, &mut rereads).await? {
                Served::Ended => return Ok(()),
                Served::TakenBack(mut start) => {
                    // Held from here on: who only looks whether it is held could come between.
                    start.lock = regain(&config.state_dir.join("lock"), &start.notify, &stop).await?;
                    if start.lock.is_none() {
                        return Ok(());
                    }
                    reached(Step::TakingBack);
                    let opened = assembly::assemble(config.clone(), telemetry, start).await;
                    bound = opened.context("what was to be handed over cannot be opened again")?;
                }
            }
        }
    }

    async fn serve(
        self,
        stop: &CancellationToken,
        running: &mut Config,
        rereads: &mut Option<Rereads>,
    ) -> anyhow::Result<Served> {
        let Self {
            config,
            telemetry: _,
            adjustable,
            rereads: _,
            keeper,
            doors,
            ops,
            owner,
            clerk,
            registrar,
            state,
            ending,
            sockets,
            mut visits,
            beginning,
        } = self;
        let Ending { resting, stopping, tracker } = &ending;
        let log = state.log.clone();
        let mut owners = JoinSet::new();
        owners.spawn(owner.run(resting.clone()).map(|()| Ok("authorities")));
        owners.spawn(clerk.run(resting.clone()).map(|()| Ok("registry")));
        owners.spawn(registrar.run(resting.clone()).map(|()| Ok("foreign bundles")));
        for door in doors {
            owners.spawn(door.run(resting.clone(), keeper.clone()).map(|ended| ended.map(|()| "socket")));
        }
        if let Some((ops, socket)) = ops {
            let ended = ops.run(socket, resting.clone(), stopping.clone(), tracker.clone());
            owners.spawn(ended.map(|ended| ended.map(|()| "ops")));
        }
        let notify = beginning.notify.clone();
        begin(beginning, &log, sockets.leftover).await;
        sockets.spares.keep();
        // Nobody waits for it: identities first.
        drop(log.examine(EXAMINER_RESTS)?);
        tracing::info!(trust_domain = %config.trust_domain, state = %config.state_dir.display(), "serving");
        let mut meeting: Option<JoinHandle<Result<Guest, String>>> = None;
        let ended = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                Some(ended) = owners.join_next() => break Err(anyhow!("a task of the daemon ended: {ended:?}")),
                read = next(rereads) => adjustable.take(read, running, &log),
                Some(visit) = visits.recv(), if meeting.is_none() => meeting = Some(tokio::spawn(replace::meet(visit))),
                met = met(&mut meeting) => {
                    meeting = None;
                    match met {
                        Ok(guest) if sockets.spares.each().len() <= PASSED_MAX => {
                            let leaving = Leaving { owners, state, spares: sockets.spares, notify, ending };
                            return Ok(leaving.run(guest, stop).await);
                        }
                        Ok(guest) => {
                            guest.decline("it has more sockets than can be handed over").await;
                            note_failed(&log, "too many sockets");
                        }
                        Err(why) => note_failed(&log, &why),
                    }
                }
            }
        };
        tracing::info!("stopping");
        notify.tell("STOPPING=1");
        ending.end().await;
        // Dropping a door and its spare removes its socket.
        owners.shutdown().await;
        drop(sockets.spares);
        record(&log, "stopped", VERSION);
        state.log.close();
        state.store.close();
        ended.map(|()| Served::Ended)
    }
}

/// Takes the lock of the state, and waits until nobody else has it; `None` once it is to stop. What was to be closed may
/// wait for a disk that stalls, and so may a process that was ended: no reason to end too, as nobody else would serve.
/// Clients wait in the sockets meanwhile. The log and the service manager are told every [`TELL_EVERY`].
async fn regain(path: &Path, notify: &Notify, stop: &CancellationToken) -> anyhow::Result<Option<files::Lock>> {
    let mut told: Option<Instant> = None;
    let lock = loop {
        match files::lock(path) {
            Ok(lock) => break Some(lock),
            Err(files::Error::InUse { .. }) if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) => {
                told = Some(Instant::now());
                tracing::warn!("{HELD}");
                notify.tell(&format!("STATUS={HELD}"));
            }
            Err(files::Error::InUse { .. }) => {}
            Err(error) => return Err(error).context("what was to be handed over cannot be opened again"),
        }
        if timeout(LOOK_EVERY, stop.cancelled()).await.is_ok() {
            break None;
        }
    };
    if told.is_some() {
        notify.tell("STATUS=");
    }
    Ok(lock)
}

const HELD: &str = "the state is held still, by a process or a disk that stalls; waiting for it";
/// How often it is told that the state is held.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether the state is free.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Tells everybody who waits for it that we serve.
async fn begin(beginning: Beginning, log: &audit::Log, leftover: Vec<Inherited>) {
    let Beginning { notify, predecessor, taken_back, began } = beginning;
    record(log, "started", VERSION);
    if let Some(why) = taken_back {
        tracing::warn!(why, "taken back: nobody else serves");
        record(log, "taken_back", why);
    }
    let pid = std::process::id();
    notify.tell(&format!("MAINPID={pid}\nREADY=1"));
    if let Some(predecessor) = predecessor {
        let from = predecessor.pid();
        record(log, "taken_over", format!("from pid {from}"));
        tracing::info!(from, "taken over");
        reached(Step::Serving);
        // From here on it is this process that must not fail.
        predecessor.release().await;
        reached(Step::Released);
    }
    leftover.into_iter().for_each(Inherited::retire);
    if let Some(began) = began {
        began();
    }
}

/// Never, where nothing is read again.
async fn next(rereads: &mut Option<Rereads>) -> Result<Config, Problems> {
    if let Some(receiver) = rereads {
        match receiver.recv().await {
            Some(read) => return read,
            None => *rereads = None,
        }
    }
    std::future::pending().await
}

/// Never, where nobody is being met.
async fn met(meeting: &mut Option<JoinHandle<Result<Guest, String>>>) -> Result<Guest, String> {
    match meeting {
        Some(meeting) => meeting.await.unwrap_or_else(|error| Err(format!("it could not be met: {error}"))),
        None => std::future::pending().await,
    }
}

fn note_failed(log: &audit::Log, why: &str) {
    tracing::warn!(why, "not replaced");
    record(log, "not_replaced", why);
}

impl Ending {
    /// Ends streams and connections.
    async fn end(&self) {
        self.stopping.cancel();
        self.tracker.close();
        if timeout(FAREWELL, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "connections did not end in time");
        }
    }
}

/// What is left of a daemon whose place another process takes.
struct Leaving {
    owners: JoinSet<std::io::Result<&'static str>>,
    state: State,
    spares: Spares,
    notify: Notify,
    ending: Ending,
}

impl Leaving {
    /// From here on it is either replaced or opens everything again.
    async fn run(self, guest: Guest, stop: &CancellationToken) -> Served {
        let Self { owners, state, spares, notify, ending } = self;
        let pid = guest.pid();
        reached(Step::Met);
        // From here on another may serve these files.
        spares.leave();
        let rested = rest(owners, state, &ending, pid).await;
        reached(Step::Closed);
        let given = match rested {
            Ok(()) => guest.give(&spares.each()).await,
            Err(why) => {
                guest.decline(&why).await;
                Err(why)
            }
        };
        let why = match given {
            Ok(()) => {
                tracing::info!(pid, "handed over");
                reached(Step::HandedOver);
                match guest.see_in(stop).await {
                    Seen::Serving => {
                        reached(Step::Replaced);
                        // A service manager that believes its main process alone is told by it.
                        notify.tell(&format!("MAINPID={pid}"));
                        tracing::info!(pid, "replaced");
                        ending.end().await;
                        reached(Step::Left);
                        return Served::Ended;
                    }
                    Seen::Stopped => {
                        ending.end().await;
                        return Served::Ended;
                    }
                    Seen::Gone(why) => why,
                }
            }
            Err(why) => {
                guest.outlive().await;
                why
            }
        };
        tracing::warn!(pid, why, "not replaced; everything is opened again");
        ending.end().await;
        Served::TakenBack(Start { sockets: spares.into_inherited(), notify, taken_back: Some(why), ..Start::default() })
    }
}

/// Lets go of everything that only one process may have. Connections that come wait, and open streams stay.
async fn rest(
    mut owners: JoinSet<std::io::Result<&'static str>>,
    state: State,
    ending: &Ending,
    pid: i32,
) -> Result<(), String> {
    tracing::info!(pid, "resting, for another process to take over");
    ending.resting.cancel();
    let ended = timeout(REST_WAIT, async { while owners.join_next().await.is_some() {} }).await;
    owners.shutdown().await;
    let State { log, store, lock } = state;
    record(&log, "handing_over", format!("to pid {pid}"));
    reached(Step::Resting);
    let closing = threads::aside(move || {
        log.close();
        store.close();
        // Last of all: whoever has it may open the rest.
        drop(lock);
    });
    let closed = timeout(REST_WAIT, closing).await;
    match (ended, closed) {
        (Ok(()), Ok(Ok(()))) => {
            tracing::info!(pid, "closed");
            Ok(())
        }
        (Err(_), _) => Err(format!("orders did not end within {} s", REST_WAIT.as_secs())),
        (_, Ok(Err(undone))) => Err(format!("log and database could not be closed: {undone}")),
        (_, Err(_)) => Err(format!("log and database did not close within {} s", REST_WAIT.as_secs())),
    }
}

pub(super) fn record(log: &audit::Log, event: &'static str, detail: impl Into<String>) {
    let record = Record::Daemon { event, detail: Some(detail.into()) };
    if let Err(error) = log.append(&record, Urgency::Ordinary) {
        tracing::error!(error = %chain(&error), "audit log takes no record");
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::{
        spiffe::TrustDomain,
        sys::{Clock, scratch::Scratch},
    };

    #[tokio::test(start_paused = true)]
    async fn orders_that_do_not_end_keep_nobody_from_going_on() {
        let folder = Scratch::new();
        let (store, _) = Store::open(folder.path(), &TrustDomain::parse("example.org").unwrap()).unwrap();
        let log = audit::Log::in_test(&folder.path().join("audit"), audit::Limits::default(), Clock::system()).unwrap();
        let path = folder.path().join("lock");
        let state = State { log: log.clone(), store, lock: files::lock(&path).unwrap() };
        let stopping = CancellationToken::new();
        let ending = Ending { resting: stopping.child_token(), stopping, tracker: TaskTracker::new() };
        let mut owners = JoinSet::new();
        owners.spawn(std::future::pending());
        let since = Instant::now();
        let why = rest(owners, state, &ending, 1).await.unwrap_err();
        assert!(why.contains("orders did not end") && since.elapsed() >= REST_WAIT, "{why}");
        assert!(ending.resting.is_cancelled() && !ending.stopping.is_cancelled(), "streams stay");
        // Everything can be opened again.
        files::lock(&path).unwrap();
        assert!(matches!(log.fault(), Some(audit::Error::Closed)));
        Store::open(folder.path(), &TrustDomain::parse("example.org").unwrap()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_is_held_is_waited_for_until_the_stop() {
        let folder = Scratch::new();
        let (path, notify) = (folder.path().join("lock"), Notify::default());
        let (stop, held) = (CancellationToken::new(), files::lock(&path).unwrap());
        // Longer than anything that is bounded.
        let early = timeout(Duration::from_secs(3_600), regain(&path, &notify, &stop)).await;
        assert!(early.is_err(), "{early:?}");
        drop(held);
        let held = regain(&path, &notify, &stop).await.unwrap();
        assert!(held.is_some() && matches!(files::lock(&path), Err(files::Error::InUse { .. })), "it is held on");
        stop.cancel();
        assert!(regain(&path, &notify, &stop).await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_state_is_held_it_is_told_each_minute() {
        let folder = Scratch::new();
        let (path, address) = (folder.path().join("lock"), folder.path().join("notify"));
        let manager = UnixDatagram::bind(&address).unwrap();
        manager.set_nonblocking(true).unwrap();
        let heard = || {
            let mut words = [0; 256];
            manager.recv(&mut words).ok().map(|count| String::from_utf8_lossy(&words[..count]).into_owned())
        };
        let (notify, stop) = (Notify::to(address.into_os_string()), CancellationToken::new());
        let held = files::lock(&path).unwrap();
        {
            let regained = regain(&path, &notify, &stop);
            tokio::pin!(regained);
            // At once, and after one and two minutes.
            assert!(timeout(TELL_EVERY * 5 / 2, &mut regained).await.is_err());
            for _ in 0..3 {
                assert_eq!(heard().unwrap(), format!("STATUS={HELD}"));
            }
            assert_eq!(heard(), None);
            drop(held);
            assert!(regained.await.unwrap().is_some());
        }
        assert_eq!(heard().unwrap(), "STATUS=");
        // Nothing is told where nothing was held.
        regain(&path, &notify, &stop).await.unwrap();
        assert_eq!(heard(), None);
    }
}

//! From the daemon to where it belongs: asked for, shown or written, told to a service, and done again when it changes.

use std::{cell::Cell, path::Path, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use tokio::sync::mpsc;

use crate::cli::{context::Context, exit::Exit, failure::Failure, link, print::Printer};

use super::{
    command::Command,
    files::{Files, Modes},
    recipient::{Recipient, Wanted},
    watch::{self, Put},
    write::Target,
};

/// Where it goes, and who is told.
#[derive(Debug, Args)]
pub(super) struct Delivery {
    /// Write files there; DIR becomes a symlink to a folder beside it, and is swapped by one rename: who opens it once
    /// and reads all of them never gets a pair that does not match
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Stay, and do it again at each change; what does not work, be it that no daemon is there, is told and tried again
    #[arg(long)]
    watch: bool,
    /// Run CMD after each write; at most a minute each time. It is told the paths: DAYFLY_DIR, DAYFLY_SVID, …
    #[arg(long, value_name = "CMD", requires = "write")]
    exec: Option<String>,
    /// Let `sh -c` run CMD; otherwise it is words, and no shell reads them
    #[arg(long, requires = "exec")]
    shell: bool,
    /// Send a signal after each write, SIGHUP if none is named: to a process by its number, or to the one that a pid
    /// file names then
    #[arg(long, value_name = "PID|FILE[:SIGNAL]", requires = "write")]
    pid_signal: Option<Wanted>,
    #[command(flatten)]
    modes: Modes,
    /// The workload socket, as a path or as unix:///PATH [default: SPIFFE_ENDPOINT_SOCKET, then the daemon's]
    #[arg(long, value_name = "ADDRESS")]
    socket: Option<String>,
}

/// One kind of what can be fetched.
pub(super) trait Door {
    /// Where updates come from.
    type Feed;
    /// All that is known at one time.
    type Update;

    /// Asks.
    async fn open(&self, socket: &Path) -> Result<Self::Feed, Failure>;

    /// The state now, and then each other one, when it comes.
    async fn next(&self, feed: &mut Self::Feed) -> Result<Self::Update, Failure>;

    /// The update as files.
    fn files(&self, update: &Self::Update) -> Result<Files, Failure>;

    /// Shows the update; `again` says that others may follow.
    fn show(&self, print: &Printer, update: &Self::Update, again: bool) -> Result<(), Failure>;
}

/// Runs a fetching verb.
///
/// # Errors
/// When there is no identity, no daemon, or the files cannot be written. One that stays ends only at what time does
/// not mend.
pub(super) async fn run<D: Door>(context: &Context, delivery: &Delivery, door: &D) -> Result<(), Failure> {
    let way = Way::of(context, delivery, door)?;
    let mut first = way.ask().await;
    if !delivery.watch {
        let (_, update) = first?;
        return match way.put(&update).await? {
            Put::Done => Ok(()),
            Put::Again(failure) => Err(failure),
        };
    }
    if let Err(failure) = &first
        && !matches!(failure.exit(), Exit::Usage | Exit::Missing)
    {
        way.warn_of(failure);
        first = Ok(way.ask_again(failure.words().to_owned()).await);
    }
    let (feed, update) = first?;
    // Of what comes while one is put, one waits here, and the rest in the stream.
    let (sender, updates) = mpsc::channel(1);
    let put = async |update: &D::Update| way.put(update).await;
    tokio::select! {
        () = way.follow(feed, update, sender) => Ok(()),
        ended = watch::deliver(updates, put, |failure| way.warn_of(failure)) => ended,
    }
}

/// What one run of the verb needs all along.
struct Way<'a, D> {
    print: Printer,
    door: &'a D,
    socket: PathBuf,
    stays: bool,
    target: Option<Arc<Target>>,
    modes: Modes,
    command: Option<Command>,
    recipient: Option<Recipient>,
    /// Whether files were written yet.
    has_written: Cell<bool>,
}

impl<'a, D: Door> Way<'a, D> {
    /// Whatever is wrong at sight is told before anybody is asked.
    fn of(context: &Context, delivery: &Delivery, door: &'a D) -> Result<Self, Failure> {
        Ok(Self {
            print: context.print,
            door,
            command: delivery.exec.as_deref().map(|text| Command::read(text, delivery.shell)).transpose()?,
            recipient: delivery.pid_signal.as_ref().map(Recipient::new).transpose()?,
            target: delivery.write.as_deref().map(Target::new).transpose()?.map(Arc::new),
            socket: context.workload_socket(delivery.socket.as_deref())?,
            stays: delivery.watch,
            modes: delivery.modes,
            has_written: Cell::new(false),
        })
    }

    /// The first state.
    async fn ask(&self) -> Result<(D::Feed, D::Update), Failure> {
        link::first(async {
            let mut feed = self.door.open(&self.socket).await?;
            let update = self.door.next(&mut feed).await?;
            Ok((feed, update))
        })
        .await
    }

    /// Until the daemon, or the identity, is there again. Waits longer each time, as the SPIFFE libraries do. `said` is
    /// what the person knows already.
    async fn ask_again(&self, mut said: String) -> (D::Feed, D::Update) {
        let mut wait = RETRY_WAIT_STEP;
        loop {
            tokio::time::sleep(wait).await;
            wait = (wait + RETRY_WAIT_STEP).min(RETRY_WAIT_MAX);
            match self.ask().await {
                Ok(again) => return again,
                Err(failure) if failure.words() == said => {}
                Err(failure) => {
                    self.warn_of(&failure);
                    said = failure.words().to_owned();
                }
            }
        }
    }

    /// Hands on each update, and asks again when they end.
    async fn follow(&self, mut feed: D::Feed, mut update: D::Update, updates: mpsc::Sender<D::Update>) {
        while updates.send(update).await.is_ok() {
            update = match self.door.next(&mut feed).await {
                Ok(update) => update,
                Err(failure) => {
                    self.warn_of(&failure);
                    let (again, update) = self.ask_again(failure.words().to_owned()).await;
                    feed = again;
                    update
                }
            };
        }
    }

    /// One update: shown, or written and told.
    async fn put(&self, update: &D::Update) -> Result<Put, Failure> {
        let Some(target) = &self.target else {
            return self.door.show(&self.print, update, self.stays).map(|()| Put::Done);
        };
        let files = match self.door.files(update) {
            Ok(files) => files,
            // The identity may come back; what was written stays until it ends by itself.
            Err(failure) if self.has_written.get() => {
                self.print.warn(format_args!("{}; the files stay as they are", failure.words()));
                return Ok(Put::Done);
            }
            Err(failure) => return Err(failure),
        };
        let (said, environment) = (files.subject.clone(), files.environment(target.path()));
        if let Err(failure) = write(target, files, self.modes).await {
            return Ok(Put::Again(failure));
        }
        self.has_written.set(true);
        self.print.say(format_args!("wrote {}: {said}", target.path().display()));
        match self.tell(&environment).await {
            // A service that does not take it up today may do so at the next change; the files are right.
            Err(failure) if self.stays => self.warn(&failure, "; it is done again at the next change"),
            result => result?,
        }
        Ok(Put::Done)
    }

    /// The command first; the signal is sent whether it worked or not.
    async fn tell(&self, environment: &[(String, PathBuf)]) -> Result<(), Failure> {
        let commanded = match &self.command {
            Some(command) => command.run(environment).await,
            None => Ok(()),
        };
        let signalled = match &self.recipient {
            Some(recipient) => recipient.signal().await,
            None => Ok(()),
        };
        if let (Err(_), Err(failure)) = (&commanded, &signalled) {
            self.warn(failure, "");
        }
        commanded.and(signalled)
    }

    fn warn_of(&self, failure: &Failure) {
        self.warn(failure, "; it is tried again");
    }

    fn warn(&self, failure: &Failure, then: &str) {
        self.print.warn(format_args!("{}{then}", failure.words()));
        failure.advice().into_iter().for_each(|hint| self.print.hint(hint));
    }
}

/// Aside, as it may wait for another writer, and the daemon for an answer of ours meanwhile.
async fn write(target: &Arc<Target>, files: Files, modes: Modes) -> Result<(), Failure> {
    let target = target.clone();
    let writing = tokio::task::spawn_blocking(move || target.write(&files, modes));
    writing.await.map_err(|error| Failure::because("the files were not written", &error))?
}

const RETRY_WAIT_STEP: Duration = Duration::from_secs(1);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);

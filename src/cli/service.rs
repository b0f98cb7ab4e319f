//! `dayfly daemon`: the service, as systemd or a container starts it.

use std::{io, path::PathBuf};

use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::{
    daemon::{
        Bound, Config, Daemon, Paths, Rereads, Start, Telemetry, advice, check_pinned,
        config::Overrides,
        log_panics,
        replace::{Step, halt_at},
        sockets::judge,
    },
    sys::{
        activation::{self, Activation},
        files, threads,
    },
};

use super::{
    context::Context,
    exit::Exit,
    failure::{Failure, counted},
    replace,
};

/// `daemon`
#[derive(Debug, Args)]
pub(crate) struct Service {
    /// The configuration file [default: dayfly.toml of the daemon that is meant, if it is there]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The trust domain to issue for, as example.org; wins over the file
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<String>,
    /// Take the place of the daemon that runs, without a client that meets a closed door; start, where none runs
    #[arg(long)]
    replace: bool,
    /// Only print every problem of the configuration
    #[arg(long)]
    check: bool,
    /// Act as on a kernel without these features; for tests
    #[arg(long, value_name = "LIST", value_delimiter = ',', hide = true)]
    without_kernel: Vec<String>,
    /// Stop the process at this step of a replacement; for tests
    #[arg(long, value_enum, value_name = "STEP", hide = true)]
    halt_at: Option<Step>,
}

/// Runs the verb until a signal ends it.
///
/// # Errors
/// Every problem of the configuration, or why the daemon cannot serve.
pub(crate) fn run(context: &Context, service: Service) -> Result<(), Failure> {
    // A SIGHUP of the first moments waits until it can be heard; it would end the process.
    let hangup = SigSet::from(Signal::SIGHUP);
    hangup.thread_block().map_err(|error| Failure::because("signals cannot be held back", &error))?;
    // Before anything else is opened, and before there is a second thread.
    let activation = activation::take().map_err(|error| failed("the daemon cannot start", &error.into()))?;
    let overrides = Overrides { trust_domain: service.trust_domain, without_kernel: service.without_kernel };
    let config = load(context, service.config.clone(), overrides.clone())?;
    if service.check {
        for issuers in [&config.token.user_issuers, &config.authz.issuers] {
            check_pinned(issuers)
                .map_err(|error| failed("the configuration is wrong", &error.into()).ends_with(Exit::Usage))?;
        }
        context.print.say(format_args!(
            "the configuration is right: {} in {}",
            config.trust_domain,
            config.state_dir.display()
        ));
        return Ok(());
    }
    check_home(context)?;
    if let Some(step) = service.halt_at {
        halt_at(step);
    }
    let Activation { sockets, notify } = activation;
    let passed = judge(sockets, &config).map_err(|error| failed("the daemon cannot start", &error.into()))?;
    to_its_end(&config.clone(), async {
        let stop = stop_on_signal()?;
        let rereads = reread_on_signal(context.paths()?, service.config, overrides)?;
        hangup.thread_unblock().map_err(|error| Failure::because("signals cannot be heard", &error))?;
        let taken = if service.replace { replace::take_place(context, &config).await? } else { None };
        let is_taken = taken.is_some();
        let mut start = taken.unwrap_or_default();
        start.notify = notify;
        start.sockets.splice(0..0, passed);
        let bound = bind_over(config, start).await;
        let bound = bound.map_err(|failure| if is_taken { replace::goes_on(failure) } else { failure })?;
        bound.rereading(rereads).run(stop).await.map_err(|error| failed("the daemon ended", &error))
    })
}

/// Whoever may write the folder of `--home` could replace the configuration in it, and the sockets.
///
/// # Errors
/// When it belongs to somebody else than root or this user, or others may write it.
pub(crate) fn check_home(context: &Context) -> Result<(), Failure> {
    match context.named_home()?.filter(|home| home.exists()) {
        Some(home) => files::check_folder(&home).map_err(|error| failed("the daemon cannot start", &error.into())),
        None => Ok(()),
    }
}

/// Reads the configuration.
///
/// # Errors
/// Every problem of it.
pub(crate) fn load(context: &Context, file: Option<PathBuf>, overrides: Overrides) -> Result<Config, Failure> {
    Config::load(file.as_deref(), &context.paths()?, overrides).map_err(|problems| {
        let words = format!("the configuration has {}", counted(problems.count(), "problem", "problems"));
        let failure = Failure::new(Exit::Usage, words);
        failure
            .details(problems.to_string().lines())
            .hint("mend the configuration; `dayfly daemon --check` reads it again without a start")
    })
}

/// Serves to its end, on threads of its own. One that still looks at a process which keeps it waiting does not hold up
/// the end: it goes with the daemon.
///
/// # Errors
/// When the system has no threads, and what `service` says.
pub(crate) fn to_its_end(config: &Config, service: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    log_panics();
    let workers = usize::try_from(config.runtime.worker_threads).unwrap_or(1);
    let without = |error| {
        let failure = Failure::because("the daemon cannot start its threads", &error);
        failure.hint(
            "raise the limit of processes and threads: TasksMax= of its unit, pids.max of its cgroup, or ulimit -u",
        )
    };
    // A runtime that gets some of its threads and not all panics, and waits for those for ever.
    threads::are_to_be_had(workers.saturating_add(THREADS_BESIDE)).map_err(without)?;
    let build = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(workers).event_interval(SOCKETS_EVERY).enable_all().build()
    };
    let gone = || Err(io::ErrorKind::WouldBlock.into());
    let runtime = threads::quietly(build).unwrap_or_else(gone).map_err(without)?;
    let served = runtime.block_on(service);
    runtime.shutdown_background();
    served
}

/// After so many turns the sockets are asked who has come. While a few callers keep all threads busy, the others wait for
/// that long before anybody knows of them: with tokio's 61 for 15 milliseconds where each turn takes a quarter of one.
const SOCKETS_EVERY: u32 = 4;

/// What a start needs beside the workers: the audit log, its examiner and the database.
const THREADS_BESIDE: usize = 3;

/// Begins to log, and opens state and sockets.
///
/// # Errors
/// Why the daemon cannot serve.
pub(crate) async fn bind(config: Config) -> Result<Bound, Failure> {
    bind_over(config, Start::default()).await
}

async fn bind_over(config: Config, start: Start) -> Result<Bound, Failure> {
    let telemetry =
        Telemetry::start(config.log).map_err(|error| Failure::because("the log cannot be begun", &error))?;
    Daemon::bind_over(config, Some(telemetry), start).await.map_err(|error| failed("the daemon cannot start", &error))
}

/// Why the daemon failed, with all causes, and what to do about it.
pub(crate) fn failed(words: &str, error: &anyhow::Error) -> Failure {
    let failure = Failure::because(words, error.as_ref());
    match advice(error) {
        Some(advice) => failure.hint(advice),
        None => failure,
    }
}

/// The configuration, read again at each SIGHUP. Signals that come while it is read are one.
///
/// # Errors
/// When signals cannot be heard.
fn reread_on_signal(paths: Paths, file: Option<PathBuf>, overrides: Overrides) -> Result<Rereads, Failure> {
    let mut hangup =
        signal(SignalKind::hangup()).map_err(|error| Failure::because("signals cannot be heard", &error))?;
    let (sender, rereads) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let (paths, file, overrides) = (paths.clone(), file.clone(), overrides.clone());
            let reading = threads::aside(move || Config::load(file.as_deref(), &paths, overrides));
            match reading.await {
                Ok(read) => {
                    if sender.send(read).await.is_err() {
                        return;
                    }
                }
                Err(_) => tracing::error!("the system gives no thread to read the configuration again"),
            }
        }
    });
    Ok(rereads)
}

/// A token that SIGINT and SIGTERM cancel. A second signal ends the process at once.
///
/// # Errors
/// When signals cannot be heard.
pub(crate) fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::because("signals cannot be heard", &error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancel.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(Exit::Interrupted.code().into());
    });
    Ok(stop)
}

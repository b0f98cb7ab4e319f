//! `dayfly fetch x509`: what this process is, shown, written to files, and kept fresh.

mod command;
mod watch;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use crate::{
    pb::workload::{X509svidRequest, X509svidResponse},
    spiffe::x509::Bundle,
    sys::Clock,
};

use super::{
    context::Context,
    exit::Exit,
    failure::Failure,
    identity::{Identity, Update},
    link, moment,
};
use watch::Put;
use write::Target;
pub(super) use write::certificates;

/// What can be fetched.
#[derive(Debug, Subcommand)]
pub(crate) enum FetchVerb {
    /// X.509-SVIDs of this process, as any workload gets them
    X509(FetchX509),
}

/// `fetch x509`
#[derive(Debug, Args)]
pub(crate) struct FetchX509 {
    /// Write svid.pem, svid_key.pem and bundle.pem there; DIR becomes a symlink to a folder beside it, and is swapped by
    /// one rename: who opens it once and reads all three never gets a pair that does not match
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Write svid_combined.pem too: certificates and key in one file
    #[arg(long, requires = "write")]
    combined: bool,
    /// Stay, and do it again at each update; what cannot be written is told and tried again
    #[arg(long)]
    watch: bool,
    /// Run CMD (by `sh -c`) after each write; at most a minute each time
    #[arg(long, value_name = "CMD", requires = "write")]
    exec: Option<String>,
    /// Of several identities the one with this SPIFFE ID; otherwise the default one is written
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<String>,
    /// Of several identities the one with this hint
    #[arg(long, value_name = "TEXT", conflicts_with = "spiffe_id")]
    hint: Option<String>,
    /// The workload socket, as a path or as unix:///PATH [default: SPIFFE_ENDPOINT_SOCKET, then the daemon's]
    #[arg(long, value_name = "ADDRESS")]
    socket: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// When there is no identity, no daemon, or the files cannot be written. One that stays goes on trying to write.
pub(crate) async fn run(context: &Context, FetchVerb::X509(fetch): FetchVerb) -> Result<(), Failure> {
    let target = fetch.write.as_deref().map(Target::new).transpose()?.map(Arc::new);
    let (socket, wanted) = (context.workload_socket(fetch.socket.as_deref())?, Wanted::of(&fetch));
    let mut stream = open(&socket).await?;
    let update = Arc::new(next(&mut stream).await?);
    let put = async |update: &Arc<Update>| put(context, &fetch, target.as_ref(), &wanted, update).await;
    if !fetch.watch {
        return match put(&update).await? {
            Put::Done => Ok(()),
            Put::Again(failure) => Err(failure),
        };
    }
    // Of what comes while one is put, one waits here, and the rest in the stream.
    let (sender, updates) = mpsc::channel(1);
    let warn = |failure: &Failure| {
        context.print.warn(format_args!("{}; it is tried again", failure.words()));
    };
    tokio::select! {
        () = follow(context, &socket, stream, update, sender) => Ok(()),
        ended = watch::deliver(updates, put, warn) => ended,
    }
}

/// Hands on each update of the stream, and opens it again when it ends.
async fn follow(
    context: &Context,
    socket: &Path,
    mut stream: Streaming<X509svidResponse>,
    mut update: Arc<Update>,
    updates: mpsc::Sender<Arc<Update>>,
) {
    while updates.send(update).await.is_ok() {
        update = Arc::new(match next(&mut stream).await {
            Ok(update) => update,
            Err(failure) => {
                context.print.warn(failure.words());
                let (again, update) = reopen(context, socket).await;
                stream = again;
                update
            }
        });
    }
}

/// One update: shown, or written and followed by the command.
async fn put(
    context: &Context,
    fetch: &FetchX509,
    target: Option<&Arc<Target>>,
    wanted: &Wanted,
    update: &Arc<Update>,
) -> Result<Put, Failure> {
    let chosen = wanted.choose(update)?;
    let Some(target) = target else {
        return show(context, fetch, update).map(|()| Put::Done);
    };
    if let Err(failure) = write(target, fetch.combined, wanted, update).await {
        return Ok(Put::Again(failure));
    }
    let end = moment::text(moment::unix(chosen.leaf.not_after));
    context.print.say(format_args!("wrote {}: {} until {end}", target.path().display(), chosen.id));
    let Some(command) = &fetch.exec else {
        return Ok(Put::Done);
    };
    match command::run(command).await {
        // A service that does not reload today may do so at the next renewal; the files are right.
        Err(failure) if fetch.watch => context.print.warn(failure.words()),
        result => result?,
    }
    Ok(Put::Done)
}

/// Aside, as it may wait for another writer, and the daemon for an answer of ours meanwhile.
async fn write(target: &Arc<Target>, combined: bool, wanted: &Wanted, update: &Arc<Update>) -> Result<(), Failure> {
    let (target, wanted, update) = (target.clone(), wanted.clone(), update.clone());
    let writing =
        tokio::task::spawn_blocking(move || target.write(wanted.choose(&update)?, &update.federated, combined));
    writing.await.map_err(|error| Failure::because("the files were not written", &error))?
}

async fn open(socket: &Path) -> Result<Streaming<X509svidResponse>, Failure> {
    let mut client = link::workload(socket).await?;
    let call = tokio::time::timeout(FIRST_WAIT, client.fetch_x509svid(X509svidRequest {}));
    match call.await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(link::workload_refusal(&status)),
        Err(_) => {
            Err(Failure::new(Exit::Unreachable, format!("the daemon did not answer within {} s", FIRST_WAIT.as_secs())))
        }
    }
}

async fn next(stream: &mut Streaming<X509svidResponse>) -> Result<Update, Failure> {
    let ended = || Status::new(Code::Unavailable, "it ended the stream");
    let message = stream.message().await.and_then(|message| message.ok_or_else(ended));
    Update::read(message.map_err(|status| link::workload_refusal(&status))?, Clock::system().now())
}

/// Until the daemon, or the identity, is there again. Waits longer each time, as the SPIFFE libraries do.
async fn reopen(context: &Context, socket: &Path) -> (Streaming<X509svidResponse>, Update) {
    let (mut said, mut wait) = (String::new(), RETRY_WAIT_STEP);
    loop {
        tokio::time::sleep(wait).await;
        wait = (wait + RETRY_WAIT_STEP).min(RETRY_WAIT_MAX);
        let again = async {
            let mut stream = open(socket).await?;
            let update = next(&mut stream).await?;
            Ok::<_, Failure>((stream, update))
        };
        match again.await {
            Ok(again) => return again,
            Err(failure) if failure.words() == said => {}
            Err(failure) => {
                context.print.warn(failure.words());
                said = failure.words().to_owned();
            }
        }
    }
}

/// Which of several identities is meant.
#[derive(Clone)]
enum Wanted {
    First,
    Id(String),
    Hint(String),
}

impl Wanted {
    fn of(fetch: &FetchX509) -> Self {
        match (&fetch.spiffe_id, &fetch.hint) {
            (Some(id), _) => Self::Id(id.clone()),
            (None, Some(hint)) => Self::Hint(hint.clone()),
            (None, None) => Self::First,
        }
    }

    fn choose<'u>(&self, update: &'u Update) -> Result<&'u Identity, Failure> {
        let found = update.identities.iter().find(|identity| match self {
            Self::First => true,
            Self::Id(id) => identity.id.as_str() == id,
            Self::Hint(hint) => identity.hint == *hint,
        });
        found.ok_or_else(|| {
            let has: Vec<_> = update.identities.iter().map(|identity| identity.id.to_string()).collect();
            let wanted = match self {
                Self::Id(id) => format!("is not {id}"),
                Self::Hint(hint) => format!("has no identity with the hint `{hint}`"),
                Self::First => "has no identity".into(),
            };
            Failure::new(Exit::Missing, format!("this process {wanted}")).hint(format!("it is {}", has.join(", ")))
        })
    }
}

fn show(context: &Context, fetch: &FetchX509, update: &Update) -> Result<(), Failure> {
    let print = &context.print;
    let shown = shown(fetch, update);
    if print.is_json() {
        let document = json!({
            "svids": shown.iter().map(|identity| json!({
                "spiffe_id": identity.id.as_str(),
                "hint": identity.hint,
                "serial": identity.serial(),
                "not_before": moment::unix(identity.leaf.not_before),
                "not_after": moment::unix(identity.leaf.not_after),
                "x509_svid": certificates(&identity.chain),
                "bundle": certificates(identity.bundle.authorities()),
            })).collect::<Vec<_>>(),
            "federated_bundles": update.federated.iter().map(federated).collect::<serde_json::Map<_, _>>(),
        });
        return if fetch.watch { print.json_line(&document) } else { print.json(&document) };
    }
    let now = Clock::system().now();
    if fetch.watch {
        return shown.iter().try_for_each(|identity| {
            let end = moment::text_and_distance(moment::unix(identity.leaf.not_after), now);
            print.line(format_args!("{}  {}  until {end}", identity.id, identity.serial()))
        });
    }
    print.table(
        ["SPIFFE ID", "UNTIL", "SERIAL", "HINT"],
        shown.iter().map(|identity| {
            let end = moment::text_and_distance(moment::unix(identity.leaf.not_after), now);
            [identity.id.to_string(), end, identity.serial(), identity.hint.clone()]
        }),
    )
}

fn shown<'u>(fetch: &FetchX509, update: &'u Update) -> Vec<&'u Identity> {
    match Wanted::of(fetch) {
        Wanted::First => update.identities.iter().collect(),
        wanted => wanted.choose(update).into_iter().collect(),
    }
}

fn federated(bundle: &Bundle) -> (String, serde_json::Value) {
    (bundle.trust_domain().id(), certificates(bundle.authorities()).into())
}

/// Attestation may hash a large program; the daemon itself gives up after 30 s.
const FIRST_WAIT: Duration = Duration::from_secs(40);
const RETRY_WAIT_STEP: Duration = Duration::from_secs(1);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);

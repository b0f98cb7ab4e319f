//! What the demo's processes do: `orders` and `ledger` take their identities and talk, `stranger` is refused, `tickets` is a
//! tool. `reporter`, an agent, is the ordinary program.
//!
//! Each tells what happens in lines of JSON on stdout, and ends when its stdin does: so none outlives the demo.

use std::{
    io::{self, Read as _},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tonic::Streaming;

use crate::{
    cli::{
        failure::Failure,
        identity::{Identity, Update},
        link,
        print::{Output, Printer},
    },
    pb::workload::{X509svidRequest, X509svidResponse},
    spiffe::Id,
    sys::Clock,
};

use super::{tls::Party, tool};

/// `demo-role`
#[derive(Debug, Args)]
pub(crate) struct Role {
    part: Part,
    /// The workload socket.
    #[arg(long, required_unless_present = "authz")]
    socket: Option<PathBuf>,
    /// Where a tool has requests judged.
    #[arg(long, requires = "log")]
    authz: Option<PathBuf>,
    /// The tool's log.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Whom to talk to.
    #[arg(long)]
    peer: Option<Id>,
    /// Where it listens.
    #[arg(long)]
    port: Option<u16>,
}

/// Who somebody is in the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// Calls.
    Orders,
    /// Is called.
    Ledger,
    /// Is nobody.
    Stranger,
    /// Is a tool.
    Tickets,
    /// Is an agent.
    Reporter,
}

impl Part {
    pub(super) const ALL: [Self; 5] = [Self::Orders, Self::Ledger, Self::Stranger, Self::Tickets, Self::Reporter];
}

/// What a process of the demo tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// It got its identity, or the renewed one.
    Identity { id: String, serial: String },
    /// It waits for callers.
    Listening { port: u16 },
    /// It has talked; the first time.
    Talked { peer: String },
    /// The first connection went on after the renewal, and so many lines went over it, all answered.
    WentOn { lines: u64 },
    /// A new connection shows the renewed certificate: this serial was seen at the other end.
    Shown { serial: String },
    /// It is refused.
    Refused { words: String },
}

impl Part {
    /// Its name, and that of its program.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Ledger => "ledger",
            Self::Stranger => "stranger",
            Self::Tickets => "tickets",
            Self::Reporter => "reporter",
        }
    }
}

/// Plays the part until stdin ends.
///
/// # Errors
/// When something does not go as it should.
pub(crate) async fn play(role: Role) -> Result<(), Failure> {
    let print = Printer::new(Output::Json);
    let ended = end_of_stdin();
    tokio::select! {
        _ = ended => Ok(()),
        outcome = act(&print, role) => outcome,
    }
}

async fn act(print: &Printer, role: Role) -> Result<(), Failure> {
    let Role { part, socket, peer, port, authz, log } = role;
    if let (Some(authz), Some(log)) = (authz, log) {
        return tool::serve(print, &authz, &log).await;
    }
    let Some(socket) = socket else { return Err(Failure::new(crate::cli::exit::Exit::Usage, "no socket")) };
    let mut client = link::workload(&socket).await?;
    let mut stream = match client.fetch_x509svid(X509svidRequest {}).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            print.json_line(&Event::Refused { words: status.message().to_owned() })?;
            return std::future::pending().await;
        }
    };
    let first = next(print, &mut stream).await?;
    let (sender, present) = watch::channel(first);
    let (broken, break_) = oneshot::channel();
    if let Some(peer) = peer {
        let (party, print, present) = (Party::new(present.clone(), peer), *print, present);
        // Blocking reads and writes keep the TLS code to one small file; the thread ends with the process.
        thread::spawn(move || {
            let outcome = match port {
                Some(port) => call(&print, &party, &present, port),
                None => serve(&print, &party),
            };
            broken.send(outcome).ok();
        });
    }
    tokio::select! {
        outcome = renew(print, &mut stream, &sender) => outcome,
        Ok(Err(error)) = break_ => Err(Failure::because(format_args!("{} cannot talk", part.name()), &error)),
    }
}

async fn renew(
    print: &Printer,
    stream: &mut Streaming<X509svidResponse>,
    sender: &watch::Sender<Arc<Identity>>,
) -> Result<(), Failure> {
    loop {
        sender.send_replace(next(print, stream).await?);
    }
}

async fn next(print: &Printer, stream: &mut Streaming<X509svidResponse>) -> Result<Arc<Identity>, Failure> {
    let lost = || Failure::new(crate::cli::exit::Exit::Failed, "the stream ended");
    let message = stream.message().await.map_err(|status| link::workload_refusal(&status))?.ok_or_else(lost)?;
    let update = Update::read(message, Clock::system().now())?;
    let identity = update.identities.into_iter().next().ok_or_else(lost)?;
    print.json_line(&Event::Identity { id: identity.id.to_string(), serial: identity.serial() })?;
    Ok(Arc::new(identity))
}

/// Answers every line with the serial that the caller has shown.
fn serve(print: &Printer, party: &Party) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    tell(print, &Event::Listening { port: listener.local_addr()?.port() })?;
    for socket in listener.incoming() {
        let (party, socket) = (party.clone(), socket?);
        thread::spawn(move || -> io::Result<()> {
            let mut caller = party.accept(socket)?;
            let serial = hex(&caller.peer.serial);
            while let Some(line) = caller.hear()? {
                caller.say(&format!("{line}: booked for {serial}"))?;
            }
            Ok(())
        });
    }
    Ok(())
}

/// Talks over one connection, beyond the renewal of its own certificate; then once over a second one.
fn call(print: &Printer, party: &Party, present: &watch::Receiver<Arc<Identity>>, port: u16) -> io::Result<()> {
    let first = present.borrow().serial();
    let mut ledger = party.connect(port)?;
    let mut lines = 0;
    let mut ask = |lines: u64| -> io::Result<()> {
        let order = format!("order {lines}");
        ledger.say(&order)?;
        match ledger.hear()? {
            Some(answer) if answer == format!("{order}: booked for {first}") => Ok(()),
            other => Err(io::Error::other(format!("the answer to `{order}` was {other:?}"))),
        }
    };
    ask(lines)?;
    tell(print, &Event::Talked { peer: party.expected().to_string() })?;
    while present.borrow().serial() == first {
        thread::sleep(PACE);
        lines += 1;
        ask(lines)?;
    }
    lines += 1;
    ask(lines)?;
    tell(print, &Event::WentOn { lines: lines + 1 })?;

    let mut again = party.connect(port)?;
    again.say("order")?;
    let answer = again.hear()?.unwrap_or_default();
    let serial = answer.rsplit(' ').next().unwrap_or_default().to_owned();
    tell(print, &Event::Shown { serial })
}

fn tell(print: &Printer, event: &Event) -> io::Result<()> {
    print.json_line(event).map_err(|failure| io::Error::other(failure.words().to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Resolves when the demo closes its end of the pipe, or is gone.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    // A thread of its own: a runtime would wait for its blocking read when the process ends for another reason.
    thread::spawn(move || {
        io::stdin().lock().read_to_end(&mut Vec::new()).ok();
        ended.send(()).ok();
    });
    end
}

const PACE: Duration = Duration::from_millis(50);

//! `dayfly demo`: the whole story with real processes, in a throw-away folder.
//!
//! Two workloads prove who they are by what they run and as whom, take short-lived certificates, and talk over mutual
//! TLS; a third process, which nobody registered, is refused. An agent calls a tool with an access token, and a thief
//! finds that in the tool's log for nothing. Every step is checked, and what does not hold fails.

mod role;
mod stage;
mod theft;
mod tls;
mod tool;

use std::{fmt, time::Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::pb::admin::{CreateEntryRequest, Entry, ExplainRequest};

use super::{
    context::Context,
    exit::Exit,
    failure::Failure,
    link::{Admin, answer},
    moment,
};
use role::{Event, Part};
use stage::{Actor, Stage};

pub(crate) use role::{Role, play};

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the folder behind, to look into it
    #[arg(long)]
    keep: bool,
}

/// Plays the story, and cleans up whatever happened.
///
/// # Errors
/// When something did not hold.
pub(crate) async fn run(context: &Context, demo: Demo) -> Result<(), Failure> {
    let mut teller = Teller::new(context);
    let interrupted = interruption()?;
    let mut stage = Stage::new(demo.keep)?;
    let outcome = tokio::select! {
        outcome = story(&mut stage, &mut teller) => outcome,
        () = interrupted => {
            context.print.say("interrupted");
            Err(Failure::told(Exit::Interrupted))
        }
    };
    if demo.keep {
        context.print.say(format_args!("left behind: {}", stage.dir().display()));
    }
    stage.clear().await;
    outcome.and_then(|()| teller.end())
}

async fn story(stage: &mut Stage, teller: &mut Teller<'_>) -> Result<(), Failure> {
    teller.step(format_args!(
        "a throw-away folder, {}, with five programs: orders, ledger, stranger, tickets, reporter",
        stage.dir().display()
    ))?;
    let mut admin = stage.start_daemon(TRUST_DOMAIN).await?;
    teller.step(format_args!("the daemon serves the trust domain {TRUST_DOMAIN}"))?;

    let uid = nix::unistd::geteuid();
    for part in [Part::Orders, Part::Ledger] {
        answer(admin.entries.create(CreateEntryRequest { entry: Some(entry(stage, part, uid.as_raw())) })).await?;
    }
    teller.step(format_args!(
        "two entries: who runs as uid {uid} from bin/orders is {}, and so for ledger",
        id(Part::Orders)
    ))?;

    let mut ledger = stage.start(Part::Ledger, &["--peer", &id(Part::Orders)])?;
    identity(stage, &mut ledger, Part::Ledger).await?;
    let Event::Listening { port } = ledger.tells(stage).await? else {
        return Err(unexpected("ledger did not listen"));
    };
    teller.step(format_args!(
        "ledger proved itself: {}; a certificate for {}",
        id(Part::Ledger),
        moment::ttl_text(TTL_SECONDS)
    ))?;
    let mut orders = stage.start(Part::Orders, &["--peer", &id(Part::Ledger), "--port", &port.to_string()])?;
    let first = identity(stage, &mut orders, Part::Orders).await?;
    teller.step(format_args!("orders proved itself: {}; its key was never on a disk", id(Part::Orders)))?;
    match orders.tells(stage).await? {
        Event::Talked { peer } if peer == id(Part::Ledger) => {}
        other => return Err(unexpected(format!("orders did not talk to ledger: {other:?}"))),
    }
    teller.step("orders and ledger talk over TLS 1.3, each sure who the other is")?;

    refusal(stage, &mut admin, teller).await?;
    let _tickets = theft::chapter(stage, &mut admin, teller, uid.as_raw()).await?;

    let second = identity(stage, &mut orders, Part::Orders).await?;
    let Event::WentOn { lines } = after_renewals(stage, &mut orders).await? else {
        return Err(unexpected("the connection did not go on"));
    };
    if first == second {
        return Err(unexpected("the renewed certificate is the old one"));
    }
    teller.step(format_args!("renewed in good time; the connection lives on, {lines} lines asked and answered"))?;
    match after_renewals(stage, &mut orders).await? {
        Event::Shown { serial } if serial != first && !serial.is_empty() => {}
        other => return Err(unexpected(format!("the renewed certificate was not shown: {other:?}"))),
    }
    teller.step("a new connection shows the renewed certificate")
}

/// A process that is nobody's gets nothing, and an admin sees why.
async fn refusal(stage: &mut Stage, admin: &mut Admin, teller: &mut Teller<'_>) -> Result<(), Failure> {
    let mut stranger = stage.start(Part::Stranger, &[])?;
    match stranger.tells(stage).await? {
        Event::Refused { words } => {
            teller.step(format_args!("stranger, the same user with another program, is refused: {words}"))?
        }
        other => return Err(unexpected(format!("the stranger was not refused: {other:?}"))),
    }
    let seen = answer(admin.control.explain(ExplainRequest { pid: stranger.pid })).await?;
    let lacks = format!("unix:path:{}", stage.program(Part::Orders).display());
    let near =
        seen.near.iter().find(|near| near.entry.as_ref().is_some_and(|entry| entry.spiffe_id == id(Part::Orders)));
    match near {
        Some(near) if seen.matching.is_empty() && near.missing == [lacks.clone()] => {
            teller.step(format_args!("explain says what it lacks for {}: {lacks}", id(Part::Orders)))
        }
        _ => Err(unexpected("explain does not say what the stranger lacks")),
    }
}

/// Waits for an identity; answers its serial.
async fn identity(stage: &Stage, actor: &mut Actor, part: Part) -> Result<String, Failure> {
    match actor.tells(stage).await? {
        Event::Identity { id: got, serial } if got == id(part) => Ok(serial),
        Event::Refused { words } => Err(stage.silent(&format!("{} was refused: {words}", part.name()))),
        other => Err(unexpected(format!("{} got something else: {other:?}", part.name()))),
    }
}

/// What is told next that is not one more renewal.
async fn after_renewals(stage: &Stage, actor: &mut Actor) -> Result<Event, Failure> {
    loop {
        match actor.tells(stage).await? {
            Event::Identity { .. } => {}
            other => return Ok(other),
        }
    }
}

fn entry(stage: &Stage, part: Part, uid: u32) -> Entry {
    Entry {
        spiffe_id: id(part),
        selectors: vec![format!("unix:uid:{uid}"), format!("unix:path:{}", stage.program(part).display())],
        x509_ttl_seconds: TTL_SECONDS,
        ..Entry::default()
    }
}

fn id(part: Part) -> String {
    format!("spiffe://{TRUST_DOMAIN}/{}", part.name())
}

fn unexpected(words: impl Into<String>) -> Failure {
    Failure::new(Exit::Failed, words)
}

/// Resolves when somebody wants the demo to end.
fn interruption() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::because("signals cannot be heard", &error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// Tells the steps, and how long each took.
struct Teller<'c> {
    context: &'c Context,
    begun: Instant,
    last: Instant,
    steps: Vec<Value>,
}

impl<'c> Teller<'c> {
    fn new(context: &'c Context) -> Self {
        let now = Instant::now();
        Self { context, begun: now, last: now, steps: Vec::new() }
    }

    /// This has happened, and held.
    fn step(&mut self, words: impl fmt::Display) -> Result<(), Failure> {
        let took = self.last.elapsed();
        self.last = Instant::now();
        self.steps.push(json!({ "step": words.to_string(), "seconds": took.as_secs_f64() }));
        match self.context.print.is_json() {
            true => Ok(()),
            false => self.context.print.line(format_args!("{:>7.0} ms  {words}", took.as_secs_f64() * 1e3)),
        }
    }

    fn end(self) -> Result<(), Failure> {
        let took = self.begun.elapsed().as_secs_f64();
        match self.context.print.is_json() {
            true => self.context.print.json(&json!({ "steps": self.steps, "seconds": took, "held": true })),
            false => self.context.print.line(format_args!("{took:>8.1} s  all of it held, and nothing is left behind")),
        }
    }
}

const TRUST_DOMAIN: &str = "demo.test";
/// Short, so that a renewal can be seen.
const TTL_SECONDS: u64 = 6;

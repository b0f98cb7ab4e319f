//! `dayfly daemon --replace`: a new process takes the place of the one that runs, step by step.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    daemon::{
        Config, Start, advice_of,
        replace::{Coming, Error, Offer, is_running, look_first},
    },
    pb::admin::{ReplaceRequest, ReplaceResponse},
};

use super::{
    context::Context,
    exit::Exit,
    failure::{Failure, whole},
    link::{Admin, answer},
    service::failed,
};

/// Asks the running daemon for its sockets. `None` where no daemon runs, or it has died meanwhile: then this is a start
/// as any other.
///
/// # Errors
/// Why its place cannot be taken; it goes on.
pub(super) async fn take_place(context: &Context, config: &Config) -> Result<Option<Start>, Failure> {
    let mut steps = Steps { context, since: Instant::now() };
    let runs = is_running(config).map_err(|error| failed("the daemon cannot start", &error))?;
    if !runs {
        context.print.say("no daemon runs on this state; this is a start as any other");
        return Ok(None);
    }
    look_first(config).map_err(|error| goes_on(failed("the daemon cannot start", &error)))?;
    let offer = match ask(config).await {
        Ok(offer) => offer,
        Err(failure) if failure.exit() == Exit::Unreachable && has_died(config).await => {
            context.print.warn("the running daemon has died before it answered; this is a start as any other");
            return Ok(None);
        }
        Err(failure) => return Err(failure),
    };
    let coming = Coming::to(config, &offer.1).await.map_err(|error| refused(&error))?;
    steps.done(format_args!(
        "pid {} (dayfly {}) is to be replaced; configuration and places are right",
        offer.0.pid, offer.0.version
    ));
    let Some(mut start) = coming.receive().await.map_err(|error| refused(&error))? else {
        context.print.warn("the running daemon has died before it handed over; this is a start as any other");
        return Ok(None);
    };
    steps.done(format_args!("it has closed its state and handed over {} sockets", start.sockets.len()));
    let (print, since) = (context.print, steps.since);
    let began = Box::new(move || print.say(format_args!("{:>8}  serving in its place", millis(since.elapsed()))));
    start.began = Some(began);
    Ok(Some(start))
}

/// Whether nobody has the state any more, a moment after the daemon did not answer.
async fn has_died(config: &Config) -> bool {
    for _ in 0..LOOKS {
        if is_running(config).is_ok_and(|runs| !runs) {
            return true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    false
}

/// A process that was killed lets go of what it had within milliseconds.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(25);

async fn ask(config: &Config) -> Result<(ReplaceResponse, Offer), Failure> {
    let mut admin = Admin::connect_to(&config.admin_socket).await?;
    let request = ReplaceRequest { version: env!("CARGO_PKG_VERSION").into() };
    let said = answer(admin.control.replace(request)).await?;
    let offer = Offer {
        trust_domain: said.trust_domain.clone(),
        state_dir: PathBuf::from(&said.state_dir),
        schema: said.schema,
        protocol: said.protocol,
        layout: said.layout.clone(),
    };
    Ok((said, offer))
}

fn refused(error: &Error) -> Failure {
    let exit = match error {
        Error::TrustDomain { .. } | Error::State { .. } | Error::Layout { .. } | Error::Store(_) => Exit::Usage,
        _ => Exit::Failed,
    };
    let hint = match error {
        Error::TrustDomain { theirs, .. } => format!("set trust_domain to {theirs}, or stop that daemon first"),
        Error::State { theirs, .. } => format!("set state_dir to {}, or stop that daemon first", theirs.display()),
        Error::Layout { theirs, .. } => {
            format!("set authority.layout to {theirs}, or give the new layout a state_dir of its own")
        }
        Error::Store(store) => advice_of(store).unwrap_or_else(|| STOP_IT.to_owned()),
        Error::Protocol { .. } => STOP_IT.to_owned(),
        _ => "its log says what it saw; try again, or stop it and start this one".to_owned(),
    };
    goes_on(Failure::new(exit, format!("its place cannot be taken: {}", whole(error))).hint(hint))
}

/// The person must know that nothing was lost.
pub(super) fn goes_on(failure: Failure) -> Failure {
    failure.details(["the daemon that runs goes on"])
}

const STOP_IT: &str = "stop that daemon, then start this one";

/// What is done, and how long it took since the beginning.
struct Steps<'c> {
    context: &'c Context,
    since: Instant,
}

impl Steps<'_> {
    fn done(&mut self, what: impl std::fmt::Display) {
        self.context.print.say(format_args!("{:>8}  {what}", millis(self.since.elapsed())));
    }
}

fn millis(length: Duration) -> String {
    format!("{} ms", length.as_millis())
}

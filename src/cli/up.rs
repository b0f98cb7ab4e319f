//! `dayfly up`: a daemon for the person at the terminal, in the foreground, with that person registered.
//!
//! It runs as the person's own uid, and so do the workloads: they can read its keys. It is for development, and says so.

use std::{fs, io, path::Path};

use clap::Args;
use nix::{
    sys::utsname::uname,
    unistd::{Uid, User, geteuid},
};

use crate::{
    daemon::{
        Config, Paths,
        config::{LogLevel, Overrides},
    },
    pb::admin::{CreateEntryRequest, Entry, ListEntriesRequest},
    spiffe::{Id, TrustDomain},
    sys::files,
};

use super::{
    context::Context,
    endpoint::Endpoint,
    exit::Exit,
    failure::Failure,
    link::{Admin, answer},
    service,
};

/// `up`
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The trust domain; fixed at the first start, when it is this host's name if not given
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<String>,
}

/// Runs the verb until a signal ends it.
///
/// # Errors
/// Why there is no daemon, or none any more.
pub(crate) fn run(context: &Context, up: Up) -> Result<(), Failure> {
    let paths = context.paths()?;
    let user = user_name()?;
    service::check_home(context)?;
    if !paths.config.exists() {
        begin(&paths, up.trust_domain.clone())?;
        context.print.say(format_args!("wrote {}", paths.config.display()));
    }
    let overrides = Overrides { trust_domain: up.trust_domain, ..Overrides::default() };
    let mut config = service::load(context, None, overrides)?;
    // At a terminal a line for each change is noise; `dayfly log info` brings it back.
    if config.log.level == LogLevel::Info {
        config.log.level = LogLevel::Warn;
    }
    let id = user_id(&config.trust_domain, &user)?;
    service::to_its_end(&config.clone(), serve(context, config, id))
}

async fn serve(context: &Context, config: Config, id: Id) -> Result<(), Failure> {
    let stop = service::stop_on_signal()?;
    let (admin_socket, workload_socket) =
        (config.admin_socket.clone(), config.workload_sockets.first().cloned().unwrap_or_default());
    let bound = service::bind(config).await?;
    let running = tokio::spawn(bound.run(stop.clone()));
    let registered = register(&admin_socket, &id).await;
    if registered.is_ok() {
        welcome(context, &id, &workload_socket);
    } else {
        stop.cancel();
    }
    let ended = running.await.map_err(|error| Failure::because("the daemon broke", &error))?;
    registered?;
    ended.map_err(|error| service::failed("the daemon ended", &error))
}

/// Registers the person by uid, unless an entry for that ID is there: it may have been changed by hand.
async fn register(socket: &Path, id: &Id) -> Result<(), Failure> {
    let mut admin = Admin::connect_to(socket).await?;
    let filter = ListEntriesRequest { spiffe_id: id.to_string(), count_only: true, ..ListEntriesRequest::default() };
    if answer(admin.entries.list(filter)).await?.total > 0 {
        return Ok(());
    }
    let entry =
        Entry { spiffe_id: id.to_string(), selectors: vec![format!("unix:uid:{}", geteuid())], ..Entry::default() };
    answer(admin.entries.create(CreateEntryRequest { entry: Some(entry) })).await.map(|_| ())
}

fn welcome(context: &Context, id: &Id, workload_socket: &Path) {
    let home = context.home.as_deref().map(|home| format!(" --home {}", home.display())).unwrap_or_default();
    let endpoint = Endpoint::Unix(workload_socket.to_owned());
    context.print.say(format_args!(
        "\
the daemon runs; your programs are {id}

try in another terminal:
  export SPIFFE_ENDPOINT_SOCKET={endpoint}
  dayfly fetch x509                 # who you are
  dayfly fetch x509 --write certs   # the same as files
  dayfly{home} explain --pid $$           # what the daemon sees of your shell
  dayfly{home} entry add spiffe://{td}/web -s unix:uid:{uid} -s unix:path:/usr/bin/python3

for development: it runs as you, and so can every program of yours read its keys and use its admin socket
^C ends it",
        td = id.trust_domain(),
        uid = geteuid(),
    ));
}

/// The first start: fixes the trust domain in the configuration file, since a host's name may change.
fn begin(paths: &Paths, given: Option<String>) -> Result<(), Failure> {
    let name = match given {
        Some(name) => name,
        None => host_name()?,
    };
    let domain =
        TrustDomain::parse(&name).and_then(|domain| domain.usable_as_own().map(|()| domain)).map_err(|error| {
            Failure::new(Exit::Usage, format!("`{name}` cannot be a trust domain: {error}"))
                .hint("choose one: dayfly up --trust-domain NAME")
        })?;
    let text = format!(
        "# Written by the first `dayfly up`. Once state exists, the trust domain cannot be changed.\ntrust_domain = \"{domain}\"\n"
    );
    let write = || -> io::Result<()> {
        if let Some(folder) = paths.config.parent() {
            fs::create_dir_all(folder)?;
        }
        files::write_private(&paths.config, text.as_bytes()).map_err(io::Error::other)
    };
    write().map_err(|error| Failure::because(format_args!("{} cannot be written", paths.config.display()), &error))
}

/// The host's name as a trust domain is written; what else is wrong with it is told, not mended.
fn host_name() -> Result<String, Failure> {
    let names = uname().map_err(|error| Failure::because("this host's name cannot be read", &error))?;
    Ok(names.nodename().to_string_lossy().to_lowercase())
}

fn user_name() -> Result<String, Failure> {
    let uid: Uid = geteuid();
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(user.name),
        _ => Err(Failure::new(Exit::Failed, format!("uid {uid} has no name on this host"))
            .hint("run `dayfly daemon` and register with `dayfly entry add … -s unix:uid:N`")),
    }
}

fn user_id(domain: &TrustDomain, user: &str) -> Result<Id, Failure> {
    Id::join(domain, ["user", user]).map_err(|error| {
        Failure::new(Exit::Usage, format!("the user name `{user}` cannot be part of a SPIFFE ID: {error}"))
            .hint("run `dayfly daemon` and register with `dayfly entry add … -s unix:uid:N`")
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use crate::sys::scratch::Scratch;

    use super::*;

    #[test]
    fn the_first_start_fixes_the_trust_domain() {
        let folder = Scratch::new();
        let paths = Paths::below(folder.path());
        begin(&paths, Some("laptop.example".into())).unwrap();
        let config = Config::load(None, &paths, Overrides::default()).unwrap();
        assert_eq!(config.trust_domain.as_str(), "laptop.example");
    }

    #[test]
    fn names_that_are_no_trust_domain_are_refused_with_a_hint() {
        let folder = Scratch::new();
        let paths = Paths::below(folder.path());
        for name in ["my host", "host:80", "größe", "a..b", ""] {
            let failure = begin(&paths, Some(name.into())).unwrap_err();
            assert_eq!((failure.exit(), failure.advice().is_some()), (Exit::Usage, true), "{name}");
        }
        assert!(!paths.config.exists());
    }

    #[test]
    fn names_that_are_no_segment_are_refused_with_a_hint() {
        let domain = TrustDomain::parse("laptop").unwrap();
        assert_eq!(user_id(&domain, "ada").unwrap().as_str(), "spiffe://laptop/user/ada");
        for name in ["ada@example.org", "DOMAIN\\ada", "..", ""] {
            assert!(user_id(&domain, name).unwrap_err().advice().is_some(), "{name}");
        }
    }
}

//! People: the words and flags of the `dayfly` program, and what it answers.
//!
//! Data goes to stdout and words to stderr; an error says what to do about it where that is known, and ends with a
//! documented exit code. Verbs that change or read the daemon go through its admin socket, those of a workload through
//! the workload socket, like any other client. What the daemon does is decided elsewhere.

mod agent;
mod apply;
mod audit;
mod bundle;
mod bundles;
mod context;
mod demo;
mod endpoint;
mod entry;
mod envoy;
mod exit;
mod explain;
mod failure;
mod fetch;
mod grant;
mod http;
mod identity;
mod items;
mod later;
mod link;
mod man;
mod moment;
mod paging;
mod print;
mod replace;
mod revoke;
mod service;
mod shown;
mod status;
mod token;
mod tool;
mod up;
mod validate;

use std::{future::Future, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use context::Context;
use exit::Exit;
use failure::Failure;
use later::Later;
use print::{Output, Printer};

/// Short-lived, key-bound credentials for AI agents and the services they call
///
/// A daemon on each node asks the kernel who is calling on a Unix socket, matches that against registered entries, and
/// hands out certificates that live minutes. It speaks the SPIFFE Workload API.
#[derive(Debug, Parser)]
#[command(name = "dayfly", version, disable_help_subcommand = true, arg_required_else_help = true)]
struct Cli {
    /// Which daemon: everything of it is below DIR [env: DAYFLY_HOME] [default: the system's, or one's own]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Options of every verb")]
    home: Option<PathBuf>,
    /// Which daemon, for admin verbs: by its admin socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "DAYFLY_ADMIN_SOCKET",
        help_heading = "Options of every verb"
    )]
    admin_socket: Option<PathBuf>,
    /// Tables for people, or JSON for programs
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Options of every verb")]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// See the whole story in a throw-away folder, with real processes, in seconds
    Demo(Later<demo::Demo>),
    /// Run a daemon for yourself, now: your user registered, and a word on what to try next
    Up(Later<up::Up>),
    /// Run the daemon as a service
    ///
    /// At a SIGHUP it reads its configuration again: the log's level, the counts and rates of [limits], and the issuers that
    /// are pinned, with their keys, have effect at once, and the log names the other settings that need a restart. A
    /// configuration that is not right changes nothing; an issuer whose key file is bad keeps its keys.
    Daemon(Later<service::Service>),
    /// Fetch what this process is, as a workload
    #[command(subcommand)]
    Fetch(Later<fetch::FetchVerb>),
    /// Judge somebody's certificate or token
    #[command(subcommand)]
    Validate(Later<validate::ValidateVerb>),
    /// Registration entries: which callers are which SPIFFE IDs
    #[command(subcommand)]
    Entry(Later<entry::EntryVerb>),
    /// Agents: the AI agents that you know of, and who answers for each
    #[command(subcommand)]
    Agent(Later<agent::AgentVerb>),
    /// Tools: HTTP services that agents call, and what can be done there
    #[command(subcommand)]
    Tool(Later<tool::ToolVerb>),
    /// Grants: what an agent may do with a tool
    #[command(subcommand)]
    Grant(Later<grant::GrantVerb>),
    /// Access tokens of this process's agent, each bound to a key
    #[command(subcommand)]
    Token(Later<token::TokenVerb>),
    /// Take back access tokens that are out: one, those of a key, those of an agent
    #[command(subcommand)]
    Revoke(Later<revoke::RevokeVerb>),
    /// Call a tool: a token and a proof for this one request, a nonce where one is asked for
    ///
    /// The token is for the tool whose base URL the URL has. The exit code is 0 if the answer is a success, 3 if it is 401
    /// or 403, and 1 for any other; its body goes to stdout in each case. Redirections are not followed.
    Http(Box<Later<http::Http>>),
    /// Bundles of foreign trust domains: whom the callers of entries that federate with them believe
    #[command(subcommand)]
    Bundle(Later<bundle::BundleVerb>),
    /// Envoy as a proxy that takes its certificates from the daemon
    #[command(subcommand)]
    Envoy(Later<envoy::EnvoyVerb>),
    /// Make entries, agents, tools and grants as a file says, all of it or nothing
    Apply(Later<apply::Apply>),
    /// Show what the daemon sees of a process, which entries match, and what others lack
    Explain(Later<explain::Explain>),
    /// Show how the daemon is
    Status(Later<status::StatusVerb>),
    /// Exit with 0 if the daemon serves; for probes
    Healthcheck(Later<status::Healthcheck>),
    /// Change how much the daemon logs, until its next start
    Log(Later<status::Log>),
    /// The record of what was done
    #[command(subcommand)]
    Audit(Later<audit::AuditVerb>),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man(Later<man::Man>),
    /// A process of the demo
    #[command(hide = true)]
    DemoRole(Later<demo::Role>),
}

/// Runs the program: reads the command line, does the verb, answers how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let Cli { home, admin_socket, output, verb } = cli;
    let context = Context { print: Printer::new(output), home, admin_socket };
    match run(&context, verb) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            context.print.fail(&failure);
            failure.exit().into()
        }
    }
}

fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Daemon(Later(service)) => service::run(context, service),
        Verb::Up(Later(up)) => up::run(context, up),
        Verb::Demo(Later(demo)) => wait(|| demo::run(context, demo)),
        Verb::DemoRole(Later(role)) => wait(|| demo::play(role)),
        Verb::Fetch(Later(fetch)) => wait(|| fetch::run(context, fetch)),
        Verb::Validate(Later(validate)) => wait(|| validate::run(context, validate)),
        Verb::Entry(Later(entry)) => wait(|| entry::run(context, entry)),
        Verb::Agent(Later(agent)) => wait(|| agent::run(context, agent)),
        Verb::Tool(Later(tool)) => wait(|| tool::run(context, tool)),
        Verb::Token(Later(token)) => wait(|| token::run(context, token)),
        Verb::Http(http) => wait(|| http::run(context, http.0)),
        Verb::Grant(Later(grant)) => wait(|| grant::run(context, grant)),
        Verb::Revoke(Later(revoke)) => wait(|| revoke::run(context, revoke)),
        Verb::Bundle(Later(bundle)) => wait(|| bundle::run(context, bundle)),
        Verb::Envoy(Later(envoy)) => envoy::run(context, envoy),
        Verb::Apply(Later(apply)) => wait(|| apply::run(context, apply)),
        Verb::Explain(Later(explain)) => wait(|| explain::run(context, explain)),
        Verb::Status(Later(status)) => wait(|| status::status(context, status)),
        Verb::Healthcheck(Later(check)) => wait(|| status::health(context, check)),
        Verb::Log(Later(log)) => wait(|| status::log(context, log)),
        Verb::Audit(Later(audit)) => wait(|| audit::run(context, audit)),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "dayfly", &mut script);
            context.print.data(&script)
        }
        Verb::Man(Later(man)) => man::run(context, man, command()),
    }
}

/// Runs a verb that is a client: one thread is enough. Each verb is made in a frame of its own; else every run has the
/// room for all of them on its stack, and touches it.
#[inline(never)]
fn wait<T, F: Future<Output = Result<T, Failure>>>(verb: impl FnOnce() -> F) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::because("no runtime could be started", &error))?.block_on(verb())
}

fn command() -> clap::Command {
    Cli::command().after_help(Exit::table())
}

/// Help and usage errors are printed here; they come with their exit codes.
fn parse() -> Result<Cli, Exit> {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let (print, words) = (Printer::new(Output::Table), error.render());
        if error.use_stderr() {
            let words = if print.styles_words() { words.ansi().to_string() } else { words.to_string() };
            print.words(words.trim_end());
            return Exit::Usage;
        }
        let words = if print.styles_data() { words.ansi().to_string() } else { words.to_string() };
        // Who pipes help into a pager that was left has what he wanted.
        print.data(words.as_bytes()).map_or_else(|failure| failure.exit(), |()| Exit::Done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_and_option_has_a_word_of_help() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some() || argument.is_hide_set(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
                assert!(verb.get_about().is_some(), "{}", verb.get_name());
                check(verb);
            }
        }
        let mut whole = command();
        whole.build();
        check(&whole);
    }
}

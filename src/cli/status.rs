//! `dayfly status`, `dayfly healthcheck` and `dayfly log`: the daemon itself.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    audit,
    daemon::config::LogLevel,
    pb::admin::{ProxySecret, ProxyStream, SetLogLevelRequest, StatusRequest, StatusResponse},
    sys::Clock,
};

use super::{
    context::Context,
    exit::Exit,
    failure::Failure,
    link::{self, Admin, answer},
    moment,
    print::{Printer, Style},
};

/// `status`
#[derive(Debug, Args)]
pub(crate) struct StatusVerb {
    /// Show every counter too
    #[arg(long)]
    counters: bool,
}

/// `healthcheck`
#[derive(Debug, Args)]
pub(crate) struct Healthcheck {
    /// The workload socket, as a path or as unix:///PATH [default: SPIFFE_ENDPOINT_SOCKET, then the daemon's]
    #[arg(long, value_name = "ADDRESS")]
    socket: Option<String>,
}

/// `log`
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// How much is logged until the next start
    #[arg(value_parser = LogLevel::ALL.map(LogLevel::name))]
    level: String,
}

/// Runs `status`.
///
/// # Errors
/// When the daemon does not answer. One that answers with problems is shown, and is no error.
pub(crate) async fn status(context: &Context, verb: StatusVerb) -> Result<(), Failure> {
    let status = answer(Admin::connect(context).await?.control.status(StatusRequest {})).await?;
    if context.print.is_json() {
        context.print.json(&document(&status))
    } else {
        show(&context.print, &status, verb.counters)
    }
}

/// Runs `healthcheck`: asks where workloads ask, so that nobody needs a right for it.
///
/// # Errors
/// When the daemon is not there ([`Exit::Unreachable`]), or does not serve ([`Exit::Failed`]).
pub(crate) async fn health(context: &Context, verb: Healthcheck) -> Result<(), Failure> {
    let socket = context.workload_socket(verb.socket.as_deref())?;
    let mut client = HealthClient::new(link::workload_channel(&socket).await?);
    let asked = tokio::time::timeout(HEALTH_WAIT, client.check(HealthCheckRequest::default()));
    let slow = |_| Failure::new(Exit::Unreachable, "the daemon did not answer in time");
    let response = asked.await.map_err(slow)?.map_err(|status| link::workload_refusal(&status))?.into_inner();
    if response.status() != ServingStatus::Serving {
        return Err(Failure::new(Exit::Failed, "the daemon is there, and does not serve")
            .hint("`dayfly status` tells its problems"));
    }
    if context.print.is_json() {
        return context.print.json(&json!({ "serving": true }));
    }
    context.print.say("the daemon serves");
    Ok(())
}

/// Runs `log`.
///
/// # Errors
/// When the daemon does not answer.
pub(crate) async fn log(context: &Context, Log { level }: Log) -> Result<(), Failure> {
    let request = SetLogLevelRequest { level: level.clone() };
    let before = answer(Admin::connect(context).await?.control.set_log_level(request)).await?.before;
    if context.print.is_json() {
        return context.print.json(&json!({ "before": before, "level": level }));
    }
    context.print.say(format_args!("log level: {before} → {level}"));
    Ok(())
}

fn show(print: &Printer, status: &StatusResponse, counters: bool) -> Result<(), Failure> {
    let now = Clock::system().now();
    let style = if status.problems.is_empty() { Style::Good } else { Style::Bad };
    print.styled_line(style, format_args!("{}  {}", status.trust_domain, status.state))?;
    status.problems.iter().try_for_each(|problem| print.line(format_args!("  {problem}")))?;
    status.notes.iter().try_for_each(|note| print.line(format_args!("  note: {note}")))?;
    let up = moment::unix(now).saturating_sub(status.started_at);
    let told = [
        ("version", status.version.clone()),
        ("process", format!("{}, up {}, {} MiB", status.pid, moment::rough(up), status.rss_bytes >> 20)),
        ("entries", format!("{} (revision {})", status.entries, status.registry_revision)),
        ("agents", format!("{} ({} tools, {} grants)", status.agents, status.tools, status.grants)),
        ("connections", format!("{}, {} streams", status.connections, status.streams)),
        ("audit", format!("{} records", status.audit_records)),
        (
            "audit key",
            audit::Checkpoint::parse(&status.audit_checkpoint)
                .map_or_else(String::new, |it| it.fingerprint().to_string()),
        ),
        ("log level", status.log_level.clone()),
        ("sockets", status.workload_sockets.join("\n")),
        ("state", status.state_dir.clone()),
        ("tokens", status.token_endpoint.clone()),
    ];
    let pinned = Some(status.pinned_issuers.join("\n")).filter(|names| !names.is_empty());
    let environment = Some(status.environment.clone()).filter(|name| !name.is_empty());
    let more = [environment.map(|name| ("environment", name)), pinned.map(|names| ("pinned", names))];
    print.pairs(told.into_iter().chain(more.into_iter().flatten()))?;
    print.line("")?;
    print.table(
        ["AUTHORITY", "KIND", "SLOT", "UNTIL"],
        status.authorities.iter().map(|authority| {
            let end = moment::text_and_distance(authority.not_after, now);
            [authority.id.clone(), authority.kind.clone(), authority.slot.clone(), end]
        }),
    )?;
    show_proxies(print, status)?;
    let absent: Vec<_> = status.kernel.iter().filter(|feature| !feature.present).collect();
    if !absent.is_empty() {
        print.line("")?;
        print.table(
            ["THIS KERNEL LACKS", "SO"],
            absent.into_iter().map(|feature| [feature.name.clone(), feature.without.clone()]),
        )?;
    }
    if counters {
        print.line("")?;
        print.table(
            ["COUNTER", "LABELS", "VALUE"],
            status.counters.iter().map(|each| [each.name.clone(), each.labels.clone(), each.value.to_string()]),
        )?;
    }
    Ok(())
}

/// A line for each proxy, which has a stream for each secret.
fn show_proxies(print: &Printer, status: &StatusResponse) -> Result<(), Failure> {
    let mut each: BTreeMap<u32, Vec<&ProxyStream>> = BTreeMap::new();
    status.proxies.iter().for_each(|stream| each.entry(stream.pid).or_default().push(stream));
    if each.is_empty() {
        return Ok(());
    }
    print.line("")?;
    print.table(
        ["PROXY", "PROGRAM", "TOOK", "WAITS FOR", "REFUSED"],
        each.iter().map(|(pid, streams)| {
            let word = |of: fn(&ProxyStream) -> &str| streams.iter().map(|one| of(one)).find(|word| !word.is_empty());
            let secrets = || streams.iter().flat_map(|one| &one.secrets);
            let waits: Vec<_> = streams.iter().flat_map(|one| &one.waits_for).map(String::as_str).collect();
            [
                format!("{} (process {pid})", word(|one| &one.node).unwrap_or("?")),
                word(|one| &one.agent).unwrap_or_default().to_owned(),
                format!("{} of {}", secrets().filter(|one| one.sent == one.taken).count(), secrets().count()),
                waits.join("\n"),
                word(|one| &one.refusal).unwrap_or_default().to_owned(),
            ]
        }),
    )?;
    let shown = u64::try_from(status.proxies.len()).unwrap_or(u64::MAX);
    match status.proxy_streams.saturating_sub(shown) {
        0 => Ok(()),
        more => print.line(format_args!("and {more} more streams of proxies")),
    }
}

fn document(status: &StatusResponse) -> serde_json::Value {
    json!({
        "version": status.version,
        "trust_domain": status.trust_domain,
        "pid": status.pid,
        "started_at": status.started_at,
        "state": status.state,
        "problems": status.problems,
        "entries": status.entries,
        "agents": status.agents,
        "tools": status.tools,
        "grants": status.grants,
        "registry_revision": status.registry_revision,
        "connections": status.connections,
        "streams": status.streams,
        "authorities": status.authorities.iter().map(|authority| json!({
            "id": authority.id,
            "kind": authority.kind,
            "slot": authority.slot,
            "not_before": authority.not_before,
            "not_after": authority.not_after,
        })).collect::<Vec<_>>(),
        "kernel": status.kernel.iter().map(|feature| json!({
            "name": feature.name,
            "present": feature.present,
            "without": feature.without,
        })).collect::<Vec<_>>(),
        "counters": status.counters.iter().map(|each| json!({
            "name": each.name,
            "labels": each.labels,
            "value": each.value,
        })).collect::<Vec<_>>(),
        "workload_sockets": status.workload_sockets,
        "state_dir": status.state_dir,
        "token_endpoint": status.token_endpoint,
        "environment": status.environment,
        "notes": status.notes,
        "pinned_issuers": status.pinned_issuers,
        "log_level": status.log_level,
        "rss_bytes": status.rss_bytes,
        "audit_records": status.audit_records,
        "audit_checkpoint": status.audit_checkpoint,
        "proxy_streams": status.proxy_streams,
        "proxies": status.proxies.iter().map(proxy).collect::<Vec<_>>(),
    })
}

fn proxy(stream: &ProxyStream) -> serde_json::Value {
    let secret = |secret: &ProxySecret| json!({ "name": secret.name, "sent": secret.sent, "sent_at": secret.sent_at, "taken": secret.taken });
    json!({
        "pid": stream.pid,
        "uid": stream.uid,
        "since": stream.since,
        "protocol": stream.protocol,
        "node": stream.node,
        "cluster": stream.cluster,
        "agent": stream.agent,
        "secrets": stream.secrets.iter().map(secret).collect::<Vec<_>>(),
        "waits_for": stream.waits_for,
        "refusal": stream.refusal,
        "refused_at": stream.refused_at,
    })
}

const HEALTH_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

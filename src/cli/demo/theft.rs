//! The chapter of access tokens: an agent calls a tool, and what a thief finds in the tool's log is worth nothing.

use std::{fs, path::Path};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;

use crate::{
    cli::{
        exit::Exit,
        failure::Failure,
        link::{Admin, answer},
    },
    daemon::Paths,
    oauth::{TokenHash, dpop::Prover},
    pb::admin::{
        Agent, AgentName, CreateEntryRequest, CreateItemRequest, Grant, Item, Tool, ToolRoute, ToolScope, item,
    },
    sys::Clock,
};

use super::{
    Teller, entry,
    role::{Event, Part},
    stage::{Actor, Stage},
    tool, unexpected,
};

/// The most of the tool's log, and of the daemon's records, that is read here, in bytes.
const READ_MAX: usize = 1024 * 1024;

/// Plays it; answers the tool's process, which is to live as long as the demo.
///
/// # Errors
/// When something did not hold.
pub(super) async fn chapter(
    stage: &mut Stage,
    admin: &mut Admin,
    teller: &mut Teller<'_>,
    uid: u32,
) -> Result<Actor, Failure> {
    let paths = Paths::below(stage.dir());
    let (authz, log) = (paths.authz_socket.display().to_string(), stage.dir().join("tickets.log"));
    let audit = paths.state_dir.join("audit");
    let mut tickets = stage.start(Part::Tickets, &["--authz", &authz, "--log", &log.display().to_string()])?;
    let Event::Listening { port } = tickets.tells(stage).await? else {
        return Err(unexpected("tickets did not listen"));
    };
    let url = format!("{}/items/7", tool::base_url(port));
    register(stage, admin, uid, &tool::base_url(port)).await?;
    teller.step("reporter is an agent, tickets a tool; reporter may read there, and nothing else")?;

    let call = stage.call(Part::Reporter, &["http", "GET", &url]).await?;
    match (call.status.code(), String::from_utf8_lossy(&call.stdout).trim_end()) {
        (Some(0), "ticket 7, read by reporter") => {}
        other => return Err(stage.silent(&format!("reporter did not read its ticket: {other:?}"))),
    }
    teller.step("reporter reads ticket 7: a token for this tool alone, bound to a key that is gone by now")?;

    let (token, proof) = captured(&log).ok_or_else(|| unexpected("the tool's log has no token"))?;
    let own = Prover::generate().map_err(|error| Failure::because("the thief has no key", &error))?;
    let hash = token.strip_prefix("DPoP ").map(TokenHash::of);
    let own = own.prove("GET", &url, hash, None, Clock::system().now());
    let own = own.map_err(|error| Failure::because("the thief cannot sign", &error))?;
    let bearer = token.replacen("DPoP", "Bearer", 1);
    for (how, token, proof, reason) in [
        ("the same request again", &token, Some(&proof), "proof_replayed"),
        ("the token with a key of his own", &token, Some(&own), "key_mismatch"),
        ("the token as a bearer's", &bearer, None, "bearer"),
    ] {
        match ask(&url, token, proof).await? {
            StatusCode::UNAUTHORIZED if recorded(&audit, reason) => {
                teller.step(format_args!("a thief has the tool's log; {how}: refused, and recorded as {reason}"))?;
            }
            other => return Err(unexpected(format!("the thief was answered {other} for {how}"))),
        }
    }

    answer(admin.catalog.suspend(AgentName { name: Part::Reporter.name().to_owned() })).await?;
    let call = stage.call(Part::Reporter, &["http", "GET", &url]).await?;
    match call.status.code() {
        Some(code) if code == i32::from(Exit::Refused.code()) => {
            teller.step("reporter is suspended, and has nothing from that moment on")?;
        }
        other => return Err(unexpected(format!("a suspended agent's call ended with {other:?}"))),
    }
    Ok(tickets)
}

async fn register(stage: &Stage, admin: &mut Admin, uid: u32, url: &str) -> Result<(), Failure> {
    let (reporter, tickets) = (Part::Reporter.name().to_owned(), Part::Tickets.name().to_owned());
    let read = ToolScope { name: "read".into(), band: "read".into() };
    let route = ToolRoute { route: "GET /items/*".into(), scope: "read".into() };
    for one in [
        item::Item::Agent(Agent { name: reporter.clone(), owner: "demo".into(), ..Agent::default() }),
        item::Item::Tool(Tool {
            name: tickets.clone(),
            audience: "https://tickets.demo.test".into(),
            base_urls: vec![url.to_owned()],
            scopes: vec![read],
            routes: vec![route],
            ..Tool::default()
        }),
        item::Item::Grant(Grant {
            agent: reporter.clone(),
            tool: tickets,
            scopes: vec!["read".into()],
            ..Grant::default()
        }),
    ] {
        answer(admin.catalog.create(CreateItemRequest { item: Some(Item { item: Some(one) }) })).await?;
    }
    let mut entry = entry(stage, Part::Reporter, uid);
    entry.agent = reporter;
    answer(admin.entries.create(CreateEntryRequest { entry: Some(entry) })).await.map(drop)
}

/// The token and the proof of the last request in the log.
fn captured(log: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(log).ok().filter(|text| text.len() <= READ_MAX)?;
    let last = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.rfind(|(own, _)| *own == name).map(|(_, value)| value.to_owned())
    };
    Some((last("authorization")?, last("dpop")?))
}

async fn ask(url: &str, token: &str, proof: Option<&String>) -> Result<StatusCode, Failure> {
    let request = Request::builder().method(Method::GET).uri(url).header(AUTHORIZATION, token);
    let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
    let request = request.body(Full::<Bytes>::default());
    let request = request.map_err(|error| Failure::because("the thief's request is none", &error))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answered = client.request(request).await;
    answered.map(|answer| answer.status()).map_err(|error| Failure::because("tickets does not answer", &error))
}

/// Whether a request was refused for this reason, as the audit log says.
fn recorded(audit: &Path, reason: &str) -> bool {
    let text = fs::read_to_string(audit.join("00000001.jsonl")).ok().filter(|text| text.len() <= READ_MAX);
    let is_it = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        let reasons = record.get("reasons").and_then(Value::as_array);
        record.get("what").and_then(Value::as_str) == Some("request")
            && reasons.is_some_and(|reasons| reasons.iter().any(|own| own.as_str() == Some(reason)))
    };
    text.is_some_and(|text| text.lines().any(is_it))
}

//! `dayfly revoke …`: access tokens that are out are taken back, by what they are, by their key, or by their agent.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    oauth::{Thumbprint, access::TokenId, issuer::IssuerName},
    pb::admin::{AgentName, KeyName, ListRevocationsRequest, Revocation, RevokeTokenRequest},
    spiffe::{
        jose,
        json::{Object, Value as Member},
    },
    sys::Clock,
};

use super::{
    context::Context,
    exit::Exit,
    failure::Failure,
    link::{Admin, answer},
    moment,
    paging::{self, Paging},
    validate,
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum RevokeVerb {
    /// Revoke one access token: no door takes it from now on
    ///
    /// By its `jti`, which the audit log and `dayfly agent show` have; or, with -, the whole token from stdin, which must
    /// be one of this daemon's. A token on the command line could be read by every user of this machine.
    Token {
        /// Its `jti`, or - to read the token itself from stdin
        #[arg(value_name = "JTI", allow_hyphen_values = true)]
        jti: String,
    },
    /// Revoke a key: tokens that are bound to it are good nowhere, and none is issued to it any more
    Key {
        /// Its thumbprint (`cnf.jkt`), as the audit log has it
        #[arg(value_name = "JKT", allow_hyphen_values = true)]
        jkt: String,
    },
    /// Revoke everything that an agent was issued until now; it may get new tokens at once
    ///
    /// To give it nothing more, suspend it: `dayfly agent suspend`.
    Agent {
        /// The agent's name
        name: String,
    },
    /// List revoked tokens and keys
    List(List),
    /// Let something be used again that was revoked
    #[command(subcommand)]
    Remove(RemoveVerb),
}

/// `revoke list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this kind: token or key
    #[arg(long, value_name = "KIND", default_value = "", hide_default_value = true, value_parser = ["", "token", "key"], hide_possible_values = true)]
    kind: String,
    #[command(flatten)]
    paging: Paging,
}

/// `revoke remove`
#[derive(Debug, Subcommand)]
pub(crate) enum RemoveVerb {
    /// Let a key be used again. Tokens that it had, and that have not expired, are good again too
    Key {
        /// Its thumbprint (`cnf.jkt`)
        #[arg(value_name = "JKT", allow_hyphen_values = true)]
        jkt: String,
    },
}

/// Runs one of the verbs.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn run(context: &Context, verb: RevokeVerb) -> Result<(), Failure> {
    match verb {
        RevokeVerb::Token { jti } => {
            let token = (jti == "-").then(|| validate::token(Path::new("-"))).transpose()?;
            let request = match &token {
                Some(token) => RevokeTokenRequest { token: token.to_string(), ..RevokeTokenRequest::default() },
                None => RevokeTokenRequest { jti: token_id(jti)?, ..RevokeTokenRequest::default() },
            };
            let revoked = answer(Admin::connect(context).await?.revocations.revoke_token(request)).await;
            let instead = token.as_ref().and_then(|token| of_another(token));
            one(context, &revoked.map_err(|failure| advised(failure, instead))?)
        }
        RevokeVerb::Key { jkt } => {
            let request = KeyName { jkt: thumbprint(jkt)? };
            let revoked = answer(Admin::connect(context).await?.revocations.revoke_key(request)).await;
            one(context, &revoked.map_err(|failure| advised(failure, None))?)
        }
        RevokeVerb::Agent { name } => agent(context, name).await,
        RevokeVerb::List(list) => list.run(context).await,
        RevokeVerb::Remove(RemoveVerb::Key { jkt }) => {
            let jkt = thumbprint(jkt)?;
            let request = KeyName { jkt: jkt.clone() };
            answer(Admin::connect(context).await?.revocations.restore_key(request))
                .await
                .map_err(|failure| advised(failure, None))?;
            match context.print.is_json() {
                true => context.print.json(&json!({ "restored": { "kind": "key", "name": jkt } })),
                false => {
                    context.print.say(format_args!("key {jkt} may be used again"));
                    Ok(())
                }
            }
        }
    }
}

async fn agent(context: &Context, name: String) -> Result<(), Failure> {
    let request = AgentName { name: name.clone() };
    let answered = answer(Admin::connect(context).await?.revocations.revoke_agent(request)).await;
    let answered = answered.map_err(|failure| advised(failure, None))?;
    let before = answered.revoked_before;
    if context.print.is_json() {
        return context.print.json(&json!({ "agent": name, "revoked_before": before }));
    }
    context.print.say(format_args!(
        "revoked: every access token that the agent {name} was issued before {}; it may get new ones",
        moment::text(before)
    ));
    Ok(())
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let (print, paging) = (&context.print, self.paging);
        let mut admin = Admin::connect(context).await?;
        let (kind, page_size, count_only) = (self.kind, paging.size(), paging.count);
        let mut request = ListRevocationsRequest { kind, page_size, page_token: paging.page_token, count_only };
        let mut page = answer(admin.revocations.list(request.clone())).await?;
        if paging.count {
            return paging::total(print, page.total);
        }
        while paging.all && !page.next_page_token.is_empty() {
            request.page_token = page.next_page_token;
            let next = answer(admin.revocations.list(request.clone())).await?;
            page.revocations.extend(next.revocations);
            (page.next_page_token, page.total) = (next.next_page_token, next.total);
        }
        if print.is_json() {
            let views: Vec<_> = page.revocations.iter().map(view).collect();
            let (next, total) = (page.next_page_token, page.total);
            return print.json(&json!({ "revocations": views, "next_page_token": next, "total": total }));
        }
        if page.revocations.is_empty() {
            print.say("nothing is revoked");
            return Ok(());
        }
        let now = Clock::system().now();
        let rows = page.revocations.iter().map(|one| {
            let until = if one.until == 0 { String::new() } else { moment::text_and_distance(one.until, now) };
            [one.kind.clone(), one.name.clone(), moment::text(one.revoked_at), until]
        });
        print.table(["KIND", "NAME", "REVOKED", "ENDS ANYWAY"], rows)?;
        paging::next(print, page.revocations.len(), page.total, &page.next_page_token);
        Ok(())
    }
}

/// A `jti`. What else was written is not repeated: it may be a token.
fn token_id(text: String) -> Result<String, Failure> {
    if TokenId::parse(&text).is_some() {
        return Ok(text);
    }
    let failure = match text.contains('.') {
        true => Failure::new(Exit::Usage, "a token on the command line can be read by every user of this machine"),
        false => Failure::new(Exit::Usage, "a jti is 22 characters of base64url"),
    };
    Err(failure.hint(
        "give a jti, or the whole token on stdin: `dayfly revoke token -`; of another issuer's tokens the jti is not known \
         here: `dayfly revoke key JKT`, or `dayfly revoke agent NAME`",
    ))
}

fn thumbprint(text: String) -> Result<String, Failure> {
    match Thumbprint::parse(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(Failure::new(Exit::Usage, "a key's thumbprint is 43 characters of base64url")
            .hint("`dayfly agent show NAME` and the audit log have it as jkt")),
    }
}

fn one(context: &Context, revoked: &Revocation) -> Result<(), Failure> {
    if context.print.is_json() {
        return context.print.json(&view(revoked));
    }
    context.print.say(format_args!("revoked: {} {}", revoked.kind, revoked.name));
    Ok(())
}

fn view(revoked: &Revocation) -> Value {
    let Revocation { kind, name, revoked_at, until } = revoked;
    json!({ "kind": kind, "name": name, "revoked_at": revoked_at, "until": until })
}

/// What of a token that is another issuer's can be revoked in its place.
fn of_another(token: &str) -> Option<String> {
    let read = jose::Compact::parse(token, jose::TOKEN_BYTES_MAX, |_| Ok::<_, jose::Error>(())).ok()?;
    let text = |object: &Object, name| object.member(name).and_then(Member::as_str).map(ToOwned::to_owned);
    let issuer = IssuerName::parse(&text(&read.claims, "iss")?).ok()?;
    let key = read.claims.member("cnf").and_then(Member::as_object).and_then(|cnf| text(cnf, "jkt"));
    let key = key.and_then(|key| Thumbprint::parse(&key).ok()).map_or("JKT".to_owned(), |key| key.to_string());
    Some(format!(
        "if {issuer} is another issuer, its tokens are known here by no id: `dayfly revoke key {key}`, or `dayfly revoke \
         agent NAME` with all that its agent has"
    ))
}

/// A refusal with what to do about it; `instead` of a token that is not ours.
fn advised(failure: Failure, instead: Option<String>) -> Failure {
    let words = failure.words();
    if let Some(instead) = instead
        && words.starts_with("the token cannot be revoked")
        && !["expired", "signature"].iter().any(|word| words.contains(word))
    {
        return failure.hint(instead);
    }
    if words.contains("revoked keys") {
        return failure.hint("`dayfly revoke list --kind key` has them; remove those that nobody has any more");
    }
    if words.contains("revoked tokens") {
        return failure
            .hint("revoke by `dayfly revoke agent NAME` or by key; tokens leave the list an hour after their end");
    }
    if words.starts_with("there is no agent ") {
        return failure.hint("`dayfly agent list` shows what there is");
    }
    if words.contains("is not revoked") {
        return failure.hint("`dayfly revoke list` shows what is");
    }
    if words.contains("the token has expired") || words.contains("it has expired") {
        return failure.hint("nothing is to be done: no door takes it");
    }
    failure
}

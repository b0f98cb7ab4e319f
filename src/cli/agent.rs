//! `dayfly agent …`: the AI agents that an organisation knows of.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    pb::admin::{Agent, AgentName, ItemKind, ListItemsRequest, ReachResponse, item::Item as Inner},
    sys::Clock,
};

use super::{
    context::Context,
    failure::Failure,
    items::{self, OneKind, time_or},
    link::{Admin, answer},
    moment,
    paging::Paging,
    print::Printer,
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentVerb {
    /// Register an agent. Entries belong to it by `dayfly entry add … --agent NAME`. Prints its name
    Add(Add),
    /// List agents by their names
    List(List),
    /// Show an agent, what it can reach (tools, scopes, bands and how long their tokens live at most), and which access
    /// tokens of it are alive now
    Show {
        /// The agent's name
        name: String,
    },
    /// Change what is given of an agent
    Update(Update),
    /// Remove agents, all of them or none
    #[command(alias = "delete")]
    Remove {
        /// The agents' names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// What hangs on them goes too: their grants and their entries
        #[arg(long)]
        cascade: bool,
    },
    /// Give an agent nothing until it is resumed
    Suspend {
        /// The agent's name
        name: String,
    },
    /// Give a suspended agent again what it is granted
    Resume {
        /// The agent's name
        name: String,
    },
    /// Give an agent nothing any more, for good; its name stays taken
    Retire {
        /// The agent's name
        name: String,
    },
}

/// `agent add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its name: a-z 0-9 -, at most 63 characters
    name: String,
    /// Who answers for it: a person or a group
    #[arg(long, value_name = "WHO")]
    owner: String,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    purpose: String,
    /// Where it runs, as production. A daemon with a `token.environment` gives access to agents of the same alone; by one
    /// without, nothing is judged by it
    #[arg(long, value_name = "NAME", default_value = "")]
    environment: String,
    /// The most confidential data that it works with, as internal: for people, nothing is judged by it
    #[arg(long, value_name = "NAME", default_value = "")]
    data_class: String,
    /// When somebody has to look at it again: 90d from now, a time as 2027-01-31T12:00:00Z, or Unix seconds. Nothing ends
    /// then; `agent list`, `agent show` and `status` say that it is overdue
    #[arg(long, value_name = "WHEN", value_parser = moment::end)]
    review_by: Option<u64>,
}

/// `agent list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this owner
    #[arg(long, value_name = "WHO", default_value = "")]
    owner: String,
    /// Only those of this environment
    #[arg(long, value_name = "NAME", default_value = "")]
    environment: String,
    /// Only those of this data class
    #[arg(long, value_name = "NAME", default_value = "")]
    data_class: String,
    /// Only those in this state: active, suspended or retired
    #[arg(long, value_name = "STATE", default_value = "", hide_default_value = true, value_parser = ["", "active", "suspended", "retired"], hide_possible_values = true)]
    state: String,
    #[command(flatten)]
    paging: Paging,
}

/// `agent update`
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The agent's name
    name: String,
    /// Another owner
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// Another purpose; '' takes it away
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// Another environment; '' takes it away
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Another data class; '' takes it away
    #[arg(long, value_name = "NAME")]
    data_class: Option<String>,
    /// When somebody has to look at it again; or never
    #[arg(long, value_name = "WHEN", value_parser = moment::end)]
    review_by: Option<u64>,
}

/// Runs one of the verbs.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn run(context: &Context, verb: AgentVerb) -> Result<(), Failure> {
    match verb {
        AgentVerb::Add(Add { name, owner, purpose, environment, data_class, review_by }) => {
            let review_by = review_by.unwrap_or(0);
            let agent = Agent { name, owner, purpose, environment, data_class, review_by, ..Agent::default() };
            items::add(context, agent).await
        }
        AgentVerb::List(List { owner, environment, data_class, state, paging }) => {
            let request = ListItemsRequest { owner, environment, data_class, state, ..ListItemsRequest::default() };
            items::list::<Agent>(context, request, paging).await
        }
        AgentVerb::Show { name } => show(context, name).await,
        AgentVerb::Update(update) => {
            let name = update.name.clone();
            items::update(context, &name, |agent| update.change(agent)).await
        }
        AgentVerb::Remove { names, cascade } => items::remove::<Agent>(context, names, cascade).await,
        AgentVerb::Suspend { name } => {
            let answered = answer(Admin::connect(context).await?.catalog.suspend(AgentName { name })).await;
            items::one::<Agent>(context, &items::taken(answered)?)
        }
        AgentVerb::Resume { name } => {
            let answered = answer(Admin::connect(context).await?.catalog.resume(AgentName { name })).await;
            items::one::<Agent>(context, &items::taken(answered)?)
        }
        AgentVerb::Retire { name } => {
            let answered = answer(Admin::connect(context).await?.catalog.retire(AgentName { name })).await;
            items::one::<Agent>(context, &items::taken(answered)?)
        }
    }
}

impl Update {
    fn change(self, agent: &mut Agent) {
        let replace = |field: &mut String, with: Option<String>| *field = with.unwrap_or_else(|| std::mem::take(field));
        replace(&mut agent.owner, self.owner);
        replace(&mut agent.purpose, self.purpose);
        replace(&mut agent.environment, self.environment);
        replace(&mut agent.data_class, self.data_class);
        agent.review_by = self.review_by.unwrap_or(agent.review_by);
    }
}

async fn show(context: &Context, name: String) -> Result<(), Failure> {
    let print = &context.print;
    let mut admin = Admin::connect(context).await?;
    let agent: Agent = items::fetch(&mut admin, &name).await?;
    let found = answer(admin.catalog.reach(AgentName { name })).await?;
    if print.is_json() {
        return print.json(&with_reach(agent.view(), &found));
    }
    let mut card = agent.card();
    card.push(("entries", found.entries.to_string()));
    print.pairs(card.into_iter().filter(|(_, value)| !value.is_empty()))?;
    if found.elsewhere {
        print.say(format_args!(
            "it gets no access token here: it is not of this daemon's environment (`dayfly status`)"
        ));
    }
    if found.entries == 0 {
        print.say(format_args!("nobody is this agent: see --agent of `dayfly entry add`"));
    }
    match found.reach.is_empty() {
        true => print.say(format_args!("it can reach nothing: see `dayfly grant add`")),
        false => show_reach(print, &found)?,
    }
    show_tokens(print, &found)
}

fn show_reach(print: &Printer, found: &ReachResponse) -> Result<(), Failure> {
    print.line("")?;
    let rows = found.reach.iter().flat_map(|reach| {
        reach.scopes.iter().map(|scope| {
            [
                reach.tool.clone(),
                scope.scope.clone(),
                scope.band.clone(),
                moment::rough(scope.lifetime_seconds),
                rate(reach.rate_per_minute),
                reach.datasets.join(" "),
            ]
        })
    });
    print.table(["TOOL", "SCOPE", "BAND", "LIVES AT MOST", "RATE", "DATA SETS"], rows)
}

fn show_tokens(print: &Printer, found: &ReachResponse) -> Result<(), Failure> {
    let since = moment::text(found.tokens_known_since);
    if found.tokens.is_empty() {
        print.say(format_args!("no access token of it is alive; known since {since}"));
        return Ok(());
    }
    let now = Clock::system().now();
    print.line("")?;
    let rows = found.tokens.iter().map(|token| {
        let until = moment::text_and_distance(token.expires_at, now);
        [token.jti.clone(), token.tool.clone(), token.scopes.join(" "), until, token.jkt.clone()]
    });
    print.table(["TOKEN", "TOOL", "SCOPES", "UNTIL", "KEY"], rows)?;
    let more = if found.tokens_incomplete { ", and there may be more" } else { "" };
    let (shown, total) = (found.tokens.len(), found.tokens_total);
    print.say(format_args!("{shown} of {total} access tokens{more}; known since {since}"));
    Ok(())
}

fn with_reach(mut view: Value, found: &ReachResponse) -> Value {
    let reach = found.reach.iter().map(|reach| {
        let scopes = reach.scopes.iter().map(
            |scope| json!({ "scope": scope.scope, "band": scope.band, "lifetime_seconds": scope.lifetime_seconds }),
        );
        json!({
            "tool": reach.tool,
            "audience": reach.audience,
            "scopes": scopes.collect::<Vec<_>>(),
            "datasets": reach.datasets,
            "rate_per_minute": reach.rate_per_minute,
        })
    });
    let reach: Vec<_> = reach.collect();
    if let Some(view) = view.as_object_mut() {
        view.insert("reach".into(), reach.into());
        view.insert("entries".into(), found.entries.into());
        view.insert("elsewhere".into(), found.elsewhere.into());
        let tokens = found.tokens.iter().map(|token| {
            json!({
                "jti": token.jti,
                "tool": token.tool,
                "scopes": token.scopes,
                "issued_at": token.issued_at,
                "expires_at": token.expires_at,
                "jkt": token.jkt,
                "spiffe_id": token.spiffe_id,
            })
        });
        view.insert("tokens".into(), tokens.collect::<Vec<_>>().into());
        view.insert("tokens_total".into(), found.tokens_total.into());
        view.insert("tokens_known_since".into(), found.tokens_known_since.into());
        view.insert("tokens_incomplete".into(), found.tokens_incomplete.into());
    }
    view
}

/// Tokens a minute, in words.
pub(crate) fn rate(per_minute: u64) -> String {
    if per_minute == 0 { String::new() } else { format!("{per_minute}/min") }
}

impl OneKind for Agent {
    const KIND: ItemKind = ItemKind::Agent;
    const WORD: &'static str = "agent";

    fn wrap(self) -> Inner {
        Inner::Agent(self)
    }

    fn unwrap(inner: Inner) -> Option<Self> {
        if let Inner::Agent(agent) = inner { Some(agent) } else { None }
    }

    fn id(&self) -> String {
        self.name.clone()
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn view(&self) -> Value {
        // Every field by name: one that the API gets later must be shown too.
        let Self { name, owner, purpose, environment, data_class, review_by, state, created_by, created_at, .. } = self;
        let Self { revision, revoked_before, .. } = self;
        json!({
            "name": name,
            "owner": owner,
            "purpose": purpose,
            "environment": environment,
            "data_class": data_class,
            "review_by": review_by,
            "state": state,
            "created_by": created_by,
            "created_at": created_at,
            "revision": revision,
            "revoked_before": revoked_before,
        })
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("state", self.state.clone()),
            ("owner", self.owner.clone()),
            ("purpose", self.purpose.clone()),
            ("environment", self.environment.clone()),
            ("data class", self.data_class.clone()),
            ("review by", review(self.review_by, Clock::system().now())),
            ("created", format!("{} by uid {}", moment::text(self.created_at), self.created_by)),
            ("revoked", time_or(self.revoked_before, "")),
            ("revision", self.revision.to_string()),
        ]
    }

    fn rows(print: &Printer, all: &[Self]) -> Result<(), Failure> {
        let now = Clock::system().now();
        let rows = all.iter().map(|agent| {
            [
                agent.name.clone(),
                agent.state.clone(),
                agent.owner.clone(),
                agent.environment.clone(),
                agent.data_class.clone(),
                review(agent.review_by, now),
            ]
        });
        print.table(["NAME", "STATE", "OWNER", "ENVIRONMENT", "DATA CLASS", "REVIEW BY"], rows)
    }
}

/// When somebody has to look at it again, and whether that is past.
fn review(by: u64, now: SystemTime) -> String {
    let is_overdue = by != 0 && by <= moment::unix(now);
    format!("{}{}", time_or(by, ""), if is_overdue { " (overdue)" } else { "" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_review_that_is_overdue_is_told() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(review(90, at(89)), "1970-01-01T00:01:30Z");
        assert_eq!(review(90, at(90)), "1970-01-01T00:01:30Z (overdue)");
        assert_eq!(review(0, at(90)), "");
    }
}

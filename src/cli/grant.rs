//! `dayfly grant …`: what an agent may do with a tool.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::pb::admin::{Grant, ItemKind, ListItemsRequest, item::Item as Inner};

use super::{
    agent::rate,
    context::Context,
    failure::Failure,
    items::{self, OneKind, time_or},
    moment,
    paging::Paging,
    print::Printer,
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantVerb {
    /// Let an agent do something with a tool. Prints the grant's id, AGENT/TOOL
    Add(Add),
    /// List grants by their agents and tools
    List(List),
    /// Show a grant
    Show {
        /// The grant's id, AGENT/TOOL
        id: String,
    },
    /// Change what is given of a grant
    Update(Update),
    /// Remove grants, all of them or none
    #[command(alias = "delete")]
    Remove {
        /// The grants' ids, AGENT/TOOL
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// `grant add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The agent's name
    agent: String,
    /// The tool's name
    tool: String,
    /// A scope of the tool; may be given several times
    #[arg(long = "scope", required = true, value_name = "NAME")]
    scopes: Vec<String>,
    /// A data set that it is meant for; may be given several times. For people: no token has it, and nothing is judged by it
    #[arg(long = "dataset", value_name = "NAME")]
    datasets: Vec<String>,
    /// How long its tokens live at most, as 2m; up to what the scopes' bands allow, and as usual without
    #[arg(long, value_name = "D", value_parser = moment::ttl)]
    ttl_max: Option<u64>,
    /// How many tokens it gives, as 30/min; as many as are asked for without
    #[arg(long, value_name = "N/min", value_parser = per_minute)]
    rate: Option<u64>,
}

/// `grant list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this agent
    #[arg(long, value_name = "NAME", default_value = "")]
    agent: String,
    /// Only those on this tool
    #[arg(long, value_name = "NAME", default_value = "")]
    tool: String,
    /// Only those that have this scope
    #[arg(long, value_name = "NAME", default_value = "")]
    scope: String,
    #[command(flatten)]
    paging: Paging,
}

/// `grant update`
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The grant's id, AGENT/TOOL
    id: String,
    /// Scopes in the place of all that were there
    #[arg(long = "scope", value_name = "NAME")]
    scopes: Vec<String>,
    /// Data sets in the place of all that were there
    #[arg(long = "dataset", value_name = "NAME")]
    datasets: Vec<String>,
    /// Take all data sets away
    #[arg(long, conflicts_with = "datasets")]
    no_dataset: bool,
    /// How long its tokens live at most; 0 is as usual
    #[arg(long, value_name = "D", value_parser = moment::ttl)]
    ttl_max: Option<u64>,
    /// How many tokens it gives, as 30/min; 0 is as many as are asked for
    #[arg(long, value_name = "N/min", value_parser = per_minute)]
    rate: Option<u64>,
}

/// Runs one of the verbs.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn run(context: &Context, verb: GrantVerb) -> Result<(), Failure> {
    match verb {
        GrantVerb::Add(Add { agent, tool, scopes, datasets, ttl_max, rate }) => {
            let (ttl_max_seconds, rate_per_minute) = (ttl_max.unwrap_or(0), rate.unwrap_or(0));
            let grant = Grant { agent, tool, scopes, datasets, ttl_max_seconds, rate_per_minute, ..Grant::default() };
            items::add(context, grant).await
        }
        GrantVerb::List(List { agent, tool, scope, paging }) => {
            let request = ListItemsRequest { agent, tool, scope, ..ListItemsRequest::default() };
            items::list::<Grant>(context, request, paging).await
        }
        GrantVerb::Show { id } => items::show::<Grant>(context, &id).await,
        GrantVerb::Update(update) => {
            let id = update.id.clone();
            items::update(context, &id, |grant| update.change(grant)).await
        }
        GrantVerb::Remove { ids } => items::remove::<Grant>(context, ids, false).await,
    }
}

impl Update {
    fn change(self, grant: &mut Grant) {
        if !self.scopes.is_empty() {
            grant.scopes = self.scopes;
        }
        if self.no_dataset || !self.datasets.is_empty() {
            grant.datasets = self.datasets;
        }
        grant.ttl_max_seconds = self.ttl_max.unwrap_or(grant.ttl_max_seconds);
        grant.rate_per_minute = self.rate.unwrap_or(grant.rate_per_minute);
    }
}

/// `30/min`; a bare number is the same.
///
/// # Errors
/// Words that say what is wanted.
pub(crate) fn per_minute(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("/min").unwrap_or(text);
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_plain).ok_or_else(|| format!("`{text}` is no rate, write it as 30/min"))
}

impl OneKind for Grant {
    const KIND: ItemKind = ItemKind::Grant;
    const WORD: &'static str = "grant";

    fn wrap(self) -> Inner {
        Inner::Grant(self)
    }

    fn unwrap(inner: Inner) -> Option<Self> {
        if let Inner::Grant(grant) = inner { Some(grant) } else { None }
    }

    fn id(&self) -> String {
        format!("{}/{}", self.agent, self.tool)
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn view(&self) -> Value {
        // Every field by name: one that the API gets later must be shown too.
        let Self { agent, tool, scopes, datasets, ttl_max_seconds, rate_per_minute, revision, created_at } = self;
        json!({
            "id": self.id(),
            "agent": agent,
            "tool": tool,
            "scopes": scopes,
            "datasets": datasets,
            "ttl_max_seconds": ttl_max_seconds,
            "rate_per_minute": rate_per_minute,
            "created_at": created_at,
            "revision": revision,
        })
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        vec![
            ("id", self.id()),
            ("scopes", self.scopes.join("\n")),
            ("data sets", self.datasets.join("\n")),
            ("ttl max", moment::ttl_text(self.ttl_max_seconds)),
            ("rate", rate(self.rate_per_minute)),
            ("created", time_or(self.created_at, "")),
            ("revision", self.revision.to_string()),
        ]
    }

    fn rows(print: &Printer, all: &[Self]) -> Result<(), Failure> {
        let row = |grant: &Self| {
            [
                grant.id(),
                grant.scopes.join(" "),
                moment::ttl_text(grant.ttl_max_seconds),
                rate(grant.rate_per_minute),
                grant.datasets.join(" "),
            ]
        };
        print.table(["ID", "SCOPES", "TTL MAX", "RATE", "DATA SETS"], all.iter().map(row))
    }
}

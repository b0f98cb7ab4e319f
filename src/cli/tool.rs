//! `dayfly tool …`: HTTP services that agents call.

use clap::{ArgAction, Args, Subcommand};
use serde_json::{Value, json};

use crate::pb::admin::{ItemKind, ListItemsRequest, StatusRequest, Tool, ToolRoute, ToolScope, item::Item as Inner};

use super::{
    context::Context,
    failure::Failure,
    items::{self, OneKind, time_or},
    link::{Admin, answer},
    paging::Paging,
    print::Printer,
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolVerb {
    /// Register a tool. Prints its name
    Add(Add),
    /// List tools by their names
    List(List),
    /// Show a tool
    Show {
        /// The tool's name
        name: String,
    },
    /// Change what is given of a tool
    Update(Update),
    /// Remove tools, all of them or none
    #[command(alias = "delete")]
    Remove {
        /// The tools' names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// The grants on them go too
        #[arg(long)]
        cascade: bool,
    },
}

const HELP_AUDIENCE: &str = "What its tokens are for: an absolute URI, as https://api.example.org, no other tool's";
const HELP_URL: &str = "Where it is, as https://api.example.org/v1; may be given several times";

/// `tool add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its name: a-z 0-9 -, at most 63 characters
    name: String,
    // No doc comment: there, a bare URL is a fault.
    #[arg(long, value_name = "URI", help = HELP_AUDIENCE)]
    audience: String,
    #[arg(long = "url", value_name = "BASE", help = HELP_URL)]
    base_urls: Vec<String>,
    /// What can be done there, and of which band: NAME=read|write|delete|send|deploy; may be given several times
    #[arg(long = "scope", required = true, value_name = "NAME=BAND", value_parser = scope)]
    scopes: Vec<ToolScope>,
    /// Which scope a request needs: 'GET /orders/*=orders:read', below a base URL; `*` is one segment, at the end one
    /// or more. May be given several times; what has no route is refused
    #[arg(long = "route", value_name = "METHOD /PATH=SCOPE", value_parser = route)]
    routes: Vec<ToolRoute>,
    /// Take `%2F` as a part of a segment
    #[arg(long)]
    encoded_slash: bool,
    /// A credential that it takes besides our access tokens with DPoP proofs: `wit`, `jwt-svid`, the URL of another
    /// issuer, for its access tokens with DPoP proofs, or with it `mtls`, for those bound to a TLS client's certificate;
    /// may be given several times
    #[arg(long = "accept", value_name = "KIND")]
    accepts: Vec<String>,
}

/// `tool list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only the one with this audience
    #[arg(long, value_name = "URI", default_value = "")]
    audience: String,
    /// Only those that have this scope
    #[arg(long, value_name = "NAME", default_value = "")]
    scope: String,
    #[command(flatten)]
    paging: Paging,
}

/// `tool update`
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The tool's name
    name: String,
    /// Another audience
    #[arg(long, value_name = "URI")]
    audience: Option<String>,
    /// Base URLs in the place of all that were there
    #[arg(long = "url", value_name = "BASE")]
    base_urls: Vec<String>,
    /// Take all base URLs away
    #[arg(long, conflicts_with = "base_urls")]
    no_url: bool,
    /// Scopes in the place of all that were there
    #[arg(long = "scope", value_name = "NAME=BAND", value_parser = scope)]
    scopes: Vec<ToolScope>,
    /// Routes in the place of all that were there
    #[arg(long = "route", value_name = "METHOD /PATH=SCOPE", value_parser = route)]
    routes: Vec<ToolRoute>,
    /// Take all routes away
    #[arg(long, conflicts_with = "routes")]
    no_route: bool,
    /// Whether to take `%2F` as a part of a segment
    #[arg(long, value_name = "YES", action = ArgAction::Set)]
    encoded_slash: Option<bool>,
    /// Credentials in the place of all that were there; `dpop` alone leaves none but our access tokens with DPoP
    /// proofs
    #[arg(long = "accept", value_name = "KIND")]
    accepts: Vec<String>,
}

/// Runs one of the verbs.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn run(context: &Context, verb: ToolVerb) -> Result<(), Failure> {
    match verb {
        ToolVerb::Add(Add { name, audience, base_urls, scopes, routes, encoded_slash, accepts }) => {
            let others = accepts.clone();
            let tool = Tool { name, audience, base_urls, scopes, routes, encoded_slash, accepts, ..Tool::default() };
            items::add(context, tool).await?;
            warn(context, &others).await
        }
        ToolVerb::List(List { audience, scope, paging }) => {
            let request = ListItemsRequest { audience, scope, ..ListItemsRequest::default() };
            items::list::<Tool>(context, request, paging).await
        }
        ToolVerb::Show { name } => show(context, &name).await,
        ToolVerb::Update(update) => {
            let (name, others) = (update.name.clone(), update.accepts.clone());
            items::update(context, &name, |tool| update.change(tool)).await?;
            warn(context, &others).await
        }
        ToolVerb::Remove { names, cascade } => items::remove::<Tool>(context, names, cascade).await,
    }
}

/// Shows a tool, for people with a mark at each issuer that it accepts in vain.
async fn show(context: &Context, name: &str) -> Result<(), Failure> {
    let mut admin = Admin::connect(context).await?;
    let mut tool: Tool = items::fetch(&mut admin, name).await?;
    if !context.print.is_json() {
        let unpinned = unpinned(&mut admin, &tool.accepts).await?;
        let marked = |word: String| if unpinned.contains(&word) { format!("{word} (not pinned)") } else { word };
        tool.accepts = tool.accepts.into_iter().map(marked).collect();
    }
    items::one(context, &tool)
}

/// Says which of these issuers are accepted in vain.
async fn warn(context: &Context, accepts: &[String]) -> Result<(), Failure> {
    if !accepts.iter().any(|word| is_issuer(word)) {
        return Ok(());
    }
    for issuer in unpinned(&mut Admin::connect(context).await?, accepts).await? {
        context.print.say(format_args!(
            "{issuer} is not pinned: none of its tokens is taken until an [[authz.issuer]] of the configuration names it"
        ));
    }
    Ok(())
}

/// Those of them that are issuers of which the daemon knows no keys.
async fn unpinned(admin: &mut Admin, accepts: &[String]) -> Result<Vec<String>, Failure> {
    let pinned = answer(admin.control.status(StatusRequest {})).await?.pinned_issuers;
    Ok(accepts.iter().filter(|word| is_issuer(word) && !pinned.contains(word)).cloned().collect())
}

fn is_issuer(word: &str) -> bool {
    word.contains(':')
}

impl Update {
    fn change(self, tool: &mut Tool) {
        fn replace<T>(list: &mut Vec<T>, with: Vec<T>, none: bool) {
            if none || !with.is_empty() {
                *list = with;
            }
        }
        tool.audience = self.audience.unwrap_or_else(|| std::mem::take(&mut tool.audience));
        replace(&mut tool.base_urls, self.base_urls, self.no_url);
        replace(&mut tool.scopes, self.scopes, false);
        replace(&mut tool.routes, self.routes, self.no_route);
        tool.encoded_slash = self.encoded_slash.unwrap_or(tool.encoded_slash);
        replace(&mut tool.accepts, self.accepts, false);
    }
}

/// `NAME=BAND`. The name may have `=` in it, the band cannot.
fn scope(text: &str) -> Result<ToolScope, String> {
    let (name, band) = text.rsplit_once('=').ok_or("write it as orders:read=read")?;
    Ok(ToolScope { name: name.to_owned(), band: band.to_owned() })
}

/// `METHOD /path=SCOPE`. The path may have `=` in it; a scope that has is given in a file only.
fn route(text: &str) -> Result<ToolRoute, String> {
    let (route, scope) = text.rsplit_once('=').ok_or("write it as 'GET /orders/*=orders:read'")?;
    Ok(ToolRoute { route: route.to_owned(), scope: scope.to_owned() })
}

impl OneKind for Tool {
    const KIND: ItemKind = ItemKind::Tool;
    const WORD: &'static str = "tool";

    fn wrap(self) -> Inner {
        Inner::Tool(self)
    }

    fn unwrap(inner: Inner) -> Option<Self> {
        if let Inner::Tool(tool) = inner { Some(tool) } else { None }
    }

    fn id(&self) -> String {
        self.name.clone()
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn view(&self) -> Value {
        // Every field by name: one that the API gets later must be shown too.
        let Self { name, audience, base_urls, scopes, routes, encoded_slash, accepts, revision, created_at } = self;
        let scopes = scopes.iter().map(|scope| json!({ "name": scope.name, "band": scope.band }));
        let routes = routes.iter().map(|route| json!({ "route": route.route, "scope": route.scope }));
        json!({
            "name": name,
            "audience": audience,
            "base_urls": base_urls,
            "scopes": scopes.collect::<Vec<_>>(),
            "routes": routes.collect::<Vec<_>>(),
            "encoded_slash": encoded_slash,
            "accepts": accepts,
            "created_at": created_at,
            "revision": revision,
        })
    }

    fn card(&self) -> Vec<(&'static str, String)> {
        let routes: Vec<_> = self.routes.iter().map(|route| format!("{} = {}", route.route, route.scope)).collect();
        let encoded_slash = if self.encoded_slash { "part of a segment" } else { "" };
        vec![
            ("name", self.name.clone()),
            ("audience", self.audience.clone()),
            ("base urls", self.base_urls.join("\n")),
            ("scopes", scopes(self)),
            ("routes", routes.join("\n")),
            ("encoded slash", encoded_slash.to_owned()),
            ("accepts", self.accepts.join("\n")),
            ("created", time_or(self.created_at, "")),
            ("revision", self.revision.to_string()),
        ]
    }

    fn rows(print: &Printer, all: &[Self]) -> Result<(), Failure> {
        let row = |tool: &Self| {
            [
                tool.name.clone(),
                tool.audience.clone(),
                tool.base_urls.join("\n"),
                scopes(tool),
                tool.routes.len().to_string(),
                tool.accepts.join("\n"),
            ]
        };
        print.table(["NAME", "AUDIENCE", "BASE URLS", "SCOPES", "ROUTES", "ACCEPTS"], all.iter().map(row))
    }
}

fn scopes(tool: &Tool) -> String {
    let scopes: Vec<_> = tool.scopes.iter().map(|scope| format!("{} = {}", scope.name, scope.band)).collect();
    scopes.join("\n")
}

//! `dayfly entry …`: registration entries, one by one.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    pb::admin::{
        ApplyEntriesRequest, CreateEntryRequest, DeleteEntryRequest, Entry, ListEntriesRequest, ShowEntryRequest,
        UpdateEntryRequest,
    },
    registry::{self, Draft, Name, Problem, Selector},
    spiffe::TrustDomain,
};

use super::{
    context::Context,
    exit::Exit,
    failure::{Failure, counted},
    link::{Admin, answer},
    moment,
    paging::{self, Paging},
    shown,
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum EntryVerb {
    /// Register an entry: who has all of these selectors is this SPIFFE ID. Prints the new entry's id
    Add(Add),
    /// List entries, oldest first
    List(List),
    /// Show one entry whole
    Show {
        /// The entry's id
        id: String,
    },
    /// Change what is given of an entry; its id and its place in the order stay
    Update(Update),
    /// Remove entries, all of them or none; open streams of their callers learn of it at once
    #[command(alias = "delete")]
    Remove {
        /// The entries' ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// `entry add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The identity, as spiffe://example.org/web, or each caller's own, as spiffe://example.org/user/{unix:user}: of
    /// unix:uid, gid, user, group and sha256
    spiffe_id: String,
    /// What a caller must have, as unix:uid:1000; give it several times, all of them must match
    #[arg(short, long = "selector", required = true, value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// How long its X.509-SVIDs live, as 15m; 0 or nothing is the daemon's default
    #[arg(long, value_name = "D", value_parser = moment::ttl)]
    x509_ttl: Option<u64>,
    /// How long its JWT-SVIDs live, as 5m; 0 or nothing is the daemon's default
    #[arg(long, value_name = "D", value_parser = moment::ttl)]
    jwt_ttl: Option<u64>,
    /// How long its WIT-SVIDs live, as 5m; 0 or nothing is the daemon's default
    #[arg(long, value_name = "D", value_parser = moment::ttl)]
    wit_ttl: Option<u64>,
    /// A DNS name for its certificates; may be given several times. The first is the common name too
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// What its certificates are for: `database` has a common name of your choice, for accounts of PostgreSQL and MySQL
    #[arg(long, value_name = "PROFILE", value_parser = PROFILES, default_value = "spiffe")]
    certificate_profile: String,
    /// The common name of a certificate for a database
    #[arg(long, value_name = "NAME", default_value = "")]
    common_name: String,
    /// Tells this identity from others of the same caller
    #[arg(long, value_name = "TEXT", default_value = "")]
    hint: String,
    /// A foreign trust domain whose bundle its callers get; may be given several times
    #[arg(long, value_name = "TRUST_DOMAIN")]
    federates_with: Vec<String>,
    /// For a proxy: an identity whose certificates it may take by SDS, beside its own; may be given several times
    #[arg(long, value_name = "SPIFFE_ID")]
    sds_for: Vec<String>,
    /// When it ends: 30d or +2h from now, a time as 2027-01-31T12:00:00Z, or Unix seconds
    #[arg(long, visible_alias = "expires-at", value_name = "WHEN", value_parser = moment::end)]
    expires: Option<u64>,
    /// The registered agent that its callers are
    #[arg(long, value_name = "NAME", default_value = "")]
    agent: String,
}

/// `entry list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this SPIFFE ID
    #[arg(long, value_name = "ID", default_value = "")]
    spiffe_id: String,
    /// Only those whose SPIFFE ID begins so
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// Only those that have this selector; given several times, all of them
    #[arg(short, long = "selector", value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// Only those with this hint
    #[arg(long, value_name = "TEXT", default_value = "")]
    hint: String,
    /// Only those that federate with this trust domain
    #[arg(long, value_name = "TRUST_DOMAIN", default_value = "")]
    federates_with: String,
    /// Only those of this agent
    #[arg(long, value_name = "NAME", default_value = "")]
    agent: String,
    #[command(flatten)]
    paging: Paging,
}

/// `entry update`
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The entry's id
    id: String,
    /// Another identity
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<String>,
    /// Selectors in the place of all that were there
    #[arg(short, long = "selector", value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// How long its X.509-SVIDs live; 0 is the daemon's default
    #[arg(long, value_name = "D", value_parser = moment::ttl)]
    x509_ttl: Option<u64>,
    /// How long its JWT-SVIDs live; 0 is the daemon's default
    #[arg(long, value_name = "D", value_parser = moment::ttl)]
    jwt_ttl: Option<u64>,
    /// How long its WIT-SVIDs live; 0 is the daemon's default
    #[arg(long, value_name = "D", value_parser = moment::ttl)]
    wit_ttl: Option<u64>,
    /// DNS names in the place of all that were there
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// Another certificate profile; `spiffe` takes the chosen common name away
    #[arg(long, value_name = "PROFILE", value_parser = PROFILES)]
    certificate_profile: Option<String>,
    /// Another common name for certificates of the profile `database`
    #[arg(long, value_name = "NAME")]
    common_name: Option<String>,
    /// Take all DNS names away
    #[arg(long, conflicts_with = "dns_names")]
    no_dns: bool,
    /// Another hint; '' takes it away
    #[arg(long, value_name = "TEXT")]
    hint: Option<String>,
    /// Foreign trust domains in the place of all that were there
    #[arg(long, value_name = "TRUST_DOMAIN")]
    federates_with: Vec<String>,
    /// Take all foreign trust domains away
    #[arg(long, conflicts_with = "federates_with")]
    no_federates_with: bool,
    /// For a proxy: identities that it acts for in the place of all that were there
    #[arg(long, value_name = "SPIFFE_ID")]
    sds_for: Vec<String>,
    /// Let it act for nobody else
    #[arg(long, conflicts_with = "sds_for")]
    no_sds_for: bool,
    /// When it ends: 30d or +2h from now, a time as 2027-01-31T12:00:00Z, Unix seconds, or never
    #[arg(long, visible_alias = "expires-at", value_name = "WHEN", value_parser = moment::end)]
    expires: Option<u64>,
    /// Another agent that its callers are; '' for none
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
}

/// Runs one of the verbs.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn run(context: &Context, verb: EntryVerb) -> Result<(), Failure> {
    act(context, verb).await.map_err(|failure| match failure.exit() {
        Exit::Missing if failure.words().contains(registry::Error::NO_AGENT) => {
            failure.hint("`dayfly agent list` shows what there is")
        }
        Exit::Missing => failure.hint("`dayfly entry list` shows what there is"),
        // A changed entry comes with its own advice.
        Exit::Usage if failure.words().contains(Problem::FOREIGN) => failure.hint(FOREIGN_HINT),
        Exit::Conflict if failure.words().contains(registry::Error::OVERLAP) => {
            failure.hint("let their first segments differ, as /user/… and /group/…")
        }
        Exit::Conflict if failure.advice().is_none() => failure.hint("change it with `dayfly entry update`"),
        _ => failure,
    })
}

async fn act(context: &Context, verb: EntryVerb) -> Result<(), Failure> {
    match verb {
        EntryVerb::Add(add) => self::add(context, add).await,
        EntryVerb::List(list) => self::list(context, list).await,
        EntryVerb::Show { id } => {
            let entry = answer(Admin::connect(context).await?.entries.show(ShowEntryRequest { id })).await?;
            one(context, &entry)
        }
        EntryVerb::Update(update) => self::update(context, update).await,
        EntryVerb::Remove { ids } => remove(context, ids).await,
    }
}

async fn add(context: &Context, add: Add) -> Result<(), Failure> {
    let entry = Entry {
        spiffe_id: add.spiffe_id,
        selectors: add.selectors,
        x509_ttl_seconds: add.x509_ttl.unwrap_or(0),
        jwt_ttl_seconds: add.jwt_ttl.unwrap_or(0),
        wit_ttl_seconds: add.wit_ttl.unwrap_or(0),
        dns_names: add.dns_names,
        certificate_profile: add.certificate_profile,
        common_name: add.common_name,
        hint: add.hint,
        federates_with: add.federates_with,
        sds_for: add.sds_for,
        expires_at: add.expires.unwrap_or(0),
        agent: add.agent,
        ..Entry::default()
    };
    check(&entry)?;
    let request = CreateEntryRequest { entry: Some(entry) };
    let made = answer(Admin::connect(context).await?.entries.create(request)).await?;
    warn_of_unmade(context, &made);
    match context.print.is_json() {
        true => context.print.json(&shown::EntryView::from(&made)),
        false => context.print.line(&made.id),
    }
}

async fn list(context: &Context, list: List) -> Result<(), Failure> {
    let print = &context.print;
    let mut admin = Admin::connect(context).await?;
    let mut request = ListEntriesRequest {
        spiffe_id: list.spiffe_id,
        spiffe_id_prefix: list.prefix,
        selectors: list.selectors,
        hint: list.hint,
        federates_with: list.federates_with,
        agent: list.agent,
        page_size: list.paging.size(),
        page_token: list.paging.page_token,
        count_only: list.paging.count,
    };
    let mut page = answer(admin.entries.list(request.clone())).await?;
    if list.paging.count {
        return paging::total(print, page.total);
    }
    while list.paging.all && !page.next_page_token.is_empty() {
        print.progress(format_args!("{} of {} entries", page.entries.len(), page.total));
        request.page_token = page.next_page_token;
        let next = answer(admin.entries.list(request.clone())).await?;
        page.entries.extend(next.entries);
        page.next_page_token = next.next_page_token;
        page.total = next.total;
    }
    print.progress_done();
    if print.is_json() {
        return print.json(&json!({
            "entries": shown::views(&page.entries),
            "next_page_token": page.next_page_token,
            "total": page.total,
        }));
    }
    if page.entries.is_empty() {
        print.say("no entries");
        return Ok(());
    }
    shown::rows(print, &page.entries)?;
    paging::next(print, page.entries.len(), page.total, &page.next_page_token);
    Ok(())
}

async fn update(context: &Context, update: Update) -> Result<(), Failure> {
    let mut admin = Admin::connect(context).await?;
    let mut entry = answer(admin.entries.show(ShowEntryRequest { id: update.id.clone() })).await?;
    let seen = entry.revision;
    let before = entry.clone();
    update.change(&mut entry);
    if entry == before {
        context.print.say("nothing to change");
        return one(context, &entry);
    }
    check(&entry)?;
    let request = UpdateEntryRequest { entry: Some(entry), expected_revision: seen };
    let changed = answer(admin.entries.update(request)).await?;
    warn_of_unmade(context, &changed);
    one(context, &changed)
}

impl Update {
    fn change(self, entry: &mut Entry) {
        let replace = |list: &mut Vec<String>, with: Vec<String>, none: bool| {
            if none || !with.is_empty() {
                *list = with;
            }
        };
        replace(&mut entry.selectors, self.selectors, false);
        replace(&mut entry.dns_names, self.dns_names, self.no_dns);
        replace(&mut entry.federates_with, self.federates_with, self.no_federates_with);
        replace(&mut entry.sds_for, self.sds_for, self.no_sds_for);
        entry.spiffe_id = self.spiffe_id.unwrap_or_else(|| std::mem::take(&mut entry.spiffe_id));
        entry.hint = self.hint.unwrap_or_else(|| std::mem::take(&mut entry.hint));
        if let Some(profile) = self.certificate_profile {
            // As answers have it, so that what is as it was is not sent.
            let is_default = profile == DEFAULT_PROFILE;
            entry.certificate_profile = if is_default { String::new() } else { profile };
            if is_default {
                entry.common_name.clear();
            }
        }
        entry.common_name = self.common_name.unwrap_or_else(|| std::mem::take(&mut entry.common_name));
        entry.x509_ttl_seconds = self.x509_ttl.unwrap_or(entry.x509_ttl_seconds);
        entry.jwt_ttl_seconds = self.jwt_ttl.unwrap_or(entry.jwt_ttl_seconds);
        entry.wit_ttl_seconds = self.wit_ttl.unwrap_or(entry.wit_ttl_seconds);
        entry.expires_at = self.expires.unwrap_or(entry.expires_at);
        entry.agent = self.agent.unwrap_or_else(|| std::mem::take(&mut entry.agent));
    }
}

async fn remove(context: &Context, ids: Vec<String>) -> Result<(), Failure> {
    let mut admin = Admin::connect(context).await?;
    let count = ids.len();
    match <[String; 1]>::try_from(ids) {
        Ok([id]) => {
            answer(admin.entries.delete(DeleteEntryRequest { id })).await?;
        }
        Err(ids) => {
            answer(admin.entries.apply(ApplyEntriesRequest { delete: ids, ..ApplyEntriesRequest::default() })).await?;
        }
    }
    match context.print.is_json() {
        true => context.print.json(&json!({ "removed": count })),
        false => {
            context.print.say(format_args!("removed {}", counted(count, "entry", "entries")));
            Ok(())
        }
    }
}

fn one(context: &Context, entry: &Entry) -> Result<(), Failure> {
    match context.print.is_json() {
        true => context.print.json(&shown::EntryView::from(entry)),
        false => shown::card(&context.print, entry),
    }
}

/// Finds what is wrong without asking anybody. Whether the trust domain is the daemon's own, only the daemon knows.
fn check(entry: &Entry) -> Result<(), Failure> {
    let problems: Vec<String> = problems(entry);
    match problems.as_slice() {
        [] => Ok(()),
        [problem] => Err(Failure::new(Exit::Usage, problem.clone())),
        _ => Err(Failure::new(Exit::Usage, "the entry is not right").details(problems)),
    }
    .map_err(|failure| if entry.spiffe_id.starts_with("spiffe://") { failure } else { failure.hint(ID_HINT) })
}

fn warn_of_unmade(context: &Context, entry: &Entry) {
    unmade(entry).into_iter().for_each(|words| context.print.warn(words));
}

/// What to know of an entry with a selector of somebody else's: kept, as SPIRE's entries carry over.
pub(crate) fn unmade(entry: &Entry) -> Option<String> {
    let foreign = |selector: &&String| Selector::parse(selector).is_ok_and(|selector| !selector.is_own());
    let foreign = entry.selectors.iter().find(foreign)?;
    Some(format!("nobody will match it: this daemon does not make the selector `{foreign}`"))
}

/// Everything that is wrong with an entry, whatever its trust domain.
pub(crate) fn problems(entry: &Entry) -> Vec<String> {
    let own = Name::parse(&entry.spiffe_id).map(|name| name.trust_domain());
    // Where the ID is none, its own problem is told; any domain will do for the rest.
    let Ok(own) = own.or_else(|_| TrustDomain::parse("unknown")) else {
        return Vec::new();
    };
    match draft(entry.clone()).check_new(&own) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// What an operator says in an entry.
pub(crate) fn draft(entry: Entry) -> Draft {
    Draft {
        spiffe_id: entry.spiffe_id,
        selectors: entry.selectors,
        x509_ttl_seconds: entry.x509_ttl_seconds,
        jwt_ttl_seconds: entry.jwt_ttl_seconds,
        wit_ttl_seconds: entry.wit_ttl_seconds,
        dns_names: entry.dns_names,
        certificate_profile: entry.certificate_profile,
        common_name: entry.common_name,
        hint: entry.hint,
        federates_with: entry.federates_with,
        sds_for: entry.sds_for,
        admin: entry.admin,
        downstream: entry.downstream,
        expires_at: entry.expires_at,
        agent: entry.agent,
    }
}

/// The certificate profiles.
const PROFILES: [&str; 2] = [DEFAULT_PROFILE, "database"];
pub(crate) const DEFAULT_PROFILE: &str = "spiffe";
const FOREIGN_HINT: &str =
    "entries name identities of the daemon's own trust domain; --federates-with gives its callers a foreign bundle";
const ID_HINT: &str = "a SPIFFE ID is written as spiffe://TRUST-DOMAIN/PATH";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            spiffe_id: "spiffe://example.org/web".into(),
            selectors: vec!["unix:uid:1000".into()],
            x509_ttl_seconds: 60,
            hint: "internal".into(),
            dns_names: vec!["web.example.org".into()],
            revision: 3,
            ..Entry::default()
        }
    }

    fn nothing() -> Update {
        Update {
            id: String::new(),
            spiffe_id: None,
            selectors: Vec::new(),
            x509_ttl: None,
            jwt_ttl: None,
            wit_ttl: None,
            dns_names: Vec::new(),
            certificate_profile: None,
            common_name: None,
            no_dns: false,
            hint: None,
            federates_with: Vec::new(),
            no_federates_with: false,
            sds_for: Vec::new(),
            no_sds_for: false,
            expires: None,
            agent: None,
        }
    }

    #[test]
    fn an_update_changes_what_was_given_and_nothing_else() {
        let mut changed = entry();
        nothing().change(&mut changed);
        assert_eq!(changed, entry());
        Update { x509_ttl: Some(0), hint: Some(String::new()), no_dns: true, ..nothing() }.change(&mut changed);
        assert_eq!(changed, Entry { x509_ttl_seconds: 0, hint: String::new(), dns_names: Vec::new(), ..entry() });
        let database = Entry { certificate_profile: "database".into(), common_name: "web".into(), ..entry() };
        let mut changed = database.clone();
        Update { common_name: Some("db".into()), ..nothing() }.change(&mut changed);
        assert_eq!(changed, Entry { common_name: "db".into(), ..database });
        Update { certificate_profile: Some("spiffe".into()), ..nothing() }.change(&mut changed);
        assert_eq!(changed, entry());
    }

    #[test]
    fn every_problem_of_an_entry_is_told() {
        let wrong = Entry {
            spiffe_id: "web".into(),
            selectors: vec!["uid".into(), "unix:uid:x".into()],
            x509_ttl_seconds: 1,
            ..entry()
        };
        assert_eq!(problems(&wrong).len(), 4);
        assert!(problems(&entry()).is_empty());
    }
}

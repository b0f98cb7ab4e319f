//! `dayfly bundle set|list|show|delete`: the bundles of foreign trust domains.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{json, value::RawValue};

use crate::{
    pb::admin::{Bundle, DeleteBundleRequest, ListBundlesRequest, SetBundleRequest, ShowBundleRequest},
    spiffe::{
        TrustDomain,
        document::{self, Document},
        x509,
    },
};

use super::{
    context::Context,
    exit::Exit,
    failure::{Failure, counted, whole},
    fetch::certificates,
    link::{Admin, answer},
    moment,
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum BundleVerb {
    /// Put a bundle in the place of the one that a foreign trust domain had; who federates with it learns of it at once
    Set(Set),
    /// List the foreign trust domains that there are bundles of
    List {
        /// Only how many there are
        #[arg(long)]
        count: bool,
    },
    /// Show the bundle of a foreign trust domain
    Show(Show),
    /// Delete the bundle of a foreign trust domain
    #[command(alias = "remove")]
    Delete(Delete),
}

/// `bundle set`
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The trust domain, as other.org
    trust_domain: String,
    /// Its bundle; `-` is stdin. A SPIFFE bundle document (JSON), or CA certificates in PEM: these have X.509
    /// authorities only. What the file is, is told by what is in it
    file: PathBuf,
}

/// `bundle show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The trust domain, as other.org
    trust_domain: String,
    /// Print it as a file: the whole as a SPIFFE bundle document, the X.509 authorities in PEM, or the JWT keys as a
    /// JWK Set
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// `bundle delete`
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The trust domain, as other.org
    trust_domain: String,
    /// Also when entries federate with it; they are served without it from then on
    #[arg(long)]
    force: bool,
}

/// How a bundle is written to a file.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    Spiffe,
    Pem,
    Jwks,
}

/// A bundle in JSON.
#[derive(Debug, Serialize)]
struct View<'b> {
    trust_domain: &'b str,
    x509_authorities: u32,
    jwt_keys: u32,
    wit_keys: u32,
    sequence: Option<u64>,
    revision: u64,
    changed_at: u64,
    entries: u64,
    /// Where it was sent, as it is kept: no number in it is rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'b RawValue>,
}

/// Runs one of the verbs.
///
/// # Errors
/// What the daemon refused.
pub(crate) async fn run(context: &Context, verb: BundleVerb) -> Result<(), Failure> {
    match verb {
        BundleVerb::Set(set) => self::set(context, set).await,
        BundleVerb::List { count } => list(context, count).await,
        BundleVerb::Show(show) => self::show(context, show).await.map_err(missing),
        BundleVerb::Delete(delete) => self::delete(context, delete).await.map_err(missing),
    }
}

async fn set(context: &Context, set: Set) -> Result<(), Failure> {
    let Set { trust_domain, file } = set;
    let document = read(&file)?;
    let mut admin = Admin::connect(context).await?;
    let done = answer(admin.bundles.set(SetBundleRequest { trust_domain, document })).await;
    let done = done.map_err(|failure| match failure.words().contains(NO_BUNDLE) {
        true => failure.hint(WHERE_FROM),
        false => failure,
    })?;
    let bundle = done.bundle.unwrap_or_default();
    done.warnings.iter().for_each(|words| context.print.warn(words));
    if context.print.is_json() {
        return context.print.json(&json!({
            "bundle": View::of(&bundle, None),
            "changed": done.changed,
            "warnings": done.warnings,
        }));
    }
    let name = &bundle.trust_domain;
    match done.changed {
        true => context.print.say(format_args!("{name}: {} (revision {})", keys(&bundle), bundle.revision)),
        false => context.print.say(format_args!("nothing to change: {name} has {} already", keys(&bundle))),
    }
    if bundle.entries == 0 {
        context.print.say(format_args!("no entry federates with it: see --federates-with of `dayfly entry add`"));
    }
    Ok(())
}

async fn list(context: &Context, count: bool) -> Result<(), Failure> {
    let print = &context.print;
    let mut admin = Admin::connect(context).await?;
    let found = answer(admin.bundles.list(ListBundlesRequest { count_only: count })).await?;
    if count {
        return if print.is_json() { print.json(&json!({ "total": found.total })) } else { print.line(found.total) };
    }
    if print.is_json() {
        let bundles: Vec<_> = found.bundles.iter().map(|bundle| View::of(bundle, None)).collect();
        return print.json(&json!({ "bundles": bundles, "total": found.total }));
    }
    if found.bundles.is_empty() {
        print.say("no foreign bundles");
        return Ok(());
    }
    let rows = found.bundles.iter().map(|bundle| {
        [
            bundle.trust_domain.clone(),
            bundle.x509_authorities.to_string(),
            bundle.jwt_keys.to_string(),
            bundle.wit_keys.to_string(),
            bundle.entries.to_string(),
            bundle.sequence.map(|number| number.to_string()).unwrap_or_default(),
            moment::text(bundle.changed_at),
        ]
    });
    print.table(["TRUST DOMAIN", "X509", "JWT", "WIT", "ENTRIES", "SEQUENCE", "CHANGED"], rows)
}

async fn show(context: &Context, show: Show) -> Result<(), Failure> {
    let print = &context.print;
    let Show { trust_domain, format } = show;
    let mut admin = Admin::connect(context).await?;
    let bundle = answer(admin.bundles.show(ShowBundleRequest { trust_domain })).await?;
    let document = parse(&bundle)?;
    match format {
        None if print.is_json() => {
            let raw: &RawValue = serde_json::from_slice(&bundle.document)
                .map_err(|error| Failure::because("the daemon sent no document", &error))?;
            print.json(&View::of(&bundle, Some(raw)))
        }
        None => card(context, &bundle, &document),
        Some(Format::Spiffe) => print.data(&[&bundle.document, b"\n".as_slice()].concat()),
        Some(Format::Pem) if document.x509().is_empty() => {
            print.say(format_args!("{} has no X.509 authorities", bundle.trust_domain));
            Ok(())
        }
        Some(Format::Pem) => print.data(certificates(document.x509().authorities()).as_bytes()),
        Some(Format::Jwks) => print.data(format!("{}\n", document.jwt().to_json()).as_bytes()),
    }
}

fn card(context: &Context, bundle: &Bundle, document: &Document) -> Result<(), Failure> {
    let lines = |ids: Vec<String>| ids.join("\n");
    let authorities = document.x509().authorities().iter().map(|der| {
        let end = x509::validity(der).map(|(_, end)| moment::text(moment::unix(end))).unwrap_or_default();
        format!("{}  until {end}", HEXLOWER.encode(digest(&SHA256, der).as_ref()))
    });
    let pairs = [
        ("trust domain", bundle.trust_domain.clone()),
        ("x509", lines(authorities.collect())),
        ("jwt", lines(document.jwt().keys().map(|(id, _)| id.to_owned()).collect())),
        ("wit", lines(document.wit().keys().map(|(id, _)| id.to_owned()).collect())),
        ("sequence", bundle.sequence.map(|number| number.to_string()).unwrap_or_default()),
        ("entries", bundle.entries.to_string()),
        ("changed", moment::text(bundle.changed_at)),
        ("revision", bundle.revision.to_string()),
    ];
    if document.is_empty() {
        context.print.say("it has no keys: nothing of this trust domain is believed");
    }
    context.print.pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()))
}

async fn delete(context: &Context, delete: Delete) -> Result<(), Failure> {
    let Delete { trust_domain, force } = delete;
    let mut admin = Admin::connect(context).await?;
    let request = DeleteBundleRequest { trust_domain: trust_domain.clone(), force };
    let done = answer(admin.bundles.delete(request)).await.map_err(|failure| match failure.exit() {
        Exit::Conflict => failure.hint(format!(
            "`dayfly entry list --federates-with {trust_domain}` shows them; with --force it is deleted all the same, \
             and they are served without it"
        )),
        _ => failure,
    })?;
    if done.entries > 0 {
        let count = usize::try_from(done.entries).unwrap_or(usize::MAX);
        let who = counted(count, "entry federates", "entries federate");
        context.print.warn(format_args!("{who} with {trust_domain}, of which there is no bundle any more"));
    }
    match context.print.is_json() {
        true => context.print.json(&json!({ "deleted": trust_domain, "entries": done.entries })),
        false => {
            context.print.say(format_args!("deleted the bundle of {trust_domain}"));
            Ok(())
        }
    }
}

impl<'b> View<'b> {
    fn of(bundle: &'b Bundle, document: Option<&'b RawValue>) -> Self {
        Self {
            trust_domain: &bundle.trust_domain,
            x509_authorities: bundle.x509_authorities,
            jwt_keys: bundle.jwt_keys,
            wit_keys: bundle.wit_keys,
            sequence: bundle.sequence,
            revision: bundle.revision,
            changed_at: bundle.changed_at,
            entries: bundle.entries,
            document,
        }
    }
}

/// As `2 X.509 authorities, 1 JWT key`.
fn keys(bundle: &Bundle) -> String {
    let kinds = [
        (bundle.x509_authorities, "X.509 authority", "X.509 authorities"),
        (bundle.jwt_keys, "JWT key", "JWT keys"),
        (bundle.wit_keys, "WIT key", "WIT keys"),
    ];
    let some = kinds.into_iter().filter(|(count, ..)| *count > 0);
    let some: Vec<_> =
        some.map(|(count, one, many)| counted(usize::try_from(count).unwrap_or(usize::MAX), one, many)).collect();
    if some.is_empty() { "no keys".into() } else { some.join(", ") }
}

fn parse(bundle: &Bundle) -> Result<Document, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::new(Exit::Failed, format!("the daemon sent a bundle that cannot be read: {}", whole(error)))
    };
    let name = TrustDomain::parse(&bundle.trust_domain).map_err(|error| failed(&error))?;
    document::parse(name, &bundle.document).map(|outcome| outcome.document).map_err(|error| failed(&error))
}

fn read(file: &Path) -> Result<Bytes, Failure> {
    let is_stdin = file == Path::new("-");
    let name = if is_stdin { "stdin".into() } else { file.display().to_string() };
    let mut bytes = Vec::new();
    let read = match is_stdin {
        true => io::stdin().take(BYTES_MAX + 1).read_to_end(&mut bytes),
        false => File::open(file).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        Failure::new(if missing { Exit::Missing } else { Exit::Usage }, format!("{name} cannot be read: {error}"))
    })?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= BYTES_MAX => Ok(bytes.into()),
        _ => Err(Failure::new(Exit::Usage, format!("{name} is no bundle: it has more than {} MiB", BYTES_MAX >> 20))),
    }
}

fn missing(failure: Failure) -> Failure {
    match failure.exit() {
        Exit::Missing => failure.hint("`dayfly bundle list` shows what there is"),
        _ => failure,
    }
}

/// No file that is longer is sent. The daemon takes fewer, and says how many.
const BYTES_MAX: u64 = 2 << 20;
const NO_BUNDLE: &str = "neither a SPIFFE bundle document";
const WHERE_FROM: &str = "SPIRE prints one with `spire-server bundle show -format spiffe`, a Dayfly daemon's callers have \
                          bundle.pem from `dayfly fetch x509 --write`";

//! `dayfly fetch`: what this process is and whom it may believe, shown, written to files, and kept fresh.
//!
//! Four doors, one spine: a door knows what is asked for, and how it looks as files and as text; `delivery` asks,
//! stays, writes, and tells a service.

mod bundle;
mod choice;
mod command;
mod delivery;
mod files;
mod jwt;
mod recipient;
mod token;
mod watch;
mod wit;
mod write;
mod x509;

use clap::Subcommand;

use super::{context::Context, failure::Failure};

/// What can be fetched.
#[derive(Debug, Subcommand)]
pub(crate) enum FetchVerb {
    /// X.509-SVIDs of this process, as any workload gets them
    X509(x509::FetchX509),
    /// JWT-SVIDs of this process, for those who are to believe them
    Jwt(jwt::FetchJwt),
    /// WIT-SVIDs of this process with their keys (Incubating)
    Wit(wit::FetchWit),
    /// What this process may verify others with
    Bundle(bundle::FetchBundle),
}

/// Runs the verb.
///
/// # Errors
/// When there is no identity, no daemon, or the files cannot be written. One that stays goes on trying.
pub(crate) async fn run(context: &Context, verb: FetchVerb) -> Result<(), Failure> {
    match verb {
        FetchVerb::X509(fetch) => delivery::run(context, &fetch.delivery, &fetch).await,
        FetchVerb::Jwt(fetch) => delivery::run(context, &fetch.delivery, &fetch.door()?).await,
        FetchVerb::Wit(fetch) => delivery::run(context, &fetch.delivery, &fetch).await,
        FetchVerb::Bundle(fetch) => delivery::run(context, &fetch.delivery, &fetch.door(context)?).await,
    }
}

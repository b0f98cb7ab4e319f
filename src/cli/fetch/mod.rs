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
mod versions;
mod watch;
mod wit;
mod write;
mod x509;

use clap::Subcommand;

use super::{context::Context, failure::Failure};
pub(super) use files::certificates;

/// What can be fetched.
#[derive(Debug, Subcommand)]
pub(crate) enum FetchVerb {
    /// X.509-SVIDs of this process, as any workload gets them
    ///
    /// `--write` makes svid.pem, svid_key.pem and bundle.pem, and federated/TRUST-DOMAIN.pem for each foreign bundle.
    X509(x509::FetchX509),
    /// JWT-SVIDs of this process, for those who are to believe them
    ///
    /// To a pipe or a file goes the token of the default identity and nothing else; a terminal is shown what is in the
    /// tokens, but not the tokens. `--write` makes jwt_svid.token, without a line end. `--watch` asks for a new one
    /// around half of the life of the last.
    Jwt(jwt::FetchJwt),
    /// WIT-SVIDs of this process with their keys (Incubating)
    ///
    /// The key leaves only into files: `--write` makes wit_svid.token and wit_svid_key.json, a private JWK.
    Wit(wit::FetchWit),
    /// What this process may verify others with
    ///
    /// With `--trust-domain`, `--write` makes bundle.pem, jwt_bundle.json or wit_bundle.json, or bundle.json as a SPIFFE
    /// document; without, bundles/TRUST-DOMAIN.pem (or .json) of each: keys of two trust domains are never in one file.
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

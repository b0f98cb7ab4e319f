//! `dayfly validate`: whether somebody's certificate or token is to be believed, and if not, why.
//!
//! What was given decides the exit code: 0 is valid and nothing else is. No token is taken from the command line, where
//! every user of the machine could read it.

mod code;
mod input;
mod jwt;
mod source;
mod verdict;
mod wit;
mod x509;

use std::time::Duration;

use clap::Subcommand;

use super::{context::Context, failure::Failure};

/// What can be validated.
#[derive(Debug, Subcommand)]
pub(crate) enum ValidateVerb {
    /// A JWT-SVID, by the Workload API or by a bundle of one's own
    Jwt(jwt::ValidateJwt),
    /// A WIT-SVID, which is worth nothing without a proof that its key is held (Incubating)
    Wit(wit::ValidateWit),
    /// An X.509-SVID: the leaf first, then its intermediates
    X509(x509::ValidateX509),
}

/// Runs the verb.
///
/// # Errors
/// When it is not valid, or could not be judged: two exit codes.
pub(crate) async fn run(context: &Context, verb: ValidateVerb) -> Result<(), Failure> {
    match verb {
        ValidateVerb::Jwt(validate) => jwt::run(context, validate).await,
        ValidateVerb::Wit(validate) => wit::run(context, validate).await,
        ValidateVerb::X509(validate) => x509::run(context, validate).await,
    }
}

/// How much the clocks of those who signed may differ; the daemon's default.
const LEEWAY: Duration = Duration::from_secs(30);

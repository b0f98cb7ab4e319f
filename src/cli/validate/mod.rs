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

pub(super) use self::{
    input::{certificates, read, token},
    verdict::claims,
};

/// What can be validated.
#[derive(Debug, Subcommand)]
pub(crate) enum ValidateVerb {
    /// A JWT-SVID, by the Workload API or by a bundle of one's own
    ///
    /// The Workload API judges, by the bundles that this process has; with `--bundle` the keys in a file do, and nobody
    /// is asked. The exit code is 0 if it is valid, and 7 if it is not; `--output json` has a code for the reason.
    Jwt(jwt::ValidateJwt),
    /// A WIT-SVID, which is worth nothing without a proof that its key is held (Incubating)
    ///
    /// Without a proof the exit code is 8, never 0, and it is not said whose the token is: whoever has seen it once could
    /// show it. With one it is 0 if it is valid, and 7 if it is not.
    Wit(wit::ValidateWit),
    /// An X.509-SVID: the leaf first, then its intermediates
    ///
    /// It is judged by the bundle of the trust domain that the leaf names, the Workload API's or that of `--bundle`. The
    /// exit code is 0 if it is valid, and 7 if it is not; `--output json` has a code for the reason.
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

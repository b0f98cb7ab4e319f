//! `dayfly envoy …`: what an Envoy needs to take its certificates from the daemon.

mod address;
mod bootstrap;
mod options;
mod render;
mod yaml;

use clap::Subcommand;

use super::{context::Context, failure::Failure};
use options::Options;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvoyVerb {
    /// Print an Envoy's whole configuration, with a comment at each thing that matters
    ///
    /// The proxy takes its certificate, and whom it trusts, from the daemon by SDS, and again whenever they change: no
    /// key is in a file. It listens with mTLS before a service (--listen), or takes a service's calls on this machine and
    /// makes them with mTLS (--connect), or both. Who it may be is said by entries, as of any other process:
    /// `dayfly entry add SPIFFE_ID -s unix:uid:UID`.
    #[command(after_help = EXAMPLES)]
    Bootstrap(Box<Options>),
}

const EXAMPLES: &str = "\
Examples:
  # before a service that listens on port 8080; only the shop may call
  dayfly envoy bootstrap --listen 0.0.0.0:8443 --upstream 127.0.0.1:8080 \\
      --allow spiffe://example.org/shop > envoy.yaml
  envoy --mode validate -c envoy.yaml

  # beside the shop, which calls http://127.0.0.1:9001
  dayfly envoy bootstrap --connect 9001=orders.internal:8443=spiffe://example.org/orders > envoy.yaml

  # before a registered tool, whose callers need an access token too
  dayfly envoy bootstrap --listen 0.0.0.0:443 --upstream 127.0.0.1:8080 --allow-any \\
      --tool tickets --url https://tickets.example.org > envoy.yaml";

/// Runs one of the verbs.
///
/// # Errors
/// When what was given does not fit together, or stdout cannot be written.
pub(crate) fn run(context: &Context, verb: EnvoyVerb) -> Result<(), Failure> {
    let EnvoyVerb::Bootstrap(options) = verb;
    let bootstrap = options.understood(context)?;
    context.print.data(bootstrap.to_string().as_bytes())
}

#[cfg(test)]
mod tests;

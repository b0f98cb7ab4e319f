//! `dayfly token`: access tokens of this process's agent, each bound to a key that lives as long as the command.

mod desk;
mod inspect;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use super::{context::Context, exit::Exit, failure::Failure, link, validate};
use crate::oauth::{access, target::Target};

pub(super) use desk::{Asked, Desk, OnBehalf, Token, method};

/// What can be done with access tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Get an access token for a tool, bound to a key that is gone with this command: to look at, not to use
    Get(Get),
    /// Print the two headers for one HTTP request: `curl -H @- URL`
    ///
    /// The token is for the tool whose base URL the URL has, and the proof for this method and URL alone, once and for a
    /// minute: `dayfly token header GET URL | curl -H @- URL`.
    Header(Header),
    /// Exchange a user's JWT for an access token with which the agent acts for him, as `get` does
    ///
    /// The user's issuer must be pinned in the daemon's configuration, and the token be for the daemon's token issuer alone.
    Exchange(Exchange),
    /// Show what a token says, and never its signature
    Inspect(inspect::Inspect),
    /// Print the regular expression by which scanners find access tokens
    Format(Format),
}

/// `token format`
#[derive(Debug, Args)]
pub(crate) struct Format {
    /// As a rule for this scanner, ready for its configuration
    #[arg(long = "for", value_enum)]
    scanner: Option<Scanner>,
}

/// A program that finds secrets where they should not be.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Scanner {
    /// gitleaks
    Gitleaks,
    /// TruffleHog
    Trufflehog,
}

/// `token get`
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The tool's name
    #[arg(long, value_name = "NAME")]
    tool: String,
    #[command(flatten)]
    asked: Asked,
}

/// `token exchange`
#[derive(Debug, Args)]
pub(crate) struct Exchange {
    /// The user's JWT, in this file or on stdin for -
    #[arg(long, value_name = "FILE")]
    subject_token_file: PathBuf,
    #[command(flatten)]
    get: Get,
}

/// The request that a token is for.
#[derive(Debug, Args)]
pub(super) struct ForRequest {
    /// The request's method, as GET
    #[arg(value_name = "METHOD")]
    pub(super) method: String,
    /// Its URL
    #[arg(value_name = "URL")]
    pub(super) url: String,
    /// The tool's name, where the URL does not tell
    #[arg(long, value_name = "NAME")]
    pub(super) tool: Option<String>,
}

/// `token header`
#[derive(Debug, Args)]
pub(crate) struct Header {
    #[command(flatten)]
    request: ForRequest,
    /// The nonce of a DPoP-Nonce header, where the tool asked for one
    #[arg(long, value_name = "NONCE", allow_hyphen_values = true)]
    nonce: Option<String>,
    #[command(flatten)]
    on_behalf: OnBehalf,
    #[command(flatten)]
    asked: Asked,
}

/// Runs the verb.
///
/// # Errors
/// When there is none to be had.
pub(crate) async fn run(context: &Context, verb: TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Get(get) => link::first(get.run(context, None)).await,
        TokenVerb::Exchange(Exchange { subject_token_file, get }) => {
            let user = validate::token(&subject_token_file)?;
            link::first(get.run(context, Some(&user))).await
        }
        TokenVerb::Header(header) => link::first(header.run(context)).await,
        TokenVerb::Inspect(inspect) => inspect.run(context),
        TokenVerb::Format(Format { scanner }) => match scanner {
            None => context.print.line(access::pattern()),
            Some(scanner) => context.print.data(scanner.rule().as_bytes()),
        },
    }
}

impl Get {
    async fn run(self, context: &Context, user: Option<&Zeroizing<String>>) -> Result<(), Failure> {
        let mut desk = Desk::open(context, &self.asked).await?;
        let tool = desk.tool_named(&self.tool)?;
        let token = desk.issue(&tool.audience, &self.asked, user).await?;
        if context.print.is_json() {
            return context.print.json(&json!({
                "access_token": &*token.text,
                "token_type": "DPoP",
                "expires_in": token.expires_in,
                "scope": token.scope,
                "jkt": desk.key().to_string(),
            }));
        }
        context.print.line(&*token.text)
    }
}

impl Header {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let target = Target::parse(&self.request.url).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let method = method(&self.request.method)?;
        let user = self.on_behalf.read()?;
        let mut desk = Desk::open(context, &self.asked).await?;
        let tool = desk.tool_for(self.request.tool.as_deref(), &target)?;
        let token = desk.issue(&tool.audience, &self.asked, user.as_ref()).await?;
        let proof = desk.prove(method.as_str(), &target, &token, self.nonce.as_deref())?;
        context.print.line(format_args!("Authorization: DPoP {}", &*token.text))?;
        context.print.line(format_args!("DPoP: {proof}"))
    }
}

impl Scanner {
    fn rule(self) -> &'static str {
        match self {
            Self::Gitleaks => include_str!("../../../packaging/scanners/gitleaks.toml"),
            Self::Trufflehog => include_str!("../../../packaging/scanners/trufflehog.yaml"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn each_scanners_rule_has_the_expression_and_what_every_token_begins_with() {
        for scanner in Scanner::value_variants() {
            assert!(scanner.rule().contains(&access::pattern()), "{scanner:?}");
            assert!(scanner.rule().matches(access::CONSTANT_PREFIX).count() >= 2, "{scanner:?}");
        }
    }
}

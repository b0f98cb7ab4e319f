//! `dayfly token`: access tokens of this process's agent, each bound to a key that lives as long as the command.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::json;
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Channel};
use zeroize::Zeroizing;

use super::{
    context::Context,
    exit::Exit,
    failure::Failure,
    link::{self, SecurityHeader},
};
use crate::{
    oauth::{
        TokenHash, access,
        dpop::Prover,
        target::{Base, Target},
    },
    pb::admin::{
        DescribeTokensRequest, DescribeTokensResponse, DescribedAgent, DescribedTool, IssueTokenRequest,
        IssueTokenResponse, token_client::TokenClient,
    },
    spiffe::jose::SignError,
    sys::Clock,
};

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
    /// Print the regular expression by which scanners find access tokens
    Format,
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

/// `token header`
#[derive(Debug, Args)]
pub(crate) struct Header {
    /// The request's method, as GET
    #[arg(value_name = "METHOD")]
    method: String,
    /// Its URL
    #[arg(value_name = "URL")]
    url: String,
    /// The tool's name, where the URL does not tell
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// The nonce of a DPoP-Nonce header, where the tool asked for one
    #[arg(long, value_name = "NONCE", allow_hyphen_values = true)]
    nonce: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
struct Asked {
    /// What may be done with it; several times, or all that is granted
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Which of this process's agents [default: that of its oldest entry]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The workload socket, as a path or as unix:///PATH [default: SPIFFE_ENDPOINT_SOCKET, then the daemon's]
    #[arg(long, value_name = "SOCKET")]
    socket: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// When there is none to be had.
pub(crate) async fn run(context: &Context, verb: TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Get(get) => link::first(get.run(context)).await,
        TokenVerb::Header(header) => link::first(header.run(context)).await,
        TokenVerb::Format => context.print.line(access::pattern()),
    }
}

impl Get {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut desk = Desk::open(context, &self.asked).await?;
        let tool = desk.tool(|tool| tool.name == self.tool).ok_or_else(|| desk.no_tool(&self.tool))?;
        let token = desk.issue(&tool.audience, &self.asked).await?;
        if context.print.is_json() {
            return context.print.json(&json!({
                "access_token": &*token.text,
                "token_type": "DPoP",
                "expires_in": token.expires_in,
                "scope": token.scope,
                "jkt": desk.prover.thumbprint().to_string(),
            }));
        }
        context.print.line(&*token.text)
    }
}

impl Header {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let target = Target::parse(&self.url).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let mut desk = Desk::open(context, &self.asked).await?;
        let tool = match &self.tool {
            Some(name) => desk.tool(|tool| tool.name == *name).ok_or_else(|| desk.no_tool(name))?,
            None => desk.tool_at(&target).ok_or_else(|| {
                let words = format!("no tool that is granted has a base URL of {}", target.origin());
                Failure::new(Exit::Missing, words).hint("name it with --tool; `dayfly tool show NAME` has its URLs")
            })?,
        };
        let token = desk.issue(&tool.audience, &self.asked).await?;
        let (hash, now) = (TokenHash::of(&token.text), Clock::system().now());
        let url = target.to_string();
        let proof = desk.prover.prove(&self.method, &url, Some(hash), self.nonce.as_deref(), now).map_err(unsigned)?;
        context.print.line(format_args!("Authorization: DPoP {}", &*token.text))?;
        context.print.line(format_args!("DPoP: {proof}"))
    }
}

/// A token as it came.
struct Token {
    text: Zeroizing<String>,
    expires_in: u32,
    scope: String,
}

/// A connection to the daemon, what this process may have there, and the key of its tokens.
struct Desk {
    client: TokenClient<InterceptedService<Channel, SecurityHeader>>,
    known: DescribeTokensResponse,
    agent: DescribedAgent,
    prover: Prover,
    clock: Clock,
}

impl Desk {
    async fn open(context: &Context, asked: &Asked) -> Result<Self, Failure> {
        let socket = context.workload_socket(asked.socket.as_deref())?;
        let mut client = TokenClient::new(link::workload_channel(&socket).await?);
        let known = client.describe(DescribeTokensRequest {}).await.map_err(|status| refused(&status))?.into_inner();
        let mut agents = known.agents.iter();
        let agent = match &asked.agent {
            Some(name) => agents.find(|agent| agent.name == *name),
            None => agents.next(),
        };
        let agent = agent.cloned().ok_or_else(|| {
            let words = match &asked.agent {
                Some(name) => format!("this process is no agent {name}"),
                None => "this process is no agent".to_owned(),
            };
            Failure::new(Exit::Refused, words).hint("its admin says so by `dayfly entry add … --agent NAME`")
        })?;
        let prover = Prover::generate().map_err(unsigned)?;
        Ok(Self { client, known, agent, prover, clock: Clock::system() })
    }

    fn tool(&self, is_it: impl Fn(&&DescribedTool) -> bool) -> Option<DescribedTool> {
        self.agent.tools.iter().find(is_it).cloned()
    }

    /// The tool with the longest base URL of this one.
    fn tool_at(&self, target: &Target) -> Option<DescribedTool> {
        let all = self.agent.tools.iter().flat_map(|tool| tool.base_urls.iter().map(move |url| (tool, url)));
        let fitting = all.filter(|(_, url)| Base::parse(url).is_ok_and(|base| base.relative(target).is_some()));
        fitting.max_by_key(|(_, url)| url.len()).map(|(tool, _)| tool.clone())
    }

    fn no_tool(&self, name: &str) -> Failure {
        Failure::new(Exit::Missing, format!("the agent {} has no grant for a tool {name}", self.agent.name))
            .hint("its admin grants it with `dayfly grant add AGENT TOOL --scope SCOPE`")
    }

    /// A token, by a proof with the nonce that is wanted; once more where another is wanted by then.
    async fn issue(&mut self, audience: &str, asked: &Asked) -> Result<Token, Failure> {
        let mut nonce = Some(self.known.nonce.clone()).filter(|nonce| !nonce.is_empty());
        for is_last in [false, true] {
            let (url, now): (_, SystemTime) = (self.known.token_endpoint.as_str(), self.clock.now());
            let proof = self.prover.prove("POST", url, None, nonce.as_deref(), now).map_err(unsigned)?;
            let request = IssueTokenRequest {
                proof,
                audience: audience.to_owned(),
                scope: asked.scope.join(" "),
                agent: self.agent.name.clone(),
            };
            match self.client.issue(request).await {
                Ok(response) => {
                    let IssueTokenResponse { access_token, token_type, expires_in, scope } = response.into_inner();
                    return match token_type.as_str() {
                        "DPoP" => Ok(Token { text: access_token.into(), expires_in, scope }),
                        _ => Err(Failure::new(Exit::Failed, "the daemon gave a token that is bound to no key")),
                    };
                }
                Err(status) => match status.metadata().get("dpop-nonce").and_then(|nonce| nonce.to_str().ok()) {
                    Some(wanted) if !is_last => nonce = Some(wanted.to_owned()),
                    _ => return Err(refused(&status)),
                },
            }
        }
        Err(Failure::new(Exit::Failed, "the daemon asks for nonce after nonce"))
    }
}

fn unsigned(error: SignError) -> Failure {
    Failure::because("no proof could be made", &error)
}

/// The daemon's no, in words.
fn refused(status: &Status) -> Failure {
    match status.code() {
        Code::Unauthenticated => Failure::new(Exit::Refused, format!("this process is no agent: {}", status.message()))
            .hint("its admin says so by `dayfly entry add … --agent NAME`"),
        Code::PermissionDenied if status.message().contains(':') => {
            Failure::new(Exit::Refused, format!("not granted: {}", status.message()))
                .hint("`dayfly agent show NAME` says what it may have")
        }
        _ => link::workload_refusal(status),
    }
}

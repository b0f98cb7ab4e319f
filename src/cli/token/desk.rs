//! What a process may have of access tokens, and the key that they are bound to while a command runs.

use std::{path::PathBuf, time::SystemTime};

use clap::Args;
use http::Method;
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Channel};
use zeroize::Zeroizing;

use crate::{
    cli::{
        context::Context,
        exit::Exit,
        failure::Failure,
        link::{self, SecurityHeader},
        validate,
    },
    oauth::{
        Thumbprint, TokenHash,
        dpop::Prover,
        target::{Base, Target},
    },
    pb::admin::{
        DescribeTokensRequest, DescribeTokensResponse, DescribedAgent, DescribedTool, ExchangeTokenRequest,
        ExchangeTokenResponse, IssueTokenRequest, IssueTokenResponse, token_client::TokenClient,
    },
    spiffe::jose::SignError,
    sys::Clock,
};

#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// What may be done with it; several times, or all that is granted
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// For what it is wanted, in words for the audit log
    #[arg(long, value_name = "WORDS")]
    reason: Option<String>,
    /// Which of this process's agents [default: that of its oldest entry]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The workload socket, as a path or as unix:///PATH [default: SPIFFE_ENDPOINT_SOCKET, then the daemon's]
    #[arg(long, value_name = "SOCKET")]
    socket: Option<String>,
}

/// For whom the agent acts.
#[derive(Debug, Args)]
pub(crate) struct OnBehalf {
    /// Act for the user whose JWT is in this file, or on stdin for -: it is exchanged for the access token
    #[arg(long, value_name = "FILE")]
    subject_token_file: Option<PathBuf>,
}

impl OnBehalf {
    /// The user's token, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        self.subject_token_file.as_deref().map(validate::token).transpose()
    }
}

/// A token as it came.
pub(crate) struct Token {
    pub(crate) text: Zeroizing<String>,
    pub(super) expires_in: u32,
    pub(super) scope: String,
}

/// A connection to the daemon, what this process may have there, and the key of its tokens.
pub(crate) struct Desk {
    client: TokenClient<InterceptedService<Channel, SecurityHeader>>,
    known: DescribeTokensResponse,
    agent: DescribedAgent,
    prover: Prover,
    clock: Clock,
}

impl Desk {
    /// Asks the daemon what there is, and makes a key.
    ///
    /// # Errors
    /// When nobody answers, or this process is no agent, or not that one.
    pub(crate) async fn open(context: &Context, asked: &Asked) -> Result<Self, Failure> {
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

    /// The tool that is meant: by its name, or by the URL that is one of its own.
    ///
    /// # Errors
    /// When there is no such tool that is granted.
    pub(crate) fn tool_for(&self, name: Option<&str>, target: &Target) -> Result<DescribedTool, Failure> {
        match name {
            Some(name) => self.tool_named(name).and_then(|tool| takes(tool, target)),
            None => self.tool_at(target).ok_or_else(|| {
                // Which tools there are beside those that it is granted is not an agent's to know.
                let agent = &self.agent.name;
                let words = format!("of the tools that the agent {agent} is granted, none has the URL {target}");
                Failure::new(Exit::Missing, words).hint(format!(
                    "ask the admin for it: `dayfly tool list` shows him whether a tool has this URL, and \
                     `dayfly grant add {agent} TOOL --scope SCOPE` grants it; a granted tool without URLs is named with --tool"
                ))
            }),
        }
    }

    /// The tool of this name.
    ///
    /// # Errors
    /// When there is no such tool that is granted.
    pub(super) fn tool_named(&self, name: &str) -> Result<DescribedTool, Failure> {
        let found = self.agent.tools.iter().find(|tool| tool.name == name).cloned();
        found.ok_or_else(|| {
            Failure::new(Exit::Missing, format!("the agent {} has no grant for a tool {name}", self.agent.name))
                .hint("its admin grants it with `dayfly grant add AGENT TOOL --scope SCOPE`")
        })
    }

    /// The tool with the longest base URL of this one.
    fn tool_at(&self, target: &Target) -> Option<DescribedTool> {
        let all = self.agent.tools.iter().flat_map(|tool| tool.base_urls.iter().map(move |url| (tool, url)));
        let fitting = all.filter(|(_, url)| is_below(target, url));
        fitting.max_by_key(|(_, url)| url.len()).map(|(tool, _)| tool.clone())
    }

    /// The name of the key that tokens are bound to.
    pub(super) fn key(&self) -> Thumbprint {
        self.prover.thumbprint()
    }

    /// A proof for one request with a token.
    ///
    /// # Errors
    /// When nothing can be signed.
    pub(crate) fn prove(
        &self,
        method: &str,
        target: &Target,
        token: &Token,
        nonce: Option<&str>,
    ) -> Result<String, Failure> {
        let (hash, now) = (TokenHash::of(&token.text), self.clock.now());
        self.prover.prove(method, &target.to_string(), Some(hash), nonce, now).map_err(unsigned)
    }

    /// A token, by a proof with the nonce that is wanted; once more where another is wanted by then. In exchange for that
    /// of a user, if there is one.
    ///
    /// # Errors
    /// The daemon's no, in words.
    pub(crate) async fn issue(
        &mut self,
        audience: &str,
        asked: &Asked,
        user: Option<&Zeroizing<String>>,
    ) -> Result<Token, Failure> {
        let mut nonce = Some(self.known.nonce.clone()).filter(|nonce| !nonce.is_empty());
        for is_last in [false, true] {
            let (url, now): (_, SystemTime) = (self.known.token_endpoint.as_str(), self.clock.now());
            let proof = self.prover.prove("POST", url, None, nonce.as_deref(), now).map_err(unsigned)?;
            match self.ask(proof, audience, asked, user).await {
                Ok(IssueTokenResponse { access_token, token_type, expires_in, scope }) => {
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

    async fn ask(
        &mut self,
        proof: String,
        audience: &str,
        asked: &Asked,
        user: Option<&Zeroizing<String>>,
    ) -> Result<IssueTokenResponse, Status> {
        let (audience, scope, agent) = (audience.to_owned(), asked.scope.join(" "), self.agent.name.clone());
        let reason = asked.reason.clone().unwrap_or_default();
        let Some(user) = user else {
            let request = IssueTokenRequest { proof, audience, scope, agent, reason };
            return Ok(self.client.issue(request).await?.into_inner());
        };
        let (subject_token, subject_token_type) = (user.to_string(), String::new());
        let request = ExchangeTokenRequest { proof, audience, scope, agent, subject_token, subject_token_type, reason };
        let ExchangeTokenResponse { access_token, token_type, expires_in, scope, .. } =
            self.client.exchange(request).await?.into_inner();
        Ok(IssueTokenResponse { access_token, token_type, expires_in, scope })
    }
}

/// The tool, where its token may go to this URL: to one of its own, or to any where it has none.
fn takes(tool: DescribedTool, target: &Target) -> Result<DescribedTool, Failure> {
    if tool.base_urls.is_empty() || tool.base_urls.iter().any(|url| is_below(target, url)) {
        return Ok(tool);
    }
    let words =
        format!("the tool {} is not at {}: a token for it goes to its own URLs alone", tool.name, target.origin());
    Err(Failure::new(Exit::Refused, words).details(&tool.base_urls))
}

fn is_below(target: &Target, url: &str) -> bool {
    Base::parse(url).is_ok_and(|base| base.relative(target).is_some())
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
        Code::InvalidArgument if status.message().contains("the subject token is refused") => {
            Failure::new(Exit::Refused, format!("not exchanged: {}", status.message()))
                .hint("`dayfly token inspect FILE` shows what stands in it; the daemon's audit log says what is wrong")
        }
        _ => link::workload_refusal(status),
    }
}

/// The method of a request (RFC 9110 §9.1), as it is written.
///
/// # Errors
/// When it is none.
pub(in crate::cli) fn method(text: &str) -> Result<Method, Failure> {
    let wrong = |_| Failure::new(Exit::Usage, format!("{} is no method", text.escape_debug()));
    Method::from_bytes(text.as_bytes()).map_err(wrong)
}

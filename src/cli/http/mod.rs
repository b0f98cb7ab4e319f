//! `dayfly http`: one call of a tool, with a token and a proof that are made for it and gone afterwards.

mod call;
mod wire;

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    context::Context,
    exit::Exit,
    failure::Failure,
    link,
    token::{Asked, Desk, ForRequest, OnBehalf, method},
};
use crate::{daemon::units, oauth::target::Target};

use call::{Body, Call, Headers};

/// `http`
#[derive(Debug, Args)]
pub(crate) struct Http {
    #[command(flatten)]
    request: ForRequest,
    /// One more header, as `Name: value`; several times
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// What is sent, or @FILE, or @- for stdin: a form, if no Content-Type says otherwise
    #[arg(short, long, value_name = "DATA", allow_hyphen_values = true)]
    data: Option<String>,
    /// Print status and headers before the body
    #[arg(short, long)]
    include: bool,
    /// The certificates to believe, in PEM, instead of the system's
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Connect there, not to the URL's host; over TLS, who answers must still be that host
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<http::uri::Authority>,
    /// The longest silence of the tool
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    timeout: Duration,
    #[command(flatten)]
    on_behalf: OnBehalf,
    #[command(flatten)]
    asked: Asked,
}

/// Runs the verb.
///
/// # Errors
/// When there is no token, no answer, or the answer is no: its body was printed then.
pub(crate) async fn run(context: &Context, http: Http) -> Result<(), Failure> {
    let usage = |words: String| Failure::new(Exit::Usage, words);
    let target = Target::parse(&http.request.url).map_err(|error| usage(error.to_string()))?;
    let method = method(&http.request.method)?;
    let body = http.data.as_deref().map(Body::read).transpose()?;
    let call = Call {
        headers: Headers::read(&http.headers, body.is_some())?,
        url: http.request.url.parse().map_err(|_| usage("the URL cannot be asked for".to_owned()))?,
        body,
        method,
        client: wire::client(http.cacert.as_deref(), http.connect)?,
        silence_max: http.timeout,
    };
    let user = http.on_behalf.read()?;
    let (desk, token) = link::first(async {
        let mut desk = Desk::open(context, &http.asked).await?;
        let tool = desk.tool_for(http.request.tool.as_deref(), &target)?;
        let token = desk.issue(&tool.audience, &http.asked, user.as_ref()).await?;
        Ok((desk, token))
    })
    .await?;
    let answer = call.make(&desk, &target, &token).await?;
    answer.print(context, http.include).await
}

//! `dayfly daemon`: the service.

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::daemon::{Bound, Config, Daemon, Telemetry, config::Overrides};

use super::{Context, Exit, Failure};

#[derive(Debug, Args)]
pub(super) struct Service {
    /// The trust domain to issue for; fixed at the first start
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<String>,
    /// Act as on an older kernel, without these calls; never weaker
    #[arg(long, value_name = "LIST", value_delimiter = ',', hide = true)]
    without_kernel: Vec<String>,
}

pub(super) fn run(context: &Context, service: Service) -> Result<(), Failure> {
    let overrides = Overrides { trust_domain: service.trust_domain, without_kernel: service.without_kernel };
    let config = Config::load(None, &context.paths()?, overrides)
        .map_err(|problems| Failure::new(Exit::Usage, problems.to_string()))?;
    let threads = usize::try_from(config.runtime.worker_threads).unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because("no runtime could be started", &error))?;
    let telemetry =
        Telemetry::start(config.log).map_err(|error| Failure::because("the log could not be started", &error))?;
    let ended = runtime.block_on(async {
        let bound = Daemon::bind(config, Some(telemetry)).await?;
        until_told(bound).await
    });
    ended.map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))
}

async fn until_told(bound: Bound) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    bound.run(stop).await
}

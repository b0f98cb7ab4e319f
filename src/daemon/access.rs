//! Where access tokens are issued and where they are verified.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use zeroize::Zeroizing;

use super::{config::Config, pinned::Pinned, settings};
use crate::{
    api::{authz::Authz, token::Endpoint},
    audit,
    issuance::Issuer,
    sys::{Clock, counters::Counters},
};

/// Both, for one process: neither knows a proof that was used before it.
pub(super) struct Access {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) authz: Arc<Authz>,
    /// Whose users an agent may act for.
    pub(super) user_issuers: Pinned,
    /// Whose access tokens tools may take.
    pub(super) tool_issuers: Pinned,
}

impl Access {
    pub(super) fn new(
        config: &Config,
        issuer: &Arc<Issuer>,
        log: audit::Log,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> anyhow::Result<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *secret).map_err(|_| anyhow!("the system has no randomness"))?;
        let user_issuers = Pinned::open(&config.token.user_issuers, &log)?;
        let tool_issuers = Pinned::open(&config.authz.issuers, &log)?;
        let (name, settings) = (config.token.issuer.clone(), settings::proofs(&config.token));
        let endpoint =
            Endpoint::new(issuer.clone(), name.clone(), &secret, settings, user_issuers.watched(), clock.clone());
        let endpoint = endpoint.with_context(|| format!("token.issuer {name:?} cannot be the beginning of a URL"))?;
        let settings = settings::proofs_at_doors(config);
        let authz = Authz::new(issuer.clone(), name, tool_issuers.watched(), &secret, settings, (log, clock, counters));
        Ok(Self { endpoint: Arc::new(endpoint), authz: Arc::new(authz), user_issuers, tool_issuers })
    }
}

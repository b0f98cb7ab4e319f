//! The configuration, read again while the daemon runs (SIGHUP): what can be taken over is, and of the rest it is said
//! that it needs a restart. One that is not right changes nothing.

use std::sync::Arc;

use super::{
    bound::record,
    config::{Config, Effect, Problems, differences},
    pinned::Pinned,
    settings,
    telemetry::Telemetry,
};
use crate::{api::limits::Gate, audit, sys::chain};

/// The settings whose files may have changed where they have not.
const USER_ISSUERS: &str = "token.user_issuer";
const TOOL_ISSUERS: &str = "authz.issuer";

/// What of a running daemon can be changed.
pub(super) struct Adjustable {
    pub(super) workload: Arc<Gate>,
    pub(super) authz: Arc<Gate>,
    pub(super) admin: Arc<Gate>,
    pub(super) user_issuers: Pinned,
    pub(super) tool_issuers: Pinned,
    pub(super) telemetry: Option<Telemetry>,
    /// The limit that it was started with.
    pub(super) descriptors: u64,
}

impl Adjustable {
    /// Takes over what can be. `running` is what the daemon goes by, before and after.
    pub(super) fn take(&self, read: Result<Config, Problems>, running: &mut Config, log: &audit::Log) {
        let new = match read {
            Ok(new) => new,
            Err(problems) => {
                for problem in problems.to_string().lines() {
                    tracing::error!(problem, "the configuration is wrong");
                }
                tracing::error!(problems = problems.count(), "the configuration was read again: nothing is changed");
                return record(log, "config_refused", format!("{} problems", problems.count()));
            }
        };
        // Their files may say something else where the configuration says the same. One that is bad takes nothing away.
        let users = self.user_issuers.read(&new.token.user_issuers);
        let issuers = match users.and_then(|users| Ok((users, self.tool_issuers.read(&new.authz.issuers)?))) {
            Ok(issuers) => issuers,
            Err(error) => {
                tracing::error!(error = %chain(&error), "the configuration was read again: nothing is changed");
                return record(log, "config_refused", "the issuers".to_owned());
            }
        };
        let named = |wanted| {
            let all = differences(running, &new).into_iter().filter(|(_, effect)| *effect == wanted);
            all.map(|(name, _)| name).collect::<Vec<_>>()
        };
        let (mut now, restart) = (named(Effect::Now), named(Effect::Restart).join(" "));
        let (users, tools) = issuers;
        let other_keys =
            [(USER_ISSUERS, self.user_issuers.set(users, log)), (TOOL_ISSUERS, self.tool_issuers.set(tools, log))];
        self.change(running, &new);
        // Also where the configuration says the same, and the files do not.
        for (name, _) in other_keys.into_iter().filter(|(_, are_new)| *are_new) {
            if !now.contains(&name) {
                now.push(name);
            }
        }
        let now = now.join(" ");
        tracing::info!(changed = now, "the configuration was read again");
        if !restart.is_empty() {
            tracing::warn!(settings = restart, "other values of these settings need a restart; the old ones stay");
        }
        record(log, "config_read", format!("changed: {now}; need a restart: {restart}"));
    }

    /// Each part is told; what it goes by is kept in `running`, so that the next reading is compared with that.
    fn change(&self, running: &mut Config, new: &Config) {
        // Only where the file says otherwise than before: somebody may have set it for now by `dayfly log`.
        if let Some(telemetry) = self.telemetry.as_ref().filter(|_| running.log.level != new.log.level) {
            telemetry.set_level(new.log.level);
        }
        running.log.level = new.log.level;
        let (own, limits) = (running.limits, new.limits);
        running.limits = super::config::Limits {
            streams_per_connection: own.streams_per_connection,
            header_list_bytes: own.header_list_bytes,
            request_message_bytes: own.request_message_bytes,
            preface: own.preface,
            request: own.request,
            attestation: own.attestation,
            ping: own.ping,
            hash: own.hash,
            hash_bytes_max: own.hash_bytes_max,
            hashes_at_once: own.hashes_at_once,
            ..limits
        };
        let gates = settings::gates(running, self.descriptors);
        self.workload.change_limits(gates.workload);
        self.authz.change_limits(gates.authz);
        self.admin.change_limits(gates.admin);
        running.token.user_issuers.clone_from(&new.token.user_issuers);
        running.authz.issuers.clone_from(&new.authz.issuers);
    }
}

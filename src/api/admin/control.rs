//! The daemon itself on the wire: `dayfly.v1.Control`.

use std::{io, path::PathBuf, sync::Arc, time::SystemTime};

use tokio::sync::watch;
use tonic::{Request, Response, Status, async_trait};

use super::{Rights, caller, wire};
use crate::{
    api::status,
    issuance::{AuthorityStanding, Compared, Explain, Proxies, ProxyStream, Stand, desk::Desk, foreign::Foreign},
    oauth::issuer::Issuers,
    pb::admin::{self as pb, control_server},
    registry::{Agent, Catalog, Label, State},
    spiffe::Id,
    sys::{
        Clock,
        counters::Counters,
        id_map,
        kernel::{Feature, Kernel},
        memory,
        threads::aside,
    },
};

/// What is true of the daemon from its start to its end.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) started_at: SystemTime,
    pub(crate) workload_sockets: Vec<PathBuf>,
    pub(crate) state_dir: PathBuf,
    /// The URL that proofs for access tokens are for.
    pub(crate) token_endpoint: String,
    /// Of which environment agents must be, if they are judged by theirs.
    pub(crate) environment: Option<Label>,
    pub(crate) kernel: Kernel,
}

/// The level of the log, by its word.
pub(crate) struct LogSwitch {
    /// The present one.
    pub(crate) present: Box<dyn Fn() -> &'static str + Send + Sync>,
    /// Changes it and answers the one before; `None` for a word that is no level.
    pub(crate) change: Box<ChangeLevel>,
}

type ChangeLevel = dyn Fn(&str) -> Option<&'static str> + Send + Sync;

/// How another process takes this daemon's place.
pub(crate) struct Succession {
    /// How the two speak to each other.
    pub(crate) protocol: u32,
    /// The schema of the database that is open.
    pub(crate) schema: u32,
    /// How the authorities are: `rooted`, `self-signed`.
    pub(crate) layout: String,
    /// Waits from now on, for a while, for the process of this number.
    pub(crate) invite: Invite,
}

/// Invites a process by its number.
pub(crate) type Invite = Box<dyn Fn(i32) -> Result<(), Uninvited> + Send + Sync>;

/// Why a process is not invited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Uninvited {
    /// One at a time.
    #[error("another process is about to take this daemon's place")]
    Busy,
    /// There is no private channel.
    #[error("no private channel could be made")]
    Failed(#[source] io::Error),
}

/// Who may take the daemon's place, and how.
pub(super) struct Heirs {
    pub(super) rights: Rights,
    pub(super) succession: Succession,
}

/// The service.
pub(super) struct Control {
    pub(super) about: About,
    pub(super) desk: Desk,
    pub(super) foreign: watch::Receiver<Arc<Foreign>>,
    pub(super) issuers: watch::Receiver<Arc<Issuers>>,
    pub(super) stand: Stand,
    pub(super) explain: Explain,
    pub(super) proxies: Arc<Proxies>,
    pub(super) log: LogSwitch,
    pub(super) heirs: Heirs,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
}

#[async_trait]
impl control_server::Control for Control {
    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let standing = (self.stand)();
        let snapshot = self.desk.registry().borrow().clone();
        let mut counters = Vec::new();
        self.counters.each(|sample| {
            counters.push(pb::Counter { name: sample.metric(), labels: sample.labels_text(), value: sample.value });
        });
        let kernel = Feature::ALL.into_iter().map(|feature| pb::KernelFeature {
            name: feature.name().into(),
            present: self.about.kernel.has(feature),
            without: feature.without().into(),
        });
        let id_map = pb::KernelFeature {
            name: id_map::NAME.into(),
            present: self.about.kernel.unmapped().is_empty(),
            without: id_map::WITHOUT.into(),
        };
        let items = snapshot.catalog().counts();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let is_well = standing.is_ready && standing.problems.is_empty();
        Ok(Response::new(pb::StatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            trust_domain: self.desk.trust_domain().to_string(),
            pid: std::process::id(),
            started_at: wire::unix_seconds(self.about.started_at),
            state: if is_well { "ready" } else { "degraded" }.into(),
            problems: standing.problems,
            entries: number(snapshot.len()),
            agents: number(items.agents),
            tools: number(items.tools),
            grants: number(items.grants),
            registry_revision: snapshot.revision(),
            connections: self.counters.connections(),
            streams: self.counters.streams(),
            authorities: standing.authorities.into_iter().map(authority).collect(),
            kernel: kernel.chain([id_map]).collect(),
            counters,
            workload_sockets: self.about.workload_sockets.iter().map(|path| path.display().to_string()).collect(),
            state_dir: self.about.state_dir.display().to_string(),
            token_endpoint: self.about.token_endpoint.clone(),
            environment: self.about.environment.as_ref().map(ToString::to_string).unwrap_or_default(),
            notes: notes(snapshot.catalog(), self.clock.now()),
            pinned_issuers: self.issuers.borrow().names().map(ToString::to_string).collect(),
            log_level: (self.log.present)().into(),
            rss_bytes: memory::resident_bytes().unwrap_or_default(),
            audit_records: standing.audit_records,
            audit_checkpoint: standing.audit_checkpoint,
            proxy_streams: number(self.proxies.len()),
            proxies: self.proxies.first(STREAMS_SHOWN_MAX).into_iter().map(proxy).collect(),
        }))
    }

    async fn explain(&self, request: Request<pb::ExplainRequest>) -> Result<Response<pb::ExplainResponse>, Status> {
        let pid = request.get_ref().pid;
        if pid == 0 {
            return Err(status::invalid("the pid is missing"));
        }
        let seen = (self.explain)(pid).await?;
        let snapshot = self.desk.registry().borrow().clone();
        // The nearest are found by walking over all entries.
        let compared = aside(move || (seen.against(&snapshot), seen)).await;
        let (Compared { matching, near, notes }, seen) = compared.map_err(|_| status::panicked())?;
        let selectors = seen.selectors.into_iter().map(|(selector, condition)| pb::ExplainedSelector {
            selector: selector.to_string(),
            condition: condition.unwrap_or_default(),
        });
        let near = near.into_iter().map(|(entry, missing)| pb::NearEntry {
            entry: Some(wire::encode(&entry)),
            missing: missing.iter().map(ToString::to_string).collect(),
        });
        let mut notes: Vec<_> = seen.notes.into_iter().chain(notes).collect();
        for name in self.foreign.borrow().missing(matching.iter().map(|(entry, _)| entry)) {
            notes.push(format!(
                "it federates with {name}, of which there is no bundle, and is served without: `dayfly bundle set {name} FILE`"
            ));
        }
        for name in self.proxies.waits_of(pid).iter().take(NAMES_SHOWN_MAX) {
            notes.push(format!("it asks for the secret `{}` (SDS), and is not given it", name.escape_debug()));
        }
        let given = |id: &Option<Id>| id.as_ref().map(Id::to_string).unwrap_or_default();
        Ok(Response::new(pb::ExplainResponse {
            pid: seen.pid,
            uid: seen.uid,
            gid: seen.gid,
            executable: seen.executable,
            selectors: selectors.collect(),
            matching: matching.iter().map(|(entry, _)| wire::encode(entry)).collect(),
            given: matching.iter().map(|(_, id)| given(id)).collect(),
            near: near.collect(),
            notes,
        }))
    }

    async fn set_log_level(
        &self,
        request: Request<pb::SetLogLevelRequest>,
    ) -> Result<Response<pb::SetLogLevelResponse>, Status> {
        let author = caller(&request)?.into();
        let level = &request.get_ref().level;
        let before = (self.log.change)(level)
            .ok_or_else(|| status::invalid("the level must be error, warn, info, debug or trace"))?;
        // How much is logged must be in an admin's hand also when the disk is full.
        self.desk.note(author, "log_level", level.clone()).ok();
        Ok(Response::new(pb::SetLogLevelResponse { before: before.into() }))
    }

    async fn replace(&self, request: Request<pb::ReplaceRequest>) -> Result<Response<pb::ReplaceResponse>, Status> {
        let (caller, Heirs { rights, succession }) = (caller(&request)?, &self.heirs);
        if !rights.own(caller) {
            if self.counters.is_worth_a_line(caller.uid) {
                tracing::warn!(pid = caller.pid, uid = caller.uid, "refused to hand over");
            }
            self.desk.note_refused(caller.into(), "not_owner");
            return Err(status::not_owner());
        }
        self.desk.note(caller.into(), "replace", format!("version {}", short(&request.get_ref().version)))?;
        (succession.invite)(caller.pid)?;
        Ok(Response::new(pb::ReplaceResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            trust_domain: self.desk.trust_domain().to_string(),
            state_dir: self.about.state_dir.display().to_string(),
            schema: succession.schema,
            protocol: succession.protocol,
            layout: succession.layout.clone(),
        }))
    }
}

/// A version as it is recorded: no longer than one is.
fn short(version: &str) -> String {
    version.chars().filter(|each| each.is_ascii_graphic()).take(VERSION_MAX).collect()
}

const VERSION_MAX: usize = 32;

/// How many streams of proxies are told of, and how many names of each.
const STREAMS_SHOWN_MAX: usize = 1_000;
const NAMES_SHOWN_MAX: usize = 64;

fn proxy(stream: ProxyStream) -> pb::ProxyStream {
    let (refused_at, refusal) = stream.refusal.map(|(at, why)| (wire::unix_seconds(at), why)).unwrap_or_default();
    let secrets = stream.secrets.into_iter().take(NAMES_SHOWN_MAX).map(|(name, secret)| pb::ProxySecret {
        name,
        sent: secret.sent,
        sent_at: wire::unix_seconds(secret.sent_at),
        taken: secret.taken.unwrap_or_default(),
    });
    pb::ProxyStream {
        pid: stream.pid,
        uid: stream.uid,
        since: wire::unix_seconds(stream.since),
        protocol: stream.protocol.to_owned(),
        node: stream.node,
        cluster: stream.cluster,
        agent: stream.agent,
        secrets: secrets.collect(),
        waits_for: stream.waits_for.into_iter().take(NAMES_SHOWN_MAX).collect(),
        refusal,
        refused_at,
    }
}

/// What somebody should look at: agents whose review is overdue. Those of the first names are named.
fn notes(catalog: &Catalog, now: SystemTime) -> Vec<String> {
    const NAMED: usize = 8;
    let is_overdue = |agent: &&Arc<Agent>| agent.state != State::Retired && agent.spec.is_review_overdue(now);
    let overdue: Vec<_> = catalog.agents().filter(is_overdue).map(|agent| agent.spec.name.as_str()).collect();
    let named = overdue.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if overdue.len() > NAMED { ", …" } else { "" };
    let note =
        (!overdue.is_empty()).then(|| format!("agents whose review is overdue: {} ({named}{more})", overdue.len()));
    note.into_iter().collect()
}

fn authority(one: AuthorityStanding) -> pb::AuthorityStatus {
    pb::AuthorityStatus {
        id: one.id,
        kind: one.kind.into(),
        slot: one.slot.into(),
        not_before: wire::unix_seconds(one.not_before),
        not_after: wire::unix_seconds(one.not_after),
    }
}

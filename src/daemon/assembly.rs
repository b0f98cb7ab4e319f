//! The whole daemon, put together in the order in which things depend on each other.
//!
//! [`Daemon::bind`] opens the state and the sockets, [`Bound::run`] serves until it is told to stop. Whatever owns
//! state must live: the end of an owner task ends the daemon.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic_health::server::HealthReporter;

use super::{
    config::{Config, LogLevel, OpsAddress},
    evidence, health, settings,
    standing::{self, Watched},
    telemetry::Telemetry,
};
use crate::{
    api::{
        About, Admin, Door, Doorkeeper, LogSwitch, Memory, Rights, Service, Terms, admin_routes,
        limits::Gate,
        metrics::Metrics,
        ops::{Ops, Socket},
        workload_routes,
    },
    attest::{self, Attestor},
    audit::{self, Record, Urgency},
    authority::Owner,
    issuance::{
        Explain, Explanation, Issuer, Sources, Unexplained,
        desk::{self, Clerk, Desk},
        foreign::{self, Registrar},
    },
    registry::Snapshot,
    store::{Behind, Store},
    sys::{
        Clock, chain,
        counters::Counters,
        files, id_map,
        image::Lens,
        kernel::{Feature, Kernel},
        listener::Listener,
        looks::AllLooks,
        peer::Fault,
        process,
    },
};

/// A node's daemon.
pub struct Daemon;

/// A daemon whose state and sockets are open.
pub struct Bound {
    config: Config,
    keeper: Arc<Doorkeeper>,
    doors: Vec<Door>,
    ops: Option<(Ops, Socket)>,
    owner: Owner,
    clerk: Clerk,
    registrar: Registrar,
    log: audit::Log,
    store: Store,
    stopping: CancellationToken,
    tracker: TaskTracker,
    _lock: files::Lock,
}

/// How long connections may take to end after [`Bound::run`] is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Daemon {
    /// Opens state and sockets. From now on this process leaves no core and cannot be looked into. Without
    /// `telemetry` the level of the log cannot be changed.
    ///
    /// # Errors
    /// When the state is not whole, not private, or in use; when a socket cannot be served; when the kernel cannot
    /// prove callers.
    pub async fn bind(config: Config, telemetry: Option<Telemetry>) -> anyhow::Result<Bound> {
        process::harden().context("this process cannot be kept from dumping core")?;
        let descriptors = process::raise_descriptor_limit().context("the limit of descriptors cannot be raised")?;
        let kernel = Kernel::probe(&config.without_kernel).context("this kernel cannot prove callers")?;
        let (clock, counters) = (Clock::system(), Arc::new(Counters::default()));
        let (stopping, tracker) = (CancellationToken::new(), TaskTracker::new());
        // Whoever has the folder above could put another state in the place of this one.
        if let Some(above) = config.state_dir.parent().filter(|above| above.exists()) {
            files::check_folder(above)?;
        }
        files::create_private_dir(&config.state_dir)?;
        files::check_writable(&config.state_dir)?;
        let lock = files::lock(&config.state_dir.join("lock"))?;
        let (store, loaded) = Store::open(&config.state_dir, &config.trust_domain)?;
        let outside = evidence::outside(&config.state_dir, store.clone(), loaded.audit_checkpoint.as_deref())?;
        let log = audit::Log::open(&config.state_dir.join("audit"), settings::audit(&config), outside, clock.clone())?;
        if let Some(Behind { acknowledged, found, .. }) = store.behind() {
            record(&log, "database_older", format!("it had {found} of {acknowledged} acknowledged changes"));
        }
        let owner = Owner::open(
            settings::authority(&config),
            &config.state_dir,
            store.clone(),
            loaded.authorities,
            clock.clone(),
            tell(log.clone()),
        )
        .await?;
        let present = Snapshot::build(loaded.registry_revision, loaded.entries.into_iter().map(Arc::new));
        let domain = config.trust_domain.clone();
        let (desk, clerk) = desk::open(domain, present, store.clone(), log.clone(), clock.clone(), counters.clone());
        let foreign::Opened { office, registrar, left_out: bundles_unread } = foreign::open(
            loaded.bundles,
            desk.registry(),
            owner.keyring(),
            store.clone(),
            log.clone(),
            clock.clone(),
            counters.clone(),
        );
        let issuer = Arc::new(Issuer::new(
            Sources { registry: desk.registry(), keyring: owner.keyring(), foreign: office.foreign() },
            settings::rules(&config),
            settings::jwt(&config),
            log.clone(),
            clock.clone(),
            counters.clone(),
            stopping.clone(),
        ));
        let listeners = config.workload_sockets.iter().map(|path| listen(path, 0o666, kernel));
        let listeners = listeners.collect::<anyhow::Result<Vec<_>>>()?;
        let addresses = listeners.iter().map(|one| one.path().as_os_str().as_encoded_bytes().to_vec()).collect();
        let lens =
            Lens::new(config.host_root.clone(), addresses).context("the daemon's user namespace cannot be seen")?;
        let (looks, waits) = (AllLooks::default(), settings::waits(&config.limits));
        let attestor = Arc::new(Attestor::new(lens, waits, kernel, &looks, clock.clone(), counters.clone()));
        let gates = settings::gates(&config, descriptors);
        let stand = standing::stand(Watched {
            listed: owner.listed(),
            store: store.clone(),
            log: log.clone(),
            looks: looks.clone(),
            clock: clock.clone(),
            left_out: loaded.left_out,
            bundles_left_out: loaded.bundles_left_out + bundles_unread,
            sockets: listeners.iter().map(|one| one.place().clone()).collect(),
        });
        let reporter = HealthReporter::new();
        let terms = settings::terms(&config.limits);
        let service = |routes, is_admin| Service {
            routes,
            is_admin,
            terms: if is_admin { Terms::for_admins(terms) } else { terms },
            counters: counters.clone(),
            stopping: stopping.clone(),
            tracker: tracker.clone(),
        };
        let message_bytes_max = usize::try_from(config.limits.request_message_bytes)?;
        let workload = service(workload_routes(issuer, config.wit.enabled, message_bytes_max, &reporter), false);
        let gate = Arc::new(Gate::new(gates.workload, looks.clone()));
        let workload_door = |listener| Door { listener, gate: gate.clone(), service: workload.clone() };
        let mut doors: Vec<Door> = listeners.into_iter().map(workload_door).collect();
        let admin = admin_routes(Admin {
            rights: Rights {
                uid: nix::unistd::geteuid().as_raw(),
                gid: config.admin_group.as_ref().map(|group| group.gid),
            },
            about: about(&config, kernel, &clock),
            stand: stand.clone(),
            explain: explain(attestor.clone(), &desk, clock.clone()),
            desk,
            office,
            log: log_switch(telemetry),
            counters: counters.clone(),
            stopping: stopping.clone(),
            health: reporter.clone(),
        });
        let gate = Arc::new(Gate::new(gates.admin, looks.clone()));
        doors.push(Door { listener: listen_admin(&config, kernel)?, gate, service: service(admin, true) });
        let ops = match &config.ops.address {
            Some(address) => {
                let metrics = Metrics::new(counters.clone(), stand.clone(), clock.now());
                Some((Ops::new(metrics, stand, counters), listen_ops(address, kernel).await?))
            }
            None => None,
        };
        let keeper = Arc::new(Doorkeeper { attestor, kernel, log: log.clone(), memory: Memory::default() });
        tracker.spawn(health::tell(reporter, owner.listed(), clock, stopping.clone()));
        say_what_is_missing(kernel);
        Ok(Bound { config, keeper, doors, ops, owner, clerk, registrar, log, store, stopping, tracker, _lock: lock })
    }
}

impl Bound {
    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Serves until `stop` is cancelled; then ends every stream with Unavailable, and every connection.
    ///
    /// # Errors
    /// When a task that owns state ends by itself, or a socket breaks.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { config, keeper, doors, ops, owner, clerk, registrar, log, store, stopping, tracker, _lock } = self;
        let mut owners = JoinSet::new();
        owners.spawn(owner.run(stopping.clone()).map(|()| Ok("authorities")));
        owners.spawn(clerk.run(stopping.clone()).map(|()| Ok("registry")));
        owners.spawn(registrar.run(stopping.clone()).map(|()| Ok("foreign bundles")));
        for door in doors {
            owners.spawn(door.run(keeper.clone()).map(|ended| ended.map(|()| "socket")));
        }
        if let Some((ops, socket)) = ops {
            owners.spawn(ops.run(socket, stopping.clone(), tracker.clone()).map(|ended| ended.map(|()| "ops")));
        }
        record(&log, "started", VERSION);
        // Nobody waits for it: identities first.
        drop(log.examine()?);
        tracing::info!(trust_domain = %config.trust_domain, state = %config.state_dir.display(), "serving");
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            Some(ended) = owners.join_next() => Err(anyhow!("a task of the daemon ended: {ended:?}")),
        };
        tracing::info!("stopping");
        stopping.cancel();
        tracker.close();
        if tokio::time::timeout(FAREWELL, tracker.wait()).await.is_err() {
            tracing::warn!(tasks = tracker.len(), "connections did not end in time");
        }
        // Dropping a door removes its socket.
        owners.shutdown().await;
        record(&log, "stopped", VERSION);
        log.close();
        store.close();
        ended
    }
}

fn listen(path: &Path, mode: u32, kernel: Kernel) -> anyhow::Result<Listener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    Ok(Listener::bind(path, mode, kernel)?)
}

fn listen_admin(config: &Config, kernel: Kernel) -> anyhow::Result<Listener> {
    let mode = if config.admin_group.is_some() { 0o660 } else { 0o600 };
    let listener = listen(&config.admin_socket, mode, kernel)?;
    if let Some(group) = &config.admin_group {
        listener.give_to_group(group.gid)?;
    }
    Ok(listener)
}

async fn listen_ops(address: &OpsAddress, kernel: Kernel) -> anyhow::Result<Socket> {
    Ok(match address {
        OpsAddress::Tcp(address) => {
            let bound = tokio::net::TcpListener::bind(address).await;
            Socket::Tcp(bound.with_context(|| format!("the ops listener cannot listen on {address}"))?)
        }
        OpsAddress::Unix(path) => Socket::Unix(listen(path, 0o666, kernel)?),
    })
}

fn about(config: &Config, kernel: Kernel, clock: &Clock) -> About {
    About {
        started_at: clock.now(),
        workload_sockets: config.workload_sockets.clone(),
        state_dir: config.state_dir.clone(),
        kernel,
    }
}

/// Says once at start which kernel calls are replaced by dearer ones, and whom it cannot serve.
fn say_what_is_missing(kernel: Kernel) {
    let unmapped = kernel.unmapped();
    if !unmapped.is_empty() {
        tracing::warn!(uid = unmapped.uid, gid = unmapped.gid, without = id_map::WITHOUT, "not all ids are mapped");
    }
    for feature in Feature::ALL.into_iter().filter(|feature| !kernel.has(*feature)) {
        tracing::info!(feature = feature.name(), without = feature.without(), "not in this kernel");
    }
}

fn record(log: &audit::Log, event: &'static str, detail: impl Into<String>) {
    let record = Record::Daemon { event, detail: Some(detail.into()) };
    if let Err(error) = log.append(&record, Urgency::Ordinary) {
        tracing::error!(error = %chain(&error), "audit log takes no record");
    }
}

/// Records what happens to authorities.
fn tell(log: audit::Log) -> Box<dyn Fn(&crate::authority::Event) + Send + Sync> {
    Box::new(move |event| {
        tracing::info!(authority = %event.id, role = event.role, event = event.event, "authority");
        let (id, not_after) = (event.id.to_string(), event.not_after);
        let record = Record::Authority { event: event.event, role: event.role, id, not_after };
        if let Err(error) = log.append(&record, Urgency::Renewal) {
            tracing::error!(error = %chain(&error), "audit log takes no record");
        }
    })
}

/// Looks at a process as the attestor would, but for its connection: there is none.
fn explain(attestor: Arc<Attestor>, desk: &Desk, clock: Clock) -> Explain {
    let registry = desk.registry();
    Arc::new(move |pid| {
        let (attestor, snapshot, at) = (attestor.clone(), registry.borrow().clone(), clock.now());
        Box::pin(async move {
            let number = i32::try_from(pid).map_err(|_| Unexplained::NoProcess(pid))?;
            let look = attestor.look(number, &snapshot).await.map_err(|error| match error {
                attest::Error::Fault(Fault::Gone) => Unexplained::NoProcess(pid),
                error => Unexplained::Failed(Box::new(error)),
            })?;
            let condition = "if the running image answers on its connection (would be asked)";
            let plain = look.plain.iter().map(|selector| (selector.clone(), None));
            let imaged = look.imaged.into_iter().map(|selector| (selector, Some(condition.to_owned())));
            Ok(Explanation {
                pid,
                uid: look.facts.uid,
                gid: look.facts.gid,
                executable: look.image.map(|image| image.path.display().to_string()).unwrap_or_default(),
                selectors: plain.chain(imaged).collect(),
                notes: look.notes,
                at,
            })
        })
    })
}

fn log_switch(telemetry: Option<Telemetry>) -> LogSwitch {
    let present = telemetry.clone();
    LogSwitch {
        present: Box::new(move || present.as_ref().map_or(LogLevel::Info, Telemetry::level).name()),
        change: Box::new(move |word| {
            let (level, telemetry) = (LogLevel::named(word)?, telemetry.as_ref()?);
            Some(telemetry.set_level(level).name())
        }),
    }
}

//! The whole daemon, put together in the order in which things depend on each other.
//!
//! [`Daemon::bind`] opens the state and the sockets, [`Bound::run`] serves until it is told to stop. Whatever owns
//! state must live: the end of an owner task ends the daemon. Sockets that listen already are served as they are.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic_health::server::HealthReporter;

use super::{
    access::Access,
    bound::{Beginning, Bound, Ending, Kept, State, record},
    config::{Config, Group, LogLevel},
    evidence, health,
    pinned::Pinned,
    replace::{self, Predecessor, Step, reached},
    reread::Adjustable,
    settings,
    sockets::{Sockets, Spares},
    standing::{self, Watched},
    telemetry::Telemetry,
};
use crate::{
    api::{
        About, Admin, Door, Doorkeeper, LogSwitch, Memory, Offers, Rights, Service, Terms, admin_routes, limits::Gate,
        metrics::Metrics, ops::Ops, workload_routes,
    },
    attest::{self, Attestor},
    audit::{self, Record, Urgency},
    authority::Owner,
    issuance::{
        Explain, Explanation, Issuer, Sources, Unexplained,
        desk::{self, Desk},
        foreign,
    },
    registry::{Catalog, Revocations, Snapshot, next_second},
    store::{Behind, Store},
    sys::{
        Clock, chain,
        counters::Counters,
        files, id_map,
        image::Lens,
        inherited::Inherited,
        kernel::{Feature, Kernel},
        listener::Listener,
        looks::AllLooks,
        notify::Notify,
        peer::Fault,
        process,
    },
};

/// A node's daemon.
pub struct Daemon;

/// What a daemon begins with, beside its configuration.
#[derive(Default)]
pub(crate) struct Start {
    /// Sockets that listen already.
    pub(crate) sockets: Vec<Inherited>,
    /// The service manager.
    pub(crate) notify: Notify,
    /// Whose place is taken.
    pub(super) predecessor: Option<Predecessor>,
    /// The lock of the state, where this process has it already.
    pub(super) lock: Option<files::Lock>,
    /// Why everything is opened again.
    pub(super) taken_back: Option<String>,
    /// Called once it serves.
    pub(crate) began: Option<Box<dyn FnOnce() + Send>>,
}

impl Daemon {
    /// Opens state and sockets. From now on this process leaves no core and cannot be looked into. Without
    /// `telemetry` the level of the log cannot be changed.
    ///
    /// # Errors
    /// When the state is not whole, not private, or in use; when a socket cannot be served; when the kernel cannot
    /// prove callers.
    pub async fn bind(config: Config, telemetry: Option<Telemetry>) -> anyhow::Result<Bound> {
        Self::bind_over(config, telemetry, Start::default()).await
    }

    /// The same over sockets that listen already. Where it cannot be done, and it was to take another's place, that one
    /// is told so.
    ///
    /// # Errors
    /// As [`Daemon::bind`], and when a socket that was given is not one of this configuration.
    pub(crate) async fn bind_over(
        config: Config,
        telemetry: Option<Telemetry>,
        mut start: Start,
    ) -> anyhow::Result<Bound> {
        let predecessor = start.predecessor.take();
        match (assemble(config, telemetry, start).await, predecessor) {
            (Ok(mut bound), predecessor) => {
                bound.beginning.predecessor = predecessor;
                reached(Step::Opened);
                Ok(bound)
            }
            (Err(error), Some(predecessor)) => {
                predecessor.call_back(&format!("{error:#}")).await;
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }
}

/// Puts the daemon together.
pub(super) async fn assemble(config: Config, telemetry: Option<Telemetry>, start: Start) -> anyhow::Result<Bound> {
    process::harden().context("this process cannot be kept from dumping core")?;
    let descriptors = process::raise_descriptor_limit().context("the limit of descriptors cannot be raised")?;
    let kernel = Kernel::probe(&config.without_kernel).context("this kernel cannot prove callers")?;
    let (clock, counters) = (Clock::system(), Arc::new(Counters::default()));
    let (stopping, tracker) = (CancellationToken::new(), TaskTracker::new());
    let resting = stopping.child_token();
    // Whoever has the folder above could put another state in the place of this one.
    if let Some(above) = config.state_dir.parent().filter(|above| above.exists()) {
        files::check_folder(above)?;
    }
    files::create_private_dir(&config.state_dir)?;
    files::check_writable(&config.state_dir)?;
    let lock = match start.lock {
        Some(lock) => lock,
        None => files::lock(&config.state_dir.join("lock"))?,
    };
    let (store, loaded) = Store::open(&config.state_dir, &config.trust_domain)?;
    let outside = evidence::outside(&config.state_dir, store.clone(), loaded.audit_checkpoint.as_deref())?;
    let log = audit::Log::open(&config.state_dir.join("audit"), settings::audit(&config), outside, clock.clone())?;
    if let Some(Behind { acknowledged, found, .. }) = store.behind() {
        record(&log, "database_older", format!("it had {found} of {acknowledged} acknowledged changes"));
    }
    reached(Step::Locked);
    let owner = Owner::open(
        settings::authority(&config),
        &config.state_dir,
        store.clone(),
        loaded.authorities,
        clock.clone(),
        tell(log.clone()),
    )
    .await?;
    let (catalog, orphans) = Catalog::build(loaded.items);
    for (id, problem) in &orphans {
        tracing::error!(%id, %problem, "an agent, tool or grant in the database is left out");
    }
    let mut revocations = Revocations::of(loaded.revoked);
    if loaded.revoked_left_out > 0 {
        // Which tokens they were is not known: none from before counts.
        revocations = revocations.not_known_before(next_second(clock.now()));
    }
    let present = Snapshot::build(loaded.registry_revision, loaded.entries.into_iter().map(Arc::new));
    let present = present.with_catalog(catalog).with_revocations(revocations);
    let domain = config.trust_domain.clone();
    let (desk, clerk) = desk::open(domain, present, store.clone(), log.clone(), clock.clone(), counters.clone());
    let desk = desk.judges_tokens(config.token.issuer.clone(), owner.keyring());
    let foreign::Opened { office, registrar, left_out: bundles_unread } = foreign::open(
        loaded.bundles,
        desk.registry(),
        owner.keyring(),
        store.clone(),
        log.clone(),
        clock.clone(),
        counters.clone(),
    );
    let issuer = Issuer::new(
        Sources { registry: desk.registry(), keyring: owner.keyring(), foreign: office.foreign() },
        settings::rules(&config),
        settings::jwt(&config),
        log.clone(),
        clock.clone(),
        counters.clone(),
        stopping.clone(),
    );
    let issuer = issuer.rests_with(resting.clone()).gives_again_within(config.x509.given_again);
    let issuer = issuer.issues_access_as(config.token.issuer.clone());
    let issuer = Arc::new(issuer.gives_access_in(config.token.environment.clone()));
    let mut sockets = Sockets::of(start.sockets);
    let listeners = config.workload_sockets.iter().map(|path| sockets.unix(path, 0o666, kernel));
    let listeners = listeners.collect::<anyhow::Result<Vec<_>>>()?;
    let addresses = listeners.iter().map(|one| one.path().as_os_str().as_encoded_bytes().to_vec()).collect();
    let lens = Lens::new(config.host_root.clone(), addresses).context("the daemon's user namespace cannot be seen")?;
    let (looks, waits) = (AllLooks::default(), settings::waits(&config.limits));
    let attestor = Arc::new(Attestor::new(lens, waits, kernel, &looks, clock.clone(), counters.clone()));
    let gates = settings::gates(&config, descriptors);
    let access = Access::new(&config, &issuer, log.clone(), clock.clone(), counters.clone())?;
    let stand = standing::stand(Watched {
        listed: owner.listed(),
        store: store.clone(),
        log: log.clone(),
        looks: looks.clone(),
        clock: clock.clone(),
        left_out: loaded.left_out,
        items_left_out: loaded.items_left_out + orphans.len(),
        revoked_left_out: loaded.revoked_left_out,
        bundles_left_out: loaded.bundles_left_out + bundles_unread,
        sockets: listeners.iter().map(|one| one.place().clone()).collect(),
        issuers: [&access.user_issuers, &access.tool_issuers].map(Pinned::problems),
    });
    let reporter = HealthReporter::new();
    let terms = settings::terms(&config.limits);
    let service = |offers: Offers| Service {
        terms: if offers.is_for_admins() { Terms::for_admins(terms) } else { terms },
        offers,
        counters: counters.clone(),
        stopping: stopping.clone(),
        tracker: tracker.clone(),
    };
    let message_bytes_max = usize::try_from(config.limits.request_message_bytes)?;
    let tokens = access.endpoint.clone();
    let (alive, proxies) = (issuer.alive().clone(), issuer.proxies().clone());
    let routes = workload_routes(issuer, tokens, config.wit.enabled, message_bytes_max, &reporter);
    let workload = service(Offers::Calls { routes, is_admin: false });
    let workload_gate = Arc::new(Gate::new(gates.workload, looks.clone()));
    let workload_door = |listener| Door { listener, gate: workload_gate.clone(), service: workload.clone() };
    let mut doors: Vec<Door> = listeners.into_iter().map(workload_door).collect();
    if kernel.has(Feature::PeerPidfd) {
        let listener = sockets.unix(&config.http_socket, 0o666, kernel)?;
        let service = service(Offers::Pages(access.endpoint.clone().pages()));
        doors.push(Door { listener, gate: workload_gate.clone(), service });
    } else {
        tracing::warn!("http.sock is off: this kernel does not say who connected, and HTTP/1.1 has no way to ask");
    }
    let listener = for_group(&mut sockets, &config.authz_socket, config.authz_group.as_ref(), kernel)?;
    let authz_gate = Arc::new(Gate::new(gates.authz, looks.clone()));
    let routes = access.authz.routes(message_bytes_max, &reporter);
    let pages = access.authz.clone().pages(config.authz.certificate_header.clone());
    let service_of_proxies = service(Offers::Both { routes, pages });
    let terms_of_proxies = service_of_proxies.terms.for_proxies();
    let gate = authz_gate.clone();
    doors.push(Door { listener, gate, service: Service { terms: terms_of_proxies, ..service_of_proxies } });
    let layout = settings::layout(&config).to_string();
    let (succession, visits) = replace::reception(config.state_dir.clone(), layout, kernel);
    let admin = admin_routes(Admin {
        rights: Rights {
            uid: nix::unistd::geteuid().as_raw(),
            gid: config.admin_group.as_ref().map(|group| group.gid),
        },
        about: about(&config, access.endpoint.url(), kernel, &clock),
        stand: stand.clone(),
        explain: explain(attestor.clone(), &desk, clock.clone()),
        desk,
        office,
        issuers: access.tool_issuers.watched(),
        alive,
        proxies,
        clock: clock.clone(),
        log: log_switch(telemetry.clone()),
        succession,
        counters: counters.clone(),
        stopping: stopping.clone(),
        health: reporter.clone(),
    });
    let admin_gate = Arc::new(Gate::new(gates.admin, looks.clone()));
    let listener = for_group(&mut sockets, &config.admin_socket, config.admin_group.as_ref(), kernel)?;
    let gate = admin_gate.clone();
    doors.push(Door { listener, gate, service: service(Offers::Calls { routes: admin, is_admin: true }) });
    let listens = match &config.ops.address {
        Some(address) => Some(sockets.ops(address, kernel).await?),
        None => None,
    };
    let spares = Spares::of(doors.iter().map(|door| &door.listener), listens.as_ref());
    let spares = spares.context("there are no descriptors for the sockets")?;
    let ops = listens.map(|(socket, _)| {
        let metrics = Metrics::new(counters.clone(), stand.clone(), clock.now());
        (Ops::new(metrics, stand, counters), socket)
    });
    let keeper = Arc::new(Doorkeeper { attestor, kernel, log: log.clone(), memory: Memory::default() });
    tracker.spawn(health::tell(reporter, owner.listed(), clock, stopping.clone()));
    say_what_is_missing(kernel);
    let adjustable = Adjustable {
        workload: workload_gate,
        authz: authz_gate,
        admin: admin_gate,
        user_issuers: access.user_issuers,
        tool_issuers: access.tool_issuers,
        telemetry: telemetry.clone(),
        descriptors,
    };
    Ok(Bound {
        config,
        telemetry,
        adjustable,
        rereads: None,
        keeper,
        doors,
        ops,
        owner,
        clerk,
        registrar,
        state: State { log, store, lock },
        ending: Ending { resting, stopping, tracker },
        sockets: Kept { spares, leftover: sockets.leftover() },
        visits,
        beginning: Beginning {
            notify: start.notify,
            predecessor: start.predecessor,
            taken_back: start.taken_back,
            began: start.began,
        },
    })
}

/// A socket of the daemon's own user, root, and a group.
fn for_group(sockets: &mut Sockets, path: &Path, group: Option<&Group>, kernel: Kernel) -> anyhow::Result<Listener> {
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    let listener = sockets.unix(path, mode, kernel)?;
    if let Some(group) = group {
        listener.give_to_group(group.gid)?;
    }
    Ok(listener)
}

fn about(config: &Config, token_endpoint: &str, kernel: Kernel, clock: &Clock) -> About {
    About {
        started_at: clock.now(),
        workload_sockets: config.workload_sockets.clone(),
        state_dir: config.state_dir.clone(),
        token_endpoint: token_endpoint.to_owned(),
        environment: config.token.environment.clone(),
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

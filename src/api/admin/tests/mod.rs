//! The services as a client calls them, over a real desk.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod bundles;
mod catalog;
mod control;
mod entries;
mod faults;
mod gate;
mod lists;
mod watches;

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt as _, TryStreamExt as _};
use tonic::{Code, body::Body, codegen::Service};
use tower::ServiceExt as _;

use super::{list::PAGE_SIZE_MAX, *};
use crate::{
    issuance::{
        AuthorityStanding, Explanation, Standing, Unexplained,
        desk::{BATCHES_MAX, fixture::Fixture},
    },
    pb::admin::{
        self as pb, catalog_client::CatalogClient, control_client::ControlClient, entries_client::EntriesClient,
        entry_event::Kind,
    },
    registry::Selector,
    sys::kernel::Kernel,
};

/// The daemon's own uid in these tests.
const OWN: u32 = 501;
/// The admin group in these tests.
const GROUP: u32 = 77;

struct House {
    fixture: Fixture,
    /// Who was invited.
    invited: Arc<Mutex<Vec<i32>>>,
    routes: Routes,
}

impl House {
    fn new() -> Self {
        Self::over(Fixture::new())
    }

    fn over(fixture: Fixture) -> Self {
        let level = Arc::new(Mutex::new("info"));
        let present = level.clone();
        let log = LogSwitch {
            present: Box::new(move || *present.lock().unwrap()),
            change: Box::new(move |word| {
                let word = ["info", "debug"].into_iter().find(|each| *each == word)?;
                Some(std::mem::replace(&mut *level.lock().unwrap(), word))
            }),
        };
        let about = About {
            environment: None,
            started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            workload_sockets: vec!["/run/dayfly/workload.sock".into()],
            state_dir: "/var/lib/dayfly".into(),
            token_endpoint: String::new(),
            kernel: Kernel::probe(&[]).unwrap(),
        };
        let invited = Arc::default();
        let admin = Admin {
            rights: Rights { uid: OWN, gid: Some(GROUP) },
            desk: fixture.desk.clone(),
            office: fixture.office.clone(),
            issuers: channel::channel(Arc::default()).1,
            alive: Arc::new(Alive::new(SystemTime::UNIX_EPOCH)),
            proxies: Arc::default(),
            clock: Clock::system(),
            about,
            stand: Arc::new(standing),
            explain: Arc::new(|pid| std::future::ready(explanation(pid)).boxed()),
            log,
            succession: succession(&invited),
            counters: fixture.counters.clone(),
            stopping: fixture.stopping.clone(),
            health: HealthReporter::new(),
        };
        Self { routes: admin_routes(admin), fixture, invited }
    }

    fn calls(&self, caller: AdminCaller) -> impl Wire + use<> {
        self.routes.clone().map_request(move |mut request: http::Request<Body>| {
            request.extensions_mut().insert(caller.clone());
            request
        })
    }

    fn entries(&self) -> EntriesClient<impl Wire + use<>> {
        EntriesClient::new(self.calls(caller(OWN, 20, &[])))
    }

    fn catalog(&self) -> CatalogClient<impl Wire + use<>> {
        CatalogClient::new(self.calls(caller(OWN, 20, &[])))
    }

    fn control(&self) -> ControlClient<impl Wire + use<>> {
        ControlClient::new(self.calls(caller(OWN, 20, &[])))
    }

    async fn create(&self, entry: pb::Entry) -> pb::Entry {
        self.entries().create(pb::CreateEntryRequest { entry: Some(entry) }).await.unwrap().into_inner()
    }

    async fn list(&self, request: pb::ListEntriesRequest) -> pb::ListEntriesResponse {
        self.entries().list(request).await.unwrap().into_inner()
    }
}

/// What a generated client can speak over.
trait Wire:
    Service<http::Request<Body>, Response = http::Response<Body>, Error = std::convert::Infallible, Future: Send>
    + Clone
    + Send
{
}

impl<T> Wire for T where
    T: Service<http::Request<Body>, Response = http::Response<Body>, Error = std::convert::Infallible, Future: Send>
        + Clone
        + Send
{
}

/// Invites one process, and then is busy.
fn succession(invited: &Arc<Mutex<Vec<i32>>>) -> Succession {
    let invited = invited.clone();
    let invite: Invite = Box::new(move |pid| {
        let mut invited = invited.lock().unwrap();
        if !invited.is_empty() {
            return Err(Uninvited::Busy);
        }
        invited.push(pid);
        Ok(())
    });
    Succession { protocol: 4, schema: 7, layout: "rooted".to_owned(), invite }
}

fn standing() -> Standing {
    let authority = AuthorityStanding {
        id: "00ff".into(),
        kind: "issuing",
        slot: "active",
        not_before: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(2),
    };
    Standing {
        is_ready: true,
        problems: vec!["the clock is odd".into()],
        authorities: vec![authority],
        audit_records: 9,
        audit_checkpoint: "1 9 aa bb".into(),
    }
}

fn explanation(pid: u32) -> Result<Explanation, Unexplained> {
    match pid {
        7 => Ok(Explanation {
            pid,
            uid: 1000,
            gid: 100,
            executable: "/usr/bin/web".into(),
            selectors: vec![
                (Selector::uid(1000), None),
                (Selector::parse("unix:path:/usr/bin/web").unwrap(), Some("if it answers".into())),
            ],
            notes: vec!["it is traced".into()],
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        }),
        8 => Err(Unexplained::Failed("the secret cause".into())),
        pid => Err(Unexplained::NoProcess(pid)),
    }
}

fn caller(uid: u32, gid: u32, groups: &[u32]) -> AdminCaller {
    AdminCaller { pid: 4242, uid, gid, groups: groups.into() }
}

fn entry(name: &str, selectors: &[&str]) -> pb::Entry {
    pb::Entry {
        spiffe_id: format!("spiffe://example.org/{name}"),
        selectors: selectors.iter().map(ToString::to_string).collect(),
        ..pb::Entry::default()
    }
}

fn show(id: &str) -> pb::ShowEntryRequest {
    pb::ShowEntryRequest { id: id.into() }
}

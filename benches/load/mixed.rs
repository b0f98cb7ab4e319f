//! The loader's watches of all kinds: each knows what it was told last, since when, and in how many messages.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use tokio::task::JoinSet;
use tonic::Status;

use crate::{
    client::{self, Workload, marked},
    foreign::{self, number},
    order::{Answer, Says},
    pb::workload::{
        JwtBundlesRequest, WitBundlesRequest, WitsvidRequest, WitsvidResponse, X509BundlesRequest, X509svidRequest,
        X509svidResponse,
    },
    process::moment,
};

/// Connections that are being opened at once.
const OPENING: usize = 64;
/// How long watches may take to be told.
const HEARING: Duration = Duration::from_secs(30);
/// How long they are listened to afterwards: of a burst there is a message every 50 ms at most.
const LISTENING: Duration = Duration::from_millis(300);

/// A stream of the Workload API.
#[derive(Clone, Copy)]
enum Kind {
    X509Svids,
    X509Bundles,
    JwtBundles,
    WitSvids,
    WitBundles,
}

const KINDS: [Kind; 5] = [Kind::X509Svids, Kind::X509Bundles, Kind::JwtBundles, Kind::WitSvids, Kind::WitBundles];

/// Watches that stay open, a connection each.
#[derive(Default)]
pub(crate) struct Mixed {
    streams: JoinSet<()>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What one watch was told.
#[derive(Clone, Copy)]
struct Seen {
    /// Last.
    says: Says,
    /// Since this moment.
    since: u64,
    /// Since the last order to arm.
    messages: u64,
    has_ended: bool,
}

impl Mixed {
    /// Opens so many of each kind, each with its first message.
    pub(crate) async fn open(&mut self, socket: &Path, each: usize) -> Result<Answer> {
        let began = Instant::now();
        let kinds = KINDS.iter().flat_map(|kind| std::iter::repeat_n(*kind, each));
        let mut opening = stream::iter(kinds)
            .map(|kind| async move {
                let mut client = Workload::new(client::connect(socket).await?);
                let mut watch = watch(&mut client, kind).await?;
                let says = watch.try_next().await?.context("a stream ended before its first message")?;
                anyhow::Ok((watch, says))
            })
            .buffer_unordered(OPENING);
        while let Some(opened) = opening.next().await {
            let (watch, says) = opened?;
            let mut seen = lock(&self.seen);
            let place = seen.len();
            seen.push(Seen { says, since: moment(), messages: 0, has_ended: false });
            self.streams.spawn(listen(watch, self.seen.clone(), place));
        }
        Ok(Answer::Opened { seconds: began.elapsed().as_secs_f64() })
    }

    /// Forgets how many messages came.
    pub(crate) fn arm(&self) {
        lock(&self.seen).iter_mut().for_each(|seen| seen.messages = 0);
    }

    /// Waits until all were told `truth`, and looks again a little later.
    pub(crate) async fn told(&self, truth: Says) -> Result<Answer> {
        let until = Instant::now() + HEARING;
        while self.astray(truth)? > 0 {
            ensure!(Instant::now() < until, "{} watches were not told {truth:?}", self.astray(truth)?);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(LISTENING).await;
        ensure!(self.astray(truth)? == 0, "watches were told something else after {truth:?}");
        let seen = lock(&self.seen);
        let heard = || seen.iter().filter(|seen| seen.messages > 0);
        Ok(Answer::Told {
            last: heard().map(|seen| seen.since).max().unwrap_or_default(),
            watches: heard().count(),
            messages: heard().map(|seen| seen.messages).sum(),
            most: heard().map(|seen| seen.messages).max().unwrap_or_default(),
        })
    }

    /// Closes all of them.
    pub(crate) async fn leave(&mut self) {
        self.streams.shutdown().await;
        lock(&self.seen).clear();
    }

    /// How many were told something else last.
    fn astray(&self, truth: Says) -> Result<usize> {
        let seen = lock(&self.seen);
        let ended = seen.iter().filter(|seen| seen.has_ended).count();
        ensure!(ended == 0, "{ended} watches ended");
        Ok(seen.iter().filter(|seen| !seen.says.agrees(truth)).count())
    }
}

async fn listen(mut watch: BoxStream<'static, Result<Says, Status>>, all: Arc<Mutex<Vec<Seen>>>, place: usize) {
    loop {
        let message = watch.try_next().await;
        let mut all = lock(&all);
        let Some(seen) = all.get_mut(place) else { return };
        let Ok(Some(says)) = message else {
            seen.has_ended = true;
            return;
        };
        seen.messages += 1;
        if seen.says != says {
            (seen.says, seen.since) = (says, moment());
        }
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens one; each message is reduced to what it says.
async fn watch(client: &mut Workload, kind: Kind) -> Result<BoxStream<'static, Result<Says, Status>>> {
    let bundle = |bundle: Option<&[u8]>| Says { entry: None, bundle: Some(bundle.map_or(0, number)) };
    let hint = |hint: Option<&String>| Some(hint.map_or(0, |hint| number(hint.as_bytes())));
    Ok(match kind {
        Kind::X509Svids => {
            let svids = client.fetch_x509svid(marked(X509svidRequest {})).await?.into_inner();
            let says = move |message: X509svidResponse| Says {
                entry: hint(message.svids.first().map(|svid| &svid.hint)),
                ..bundle(message.federated_bundles.get(foreign::ID).map(AsRef::as_ref))
            };
            svids.map_ok(says).boxed()
        }
        Kind::X509Bundles => {
            let bundles = client.fetch_x509_bundles(marked(X509BundlesRequest {})).await?.into_inner();
            bundles.map_ok(move |message| bundle(message.bundles.get(foreign::ID).map(AsRef::as_ref))).boxed()
        }
        Kind::JwtBundles => {
            let bundles = client.fetch_jwt_bundles(marked(JwtBundlesRequest {})).await?.into_inner();
            bundles.map_ok(move |message| bundle(message.bundles.get(foreign::ID).map(AsRef::as_ref))).boxed()
        }
        Kind::WitSvids => {
            let svids = client.fetch_witsvid(marked(WitsvidRequest::default())).await?.into_inner();
            let says = move |message: WitsvidResponse| Says {
                entry: hint(message.svids.first().map(|svid| &svid.hint)),
                bundle: None,
            };
            svids.map_ok(says).boxed()
        }
        Kind::WitBundles => {
            let bundles = client.fetch_wit_bundles(marked(WitBundlesRequest {})).await?.into_inner();
            bundles.map_ok(move |message| bundle(message.bundles.get(foreign::ID).map(String::as_bytes))).boxed()
        }
    })
}

//! The loader's role: a process of its own that asks for SVIDs in the ways it is told.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    client::{self, Workload},
    mixed::Mixed,
    order::{Answer, Ask, Order},
    process::moment,
};

/// Connections that are being opened at once.
const OPENING: usize = 64;
/// How long streams may take to hear of a change.
const HEARING: Duration = Duration::from_secs(30);

/// Obeys orders from stdin until it ends.
pub(crate) fn run(socket: PathBuf) -> Result<()> {
    let (sender, mut orders) = mpsc::unbounded_channel::<Order>();
    // Its own thread reads, so that open streams live on meanwhile.
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(order) if sender.send(order).is_ok() => {}
                _ => return,
            }
        }
    });
    client::block_on(async {
        let (mut held, mut mixed) = (Held::default(), Mixed::default());
        while let Some(order) = orders.recv().await {
            let answer = obey(&socket, order, &mut held, &mut mixed).await.map_err(|error| format!("{error:#}"));
            println!("{}", serde_json::to_string(&answer)?);
        }
        Ok(())
    })
}

async fn obey(socket: &Path, order: Order, held: &mut Held, mixed: &mut Mixed) -> Result<Answer> {
    match order {
        Order::Reused { rounds } => reused(socket, rounds).await,
        Order::Fresh { rounds } => fresh(socket, rounds).await,
        Order::Callers { ask, callers, connections, millis } => {
            many(socket, ask, (callers, connections), Duration::from_millis(millis)).await
        }
        Order::Open { connections, each } => held.open(socket, connections, each).await,
        Order::Arm => {
            held.heard.forget();
            mixed.arm();
            Ok(Answer::Done)
        }
        Order::Reached { messages } => held.heard.reached(messages).await,
        Order::Watch { each } => mixed.open(socket, each).await,
        Order::Told { truth } => mixed.told(truth).await,
        Order::Leave => {
            held.streams.shutdown().await;
            mixed.leave().await;
            Ok(Answer::Done)
        }
    }
}

async fn connect(socket: &Path) -> Result<Workload> {
    Ok(Workload::new(client::connect(socket).await?))
}

async fn reused(socket: &Path, rounds: usize) -> Result<Answer> {
    let mut client = connect(socket).await?;
    drop(client::fetch(&mut client).await?);
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        let stream = client::fetch(&mut client).await?;
        times.push(began.elapsed());
        drop(stream);
    }
    latency(times)
}

async fn fresh(socket: &Path, rounds: usize) -> Result<Answer> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        let mut client = connect(socket).await?;
        let stream = client::fetch(&mut client).await?;
        times.push(began.elapsed());
        drop((stream, client));
        // The connection's tasks end before the next begins.
        tokio::task::yield_now().await;
    }
    latency(times)
}

fn latency(mut times: Vec<Duration>) -> Result<Answer> {
    times.sort_unstable();
    let at = |per_mille: usize| {
        let place = times.len().saturating_mul(per_mille) / 1_000;
        times.get(place.min(times.len().saturating_sub(1))).map(|time| time.as_secs_f64() * 1e6).context("no rounds")
    };
    Ok(Answer::Latency { p50: at(500)?, p99: at(990)?, most: at(1_000)? })
}

async fn many(socket: &Path, ask: Ask, (callers, connections): (usize, usize), length: Duration) -> Result<Answer> {
    let clients: Vec<_> = stream::iter(0..connections).then(|_| connect(socket)).try_collect().await?;
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for (caller, client) in clients.iter().cycle().take(callers).enumerate() {
        let mut client = client.clone();
        tasks.spawn(async move {
            let token = client::token(&mut client, "bench").await;
            let mut answers = 0_u64;
            while began.elapsed() < length {
                match ask {
                    Ask::Svids => drop(client::fetch(&mut client).await?),
                    Ask::Jwt => drop(client::token(&mut client, "bench").await?),
                    Ask::JwtAnew => drop(client::token(&mut client, &format!("bench-{caller}-{answers}")).await?),
                    Ask::Judgement => {
                        client::judge(&mut client, "bench", token.as_ref().map_or("", String::as_str)).await?
                    }
                }
                answers += 1;
            }
            anyhow::Ok(answers)
        });
    }
    let mut answers = 0;
    while let Some(caller) = tasks.join_next().await {
        answers += caller??;
    }
    Ok(Answer::Rate { answers, seconds: began.elapsed().as_secs_f64() })
}

/// Streams that stay open.
#[derive(Default)]
struct Held {
    streams: JoinSet<()>,
    heard: Arc<Heard>,
}

impl Held {
    async fn open(&mut self, socket: &Path, connections: usize, each: usize) -> Result<Answer> {
        let began = Instant::now();
        let mut opening = stream::iter(0..connections)
            .map(|_| async {
                let mut client = connect(socket).await?;
                let mut streams = Vec::with_capacity(each);
                for _ in 0..each {
                    streams.push(client::fetch(&mut client).await?);
                }
                anyhow::Ok(streams)
            })
            .buffer_unordered(OPENING);
        while let Some(streams) = opening.next().await {
            for mut stream in streams? {
                let heard = self.heard.clone();
                self.streams.spawn(async move {
                    while let Ok(Some(_)) = stream.message().await {
                        heard.note();
                    }
                    heard.ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        }
        ensure!(self.heard.ended.load(Ordering::Relaxed) == 0, "streams ended while others were opened");
        Ok(Answer::Opened { seconds: began.elapsed().as_secs_f64() })
    }
}

/// Messages since the last order to arm.
#[derive(Default)]
struct Heard {
    messages: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    ended: AtomicU64,
}

impl Heard {
    fn forget(&self) {
        self.messages.store(0, Ordering::Relaxed);
        self.first.store(u64::MAX, Ordering::Relaxed);
        self.last.store(0, Ordering::Relaxed);
    }

    fn note(&self) {
        let now = moment();
        self.first.fetch_min(now, Ordering::Relaxed);
        self.last.fetch_max(now, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    async fn reached(&self, messages: u64) -> Result<Answer> {
        let until = Instant::now() + HEARING;
        while self.messages.load(Ordering::Relaxed) < messages {
            let (heard, ended) = (self.messages.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed));
            ensure!(Instant::now() < until, "{heard} of {messages} heard of the change, {ended} streams ended");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(Answer::Reached { first: self.first.load(Ordering::Relaxed), last: self.last.load(Ordering::Relaxed) })
    }
}

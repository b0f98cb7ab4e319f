//! Many proxies on one node: all are served, the daemon's memory stays within bounds, and who else asks is answered.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use super::{
    ALONE,
    common::{
        Daemon, eventually,
        messages::{Admin, Entry, Update, fetch},
        own_uid,
    },
    id,
    proxy::{Asks, Given, Proxy},
};

const PROXIES: usize = 500;
/// Streams of each.
const STREAMS: usize = 2;
/// What the daemon may have in memory at any time, in a debug build: before them it has 40, and a stream keeps no room for
/// the 61 kB of its last message.
const RSS_MIB_MAX: u64 = 128;
/// The bystander asks after so many proxies.
const BYSTANDER_EVERY: usize = 50;

struct Member {
    proxy: Proxy,
    certificate: u32,
    trust: u32,
}

#[test]
fn five_hundred_proxies_have_theirs_and_a_bystander_is_served() {
    let _alone = ALONE.lock();
    let daemon = Daemon::start("");
    daemon.entry(&id("crowd"), &[&own_uid()], &[]);
    let mut bystander = Bystander { daemon: &daemon, times: Vec::new() };
    bystander.asks();
    let idle = memory(&daemon, "VmRSS:");

    // All have asked before the first one listens.
    let begin = Instant::now();
    let mut crowd: Vec<_> = (0..PROXIES)
        .map(|number| {
            bystander.asks_at(number);
            let asks = if number % 2 == 0 { Asks::ForAll } else { Asks::ForChanges };
            let mut proxy = Proxy::connect(&daemon.socket(), &format!("crowd-{number}")).unwrap();
            let certificate = proxy.ask(asks, &["default"]).unwrap();
            let trust = proxy.ask(asks, &["ROOTCA"]).unwrap();
            Member { proxy, certificate, trust }
        })
        .collect();
    let first = certificates(&mut crowd, &mut bystander);
    let trusted: BTreeSet<_> = crowd.iter_mut().map(|one| one.proxy.next(one.trust).unwrap().remove(0).trust).collect();
    assert!(trusted.len() == 1 && !trusted.contains(&Vec::new()), "all trust the same");
    let served = begin.elapsed();
    all_have_taken(&daemon);

    // Something changes for all of them at once.
    let begin = Instant::now();
    let mut admin = Admin::connect(daemon.home()).unwrap();
    let mut entry = admin.entries().unwrap().remove(0);
    entry.dns_names.push("crowd.example.org".to_owned());
    let update = Update { expected_revision: entry.revision, entry: Some(entry) };
    admin.call::<Entry>("Entries/Update", &update).unwrap().unwrap();
    let second = certificates(&mut crowd, &mut bystander);
    let refreshed = begin.elapsed();
    all_have_taken(&daemon);
    assert!(first.is_disjoint(&second), "each has another one");

    let (now, peak) = (memory(&daemon, "VmRSS:"), memory(&daemon, "VmHWM:"));
    drop(crowd);
    eventually("the streams are gone", || daemon.cli(&["status", "--output", "json"]).contains("\"proxy_streams\": 0"));
    println!(
        "{PROXIES} proxies on {} streams: served within {served:?}, refreshed within {refreshed:?}; the daemon has {idle} \
         MiB before, {now} MiB with them, {peak} MiB at most, {} MiB after; a bystander asked {} times, the slowest {:?}",
        PROXIES * STREAMS,
        memory(&daemon, "VmRSS:"),
        bystander.times.len(),
        bystander.times.iter().max().unwrap(),
    );
    assert!(peak <= RSS_MIB_MAX, "{peak} MiB");
    daemon.must_serve("the crowd");
}

/// The next certificate of each, with its key; no two have the same.
fn certificates(crowd: &mut [Member], bystander: &mut Bystander<'_>) -> BTreeSet<Vec<u8>> {
    let each = crowd.iter_mut().enumerate().map(|(number, one)| {
        bystander.asks_at(number);
        let Given { name, chain, key, .. } = one.proxy.next(one.certificate).unwrap().remove(0);
        assert!(name == "default" && chain.starts_with(b"-----BEGIN CERTIFICATE-----\n"), "{name}");
        key
    });
    let keys: BTreeSet<_> = each.collect();
    assert_eq!(keys.len(), PROXIES, "a key for each proxy");
    keys
}

/// The daemon has heard of each that it has taken what it was sent.
fn all_have_taken(daemon: &Daemon) {
    eventually("all have taken theirs", || {
        let status: serde_json::Value = serde_json::from_str(&daemon.cli(&["status", "--output", "json"])).unwrap();
        let streams = status["proxies"].as_array().unwrap().iter();
        let secrets: Vec<_> = streams.flat_map(|stream| stream["secrets"].as_array().unwrap()).collect();
        secrets.len() == PROXIES * STREAMS && secrets.iter().all(|secret| secret["sent"] == secret["taken"])
    });
}

/// Who asks for an SVID as workloads do, on a new connection each time.
struct Bystander<'d> {
    daemon: &'d Daemon,
    times: Vec<Duration>,
}

impl Bystander<'_> {
    fn asks(&mut self) {
        let begin = Instant::now();
        let served = fetch(&self.daemon.socket());
        assert!(matches!(&served, Ok(Ok(svids)) if svids.len() == 1), "{served:?}");
        self.times.push(begin.elapsed());
    }

    fn asks_at(&mut self, number: usize) {
        if number.is_multiple_of(BYSTANDER_EVERY) {
            self.asks();
        }
    }
}

/// What the kernel says of the daemon's memory, in MiB.
fn memory(daemon: &Daemon, of: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(of)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_024
}

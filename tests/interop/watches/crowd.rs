//! Many watches of one client library in one process, each with a connection of its own, and what they were told.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::sleep,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{
    super::{Client, common::PATIENCE},
    site::{Site, now},
};

/// An update of one watch, as the clients print it.
#[derive(Clone, Debug)]
struct Update {
    /// Milliseconds of the wall clock.
    at: u64,
    number: usize,
    serial: String,
    /// Seconds of the wall clock.
    until: u64,
    names: String,
    /// Whether the key is the certificate's.
    fits: bool,
}

impl Update {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.strip_prefix("update ")?.split(' ').collect();
        let [at, number, serial, until, names, fits] = words[..] else { return None };
        Some(Self {
            at: at.parse().ok()?,
            number: number.parse().ok()?,
            serial: serial.to_owned(),
            until: until.parse().ok()?,
            names: names.to_owned(),
            fits: fits == "fits",
        })
    }
}

/// What watches were told, oldest first.
#[derive(Debug, Default)]
struct Told {
    updates: Vec<Update>,
    /// Everything else that was said.
    words: Vec<String>,
}

impl Told {
    fn take(&mut self, line: String) {
        match Update::parse(&line) {
            Some(update) => self.updates.push(update),
            None => self.words.push(line),
        }
    }

    /// The first update of each watch from then on.
    fn first(&self, count: usize, since: u64) -> Vec<Option<&Update>> {
        let first = |number| self.updates.iter().find(|update| update.number == number && update.at >= since);
        (0..count).map(first).collect()
    }

    /// How often each watch had an error from then on, where its library says so.
    fn errors(&self, count: usize, since: u64) -> Vec<usize> {
        let mut errors = vec![0; count];
        for line in &self.words {
            let words: Vec<_> = line.split(' ').collect();
            if let ["error", at, number, ..] = words[..]
                && at.parse::<u64>().unwrap() >= since
            {
                errors[number.parse::<usize>().unwrap()] += 1;
            }
        }
        errors
    }

    fn last(&self, count: usize) -> Vec<Option<&Update>> {
        (0..count).map(|number| self.updates.iter().rfind(|update| update.number == number)).collect()
    }
}

/// The watches of one library.
pub(super) struct Crowd {
    name: &'static str,
    count: usize,
    told: Arc<Mutex<Told>>,
    /// Of another process, which ends with its stdin.
    child: Option<Child>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Crowd {
    /// Watches in another process.
    pub(super) fn of(name: &'static str, client: &Client, site: &Site, count: usize) -> Self {
        let (program, before) = client.command.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(before).args(["watches", &count.to_string()]);
        command.env("SPIFFE_ENDPOINT_SOCKET", site.daemon().endpoint()).env("GRPC_ENABLE_FORK_SUPPORT", "0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(fs::File::create(site.daemon().home().join(format!("{name}.err"))).unwrap());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let told = Arc::new(Mutex::new(Told::default()));
        let (output, into) = (child.stdout.take().unwrap(), told.clone());
        std::thread::spawn(move || read(output, &into));
        Self { name, count, told, child: Some(child), runtime: None }
    }

    /// Sources of rust-spiffe in this process.
    pub(super) fn of_rust(site: &Site, count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let told = Arc::new(Mutex::new(Told::default()));
        for number in 0..count {
            let (told, endpoint) = (told.clone(), site.daemon().endpoint());
            runtime.spawn(async move {
                let source = spiffe::X509Source::builder().endpoint(endpoint).build().await.unwrap();
                let mut updates = source.updated();
                loop {
                    let update = seen(number, &source.svid().unwrap());
                    told.lock().unwrap().updates.push(update);
                    if let Err(error) = updates.changed().await {
                        return told.lock().unwrap().take(format!("error {} {number} ended: {error}", now()));
                    }
                }
            });
        }
        Self { name: "rust-spiffe", count, told, child: None, runtime: Some(runtime) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            child.kill().ok();
            child.wait().ok();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn read(output: impl Read, into: &Mutex<Told>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        into.lock().unwrap().take(line);
    }
}

/// What a source of rust-spiffe has now.
fn seen(number: usize, svid: &spiffe::X509Svid) -> Update {
    let at = now();
    let (_, leaf) = X509Certificate::from_der(svid.leaf().as_bytes()).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, svid.private_key().as_bytes()).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.iter();
    let names = names.filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None });
    Update {
        at,
        number,
        serial: leaf.raw_serial_as_string(),
        until: leaf.validity().not_after.timestamp().try_into().unwrap(),
        names: names.collect::<Vec<_>>().join(","),
        fits: key.public_key().as_ref() == &*leaf.public_key().subject_public_key.data,
    }
}

/// All watches of a test.
pub(super) struct Watches(pub(super) Vec<Crowd>);

impl Watches {
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|crowd| u64::try_from(crowd.count).unwrap()).sum()
    }

    /// Waits until each has an update from then on, with this DNS name, and none after it has another.
    pub(super) fn must_have(&self, since: u64, name: &str, limit: Duration) {
        // So that what is late is seen as late, and not as lost.
        let (begin, patience) = (Instant::now(), limit.max(PATIENCE));
        for crowd in &self.0 {
            loop {
                let told = crowd.told.lock().unwrap();
                let has = |update: &Option<&Update>| update.is_some_and(|update| update.names == name);
                let (first, last) = (told.first(crowd.count, since), told.last(crowd.count));
                if first.iter().chain(&last).all(has) {
                    break;
                }
                let missing: Vec<_> = first
                    .iter()
                    .zip(&last)
                    .enumerate()
                    .filter(|(_, (first, last))| !has(first) || !has(last))
                    .collect();
                assert!(begin.elapsed() < patience, "{}: {missing:?} {:?}", crowd.name, told.words);
                drop(told);
                sleep(Duration::from_millis(5));
            }
        }
    }

    /// How long each took, from `begin` to its first update since then; shortest first.
    fn each(crowd: &Crowd, since: u64, begin: u64) -> Vec<Duration> {
        let told = crowd.told.lock().unwrap();
        let first = told.first(crowd.count, since).into_iter().flatten();
        let mut delays: Vec<_> = first.map(|update| Duration::from_millis(update.at.saturating_sub(begin))).collect();
        delays.sort_unstable();
        delays
    }

    pub(super) fn slowest(&self, since: u64, begin: u64) -> Duration {
        self.0.iter().filter_map(|crowd| Self::each(crowd, since, begin).pop()).max().unwrap_or_default()
    }

    /// A line for each client.
    pub(super) fn delays(&self, since: u64, begin: u64) -> String {
        let mut lines = String::new();
        for crowd in &self.0 {
            let delays = Self::each(crowd, since, begin);
            let (middle, last) = (delays[delays.len() / 2].as_secs_f32(), delays[delays.len() - 1].as_secs_f32());
            writeln!(lines, "  {:<12} {:>3} watches: p50 {middle:>6.2} s, max {last:>6.2} s", crowd.name, delays.len())
                .unwrap();
        }
        lines
    }

    /// Nobody had more than the end of its stream: no try of anybody's has failed. go-spiffe is one that tells.
    pub(super) fn must_have_met_no_closed_door(&self, since: u64) {
        for crowd in &self.0 {
            let told = crowd.told.lock().unwrap();
            let errors = told.errors(crowd.count, since);
            assert!(errors.iter().all(|errors| *errors <= 1), "{}: {errors:?} {:?}", crowd.name, told.words);
            let is_told = crowd.name == "go-spiffe";
            assert_eq!(errors.iter().sum::<usize>(), if is_told { crowd.count } else { 0 }, "{}", crowd.name);
        }
    }

    /// Each has another certificate than before.
    pub(super) fn must_be_new(&self, since: u64) {
        for crowd in &self.0 {
            let told = crowd.told.lock().unwrap();
            let old: BTreeSet<_> =
                told.updates.iter().filter(|update| update.at < since).map(|update| &update.serial).collect();
            let first = told.first(crowd.count, since).into_iter().flatten();
            let stale: Vec<_> = first.filter(|update| old.contains(&update.serial)).collect();
            assert!(stale.is_empty(), "{}: {stale:?}", crowd.name);
        }
    }

    /// Nobody was ever told a certificate without its key, or one that is over; and no watch has ended for good.
    pub(super) fn must_fit(&self) {
        for crowd in &self.0 {
            let told = crowd.told.lock().unwrap();
            let bad: Vec<_> =
                told.updates.iter().filter(|update| !update.fits || update.until * 1_000 <= update.at).collect();
            assert!(bad.is_empty(), "{}: {bad:?}", crowd.name);
            let ended: Vec<_> = told.words.iter().filter(|words| words.contains("ended")).collect();
            assert!(ended.is_empty(), "{}: {ended:?}", crowd.name);
        }
    }
}

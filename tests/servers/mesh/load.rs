//! A constant load, by h2load, whose own numbers are believed.

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::stage::{program, words};

/// Requests of one run of h2load, which comes after the one before it; they take two seconds.
const REQUESTS: usize = 400;
const CONNECTIONS: usize = 4;
const PER_SECOND_OF_CONNECTION: usize = 50;
/// Of all connections together.
pub(super) const PER_SECOND: usize = CONNECTIONS * PER_SECOND_OF_CONNECTION;
/// Seconds in which something must come of what was sent.
const SILENCE_MAX: usize = 20;

pub(super) struct Load {
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Requests to this port from now on. `None`, and a word about it, where there is no h2load.
    pub(super) fn start(port: u16) -> Option<Self> {
        let h2load = program("DAYFLY_H2LOAD")?;
        let (is_over, done, failures) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>)>::default();
        let thread = thread::spawn({
            let (is_over, done, failures) = (is_over.clone(), done.clone(), failures.clone());
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    match run(&h2load, port) {
                        Ok(()) => drop(done.fetch_add(REQUESTS, Ordering::Relaxed)),
                        Err(said) => failures.lock().unwrap().push(said),
                    }
                }
            }
        });
        Some(Self { is_over, done, failures, thread: Some(thread) })
    }

    /// Requests so far. One that has failed ends the wait for more.
    pub(super) fn done(&self) -> usize {
        let failures = self.failures.lock().unwrap().clone();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        self.done.load(Ordering::Relaxed)
    }

    /// Ends it: no request has failed. Answers how many there were.
    pub(super) fn end(mut self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.done()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Runs it once; what it says where not all is well.
fn run(h2load: &PathBuf, port: u16) -> Result<(), String> {
    let mut command = Command::new(h2load);
    for (flag, value) in [
        ("-n", REQUESTS),
        ("-c", CONNECTIONS),
        ("-m", CONNECTIONS),
        ("--rps", PER_SECOND_OF_CONNECTION),
        ("-T", SILENCE_MAX),
        ("-N", SILENCE_MAX),
    ] {
        command.args([flag, &value.to_string()]);
    }
    let said = words(&command.arg(format!("http://127.0.0.1:{port}/")).output().unwrap());
    let n = REQUESTS;
    let good = [
        format!("requests: {n} total, {n} started, {n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout\n"),
        format!("status codes: {n} 2xx, 0 3xx, 0 4xx, 0 5xx\n"),
    ];
    if good.iter().all(|line| said.contains(line)) { Ok(()) } else { Err(said) }
}

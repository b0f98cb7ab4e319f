//! What this machine can do: V and S (P-256 verify and sign, thread CPU time) and W (64 bytes there and back over a Unix
//! socket between two processes).

use std::{
    env,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    },
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    files::Folder,
    process::own_cpu,
    table::{Runs, Table},
};

/// Microseconds each.
pub(crate) struct Units {
    pub(crate) verify: f64,
    pub(crate) sign: f64,
    /// 64 bytes there and back, median.
    pub(crate) wake: f64,
    wake_p99: f64,
}

const BATCH: u32 = 100;
const MESSAGE_BYTES: usize = 64;

impl Units {
    pub(crate) fn measure(quick: bool) -> Result<Self> {
        let batches = if quick { 20 } else { 60 };
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref())?;
        let message = [7_u8; 200];
        let signature = pair.sign(&random, &message)?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.public_key().as_ref());
        let sign = batched(batches, || Ok(pair.sign(&random, &message).map(|_| ())?))?;
        let verify = batched(batches, || Ok(public.verify(&message, signature.as_ref())?))?;
        let (wake, wake_p99) = ping_pong(if quick { 2_000 } else { 10_000 })?;
        Ok(Self { verify, sign, wake, wake_p99 })
    }

    pub(crate) fn describe(&self, table: &mut Table) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        table.note(format!(
            "units: V = {:.1} µs, S = {:.1} µs, W = {:.1} µs p50, {:.1} p99; {cores} cores",
            self.verify, self.sign, self.wake, self.wake_p99
        ));
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<_> = load.split_whitespace().take(2).collect();
        table.note(format!("load of the machine before: {}", load.join(" ")));
        table.value("unit_v_us", self.verify);
        table.value("unit_s_us", self.sign);
        table.value("unit_w_us", self.wake);
    }
}

/// Median over batches of the CPU time of one call, in microseconds.
fn batched(batches: usize, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut runs = Runs::default();
    for _ in 0..batches {
        let began = own_cpu()?;
        for _ in 0..BATCH {
            call()?;
        }
        runs.push((own_cpu()? - began).as_secs_f64() * 1e6 / f64::from(BATCH));
    }
    Ok(runs.median())
}

fn ping_pong(rounds: usize) -> Result<(f64, f64)> {
    let folder = Folder::new()?;
    let socket = folder.join("echo.sock");
    let listener = UnixListener::bind(&socket)?;
    let mut echo = Command::new(env::current_exe()?).arg("echo").arg(&socket).stdin(Stdio::null()).spawn()?;
    let (mut stream, _) = listener.accept()?;
    // Across two cores, as a daemon and its caller on a quiet machine: on one core it takes a fifth of that.
    pin(0);
    let mut block = [0_u8; MESSAGE_BYTES];
    let mut times = Runs::default();
    for round in 0..rounds + rounds / 10 {
        let began = Instant::now();
        stream.write_all(&block)?;
        stream.read_exact(&mut block)?;
        if round >= rounds / 10 {
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    drop(stream);
    unpin();
    ensure!(echo.wait().context("the echo process")?.success(), "the echo process failed");
    Ok((times.median(), times.at(0.99)))
}

/// The other end: sends back what comes, until nothing does.
pub(crate) fn echo(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    pin(1);
    let mut block = [0_u8; MESSAGE_BYTES];
    while stream.read_exact(&mut block).is_ok() {
        stream.write_all(&block)?;
    }
    Ok(())
}

/// Keeps this thread on one core. Where that cannot be, W is what the scheduler makes of it.
fn pin(core: usize) {
    let mut cores = CpuSet::new();
    if cores.set(core).is_ok() {
        sched_setaffinity(Pid::from_raw(0), &cores).ok();
    }
}

fn unpin() {
    let mut cores = CpuSet::new();
    if (0..CpuSet::count()).all(|core| cores.set(core).is_ok()) {
        sched_setaffinity(Pid::from_raw(0), &cores).ok();
    }
}

//! The built daemon in a folder of its own: started, told its entries, and stopped by its pid.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

use crate::{
    client,
    files::Folder,
    pb::admin::{
        CreateEntryRequest, Entry, SetBundleRequest, UpdateEntryRequest, bundles_client::BundlesClient,
        entries_client::EntriesClient,
    },
    process,
};

/// The program under load.
pub(crate) const DAYFLY: &str = env!("CARGO_BIN_EXE_dayfly");
/// Our one user is to be limited by the daemon's speed alone.
const CONFIG: &str = r#"# Limits per uid are raised for the bench: all load comes from one user.
[limits]
connections_per_uid = 20000
connections_uid_0 = 20000
streams_per_uid = 50000
streams_uid_0 = 50000
connects_per_second = 1000000
requests_per_second = 1000000
[log]
level = "warn"
"#;
/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that an operator does.
pub(crate) enum Change {
    /// An entry is as this from now on, found by its ID.
    Entry(Box<Entry>),
    Bundle(SetBundleRequest),
}

/// A running daemon; it is ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    home: Folder,
}

impl Daemon {
    /// A new daemon without entries.
    pub(crate) fn new() -> Result<Self> {
        Self::configured("")
    }

    /// … with more sections in its configuration.
    pub(crate) fn configured(more: &str) -> Result<Self> {
        let home = Folder::new()?;
        fs::write(home.join("dayfly.toml"), format!("{CONFIG}{more}"))?;
        let daemon = Self { child: spawn(&home)?, home };
        daemon.wait_until_served()?;
        Ok(daemon)
    }

    /// A new daemon with one entry for our own user, and for what else is said.
    pub(crate) fn with_entry(more: &[String]) -> Result<Self> {
        let daemon = Self::new()?;
        daemon.add_entry(more)?;
        Ok(daemon)
    }

    pub(crate) fn add_entry(&self, more: &[String]) -> Result<Entry> {
        let mut selectors = vec![format!("unix:uid:{}", geteuid())];
        selectors.extend_from_slice(more);
        let entry = Entry { spiffe_id: "spiffe://example.org/bench/caller".into(), selectors, ..Entry::default() };
        let socket = self.home.join("admin.sock");
        client::block_on(async {
            let mut entries = EntriesClient::new(client::connect(&socket).await?);
            Ok(entries.create(CreateEntryRequest { entry: Some(entry) }).await?.into_inner())
        })
    }

    /// Replaces what an entry says; answers it with its new revision.
    pub(crate) fn update_entry(&self, entry: Entry) -> Result<Entry> {
        let socket = self.home.join("admin.sock");
        client::block_on(async {
            let mut entries = EntriesClient::new(client::connect(&socket).await?);
            let update = UpdateEntryRequest { entry: Some(entry), expected_revision: 0 };
            Ok(entries.update(update).await?.into_inner())
        })
    }

    /// Makes changes one after the other, on one connection; answers the moments when the first and the last were asked for.
    pub(crate) fn change(&self, changes: Vec<Change>) -> Result<(u64, u64)> {
        let socket = self.home.join("admin.sock");
        client::block_on(async {
            let channel = client::connect(&socket).await?;
            let (mut entries, mut bundles) = (EntriesClient::new(channel.clone()), BundlesClient::new(channel));
            let (first, mut last) = (process::moment(), process::moment());
            for change in changes {
                last = process::moment();
                match change {
                    Change::Entry(entry) => {
                        let update = UpdateEntryRequest { entry: Some(*entry), expected_revision: 0 };
                        entries.update(update).await?;
                    }
                    Change::Bundle(bundle) => {
                        let warnings = bundles.set(bundle).await?.into_inner().warnings;
                        ensure!(warnings.is_empty(), "of the bundle: {}", warnings.join("; "));
                    }
                }
            }
            Ok((first, last))
        })
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join("workload.sock")
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Starts it again in the same folder, answering the moment before exec. It is not waited for.
    pub(crate) fn start_again(&mut self) -> Result<Instant> {
        let began = Instant::now();
        self.child = spawn(&self.home)?;
        Ok(began)
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM)?;
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                self.child.kill()?;
                self.child.wait()?;
                bail!("the daemon did not stop in {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn wait_until_served(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let sockets = [self.home.join("admin.sock"), self.socket()];
        while !sockets.iter().all(|socket| std::os::unix::net::UnixStream::connect(socket).is_ok()) {
            if Instant::now() > until {
                bail!("the daemon does not serve: {}", self.words());
            }
            thread::sleep(Duration::from_millis(5));
        }
        process::cpu(self.pid()).map(|_| ())
    }

    /// What it logged.
    pub(crate) fn words(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.stop().is_err() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

fn spawn(home: &Folder) -> Result<Child> {
    let log = File::options().create(true).append(true).open(home.join("log"))?;
    let mut command = Command::new(DAYFLY);
    command.arg("daemon").arg("--home").arg(home.path()).args(["--trust-domain", "example.org"]);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("start the daemon")
}

//! One try of one attack: the server, the programs, the users, and actors that do as they are told.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};

use crate::{
    kernel::{become_user, exec, fork},
    link::{Link, Message},
    server::Server,
    wire::{ack, opening},
};

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody got the secret: a thief in an attack, the rightful owner in an honest twin.
    Answered,
    /// Nobody did. The process whose connection it was, where its number is known.
    Refused(Option<i32>),
    /// The kernel itself refused, so that the server has nothing to record; what it said.
    Prevented(String),
    /// The try did not come to its point.
    Broken(String),
    /// The machine lacks something.
    Skipped(String),
}

/// A try, in a process of its own that may fork.
pub type Try = fn(&Scene<'_>) -> anyhow::Result<Outcome>;

/// The programs: one registered, one not, and copies of them that a try may change.
#[derive(Clone, Debug)]
pub struct Programs {
    pub trusted: PathBuf,
    pub attacker: PathBuf,
}

/// Who is who. Without root, all of them are ourselves.
#[derive(Clone, Copy, Debug)]
pub struct Users {
    /// The service's user. Attackers of the image rules have it too: they are not told apart by their uid.
    pub owner: u32,
    pub stranger: u32,
}

/// Where a try happens.
pub struct Scene<'a> {
    pub server: &'a Server,
    pub programs: &'a Programs,
    pub users: Users,
    /// A folder of this try's own that the owner may write.
    pub folder: &'a Path,
}

/// How long an actor may take for a deed that should take no time.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a thief waits for a secret or a refusal.
const THEFT_MILLISECONDS: &str = "15000";

impl Scene<'_> {
    /// An actor that runs the attackers' program as the owner's user.
    pub fn attacker(&self) -> anyhow::Result<Actor> {
        self.actor(&self.programs.attacker, self.users.owner)
    }

    /// An actor that runs the trusted program as the owner's user.
    pub fn trusted(&self) -> anyhow::Result<Actor> {
        self.actor(&self.programs.trusted, self.users.owner)
    }

    /// An actor that runs this program as this user.
    pub fn actor(&self, program: &Path, uid: u32) -> anyhow::Result<Actor> {
        Actor::start(program, &[&program.to_string_lossy()], uid, || Ok(()))
    }

    /// The path of the socket, as a word for an actor.
    pub fn socket(&self) -> &[u8] {
        use std::os::unix::ffi::OsStrExt as _;
        self.server.socket.as_os_str().as_bytes()
    }

    /// Has an actor run the trusted program, which then does nothing; comes back when it does.
    pub fn exec_trusted(&self, actor: &Actor) -> anyhow::Result<()> {
        self.exec_idle(actor, &self.programs.trusted)
    }

    /// The same with another program.
    pub fn exec_idle(&self, actor: &Actor, program: &Path) -> anyhow::Result<()> {
        let program = program.to_string_lossy();
        actor.exec(&[&program, &program, "idle"])?;
        actor.wait_closed()?;
        wait_until("the program runs", || runs(actor.pid, Path::new(&*program)))
    }

    /// Has an actor with a connection steal what comes on it.
    pub fn theft(&self, thief: &Actor, streams: u32, connected: Option<i32>) -> anyhow::Result<Outcome> {
        let came = thief.does(&[b"steal", streams.to_string().as_bytes(), THEFT_MILLISECONDS.as_bytes()])?;
        Ok(match came.text(1).as_str() {
            "leaked" => Outcome::Answered,
            "refused" => Outcome::Refused(connected),
            word => Outcome::Broken(format!("the thief's connection was {word}")),
        })
    }

    /// Takes what has come for a thief so far, so that only what comes later counts.
    pub fn forget_what_came(&self, thief: &Actor) -> anyhow::Result<()> {
        for _ in 0..DRAINS_MAX {
            if thief.does(&[b"steal", b"1", b"20"])?.text(1) != "leaked" {
                return Ok(());
            }
        }
        bail!("it does not stop coming")
    }
}

const DRAINS_MAX: usize = 1_000;

/// Whether a process runs a program and has gone to sleep in it.
pub fn runs(pid: i32, program: &Path) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let sleeps = stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('S'));
    sleeps && fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
}

/// Waits for something that another process does.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        ensure!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// An actor, as its try holds it.
pub struct Actor {
    link: Link,
    /// Its number in the try's pid namespace; 0 when that is not known.
    pub pid: i32,
}

impl Actor {
    /// Starts a program as a user, with these first words in place of its name, after something was done by root.
    pub fn start(
        program: &Path,
        first: &[&str],
        uid: u32,
        before: impl Fn() -> std::io::Result<()>,
    ) -> anyhow::Result<Self> {
        let (ours, theirs) = Link::pair()?;
        let number = theirs.descriptor().as_raw_fd();
        let child = fork(|| {
            let ready = before().and_then(|()| become_user(uid));
            let error = ready.err().unwrap_or_else(|| {
                let number_text = number.to_string();
                let words = [first, &["puppet", &number_text, "-"]].concat();
                exec(&program.to_string_lossy(), &words, &[number])
            });
            theirs.send(&[b"error", error.to_string().as_bytes()], None).ok();
            1
        })?;
        drop(theirs);
        let actor = Self { link: ours, pid: child.as_raw() };
        actor.hear().context("an actor starts")?;
        Ok(actor)
    }

    /// Tells it to do something, and does not wait.
    pub fn tell(&self, parts: &[&[u8]], descriptor: Option<BorrowedFd<'_>>) -> anyhow::Result<()> {
        Ok(self.link.send(parts, descriptor)?)
    }

    /// What it answers.
    pub fn hear(&self) -> anyhow::Result<Message> {
        let message = self.link.receive(Some(PATIENCE))?.context("an actor is gone")?;
        if message.text(0) != "ok" {
            bail!("{}", message.text(1));
        }
        Ok(message)
    }

    /// Has it do something.
    pub fn does(&self, parts: &[&[u8]]) -> anyhow::Result<Message> {
        self.tell(parts, None)?;
        self.hear().with_context(|| format!("{:?}", parts.first().map(|verb| String::from_utf8_lossy(verb))))
    }

    pub fn connect(&self, scene: &Scene<'_>) -> anyhow::Result<()> {
        self.does(&[b"connect", scene.socket()]).map(drop)
    }

    /// Writes, whether or not somebody still reads.
    pub fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        self.tell(&[b"write", bytes], None)?;
        self.link.receive(Some(PATIENCE))?.context("an actor is gone").map(drop)
    }

    /// Connects and opens as a client does.
    pub fn connect_and_open(&self, scene: &Scene<'_>) -> anyhow::Result<()> {
        self.connect(scene)?;
        self.write(&opening())
    }

    /// Answers a challenge.
    pub fn answer(&self, nonce: [u8; 8]) -> anyhow::Result<()> {
        self.write(&ack(nonce))
    }

    /// Reads until a PING comes; `None` when the connection ends or nothing comes.
    pub fn challenge(&self, milliseconds: u64) -> anyhow::Result<Option<[u8; 8]>> {
        let seen = self.does(&[b"await ping", milliseconds.to_string().as_bytes()])?;
        Ok(if seen.text(1) == "came" { seen.bytes(2).try_into().ok() } else { None })
    }

    /// As a good client asks, from this stream on: whether all of so many answers came.
    pub fn fetches(&self, first: u32, count: u32) -> anyhow::Result<bool> {
        Ok(self.fetch(first, count)? == "served")
    }

    /// The same: a word for what came of it.
    pub fn fetch(&self, first: u32, count: u32) -> anyhow::Result<String> {
        let seen = self.does(&[b"fetch", first.to_string().as_bytes(), count.to_string().as_bytes()])?;
        Ok(seen.text(2))
    }

    /// The same as an honest caller, for whom anything else than all answers is a fault.
    pub fn is_served(&self, first: u32, count: u32) -> anyhow::Result<Outcome> {
        Ok(match self.fetch(first, count)?.as_str() {
            "served" => Outcome::Answered,
            word => Outcome::Broken(format!("an honest caller was not served: {word}")),
        })
    }

    /// Its connection, to be handed to another.
    pub fn gives(&self) -> anyhow::Result<OwnedFd> {
        self.does(&[b"give"])?.descriptor.context("it has no connection")
    }

    /// Takes over a connection.
    pub fn takes(&self, connection: &OwnedFd) -> anyhow::Result<()> {
        self.tell(&[b"take"], Some(connection.as_fd()))?;
        self.hear().map(drop)
    }

    /// A child that has all that it has.
    pub fn forks(&self) -> anyhow::Result<Self> {
        let (ours, theirs) = Link::pair()?;
        self.tell(&[b"fork"], Some(theirs.descriptor()))?;
        let pid = self.hear()?.number(1)?;
        drop(theirs);
        let child = Self { link: ours, pid };
        child.hear()?;
        Ok(child)
    }

    /// Becomes another program: its path, its name, and its words. Does not wait.
    pub fn exec(&self, words: &[&str]) -> anyhow::Result<()> {
        let parts: Vec<&[u8]> = ["exec"].iter().chain(words).map(|word| word.as_bytes()).collect();
        self.tell(&parts, None)
    }

    /// Becomes another program that is an actor too, and keeps its connection.
    pub fn exec_actor(&self, program: &Path) -> anyhow::Result<()> {
        let program = program.to_string_lossy();
        self.exec(&[&program, &program, "puppet", "LINK", "CONNECTION"])?;
        self.hear().map(drop)
    }

    /// Waits until it hears nobody any more: it has exited, or is another program.
    pub fn wait_closed(&self) -> anyhow::Result<()> {
        match self.link.receive(Some(PATIENCE))? {
            None => Ok(()),
            Some(message) => bail!("instead of leaving: {}", message.text(1)),
        }
    }

    /// Ends it, and sees it off.
    pub fn exits(&self) -> anyhow::Result<()> {
        self.tell(&[b"exit"], None)?;
        waitpid(Pid::from_raw(self.pid), None)?;
        Ok(())
    }
}

/// Ends every child of this process, and theirs, which come to us as they lose their parents.
pub fn end_children() {
    let Ok(list) = fs::canonicalize("/proc/thread-self").map(|this| this.join("children")) else { return };
    loop {
        let children = fs::read_to_string(&list).unwrap_or_default();
        let children: Vec<i32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if children.is_empty() {
            return;
        }
        for child in children.into_iter().map(Pid::from_raw) {
            kill(child, Signal::SIGKILL).ok();
            waitpid(child, None).ok();
        }
    }
}

//! One server and some tries of one attack against it, one after the other, in a process of their own.
//!
//! Before the first and after the last try the rightful owner asks, and must be served. Each try is a process again,
//! which ends all that it started. What came of it goes to standard output, a line each, for the program that asked.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::getuid,
};

use crate::{
    kernel::fork,
    link::Link,
    naive::{Entry, Switches, sha256},
    scene::{Outcome, Programs, Scene, Try, Users, end_children},
    server::{AUDIT_LAG, Refusal, Server, Target},
    table::{Attack, Given, Kind, Place},
};

/// What a lane is to do.
#[derive(Clone, Debug)]
pub struct Order {
    pub attack: &'static Attack,
    pub target: Target,
    pub tries: usize,
    /// Its own, and empty.
    pub folder: PathBuf,
}

/// The longest that one try may take.
const TRY_SECONDS_MAX: Duration = Duration::from_secs(90);

impl Order {
    /// As words for a command line.
    pub fn words(&self) -> Vec<String> {
        let target = match &self.target {
            Target::Naive(switches) => format!("naive:{}", switches.number()),
            Target::Dayfly(without) => format!("dayfly:{}", without.join(",")),
        };
        let folder = self.folder.to_string_lossy().into_owned();
        vec![self.attack.name.to_owned(), target, self.tries.to_string(), folder]
    }

    /// From the words of a command line.
    pub fn from_words(words: &[String]) -> Option<Self> {
        let [name, target, tries, folder] = words else { return None };
        let target = match target.split_once(':')? {
            ("naive", number) => Target::Naive(Switches::from_number(number.parse().ok()?)),
            (_, without) => {
                Target::Dayfly(without.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect())
            }
        };
        let attack = crate::table::find(name)?;
        Some(Self { attack, target, tries: tries.parse().ok()?, folder: folder.into() })
    }
}

/// Does it, in a pid namespace of its own where the attack needs one.
pub fn run(order: &Order) -> anyhow::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if order.attack.place == Place::OwnPidNamespace {
        unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
        let child = fork(|| match in_own_proc(order) {
            Ok(()) => 0,
            Err(error) => {
                say(&["lane", &format!("{error:#}")]);
                1
            }
        })?;
        waitpid(child, None)?;
        return Ok(());
    }
    work(order)
}

fn in_own_proc(order: &Order) -> anyhow::Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)?;
    work(order)
}

fn work(order: &Order) -> anyhow::Result<()> {
    let programs = programs(&order.folder)?;
    let (users, entry) = grant(order.attack.grant, &programs)?;
    let home = order.folder.join("home");
    fs::create_dir(&home)?;
    let server = Server::start(&order.target, &home, &programs, &entry)?;
    let lane = Lane { server, programs, users, folder: &order.folder };
    if order.attack.kind == Kind::Attack {
        lane.owner("before");
    }
    let mut is_log_shown = false;
    for number in 0..order.tries {
        let known = lane.server.refusals()?.len();
        let outcome = lane.attempt(order.attack.run, &format!("try-{number}"));
        let refusals = match &outcome {
            Outcome::Refused(pid) if lane.server.is_dayfly() => lane.recorded(known, *pid, order.attack.reasons)?,
            _ => Vec::new(),
        };
        report(&outcome, &refusals);
        if matches!(outcome, Outcome::Broken(_)) && !is_log_shown {
            is_log_shown = true;
            say(&["log", &lane.server.log()]);
        }
    }
    if order.attack.kind == Kind::Attack {
        lane.owner("after");
    }
    Ok(())
}

struct Lane<'a> {
    server: Server,
    programs: Programs,
    users: Users,
    folder: &'a Path,
}

impl Lane<'_> {
    /// Whether the rightful owner is served.
    fn owner(&self, when: &str) {
        let outcome = self.attempt(
            |scene| {
                let owner = scene.trusted()?;
                owner.connect(scene)?;
                owner.is_served(1, 1)
            },
            &format!("owner-{when}"),
        );
        let word = if outcome == Outcome::Answered { "served" } else { "denied" };
        say(&[
            "owner",
            word,
            &format!("{when}: {outcome:?}\n{}", if word == "served" { String::new() } else { self.server.log() }),
        ]);
    }

    /// One try in a process of its own.
    fn attempt(&self, run: Try, name: &str) -> Outcome {
        self.attempt_in(run, name).unwrap_or_else(|error| Outcome::Broken(format!("{error:#}")))
    }

    fn attempt_in(&self, run: Try, name: &str) -> anyhow::Result<Outcome> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder)?;
        std::os::unix::fs::chown(&folder, Some(self.users.owner), Some(self.users.owner))?;
        let (ours, theirs) = Link::pair()?;
        let stage = fork(|| {
            prctl::set_child_subreaper(true).ok();
            let scene = Scene { server: &self.server, programs: &self.programs, users: self.users, folder: &folder };
            let outcome = run(&scene).unwrap_or_else(|error| Outcome::Broken(format!("{error:#}")));
            // Whatever happened, the server goes on.
            self.server.go_on().ok();
            let (word, detail) = match &outcome {
                Outcome::Answered => ("answered", String::new()),
                Outcome::Refused(pid) => ("refused", pid.unwrap_or(0).to_string()),
                Outcome::Prevented(word) => ("prevented", word.clone()),
                Outcome::Broken(why) => ("broken", why.clone()),
                Outcome::Skipped(why) => ("skipped", why.clone()),
            };
            theirs.send(&[word.as_bytes(), detail.as_bytes()], None).ok();
            end_children();
            0
        })?;
        let message = ours.receive(Some(TRY_SECONDS_MAX));
        let until = Instant::now() + Duration::from_secs(10);
        // It ends its children; if it cannot, they end with it.
        while matches!(waitpid(stage, Some(nix::sys::wait::WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive)) {
            if message.is_err() || Instant::now() > until {
                kill(stage, Signal::SIGKILL).ok();
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        fs::remove_dir_all(&folder).ok();
        let message = message.context("the try took too long")?.context("the try ended early")?;
        let detail = message.text(1);
        Ok(match message.text(0).as_str() {
            "answered" => Outcome::Answered,
            "refused" => Outcome::Refused(detail.parse().ok().filter(|pid| *pid != 0)),
            "prevented" => Outcome::Prevented(detail),
            "skipped" => Outcome::Skipped(detail),
            _ => Outcome::Broken(detail),
        })
    }

    /// The refusals that a try left in the audit log, of the process that connected where its number is known.
    /// Waits a little for one with an expected reason.
    fn recorded(&self, known: usize, pid: Option<i32>, reasons: &[&str]) -> anyhow::Result<Vec<Refusal>> {
        let until = Instant::now() + AUDIT_LAG;
        loop {
            let mut refusals = self.server.refusals()?.split_off(known);
            refusals.retain(|refusal| pid.is_none_or(|pid| refusal.pid == pid));
            let is_there =
                refusals.iter().any(|refusal| reasons.iter().any(|reason| refusal.reasons.contains(*reason)));
            if is_there || Instant::now() > until {
                return Ok(refusals);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The trusted and the attackers' program: this one, with an ending of its own each.
fn programs(folder: &Path) -> anyhow::Result<Programs> {
    let bin = folder.join("bin");
    fs::create_dir(&bin)?;
    let mut code = fs::read("/proc/self/exe")?;
    let end = code.len().saturating_sub(ENDING_BYTES).min(code.len());
    if code.get(end..).is_some_and(|ending| ending.starts_with(b"#")) {
        code.truncate(end);
    }
    let write = |name: &str, ending: &[u8; ENDING_BYTES]| {
        let path = bin.join(name);
        fs::write(&path, [code.as_slice(), ending].concat())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok::<_, anyhow::Error>(path)
    };
    Ok(Programs { trusted: write("trusted", b"#trusted")?, attacker: write("other", b"#other..")? })
}

const ENDING_BYTES: usize = 8;

/// Who is who, and the entry.
fn grant(grant: Given, programs: &Programs) -> anyhow::Result<(Users, Entry)> {
    let me = getuid().as_raw();
    let users = if me == 0 { Users { owner: 2001, stranger: 2002 } } else { Users { owner: me, stranger: me } };
    let path = Some(programs.trusted.clone());
    let root = Users { owner: 0, ..users };
    let uid = users.owner;
    Ok(match grant {
        Given::Path => (users, Entry { uid, path, sha256: None }),
        Given::Hash => (users, Entry { uid, path: None, sha256: Some(sha256(&fs::read(&programs.trusted)?)) }),
        Given::Uid => (users, Entry { uid, path: None, sha256: None }),
        Given::RootWithPath => (root, Entry { uid: 0, path, sha256: None }),
        Given::Root => (root, Entry { uid: 0, path: None, sha256: None }),
    })
}

fn report(outcome: &Outcome, refusals: &[Refusal]) {
    let mut reasons: Vec<String> = refusals.iter().flat_map(|refusal| refusal.reasons.clone()).collect();
    reasons.sort();
    reasons.dedup();
    let (word, detail) = match outcome {
        Outcome::Answered => ("answered", ""),
        Outcome::Refused(_) => ("refused", ""),
        Outcome::Prevented(why) => ("prevented", why.as_str()),
        Outcome::Broken(why) => ("broken", why.as_str()),
        Outcome::Skipped(why) => ("skipped", why.as_str()),
    };
    say(&["try", word, &reasons.join(","), detail]);
}

/// A line of words.
fn say(words: &[&str]) {
    let line: Vec<String> = words.iter().map(|word| word.replace(['\t', '\n'], " | ")).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", line.join("\t")).and_then(|()| out.flush()).ok();
}

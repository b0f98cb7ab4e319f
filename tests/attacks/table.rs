//! The threat table: each attack, the rule that stops it, its control, and the reasons that its refusal may have.

use crate::{naive::Switch, scene::Try};

/// Whether a secret that comes is a defeat, or the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Attack,
    /// What an honest caller does that looks like an attack, and must be served.
    Twin,
}

/// Whom the entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// The owner's uid and the trusted program's path.
    Path,
    /// The owner's uid and the trusted program's SHA-256.
    Hash,
    /// The owner's uid.
    Uid,
    /// Uid 0 and the trusted program's path.
    RootWithPath,
    /// Uid 0.
    Root,
}

/// What a machine must allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Other uids, mounts, and namespaces without a user namespace.
    Root,
    /// User namespaces for everybody.
    UserNamespaces,
}

/// Where server and attackers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Here,
    /// Together in a pid namespace of their own, in which numbers can be chosen.
    OwnPidNamespace,
}

/// One row, or one way of doing it.
#[derive(Debug)]
pub struct Attack {
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    pub kind: Kind,
    pub needs: &'static [Need],
    pub place: Place,
    pub grant: Given,
    /// What the naive server is told to do better, or worse.
    pub control: &'static [Switch],
    /// Codes of the audit log, of which one must be there; none where there is nothing to record.
    pub reasons: &'static [&'static str],
    pub run: Try,
    /// Whether each try waits for a deadline, so that several go on at once.
    pub waits: bool,
}

/// An attack that needs nothing, for tables to be written short.
pub const PLAIN: Attack = Attack {
    name: "",
    what: "",
    kind: Kind::Attack,
    needs: &[],
    place: Place::Here,
    grant: Given::Path,
    control: &[],
    reasons: &[],
    run: |_| Ok(crate::scene::Outcome::Broken("not written".to_owned())),
    waits: false,
};

/// All of them, in the order of the threat table.
pub fn all() -> impl Iterator<Item = &'static Attack> {
    FAMILIES.into_iter().flatten()
}

/// One by its name.
pub fn find(name: &str) -> Option<&'static Attack> {
    all().find(|attack| attack.name == name)
}

const FAMILIES: [&[Attack]; 11] = [
    crate::handed::ATTACKS,
    crate::execs::ATTACKS,
    crate::blank::ATTACKS,
    crate::filter::ATTACKS,
    crate::userns::ATTACKS,
    crate::reuse::ATTACKS,
    crate::files::ATTACKS,
    crate::streams::ATTACKS,
    crate::ids::ATTACKS,
    crate::extras::ATTACKS,
    crate::twins::ATTACKS,
];

impl Need {
    /// What a machine without it lacks, in words.
    pub fn words(needs: &[Self]) -> String {
        let words = needs.iter().map(|need| match need {
            Self::Root => "root",
            Self::UserNamespaces => "user namespaces for everybody",
        });
        words.collect::<Vec<_>>().join(" and ")
    }
}

/// What this machine does not allow.
pub fn lacking() -> Vec<Need> {
    let is_root = nix::unistd::geteuid().is_root();
    let mut lacks = if is_root { Vec::new() } else { vec![Need::Root] };
    let made = std::process::Command::new("/proc/self/exe").arg("own-user-namespace").status();
    if !made.is_ok_and(|status| status.success()) {
        lacks.push(Need::UserNamespaces);
    }
    lacks
}

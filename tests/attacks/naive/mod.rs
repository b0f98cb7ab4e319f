//! The control: a server that believes what most servers believe, `SO_PEERCRED` and `/proc/PID` at the time of the
//! request, and answers with the secret when that fits.
//!
//! Each [`Switch`] adds one rule of the real proof, or one more mistake. An attack is run against this server with
//! every rule but the one that stops it: so an attack that is broken cannot pass for a good defence.

mod connection;
mod facts;

use std::{
    io,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use nix::sys::socket::{setsockopt, sockopt::PassCred};

pub use facts::sha256;

/// One rule more, or one mistake more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Every byte comes from the process that connected.
    Sender,
    /// The running image answers a PING before each answer.
    Ping,
    /// Mistake: the PING is only put once for a connection and a program.
    Once,
    /// Nothing is queued when the PING leaves.
    Empty,
    /// The image lies where it lay before the PING.
    Layout,
    /// No program whose addresses are not drawn at random.
    Personality,
    /// No program with a socket as descriptor 0, 1 or 2.
    Streams,
    /// Mistake: only with one that is in our network namespace's table.
    StreamsByTable,
    /// No program in another user namespace.
    Namespace,
    /// Mistake: an exec is noticed by the end of the old memory.
    Watch,
    /// Mistake: the program is what argv says.
    Argv,
    /// Mistake: a deleted program keeps its name.
    Undelete,
    /// Mistake: what lies at the program's path is hashed.
    HashByPath,
    /// Mistake: digests are remembered by name, size and time.
    HashByTime,
    /// Mistake: the uid is that of the process's leader.
    UidOfStatus,
    /// Mistake: the uid is that of a file in `/proc/PID`.
    UidOfFile,
    /// Streams are pushed to by and by, and nobody looks who is there.
    Push,
    /// Before each push somebody looks which program runs.
    PushLooks,
    /// One thread for all connections, so that whoever blocks it blocks everybody.
    OneThread,
}

impl Switch {
    const ALL: [Self; 19] = [
        Self::Sender,
        Self::Ping,
        Self::Once,
        Self::Empty,
        Self::Layout,
        Self::Personality,
        Self::Streams,
        Self::StreamsByTable,
        Self::Namespace,
        Self::Watch,
        Self::Argv,
        Self::Undelete,
        Self::HashByPath,
        Self::HashByTime,
        Self::UidOfStatus,
        Self::UidOfFile,
        Self::Push,
        Self::PushLooks,
        Self::OneThread,
    ];
}

/// Every rule of the challenge; an attack's control has all of them but one.
pub const CAREFUL: [Switch; 7] = [
    Switch::Sender,
    Switch::Ping,
    Switch::Empty,
    Switch::Layout,
    Switch::Personality,
    Switch::Streams,
    Switch::Namespace,
];

/// Which switches are on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Switches(u32);

impl Switches {
    pub fn of(switches: &[Switch]) -> Self {
        Self(switches.iter().fold(0, |all, one| all | Self::bit(*one)))
    }

    pub fn has(self, switch: Switch) -> bool {
        self.0 & Self::bit(switch) != 0
    }

    /// From the number on a command line.
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// As one number, for a command line.
    pub fn number(self) -> u32 {
        self.0
    }

    fn bit(switch: Switch) -> u32 {
        Switch::ALL.iter().position(|one| *one == switch).map_or(0, |at| 1 << at)
    }
}

/// Who gets the secret.
#[derive(Clone, Debug)]
pub struct Entry {
    pub uid: u32,
    pub path: Option<PathBuf>,
    pub sha256: Option<String>,
}

/// What the connections share.
struct Server {
    entry: Entry,
    switches: Switches,
    digests: facts::Digests,
    /// Held while a connection is read from, with [`Switch::OneThread`].
    turn: Mutex<()>,
}

/// Serves until killed. The words are: socket, switches, uid, path or `-`, sha256 or `-`.
pub fn serve(words: &[String]) -> io::Result<()> {
    let [socket, switches, uid, path, sha256] = words else { return Err(io::ErrorKind::InvalidInput.into()) };
    let number = |text: &String| text.parse::<u32>().map_err(io::Error::other);
    let optional = |text: &String| Some(text.clone()).filter(|text| text != "-");
    let entry = Entry { uid: number(uid)?, path: optional(path).map(PathBuf::from), sha256: optional(sha256) };
    let server = Arc::new(Server {
        entry,
        switches: Switches(number(switches)?),
        digests: Mutex::default(),
        turn: Mutex::default(),
    });
    // Whoever sees it at its place can connect.
    let unfinished = format!("{socket}-");
    let listener = UnixListener::bind(&unfinished)?;
    setsockopt(&listener, PassCred, &true)?;
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o666))?;
    std::fs::rename(unfinished, socket)?;
    for connection in listener.incoming() {
        let (connection, server) = (connection?, server.clone());
        std::thread::spawn(move || connection::serve(&connection, &server));
    }
    Ok(())
}

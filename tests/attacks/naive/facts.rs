//! What the naive server believes of a process: what `/proc/PID` says when it is asked, by number.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{Entry, Switch, Switches};

/// What one look at a process showed.
pub struct Look {
    pub granted: bool,
    pub file: (u64, u64),
    pub layout: [u64; 3],
    /// Its memory map, held open; what is read later shows whether that memory is still there.
    maps: Option<File>,
}

impl Look {
    /// Whether the same program runs as in an earlier look, as far as the switches can tell.
    pub fn is_as(&self, earlier: &Self, switches: Switches) -> bool {
        let same_memory = || earlier.maps.as_ref().is_none_or(|mut maps| matches!(maps.read(&mut [0; 16]), Ok(1..)));
        self.granted
            && self.file == earlier.file
            && (!switches.has(Switch::Layout) || self.layout == earlier.layout)
            && (!switches.has(Switch::Watch) || same_memory())
    }
}

/// Digests by what the cache believes to tell files apart.
pub type Digests = Mutex<HashMap<(PathBuf, u64, i64, i64), String>>;

/// Looks at a process that connected with this uid.
pub fn look(pid: i32, uid: u32, entry: &Entry, switches: Switches, digests: &Digests) -> io::Result<Look> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let exe = fs::metadata(proc.join("exe"))?;
    let granted = uid_of(&proc, uid, switches)? == entry.uid
        && entry.path.as_ref().map_or(Ok(true), |path| is_at(&proc, path, switches))?
        && entry
            .sha256
            .as_ref()
            .map_or(Ok(true), |sha| Ok::<_, io::Error>(digest(&proc, switches, digests)? == *sha))?
        && (!switches.has(Switch::Namespace) || is_same(&proc.join("ns/user"), Path::new("/proc/self/ns/user"))?)
        && (!switches.has(Switch::Personality) || personality(&proc)? & 0x0004_0000 == 0)
        && (!switches.has(Switch::Streams) || !has_socket_as_stream(&proc, |_| true)?)
        && (!switches.has(Switch::StreamsByTable) || !has_socket_as_stream(&proc, is_in_our_table)?);
    let maps = switches.has(Switch::Watch).then(|| File::open(proc.join("maps"))).transpose()?;
    Ok(Look { granted, file: (exe.dev(), exe.ino()), layout: layout(&proc)?, maps })
}

fn uid_of(proc: &Path, noted: u32, switches: Switches) -> io::Result<u32> {
    if switches.has(Switch::UidOfFile) {
        return Ok(fs::symlink_metadata(proc.join("exe"))?.uid());
    }
    if switches.has(Switch::UidOfStatus) {
        let status = fs::read_to_string(proc.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        return line.and_then(|line| line.split_whitespace().next()?.parse().ok()).ok_or_else(odd);
    }
    Ok(noted)
}

fn is_at(proc: &Path, path: &Path, switches: Switches) -> io::Result<bool> {
    if switches.has(Switch::Argv) {
        // The first word, or the second, as of a script's interpreter.
        let words = fs::read(proc.join("cmdline"))?;
        return Ok(words.split(|byte| *byte == 0).take(2).any(|word| word == path.as_os_str().as_bytes()));
    }
    Ok(name_of(proc, switches)? == path)
}

fn name_of(proc: &Path, switches: Switches) -> io::Result<PathBuf> {
    let name = fs::read_link(proc.join("exe"))?.into_os_string().into_vec();
    let kept = name.strip_suffix(b" (deleted)").filter(|_| switches.has(Switch::Undelete)).map(<[u8]>::to_vec);
    Ok(OsString::from_vec(kept.unwrap_or(name)).into())
}

fn digest(proc: &Path, switches: Switches, digests: &Digests) -> io::Result<String> {
    let name = name_of(proc, switches)?;
    if switches.has(Switch::HashByPath) {
        return Ok(sha256(&fs::read(name)?));
    }
    if switches.has(Switch::HashByTime) {
        let meta = fs::metadata(proc.join("exe"))?;
        let key = (name, meta.size(), meta.mtime(), meta.mtime_nsec());
        let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = digests.get(&key) {
            return Ok(digest.clone());
        }
        let digest = sha256(&fs::read(proc.join("exe"))?);
        digests.insert(key, digest.clone());
        return Ok(digest);
    }
    Ok(sha256(&fs::read(proc.join("exe"))?))
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(fs::metadata(one)?.ino() == fs::metadata(other)?.ino())
}

fn personality(proc: &Path) -> io::Result<u32> {
    u32::from_str_radix(fs::read_to_string(proc.join("personality"))?.trim_end(), 16).map_err(|_| odd())
}

/// `start_code`, `start_stack` and `start_brk`; all of them are 0 in the middle of an exec.
fn layout(proc: &Path) -> io::Result<[u64; 3]> {
    let stat = fs::read_to_string(proc.join("stat"))?;
    let after = stat.rsplit_once(") ").ok_or_else(odd)?.1.split(' ').collect::<Vec<_>>();
    let field = |number: usize| after.get(number - 3).and_then(|text| text.parse().ok()).ok_or_else(odd);
    Ok([field(26)?, field(28)?, field(47)?])
}

fn has_socket_as_stream(proc: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<bool> {
    let targets = (0..=2).filter_map(|number| fs::read_link(proc.join(format!("fd/{number}"))).ok());
    Ok(targets.filter_map(|target| target.to_str().map(str::to_owned)).any(|target| {
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(&is_ours)
    }))
}

/// Whether a socket is in the table of our own network namespace.
fn is_in_our_table(inode: &str) -> bool {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().nth(6) == Some(inode))
}

fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not understood")
}

//! What only attackers do: other ids, other namespaces, forged senders, shared pages, things sent that nobody asked for.

use std::{
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{personality, prctl},
    unistd::{Uid, setresuid},
};

use super::{Answer, Puppet, disguise};
use crate::{
    kernel::{SharedPage, linger, read_memory_of, send_as, send_descriptors, send_out_of_band, set_ids_of_thread},
    link::Message,
};

impl Puppet {
    pub(super) fn special(&mut self, verb: &str, message: &Message) -> Answer {
        match verb {
            "become" => {
                let [real, effective, saved] = ids(message)?.map(Uid::from_raw);
                setresuid(real, effective, saved)?;
                // Such a change takes it away.
                prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            }
            "connect in a thread" => self.connect_in_a_thread(message)?,
            "unshare" => unshare(CloneFlags::from_bits_truncate(message.number(1)?))?,
            "be root of a user namespace" => own_user_namespace(message.number(1)?)?,
            "mount over" => {
                mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
                let (from, to) = (message.text(1), message.text(2));
                mount(Some(from.as_str()), to.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            }
            "do not randomise" => {
                let now = personality::get()?;
                personality::set(now | personality::Persona::ADDR_NO_RANDOMIZE)?;
            }
            "take the name" => {
                let name = std::ffi::CString::new(message.bytes(1)).map_err(io::Error::other)?;
                prctl::set_name(&name)?;
            }
            "be undumpable" => prctl::set_dumpable(false)?,
            "rewrite the executable" => {
                let layout = [2, 3, 4].map(|at| message.number(at));
                let layout =
                    if let [Ok(code), Ok(stack), Ok(heap)] = layout { Some([code, stack, heap]) } else { None };
                disguise::rewrite_executable(&message.text(1), layout)?;
            }
            "write as" => send_as(self.connection()?.as_fd(), message.number(1)?, message.bytes(2))?,
            "out of band" => send_out_of_band(self.connection()?.as_fd())?,
            "send descriptors" => return self.send_descriptors(&message.text(1), message.number(2)?),
            "make a page" => self.page = Some(SharedPage::new()?),
            "fill the page" => self.page()?.write(message.number(1)?, message.bytes(2)),
            "queue the page" => self.page()?.queue(self.connection()?.as_fd(), message.number(1)?)?,
            "make a pipe" => {
                let (read_end, write_end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
                // The writing end first, so that the reading end is the one kept last.
                self.kept.extend([write_end, read_end]);
            }
            "write into the pipe" => {
                let at = self.kept.len().checked_sub(2).ok_or(io::ErrorKind::NotFound)?;
                nix::unistd::write(&self.kept[at], message.bytes(1))?;
            }
            "hold the memory of" => {
                let (pid, address): (i32, usize) = (message.number(1)?, message.number(2)?);
                // Told before it begins, since it takes a while; the second answer is not waited for.
                self.link.send(&[b"ok"], None)?;
                let read = read_memory_of(pid, address, message.number(3)?, message.number(4)?)?;
                return Ok(vec![read.to_string().into_bytes()]);
            }
            _ => return Err(io::Error::other("nobody does that")),
        }
        Ok(Vec::new())
    }

    fn page(&self) -> io::Result<SharedPage> {
        self.page.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Connects, and writes, in a thread with ids of its own; or in one with the old ids while the leader has others.
    /// The words: who changes (`worker`, `leader`), three ids, path, bytes.
    fn connect_in_a_thread(&mut self, message: &Message) -> io::Result<()> {
        let ids = [message.number(2)?, message.number(3)?, message.number(4)?];
        let (path, bytes) = (message.text(5), message.bytes(6).to_vec());
        let is_worker = message.text(1) == "worker";
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || {
            gone.recv().map_err(io::Error::other)?;
            if is_worker {
                set_ids_of_thread(ids)?;
            }
            let mut connection = UnixStream::connect(path)?;
            connection.write_all(&bytes)?;
            // The thread stays, as its connection does; it ends with the process.
            Ok::<_, io::Error>((connection, gone))
        });
        if !is_worker {
            set_ids_of_thread(ids)?;
        }
        go.send(()).map_err(io::Error::other)?;
        let (connection, _) = worker.join().map_err(|_| io::ErrorKind::Other)??;
        self.connection = Some(connection);
        Ok(())
    }

    /// Sends so many messages, each with a descriptor, now and then one of a TCP socket whose close blocks. Connects
    /// again when it was thrown out. Answers how many messages the kernel took, and why it took no more.
    fn send_descriptors(&mut self, path: &str, messages: u32) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let nothing = std::fs::File::open("/dev/null")?;
        // A frame that says nothing, so that the message has bytes to go with.
        let bytes = crate::wire::frame(crate::wire::UNKNOWN, 0, 0, &[]);
        let mut taken = 0_u32;
        for number in 0..messages {
            let blocking = if number.is_multiple_of(LINGER_EVERY) { Some(lingering(&listener)?) } else { None };
            let sent = blocking.as_ref().map_or(nothing.as_raw_fd(), |(socket, _)| socket.as_raw_fd());
            match send_descriptors(self.connection()?.as_fd(), &[sent], &bytes) {
                Ok(()) => taken += 1,
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {
                    self.connection = Some(UnixStream::connect(path)?);
                }
                Err(error) => return Ok(vec![taken.to_string().into_bytes(), error.to_string().into_bytes()]),
            }
            // The far end stays: were it closed, nobody would wait for it.
            self.kept.extend(blocking.map(|(_, far)| far));
        }
        Ok(vec![taken.to_string().into_bytes()])
    }
}

const LINGER_EVERY: u32 = 1_000;

/// A TCP socket with more to send than its peer takes, so that whoever closes it last waits; and that peer.
fn lingering(listener: &TcpListener) -> io::Result<(TcpStream, OwnedFd)> {
    let mut socket = TcpStream::connect(listener.local_addr()?)?;
    let (peer, _) = listener.accept()?;
    socket.set_nonblocking(true)?;
    // More than once: what is sent makes room for a while, until the peer has no more.
    for _ in 0..3 {
        while socket.write(&[0; 64 * 1024]).is_ok() {}
        std::thread::sleep(Duration::from_millis(3));
    }
    linger(socket.as_fd(), LINGER_SECONDS)?;
    Ok((socket, peer.into()))
}

const LINGER_SECONDS: i32 = 3;

fn ids(message: &Message) -> io::Result<[u32; 3]> {
    Ok([message.number(1)?, message.number(2)?, message.number(3)?])
}

/// A user namespace in which we are root, and its own pid and mount namespaces; children are in the pid namespace.
pub(super) fn own_user_namespace(inside: u32) -> io::Result<()> {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{inside} {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{inside} {gid} 1"))?;
    Ok(())
}

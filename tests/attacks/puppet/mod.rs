//! An actor: a process of its own, with its own program, uid and namespaces, that does one thing at a time as told.
//!
//! The same code runs as the trusted program and as the attackers'; which of them it is, is a matter of the file it
//! was started from. What is told comes over a link from the try, and each deed is answered there. An actor speaks
//! HTTP/2 with bytes that it is given, so that it knows nothing of what it takes part in.

mod deeds;
mod disguise;

use std::{
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use crate::{
    kernel::{SharedPage, adopt, exec, fork, put_at},
    link::{Link, Message},
    wire::{ACK, Event, Reader, SETTINGS, ack, frame, opening, request, wide_window},
};

/// What an actor has.
pub struct Puppet {
    link: Link,
    connection: Option<UnixStream>,
    reader: Reader,
    /// Streams of this connection that were seen to end.
    ended: u32,
    page: Option<SharedPage>,
    /// Whatever has to stay open.
    kept: Vec<std::os::fd::OwnedFd>,
}

/// How a deed ended: parts of the answer, and perhaps a descriptor of ours to send with it.
type Answer = io::Result<Vec<Vec<u8>>>;

/// Acts until told to stop, or nobody tells any more. The words are: link, connection or `-`.
pub fn act(words: &[String]) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
    let link = Link::at(number(0).ok_or(io::ErrorKind::InvalidInput)?);
    let connection = number(1).map(|number| UnixStream::from(adopt(number)));
    let mut puppet = Puppet { link, connection, reader: Reader::default(), ended: 0, page: None, kept: Vec::new() };
    puppet.link.send(&[b"ok"], None)?;
    puppet.run()
}

impl Puppet {
    fn run(&mut self) -> io::Result<()> {
        while let Some(message) = self.link.receive(None)? {
            let verb = message.text(0);
            if verb == "give" {
                let descriptor = self.connection.as_ref().map(|connection| connection.as_fd());
                self.link.send(&[b"ok"], descriptor)?;
                continue;
            }
            let answer = match verb.as_str() {
                "exit" => return Ok(()),
                "exec" => self.exec(&message),
                "fork" => self.fork(message),
                "take" => self.take(message),
                _ => self.deed(&verb, &message),
            };
            match answer {
                Ok(parts) => {
                    let parts: Vec<&[u8]> = [&b"ok"[..]].into_iter().chain(parts.iter().map(Vec::as_slice)).collect();
                    self.link.send(&parts, None)?;
                }
                Err(error) => self.link.send(&[b"error", format!("{verb}: {error}").as_bytes()], None)?,
            }
        }
        Ok(())
    }

    fn deed(&mut self, verb: &str, message: &Message) -> Answer {
        match verb {
            "connect" => {
                self.connection = Some(UnixStream::connect(message.text(1))?);
                (self.reader, self.ended) = (Reader::default(), 0);
                Ok(Vec::new())
            }
            "write" => self.connection()?.write_all(message.bytes(1)).map(|()| Vec::new()),
            "write piecemeal" => {
                let mut connection = self.connection()?;
                message.bytes(1).chunks(1).try_for_each(|byte| {
                    connection.write_all(byte)?;
                    std::thread::sleep(Duration::from_micros(200));
                    Ok::<_, io::Error>(())
                })?;
                Ok(Vec::new())
            }
            "write in a thread" => {
                let (mut connection, bytes) = (self.connection()?.try_clone()?, message.bytes(1).to_vec());
                std::thread::spawn(move || connection.write_all(&bytes)).join().map_err(|_| io::ErrorKind::Other)??;
                Ok(Vec::new())
            }
            "fetch" => self.fetch(message.number(1)?, message.number(2)?),
            "steal" => self.steal(message.number(1)?, message.number(2)?),
            "await secret" => self.until(message.number(1)?, |event| matches!(event, Event::Secret(_)), true),
            "await ping" => self.until(message.number(1)?, |event| matches!(event, Event::Ping(_)), false),
            "await settings" => self.until(message.number(1)?, |event| event == Event::Settings, false),
            _ => self.special(verb, message),
        }
    }

    fn connection(&self) -> io::Result<&UnixStream> {
        self.connection.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// As a good client: sends its opening and this many requests, answers every PING, and waits for all answers.
    /// Answers how many came, and the word for what ended the waiting.
    fn fetch(&mut self, first: u32, count: u32) -> Answer {
        let mut connection = self.connection()?.try_clone()?;
        let mut words = if first == 1 { [opening(), wide_window()].concat() } else { Vec::new() };
        words.extend((0..count).flat_map(|number| request(first + number * 2)));
        // What became of the connection is read off it.
        connection.write_all(&words).ok();
        let until = Instant::now() + PATIENCE;
        let mut served = 0_u32;
        let end = loop {
            match self.reader.next(&connection, until) {
                Event::Secret(_) => served += 1,
                event @ (Event::Gone | Event::Silent) => break format!("{event:?}"),
                Event::End(stream) => break format!("End({stream})"),
                event => self.reply(event),
            }
            if served == count {
                break "served".to_owned();
            }
        };
        Ok(vec![served.to_string().into_bytes(), end.into_bytes()])
    }

    fn reply(&self, event: Event) {
        let words = match event {
            Event::Ping(nonce) => ack(nonce),
            Event::Settings => frame(SETTINGS, ACK, 0, &[]),
            _ => return,
        };
        // What became of the connection is read off it.
        if let Some(mut connection) = self.connection.as_ref() {
            connection.write_all(&words).ok();
        }
    }

    /// As a thief: reads, answers nothing, until a secret comes or this many streams have ended.
    fn steal(&mut self, streams: u32, milliseconds: u64) -> Answer {
        let until = Instant::now() + Duration::from_millis(milliseconds);
        let connection = self.connection()?.try_clone()?;
        let word = loop {
            if self.ended >= streams {
                break "refused";
            }
            match self.reader.next(&connection, until) {
                Event::Secret(_) => break "leaked",
                Event::Gone => break "refused",
                Event::Silent => break "silent",
                Event::End(_) => self.ended += 1,
                Event::Settings | Event::Ping(_) => {}
            }
        };
        Ok(vec![word.as_bytes().to_vec()])
    }

    /// Reads until an event is what was waited for. Answers a word for what came, and a PING's bytes.
    fn until(&mut self, milliseconds: u64, is_it: impl Fn(Event) -> bool, with_replies: bool) -> Answer {
        let until = Instant::now() + Duration::from_millis(milliseconds);
        let connection = self.connection()?.try_clone()?;
        loop {
            let event = self.reader.next(&connection, until);
            self.ended += u32::from(matches!(event, Event::End(_)));
            if is_it(event) || matches!(event, Event::Gone | Event::Silent | Event::End(_)) {
                let nonce = if let Event::Ping(nonce) = event { nonce.to_vec() } else { Vec::new() };
                let word = if is_it(event) { "came".to_owned() } else { format!("{event:?}") };
                return Ok(vec![word.into_bytes(), nonce]);
            }
            if with_replies {
                self.reply(event);
            }
        }
    }

    /// A child with a link of its own, that has all that we have. Answers its number as we see it.
    fn fork(&mut self, message: Message) -> Answer {
        let link = Link::from(message.descriptor.ok_or(io::ErrorKind::InvalidInput)?);
        let child = fork(|| {
            let connection = self.connection.as_ref().and_then(|connection| connection.try_clone().ok());
            let kept = std::mem::take(&mut self.kept);
            let mut child = Self { link, connection, reader: Reader::default(), ended: 0, page: self.page, kept };
            // What is our parent's, its link above all, must not be held open here.
            self.connection = None;
            nix::unistd::close(self.link.descriptor().as_raw_fd()).ok();
            child.link.send(&[b"ok"], None).ok();
            u8::from(child.run().is_err())
        })?;
        Ok(vec![child.to_string().into_bytes()])
    }

    /// Takes over a connection.
    fn take(&mut self, message: Message) -> Answer {
        self.connection = message.descriptor.map(UnixStream::from);
        (self.reader, self.ended) = (Reader::default(), 0);
        Ok(Vec::new())
    }

    /// Becomes another program. In its words, `LINK` and `CONNECTION` stand for the descriptors; what they name is
    /// left open. A first word like `1=CONNECTION` puts the connection there, `0=KEPT` what was kept last.
    fn exec(&mut self, message: &Message) -> Answer {
        let program = message.text(1);
        let connection = self.connection.as_ref().map_or(-1, |connection| connection.as_raw_fd());
        let (link, mut keep) = (self.link.descriptor().as_raw_fd(), vec![connection]);
        let mut words = vec![message.text(2)];
        for at in 3..message.parts.len() {
            let word = message.text(at);
            match (word.as_str(), word.split_once('=')) {
                ("LINK", _) => {
                    keep.push(link);
                    words.push(link.to_string());
                }
                ("CONNECTION", _) if connection < 0 => words.push("-".to_owned()),
                ("CONNECTION", _) => words.push(connection.to_string()),
                (_, Some((number, "CONNECTION"))) => put_at(connection, number.parse().map_err(io::Error::other)?)?,
                (_, Some((number, "KEPT"))) => {
                    let kept = self.kept.last().ok_or(io::ErrorKind::NotFound)?.as_raw_fd();
                    put_at(kept, number.parse().map_err(io::Error::other)?)?;
                }
                _ => words.push(word),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Err(exec(&program, &words, &keep))
    }
}

/// How long a good client waits for its answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// The roles that need nobody to tell them: a program that does nothing, and one that copies its input.
pub fn idle() -> ! {
    loop {
        std::thread::park();
    }
}

/// Copies one descriptor to another, as `cat` and `tee` do. The words are their numbers.
pub fn filter(words: &[String]) -> io::Result<()> {
    let open = |at: usize| {
        let number: i32 = words.get(at).and_then(|word| word.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok::<_, io::Error>(std::fs::File::from(adopt(number)))
    };
    io::copy(&mut open(0)?, &mut open(1)?)?;
    Ok(())
}

/// Whether anybody may have a user namespace of its own here: an error when not.
pub fn may_have_user_namespace() -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        crate::kernel::become_user(2001)?;
    }
    deeds::own_user_namespace(0)
}

//! One request over HTTP at a time, by hand.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, SystemTime},
};

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// One request on a connection of its own, whose end is that of the answer.
pub(super) fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said);
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {said}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A server on the loopback interface, for who reads no Unix socket; whatever it is asked, it says this. Answers its URL.
pub(super) fn served(answer: impl Fn(&mut TcpStream) -> io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream?);
            let mut line = String::new();
            while reader.read_line(&mut line)? > 2 {
                line.clear();
            }
            answer(reader.get_mut())?;
        }
        io::Result::Ok(())
    });
    format!("http://127.0.0.1:{port}")
}

/// The system's clock, so many seconds ago.
pub(super) fn seconds_ago(age: i64) -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the daemon's own clock is the system's")]
    let now = SystemTime::now();
    let distance = Duration::from_secs(age.unsigned_abs());
    if age < 0 { now + distance } else { now - distance }
}

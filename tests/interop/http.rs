//! One request over HTTP at a time, by hand.

use std::{
    io::{Read, Write},
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

/// The system's clock, so many seconds ago.
pub(super) fn seconds_ago(age: i64) -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the daemon's own clock is the system's")]
    let now = SystemTime::now();
    let distance = Duration::from_secs(age.unsigned_abs());
    if age < 0 { now + distance } else { now - distance }
}

//! What this machine says: the kernel of a process, a client on its connection, and a daemon that takes our place.

use crate::{
    daemon::replace::Message,
    sys::{
        frames::{Inbound, Outbound},
        hpack::clean_authority,
        proc::{GROUPS_MAX, parse_cgroup, parse_stat, parse_status},
    },
};

/// What `/proc/PID` says, by the name of the file in the first line: a process chooses some of it.
#[must_use]
pub fn proc(bytes: &[u8]) -> bool {
    let cut = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at(cut);
    let text = rest.strip_prefix(b"\n").unwrap_or_default();
    match name {
        b"stat" => parse_stat(text).is_some_and(|stat| {
            // A name, whatever it is, changes nothing else.
            let end = text.iter().rposition(|byte| *byte == b')').expect("it was parsed");
            let renamed = [b"1 (".as_slice(), b") R 9 9 (((", text.get(end..).expect("it is there")].concat();
            assert_eq!(parse_stat(&renamed), Some(stat));
            true
        }),
        b"status" => parse_status(text).is_some_and(|status| {
            assert!(status.groups.len() <= GROUPS_MAX);
            let twice = [text, b"\nUid:\t0\t0\t0\t0\n"].concat();
            assert_eq!(parse_status(&twice), None, "a second line is believed");
            true
        }),
        b"cgroup" => parse_cgroup(text).is_some_and(|path| path.is_absolute()),
        _ => false,
    }
}

/// What a client writes on a connection: it comes out alike however it is cut, and a header block that was made legal
/// needs nothing more. Answers whether anything was changed.
#[must_use]
pub fn frames(bytes: &[u8]) -> bool {
    let nonce = *b"ournonce";
    let pass = |size: usize| {
        let (mut inbound, mut out) = (Inbound::new(), Vec::new());
        inbound.expect(nonce);
        let answers = bytes.chunks(size).filter(|piece| inbound.push(piece, &mut out)).count();
        assert!(answers <= 1, "one PING is answered twice");
        (out, answers)
    };
    let whole = pass(bytes.len().max(1));
    assert!([1, 2, 7, 9, 64].into_iter().all(|size| pass(size) == whole), "it matters how it is cut");
    if let Some(cleaned) = clean_authority(bytes) {
        assert_eq!(clean_authority(&cleaned), None, "what was made legal is not");
    }
    let mut outbound = Outbound::default();
    outbound.advance(bytes);
    assert!(outbound.until_between_frames(bytes) <= bytes.len());
    // What is held back is the beginning of a frame, and not more than that.
    whole.1 > 0 || !bytes.starts_with(&whole.0)
}

/// What a process that takes a daemon's place says to it, and hears: what is accepted is written as it was meant, and
/// fits a message again.
#[must_use]
pub fn replace(bytes: &[u8]) -> bool {
    let Some(message) = Message::parse(bytes) else { return false };
    let written = message.to_bytes();
    assert_eq!(Message::parse(&written).as_ref(), Some(&message));
    true
}

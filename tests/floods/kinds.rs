//! The floods: what each sends, and by what one sees that the daemon ended it.

use std::{
    io::{self, Read as _},
    net::Shutdown,
    thread,
    time::Duration,
};

use super::{
    common::{
        h2raw::{
            CONTINUATION, DATA, END_HEADERS, END_STREAM, FETCH_BUNDLES, FETCH_SVID, HEADERS, Head, PING, PRIORITY,
            RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, field, frame, integer, message,
        },
        messages::{Status, fetch},
    },
    descriptors,
    flooder::{Order, Tally},
};

pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) threads: usize,
    pub(super) proof: Proof,
    pub(super) flood: fn(&Order) -> Tally,
}

/// How one sees that a flood met its end.
pub(super) enum Proof {
    /// This family's counter with this label grew, and the audit log has a record.
    Counted(&'static str, &'static str),
    /// It does nothing that is forbidden; it may only be slow.
    Borne,
}

impl Proof {
    pub(super) fn found(&self, before: &Status, now: &Status, records: u64) -> Result<String, String> {
        let grew = |family, label| now.sum(family, label) - before.sum(family, label);
        let all = || {
            let families = ["connections_ended", "connections_refused", "limits_met"];
            let counters = now.counters.iter().filter(|one| families.iter().any(|family| one.name.contains(family)));
            let grown = counters.map(|one| {
                let old = before.counters.iter().find(|other| other.name == one.name && other.labels == one.labels);
                (one.labels.clone(), one.value - old.map_or(0, |old| old.value))
            });
            let shown: Vec<_> = grown.filter(|(_, by)| *by > 0).map(|(labels, by)| format!("{labels} +{by}")).collect();
            format!("{}; {records} records", shown.join(", "))
        };
        match *self {
            Self::Counted(family, label) if grew(family, label) == 0 => {
                Err(format!("{family} {label} did not grow: {}", all()))
            }
            Self::Counted(..) if records == 0 => Err(format!("no record in the audit log: {}", all())),
            Self::Counted(..) | Self::Borne => Ok(all()),
        }
    }
}

const FLOOD: Proof = Proof::Counted("connections_ended", "flood");

pub(super) const KINDS: &[Kind] = &[
    Kind { name: "cpu alone", threads: 4, proof: Proof::Borne, flood: cpu },
    Kind { name: "ping", threads: 4, proof: FLOOD, flood: ping },
    Kind { name: "settings", threads: 4, proof: FLOOD, flood: settings },
    Kind { name: "priority", threads: 4, proof: FLOOD, flood: priority },
    Kind { name: "unknown frames", threads: 4, proof: FLOOD, flood: unknown },
    Kind { name: "window updates", threads: 4, proof: FLOOD, flood: window_updates },
    Kind { name: "empty data", threads: 4, proof: FLOOD, flood: empty_data },
    Kind { name: "one-byte data", threads: 4, proof: FLOOD, flood: one_byte_data },
    Kind { name: "rapid reset", threads: 4, proof: FLOOD, flood: rapid_reset },
    Kind { name: "slow reset", threads: 4, proof: Proof::Borne, flood: slow_reset },
    Kind { name: "continuation", threads: 4, proof: FLOOD, flood: continuation },
    Kind { name: "empty continuation", threads: 4, proof: FLOOD, flood: empty_continuation },
    Kind { name: "hpack bomb", threads: 4, proof: Proof::Counted("connections_ended", ""), flood: hpack_bomb },
    Kind { name: "long codes", threads: 4, proof: Proof::Borne, flood: long_codes },
    Kind { name: "4 MiB messages", threads: 4, proof: Proof::Borne, flood: large_messages },
    Kind { name: "10,000 streams", threads: 1, proof: FLOOD, flood: many_streams },
    Kind {
        name: super::BAD_CALLS,
        threads: 4,
        proof: Proof::Counted("limits_met", "requests_per_second"),
        flood: bad_calls,
    },
    Kind { name: "calls", threads: 4, proof: Proof::Borne, flood: calls },
    Kind { name: "100 non-readers", threads: 4, proof: Proof::Borne, flood: non_readers },
    Kind { name: "non-readers' resets", threads: 4, proof: Proof::Borne, flood: non_readers_resets },
    Kind { name: "connect and leave", threads: 4, proof: Proof::Borne, flood: churn },
    Kind { name: "1,000 connections", threads: 4, proof: Proof::Borne, flood: |order| connections(order, 1_000 / 4) },
    Kind {
        name: "9,500 connections",
        threads: 4,
        proof: Proof::Counted("limits_met", "connect"),
        flood: |order| connections(order, 9_500 / 4),
    },
    Kind {
        name: "descriptors",
        threads: 4,
        proof: Proof::Counted("connections_refused", ""),
        flood: descriptors::send,
    },
    Kind { name: super::DIGESTS, threads: 1, proof: Proof::Borne, flood: ask_for_digests },
];

/// Nothing but what any busy process does to its neighbours.
fn cpu(order: &Order) -> Tally {
    let mut number = 1_u64;
    while order.is_on() {
        (0..10_000).for_each(|_| number = std::hint::black_box(number).wrapping_mul(3));
    }
    Tally::default()
}

/// Sends the same again and again, on one connection after the other, reading what comes.
fn again(order: &Order, opening: &[u8], chunk: &[u8], frames: u64) -> Tally {
    each_connection(order, |raw, tally| {
        raw.send(opening)?;
        loop {
            raw.send(chunk)?;
            tally.sent += frames;
            if !order.is_on() {
                return Ok(());
            }
        }
    })
}

/// One connection after the other, each until the daemon ends it.
fn each_connection(order: &Order, mut with: impl FnMut(&mut Raw, &mut Tally) -> io::Result<()>) -> Tally {
    let mut tally = Tally::default();
    while order.is_on() {
        let Ok(mut raw) = Raw::connect(&order.socket) else {
            tally.closed += 1;
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        tally.connections += 1;
        raw.socket.set_write_timeout(Some(order.left())).expect("a timeout");
        let reading = read_away(&raw);
        if with(&mut raw, &mut tally).is_err_and(|error| !is_timeout(&error)) {
            tally.closed += 1;
        }
        raw.socket.shutdown(Shutdown::Both).ok();
        reading.join().expect("a reader");
    }
    tally
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Reads everything and looks at nothing.
fn read_away(raw: &Raw) -> thread::JoinHandle<()> {
    let mut socket = raw.socket.try_clone().expect("a second descriptor");
    thread::spawn(move || {
        let mut scratch = vec![0; 65_536];
        while socket.read(&mut scratch).is_ok_and(|count| count > 0) {}
    })
}

fn ping(order: &Order) -> Tally {
    again(order, &[], &frame(PING, 0, 0, b"a flood!").repeat(500), 500)
}

fn settings(order: &Order) -> Tally {
    again(order, &[], &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(500), 500)
}

fn priority(order: &Order) -> Tally {
    again(order, &[], &frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]).repeat(500), 500)
}

fn unknown(order: &Order) -> Tally {
    again(order, &[], &frame(0xbb, 0, 0, b"?").repeat(500), 500)
}

fn window_updates(order: &Order) -> Tally {
    let opening = Head::new(FETCH_SVID).frames(1, 0);
    again(order, &opening, &frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()).repeat(500), 500)
}

fn empty_data(order: &Order) -> Tally {
    let opening = Head::new(FETCH_SVID).frames(1, 0);
    again(order, &opening, &frame(DATA, 0, 1, &[]).repeat(500), 500)
}

fn one_byte_data(order: &Order) -> Tally {
    // A message of 60,000 bytes, a byte a frame.
    let opening = [Head::new(FETCH_SVID).frames(1, 0), frame(DATA, 0, 1, &[0, 0, 0, 0xea, 0x60])].concat();
    again(order, &opening, &frame(DATA, 0, 1, &[0]).repeat(500), 500)
}

fn rapid_reset(order: &Order) -> Tally {
    let head = Head::new(FETCH_SVID);
    each_connection(order, |raw, tally| {
        while order.is_on() {
            let mut chunk = Vec::new();
            for _ in 0..200 {
                let stream = raw.stream();
                chunk.extend(head.frames(stream, 0));
                chunk.extend(frame(DATA, END_STREAM, stream, &message(&[])));
                chunk.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            }
            raw.send(&chunk)?;
            tally.sent += 600;
        }
        Ok(())
    })
}

/// Resets of calls that were answered: what a client does that fetches once, only faster than any does.
fn slow_reset(order: &Order) -> Tally {
    let head = Head::new(FETCH_SVID);
    let mut tally = Tally::default();
    while order.is_on() {
        let Ok(mut raw) = Raw::connect(&order.socket) else { continue };
        tally.connections += 1;
        let result = (|| {
            while order.is_on() {
                let stream = raw.call(&head, &message(&[]))?;
                if raw.next_message(stream)?.is_ok() {
                    tally.answered += 1;
                }
                raw.reset(stream)?;
                tally.sent += 3;
            }
            io::Result::Ok(())
        })();
        tally.closed += u64::from(result.is_err());
    }
    tally
}

fn continuation(order: &Order) -> Tally {
    let block = field(b"x-flood", &[b'y'; 1_000]).repeat(16);
    let opening = frame(HEADERS, 0, 1, &Head::new(FETCH_SVID).block());
    again(order, &opening, &frame(CONTINUATION, 0, 1, &block), 1)
}

fn empty_continuation(order: &Order) -> Tally {
    let opening = frame(HEADERS, 0, 1, &Head::new(FETCH_SVID).block());
    again(order, &opening, &frame(CONTINUATION, 0, 1, &[]).repeat(500), 500)
}

fn hpack_bomb(order: &Order) -> Tally {
    // 4,000 bytes into the dynamic table, then one byte for each time that they are meant.
    let mut block = Head::new(FETCH_SVID).block();
    block.push(0x40);
    for part in [&b"x"[..], &[b'y'; 4_000]] {
        block.extend(integer(0, 7, part.len()));
        block.extend(part);
    }
    block.extend([0xbe; 11_000]);
    each_connection(order, |raw, tally| {
        while order.is_on() {
            let stream = raw.stream();
            raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))?;
            tally.sent += 1;
        }
        Ok(())
    })
}

/// An `:authority` of nothing but the longest Huffman codes, which take more time to read than any other bytes. The
/// requests are refused for what they lack, so that nothing else takes time.
fn long_codes(order: &Order) -> Tally {
    // Four line feeds, of 30 bits each.
    let codes = [0xff, 0xff, 0xff, 0xf3, 0xff, 0xff, 0xff, 0xcf, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0xfc];
    let value = codes.repeat(1_000);
    let mut block = Head::bare(FETCH_SVID).authority(None).block();
    // A literal that is not indexed, by the static table's name, and Huffman-coded.
    block.push(0x01);
    block.extend(integer(0x80, 7, value.len()));
    block.extend(value);
    each_connection(order, |raw, tally| {
        while order.is_on() {
            let stream = raw.stream();
            raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))?;
            tally.sent += 1;
        }
        Ok(())
    })
}

/// Messages of 4 MiB, as far as the windows let them.
fn large_messages(order: &Order) -> Tally {
    let mut tally = Tally::default();
    let chunk = [0x41; 16_384];
    while order.is_on() {
        let Ok(mut raw) = Raw::connect(&order.socket) else { continue };
        tally.connections += 1;
        let mut window: usize = 65_535;
        let result = (|| {
            while order.is_on() {
                let stream = raw.stream();
                let prefix = frame(DATA, 0, stream, &[0, 0, 0x40, 0, 0]);
                raw.send(&[Head::new(FETCH_SVID).frames(stream, 0), prefix].concat())?;
                window = window.saturating_sub(5);
                for _ in 0..3 {
                    if window < chunk.len() {
                        break;
                    }
                    raw.send(&frame(DATA, 0, stream, &chunk))?;
                    window -= chunk.len();
                    tally.sent += 1;
                }
                // Its end, and the window that comes back; without waiting for more than there is.
                raw.socket.set_read_timeout(Some(Duration::from_millis(5)))?;
                loop {
                    match raw.pump() {
                        Ok(came) if came.kind == WINDOW_UPDATE && came.stream == 0 => {
                            let by = u32::from_be_bytes(came.payload[..4].try_into().expect("four bytes"));
                            window += usize::try_from(by).expect("a window");
                        }
                        Ok(_) if raw.answers.get(&stream).is_some_and(|answer| answer.ended) => break,
                        Ok(_) => {}
                        Err(error) if is_timeout(&error) => break,
                        Err(error) => return Err(error),
                    }
                }
                raw.answers.clear();
                raw.reset(stream)?;
            }
            io::Result::Ok(())
        })();
        tally.closed += u64::from(result.is_err());
    }
    tally
}

fn many_streams(order: &Order) -> Tally {
    let head = Head::new(FETCH_BUNDLES);
    each_connection(order, |raw, tally| {
        for _ in 0..100 {
            let mut chunk = Vec::new();
            for _ in 0..100 {
                let stream = raw.stream();
                chunk.extend(head.frames(stream, 0));
                chunk.extend(frame(DATA, END_STREAM, stream, &message(&[])));
            }
            raw.send(&chunk)?;
            tally.sent += 100;
        }
        while order.is_on() {
            thread::sleep(Duration::from_millis(50));
            raw.send(&frame(0xbb, 0, 0, &[]))?;
        }
        Ok(())
    })
}

fn bad_calls(order: &Order) -> Tally {
    many_calls(order, &Head::bare(FETCH_SVID))
}

/// As many good calls as it can, each given up when it is answered.
fn calls(order: &Order) -> Tally {
    many_calls(order, &Head::new(FETCH_SVID))
}

/// 100 at a time, as a client that is wild and keeps all rules.
fn many_calls(order: &Order, head: &Head) -> Tally {
    let mut tally = Tally::default();
    while order.is_on() {
        let Ok(mut raw) = Raw::connect(&order.socket) else { continue };
        tally.connections += 1;
        let result = (|| {
            while order.is_on() {
                let streams: Vec<u32> = (0..100).map(|_| raw.stream()).collect();
                let call =
                    |stream: &u32| [head.frames(*stream, 0), frame(DATA, END_STREAM, *stream, &message(&[]))].concat();
                raw.send(&streams.iter().flat_map(call).collect::<Vec<_>>())?;
                tally.sent += 100;
                for stream in streams {
                    if raw.next_message(stream)?.is_ok() {
                        tally.answered += 1;
                        raw.reset(stream)?;
                    }
                }
            }
            io::Result::Ok(())
        })();
        tally.closed += u64::from(result.is_err());
    }
    tally
}

/// 25 connections of each thread, with 200 calls each, of whose answers nothing is read.
fn non_readers(order: &Order) -> Tally {
    let mut tally = Tally::default();
    let head = Head::new(FETCH_SVID);
    let mut held = Vec::new();
    for _ in 0..25 {
        let Ok(mut raw) = Raw::connect(&order.socket) else { continue };
        tally.connections += 1;
        raw.socket.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        for _ in 0..200 {
            tally.sent += u64::from(raw.call(&head, &message(&[])).is_ok());
        }
        held.push(raw);
    }
    thread::sleep(order.left());
    tally
}

/// The same, giving calls up and making new ones as long as the daemon takes them.
fn non_readers_resets(order: &Order) -> Tally {
    let mut tally = Tally::default();
    let head = Head::new(FETCH_SVID);
    let mut held: Vec<Raw> = (0..25).filter_map(|_| Raw::connect(&order.socket).ok()).collect();
    tally.connections = held.len().try_into().expect("a count");
    for raw in &held {
        raw.socket.set_write_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    }
    while order.is_on() && !held.is_empty() {
        held.retain_mut(|raw| {
            let sent = raw
                .call(&head, &message(&[]))
                .and_then(|stream| if stream % 4 == 1 { raw.reset(stream) } else { Ok(()) });
            tally.sent += 1;
            let is_kept = sent.as_ref().is_ok() || sent.is_err_and(|error| is_timeout(&error));
            tally.closed += u64::from(!is_kept);
            is_kept
        });
    }
    tally
}

fn churn(order: &Order) -> Tally {
    let mut tally = Tally::default();
    while order.is_on() {
        match Raw::silent(&order.socket) {
            Ok(_) => tally.connections += 1,
            Err(_) => tally.closed += 1,
        }
    }
    tally
}

/// Opens so many as fast as it can, asks once on each, and holds them.
fn connections(order: &Order, count: usize) -> Tally {
    let mut tally = Tally::default();
    let head = Head::new(FETCH_SVID);
    let mut held = Vec::new();
    for _ in 0..count {
        if !order.is_on() {
            break;
        }
        match Raw::connect(&order.socket).and_then(|mut raw| raw.call(&head, &message(&[])).map(|_| raw)) {
            Ok(raw) => {
                tally.connections += 1;
                held.push(raw);
            }
            Err(_) => tally.closed += 1,
        }
    }
    tally.sent = held.len().try_into().expect("a count");
    thread::sleep(order.left());
    for mut raw in held {
        raw.socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        loop {
            match raw.pump() {
                Ok(_) => {}
                Err(error) => {
                    tally.closed += u64::from(!is_timeout(&error));
                    tally.answered += u64::from(raw.answers.values().any(|answer| !answer.messages.is_empty()));
                    break;
                }
            }
        }
    }
    tally
}

/// One of eight callers whose digest is wanted, and whose executable is 1 GiB.
fn ask_for_digests(order: &Order) -> Tally {
    let mut tally = Tally::default();
    while order.is_on() {
        tally.connections += 1;
        tally.sent += 1;
        match fetch(&order.socket) {
            Ok(_) => tally.answered += 1,
            Err(_) => tally.closed += 1,
        }
        thread::sleep(Duration::from_millis(10));
    }
    tally
}

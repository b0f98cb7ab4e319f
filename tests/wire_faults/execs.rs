//! A program that starts itself over itself, with its connection open: another holder, though it is the same process.
#![expect(unsafe_code, reason = "a connection that outlives an exec is known by its number alone")]

use std::{
    fs,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::{
    common::{
        eventually,
        h2raw::{Head, Raw, message},
        messages::{WitSvid, WitSvids},
    },
    registered,
};

const ORDERS: &str = "DAYFLY_EXECS";

fn wit(raw: &mut Raw) -> WitSvid {
    let stream = raw.call(&Head::new("/SpiffeWorkloadAPI/FetchWITSVID"), &message(&[])).unwrap();
    let bytes = raw.next_message(stream).unwrap().unwrap();
    <WitSvids as prost::Message>::decode(&*bytes).unwrap().svids.remove(0)
}

/// What such a program does. Without its orders, nothing.
#[test]
fn as_one_that_execs() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Vec<_> = orders.split(' ').collect();
    let [socket, found, earlier @ ..] = &orders[..] else { panic!("orders") };
    let mut raw = match earlier {
        [number, streams] => {
            // SAFETY: the number is of the connection that this process left open for us, and nobody else uses it.
            let connection = unsafe { OwnedFd::from_raw_fd(number.parse().unwrap()) };
            Raw::adopted(UnixStream::from(connection), streams.parse().unwrap())
        }
        _ => Raw::connect(Path::new(socket)).unwrap(),
    };
    let keys = [wit(&mut raw).key, wit(&mut raw).key];
    let before = fs::read_to_string(found).unwrap_or_default();
    fs::write(found, format!("{before}{}\n{}\n", keys[0], keys[1])).unwrap();
    if earlier.is_empty() {
        fcntl(&raw.socket, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let again = format!("{socket} {found} {} {}", raw.socket.as_raw_fd(), raw.stream());
        panic!("{}", run(&again).exec());
    }
}

fn run(orders: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["execs::as_one_that_execs", "--exact", "--test-threads=1"]).env(ORDERS, orders);
    command
}

#[test]
fn a_program_started_over_another_has_wit_keys_of_its_own() {
    let daemon = registered("[wit]\nenabled = true\n");
    let found = daemon.home().join("keys");
    let orders = format!("{} {}", daemon.socket().display(), found.display());
    let mut child = run(&orders).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut ended = None;
    eventually("it has ended", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().success(), "{}", daemon.log());
    let keys = fs::read_to_string(found).unwrap();
    let keys: Vec<_> = keys.lines().collect();
    assert_eq!(keys.len(), 4, "both had their answers on one connection: {}", daemon.log());
    assert!(keys[0] == keys[1] && keys[2] == keys[3], "a program keeps its key");
    assert!(keys[0] != keys[2], "and leaves it to nobody");
}

//! Messages that carry descriptors, among them TCP sockets that linger: whose close waits for a peer that never reads.

use std::{
    io::{IoSlice, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd as _, RawFd},
    thread,
    time::Duration,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::{
    common::h2raw::{Raw, hello},
    flooder::{Order, Tally},
};

/// Of each of four threads: 10,000 in all.
const MESSAGES: u64 = 2_500;

pub(super) fn send(order: &Order) -> Tally {
    let mut tally = Tally::default();
    let sink = TcpListener::bind("127.0.0.1:0").expect("a port");
    let pipe = nix::unistd::pipe().expect("a pipe");
    let mut accepted = Vec::new();
    while order.is_on() && tally.sent < MESSAGES {
        let Ok(raw) = Raw::silent(&order.socket) else {
            tally.closed += 1;
            continue;
        };
        tally.connections += 1;
        // Five before the daemon has looked at the first, if it can be done.
        for number in 0..5 {
            let lingering = (tally.sent % 100 == 0).then(|| lingering(&sink, &mut accepted));
            let mut fds: Vec<RawFd> = vec![pipe.0.as_raw_fd(); if number == 4 { 253 } else { 4 }];
            if let (Some(socket), Some(last)) = (&lingering, fds.last_mut()) {
                *last = socket.as_raw_fd();
            }
            let bytes = if number == 0 { hello() } else { vec![0] };
            let rights = [ControlMessage::ScmRights(&fds)];
            match sendmsg::<()>(raw.socket.as_raw_fd(), &[IoSlice::new(&bytes)], &rights, MsgFlags::MSG_NOSIGNAL, None)
            {
                Ok(_) => tally.sent += 1,
                // As many descriptors are under way as one user may have.
                Err(nix::Error::ETOOMANYREFS) => thread::sleep(Duration::from_millis(5)),
                Err(_) => {
                    tally.closed += 1;
                    // Ours is the only one then, and its close would wait.
                    lingering.iter().for_each(|socket| linger(socket, false));
                    break;
                }
            }
        }
    }
    thread::sleep(order.left());
    tally
}

/// A connection with bytes that its peer will not take, and a close that waits 30 s for it.
fn lingering(sink: &TcpListener, accepted: &mut Vec<TcpStream>) -> TcpStream {
    let mut socket = TcpStream::connect(sink.local_addr().expect("an address")).expect("a connection");
    accepted.push(sink.accept().expect("its other end").0);
    linger(&socket, true);
    socket.set_nonblocking(true).expect("not to block");
    while socket.write(&[0; 65_536]).is_ok() {}
    socket
}

fn linger(socket: &TcpStream, on: bool) {
    let linger = libc::linger { l_onoff: i32::from(on), l_linger: if on { 30 } else { 0 } };
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::Linger, &linger).expect("linger");
}

//! A daemon that dies while others write.

use std::{thread, time::Duration};

use super::common::Daemon;

/// Lets all of them write until the daemon is killed, at that moment.
pub(super) fn die_at_work<W: Send>(
    daemon: &mut Daemon,
    writers: &mut [W],
    moment: Duration,
    write_until_it_dies: impl Fn(&mut W, &Daemon) + Sync,
) {
    let (served, write) = (&*daemon, &write_until_it_dies);
    thread::scope(|scope| {
        let at_work: Vec<_> = writers.iter_mut().map(|writer| scope.spawn(move || write(writer, served))).collect();
        thread::sleep(moment);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(served.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
        at_work.into_iter().for_each(|writer| writer.join().unwrap());
    });
    daemon.kill();
}

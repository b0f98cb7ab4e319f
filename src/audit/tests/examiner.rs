//! How the whole log is read beside a daemon that serves.

use std::{fs::OpenOptions, io::Write as _, thread};

use super::*;

/// A log of several segments, of which the last one takes a while to read and ends in half a line.
fn long_and_torn(dir: &Path) -> (Log, PathBuf) {
    written(dir, 40);
    let log = open(dir, &Limits::default());
    (0..1_000).for_each(|serial| assert!(append(&log, &serial.to_string()).is_ok()));
    // The log stays open, as a daemon has it; nothing more is written.
    let last = segments(dir).pop().unwrap();
    OpenOptions::new().append(true).open(&last).unwrap().write_all(b"{\"seq\":").unwrap();
    (log, last)
}

#[test]
fn a_line_that_is_half_there_does_not_make_everything_be_read_again() {
    let dir = Scratch::new();
    let (_log, last) = long_and_torn(dir.path());
    let first = segments(dir.path()).remove(0);
    let folder = dir.path().to_owned();
    let reader = thread::spawn(move || audit_verify(&folder, &Known { is_written: true, ..Known::default() }));
    let is_open = || {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        // The log itself has it open too.
        open.filter(|path| *path == last).count() > 1
    };
    while !is_open() && !reader.is_finished() {}
    // The first segment was read. Whoever reads it again finds this.
    fs::write(first, "changed\n").unwrap();
    let fault = reader.join().unwrap().unwrap_err();
    assert!(matches!(fault, Fault::Trailing { bytes: 7, .. }), "{fault}");
}

#[test]
fn the_examiner_yields_to_those_that_serve() {
    let dir = Scratch::new();
    let (log, _) = long_and_torn(dir.path());
    let examiner = log.examine(Duration::ZERO).unwrap();
    // comm, and the nice value as the 17th field behind it: proc_pid_stat(5).
    let nice = || {
        fs::read_dir("/proc/self/task").unwrap().flatten().find_map(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).ok()?;
            let (_, fields) = stat.split_once("(audit-examiner) ")?;
            fields.split(' ').nth(16)?.parse::<i32>().ok()
        })
    };
    let mut seen = Vec::new();
    while !examiner.is_finished() {
        seen.extend(nice());
    }
    assert!(seen.contains(&5), "{seen:?}");
}

//! Whatever is changed is found.

use super::*;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(most).unwrap()).unwrap()
    }
}

/// Changes a log somewhere; says what it did.
fn tamper(dir: &Path, dice: &mut Dice) -> String {
    let paths = segments(dir);
    let path = &paths[dice.below(paths.len())];
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut bytes = fs::read(path).unwrap();
    let mut lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let line = dice.below(lines.len());
    let done = match dice.below(7) {
        0 => {
            let (at, bit) = (dice.below(bytes.len()), dice.below(8));
            bytes[at] ^= 1 << bit;
            fs::write(path, bytes).unwrap();
            return format!("bit {bit} of byte {at} in {name}");
        }
        1 => {
            bytes.truncate(dice.below(bytes.len()));
            fs::write(path, &bytes).unwrap();
            return format!("{name} cut to {} bytes", bytes.len());
        }
        2 => {
            fs::remove_file(path).unwrap();
            return format!("{name} removed");
        }
        3 => {
            lines.remove(line);
            "removed"
        }
        4 => {
            let twice = lines[line].clone();
            lines.insert(line, twice);
            "doubled"
        }
        5 => {
            let other = (line + 1 + dice.below(lines.len() - 1)) % lines.len();
            lines.swap(line, other);
            "swapped"
        }
        // The line is made anew with a hash of its own that fits, as somebody who knows the format would.
        _ => {
            let read = chain::read(lines[line].strip_suffix(b"\n").unwrap()).unwrap();
            let body = record::body(&issued("forged", false)).unwrap();
            chain::seal(&mut lines[line], &read.after, SystemTime::UNIX_EPOCH, &body);
            "forged"
        }
    };
    fs::write(path, lines.concat()).unwrap();
    format!("line {} of {name} {done}", line + 1)
}

#[test]
fn a_change_anywhere_is_found() {
    let original = Scratch::new();
    written(original.path(), 60);
    assert!(segments(original.path()).len() >= 4);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..1500 {
        let dir = Scratch::new();
        copy(original.path(), dir.path());
        let done = tamper(dir.path(), &mut dice);
        assert!(verify(dir.path()).is_err(), "not found: {done}");
    }
}

#[test]
fn the_fault_names_the_place() {
    let original = Scratch::new();
    written(original.path(), 60);
    let read = |dir: &Path| fs::read_to_string(segments(dir).remove(1)).unwrap();
    // On a slow machine a checkpoint may stand anywhere.
    let lines: Vec<_> = read(original.path()).lines().map(|line| line.contains("1000")).collect();
    let at = lines.windows(2).skip(1).position(|two| two == [true, true]).unwrap() + 1;
    let (place, changed) = (at as u64 + 1, |change: &dyn Fn(&mut Vec<String>)| {
        let dir = Scratch::new();
        copy(original.path(), dir.path());
        let mut lines: Vec<_> = read(dir.path()).lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(segments(dir.path()).remove(1), lines.join("\n") + "\n").unwrap();
        verify(dir.path()).unwrap_err()
    });
    let fault = changed(&|lines| lines[at] = lines[at].replace("1000", "1001"));
    assert!(matches!(fault, Fault::Changed { segment: 2, line } if line == place), "{fault}");
    let fault = changed(&|lines| lines[at] = "{}".to_owned());
    assert!(matches!(fault, Fault::Malformed { segment: 2, line } if line == place), "{fault}");
    let fault = changed(&|lines| lines.swap(at, at + 1));
    assert!(matches!(fault, Fault::Order { segment: 2, line, .. } if line == place), "{fault}");
    let fault = changed(&|lines| drop(lines.remove(at)));
    assert!(matches!(fault, Fault::Order { segment: 2, line, .. } if line == place), "{fault}");
}

#[test]
fn a_log_is_verified_while_it_is_written() {
    let dir = Scratch::new();
    let limits = Limits { total_bytes_max: 16 * 1024, ..small() };
    let log = open(dir.path(), &limits);
    let writer = {
        let log = log.clone();
        std::thread::spawn(move || {
            for serial in 0..2_000 {
                append(&log, &serial.to_string()).unwrap();
            }
        })
    };
    while !writer.is_finished() {
        audit_verify(dir.path(), &Known { is_written: true, ..Known::default() }).unwrap();
    }
    writer.join().unwrap();
}

#[test]
fn nothing_is_a_log_of_nothing() {
    let dir = Scratch::new();
    assert_eq!(verify(dir.path()).unwrap(), Report::default());
}

//! The log beside what is outside its folder.

use std::sync::Mutex;

use super::{keeper::Keep, *};

/// A state folder: the log, its key, and what the database would have.
pub(super) struct State {
    pub(super) dir: Scratch,
    kept: Arc<Mutex<Option<Checkpoint>>>,
}

impl State {
    pub(super) fn new() -> Self {
        Self { dir: Scratch::new(), kept: Arc::default() }
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    pub(super) fn open(&self) -> Log {
        self.open_with(small(), Clock::system())
    }

    pub(super) fn open_with(&self, limits: Limits, clock: Clock) -> Log {
        let (kept, key) = (self.kept.clone(), self.dir.path().join("keys/audit.key"));
        let keep: Keep = Box::new(move |checkpoint| {
            *kept.lock().unwrap() = Some(checkpoint);
            Box::new(|_| Some(Ok(())))
        });
        Log::open(&self.log(), limits, Outside { key, known: self.kept(), keep }, clock).unwrap()
    }

    /// A closed log of so many records.
    pub(super) fn written(records: u32) -> Self {
        let state = Self::new();
        let log = state.open();
        (0..records).for_each(|serial| assert!(append(&log, &serial.to_string()).is_ok()));
        log.close();
        state
    }

    pub(super) fn kept(&self) -> Option<Checkpoint> {
        *self.kept.lock().unwrap()
    }

    /// What the database has is another thing.
    pub(super) fn keep(&self, checkpoint: Option<Checkpoint>) {
        *self.kept.lock().unwrap() = checkpoint;
    }

    /// The log and what the database has, as kill -9 leaves them at this moment.
    pub(super) fn killed(&self) -> Self {
        let killed = Self::new();
        files::create_private_dir(&killed.log()).unwrap();
        files::create_private_dir(&killed.dir.path().join("keys")).unwrap();
        killed.keep(self.kept());
        copy(&self.log(), &killed.log());
        copy(&self.dir.path().join("keys"), &killed.dir.path().join("keys"));
        killed
    }

    pub(super) fn known(&self) -> Known {
        Known { key: self.kept().map(|kept| kept.fingerprint()), checkpoint: self.kept(), is_written: false }
    }

    pub(super) fn verify(&self) -> Result<Report, Fault> {
        audit_verify(&self.log(), &self.known())
    }

    /// What a start finds and says.
    pub(super) fn damage_at_start(&self) -> Option<String> {
        let log = self.open();
        log.examine(Duration::ZERO).unwrap().join().unwrap();
        let damage = log.damage().map(str::to_owned);
        append(&log, "after").unwrap();
        log.close();
        damage
    }
}

/// Adds a line at the end of the log, as somebody does who knows the format and has nothing but the folder.
pub(super) fn forge(dir: &Path, body: &[u8]) {
    let path = segments(dir).pop().unwrap();
    let mut text = fs::read(&path).unwrap();
    let last = text.strip_suffix(b"\n").unwrap().rsplit(|byte| *byte == b'\n').next().unwrap();
    let link = chain::read(last).unwrap().link;
    let mut line = Vec::new();
    chain::seal(&mut line, &link, SystemTime::UNIX_EPOCH, body);
    text.extend_from_slice(&line);
    fs::write(path, text).unwrap();
}

/// Says that all segments but the last were removed for space, and removes them.
pub(super) fn forge_removal(dir: &Path) {
    let (mut before, last) = (segments(dir), segment::list(dir, 0).unwrap().numbers.pop().unwrap());
    let through = header::first_line(dir, last).map(|line| line.after.seq);
    before.pop();
    forge(dir, &record::body(&Own::Removed { segment: last - 1, through, kept: 0, dropped: 0 }).unwrap());
    before.into_iter().for_each(|path| fs::remove_file(path).unwrap());
}

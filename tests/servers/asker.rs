//! Somebody who asks all the while, and remembers each answer and each failure.

use std::{
    collections::BTreeSet,
    fmt::Display,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long after an answer the next question comes.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Asker {
    is_over: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    thread: JoinHandle<()>,
}

/// What was asked and answered.
#[derive(Clone, Default)]
pub(super) struct Tally {
    pub(super) asked: usize,
    pub(super) answers: BTreeSet<String>,
    pub(super) failures: Vec<String>,
}

impl Asker {
    pub(super) fn start<E: Display>(mut ask: impl FnMut() -> Result<String, E> + Send + 'static) -> Self {
        let (is_over, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Tally::default())));
        let thread = thread::spawn({
            let (is_over, tally) = (is_over.clone(), tally.clone());
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = ask();
                    let mut tally = tally.lock().unwrap();
                    tally.asked += 1;
                    match answer {
                        Ok(answer) => drop(tally.answers.insert(answer)),
                        Err(failure) => tally.failures.push(failure.to_string()),
                    }
                    drop(tally);
                    thread::sleep(PAUSE);
                }
            }
        });
        Self { is_over, tally, thread }
    }

    /// Different answers so far. A question that failed ends the wait for more.
    pub(super) fn answers(&self) -> usize {
        let tally = self.tally.lock().unwrap().clone();
        assert!(tally.failures.is_empty(), "after {} questions: {:?}", tally.asked, tally.failures);
        tally.answers.len()
    }

    /// Ends it: no question has failed, and there were many.
    pub(super) fn end(self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let tally = self.tally.lock().unwrap().clone();
        assert!(tally.failures.is_empty(), "of {} questions: {:?}", tally.asked, tally.failures);
        assert!(tally.asked >= ASKED_MIN, "only {} questions", tally.asked);
        tally
    }
}

/// Three rotations take more than ten seconds, and a slow machine asks thrice a second.
const ASKED_MIN: usize = 30;

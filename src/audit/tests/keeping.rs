//! What others have of the log, and what waits for it.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc,
};

use super::{keeper::Keep, *};

/// Somebody who keeps checkpoints, or cannot.
#[derive(Default)]
struct Other {
    is_failing: AtomicBool,
    offers: AtomicUsize,
    kept: Mutex<Option<Checkpoint>>,
}

impl Other {
    fn log(self: &Arc<Self>, dir: &Path, limits: Limits) -> Log {
        let other = self.clone();
        let keep: Keep = Box::new(move |checkpoint| {
            other.offers.fetch_add(1, Ordering::SeqCst);
            if other.is_failing.load(Ordering::SeqCst) {
                return Box::new(|_| Some(Err("the disk is full".to_owned())));
            }
            *other.kept.lock().unwrap() = Some(checkpoint);
            Box::new(|_| Some(Ok(())))
        });
        let outside = Outside { key: dir.join("audit.key"), known: None, keep };
        Log::open(dir, limits, outside, Clock::system()).unwrap()
    }

    fn kept(&self) -> Option<u64> {
        self.kept.lock().unwrap().map(|kept| kept.link.seq)
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
}

#[test]
fn a_segment_stays_until_others_have_the_checkpoint_that_signs_its_removal() {
    let (dir, other) = (Scratch::new(), Arc::new(Other::default()));
    other.is_failing.store(true, Ordering::SeqCst);
    let log = other.log(dir.path(), Limits { total_bytes_max: 16 * 1024, ..small() });
    (0..100).for_each(|serial| assert!(append(&log, &serial.to_string()).is_ok()));
    wait_until(|| kinds(dir.path()).contains_key("removed"));
    let before = other.offers.load(Ordering::SeqCst);
    wait_until(|| other.offers.load(Ordering::SeqCst) >= before + 2);
    let first = segment::path(dir.path(), 1);
    assert!(first.exists(), "nobody has a checkpoint that says so");
    // Without another record.
    other.is_failing.store(false, Ordering::SeqCst);
    wait_until(|| !first.exists());
    assert_eq!(other.kept(), log.checkpoint().map(|last| last.link.seq));
    log.close();
    assert_eq!(other.kept(), Some(log.last().0));
    verify(dir.path()).unwrap();
}

#[test]
fn segments_that_were_to_go_when_the_daemon_ended_go_at_the_next_start() {
    let (dir, other) = (Scratch::new(), Arc::new(Other::default()));
    let limits = Limits { total_bytes_max: 16 * 1024, ..small() };
    other.is_failing.store(true, Ordering::SeqCst);
    let log = other.log(dir.path(), limits.clone());
    (0..100).for_each(|serial| assert!(append(&log, &serial.to_string()).is_ok()));
    log.close();
    assert!(segment::path(dir.path(), 1).exists());
    let removed = kinds(dir.path())["removed"];
    verify(dir.path()).unwrap();
    other.is_failing.store(false, Ordering::SeqCst);
    other.log(dir.path(), limits).close();
    assert!(!segment::path(dir.path(), 1).exists());
    assert!(kinds(dir.path())["removed"] <= removed, "they are not carried over twice");
    assert!(verify(dir.path()).unwrap().findings.is_empty());
}

#[test]
fn an_answer_that_takes_its_time_keeps_no_record_waiting_and_is_waited_for_at_the_end() {
    let dir = Scratch::new();
    let (answers, receiver) = mpsc::channel::<()>();
    let receiver = Arc::new(Mutex::new(receiver));
    let keep: Keep = Box::new(move |_| {
        let receiver = receiver.clone();
        Box::new(move |most| receiver.lock().unwrap().recv_timeout(most).ok().map(Ok))
    });
    let outside = Outside { key: dir.path().join("audit.key"), known: None, keep };
    let log = Log::open(dir.path(), small(), outside, Clock::system()).unwrap();
    let number = append(&log, "1").unwrap().0;
    wait_until(|| head::read(dir.path()).unwrap().is_some_and(|mark| mark.link.seq >= number));
    let closer = std::thread::spawn(move || log.close());
    // One for the checkpoint of the start, one for that of the end.
    answers.send(()).unwrap();
    answers.send(()).unwrap();
    closer.join().unwrap();
}

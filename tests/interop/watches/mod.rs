//! Two hundred watches of four client libraries, through every way in which a daemon can end and another begin.
//!
//! `tests/run watches` installs all four; where one is missing, nothing of this is run.

mod crowd;
mod site;

use std::{
    thread::{self, sleep},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

use super::{go, java, python};
use crowd::{Crowd, Watches};
use site::{Site, now};

/// What is promised where the sockets outlive the process: all are back so long after the new one serves. go- and
/// java-spiffe sleep for the first half of it, whatever we do.
const SOON: [Duration; 2] = [Duration::from_secs(1); 2];
/// Whoever is asked so for the first time is slow (Java).
const TRIES: usize = 3;
/// Long enough for clients to come while nobody is there.
const A_WHILE: Duration = Duration::from_secs(3);
/// What a machine that is busy with other things may take.
const LATE: Duration = Duration::from_secs(20);
/// Where the sockets go, the back-off of each client decides. gRPC's ends at two minutes.
const LONG: Duration = Duration::from_secs(240);

/// A site and the watches there, `each` of every client. `None` where a client is not there.
fn watched(is_kept: bool, each: usize) -> Option<(Site, Watches)> {
    let (python, go, java) = (python()?, go()?, java()?);
    let site = Site::new(is_kept);
    let crowds = vec![
        Crowd::of("py-spiffe", &python, &site, each),
        Crowd::of_rust(&site, each),
        Crowd::of("go-spiffe", &go, &site, each),
        Crowd::of("java-spiffe", &java, &site, each),
    ];
    let watches = Watches(crowds);
    watches.must_have(0, site.name(), LONG);
    Some((site, watches))
}

/// A way from one process to the next.
#[derive(Clone, Copy)]
enum Change {
    /// The new one takes the old one's place.
    Replace,
    /// The old one is asked to stop, and the new one comes so long after it.
    Stop(Duration),
    /// The old one crashes, and the new one comes at once.
    Kill,
}

impl Change {
    /// Answers when it began, and when the new one served, in milliseconds of the wall clock.
    fn make(self, site: &mut Site) -> (u64, u64) {
        let since = now();
        let served = match self {
            Self::Replace => site.replace(),
            Self::Stop(outage) => {
                site.stop();
                sleep(outage);
                site.start()
            }
            Self::Kill => {
                site.kill();
                site.start()
            }
        };
        (since, served)
    }
}

/// All come back, with what is true now, and then each has what is true next; answers how long the last one took.
fn settle(site: &mut Site, watches: &Watches, what: &str, change: Change, limit: Duration) -> Duration {
    let (since, served) = change.make(site);
    watches.must_have(since, site.name(), limit);
    println!("{what}, from when the new process served:\n{}", watches.delays(since, served));
    watches.must_be_new(since);
    let slowest = watches.slowest(since, served);
    assert!(slowest < limit, "{what}: {slowest:?}");
    let streams = site.daemon().status().streams;
    assert!(streams >= watches.count(), "{what}: {streams} streams are the new one's");
    let changed = now();
    site.rename();
    watches.must_have(changed, site.name(), LATE);
    println!("  a change of the entry was with all within {:?}\n", watches.slowest(changed, changed));
    watches.must_be_new(changed);
    watches.must_fit();
    slowest
}

/// All are back as soon as promised, and nobody by luck: on the slowest machine too, no door was closed.
fn settle_soon(site: &mut Site, watches: &Watches, what: &str, change: Change) {
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let [sleep, work] = SOON;
        let (since, promised) = (now(), sleep + work.mul_f32(slowness()));
        let slowest = settle(site, watches, what, change, LATE);
        watches.must_have_met_no_closed_door(since);
        took.push((slowest, promised));
        if slowest < promised {
            return;
        }
    }
    panic!("{what}, took and promised: {took:?}");
}

/// How much longer than alone we take for the same work now: 1 where nobody else wants the processors.
fn slowness() -> f32 {
    const SAMPLE: Duration = Duration::from_millis(200);
    let spin = || {
        let begin = Instant::now();
        while begin.elapsed() < SAMPLE {
            std::hint::spin_loop();
        }
        Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap()).div_duration_f32(begin.elapsed())
    };
    let share = thread::scope(|scope| {
        let spinning: Vec<_> = (0..thread::available_parallelism().unwrap().get()).map(|_| scope.spawn(spin)).collect();
        let count = f32::from(u16::try_from(spinning.len()).unwrap());
        spinning.into_iter().map(|one| one.join().unwrap()).sum::<f32>() / count
    });
    println!("the machine gives us {:.0} % of what we could use", share * 100.0);
    share.recip().max(1.0)
}

#[test]
fn mixed_watches_are_back_at_once_where_the_sockets_are_kept() {
    let Some((mut site, watches)) = watched(true, 50) else { return };
    settle_soon(&mut site, &watches, "--replace", Change::Replace);
    settle_soon(&mut site, &watches, "--replace again", Change::Replace);
    settle_soon(&mut site, &watches, "sockets kept, stopped for 3 s", Change::Stop(A_WHILE));
    settle_soon(&mut site, &watches, "sockets kept, killed and started", Change::Kill);
}

#[test]
fn mixed_watches_come_back_by_themselves_where_the_sockets_are_not_kept() {
    let Some((mut site, watches)) = watched(false, 50) else { return };
    settle_soon(&mut site, &watches, "--replace", Change::Replace);
    settle(&mut site, &watches, "sockets gone, stopped and started", Change::Stop(Duration::ZERO), LATE);
    settle(&mut site, &watches, "sockets gone, killed and started", Change::Kill, LATE);
    settle(&mut site, &watches, "sockets gone, stopped for 3 s", Change::Stop(A_WHILE), LATE);
}

/// Named by nobody but `tests/run watches-stopped`, as each takes minutes.
#[test]
fn stopped_for_five_minutes_with_the_sockets_kept() {
    stopped_for_five_minutes(true, "stopped for 5 minutes, sockets kept");
}

#[test]
fn stopped_for_five_minutes_with_the_sockets_gone() {
    stopped_for_five_minutes(false, "stopped for 5 minutes, sockets gone");
}

fn stopped_for_five_minutes(is_kept: bool, what: &str) {
    let Some((mut site, watches)) = watched(is_kept, 25) else { return };
    settle(&mut site, &watches, what, Change::Stop(Duration::from_secs(300)), LONG);
}

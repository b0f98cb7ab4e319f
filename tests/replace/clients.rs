//! What clients see: nothing, or Unavailable, and never a closed door.

use std::{
    collections::BTreeSet,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    common::{
        Daemon, eventually,
        h2raw::UNAVAILABLE,
        messages::{Admin, Create, Entry, JwtOrder, JwtSvids, ToValidate, Validated, Watch, ask, fetch},
        rounds,
    },
    proof::{Kept, audit_must_verify},
    stage::{SOON, events, must_be_served_by, registered, replace, replacing},
};

/// Counts of what happened to those who connect all the time.
#[derive(Default)]
struct Tally {
    connected: AtomicUsize,
    served: AtomicUsize,
    unavailable: AtomicUsize,
    broken: AtomicUsize,
}

/// Connects and asks until it is told to end. A door that is closed, or missing, is a fault.
fn knock(socket: &Path, tally: &Tally, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        UnixStream::connect(socket).expect("nobody is ever refused");
        tally.connected.fetch_add(1, Ordering::Relaxed);
        match fetch(socket) {
            Ok(Ok(svids)) => {
                assert_eq!(svids.len(), 1);
                tally.served.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(answer)) => {
                assert_eq!(answer.code(), Some(UNAVAILABLE), "{}", answer.words());
                tally.unavailable.fetch_add(1, Ordering::Relaxed);
            }
            // Accepted by the old one at its last moment, and closed with a GOAWAY.
            Err(error) => {
                assert!(![2, 111].contains(&error.raw_os_error().unwrap_or(0)), "{error}");
                tally.broken.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn no_client_is_turned_away_while_daemons_replace_each_other() {
    let (_folder, first) = registered("", &[]);
    let issued = fetch(&first.socket()).unwrap().unwrap().remove(0);
    let kept = Kept::new(&issued);
    let (tally, is_over) = (Tally::default(), AtomicBool::new(false));
    let socket = first.socket();
    let count = rounds(30);
    let mut daemon = thread::scope(|scope| {
        let mut daemon = first;
        let knocking: Vec<_> = (0..4).map(|_| scope.spawn(|| knock(&socket, &tally, &is_over))).collect();
        for _ in 0..count {
            let before = tally.served.load(Ordering::Relaxed);
            eventually("they are served", || tally.served.load(Ordering::Relaxed) > before + 20);
            daemon = replace(daemon);
            let new = fetch(&socket).unwrap().unwrap().remove(0);
            kept.must_verify(&new);
            // And the other way: what the old one has issued is believed with what the new one publishes.
            Kept::new(&new).must_verify(&issued);
            audit_must_verify(&daemon);
        }
        is_over.store(true, Ordering::Relaxed);
        knocking.into_iter().for_each(|one| one.join().unwrap());
        daemon
    });
    let [connected, served, unavailable, broken] =
        [&tally.connected, &tally.served, &tally.unavailable, &tally.broken].map(|each| each.load(Ordering::Relaxed));
    println!(
        "{count} replacements: {connected} connected, {served} served, {unavailable} unavailable, {broken} broken"
    );
    assert!(connected > 20 * count && broken + unavailable <= 16 * count);
    let happened = events(&daemon);
    let each = ["handing_over", "started", "taken_over"];
    assert_eq!(happened, ["started"].into_iter().chain(each.into_iter().cycle().take(3 * count)).collect::<Vec<_>>());
    assert!(daemon.stop() && !socket.exists(), "the last one removes what the first one made");
}

#[test]
fn streams_end_with_unavailable_and_all_are_back_with_the_new_one_at_once() {
    const STREAMS: usize = 200;
    let (_folder, mut old) = registered("", &[]);
    let socket = old.socket();
    let mut watches: Vec<_> = (0..STREAMS).map(|_| Watch::open(&socket).unwrap()).collect();
    for watch in &mut watches {
        watch.next().unwrap().unwrap();
    }
    let new = replacing(old.home(), &[]);
    let begun = Instant::now();
    // All at once, as they would.
    let back: Vec<_> = thread::scope(|scope| {
        let each = watches.into_iter().map(|mut watch| {
            let socket = &socket;
            scope.spawn(move || {
                let ended = watch.next().unwrap().expect_err("no message came in between");
                assert_eq!(ended.code(), Some(UNAVAILABLE), "{}", ended.words());
                assert_eq!(ended.words(), "daemon is stopping; try again");
                let since = Instant::now();
                let mut again = Watch::open(socket).unwrap();
                assert_eq!(again.next().unwrap().unwrap().len(), 1);
                (again, since.elapsed())
            })
        });
        each.collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(old.wait().success());
    must_be_served_by(&new);
    let slowest = back.iter().map(|(_, wait)| *wait).max().unwrap();
    println!("{STREAMS} streams were back {slowest:?} after their end, all of it took {:?}", begun.elapsed());
    assert!(slowest < SOON, "{slowest:?}");
    assert!(new.status().streams >= u64::try_from(STREAMS).unwrap(), "they are the new one's");
}

/// A token as the daemon there issues it, and who it is for as that one judges it.
fn token(daemon: &Daemon) -> String {
    let order = JwtOrder { audience: vec!["here".to_owned()], ..JwtOrder::default() };
    let answer: JwtSvids = ask(&daemon.socket(), "FetchJWTSVID", &order).unwrap().unwrap();
    answer.svids.into_iter().next().unwrap().svid
}

fn subject(daemon: &Daemon, token: &str) -> String {
    let request = ToValidate { audience: "here".to_owned(), svid: token.to_owned() };
    let judged: Result<Validated, _> = ask(&daemon.socket(), "ValidateJWTSVID", &request).unwrap();
    judged.map(|judged| judged.spiffe_id).unwrap_or_else(|answer| answer.words())
}

#[test]
fn a_token_of_the_old_one_is_believed_by_the_new_one() {
    let (_folder, old) = registered("", &[]);
    let of_old = token(&old);
    assert_eq!(subject(&old, &of_old), "spiffe://example.org/me");
    let new = replace(old);
    assert_eq!(subject(&new, &of_old), "spiffe://example.org/me");
    assert_eq!(subject(&new, &token(&new)), "spiffe://example.org/me");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rust_source_goes_on_with_the_new_one() {
    let (_folder, mut old) = registered("", &[]);
    let source = spiffe::X509Source::builder().endpoint(old.endpoint()).build().await.unwrap();
    let before = source.svid().unwrap().leaf().as_bytes().to_vec();
    let mut updates = source.updated();
    // Its stream, which has other certificates than its first look.
    let wait = Duration::from_secs(30);
    let mut seen = vec![before];
    tokio::time::timeout(wait, updates.changed()).await.expect("its stream is open").unwrap();
    seen.push(source.svid().unwrap().leaf().as_bytes().to_vec());
    let new = replacing(old.home(), &[]);
    let since = Instant::now();
    tokio::time::timeout(wait, updates.changed()).await.expect("an update in time").unwrap();
    println!("the source had its update {:?} after the new one was started", since.elapsed());
    let after = source.svid().unwrap().leaf().as_bytes().to_vec();
    assert!(!seen.contains(&after));
    assert!(tokio::task::spawn_blocking(move || old.wait().success()).await.unwrap());
    tokio::task::block_in_place(|| must_be_served_by(&new));
}

#[test]
fn every_change_that_was_acknowledged_is_there() {
    let (_folder, mut daemon) = registered("", &[]);
    let (is_over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let home = daemon.home().to_owned();
    let writer = {
        let (is_over, written, home) = (is_over.clone(), written.clone(), home.clone());
        thread::spawn(move || write(&home, &is_over, &written))
    };
    for _ in 0..rounds(30) {
        let before = written.load(Ordering::Relaxed);
        eventually("entries are written", || written.load(Ordering::Relaxed) > before + 10);
        daemon = replace(daemon);
    }
    is_over.store(true, Ordering::Relaxed);
    let (acknowledged, doubts) = writer.join().unwrap();
    let all = Admin::connect(&home).unwrap().entries().unwrap();
    let ids: BTreeSet<_> = all.iter().map(|entry| entry.id.clone()).collect();
    let lost = acknowledged.iter().filter(|id| !ids.contains(*id)).count();
    println!("{} acknowledged, {doubts} not answered, {} there", acknowledged.len(), all.len());
    assert_eq!(lost, 0);
    assert!(all.len() <= acknowledged.len() + doubts + 1, "what was refused is not there");
    audit_must_verify(&daemon);
}

/// Adds entries until it is told to end; answers the ids of those that were acknowledged, and how many calls had no
/// answer.
fn write(home: &Path, is_over: &AtomicBool, written: &AtomicUsize) -> (Vec<String>, usize) {
    let (mut acknowledged, mut doubts) = (Vec::new(), 0);
    let mut admin = Admin::connect(home).expect("nobody is refused");
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let spiffe_id = format!("spiffe://example.org/w/{number}");
        let entry = Entry { spiffe_id, selectors: vec![format!("unix:gid:{number}")], ..Entry::default() };
        match admin.call::<Entry>("Entries/Create", &Create { entry: Some(entry) }) {
            Ok(Ok(created)) => {
                acknowledged.push(created.id);
                written.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(answer)) => assert_eq!(answer.code(), Some(UNAVAILABLE), "{}", answer.words()),
            Err(_) => {
                doubts += 1;
                admin = Admin::connect(home).expect("nobody is refused");
            }
        }
    }
    (acknowledged, doubts)
}

#[test]
fn a_connection_that_says_nothing_stays_open() {
    let (_folder, daemon) = registered("", &[]);
    let mut watch = Watch::open(&daemon.socket()).unwrap();
    watch.next().unwrap().unwrap();
    // Longer than the preface and the request may take. A go-spiffe client was silent for up to 43 s.
    let silent = Watch::open(&daemon.socket()).map(|mut watch| {
        watch.next().unwrap().unwrap();
        watch.raw.reset(watch.stream).unwrap();
        watch.raw
    });
    let mut silent = silent.unwrap();
    assert!(!silent.is_closed_within(Duration::from_secs(11)));
    assert_eq!(silent.ask(&super::common::h2raw::Head::new("/no/such")).unwrap().code(), Some(12));
}

/// Nothing waits for a daemon that never was.
#[test]
fn without_a_daemon_it_is_a_start_as_any_other() {
    let folder = super::common::Folder::new();
    let daemon = Daemon::start_in(folder.path(), &["--replace"]);
    assert!(daemon.log().contains("no daemon runs on this state"), "{}", daemon.log());
    assert_eq!(events(&daemon), ["started"]);
}

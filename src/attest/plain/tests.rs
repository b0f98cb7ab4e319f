//! Callers with few and with many groups, and a directory that counts what it is asked.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    attest::{Waits, names::Directory},
    registry::entry,
    sys::{Clock, image::Lens, kernel::Kernel, looks::AllLooks},
};

const WAIT: Duration = Duration::from_secs(3);
/// The gid of group `g0`.
const FIRST: u32 = 100_000;

/// As many groups as the kernel gives anybody.
fn many() -> Vec<u32> {
    (FIRST..FIRST + 65_536).collect()
}

/// Groups `g0`, `g1`… from [`FIRST`] on, of which the first is called `alias` too; answers how often it was asked.
fn directory() -> (Names, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = |asked: &Arc<AtomicUsize>| {
        let asked = asked.clone();
        move || asked.fetch_add(1, Ordering::Relaxed)
    };
    let (user, group, gid) = (counted(&asked), counted(&asked), counted(&asked));
    let gid_of = |name: &str| match name {
        "alias" => Some(FIRST),
        _ => Some(FIRST + name.strip_prefix('g')?.parse::<u32>().ok()?),
    };
    let directory = Directory {
        user: Box::new(move |uid| {
            user();
            Ok(Some(format!("u{uid}").into()))
        }),
        group: Box::new(move |number| {
            group();
            Ok(number.checked_sub(FIRST).map(|number| format!("g{number}").into()))
        }),
        gid: Box::new(move |name| {
            gid();
            Ok(gid_of(&name))
        }),
    };
    (Names::new(directory, WAIT), asked)
}

/// What the entries with these selectors ask of a caller with uid and gid 1.
fn asked(entries: &[&[&str]]) -> Asked {
    snapshot(entries).asked_of(1, 1)
}

fn snapshot(entries: &[&[&str]]) -> Snapshot {
    let numbered = (0..).zip(entries);
    Snapshot::build(1, numbered.map(|(number, selectors)| Arc::new(entry(number, &format!("e{number}"), selectors))))
}

fn facts() -> Facts {
    let (socket, _other) = UnixStream::pair().unwrap();
    let peer = Peer::of(&socket, Kernel::probe(&[]).unwrap()).unwrap();
    Facts { uid: 1, gid: 1, ..peer.facts(false).unwrap() }
}

/// The selectors with names of a caller with these groups.
async fn named(names: &Names, asked: &Asked, groups: &[u32]) -> Result<Vec<String>, names::Error> {
    let sought = sought(names, asked, groups.len()).await?;
    let held = wanted(groups, asked, &sought).into_iter().filter(|gid| sought.has(*gid));
    let selectors = named_selectors(names, asked, &facts(), held).await?;
    Ok(selectors.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn many_groups_cost_what_entries_name() {
    let asked = asked(&[&["unix:supplementary_group:g5"], &["unix:supplementary_group:nobody's"]]);
    let (names, questions) = directory();
    assert_eq!(named(&names, &asked, &many()).await.unwrap(), ["unix:supplementary_group:g5"]);
    assert_eq!(questions.load(Ordering::Relaxed), 3, "two names, and the name of the one gid that was found");
    assert_eq!(named(&names, &asked, &many()).await.unwrap().len(), 1);
    assert_eq!(questions.load(Ordering::Relaxed), 3, "remembered");
}

#[tokio::test]
async fn few_groups_cost_no_more_than_they_are() {
    let entries: Vec<[String; 1]> = (0..200).map(|number| [format!("unix:supplementary_group:g{number}")]).collect();
    let entries: Vec<Vec<&str>> = entries.iter().map(|one| one.iter().map(String::as_str).collect()).collect();
    let asked = asked(&entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (names, questions) = directory();
    let groups = [FIRST + 7, FIRST + 900];
    assert_eq!(named(&names, &asked, &groups).await.unwrap(), ["unix:supplementary_group:g7"]);
    assert_eq!(questions.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_alias_is_nobodys_however_many_groups_there_are() {
    let asked = asked(&[&["unix:supplementary_group:alias"], &["unix:supplementary_group:g1"]]);
    let all_but_the_other = many().into_iter().filter(|gid| *gid != FIRST + 1).collect();
    for groups in [vec![FIRST], vec![FIRST, 7, 8, 9], all_but_the_other] {
        let (names, _) = directory();
        assert!(named(&names, &asked, &groups).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_no_entry_names_is_not_looked_up() {
    let (names, questions) = directory();
    let asked_gid = asked(&[&["unix:supplementary_gid:100005"], &["unix:uid:2", "unix:supplementary_group:g5"]]);
    assert!(named(&names, &asked_gid, &many()).await.unwrap().is_empty());
    assert_eq!(questions.load(Ordering::Relaxed), 0);
    assert_eq!(named(&names, &asked(&[&["unix:user:root"]]), &many()).await.unwrap(), ["unix:user:u1"]);
    assert_eq!(questions.load(Ordering::Relaxed), 1);
}

#[test]
fn of_many_groups_only_those_are_kept_that_are_asked_for() {
    let asked = asked(&[
        &["unix:supplementary_gid:100005"],
        &["unix:uid:1", "unix:supplementary_gid:100006"],
        &["unix:gid:1", "unix:supplementary_gid:100007"],
        &["unix:uid:2", "unix:supplementary_gid:100008"],
        &["unix:supplementary_gid:3"],
    ]);
    let kept = wanted(&many(), &asked, &Sought::Gids(BTreeSet::from([FIRST + 9])));
    assert!(kept.into_iter().eq([100_005, 100_006, 100_007, FIRST + 9]));
}

#[tokio::test]
async fn a_directory_that_fails_makes_no_smaller_set() {
    let failing = || io::Error::from(io::ErrorKind::Other);
    let directory = Directory {
        user: Box::new(move |_| Err(failing())),
        group: Box::new(move |_| Err(failing())),
        gid: Box::new(|_| Ok(Some(FIRST))),
    };
    let names = Names::new(directory, WAIT);
    let by_name = asked(&[&["unix:supplementary_group:g0"]]);
    assert!(named(&names, &by_name, &many()).await.is_err(), "the name of the gid");
    assert!(named(&names, &by_name, &[7]).await.unwrap().is_empty(), "it does not have that gid");
    assert!(named(&names, &asked(&[&["unix:group:g0"]]), &[]).await.is_err());
    let Directory { user, group, .. } = Directory::of_node();
    let names = Names::new(Directory { user, group, gid: Box::new(move |_| Err(failing())) }, WAIT);
    assert!(named(&names, &by_name, &many()).await.is_err(), "the gid of the name");
}

#[tokio::test]
async fn a_person_is_shown_the_first_of_many_groups_and_those_that_entries_ask_for() {
    let waits = Waits { attestation: WAIT, ping: WAIT, hash: WAIT, hash_bytes_max: 0, hashes_at_once: 1 };
    let (lens, kernel) = (Lens::new("/".into(), Vec::new()).unwrap(), Kernel::probe(&[]).unwrap());
    let attestor = Attestor::new(lens, waits, kernel, &AllLooks::default(), Clock::following_tokio(), Arc::default());
    let snapshot = snapshot(&[&["unix:supplementary_gid:165535"], &["unix:supplementary_group:no such group"]]);
    let (selectors, left_out) = attestor.plain_outside(&facts(), &many(), &snapshot).await.unwrap();
    let numbers = selectors.iter().filter(|one| one.unix("supplementary_gid").is_some()).count();
    assert_eq!((numbers, left_out), (GROUPS_SHOWN_MAX + 1, 65_536 - GROUPS_SHOWN_MAX - 1));
    assert!(selectors.contains(&Selector::supplementary_gid(165_535)));
    let (_, left_out) = attestor.plain_outside(&facts(), &[1, 2, 3], &snapshot).await.unwrap();
    assert_eq!(left_out, 0);
}

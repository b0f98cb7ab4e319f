//! Peers: ourselves, and processes that went.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::net::UnixStream;

use super::*;
use crate::sys::id_map::Unmapped;

fn kernels() -> [Kernel; 2] {
    [Kernel::probe(&[]).unwrap(), Kernel::probe(&Feature::ALL).unwrap()]
}

#[test]
fn our_own_connection_is_ours() {
    for kernel in kernels() {
        let (ours, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours, kernel).unwrap();
        let facts = peer.facts(true).unwrap();
        assert_eq!(facts.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(facts.uid, nix::unistd::getuid().as_raw());
        assert_eq!(facts.groups.unwrap().count(), peer.groups_count());
        let (seen, groups) = peer.facts_and_groups().unwrap();
        assert_eq!((seen, groups), (facts.clone(), peer.groups_noted(&ours).unwrap()));
        assert_eq!(peer.facts(true).unwrap(), facts);
        assert!(peer.still(&facts).unwrap());
        let fewer = peer.facts(false).unwrap();
        assert_eq!(fewer, Facts { groups: None, ..facts });
        assert!(peer.still(&fewer).unwrap());
    }
}

#[test]
fn facts_of_another_cgroup_hold_no_more() {
    for kernel in kernels() {
        let (ours, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours, kernel).unwrap();
        let facts = peer.facts(true).unwrap();
        let elsewhere = Facts { cgroup: facts.cgroup + 1, ..facts };
        assert!(!peer.still(&elsewhere).unwrap());
    }
}

#[test]
fn a_process_that_exited_has_no_facts() {
    for kernel in kernels() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let peer = Peer::by_number(i32::try_from(child.id()).unwrap(), kernel).unwrap();
        let facts = peer.facts(true).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(peer.facts(true), Err(Fault::Gone)));
        assert!(matches!(peer.still(&facts), Err(Fault::Gone)));
    }
}

#[test]
fn an_id_that_stands_for_many_is_nobodys() {
    let kernel = Kernel::probe(&[]).unwrap();
    let (ours, _other) = UnixStream::pair().unwrap();
    let peer = Peer::of(&ours, kernel).unwrap();
    for unmapped in [Unmapped { uid: Some(peer.uid()), gid: None }, Unmapped { uid: None, gid: Some(peer.gid()) }] {
        let refused = Peer::of(&ours, kernel.with_unmapped(unmapped));
        assert!(matches!(refused, Err(Fault::UnmappedId)), "{refused:?}");
    }
    let elsewhere = Unmapped { uid: Some(peer.uid() + 1), gid: Some(peer.gid() + 1) };
    assert!(Peer::of(&ours, kernel.with_unmapped(elsewhere)).is_ok());
    assert_eq!(elsewhere.groups_known(vec![peer.gid(), peer.gid() + 1]), [peer.gid()]);
}

#[test]
fn two_processes_have_two_keys() {
    let kernel = Kernel::probe(&[]).unwrap();
    let mut children = [(); 2].map(|()| std::process::Command::new("sleep").arg("60").spawn().unwrap());
    let keys = children
        .each_ref()
        .map(|child| Peer::by_number(i32::try_from(child.id()).unwrap(), kernel).unwrap().facts(true).unwrap().process);
    assert_ne!(keys[0], keys[1]);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn another_writer_is_told_from_a_child() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let child_pid = i32::try_from(child.id()).unwrap();
    for kernel in kernels() {
        let (ours, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours, kernel).unwrap();
        let sender = |pid: i32| UnixCredentials::from(libc::ucred { pid, uid: peer.uid(), gid: peer.gid() });
        let judged = |pid| peer.check_sender(&sender(pid)).map_err(|fault| peer.tell_apart(fault));
        assert!(judged(peer.pid()).is_ok());
        assert!(matches!(judged(child_pid), Err(Fault::ForkedClient)));
        assert!(matches!(judged(1), Err(Fault::SenderDiffers { pid: 1 })));
        assert!(matches!(judged(0), Err(Fault::OutsidePidNamespace)));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_peer_is_small_however_many_groups_it_has() {
    assert!(size_of::<Peer>() <= 128, "{}", size_of::<Peer>());
}

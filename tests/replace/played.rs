//! A process that is invited to take a daemon's place and does not do as it should: played by this program, in a process
//! of its own, since a daemon ends the one that it waits for in vain.

use std::{
    fs,
    io::IoSliceMut,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg, send, socket,
};

use super::{
    common::{
        Daemon, Folder, eventually,
        messages::{Admin, Nothing, Watch},
    },
    stage::{events, eventually_served, must_be_served_by, registered},
};

/// What the one that is played does after it was invited.
const ROLES: [(&str, &str); 8] = [
    ("ask", ""),
    ("leave", "it did not come within 5 s"),
    ("mute", "it was not ready within 10 s"),
    ("hang-up", "it ended"),
    ("nonsense", "it said what nobody understands"),
    ("long", "the private channel broke"),
    ("out-of-turn", "it spoke out of turn"),
    ("failed", "the reason of the one that is played"),
];

#[derive(Clone, PartialEq, prost::Message)]
struct Invitation {
    #[prost(uint32, tag = "2")]
    pid: u32,
    #[prost(string, tag = "3")]
    trust_domain: String,
    #[prost(uint32, tag = "5")]
    schema: u32,
    #[prost(uint32, tag = "6")]
    protocol: u32,
}

/// Starts this program in a role.
fn start(daemon: &Daemon, role: &str, program: &Path, ids: Option<(u32, u32)>) -> Child {
    let mut command = Command::new(program);
    command
        .args(["played::as_a_process_that_is_played", "--exact", "--nocapture"])
        .env("DAYFLY_PLAYED", role)
        .env("DAYFLY_PLAYED_HOME", daemon.home())
        .stdout(Stdio::piped());
    if let Some((uid, gid)) = ids {
        command.uid(uid).gid(gid);
    }
    command.spawn().unwrap()
}

fn play(daemon: &Daemon, role: &str) -> String {
    let child = start(daemon, role, &std::env::current_exe().unwrap(), None);
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// Asks for the daemon's place as another user; answers what it heard.
pub(super) fn ask_as(daemon: &Daemon, uid: u32, gid: u32) -> String {
    let folder = Folder::new();
    let program = folder.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let child = start(daemon, "ask", &program, Some((uid, gid)));
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// Plays, if this process was started to.
#[test]
fn as_a_process_that_is_played() {
    let Ok(role) = std::env::var("DAYFLY_PLAYED") else { return };
    let home = PathBuf::from(std::env::var_os("DAYFLY_PLAYED_HOME").unwrap());
    let Ok(mut admin) = Admin::connect(&home) else { return println!("cannot connect") };
    match admin.call::<Invitation>("Control/Replace", &Nothing {}) {
        Ok(Ok(invited)) => {
            println!("invited={} domain={} protocol={}", invited.pid, invited.trust_domain, invited.protocol)
        }
        Ok(Err(answer)) => return println!("code={} words={}", answer.code().unwrap(), answer.words()),
        Err(error) => return println!("broken: {error}"),
    }
    let again = admin.call::<Invitation>("Control/Replace", &Nothing {}).unwrap().expect_err("one at a time");
    println!("again={} {}", again.code().unwrap(), again.words());
    if role == "leave" {
        return;
    }
    let channel = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    connect(channel.as_raw_fd(), &UnixAddr::new(&home.join("state/replace.sock")).unwrap()).unwrap();
    let say = |words: &str| send(channel.as_raw_fd(), words.as_bytes(), MsgFlags::empty()).unwrap();
    match role.as_str() {
        "mute" => println!("heard={}", hear(&channel).0),
        "nonsense" => drop(say("{\"step\":\"ready\",\"and\":1}")),
        "long" => drop(say(&"x".repeat(5_000))),
        "out-of-turn" => drop(say("{\"step\":\"serving\"}")),
        "failed" => drop(say("{\"step\":\"failed\",\"why\":\"the reason of the one that is played\"}")),
        "takes-and-fails" => {
            say("{\"step\":\"ready\"}");
            let (words, sockets) = hear(&channel);
            println!("heard={words} sockets={}", sockets.len());
            say("{\"step\":\"failed\",\"why\":\"no reason\"}");
        }
        "takes-and-babbles" => {
            say("{\"step\":\"ready\"}");
            hear(&channel);
            say("{\"step\":\"yours\",\"sockets\":[]}");
            // It is ended, since it does not end.
            thread::sleep(Duration::from_secs(120));
        }
        "hang-up" => return,
        _ => panic!("{role}"),
    }
    // Until the other side has heard it.
    hear(&channel);
}

fn hear(channel: &OwnedFd) -> (String, Vec<i32>) {
    let mut bytes = [0; 5_000];
    let mut control = nix::cmsg_space!([i32; 32]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg::<()>(channel.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
    let Ok(message) = received else { return (String::new(), Vec::new()) };
    let sockets = message.cmsgs().unwrap().flat_map(|each| match each {
        ControlMessageOwned::ScmRights(numbers) => numbers,
        _ => Vec::new(),
    });
    let (sockets, count) = (sockets.collect(), message.bytes);
    (String::from_utf8_lossy(&bytes[..count]).into_owned(), sockets)
}

#[test]
fn whoever_is_invited_and_does_not_do_as_he_should_disturbs_nobody() {
    let (_folder, old) = registered("", &[]);
    let mut watch = Watch::open(&old.socket()).unwrap();
    watch.next().unwrap().unwrap();
    for (number, (role, why)) in ROLES.into_iter().filter(|(_, why)| !why.is_empty()).enumerate() {
        let said = play(&old, role);
        println!("{role}: {said}");
        let pid = old.pid();
        assert!(said.contains(&format!("invited={pid} domain=example.org protocol=1")), "{role}: {said}");
        assert!(said.contains("again=14 another process is about to take this daemon's place"), "{role}: {said}");
        assert!(role != "mute" || said.contains("heard={\"step\":\"staying\""), "{said}");
        let failed = || old.audit().into_iter().filter(|record| record["event"] == "not_replaced").collect::<Vec<_>>();
        eventually("it is recorded", || failed().len() > number);
        let record = failed().pop().unwrap();
        assert!(record["detail"].as_str().unwrap().contains(why), "{role}: {record}");
    }
    must_be_served_by(&old);
    assert_eq!(old.status().streams, 2, "the stream that was open is open");
    assert!(!old.home().join("state/replace.sock").exists());
}

#[test]
fn what_was_taken_and_is_not_served_is_taken_back() {
    for (role, why) in [("takes-and-fails", "no reason"), ("takes-and-babbles", "it spoke out of turn")] {
        let (_folder, old) = registered("", &[]);
        let said = play(&old, role);
        if role == "takes-and-fails" {
            assert!(said.contains("heard={\"step\":\"yours\"") && said.contains("sockets=4"), "{said}");
        }
        eventually_served(&old);
        must_be_served_by(&old);
        assert_eq!(events(&old), ["started", "handing_over", "started", "taken_back"]);
        let records = old.audit();
        let back = records.iter().find(|record| record["event"] == "taken_back").unwrap();
        assert!(back["detail"].as_str().unwrap().contains(why), "{back}");
    }
}

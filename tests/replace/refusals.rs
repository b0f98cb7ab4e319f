//! Who may not take a daemon's place: the old one serves on, and says why.

use std::{fs, process::Command};

use super::{
    common::{DAYFLY, Daemon, Folder, messages::Watch},
    stage::{events, must_be_served_by, registered, serving_pid},
};

/// Tries to replace with these arguments; answers the exit code and what is said.
fn refused(home: &std::path::Path, args: &[&str]) -> (i32, String) {
    let output = Command::new(DAYFLY).args(["daemon", "--replace", "--home"]).arg(home).args(args).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("{}: {words}", output.status);
    let begins = |with: &str| words.lines().filter(|line| line.starts_with(with)).count();
    assert_eq!((begins("error: "), begins("hint: ")), (1, 1), "{words}");
    (output.status.code().unwrap(), words)
}

#[test]
fn a_configuration_that_is_wrong_or_anothers_leaves_the_old_one_serving() {
    let (folder, mut old) = registered("", &[]);
    let home = folder.path();
    let mut watch = Watch::open(&old.socket()).unwrap();
    watch.next().unwrap().unwrap();

    let (code, words) = refused(home, &["--trust-domain", "other.example"]);
    assert!(code == 2 && words.contains("serves the trust domain example.org"), "{code}: {words}");
    assert!(words.contains("the daemon that runs goes on"), "{words}");

    fs::write(home.join("broken.toml"), "trust_domain = \"example.org\"\nnonsense = 1\n").unwrap();
    let broken = home.join("broken.toml");
    let (code, words) = refused(home, &["-c", broken.to_str().unwrap()]);
    assert!(code == 2 && words.contains("nonsense"), "{code}: {words}");

    // Another state that is in use, behind this one's admin socket.
    let (other, _other_old) = registered("", &[]);
    let config = format!("trust_domain = \"example.org\"\nstate_dir = \"{}\"\n", other.path().join("state").display());
    fs::write(home.join("state.toml"), config).unwrap();
    let (code, words) = refused(home, &["-c", home.join("state.toml").to_str().unwrap()]);
    assert!(code == 2 && words.contains("has its state in"), "{code}: {words}");

    // Authorities stay as they are, and that is found before anybody is disturbed.
    fs::write(home.join("layout.toml"), "trust_domain = \"example.org\"\n[authority]\nlayout = \"self-signed\"\n")
        .unwrap();
    let (code, words) = refused(home, &["-c", home.join("layout.toml").to_str().unwrap()]);
    assert!(code == 2 && words.contains("authorities are rooted, and this configuration says self-signed"), "{words}");
    assert!(words.contains("hint: set authority.layout to rooted"), "{words}");

    // An audit folder that others may read is found before anybody is disturbed.
    let audit = home.join("state/audit");
    let mode = |mode| fs::set_permissions(&audit, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o755);
    let (code, words) = refused(home, &["--trust-domain", "example.org"]);
    assert!(code == 1 && words.contains("has mode 0755"), "{code}: {words}");
    mode(0o700);

    must_be_served_by(&old);
    assert_eq!(old.status().streams, 1 + 1, "the stream is open, beside the one that asks");
    assert_eq!(events(&old).iter().filter(|event| *event == "handing_over").count(), 0);
    assert!(old.stop());
    assert_eq!(watch.next().unwrap().unwrap_err().code(), Some(14));
}

#[test]
fn a_new_one_that_cannot_open_what_it_was_given_gives_it_back() {
    let (folder, old) = registered("", &[]);
    // Another process has the place of a socket that the new configuration adds.
    let taken = folder.path().join("taken.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&taken).unwrap();
    let config = format!(
        "trust_domain = \"example.org\"\nworkload_sockets = [\"{}\", \"{}\"]\n",
        old.socket().display(),
        taken.display()
    );
    fs::write(folder.path().join("two.toml"), config).unwrap();
    let (code, words) = refused(folder.path(), &["-c", folder.path().join("two.toml").to_str().unwrap()]);
    assert!(code == 1 && words.contains("is served by another process already"), "{code}: {words}");
    assert!(words.contains("the daemon that runs goes on"), "{words}");
    super::stage::eventually_served(&old);
    must_be_served_by(&old);
    assert_eq!(events(&old), ["started", "handing_over", "started", "taken_back"]);
    let records = old.audit();
    let why = records.iter().find(|record| record["event"] == "taken_back").unwrap();
    assert!(why["detail"].as_str().unwrap().contains("taken.sock is served"), "{why}");
}

#[test]
fn a_new_configuration_adds_a_socket_and_takes_one_away() {
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name);
    let config = |names: [&str; 2]| {
        let [one, two] = names.map(|name| path(name).display().to_string());
        format!("workload_sockets = [\"{one}\", \"{two}\"]\n[ops]\naddress = \"127.0.0.1:0\"\n")
            .replace("[ops]\naddress = \"127.0.0.1:0\"\n", "")
    };
    fs::write(path("dayfly.toml"), config(["workload.sock", "old.sock"])).unwrap();
    let old = Daemon::start_in(folder.path(), &[]);
    old.entry("spiffe://example.org/me", &[&super::common::own_uid()], &[]);
    fs::write(path("dayfly.toml"), config(["workload.sock", "new.sock"])).unwrap();
    let mut new = super::stage::replace(old);
    assert!(path("new.sock").exists() && !path("old.sock").exists());
    assert!(super::common::messages::fetch(&path("new.sock")).unwrap().is_ok());
    assert!(new.stop() && !path("new.sock").exists() && !path("workload.sock").exists());
}

#[test]
fn only_the_daemons_own_user_and_root_may_take_its_place() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: another user cannot be played without root");
        return;
    }
    let (_folder, old) = registered("admin_group = \"nogroup\"\n", &[]);
    let group = nix::unistd::Group::from_name("nogroup").unwrap().unwrap().gid.as_raw();
    let asked = super::played::ask_as(&old, 54_321, group);
    assert!(asked.contains("PermissionDenied") || asked.contains("code=7"), "{asked}");
    let stranger = super::played::ask_as(&old, 54_321, 54_321);
    assert!(stranger.contains("cannot connect"), "mode 0660: {stranger}");
    let records = old.audit();
    let refused = records.iter().find(|record| record["reasons"][0] == "not_owner").expect("it is recorded");
    assert_eq!((&refused["caller"]["uid"], &refused["what"]), (&54_321.into(), &"admin".into()));
    assert_eq!(serving_pid(&old), old.pid());
    must_be_served_by(&old);
}

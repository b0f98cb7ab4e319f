//! A tool behind nginx: each request is verified, and what it is told of the agent is the daemon's word.

use std::{fs, os::unix::fs::PermissionsExt as _};

use nix::sys::signal::Signal;

use super::{
    common::{DAYFLY, Folder},
    readme::Recipe,
    stage::{CLIENT, STRANGER, Stage, port, program, words},
};

/// What the tool answers: what it was told.
const TOOL: &str = r#"return 200 "$http_x_dayfly_agent: $http_x_dayfly_scopes\n";"#;

#[test]
fn a_tool_behind_nginx_is_called_by_its_agent_alone() {
    let Some(nginx) = program("DAYFLY_NGINX") else { return };
    let (port, tool, bin) = (port(), port(), Folder::new());
    let stage = Stage::new(bin.path());
    let at = stage.path().display().to_string();
    let stage = stage.with("CURL_HOME", &at);
    let recipe = Recipe::of("A tool behind nginx")
        .swap("unix:user:reporter", format!("unix:uid:{CLIENT}"))
        .swap("unix:path:/usr/local/bin/dayfly", format!("unix:path:{DAYFLY}"))
        .swap("listen 443", format!("listen 127.0.0.1:{port}"))
        .swap("http://127.0.0.1:8080", format!("http://127.0.0.1:{tool}"))
        .swap("/run/dayfly/", format!("{}/", stage.daemon.home().display()))
        .swap("/var/lib/", format!("{at}/"));
    stage.place("nginx", 0);
    stage.place("reporter", CLIENT);
    stage.run(0, &recipe.lines("as admin"));
    let temps =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {at}/nginx/{kind};"));
    let main = format!(
        "user root;\npid {at}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{}\n{}\
         server {{ listen 127.0.0.1:{tool}; location / {{ {TOOL} }} }}\n}}\n",
        temps.join("\n"),
        recipe
            .text("/etc/nginx/sites-enabled/tickets")
            .replace("    location /api/ {", &format!("{}    location /api/ {{", recipe.text("beside /api/")))
    );
    fs::write(stage.path().join("nginx.conf"), main).unwrap();
    let script = format!("#!/bin/sh\nexec {} -e stderr -p {at} -c {at}/nginx.conf \"$@\"\n", nginx.display());
    fs::write(bin.path().join("nginx"), script).unwrap();
    fs::set_permissions(bin.path().join("nginx"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(stage.path().join(".curlrc"), format!("connect-to = \"::127.0.0.1:{port}\"\nmax-time = 20\n")).unwrap();
    let _certs = stage.fetch(0, &recipe.lines("as root").concat());
    let _server = stage.start(0, "exec nginx -g 'daemon off;'", Signal::SIGTERM);

    let lines = recipe.lines("as reporter");
    let (first, call) = (lines.first().unwrap(), lines.get(1).unwrap());
    stage.run(CLIENT, std::slice::from_ref(first));
    let call = Call { stage: &stage, line: call.clone() };
    // As it stands, in the first minute of a daemon: it is told to come again with a nonce.
    stage.eventually("nginx asks for a nonce", || call.status(CLIENT, &[]).starts_with("401"));
    let nonce = call.nonce();
    let with_nonce = ("token header ", format!("token header --nonce {nonce} "));
    let with = |more: &[(&str, &str)]| {
        let nonce = [(with_nonce.0, with_nonce.1.as_str())];
        call.status(CLIENT, &[&nonce, more].concat())
    };
    assert_eq!(with(&[]), "200 reporter: read\n");
    assert_eq!(
        with(&[("-H @-", "-H @- -H 'X-Dayfly-Agent: admin' -H 'X-Dayfly-Scopes: write'")]),
        "200 reporter: read\n"
    );
    // What stands in a token is shown, and what makes it one is not.
    let shown = stage.run(
        CLIENT,
        &["dayfly token get --tool tickets > reporter/token && dayfly token inspect reporter/token".to_owned()],
    );
    let token = fs::read_to_string(stage.path().join("reporter/token")).unwrap();
    for word in ["access token of a Dayfly daemon", "reporter", "https://tickets.example.org", "read", "until"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert!(!shown.contains(token.trim().rsplit('.').next().unwrap()), "{shown}");
    let shown = stage.run(CLIENT, &["dayfly token inspect --output json < reporter/token".to_owned()]);
    let document: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&document["header"]["typ"], &document["claims"]["client_id"]), (&"at+jwt".into(), &"reporter".into()));
    // All of it in one command. A token goes to its tool and nowhere else, whatever is named.
    let elsewhere = [
        "tool add elsewhere --audience https://elsewhere.example.org --url https://elsewhere.example.org --scope read=read",
        "grant add reporter elsewhere --scope read",
    ];
    stage.run(0, &elsewhere.map(|verb| format!("dayfly {verb}")));
    let one = recipe.lines("as reporter, in one").concat();
    let one = |more: &str| {
        let line = format!("{one} --connect 127.0.0.1:{port} {more}");
        let output = stage.shell(CLIENT, &line).output().unwrap();
        (output.status.code(), words(&output))
    };
    assert_eq!(one(""), (Some(0), "reporter: read\n".to_owned()));
    let (code, said) = one("--output json -H 'X-Dayfly-Agent: admin'");
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &document["status"], &document["body"]), (Some(0), &200.into(), &"reporter: read\n".into()));
    for (more, expected, word) in [
        ("--scope write", 3, "not granted"),
        ("--tool nothing", 5, "no grant"),
        ("--tool elsewhere", 3, "its own URLs alone"),
        ("-H 'DPoP: x'", 2, "made by the command itself"),
        ("-d @/nowhere", 5, "no file"),
    ] {
        let (code, said) = one(more);
        assert!(code == Some(expected) && said.contains(word), "{more}: {code:?} {said}");
    }
    // Who is believed for one who is not: the system's certificates do not have that of this trust domain.
    let line = format!("dayfly http GET https://tickets.example.org/api/items/7 --connect 127.0.0.1:{port}");
    let output = stage.shell(CLIENT, &line).output().unwrap();
    assert!(output.status.code() == Some(1) && words(&output).contains("certificate"), "{}", words(&output));
    // Another path than the proof is for, no route for the method or the path, a scope that was not granted.
    let (line, item) = (call.line.replace(with_nonce.0, &with_nonce.1), "https://tickets.example.org/api/items/7");
    let (header, curl) = line.split_once(" | ").unwrap();
    let posted = (header.replace("GET", "POST").replace("/7", ""), curl.replace("/7", "").replace("-sS", "-sS -d x"));
    for (header, curl, expected) in [
        (header.to_owned(), curl.replace(item, "https://tickets.example.org/api/items/8"), "401"),
        (header.to_owned(), curl.replace("-sS", "-sS -X DELETE"), "403"),
        (header.replace("items", "people"), curl.replace("items", "people"), "403"),
        (posted.0, posted.1, "403"),
    ] {
        let line = format!("{header} | {curl}");
        assert!(call.ask(CLIENT, &line).starts_with(expected), "{line}");
    }
    // The same two headers again, and by somebody else: what was captured is worth nothing.
    let kept = stage.path().join("reporter/kept");
    let keep = format!("tee {} | curl", kept.display());
    assert_eq!(with(&[("curl", &keep)]), "200 reporter: read\n");
    let (_, curl) = call.line.split_once("| ").unwrap();
    let again = format!("{curl} < {}", kept.display());
    assert!(call.ask(CLIENT, &again).starts_with("401"));
    assert!(call.ask(0, &again).starts_with("401"));
    // A stolen token with a key of the thief's, and without any.
    let stolen = fs::read_to_string(&kept).unwrap();
    let token = stolen.lines().next().unwrap().to_owned();
    let bare = format!("{} -H '{token}'", curl.replace("-H @-", ""));
    assert!(call.ask(STRANGER, &bare).starts_with("401"));
    let downgraded = bare.replace("DPoP ", "Bearer ");
    assert!(call.ask(STRANGER, &downgraded).starts_with("401"));
    // Who is no agent gets no token.
    let line = call.line.split_once(" | ").unwrap().0.to_owned();
    let refused = stage.shell(STRANGER, &line).output().unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{}", words(&refused));
    // What the tool needs is where the challenge says.
    let bare = format!("curl -sSi {}", curl.split_once("--cacert").map(|(_, rest)| format!("--cacert{rest}")).unwrap());
    let challenged = call.ask(STRANGER, &bare);
    let metadata = challenged.split("resource_metadata=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert_eq!(metadata, "https://tickets.example.org/.well-known/oauth-protected-resource");
    let said = call.ask(STRANGER, &bare.replace(item, metadata));
    assert!(said.contains(r#""resource":"https://tickets.example.org""#), "{said}");
    // What an admin takes away is gone at once, also for tokens that are out.
    stage.run(0, &["dayfly agent suspend reporter".to_owned()]);
    let refused = with(&[]);
    assert!(!refused.starts_with("200"), "{refused}");
    stage.run(0, &["dayfly agent resume reporter".to_owned()]);
    assert_eq!(with(&[]), "200 reporter: read\n");
}

/// The README's call.
pub(super) struct Call<'s> {
    pub(super) stage: &'s Stage,
    pub(super) line: String,
}

impl Call<'_> {
    /// Status and body, with other texts in the line.
    pub(super) fn status(&self, uid: u32, swaps: &[(&str, &str)]) -> String {
        let line = swaps.iter().fold(self.line.clone(), |line, (from, to)| {
            assert!(line.contains(from), "{line}: {from}");
            line.replace(from, to)
        });
        self.ask(uid, &line)
    }

    pub(super) fn ask(&self, uid: u32, line: &str) -> String {
        let line = line.replace("--fail-with-body", "-w '%{stderr}%{http_code}'");
        let output = self.stage.shell(uid, &line).output().unwrap();
        let (said, status) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("{status} {said}")
    }

    pub(super) fn nonce(&self) -> String {
        let line = self.line.replace("--fail-with-body", "-o /dev/null -D -");
        let output = self.stage.shell(CLIENT, &line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let nonce = said.lines().find(|line| line.to_ascii_lowercase().starts_with("dpop-nonce:"));
        nonce.and_then(|line| line.split_once(": ")).unwrap_or_else(|| panic!("no nonce: {said}")).1.trim().to_owned()
    }
}

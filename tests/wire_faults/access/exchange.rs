//! The token endpoint's other grant (RFC 8693): tokens of users and our own, and everybody who tries to pass with another's.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use data_encoding::BASE64URL_NOPAD;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::*;
use crate::common::{Folder, eventually};

const US: &str = "https://example.org/oauth";
const LOGIN: &str = "https://login.test";
const EXCHANGE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
const KIND: &str = "urn:ietf:params:oauth:token-type:";

/// An issuer of users, whose keys stand in a file.
struct Login {
    key: EcdsaKeyPair,
    folder: Folder,
}

impl Login {
    fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let login = Self { key, folder: Folder::new() };
        std::fs::write(login.folder.path().join("jwks"), login.jwks()).unwrap();
        login
    }

    fn jwks(&self) -> String {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|part| BASE64URL_NOPAD.encode(part));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "x": x, "y": y }] }).to_string()
    }

    fn config(&self) -> String {
        let file = self.folder.path().join("jwks");
        format!("[[token.user_issuer]]\nissuer = \"{LOGIN}\"\njwks = {file:?}\n")
    }

    /// A token of ada, with changes; null leaves a claim out.
    fn token(&self, changes: Value) -> String {
        let now = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({ "iss": LOGIN, "sub": "ada", "aud": US, "iat": now, "exp": now + 120, "jti": "j1" });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let header = json!({ "alg": "ES256", "kid": "k", "typ": "JWT" });
        let [header, claims] = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes()));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

fn form(token: &str, more: &str) -> String {
    let kind = format!("{KIND}jwt").replace(':', "%3A");
    format!(
        "{EXCHANGE}&subject_token={token}&subject_token_type={kind}&resource=https%3A%2F%2Ftickets.example.org{more}"
    )
}

fn exchange(daemon: &Daemon, prover: &Prover, token: &str, more: &str) -> Answer {
    post(daemon, &format!("{FORM_HEAD}DPoP: {}\r\n", proof(daemon, prover)), &form(token, more))
}

fn claims(answer: &Answer) -> Value {
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    claims_of(body["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.body)))
}

fn claims_of(token: &str) -> Value {
    let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

/// The last refusal's reasons.
fn reasons(daemon: &Daemon) -> Value {
    let mut refused = daemon.audit().into_iter().filter(|record| record["what"] == "access-token");
    refused.next_back().unwrap()["reasons"].clone()
}

/// As the HTTP doors' agent, and whose users it may act for. It says as much as it can.
fn deputy(login: &Login) -> Daemon {
    agent_with(&format!("[log]\nlevel = \"trace\"\n{}", login.config()))
}

/// None of these tokens is in what the daemon writes: neither what it says nor what makes it one.
fn must_not_tell(daemon: &Daemon, tokens: &[String]) {
    let log = daemon.log() + &serde_json::to_string(&daemon.audit()).unwrap();
    assert!(log.contains("DEBUG") || log.contains("TRACE"), "{log}");
    for part in tokens.iter().flat_map(|token| token.split('.').skip(1)).filter(|part| part.len() > 8) {
        assert!(!log.contains(part), "a token is in a log");
    }
}

#[test]
fn a_users_token_becomes_one_of_the_agent_for_him() {
    let login = Login::new();
    let (daemon, prover) = (deputy(&login), Prover::generate().unwrap());
    let user = login.token(json!({ "scope": "openid read" }));
    let answer = exchange(&daemon, &prover, &user, "&scope=read+write");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{}", answer.body);
    assert_eq!(
        (body["issued_token_type"].as_str(), body["token_type"].as_str()),
        (Some(&*format!("{KIND}access_token")), Some("DPoP"))
    );
    let said = claims(&answer);
    assert_eq!(
        (said["sub"].as_str(), said["sub_iss"].as_str(), said["scope"].as_str()),
        (Some("ada"), Some(LOGIN), Some("read"))
    );
    assert_eq!(
        (&said["act"], said["client_id"].as_str()),
        (&json!({ "sub": "spiffe://example.org/reporter" }), Some("reporter"))
    );
    assert!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap() <= 120, "never longer than the user's");
    // It is good at the door as any other, and tells the upstream the agent.
    let token = body["access_token"].as_str().unwrap().to_owned();
    let nonce = nonce(&daemon, &prover, &token);
    let answer = verify(&daemon, "GET", URL, &signed(&prover, &token, "GET", URL, Some(&nonce)));
    assert_eq!((answer.status, answer.header("x-dayfly-agent")), (200, Some("reporter")));
    // The same again, narrower, by the same key.
    let again = exchange(
        &daemon,
        &prover,
        &token,
        "&client_id=reporter&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt",
    );
    assert_eq!(again.status, 200, "{}", again.body);
    let second = claims(&again);
    assert_eq!((&second["sub"], &second["sub_iss"], &second["act"]), (&said["sub"], &said["sub_iss"], &said["act"]));
    assert!(second["exp"].as_u64() <= said["exp"].as_u64() && second["jti"] != said["jti"]);
    assert!(again.body.contains("token-type:jwt"));
    let issued: Vec<_> = daemon.audit().into_iter().filter(|record| record["credential"] == "access-token").collect();
    let of = |at: usize| issued[at]["identities"][0]["access"].clone();
    assert_eq!((&of(0)["delegation"]["subject"], &of(0)["parent_jti"]), (&"ada".into(), &"j1".into()));
    assert_eq!(of(1)["parent_jti"], said["jti"]);
    must_not_tell(&daemon, &[user, token]);
}

#[test]
fn a_form_that_asks_for_what_is_not_done_is_told_so() {
    let login = Login::new();
    let (daemon, prover) = (deputy(&login), Prover::generate().unwrap());
    let (user, good) = (login.token(json!({})), format!("{FORM_HEAD}DPoP: {}\r\n", proof(&daemon, &prover)));
    let kind = "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3A";
    let to = "&resource=https%3A%2F%2Ftickets.example.org";
    for (body, code) in [
        (EXCHANGE.to_owned(), "invalid_request"),
        (format!("{EXCHANGE}&subject_token={user}{to}"), "invalid_request"),
        (format!("{EXCHANGE}{kind}jwt{to}"), "invalid_request"),
        (format!("{EXCHANGE}&subject_token={user}{kind}saml2{to}"), "invalid_request"),
        (format!("{EXCHANGE}&subject_token={user}{kind}refresh_token{to}"), "invalid_request"),
        (format!("{EXCHANGE}&subject_token={user}&subject_token_type=jwt{to}"), "invalid_request"),
        (format!("{}&subject_token={user}", form(&user, "")), "invalid_request"),
        (form(&user, "&actor_token=x"), "invalid_request"),
        (form(&user, "&actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt"), "invalid_request"),
        (form(&user, "&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token"), "invalid_request"),
        (
            form(&user, "&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Arefresh_token"),
            "invalid_request",
        ),
        (format!("{EXCHANGE}&subject_token={user}{kind}jwt"), "invalid_target"),
        (form(&user, "&audience=https%3A%2F%2Fother.example.org"), "invalid_target"),
        (form(&user, "&scope=%22"), "invalid_scope"),
        (form(&user, "&scope=write"), "invalid_scope"),
        (form(&user, "&client_secret=x"), "invalid_request"),
        (form(&user, "").replace("tickets", "nowhere"), "invalid_target"),
    ] {
        let answer = post(&daemon, &good, &body);
        assert_eq!((answer.status, answer.error().as_str()), (400, code), "{}", answer.body);
        assert!(!answer.body.contains("eyJ"), "no echo");
    }
    let answer = post(&daemon, FORM_HEAD, &form(&user, ""));
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_dpop_proof"));
    let answer = post(&daemon, &good, &form(&"a".repeat(64 << 10), ""));
    assert_eq!(answer.status, 413);
    assert_eq!(post(&daemon, &good, &form(&user, "")).status, 200, "the proof is as good as new");
    let metadata: Value = serde_json::from_str(&get(&daemon, "/.well-known/oauth-authorization-server").body).unwrap();
    assert!(
        metadata["grant_types_supported"]
            .as_array()
            .unwrap()
            .contains(&"urn:ietf:params:oauth:grant-type:token-exchange".into())
    );
    daemon.must_serve("all of it");
}

/// The confused deputy: whoever makes the agent present a token that is not for it, gets nothing through it. All have one
/// answer, and their own reasons in the log.
#[test]
fn a_deputy_is_not_confused() {
    let (login, stranger) = (Login::new(), Login::new());
    let (daemon, prover, thief) = (deputy(&login), Prover::generate().unwrap(), Prover::generate().unwrap());
    let own = token(&daemon, &prover);
    let forged = {
        let good = login.token(json!({}));
        let (begin, _) = good.rsplit_once('.').unwrap();
        let (_, signature) = own.rsplit_once('.').unwrap();
        format!("{begin}.{signature}")
    };
    let jkt = |prover: &Prover| json!({ "jkt": prover.thumbprint().to_string() });
    let chain = json!({ "sub": "a", "act": { "sub": "b", "act": { "sub": "c", "act": { "sub": "d" } } } });
    let (mut texts, mut all) = (Vec::new(), Vec::new());
    for (presented, by, reason) in [
        (own.clone(), &thief, "subject_binding"),
        (login.token(json!({ "cnf": jkt(&thief) })), &prover, "subject_binding"),
        (login.token(json!({ "cnf": { "x5t#S256": "AA" } })), &prover, "subject_binding"),
        (login.token(json!({ "aud": "https://mail.test" })), &prover, "subject_audience"),
        (login.token(json!({ "aud": [US, "https://mail.test"] })), &prover, "subject_audience"),
        (login.token(json!({ "aud": TOKEN })), &prover, "subject_audience"),
        (login.token(json!({ "may_act": { "sub": "spiffe://example.org/other" } })), &prover, "subject_may_act"),
        (login.token(json!({ "iss": "https://other.test" })), &prover, "subject_issuer"),
        (login.token(json!({ "iss": US })), &prover, "subject_malformed"),
        (login.token(json!({ "sub": "spiffe://example.org/reporter" })), &prover, "subject_name"),
        (login.token(json!({ "sub": "SPIFFE://Example.Org/reporter" })), &prover, "subject_name"),
        (login.token(json!({ "exp": null })), &prover, "subject_claim"),
        (login.token(json!({ "exp": 1 })), &prover, "subject_expired"),
        (login.token(json!({ "nbf": 4_000_000_000_u64 })), &prover, "subject_not_yet"),
        (login.token(json!({ "act": chain })), &prover, "subject_actors"),
        (stranger.token(json!({})), &prover, "subject_signature"),
        (forged, &prover, "subject_signature"),
        (format!("{}.", login.token(json!({})).rsplit_once('.').unwrap().0), &prover, "subject_signature"),
        ("x".to_owned(), &prover, "subject_malformed"),
    ] {
        let answer = exchange(&daemon, by, &presented, "");
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_request"), "{reason}: {}", answer.body);
        assert_eq!(reasons(&daemon), json!([reason]));
        texts.push(answer.body);
        all.push(presented);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "one text: {texts:?}");
    must_not_tell(&daemon, &all);
    // Bound to the key of the proof it is good, and so is one that names this agent.
    for good in [json!({ "cnf": jkt(&prover) }), json!({ "may_act": { "sub": "spiffe://example.org/reporter" } })] {
        assert_eq!(exchange(&daemon, &prover, &login.token(good), "").status, 200);
    }
    // Our own: not for another tool, and not after what it rests on was taken away.
    daemon.cli(&["tool", "add", "mail", "--audience", "https://mail.example.org", "--scope", "read=read"]);
    daemon.cli(&["grant", "add", "reporter", "mail", "--scope", "read"]);
    let body = form(&own, "").replace("tickets", "mail");
    let answer = post(&daemon, &format!("{FORM_HEAD}DPoP: {}\r\n", proof(&daemon, &prover)), &body);
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_target"));
    assert_eq!(exchange(&daemon, &prover, &own, "").status, 200);
    let id = claims_of(&own)["jti"].as_str().unwrap().to_owned();
    daemon.cli(&["revoke", "token", &id]);
    let answer = exchange(&daemon, &prover, &own, "");
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_request"));
    assert_eq!(reasons(&daemon), json!(["subject_revoked"]));
    let own = token(&daemon, &prover);
    daemon.cli(&["agent", "suspend", "reporter"]);
    let answer = exchange(&daemon, &prover, &own, "");
    assert_eq!((answer.status, answer.error().as_str()), (400, "unauthorized_client"));
    daemon.cli(&["agent", "resume", "reporter"]);
    daemon.cli(&["grant", "update", "reporter/tickets", "--scope", "write"]);
    let answer = exchange(&daemon, &prover, &own, "");
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_request"));
    assert_eq!(reasons(&daemon)[0], "subject_revoked");
    daemon.must_serve("all of it");
}

/// What the README says, with another file and another issuer.
#[test]
fn a_users_token_from_which_none_can_be_made_is_the_requests_fault() {
    let login = Login::new();
    let (daemon, prover) = (deputy(&login), Prover::generate().unwrap());
    let long = |first: &str| first.repeat(512);
    let chain = json!({ "sub": long("b"), "act": { "sub": long("c"), "act": { "sub": long("d") } } });
    let answer = exchange(&daemon, &prover, &login.token(json!({ "sub": long("a"), "act": chain })), "&scope=read");
    let said = (answer.status, answer.error(), answer.body.contains("subject token"));
    assert_eq!(said, (400, "invalid_request".to_owned(), true), "{}", answer.body);
    assert_eq!(reasons(&daemon), json!(["token_too_long"]));
    let answer = exchange(&daemon, &prover, &login.token(json!({ "sub": long("a") })), "&scope=read");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn the_readme_exchanges_a_users_token() {
    const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let (login, at) = (Login::new(), "[[token.user_issuer]]\n");
    let config = README.split_once(at).and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let file = login.folder.path().join("jwks");
    let config = config.replace("/etc/dayfly/login.example.org.jwks.json", file.to_str().unwrap());
    let config = config.replace("https://login.example.org", LOGIN);
    let daemon = agent_with(&format!("{at}{config}"));
    let user = daemon.home().join("user.jwt");
    std::fs::write(&user, login.token(json!({}))).unwrap();
    let line = README.lines().find(|line| line.starts_with("dayfly token exchange ")).unwrap();
    let (exchange, inspect) = line.split_once(" | ").unwrap();
    let words = exchange.replace("/run/reporter/user.jwt", user.to_str().unwrap());
    let token = daemon.cli(&words.split(' ').skip(1).collect::<Vec<_>>());
    let kept = daemon.home().join("token");
    std::fs::write(&kept, token).unwrap();
    let words: Vec<_> = inspect.split(' ').skip(1).chain([kept.to_str().unwrap()]).collect();
    let shown = daemon.cli(&words);
    for word in ["ada", LOGIN, "spiffe://example.org/reporter", AUDIENCE] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[test]
fn by_grpc_it_is_the_same_and_the_token_is_not_in_the_arguments() {
    let login = Login::new();
    let daemon = deputy(&login);
    let file = daemon.home().join("user.jwt");
    std::fs::write(&file, login.token(json!({}))).unwrap();
    let file = file.to_str().unwrap();
    let exchange = |file: &str| {
        daemon.try_cli(&["token", "exchange", "--subject-token-file", file, "--tool", "tickets", "--scope", "read"])
    };
    let done = exchange(file);
    assert!(done.status.success(), "{done:?}");
    let token = String::from_utf8(done.stdout).unwrap();
    let claims = claims_of(&token);
    assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&"ada".into(), &"spiffe://example.org/reporter".into()));
    let headers = daemon.cli(&["token", "header", "GET", URL, "--subject-token-file", file]);
    assert!(headers.starts_with("Authorization: DPoP eyJ"), "{headers}");
    std::fs::write(file, login.token(json!({ "aud": "https://mail.test" }))).unwrap();
    let refused = exchange(file);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{words}");
    assert!(words.contains("not exchanged: invalid_request: the subject token is refused"), "{words}");
    assert_eq!(reasons(&daemon), json!(["subject_audience"]));
    let refused = exchange(&login.token(json!({})));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("a token on the command line can be read"), "{words}");
    assert!(refused.status.code() == Some(2) && !words.contains("eyJ"), "{words}");
}

#[test]
fn keys_that_the_issuer_has_changed_count_after_a_sighup_and_bad_ones_never() {
    let (login, prover) = (Login::new(), Prover::generate().unwrap());
    let daemon = deputy(&login);
    let next = Login { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), folder: Folder::new() };
    let (file, events) = (login.folder.path().join("jwks"), || {
        let all = daemon.audit();
        all.iter().filter_map(|record| record["event"].as_str()).filter(|event| event.starts_with("config")).count()
    });
    let reread = |bytes: &str| {
        let before = events();
        std::fs::write(&file, bytes).unwrap();
        kill(Pid::from_raw(daemon.pid()), Signal::SIGHUP).unwrap();
        eventually("it is read", || events() > before);
    };
    let status = |login: &Login| exchange(&daemon, &prover, &login.token(json!({})), "").status;
    assert_eq!((status(&login), status(&next)), (200, 400));
    reread("{}");
    assert_eq!((status(&login), status(&next)), (200, 400), "what is no key set changes nothing");
    reread(&next.jwks());
    assert_eq!((status(&login), status(&next)), (400, 200));
    let last = daemon.audit().into_iter().rfind(|record| record["event"] == "config_read").unwrap();
    assert!(last["detail"].as_str().unwrap().starts_with("changed: token.user_issuer;"), "{last}");
    std::fs::write(daemon.home().join("dayfly.toml"), "").unwrap();
    reread("");
    assert_eq!((status(&login), status(&next)), (400, 400), "nobody is pinned any more");
}

#[test]
fn an_issuer_whose_keys_are_no_keys_is_told_by_a_check() {
    let login = Login::new();
    let (home, file) = (Folder::new(), login.folder.path().join("jwks"));
    std::fs::write(home.path().join("dayfly.toml"), login.config()).unwrap();
    let check = || {
        let args = ["daemon", "--trust-domain", "example.org", "--check", "--home"];
        let done = std::process::Command::new(DAYFLY).args(args).arg(home.path()).output().unwrap();
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (is_right, words) = check();
    assert!(is_right, "{words}");
    for (bytes, expected) in [
        ("{\"keys\":[]}".to_owned(), "no key that can be used"),
        (login.jwks().replace("\"kty\"", "\"d\":\"AA\",\"kty\""), "private or secret"),
        ("no".to_owned(), "cannot be read"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let (is_right, words) = check();
        assert!(!is_right && words.contains(expected) && words.contains(LOGIN) && words.contains("hint:"), "{words}");
    }
    std::fs::remove_file(&file).unwrap();
    let (is_right, words) = check();
    assert!(!is_right && words.contains("No such file"), "{words}");
}

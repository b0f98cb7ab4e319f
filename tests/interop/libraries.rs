//! JWT-SVIDs through libraries that know nothing of SPIFFE: PyJWT believes ours and npm's jose does, and we theirs.
//!
//! Each is driven by a script, `tokens.py` and `tokens.mjs`, that takes a request on stdin and gives its answer on stdout.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use super::{
    common::{
        Daemon,
        h2raw::INVALID_ARGUMENT,
        messages::{ToValidate, Validated, ask},
        own_uid,
    },
    from_environment,
};

const AUDIENCE: &str = "aud-a";
/// What a library makes that we believe.
const GOOD: [&str; 6] = ["as it should be", "no typ", "typ JOSE", "audience as a text", "claims of its own", "no kid"];
/// What else we believe of a foreign trust domain, each signed by a key for it.
const ALGORITHMS: [&str; 8] = ["ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
/// What it makes that we refuse, and the code that says why.
const BAD: [(&str, &str); 17] = [
    ("alg none", "algorithm"),
    ("alg HS256 with the public key", "algorithm"),
    ("alg of another curve", "key_mismatch"),
    ("another's key", "signature"),
    ("unknown kid", "unknown_key"),
    ("typ at+jwt", "type"),
    ("typ wit+jwt", "type"),
    ("crit", "header"),
    ("jwk in the header", "header"),
    ("expired", "expired"),
    ("not valid yet", "not_yet_valid"),
    ("no exp", "expiry_missing"),
    ("no aud", "audience_malformed"),
    ("other audiences", "audience"),
    ("no sub", "subject"),
    ("sub of no workload", "subject"),
    ("sub of another trust domain", "unknown_trust_domain"),
];
/// What else we refuse of a foreign trust domain.
const BAD_OF_OTHERS: [(&str, &str); 2] = [("sub of our trust domain", "unknown_key"), ("EdDSA", "algorithm")];

/// A library behind its script.
struct Library(Vec<String>);

impl Library {
    fn ask(&self, verb: &str, request: &Value) -> Value {
        let (program, before) = self.0.split_first().unwrap();
        let mut child = Command::new(program)
            .args(before)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {verb}: what it says is above");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it says to tokens, each for an audience and so many seconds from now.
    fn judge(&self, bundle: &Value, questions: &[(String, &str, u32)]) -> Vec<Value> {
        let questions: Vec<_> = questions
            .iter()
            .map(|(token, audience, later)| json!({"token": token, "audience": audience, "later": later}))
            .collect();
        let answers = self.ask("judge", &json!({"bundle": bundle, "questions": questions}));
        assert_eq!(answers.as_array().unwrap().len(), questions.len());
        answers.as_array().unwrap().clone()
    }

    /// It believes our token: all of it, for its audience and in its time, and nothing else.
    fn believes_ours(&self, config: &str, algorithm: &str) {
        let daemon = Daemon::start(config);
        daemon.entry("spiffe://example.org/peer", &[&own_uid()], &[]);
        let token = daemon.cli(&["fetch", "jwt", "--audience", AUDIENCE, "--audience", "aud-b"]);
        let header = token.split('.').next().unwrap();
        let header: Value = serde_json::from_slice(&BASE64URL_NOPAD.decode(header.as_bytes()).unwrap()).unwrap();
        assert_eq!(header["alg"], algorithm);
        let bundle: Value = serde_json::from_str(&daemon.cli(&["fetch", "bundle", "--format", "spiffe"])).unwrap();
        let uses: BTreeSet<_> = bundle["keys"].as_array().unwrap().iter().map(|key| key["use"].as_str()).collect();
        assert_eq!(uses, BTreeSet::from([Some("jwt-svid"), Some("x509-svid")]), "the whole document is given");

        let believed = json!({"sub": "spiffe://example.org/peer"});
        let asked = [(token.clone(), AUDIENCE, 0), (token.clone(), "aud-b", 0), (token.clone(), AUDIENCE, 200)];
        assert_eq!(self.judge(&bundle, &asked), vec![believed; 3]);

        let asked = [(token.clone(), "aud-c", 0), (token.clone(), AUDIENCE, 400)];
        self.must_refuse(&bundle, &asked);
        let other = Daemon::start(config);
        other.entry("spiffe://example.org/peer", &[&own_uid()], &[]);
        let of_other: Value = serde_json::from_str(&other.cli(&["fetch", "bundle", "--format", "spiffe"])).unwrap();
        self.must_refuse(&of_other, &asked_once(&token));
        let altered: Vec<_> = (0..token.len()).flat_map(|at| asked_once(&altered(&token, at))).collect();
        self.must_refuse(&bundle, &altered);
    }

    fn must_refuse(&self, bundle: &Value, asked: &[(String, &str, u32)]) {
        for (answer, question) in self.judge(bundle, asked).iter().zip(asked) {
            assert!(answer["refused"].is_string(), "{question:?}: {answer}");
        }
    }

    /// We believe its tokens as those of a trust domain that the caller's entry federates with.
    fn is_believed_as_a_foreign_trust_domain(&self) {
        let daemon = Daemon::start("");
        let made = self.ask("make", &json!({"subject": "spiffe://other.test/them", "audience": AUDIENCE}));
        let file = daemon.home().join("other.json");
        fs::write(&file, json!({"keys": made["keys"]}).to_string()).unwrap();
        daemon.cli(&["bundle", "set", "other.test", file.to_str().unwrap()]);
        daemon.entry("spiffe://example.org/peer", &[&own_uid()], &["--federates-with", "other.test"]);
        let good = GOOD.iter().chain(&ALGORITHMS).copied();
        check(&daemon, &made, "spiffe://other.test/them", good, BAD.iter().chain(&BAD_OF_OTHERS));
        daemon.cli(&["bundle", "delete", "other.test", "--force"]);
        let verdict = Verdict::of(&daemon, made["tokens"]["as it should be"].as_str().unwrap());
        assert_eq!(verdict, Verdict::Refused("unknown_trust_domain".to_owned()), "its bundle is gone");
    }

    /// We believe what it signs with our own key, taken from the daemon's state.
    fn is_believed_with_our_key(&self) {
        let daemon = Daemon::start("");
        daemon.entry("spiffe://example.org/peer", &[&own_uid()], &[]);
        let set: Value =
            serde_json::from_str(&daemon.cli(&["fetch", "bundle", "--kind", "jwt", "--format", "spiffe"])).unwrap();
        let kid = set["keys"][0]["kid"].as_str().unwrap();
        let pkcs8 = BASE64.encode(&fs::read(daemon.home().join(format!("state/keys/{kid}.key"))).unwrap());
        let own = json!({"kid": kid, "pkcs8": pkcs8});
        let request = json!({"subject": "spiffe://example.org/any", "audience": AUDIENCE, "own": own});
        let made = self.ask("make", &request);
        for (name, value) in made["keys"][0].as_object().unwrap() {
            assert_eq!(set["keys"][0][name], *value, "the key that the daemon publishes");
        }
        check(&daemon, &made, "spiffe://example.org/any", GOOD.iter().copied(), BAD.iter());
    }
}

fn asked_once(token: &str) -> Vec<(String, &'static str, u32)> {
    vec![(token.to_owned(), AUDIENCE, 0)]
}

/// Another character in one place, and other bits with it: the high one of the six is never spare.
fn altered(token: &str, at: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = token.as_bytes().to_vec();
    let value = ALPHABET.iter().position(|one| *one == bytes[at]);
    bytes[at] = value.map_or(b'A', |value| ALPHABET[value ^ 32]);
    String::from_utf8(bytes).unwrap()
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Whose token it is.
    Believed(String),
    /// The command line's code for why not.
    Refused(String),
}

impl Verdict {
    /// The Workload API's, and the command line's, which must be the same.
    fn of(daemon: &Daemon, token: &str) -> Self {
        let request = ToValidate { audience: AUDIENCE.to_owned(), svid: token.to_owned() };
        let answer = ask::<Validated>(&daemon.socket(), "ValidateJWTSVID", &request).unwrap();
        let file = daemon.home().join("token");
        fs::write(&file, token).unwrap();
        let words = ["validate", "jwt", file.to_str().unwrap(), "--audience", AUDIENCE, "--output", "json"];
        let output = daemon.try_cli(&words);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        match answer {
            Ok(validated) => {
                assert_eq!((said["valid"].as_bool(), text("spiffe_id")), (Some(true), validated.spiffe_id.clone()));
                Self::Believed(validated.spiffe_id)
            }
            Err(answer) => {
                assert_eq!(answer.code(), Some(INVALID_ARGUMENT), "{answer:?}");
                assert_eq!((said["valid"].as_bool(), output.status.code()), (Some(false), Some(7)), "{said}");
                Self::Refused(text("code"))
            }
        }
    }
}

/// The daemon believes and refuses of what a library made just what it should, and no case is left out.
fn check<'a>(
    daemon: &Daemon,
    made: &Value,
    subject: &str,
    good: impl Iterator<Item = &'a str>,
    bad: impl Iterator<Item = &'a (&'a str, &'a str)>,
) {
    let good = good.map(|case| (case.to_owned(), Verdict::Believed(subject.to_owned())));
    let bad = bad.map(|(case, code)| ((*case).to_owned(), Verdict::Refused((*code).to_owned())));
    let expected: BTreeMap<_, _> = good.chain(bad).collect();
    let tokens = made["tokens"].as_object().unwrap().iter();
    let found: BTreeMap<_, _> =
        tokens.map(|(case, token)| (case.clone(), Verdict::of(daemon, token.as_str().unwrap()))).collect();
    assert_eq!(found, expected);
}

fn pyjwt() -> Option<Library> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/py/tokens.py");
    Some(Library(vec![from_environment("DAYFLY_PYTHON")?, script.display().to_string()]))
}

/// jose is found beside the script, wherever that is.
fn jose() -> Option<Library> {
    let folder = from_environment("DAYFLY_NODE")?;
    Some(Library(vec!["node".to_owned(), format!("{folder}/tokens.mjs")]))
}

const P384: &str = "[authority]\nalgorithm = \"p384\"\n";

#[test]
fn pyjwt_believes_our_tokens() {
    if let Some(library) = pyjwt() {
        library.believes_ours("", "ES256");
        library.believes_ours(P384, "ES384");
    }
}

#[test]
fn pyjwt_is_believed_as_a_foreign_trust_domain() {
    if let Some(library) = pyjwt() {
        library.is_believed_as_a_foreign_trust_domain();
    }
}

#[test]
fn pyjwt_is_believed_with_our_key() {
    if let Some(library) = pyjwt() {
        library.is_believed_with_our_key();
    }
}

#[test]
fn jose_believes_our_tokens() {
    if let Some(library) = jose() {
        library.believes_ours("", "ES256");
        library.believes_ours(P384, "ES384");
    }
}

#[test]
fn jose_is_believed_as_a_foreign_trust_domain() {
    if let Some(library) = jose() {
        library.is_believed_as_a_foreign_trust_domain();
    }
}

#[test]
fn jose_is_believed_with_our_key() {
    if let Some(library) = jose() {
        library.is_believed_with_our_key();
    }
}

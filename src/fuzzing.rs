//! The door for fuzzing, which is not in the product: each function takes bytes as a stranger would send
//! them, checks what must hold whatever they are, and answers whether they were accepted.
//!
//! A target in `fuzz/fuzz_targets/` is one call of a function here; `fuzz/corpus/NAME/` holds what it begins
//! with, and the tests below run all of that. A room that parses foreign bytes adds its function, its
//! target and its corpus.

#![expect(clippy::expect_used, reason = "what must hold ends the run when it does not")]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use prost::Message as _;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    api::{List, amendment, authz::sent_by_envoy, entry_id, new_draft, order},
    daemon::replace::Message,
    issuance::{
        AUDIENCE_BYTES_MAX, Audiences, Question, Wanted,
        foreign::{self, DOCUMENT_BYTES_MAX},
    },
    oauth::{
        CERTIFICATE_BYTES_MAX, Certificate, CertificateHash, Scope, Thumbprint, TokenHash,
        access::{self, Draft as TokenDraft, DraftError},
        dpop::{PROOF_BYTES_MAX, TOKEN_ID_BYTES, Unproved},
        exchange::{Believed, Expected, Parent, TokenType},
        foreign as foreign_token,
        issuer::{self, Issuer, IssuerName, Issuers},
        target::{Base, Route, Target, URL_BYTES_MAX},
        wpt,
    },
    pb,
    registry::{Draft, Selector, Selectors, Template},
    spiffe::{
        ID_BYTES_MAX, Id, TrustDomain, document,
        jose::{Jwk, Signer, SigningAlgorithm, TOKEN_BYTES_MAX, Unverified},
        json::{self, agreement::is_shared},
        jwt, wit,
        x509::{
            Bundle, Bundles, Leaf, Purpose, check_authority, check_authority_profile, check_profile, check_readable,
            split, verify,
        },
    },
    sys::{
        frames::{Inbound, Outbound},
        hpack::clean_authority,
        proc::{GROUPS_MAX, parse_cgroup, parse_stat, parse_status},
    },
};

/// SPIFFE IDs: what is accepted is kept byte for byte, and made of parts that are accepted themselves.
#[must_use]
pub fn id(bytes: &[u8]) -> bool {
    let trust_domain = TrustDomain::from_id_bytes(bytes);
    let Ok(id) = Id::from_bytes(bytes) else {
        if let Ok(trust_domain) = &trust_domain {
            assert_eq!(trust_domain.id().as_bytes(), bytes);
            assert_eq!(TrustDomain::parse(trust_domain.as_str()).as_ref(), Ok(trust_domain));
        }
        return trust_domain.is_ok();
    };
    assert!(trust_domain.is_err(), "one text is two kinds of ID");
    assert!(bytes.is_ascii() && bytes.len() <= ID_BYTES_MAX);
    assert_eq!(id.as_str().as_bytes(), bytes);
    assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), id.as_str());
    let segments = id.path().split('/').skip(1);
    assert_eq!(Id::join(&id.trust_domain(), segments).as_ref(), Ok(&id));
    assert_eq!(Id::parse(id.as_str()).as_ref(), Ok(&id));
    true
}

/// Selectors: what is accepted is kept byte for byte, and is made of a kind and a value.
#[must_use]
pub fn selector(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    match Selector::parse(text) {
        Ok(selector) => {
            assert_eq!(selector.as_str(), text);
            assert_eq!(Selector::new(selector.kind(), selector.value()).as_ref(), Ok(&selector));
            assert!(!selector.kind().contains(':') && !selector.value().is_empty());
            assert!(!text.chars().any(char::is_control) && text.len() <= Selector::BYTES_MAX);
            assert!(selector.unix("supplementary_group").is_none() || selector.image().is_none());
            true
        }
        Err(refusal) => {
            let words = refusal.to_string();
            assert!(words.len() < 512, "a refusal repeats a long text");
            false
        }
    }
}

/// Templates of SPIFFE IDs, the first line, and the selectors of a caller, the others: what comes out is an ID that has
/// the literal parts where they were written and the caller's values between them.
#[must_use]
pub fn template(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut lines = text.split('\n');
    let Ok(template) = Template::parse(lines.next().unwrap_or_default()) else { return false };
    assert!(Id::parse(template.as_str()).is_err(), "one text is a template and an ID");
    assert!(template.overlaps(&template));
    let have: Selectors = lines.filter_map(|line| Selector::parse(line).ok()).collect();
    let Ok(id) = template.id_of(&have) else { return false };
    assert_eq!(Id::parse(id.as_str()).as_ref(), Ok(&id));
    assert_eq!(id.trust_domain(), *template.trust_domain());
    let (written, made) = (template.as_str().split('/'), id.as_str().split('/'));
    assert_eq!(written.clone().count(), made.clone().count());
    for (at, (written, made)) in written.zip(made).enumerate() {
        match written.strip_prefix("{unix:").and_then(|name| name.strip_suffix('}')) {
            None => assert_eq!(written, made),
            Some(name) => {
                assert!(at > 3, "the first segment is literal");
                let values: Vec<_> = have.iter().filter_map(|selector| selector.unix(name)).collect();
                assert_eq!(values, [made]);
            }
        }
    }
    true
}

/// What a process that takes a daemon's place says to it, and hears: what is accepted is written as it was meant, and
/// fits a message again.
#[must_use]
pub fn replace(bytes: &[u8]) -> bool {
    let Some(message) = Message::parse(bytes) else { return false };
    let written = message.to_bytes();
    assert_eq!(Message::parse(&written).as_ref(), Some(&message));
    true
}

/// Certificates in a row, verified as a peer's chain. The last of them is the only authority that the
/// verifier knows, so that an input is complete in itself.
#[must_use]
pub fn x509(bytes: &[u8]) -> bool {
    let Ok(mut chain) = split(bytes) else { return false };
    assert_eq!(chain.concat(), bytes);
    for certificate in &chain {
        read_alone(certificate);
    }
    let Some(authority) = chain.pop() else { return false };
    let own = TrustDomain::parse("example.org").expect("a good name");
    let Ok(bundle) = Bundle::new(own.clone(), vec![authority]) else { return false };
    assert_eq!(Bundle::from_der(own.clone(), bundle.der()).as_ref(), Ok(&bundle));
    let bundles = Bundles::from_iter([bundle]);
    // 2027-01-15 08:00:00 UTC: the certificates of the corpus are of that day.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let Ok(leaf) = verify(&chain, &bundles, Purpose::Any, now) else { return false };
    assert!(leaf.id.is_in(&own));
    assert!(leaf.not_before <= now && now <= leaf.not_after);
    compare(&leaf, chain.first().expect("a verified chain has a leaf"));
    // Nothing holds without the bundle, or in another's.
    assert!(verify(&chain, &Bundles::empty(), Purpose::Any, now).is_err());
    true
}

/// A token, as whoever calls a validator sends it: judged as a JWT-SVID and as a WIT-SVID, with the key of RFC 7515
/// A.3 for both. Answers whether it is one of them.
#[must_use]
pub fn jws(bytes: &[u8]) -> bool {
    let Ok(token) = str::from_utf8(bytes) else { return false };
    let own = TrustDomain::parse("example.org").expect("a good name");
    let key = Jwk::parse(RFC_7515_A_3).expect("a good key");
    let jwt_keys = jwt::Bundle::new(own.clone(), [("k1".to_owned(), key.clone())]).expect("one key");
    let wit_keys = wit::Bundle::new(own.clone(), [("k1".to_owned(), key)]).expect("one key");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let expected = jwt::Expected { audience: "aud1", now, leeway: Duration::ZERO };
    let jwt = jwt::validate(token, &expected, |_| Some((&jwt_keys).into()));
    let wit = wit::verify(token, now, Duration::ZERO, |_| Some(&wit_keys));
    assert!(jwt.is_err() || wit.is_err(), "one token is of two kinds");
    assert!(
        jwt::validate(token, &expected, |_| None).is_err()
            && wit::verify(token, now, Duration::ZERO, |_| None).is_err()
    );
    if Unverified::parse(token).is_err() {
        assert!(jwt.is_err() && wit.is_err());
        return false;
    }
    check_compact(token);
    if let Ok(validated) = &jwt {
        assert!(validated.id.is_in(&own) && validated.expires_at > now && validated.claims.has("aud"));
    }
    if let Ok(unproved) = &wit {
        assert!(unproved.key().algorithm().is_some());
    }
    jwt.is_ok() || wit.is_ok()
}

/// There is one spelling of a compact JWS, and another reader sees the same in it.
fn check_compact(token: &str) {
    assert!(token.len() <= TOKEN_BYTES_MAX && token.is_ascii());
    let parts = token.split('.').map(|part| BASE64URL_NOPAD.decode(part.as_bytes()));
    let parts: Vec<_> = parts.collect::<Result<_, _>>().expect("each part is base64url");
    assert_eq!(parts.iter().map(|part| BASE64URL_NOPAD.encode(part)).collect::<Vec<_>>().join("."), token);
    for part in parts.iter().take(2) {
        assert!(is_shared(&json::parse(part, TOKEN_BYTES_MAX).expect("it was read"), part));
    }
}

/// The value of a `DPoP` header: what is read is no token of another kind, and what is proved is what was read.
#[must_use]
pub fn proof(bytes: &[u8]) -> bool {
    let Ok(value) = str::from_utf8(bytes) else { return false };
    let Ok(unproved) = Unproved::parse(value) else { return false };
    assert!(value.len() <= PROOF_BYTES_MAX && value.split('.').count() == 3);
    check_compact(value);
    assert!(access::Unverified::parse(value).is_err() && Unverified::parse(value).is_err());
    let (key, nonce) = (unproved.thumbprint(), unproved.nonce().map(str::to_owned));
    assert!(nonce.is_none_or(|nonce| nonce.bytes().all(|byte| byte.is_ascii_graphic())));
    if let Ok(proof) = unproved.prove() {
        assert_eq!(proof.thumbprint(), key);
        assert!(TOKEN_ID_BYTES.contains(&proof.token_id().len()));
    }
    true
}

/// A workload proof token. It is nothing else, and is for one WIT-SVID alone. Answers whether it can be read.
#[must_use]
pub fn wpt(bytes: &[u8]) -> bool {
    let Ok(value) = str::from_utf8(bytes) else { return false };
    let Ok(unproved) = wpt::Unproved::parse(value) else { return false };
    assert!(value.len() <= wpt::PROOF_BYTES_MAX && value.split('.').count() == 3);
    check_compact(value);
    assert!(Unproved::parse(value).is_err() && access::Unverified::parse(value).is_err());
    assert!(TOKEN_ID_BYTES.contains(&unproved.token_id().len()));
    let target = Target::parse("https://api.example.org/items").expect("a good URL");
    let check = |token: &str, now: SystemTime| {
        let (workload_token, lifetime_max) = (TokenHash::of(token), Duration::from_secs(60));
        let expected = wpt::Expected { target: &target, workload_token, transaction_token: None, lifetime_max, now };
        unproved.check(&expected)
    };
    let (end, second) = (unproved.expires_at(), Duration::from_secs(1));
    assert!(check("one", end).is_err() && (check("one", end - second).is_err() || check("two", end - second).is_err()));
    true
}

/// What Envoy asks about a request: no part of its URL is read as a part of another, and no line of a header is lost.
/// Answers whether it is a request.
#[must_use]
pub fn check(bytes: &[u8]) -> bool {
    let Ok(asked) = pb::envoy::service::auth::v3::CheckRequest::decode(bytes) else { return false };
    let attributes = asked.attributes.unwrap_or_default();
    let Ok(sent) = sent_by_envoy(&attributes) else { return false };
    let Ok(target) = sent.target() else { return false };
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref()).expect("it was read");
    let alone = |url: String| Target::parse(&url).expect("a part of what was read");
    assert_eq!(target.origin(), alone(format!("{}://{}", http.scheme, http.host)).origin(), "the host is the host");
    assert_eq!(target.path(), alone(format!("https://a.example{}", http.path)).path(), "the path is the path");
    let request = sent.request(&target);
    let lines = http.header_map.iter().flat_map(|map| &map.headers).map(|line| line.key.as_str());
    let names: Vec<_> = lines.chain(http.headers.keys().map(String::as_str)).collect();
    let count = |wanted: &str| names.iter().filter(|name| name.eq_ignore_ascii_case(wanted)).count();
    assert_eq!((request.authorization.len(), request.proofs.len()), (count("authorization"), count("dpop")));
    assert!(request.method.bytes().all(|byte| byte.is_ascii_graphic()) && !request.method.is_empty());
    true
}

/// An access token, judged with the key of RFC 7515 A.3 under the `kid` `dfly-fuzz`. What is read is written again as the
/// same. Answers whether it is good.
#[must_use]
pub fn access(bytes: &[u8]) -> bool {
    let Ok(token) = str::from_utf8(bytes) else { return false };
    let Ok(unverified) = access::Unverified::parse(token) else { return false };
    assert!(token.len() <= access::TOKEN_BYTES_MAX && token.starts_with(access::CONSTANT_PREFIX));
    check_compact(token);
    assert!(Unproved::parse(token).is_err());
    let read = unverified.unverified_claims().clone();
    let draft = TokenDraft {
        issuer: &read.issuer,
        subject: &read.subject,
        audience: &read.audience,
        client: &read.client,
        scopes: &read.scopes,
        key: read.key,
        session: read.session.as_deref(),
        token_id: read.token_id,
        expires_at: read.expires_at,
    };
    let again = access::issue(&draft, &Unsigned, read.issued_at).expect("what is read can be written");
    let again = access::Unverified::parse(&again).expect("what is written can be read");
    assert_eq!(*again.unverified_claims(), read);
    let key = Jwk::parse(RFC_7515_A_3).expect("a good key");
    let own = TrustDomain::parse("example.org").expect("a good name");
    let keys = access::Keys::new(own, [("dfly-fuzz".to_owned(), key)]).expect("one key");
    assert!(again.verify(&read.issuer, &keys).is_err(), "it is not signed");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let judged = unverified.verify("https://example.org/oauth", &keys);
    judged.is_ok_and(|claims| claims.check("https://api.example.org", now).is_ok())
}

/// An access token of another issuer, `https://login.test`, which has the key of RFC 7515 A.3 under the `kid` `fuzz`. It is
/// none of ours, and never good for long. Answers whether it is good.
#[must_use]
pub fn foreign_token(bytes: &[u8]) -> bool {
    let Ok(token) = str::from_utf8(bytes) else { return false };
    let Ok(unverified) = foreign_token::Unverified::parse(token) else { return false };
    assert!(token.len() <= issuer::TOKEN_BYTES_MAX && Unproved::parse(token).is_err());
    check_compact(token);
    let claims = unverified.unverified_claims().clone();
    assert!(
        claims.issued_at < claims.expires_at && claims.issued_at + foreign_token::LIFETIME_MAX >= claims.expires_at
    );
    assert!((1..=foreign_token::AUDIENCES_MAX).contains(&claims.audiences.len()));
    let (issuer, end) = (login(), claims.expires_at);
    for audience in &claims.audiences {
        assert!(claims.check(audience, end).is_err(), "its end is its end");
        let early = claims.issued_at - foreign_token::LEEWAY - Duration::from_secs(1);
        assert!(claims.check(audience, early).is_err(), "it is not good before it is issued");
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let Ok(read) = unverified.verify(&issuer) else { return false };
    assert!(read == claims && read.issuer == "https://login.test");
    read.check("https://api.example.org", now).is_ok()
}

/// A client's certificate as a proxy says it, PEM that may be percent-encoded: escaped once more it is the same, and
/// nothing that a URL could not hold is lost. Answers whether it is one.
#[must_use]
pub fn certificate(bytes: &[u8]) -> bool {
    let read = Certificate::Pem(bytes).hash();
    let Ok(hash) = read else { return false };
    assert!(bytes.len() <= CERTIFICATE_BYTES_MAX && bytes.is_ascii());
    let plain = !bytes.contains(&b'%');
    let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
    let again = Certificate::Pem(escaped.as_bytes()).hash();
    assert!(!plain || again == Ok(hash) || escaped.len() > CERTIFICATE_BYTES_MAX);
    assert_eq!(CertificateHash::parse(&hash.to_string()), Some(hash));
    true
}

/// The issuer `https://login.test` with the key of RFC 7515 A.3.
fn login() -> Issuer {
    let set = String::from_utf8_lossy(RFC_7515_A_3).replacen('{', r#"{"kid":"fuzz","#, 1);
    let name = IssuerName::parse("https://login.test").expect("a good name");
    Issuer::read(name, format!(r#"{{"keys":[{set}]}}"#).as_bytes()).expect("one key").0
}

/// A token that is to be exchanged: one of ours as in [`access`], or one of a user whose issuer, `https://login.test`, has
/// the same key under the `kid` `fuzz`. What is read can be written as the subject of a token. Answers whether it is good.
#[must_use]
pub fn subject(bytes: &[u8]) -> bool {
    let Ok(token) = str::from_utf8(bytes) else { return false };
    let key = Jwk::parse(RFC_7515_A_3).expect("a good key");
    let trust_domain = TrustDomain::parse("example.org").expect("a good name");
    let keys = access::Keys::new(trust_domain.clone(), [("dfly-fuzz".to_owned(), key)]).expect("one key");
    let believed = Believed { keys: &keys, issuers: &Issuers::new([login()]).expect("one issuer") };
    let holder = Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").expect("a good name");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let expected = Expected { issuer: "https://example.org/oauth", trust_domain: &trust_domain, holder, now };
    let read = Parent::read(token, TokenType::Jwt, &believed, &expected);
    let Ok(parent) = read else { return false };
    check_compact(token);
    assert!(token.len() <= issuer::TOKEN_BYTES_MAX && parent.expires_at() > now);
    let (agent, scopes) = (Id::parse("spiffe://example.org/crew").expect("a good name"), [Scope::parse("a"); 1]);
    let subject = parent.subject(&agent);
    assert!(subject.agent().is_in(&trust_domain) || parent.own().is_some());
    let draft = TokenDraft {
        issuer: "https://example.org/oauth",
        subject: &subject,
        audience: "https://api.example.org",
        client: "crew",
        scopes: &scopes.into_iter().collect::<Result<_, _>>().expect("a good scope"),
        key: holder,
        session: parent.session(),
        token_id: access::TokenId([0; 16]),
        expires_at: now + Duration::from_secs(60),
    };
    match access::issue(&draft, &Unsigned, now) {
        Ok(again) => {
            let again = access::Unverified::parse(&again).expect("what is written can be read");
            assert_eq!(again.unverified_claims().subject, subject);
        }
        Err(error) => assert!(matches!(error, DraftError::TooLong(_)), "{error}"),
    }
    true
}

/// Who signs nothing.
struct Unsigned;

impl Signer for Unsigned {
    fn algorithm(&self) -> SigningAlgorithm {
        SigningAlgorithm::Es256
    }

    fn key_id(&self) -> &'static str {
        "dfly-fuzz"
    }

    fn sign(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(vec![0; 64])
    }
}

/// URLs of requests, proofs and tools, and routes: what is accepted has one spelling, which is accepted as the same.
#[must_use]
pub fn target(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    if let Ok(route) = Route::parse(text) {
        assert_eq!(Route::parse(&route.to_string()).as_ref(), Ok(&route));
        let written = route.to_string();
        let (method, path) = written.split_once(' ').expect("a method and a path");
        assert!(route.fits(method, path), "a star stands for itself, too");
        return true;
    }
    let Ok(read) = Target::parse(text) else {
        assert!(Target::parse_htu(text).is_err() && Base::parse(text).is_err());
        return false;
    };
    assert!(text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(Target::parse_htu(text).is_ok(), !text.contains('?'));
    let written = read.to_string();
    assert_eq!((Target::parse(&written).as_ref(), Target::parse_htu(&written).as_ref()), (Ok(&read), Ok(&read)));
    // Nothing that somebody might resolve, however often it is decoded.
    let segments: Vec<&str> = read.path().split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        assert!(!matches!(*segment, "." | "..") && (!segment.is_empty() || at + 1 == segments.len()));
        assert!(!segment.contains(['\\', ';', '?', '#']));
    }
    assert_eq!(
        read.has_encoded_slash(),
        text.split('?').next().is_some_and(|path| path.to_ascii_lowercase().contains("%2f"))
    );
    if let Ok(base) = Base::parse(text) {
        assert_eq!(Base::parse(&base.to_string()).as_ref(), Ok(&base));
        assert_eq!(base.relative(&read), Some("/"));
    }
    true
}

/// The bundle of a foreign trust domain as an admin gives it, JSON or PEM: what was taken is kept and read again as the
/// same, and every client reads it.
#[must_use]
pub fn foreign(bytes: &[u8]) -> bool {
    let (name, now) = (TrustDomain::parse("other.test").expect("a good name"), SystemTime::UNIX_EPOCH);
    let Ok(given) = foreign::read(&name, bytes, now) else { return false };
    assert!(bytes.len() <= DOCUMENT_BYTES_MAX && *given.document.trust_domain() == name);
    let authorities = given.document.x509().authorities();
    assert!(authorities.iter().all(|authority| check_readable(authority).is_ok()));
    assert!(!given.is_pem || (!authorities.is_empty() && given.document.jwt().is_empty()));
    let kept = given.document.to_json();
    if kept.len() <= DOCUMENT_BYTES_MAX {
        let again = foreign::read(&name, kept.as_bytes(), now).expect("what is kept is read again");
        assert_eq!(again.document, given.document);
        // What there was to say of what is used, as that an authority has expired, is said again; nothing else is.
        assert!(again.warnings.iter().all(|words| given.warnings.contains(words)));
    }
    true
}

/// A bundle document, a JWK Set, or a single JWK: what was read is written in one spelling, and read again as the same.
#[must_use]
pub fn bundle(bytes: &[u8]) -> bool {
    if let Ok(key) = Jwk::parse(bytes) {
        assert_eq!(Jwk::parse(key.to_json().as_bytes()).as_ref(), Ok(&key));
        assert_eq!(key.thumbprint().len(), 43);
        return true;
    }
    if let Ok(key) = Jwk::of_private(bytes) {
        assert_eq!(Jwk::parse(key.to_json().as_bytes()), Ok(key), "the public half alone");
        return true;
    }
    let own = TrustDomain::parse("example.org").expect("a good name");
    if let Ok((set, left_out)) = document::parse_set::<jwt::Profile>(own.clone(), bytes) {
        assert!(set.len() + left_out.len() <= document::ENTRIES_MAX);
        let again = document::parse_set::<jwt::Profile>(own.clone(), set.to_json().as_bytes());
        // The `alg` of a key is not written.
        assert_eq!(again.map(|(again, left_out)| (again.to_json(), left_out)), Ok((set.to_json(), Vec::new())));
    }
    let Ok(outcome) = document::parse(own.clone(), bytes) else { return false };
    let read = &outcome.document;
    let written = read.to_json();
    let again = document::parse(own.clone(), written.as_bytes()).expect("what we write is read");
    assert!(again.left_out.is_empty() && again.warnings.is_empty());
    assert_eq!(again.document.to_json(), written);
    assert_eq!((again.document.x509(), again.document.sequence()), (read.x509(), read.sequence()));
    assert!((document::REFRESH_MIN..=document::REFRESH_MAX).contains(&read.refresh_after()));
    assert!(read.jwt().keys().all(|(id, _)| !id.is_empty() && read.wit().key(id).is_none()));
    assert!(read.x509().authorities().iter().all(|authority| check_authority(authority).is_ok()));
    let used = read.x509().authorities().len() + read.jwt().len() + read.wit().len();
    assert!(used + outcome.left_out.len() <= document::ENTRIES_MAX);
    true
}

/// A request of a workload or an admin: a letter that says which, then its message; `0` stands for all that have no
/// fields. What is accepted keeps within every limit, and what is refused is so in few words.
#[must_use]
pub fn requests(bytes: &[u8]) -> bool {
    let Some((letter, message)) = bytes.split_first() else { return false };
    let refused = |words: String| assert!(words.len() < 8_192, "a refusal repeats a long text");
    match letter {
        b'J' => pb::workload::JwtsvidRequest::decode(message).is_ok_and(|request| {
            let asked = request.audience.clone();
            let wanted = Wanted::parse(&request.spiffe_id).map_err(|error| refused(error.to_string()));
            let audiences = Audiences::new(request.audience).map_err(|error| refused(error.to_string()));
            assert_eq!(
                audiences.is_ok(),
                (1..=jwt::AUDIENCES_MAX).contains(&asked.len())
                    && asked.iter().all(|audience| (1..=AUDIENCE_BYTES_MAX).contains(&audience.len()))
                    && jwt::audiences_bytes(&asked) <= jwt::AUDIENCES_BYTES_MAX
            );
            audiences.is_ok() && wanted.is_ok()
        }),
        b'V' => pb::workload::ValidateJwtsvidRequest::decode(message)
            .is_ok_and(|request| Question::new(request.audience, request.svid).is_ok()),
        b'W' => pb::workload::WitsvidRequest::decode(message).is_ok_and(|request| {
            let wanted = Wanted::parse(&request.spiffe_id);
            assert_eq!(wanted.is_ok(), request.spiffe_id.is_empty() || Id::parse(&request.spiffe_id).is_ok());
            wanted.is_ok()
        }),
        b'E' => pb::admin::CreateEntryRequest::decode(message)
            .is_ok_and(|request| new_draft(request.entry).is_ok_and(|draft| is_entry(&draft))),
        b'U' => pb::admin::UpdateEntryRequest::decode(message)
            .is_ok_and(|request| amendment(request).is_ok_and(|amendment| is_entry(&amendment.draft))),
        b'A' => pb::admin::ApplyEntriesRequest::decode(message).is_ok_and(|request| {
            let asked = (request.create.len(), request.update.len(), request.delete.len());
            order(request).is_ok_and(|order| {
                assert_eq!((order.create.len(), order.update.len(), order.delete.len()), asked, "nothing is dropped");
                order.create.iter().chain(order.update.iter().map(|one| &one.draft)).all(is_entry)
            })
        }),
        b'L' => pb::admin::ListEntriesRequest::decode(message).is_ok_and(|request| List::of(request).is_ok()),
        b'D' => pb::admin::DeleteEntryRequest::decode(message).is_ok_and(|request| is_entry_id(&request.id)),
        b'S' => pb::admin::ShowEntryRequest::decode(message).is_ok_and(|request| is_entry_id(&request.id)),
        b'B' => pb::admin::SetBundleRequest::decode(message).is_ok_and(|request| {
            TrustDomain::parse(&request.trust_domain)
                .is_ok_and(|name| foreign::read(&name, &request.document, SystemTime::UNIX_EPOCH).is_ok())
        }),
        b'b' => pb::admin::DeleteBundleRequest::decode(message)
            .is_ok_and(|request| TrustDomain::parse(&request.trust_domain).is_ok()),
        b's' => pb::admin::ShowBundleRequest::decode(message)
            .is_ok_and(|request| TrustDomain::parse(&request.trust_domain).is_ok()),
        // What follows is taken as it comes, or says nothing.
        b'l' => pb::admin::ListBundlesRequest::decode(message).is_ok(),
        b'X' => pb::admin::ExplainRequest::decode(message).is_ok(),
        b'G' => pb::admin::SetLogLevelRequest::decode(message).is_ok(),
        b'R' => pb::admin::ReplaceRequest::decode(message).is_ok(),
        b'0' => pb::workload::X509svidRequest::decode(message).is_ok(),
        _ => false,
    }
}

/// Whether it could be registered. What was checked once passes again, and says the same.
fn is_entry(draft: &Draft) -> bool {
    let own = TrustDomain::parse("example.org").expect("a good name");
    match draft.clone().check_new(&own) {
        Ok(spec) => {
            assert_eq!(Draft::from(&spec).check_new(&own).as_ref(), Ok(&spec));
            true
        }
        Err(problems) => {
            assert!(!problems.to_string().is_empty());
            false
        }
    }
}

/// Whether it is the id of an entry, which has one spelling.
fn is_entry_id(text: &str) -> bool {
    entry_id(text).is_ok_and(|id| {
        assert_eq!(id.to_string(), text);
        true
    })
}

/// The public half of the key of RFC 7515 A.3.
const RFC_7515_A_3: &[u8] = br#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

/// What `/proc/PID` says, by the name of the file in the first line: a process chooses some of it.
#[must_use]
pub fn proc(bytes: &[u8]) -> bool {
    let cut = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at(cut);
    let text = rest.strip_prefix(b"\n").unwrap_or_default();
    match name {
        b"stat" => parse_stat(text).is_some_and(|stat| {
            // A name, whatever it is, changes nothing else.
            let end = text.iter().rposition(|byte| *byte == b')').expect("it was parsed");
            let renamed = [b"1 (".as_slice(), b") R 9 9 (((", text.get(end..).expect("it is there")].concat();
            assert_eq!(parse_stat(&renamed), Some(stat));
            true
        }),
        b"status" => parse_status(text).is_some_and(|status| {
            assert!(status.groups.len() <= GROUPS_MAX);
            let twice = [text, b"\nUid:\t0\t0\t0\t0\n"].concat();
            assert_eq!(parse_status(&twice), None, "a second line is believed");
            true
        }),
        b"cgroup" => parse_cgroup(text).is_some_and(|path| path.is_absolute()),
        _ => false,
    }
}

/// What a client writes on a connection: it comes out alike however it is cut, and a header block that was made legal
/// needs nothing more. Answers whether anything was changed.
#[must_use]
pub fn frames(bytes: &[u8]) -> bool {
    let nonce = *b"ournonce";
    let pass = |size: usize| {
        let (mut inbound, mut out) = (Inbound::new(), Vec::new());
        inbound.expect(nonce);
        let answers = bytes.chunks(size).filter(|piece| inbound.push(piece, &mut out)).count();
        assert!(answers <= 1, "one PING is answered twice");
        (out, answers)
    };
    let whole = pass(bytes.len().max(1));
    assert!([1, 2, 7, 9, 64].into_iter().all(|size| pass(size) == whole), "it matters how it is cut");
    if let Some(cleaned) = clean_authority(bytes) {
        assert_eq!(clean_authority(&cleaned), None, "what was made legal is not");
    }
    let mut outbound = Outbound::default();
    outbound.advance(bytes);
    assert!(outbound.until_between_frames(bytes) <= bytes.len());
    // What is held back is the beginning of a frame, and not more than that.
    whole.1 > 0 || !bytes.starts_with(&whole.0)
}

/// What an issuer's own checks say of one certificate.
fn read_alone(certificate: &Bytes) {
    if let Ok(leaf) = check_profile(certificate) {
        assert!(check_authority(certificate).is_err(), "a leaf and an authority at once");
        compare(&leaf, certificate);
    }
    let own = TrustDomain::parse("example.org").expect("a good name");
    if check_authority_profile(certificate, &own).is_ok() {
        assert_eq!(check_authority(certificate), Ok(()));
    }
}

/// Another parser reads the same in what ours has accepted.
fn compare(ours: &Leaf, certificate: &Bytes) {
    let (rest, theirs) = X509Certificate::from_der(certificate).expect("another parser refuses what ours accepts");
    assert!(rest.is_empty());
    assert_eq!(theirs.public_key().raw, ours.public_key);
    let serial = theirs.raw_serial();
    assert_eq!(serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(serial), ours.serial);
    assert_eq!(SystemTime::from(theirs.validity().not_before.to_datetime()), ours.not_before);
    assert_eq!(SystemTime::from(theirs.validity().not_after.to_datetime()), ours.not_after);
    let names = theirs.subject_alternative_name().expect("one extension").expect("which is there");
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    assert_eq!(uris.collect::<Vec<_>>(), [ours.id.as_str()]);
    if let Some(name) = &ours.common_name {
        let first = theirs.subject().iter_common_name().next().expect("there is one");
        assert_eq!(first.as_slice(), name.as_bytes());
    }
    assert!(!theirs.is_ca());
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Runs a target over its corpus. Some of it must be accepted and some refused, or it tests little.
    fn run(target: &str, function: fn(&[u8]) -> bool) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = fs::read_dir(&folder).expect("the corpus is committed").map(|file| file.expect("a file").path());
        let accepted: Vec<bool> = files.map(|file| function(&fs::read(file).expect("it can be read"))).collect();
        let yes = accepted.iter().filter(|accepted| **accepted).count();
        assert!(yes >= 3 && accepted.len() - yes >= 3, "{target}: {yes} of {} accepted", accepted.len());
    }

    #[test]
    fn the_corpus_of_ids_runs() {
        run("id", super::id);
    }

    #[test]
    fn the_corpus_of_selectors_runs() {
        run("selector", super::selector);
    }

    #[test]
    fn the_corpus_of_templates_runs() {
        run("template", super::template);
    }

    #[test]
    fn the_corpus_of_replacements_runs() {
        run("replace", super::replace);
    }

    #[test]
    fn the_corpus_of_processes_runs() {
        run("proc", super::proc);
    }

    #[test]
    fn the_corpus_of_connections_runs() {
        run("frames", super::frames);
    }

    #[test]
    fn the_corpus_of_tokens_runs() {
        run("jws", super::jws);
    }

    #[test]
    fn the_corpus_of_proofs_runs() {
        run("proof", super::proof);
    }

    #[test]
    fn the_corpus_of_workload_proofs_runs() {
        run("wpt", super::wpt);
    }

    #[test]
    fn the_corpus_of_checks_runs() {
        run("check", super::check);
    }

    #[test]
    fn the_corpus_of_access_tokens_runs() {
        run("access", super::access);
    }

    #[test]
    fn the_corpus_of_client_certificates_runs() {
        run("certificate", super::certificate);
    }

    #[test]
    fn the_corpus_of_foreign_tokens_runs() {
        run("foreign_token", super::foreign_token);
    }

    #[test]
    fn the_corpus_of_subject_tokens_runs() {
        run("subject", super::subject);
    }

    #[test]
    fn the_corpus_of_targets_runs() {
        run("target", super::target);
    }

    #[test]
    fn the_corpus_of_requests_runs() {
        run("requests", super::requests);
    }

    #[test]
    fn the_corpus_of_bundles_runs() {
        run("bundle", super::bundle);
    }

    #[test]
    fn the_corpus_of_foreign_bundles_runs() {
        run("foreign", super::foreign);
    }

    #[test]
    fn the_corpus_of_certificates_runs() {
        run("x509", super::x509);
    }
}

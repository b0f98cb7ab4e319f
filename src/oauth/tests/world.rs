//! One door, one agent, one tool.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use zeroize::Zeroizing;

use super::kit::{Holder, ath, claims, now, seconds};
use crate::{
    oauth::{
        Scope, Scopes,
        access::{Draft, Keys, Subject, TokenId, issue, key_id},
        challenge::Challenge,
        dpop::ALGORITHMS,
        freshness::Settings,
        issuer::{Issuer, IssuerName, Issuers},
        target::{Base, Route, Target, find},
        verify::{
            Accepts, AgentState, Credential, Reason, Refusal, Registry, Request, Resource, Revocation, Verified,
            Verifier,
        },
    },
    spiffe::{
        Id, TrustDomain,
        jose::{Algorithm, tests::kit::Key},
        jwt, wit,
    },
};

pub(crate) const ISSUER: &str = "https://example.org/oauth";
pub(crate) const AUDIENCE: &str = "https://api.example.org";
pub(crate) const URL: &str = "https://api.example.org/items";

/// What a door knows, as a test wants it.
pub(crate) struct Known {
    pub(crate) keys: Keys,
    pub(crate) routes: Vec<(Route, Scope)>,
    pub(crate) agent: AgentState,
    pub(crate) revocation: Option<Revocation>,
    pub(crate) epoch: u64,
    pub(crate) takes_encoded_slash: bool,
    pub(crate) accepts: Accepts<'static>,
    /// The issuers that the tool takes beside.
    pub(crate) taken: Vec<IssuerName>,
    pub(crate) issuers: Issuers,
    pub(crate) wit_keys: Option<wit::Bundle>,
    pub(crate) jwt_keys: Option<jwt::Bundle>,
    pub(crate) granted: Option<Scopes>,
    pub(crate) granted_for: Duration,
}

impl Registry for Known {
    fn issuer(&self) -> &str {
        ISSUER
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn resource(&self, target: &Target, method: &str, named: Option<&str>) -> Option<Resource<'_>> {
        if named.is_some_and(|name| name != "items") {
            return None;
        }
        let path = Base::parse(AUDIENCE).unwrap().relative(target)?.to_owned();
        let scope = find(self.routes.iter().map(|(route, scope)| (route, scope.as_str())), method, &path);
        let takes_encoded_slash = self.takes_encoded_slash;
        let accepts = Accepts { issuers: &self.taken, ..self.accepts };
        Some(Resource { tool: "items", audience: AUDIENCE, scope, takes_encoded_slash, accepts, tells_metadata: true })
    }

    fn agent(&self, name: &str) -> AgentState {
        match name {
            "crew" => self.agent,
            _ => AgentState::Unknown,
        }
    }

    fn revocation(&self, _: &Credential) -> Option<Revocation> {
        self.revocation
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn agent_of(&self, id: &Id, _: SystemTime) -> Option<&str> {
        id.as_str().strip_prefix("spiffe://example.org/").filter(|name| ["crew", "ghost"].contains(name))?;
        Some(if id.as_str().ends_with("crew") { "crew" } else { "ghost" })
    }

    fn granted(&self, _: &str, tool: &str, age: Duration) -> Option<Scopes> {
        let granted = self.granted.clone().filter(|_| tool == "items")?;
        Some(if age < self.granted_for { granted } else { Scopes::default() })
    }

    fn wit_keys(&self) -> Option<&wit::Bundle> {
        self.wit_keys.as_ref()
    }

    fn jwt_keys(&self) -> Option<&jwt::Bundle> {
        self.jwt_keys.as_ref()
    }

    fn foreign_issuer(&self, name: &IssuerName) -> Option<&Arc<Issuer>> {
        self.issuers.get(name.as_str())
    }
}

pub(crate) struct World {
    pub(crate) key: Key,
    pub(crate) holder: Holder,
    pub(crate) known: Known,
    pub(crate) verifier: Verifier,
    pub(crate) next: Mutex<u64>,
}

pub(crate) fn signing_key() -> Key {
    let mut key = Key::new("", Algorithm::Es256);
    key.id = key_id(&key.jwk());
    key
}

pub(crate) fn keys(key: &Key) -> Keys {
    Keys::new(TrustDomain::parse("example.org").unwrap(), [(key.id.clone(), key.jwk())]).unwrap()
}

impl World {
    /// A door that is open long enough to know every proof.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), now() - seconds(3_600))
    }

    pub(crate) fn with(settings: Settings, started: SystemTime) -> Self {
        let key = signing_key();
        let route = |route: &str, scope: &str| (Route::parse(route).unwrap(), Scope::parse(scope).unwrap());
        let known = Known {
            keys: keys(&key),
            routes: vec![
                route("GET /items", "read"),
                route("GET /items/*", "read"),
                route("POST /items", "write"),
                route("GET /projects/*/files/*", "read"),
            ],
            agent: AgentState::Active,
            revocation: None,
            epoch: 1,
            takes_encoded_slash: false,
            accepts: Accepts::default(),
            taken: Vec::new(),
            issuers: Issuers::default(),
            wit_keys: None,
            jwt_keys: None,
            granted: Some(Scopes::parse("read").unwrap()),
            granted_for: seconds(3_600),
        };
        let verifier = Verifier::new(&Zeroizing::new([5; 32]), settings, started);
        Self { key, holder: Holder::new(), known, verifier, next: Mutex::new(0) }
    }

    pub(crate) fn token(&self) -> String {
        self.token_of(AUDIENCE, "crew", seconds(300))
    }

    pub(crate) fn token_of(&self, audience: &str, client: &str, life: Duration) -> String {
        let draft = Draft {
            issuer: ISSUER,
            subject: &Subject::Agent(Id::parse("spiffe://example.org/crew").unwrap()),
            audience,
            client,
            scopes: &Scopes::parse("read").unwrap(),
            key: self.holder.thumbprint(),
            session: None,
            token_id: TokenId([7; 16]),
            expires_at: now() + life,
        };
        issue(&draft, &self.key, now()).unwrap()
    }

    /// A proof for `GET /items` with this token, with changes.
    pub(crate) fn proof(&self, token: &str, changes: &[(&str, &str)]) -> String {
        self.proof_by(&self.holder, token, changes)
    }

    pub(crate) fn proof_by(&self, holder: &Holder, token: &str, changes: &[(&str, &str)]) -> String {
        let (jti, ath) = (self.next_id(), ath(token));
        holder.proof(&claims(&[&[("jti", jti.as_str()), ("ath", &ath)], changes].concat()))
    }

    /// A new `jti`, as JSON.
    pub(crate) fn next_id(&self) -> String {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        format!(r#""number{next:08}""#)
    }

    pub(crate) fn get(&self, token: &str, proof: &str) -> Result<Verified, Refusal> {
        self.ask("GET", URL, &[&format!("DPoP {token}")], &[proof], now())
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        url: &str,
        authorization: &[&str],
        proofs: &[&str],
        now: SystemTime,
    ) -> Result<Verified, Refusal> {
        let authorization: Vec<_> = authorization.iter().map(|text| text.as_bytes()).collect();
        let proofs: Vec<_> = proofs.iter().map(|text| text.as_bytes()).collect();
        let target = Target::parse(url).unwrap();
        let request = Request { authorization: &authorization, proofs: &proofs, ..Request::new(method, &target) };
        self.verifier.verify(&request, &self.known, now)
    }
}

/// Which class of answer it was.
pub(crate) fn answer(refusal: &Refusal) -> (u16, &str) {
    let Challenge { status, authenticate, nonce, retry_after } = &refusal.challenge;
    let authenticate = authenticate.as_deref().unwrap_or_default();
    let code = authenticate.split_once("error=\"").map(|(_, rest)| rest.split_once('"').unwrap().0).unwrap_or_default();
    assert_eq!(authenticate.is_empty(), matches!(status, 400 | 403 | 429 | 503) && code.is_empty(), "{refusal:?}");
    let is_bearer = authenticate.starts_with("Bearer");
    assert!(authenticate.is_empty() || is_bearer || authenticate.starts_with("DPoP "));
    assert!(authenticate.is_empty() || is_bearer || authenticate.contains(&format!(r#"algs="{ALGORITHMS}""#)));
    assert_eq!(nonce.is_some(), code == "use_dpop_nonce");
    assert_eq!(retry_after.is_some(), matches!(status, 429 | 503));
    (*status, code)
}

pub(crate) fn refused(name: &str, outcome: Result<Verified, Refusal>, reason: &Reason, wanted: (u16, &str)) {
    let refusal = outcome.err().unwrap_or_else(|| panic!("{name}: accepted"));
    assert_eq!(refusal.reason, *reason, "{name}");
    assert_eq!(answer(&refusal), wanted, "{name}");
    assert!(refusal.reason.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
}

pub(crate) const TOKEN: (u16, &str) = (401, "invalid_token");
pub(crate) const PROOF: (u16, &str) = (401, "invalid_dpop_proof");

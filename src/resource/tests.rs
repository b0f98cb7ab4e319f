//! A resource server that is told what it is to know, request by request.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderMap, Request, Response, StatusCode};
use tower::{Layer as _, Service as _, service_fn};

use super::*;
use crate::{
    oauth::{
        Scope, TokenHash,
        access::{self, Draft, Keys, Subject, TokenId, key_id},
        dpop::Prover,
        freshness::Settings,
        target::{Base, Route},
        verify::Verified,
    },
    spiffe::{
        Id, TrustDomain,
        jose::{Algorithm, Signer, SigningAlgorithm},
    },
    sys::Clock,
};

const ISSUER: &str = "https://example.org/oauth";
const AUDIENCE: &str = "https://tickets.example.org";
const URL: &str = "https://tickets.example.org/api/items/7";

/// An issuer's key under its branded name.
struct Key(Prover, String);

impl Key {
    fn new() -> Self {
        let prover = Prover::generate().unwrap();
        let name = key_id(prover.public_key());
        Self(prover, name)
    }

    fn jwks(&self) -> String {
        let key = self.0.public_key().clone().for_algorithm(Algorithm::Es256).unwrap();
        Keys::new(domain(), [(self.1.clone(), key)]).unwrap().to_json()
    }
}

impl Signer for Key {
    fn algorithm(&self) -> SigningAlgorithm {
        SigningAlgorithm::Es256
    }

    fn key_id(&self) -> &str {
        &self.1
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.0.sign(message)
    }
}

fn domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

struct World {
    issuer: Key,
    holder: Prover,
    server: Arc<ResourceServer>,
    clock: Clock,
}

impl World {
    /// After the window in which each proof must have a nonce.
    async fn new() -> Self {
        let protected = Protected {
            trust_domain: domain(),
            issuer: ISSUER.into(),
            name: "tickets".into(),
            audience: AUDIENCE.into(),
            base_url: Base::parse("https://tickets.example.org/api").unwrap(),
            routes: vec![(Route::parse("GET /items/*").unwrap(), Scope::parse("read").unwrap())],
        };
        let clock = Clock::following_tokio();
        let server = Arc::new(ResourceServer::with_clock(protected, Settings::default(), clock.clone()).unwrap());
        tokio::time::sleep(Duration::from_secs(120)).await;
        Self { issuer: Key::new(), holder: Prover::generate().unwrap(), server, clock }
    }

    fn token(&self, scope: &str, audience: &str) -> String {
        let subject = Subject::Agent(Id::parse("spiffe://example.org/reporter").unwrap());
        let (scopes, now) = (Scope::parse(scope).into_iter().collect(), self.clock.now());
        let draft = Draft {
            issuer: ISSUER,
            subject: &subject,
            audience,
            client: "reporter",
            scopes: &scopes,
            key: self.holder.thumbprint(),
            session: None,
            token_id: TokenId([7; 16]),
            expires_at: now + Duration::from_secs(300),
        };
        access::issue(&draft, &self.issuer, now).unwrap()
    }

    fn headers(&self, token: &str, method: &str, url: &str) -> HeaderMap {
        let proof = self.holder.prove(method, url, Some(TokenHash::of(token)), None, self.clock.now()).unwrap();
        let headers = [("authorization", format!("DPoP {token}")), ("dpop", proof)];
        headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect()
    }

    fn judge(&self, method: &str, path: &str, headers: &HeaderMap) -> Result<Verified, (u16, &'static str)> {
        let verdict = self.server.verify(&method.parse().unwrap(), &path.parse().unwrap(), headers);
        verdict.map_err(|refused| match refused {
            Refused::Challenged { code, challenge } => (challenge.status, code),
            other => (other.challenge().status, ""),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_verified_passes() {
    let world = World::new().await;
    let token = world.token("read", AUDIENCE);
    let path = "/api/items/7?all=1";
    assert_eq!(world.judge("GET", path, &world.headers(&token, "GET", URL)).err(), Some((503, "")));
    world.server.set_keys(world.issuer.jwks().as_bytes()).unwrap();
    let headers = world.headers(&token, "GET", URL);
    let verified = world.judge("GET", path, &headers).unwrap();
    assert_eq!((verified.agent(), verified.scope(), verified.tool()), ("reporter", "read", "tickets"));
    for (method, path, headers, expected) in [
        ("GET", path, headers, (401, "proof_replayed")),
        ("GET", path, HeaderMap::new(), (401, "no_credentials")),
        ("GET", "/api/items/8", world.headers(&token, "GET", URL), (401, "proof_url")),
        ("POST", path, world.headers(&token, "POST", URL), (403, "no_route")),
        ("GET", "/other", world.headers(&token, "GET", URL), (403, "no_tool")),
        ("GET", "/api//items/7", world.headers(&token, "GET", URL), (400, "")),
        ("GET", path, world.headers(&world.token("write", AUDIENCE), "GET", URL), (403, "scope_missing")),
        ("GET", path, world.headers(&world.token("read", ISSUER), "GET", URL), (401, "token_audience")),
    ] {
        assert_eq!(world.judge(method, path, &headers).err(), Some(expected), "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_taken_away_verifies_nothing_any_more() {
    let world = World::new().await;
    world.server.set_keys(world.issuer.jwks().as_bytes()).unwrap();
    let token = world.token("read", AUDIENCE);
    let judge = || world.judge("GET", "/api/items/7", &world.headers(&token, "GET", URL)).err();
    assert_eq!(judge(), None);
    assert!(world.server.set_keys(b"{\"keys\":[{}]}").is_err());
    assert_eq!(judge(), None, "what is no set of keys changes nothing");
    world.server.set_keys(Key::new().jwks().as_bytes()).unwrap();
    assert_eq!(judge(), Some((401, "token_key")));
}

#[tokio::test(start_paused = true)]
async fn the_service_is_told_who_asks_and_nobody_else_reaches_it() {
    let world = World::new().await;
    world.server.set_keys(world.issuer.jwks().as_bytes()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = service_fn(|request: Request<()>| {
        let text =
            |name: &str| request.headers().get_all(name).iter().map(|one| one.to_str().unwrap()).collect::<String>();
        let agent = request.extensions().get::<Verified>().unwrap().agent().to_owned();
        seen.lock().unwrap().push((agent, text("x-dayfly-agent"), text("x-dayfly-scopes")));
        async { Ok::<_, Infallible>(Response::new("inner")) }
    });
    let mut guarded = GuardLayer::new(world.server.clone()).layer(inner);
    let mut ask = async |headers: HeaderMap| {
        let mut request = Request::get("/api/items/7").body(()).unwrap();
        *request.headers_mut() = headers;
        guarded.call(request).await.unwrap()
    };
    let token = world.token("read", AUDIENCE);
    let mut headers = world.headers(&token, "GET", URL);
    headers.append("x-dayfly-agent", "admin".parse().unwrap());
    headers.append("x-dayfly-scopes", "write".parse().unwrap());
    let answer = ask(headers.clone()).await;
    assert_eq!((answer.status(), *answer.body()), (StatusCode::OK, "inner"));
    let answer = ask(headers).await;
    assert_eq!((answer.status(), *answer.body()), (StatusCode::UNAUTHORIZED, ""));
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("DPoP error=\"invalid_dpop_proof\""));
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(*seen.lock().unwrap(), [("reporter".to_owned(), "reporter".to_owned(), "read".to_owned())]);
}
